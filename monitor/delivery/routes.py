"""The `[[delivery.routes]]` of the configuration: where messages go, and what each kind of route needs to say. Pure."""

from __future__ import annotations

from typing import Annotated, Final, Literal, NamedTuple, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from monitor.errors import ConfigError, FilterError
from monitor.live.filters import parse_filter

Kind = Literal["webhook", "pagerduty", "slack", "ocsf_file", "ocsf_http", "syslog", "apprise"]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class RouteConfig(_Section):
    """One route. Every kind has its own keys: `NEEDS` and `TAKES` say which."""

    name: Annotated[str, Field(pattern="^[a-z0-9][a-z0-9-]{0,39}$")]
    kind: Kind
    filter: str = ""
    since: Literal["now", "oldest"] = "now"
    timeout_s: Annotated[float, Field(gt=0, le=60)] = 10.0
    dashboard_url: str = ""
    secret_file: str = ""
    url: str = ""
    ca_file: str = ""
    batch: Annotated[int, Field(ge=1, le=1000)] = 100
    path: str = ""
    rotate_bytes: Annotated[int, Field(ge=64 * 1024)] = 64 * 1024 * 1024
    keep_files: Annotated[int, Field(ge=1, le=1000)] = 5
    host: str = ""
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    transport: Literal["udp", "tcp", "tls"] = "udp"


class Delivery(_Section):
    """Where alerts, and what people do with them, are sent on to."""

    routes: Annotated[tuple[RouteConfig, ...], Field(max_length=50)] = ()


class Keys(NamedTuple):
    """What one kind of route must say, and what it may say beside that and what all may."""

    needs: frozenset[str]
    takes: frozenset[str] = frozenset()


ANY_KIND: Final = frozenset({"name", "kind", "filter", "since", "timeout_s", "dashboard_url"})
KEYS: Final[dict[Kind, Keys]] = {
    "webhook": Keys(frozenset({"url", "secret_file"}), frozenset({"ca_file"})),
    "pagerduty": Keys(frozenset({"secret_file"}), frozenset({"url", "ca_file"})),
    "slack": Keys(frozenset({"secret_file"}), frozenset({"ca_file"})),  # its address is its secret
    "ocsf_file": Keys(frozenset({"path"}), frozenset({"rotate_bytes", "keep_files"})),
    "ocsf_http": Keys(frozenset({"url"}), frozenset({"secret_file", "ca_file", "batch"})),
    "syslog": Keys(frozenset({"host"}), frozenset({"port", "transport", "ca_file"})),
    "apprise": Keys(frozenset({"secret_file"})),
}
assert set(KEYS) == set(get_args(Kind))  # noqa: S101 - a kind without keys could not be configured


def check_delivery(config: Delivery) -> None:
    """Raise `ConfigError`, naming the key, if a route's keys do not belong together."""
    names: set[str] = set()
    for number, route in enumerate(config.routes):
        place = f"delivery.routes.{number}"
        if route.name in names:
            raise ConfigError(f"{place}.name", f"there are two routes of the name {route.name}")
        names.add(route.name)
        _check_keys(route, place)
        check_url(route.url, f"{place}.url")
        check_url(route.dashboard_url, f"{place}.dashboard_url")
        try:
            parse_filter(route.filter)
        except FilterError as error:
            raise ConfigError(f"{place}.filter", str(error)) from error


def _check_keys(route: RouteConfig, place: str) -> None:
    keys = KEYS[route.kind]
    for name in sorted(route.model_fields_set - ANY_KIND - keys.needs - keys.takes):
        raise ConfigError(f"{place}.{name}", f"a route of the kind {route.kind} has no such key")
    for name in sorted(keys.needs):
        if not getattr(route, name):
            raise ConfigError(f"{place}.{name}", f"a route of the kind {route.kind} needs it")


def check_url(url: str, field: str) -> None:
    """Raise `ConfigError` about `field` unless this is an address over HTTP without a password in it, or empty."""
    if not url:
        return
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reading it checks it
    except ValueError as error:
        raise ConfigError(field, f"no address: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(field, "give an address that begins with https:// or http://")
    if parts.username is not None or parts.password is not None:
        raise ConfigError(field, "no name or password belongs in an address: use secret_file")
