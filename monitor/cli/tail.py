"""`killcord tail`: the live feed in a terminal."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys

from monitor.cli.client import find_daemon
from monitor.cli.tail_text import line
from monitor.errors import FeedReset
from monitor.feed_client import FeedClient
from monitor.live.filters import parse_filter
from monitor.live.message_types import decode_message


def run(options: argparse.Namespace) -> int:
    """Print messages until Ctrl-C, or until there were as many as asked for."""
    parse_filter(" ".join(options.filter))  # the daemon would refuse it too, but may not be there to say so
    asyncio.run(_tail(options))
    return 0


async def _tail(options: argparse.Namespace) -> None:
    client = FeedClient(
        lambda: find_daemon(options),  # a local daemon that starts again announces itself anew
        since=options.since,
        filter=" ".join(options.filter),
        on_break=lambda why: _note("the feed broke off; trying again"),
    )
    left = options.limit or sys.maxsize
    while left > 0:
        try:
            left = await _print(client, left, options)
        except FeedReset as error:
            _note(str(error))


async def _print(client: FeedClient, left: int, options: argparse.Namespace) -> int:
    """Print until there were `left` messages; return how many are left then."""
    in_colour = not options.json and sys.stdout.isatty()
    async with contextlib.aclosing(client.texts()) as texts:
        async for text in texts:
            # JSON in plain ASCII: what an agent has put into it can neither move the cursor nor hide.
            shown = json.dumps(json.loads(text)) if options.json else line(decode_message(text), in_colour)
            if shown:
                print(shown, flush=True)
                left -= 1
            if left == 0:
                break
    return left


def _note(text: str) -> None:
    print(f"killcord: {text}", file=sys.stderr, flush=True)
