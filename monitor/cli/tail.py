"""`killcord tail`: the live feed in a terminal."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from monitor.cli.client import Daemon, find_daemon
from monitor.errors import DaemonError


def run(options: argparse.Namespace) -> int:
    """Print messages until Ctrl-C, or until there were as many as asked for."""
    shown = 0
    for message in _messages(find_daemon(options), options.since):
        text = json.dumps(message) if options.json else _line(message)
        if text:
            print(text, flush=True)
            shown += 1
        if options.limit and shown >= options.limit:
            break
    return 0


def _messages(daemon: Daemon, since: int | None) -> Iterator[dict[str, Any]]:
    try:
        with _open(daemon, since) as socket:
            for text in socket:
                yield json.loads(text)
    except (OSError, WebSocketException) as error:
        raise DaemonError(f"the feed of {daemon.url} broke off: {error}") from error


def _open(daemon: Daemon, since: int | None) -> ClientConnection:
    query = "" if since is None else f"?since={since}"
    url = f"ws{daemon.url.removeprefix('http')}/v1/feed{query}"
    return connect(
        url,
        additional_headers={"Authorization": f"Bearer {daemon.token}"},
        ssl=daemon.tls,
        compression=None,
        proxy=None,
    )


def _line(message: dict[str, Any]) -> str | None:
    """Return the message in a line; nothing for a mere heartbeat."""
    head = f"{message['ts']} #{message['seq']}"
    match message["type"]:
        case "alert":
            alert = message["alert"]
            said, done = f"{alert['agent_id']}: {alert['title']}", alert["response"]["taken"]
            return f"{head} {alert['severity'].upper()} {said} [{done}]"
        case "transition":
            change = message["transition"]
            return f"{head} {change['kind'].upper()} {change['target']} by {change['by']}: {change['reason']}"
        case "acknowledgement":
            ack = message["acknowledgement"]
            return f"{head} confirmed by {ack['point']} ({ack['confirmed']}/{ack['live']})"
        case "status" if "missed" in message["status"]:
            missed = message["status"]["missed"]
            return (
                f"{head} MISSED {missed['from']} to {missed['to']}: resume with --since {missed['from'] - 1}"
            )
    return None
