"""Everything else that people read, through apprise (extra `notify`): over a hundred services, one address a route.

apprise says whether a service took a message, not why it did not: after `attempts` failures it is set aside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from monitor.delivery.events import Event
from monitor.delivery.slack import is_for_chat
from monitor.delivery.summary import facts, headline, link, sentences
from monitor.delivery.texts import defused
from monitor.errors import ConfigError, DeliveryDelayed

if TYPE_CHECKING:
    import apprise

MAX_TITLE, MAX_LINE, MAX_SENTENCES = 200, 300, 5
_TYPES: Final = {"critical": "failure", "high": "failure", "medium": "warning", "low": "info"}


class Notice(NamedTuple):
    """What is shown: a title, a body, and apprise's type of it."""

    title: str
    body: str
    type: str


class AppriseSink:
    """Notifies one address. apprise works in threads of its own; an attempt that is given up may still arrive."""

    batch: Final = 1
    attempts: Final = 12
    """About four minutes."""

    def __init__(self, address: str, dashboard_url: str, place: str) -> None:
        self._apprise = _open(address, place)
        self._dashboard_url = dashboard_url

    def is_for(self, event: Event, is_wanted: bool) -> bool:
        """Return whether the event is sent: not each repeat of a group, and not what people write to each other."""
        return is_wanted and is_for_chat(event)

    def form(self, event: Event) -> Notice:
        """Return the event as a notice."""
        return notice(event, self._dashboard_url)

    async def send(self, forms: Sequence[Notice]) -> None:
        """Notify of each of them."""
        for form in forms:
            taken = await self._apprise.async_notify(
                title=form.title, body=form.body, notify_type=form.type, body_format="text"
            )
            if not taken:
                raise DeliveryDelayed("the service did not take it; apprise has logged why")

    async def close(self) -> None:
        """Nothing is kept open."""


def notice(event: Event, dashboard_url: str) -> Notice:
    """Return an event as plain text in which nothing can begin a mention, a link or markup, but our own link."""
    severity = str(event.content.get("severity"))
    lines = [defused(sentence, MAX_LINE) for sentence in sentences(event)[:MAX_SENTENCES]]
    lines += [f"{name}: {defused(value, MAX_LINE)}" for name, value in facts(event)]
    title = defused(f"{severity.upper()} {headline(event)}", MAX_TITLE)
    kind = _TYPES.get(severity, "warning") if event.type == "alert" else "info"
    return Notice(title, "\n".join([*lines, *filter(None, [link(event, dashboard_url)])]), kind)


def _open(address: str, place: str) -> apprise.Apprise:
    try:
        import apprise
    except ImportError as error:
        raise ConfigError(
            f"{place}.kind", "apprise is not installed: pip install 'killcord[notify]'"
        ) from error
    if len(address.splitlines()) != 1:
        raise ConfigError(f"{place}.secret_file", "give one address; another service is another route")
    # Escapes and emojis in what agents say stay what they are; secrets stay out of apprise's log.
    found: Any = apprise.Apprise(
        asset=apprise.AppriseAsset(
            app_id="killcord",
            app_desc="killcord",
            interpret_escapes=False,
            interpret_emojis=False,
            secure_logging=True,
        )
    )
    if not found.add(address):
        raise ConfigError(f"{place}.secret_file", "apprise does not know an address of this form")
    return found  # type: ignore[no-any-return]
