"""Makes the way out of each configured route, once at start: what is wrong is said then, by the key's name."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from socket import gethostname
from typing import Final

from monitor.delivery.apprise_sink import AppriseSink
from monitor.delivery.http_edge import HttpSender
from monitor.delivery.ocsf_sinks import OcsfFileSink, OcsfHttpSink
from monitor.delivery.pagerduty import URL as PAGERDUTY_URL
from monitor.delivery.pagerduty import PagerDutySink, read_routing_key
from monitor.delivery.rotated_file import RotatedFile
from monitor.delivery.routes import Delivery, Kind, RouteConfig, check_url
from monitor.delivery.secrets import read_secret
from monitor.delivery.sink import Sink
from monitor.delivery.slack import SlackSink
from monitor.delivery.syslog_sink import SyslogSink
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


def _pagerduty(route: RouteConfig, place: str) -> Sink:
    field = f"{place}.secret_file"
    key = read_routing_key(read_secret(route.secret_file, field), field)
    return PagerDutySink(_sender(route, route.url or PAGERDUTY_URL, place), key, route.dashboard_url)


def _slack(route: RouteConfig, place: str) -> Sink:
    field = f"{place}.secret_file"
    url = read_secret(route.secret_file, field)
    check_url(url, field)
    return SlackSink(_sender(route, url, place), route.dashboard_url)


def _ocsf_file(route: RouteConfig, place: str) -> Sink:
    path = Path(route.path)
    if not path.parent.is_dir():
        raise ConfigError(f"{place}.path", f"there is no directory {path.parent}")
    file = RotatedFile(path, rotate_bytes=route.rotate_bytes, keep_files=route.keep_files)
    return OcsfFileSink(file, version("killcord"), route.dashboard_url)


def _ocsf_http(route: RouteConfig, place: str) -> Sink:
    field = f"{place}.secret_file"
    authorization = read_secret(route.secret_file, field) if route.secret_file else ""
    if not authorization.isprintable() or not authorization.isascii():
        raise ConfigError(field, "write what the Authorization header says in one line, such as: Bearer …")
    sender = _sender(route, route.url, place)
    return OcsfHttpSink(sender, route.batch, authorization, version("killcord"), route.dashboard_url)


def _syslog(route: RouteConfig, place: str) -> Sink:
    try:
        tls = ssl.create_default_context(cafile=route.ca_file or None) if route.transport == "tls" else None
    except OSError as error:
        raise ConfigError(f"{place}.ca_file", f"no certificates can be read: {error}") from error
    return SyslogSink(route.host, route.port, route.transport, tls=tls, hostname=gethostname())


def _apprise(route: RouteConfig, place: str) -> Sink:
    return AppriseSink(read_secret(route.secret_file, f"{place}.secret_file"), route.dashboard_url, place)


def _sender(route: RouteConfig, url: str, place: str) -> HttpSender:
    try:
        return HttpSender(url, timeout_s=route.timeout_s, ca_file=route.ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"{place}.ca_file", f"no certificates can be read: {error}") from error


SINKS: Final[Mapping[Kind, Callable[[RouteConfig, str], Sink]]] = {
    "webhook": _webhook,
    "pagerduty": _pagerduty,
    "slack": _slack,
    "ocsf_file": _ocsf_file,
    "ocsf_http": _ocsf_http,
    "syslog": _syslog,
    "apprise": _apprise,
}
