"""`killcord tokens`: make, list and revoke the tokens of a state directory. A running daemon follows at once."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

from monitor.access.token_file import TokenFile
from monitor.access.tokens import MAX_NAME_CHARS, Token, make_token
from monitor.cli.asking import clock_time, shown
from monitor.cli.durations import duration_s
from monitor.errors import AccessError, ConfigError
from monitor.log.audit import Entry, Inbox
from monitor.state_dir import StateDir


def new(options: argparse.Namespace) -> int:
    """Make a token and print it; nobody can print it again."""
    name = options.name.strip()
    if not 0 < len(name) <= MAX_NAME_CHARS or not name.isprintable():
        raise ConfigError("--name", f"takes 1 to {MAX_NAME_CHARS} printable characters")
    now_s = time.time()
    expires_at_s = now_s + duration_s("--expires", options.expires) if options.expires else None
    text, token = make_token(options.role, name, by=options.by, now_s=now_s, expires_at_s=expires_at_s)
    state = StateDir(options.state)
    with _on_record(state, options.by, "make token", token):
        TokenFile(state.token_file).add(token)
    if options.json:
        print(json.dumps({**_fields(token, now_s), "token": text}))
    else:
        print(text)
        print(f"token {token.id} for {name} ({token.role}); it is not shown again", file=sys.stderr)
    return 0


def show(options: argparse.Namespace) -> int:
    """List the tokens, the newest last."""
    tokens, now_s = TokenFile(StateDir.existing(options.state).token_file).load(), time.time()
    print(json.dumps([_fields(token, now_s) for token in tokens]) if options.json else _table(tokens, now_s))
    return 0


def revoke(options: argparse.Namespace) -> int:
    """Let a token open nothing any more; revoking it again changes nothing."""
    state, now_s = StateDir.existing(options.state), time.time()
    file = TokenFile(state.token_file)
    with _on_record(state, options.by, "revoke token", file.find(options.id)):
        token = file.revoke(options.id, now_s)
    print(
        json.dumps(_fields(token, now_s))
        if options.json
        else f"token {token.id} of {token.name} opens nothing now"
    )
    return 0


@contextlib.contextmanager
def _on_record(state: StateDir, by: str, act: str, token: Token) -> Iterator[None]:
    """Put an act on record before it is done, and take it back if it is not."""
    detail = {"name": token.name, "role": token.role, "expires_at": token.expires_at}
    entry = Entry(time.time(), by, "admin", "command line", act, f"token:{token.id}", "done", detail)
    try:
        path = Inbox(state.audit_inbox).put(entry)
    except OSError as error:
        raise AccessError(
            f"{state.audit_inbox} cannot be written ({error}), so nothing was changed"
        ) from error
    try:
        yield
    except AccessError:
        path.unlink(missing_ok=True)
        raise


def _fields(token: Token, now_s: float) -> dict[str, Any]:
    return {
        "id": token.id,
        "role": token.role,
        "name": token.name,
        "state": token.state_at(now_s),
        "created_at": token.created_at,
        "created_by": token.created_by,
        "expires_at": token.expires_at,
        "revoked_at": token.revoked_at,
    }


def _table(tokens: tuple[Token, ...], now_s: float) -> str:
    if not tokens:
        return "there are no tokens; make one with `killcord tokens new`"
    width = max(len("NAME"), *(len(token.name) for token in tokens))
    lines = [f"{'ID':<12}  {'ROLE':<7}  {'NAME':<{width}}  {'STATE':<7}  {'MADE':<20}  BY, UNTIL"]
    for token in tokens:
        until = f", until {clock_time(token.expires_at)}" if token.expires_at is not None else ""
        lines.append(
            f"{token.id:<12}  {token.role:<7}  {shown(token.name):<{width}}  {token.state_at(now_s):<7}  "
            f"{clock_time(token.created_at)}  {shown(token.created_by)}{until}"
        )
    return "\n".join(lines)
