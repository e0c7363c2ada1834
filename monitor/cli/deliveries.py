"""`killcord deliveries`: how each delivery route stands, and a test through one of them."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any
from urllib.parse import quote

from monitor.cli.asking import shown
from monitor.cli.client import Daemon, find_daemon, get, send
from monitor.cli.main import DONE, REFUSED, USAGE

TEST_TIMEOUT_S = 150.0
"""Two messages of at most a minute each, and some more."""


def run(options: argparse.Namespace) -> int:
    """Print how the routes stand; exit status 1 says that one is in trouble, or that the test was not delivered."""
    if options.act == "test":
        return _test(options)
    routes = get(find_daemon(options), "/v1/deliveries")["routes"]
    print(json.dumps({"routes": routes}) if options.json else _text(routes))
    return REFUSED if any(route["state"] in ("retrying", "broken") for route in routes) else DONE


def _test(options: argparse.Namespace) -> int:
    if not options.route:
        print("killcord: name the route: killcord deliveries test ROUTE", file=sys.stderr)
        return USAGE
    daemon: Daemon = find_daemon(options)
    answer = send(
        daemon, "POST", f"/v1/deliveries/{quote(options.route, safe='')}/test", timeout_s=TEST_TIMEOUT_S
    )
    failed = f"{options.route}: not delivered: {shown(str(answer['error']))}"
    text = f"{options.route}: a test was delivered" if answer["delivered"] else failed
    print(json.dumps(answer) if options.json else text)
    return DONE if answer["delivered"] else REFUSED


def _text(routes: list[dict[str, Any]]) -> str:
    if not routes:
        return "no delivery route is configured; see docs/deliveries.md"
    return "\n".join(line for route in routes for line in _lines(route))


def _lines(route: dict[str, Any]) -> list[str]:
    counts = f"{route['sent']} sent, {route['behind']} behind"
    extra = [
        f", {route[key]} {words}"
        for key, words in (("set_aside", "set aside"), ("missed", "missed"))
        if route[key]
    ]
    filtered = f" [{shown(route['filter'])}]" if route["filter"] else ""
    lines = [f"{route['name']} ({route['kind']}{filtered}): {route['state']}, {counts}{''.join(extra)}"]
    return [*lines, f"  {shown(route['last_error'])}"] if route["last_error"] else lines
