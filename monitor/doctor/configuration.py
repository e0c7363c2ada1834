"""The configuration file, and values in it that are allowed and dangerous."""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import urlsplit

from monitor.config import Config, load_config
from monitor.doctor.finding import Finding, fail, ok, skipped, warn
from monitor.doctor.installation import Installation, command_line
from monitor.errors import ConfigError

_UNKNOWN: Final = "it cannot be seen which configuration the daemon uses; name it with --config"


def config_file(installation: Installation) -> Finding:
    """Say whether the file can be read and every key in it is known."""
    path = installation.config_path
    if path is None:
        return ok("no configuration file: the defaults") if installation.is_running else skipped(_UNKNOWN)
    try:
        load_config(path)
    except ConfigError as error:
        return fail(f"{path}: {error}", "put the key right: the daemon does not start with this file")
    return ok(f"{path} is valid")


def dangerous_values(installation: Installation) -> Finding:
    """Say which values expose the daemon, or turn its protection off."""
    if installation.config_path is None and not installation.is_running:
        return skipped(_UNKNOWN)
    found = [*_exposures(installation), *_weaknesses(installation.config)]
    if not found:
        return ok("no value exposes the daemon or turns its protection off")
    worst: Finding = min(found, key=lambda each: each.status)  # "fail" before "warn"
    more = "; ".join(each.found for each in found if each is not worst)
    return worst._replace(found=f"{worst.found}; {more}" if more else worst.found)


def _exposures(installation: Installation) -> list[Finding]:
    config, found = installation.config, []
    server = config.server
    hosts = {server.host, server.kill_host or server.host} | _running_host(installation)
    open_hosts = sorted(host for host in hosts if not _is_loopback(host))
    if open_hosts and not server.tls_cert:
        found.append(
            fail(
                f"the API listens on {', '.join(open_hosts)} without TLS: tokens can be read on the network",
                'set [server] host = "127.0.0.1", or tls_cert and tls_key, or put a proxy with TLS before it',
            )
        )
    store = urlsplit(config.killswitch.redis_url)
    if store.scheme == "redis" and not _is_loopback(store.hostname or ""):
        found.append(
            warn(
                f"the store {store.hostname} is reached without TLS",
                "use rediss://: whoever listens learns the daemon's password",
            )
        )
    if "*" in config.server.allowed_origins:
        found.append(fail("any web page may open the feed", "name the pages in [server] allowed_origins"))
    return found


def _weaknesses(config: Config) -> list[Finding]:
    found = []
    if not config.drill.interval_s:
        found.append(
            warn(
                "drills are turned off",
                "set [drill] interval_s: nobody knows whether a kill would be enforced",
            )
        )
    if config.response.mode == "observe":
        found.append(
            warn(
                'the mode is "observe": nobody is told of anything',
                'set [response] mode to "alert" or "enforce"',
            )
        )
    if config.log.store_args == "full":
        found.append(
            warn(
                "raw arguments of every action are kept",
                'set [log] store_args = "digest" unless that is wanted',
            )
        )
    return found


def _running_host(installation: Installation) -> set[str]:
    """Return where the running daemon was told to listen; `--host` wins over the file."""
    words = command_line(installation.pid) if installation.pid else []
    named = {words[at + 1] for at, word in enumerate(words[:-1]) if word == "--host"}
    return named | {word.partition("=")[2] for word in words if word.startswith("--host=")}


def _is_loopback(host: str) -> bool:
    if host in ("localhost", ""):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
