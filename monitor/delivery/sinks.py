"""Makes the way out of each configured route, once at start: what is wrong is said then, by the key's name."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping

from monitor.delivery.http_edge import HttpSender
from monitor.delivery.routes import Delivery, Kind, RouteConfig
from monitor.delivery.secrets import read_secret
from monitor.delivery.sink import Sink
from monitor.delivery.webhook import WebhookSink, read_key
from monitor.errors import ConfigError


def open_sinks(config: Delivery) -> dict[str, Sink]:
    """Return the sink of each route by the route's name; nothing is connected yet. Raises `ConfigError`."""
    return {
        route.name: SINKS[route.kind](route, f"delivery.routes.{number}")
        for number, route in enumerate(config.routes)
    }


def _webhook(route: RouteConfig, place: str) -> Sink:
    field = f"{place}.secret_file"
    return WebhookSink(
        _sender(route, route.url, place), read_key(read_secret(route.secret_file, field), field)
    )


def _sender(route: RouteConfig, url: str, place: str) -> HttpSender:
    try:
        return HttpSender(url, timeout_s=route.timeout_s, ca_file=route.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{place}.ca_file", f"no certificates can be read: {error}") from error


SINKS: Mapping[Kind, Callable[[RouteConfig, str], Sink]] = {"webhook": _webhook}
