"""The daemon's gate: tokens, sessions, the brake on guessing, the provider, and the trail of who did what."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Final

from monitor.access.oidc import Attempts
from monitor.access.oidc_provider import Provider
from monitor.access.session_file import SessionFile, encoded
from monitor.access.sessions import Sessions
from monitor.access.throttle import Budget, Throttle
from monitor.access.token_file import FollowedTokens, TokenFile
from monitor.access.tokens import Tokens
from monitor.config import Config
from monitor.errors import LogError
from monitor.log.audit import AuditTrail, Entry
from monitor.state_dir import StateDir

log = logging.getLogger("killcord.access")

LOOK_INTERVAL_S: Final = 1.0
TELL_LEFT_OUT_EVERY_S: Final = 60.0


@dataclass
class Gate:
    """What stands between a request and the daemon. Belongs to one event loop."""

    tokens: FollowedTokens
    sessions: Sessions
    session_file: SessionFile
    trail: AuditTrail
    attempts: Attempts
    provider: Provider | None = None
    throttle: Throttle = field(default_factory=Throttle)
    # What strangers and known people can have written into the trail by being refused: apart, so that a flood from
    # outside does not hide an insider. About 17,000 entries a day in all, 5 MB, while an attack lasts.
    strangers: Budget = field(default_factory=lambda: Budget(per_key=10, in_all=200, refill_s=10.0))
    insiders: Budget = field(default_factory=lambda: Budget(per_key=60, in_all=1_000, refill_s=10.0))
    kill_url: str = ""
    """Where kills are taken if not everywhere."""
    kill_port: int = 0
    _told_s: float = 0.0
    _saving: asyncio.Lock = field(default_factory=asyncio.Lock)

    def known(self) -> Tokens:
        """Return the tokens as they are now."""
        return self.tokens.at(time.monotonic())

    async def save_sessions(self) -> None:
        """Return when the sessions are kept, if any has changed."""
        async with self._saving:
            if self.sessions.is_changed:
                self.sessions.is_changed = False
                content = encoded(self.sessions.all(time.time()))
                self.sessions.is_changed = False
                await asyncio.to_thread(self.session_file.save, content)

    async def look_after(self) -> None:
        """Once a second take in what the command line did, save sessions, say what was left out. Never ends."""
        while True:
            try:
                await self.trail.take_in()
                await self.save_sessions()
                self._tell_left_out()
            except (LogError, OSError) as error:
                log.error("the audit trail or the sessions cannot be kept: %s", error)
            await asyncio.sleep(LOOK_INTERVAL_S)

    def _tell_left_out(self) -> None:
        now_s = time.monotonic()
        if now_s - self._told_s < TELL_LEFT_OUT_EVERY_S:
            return
        for who, budget in (("strangers", self.strangers), ("known people", self.insiders)):
            if count := budget.take_left_out():
                self._told_s = now_s
                detail = {"count": count, "of": who}
                self.trail.note(
                    Entry(time.time(), "killcord", "", "", "refusals not listed", "", "refused", detail)
                )


@contextlib.asynccontextmanager
async def open_gate(
    config: Config,
    state: StateDir,
    *,
    local: str = "",
    owner: str = "",
    on_act: Callable[[int], object] = lambda seq: None,
) -> AsyncIterator[Gate]:
    """Open the gate of the daemon with that state directory.

    Parameters
    ----------
    local
        The secret for the owner of the state directory.
    owner
        What the record calls that owner.
    on_act
        Told the number of each entry of the audit trail that is on disk, at first that of the newest.

    Raises
    ------
    AccessError
        If the file of tokens is damaged.
    LogError
        If the audit trail is.
    """
    tokens = FollowedTokens(TokenFile(state.token_file), local=local, local_name=owner)
    session_file = SessionFile(state.path / "sessions.json")
    sessions = Sessions(
        max_age_s=config.access.session_max_age_s,
        idle_s=config.access.session_idle_s,
        is_valid=lambda token_id, now_s: tokens.at(time.monotonic()).is_valid(token_id, now_s),
        kept=session_file.load(),
    )
    retention_days = config.access.audit_retention_days
    async with AuditTrail(
        state.path / "audit", state.audit_inbox, retention_days=retention_days, on_durable=on_act
    ) as trail:
        on_act(trail.last_seq)
        gate = Gate(
            tokens,
            sessions,
            session_file,
            trail,
            Attempts(state.secret()),
            Provider(config.oidc) if config.oidc.issuer else None,
        )
        looking = asyncio.create_task(gate.look_after(), name="gate")
        try:
            yield gate
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            await gate.save_sessions()
