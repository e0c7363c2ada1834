"""The enforcement point: it lives in an agent's process and says, locally and at once, what may not act."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from killswitch.clocks import lease_clock_s, wall_s
from killswitch.errors import (
    InvalidRequest,
    LeaseExpired,
    NotReady,
    Refused,
    StepUpRequired,
    StoreUnreachable,
)
from killswitch.point.follower import Follower
from killswitch.point.judgement import Names, judge, named, touches, touches_version
from killswitch.point.registration import default_name, point_record
from killswitch.point.sentinel import Sentinel
from killswitch.registry.points import PointRecord
from killswitch.revocations import Revocation
from killswitch.running.watch import Watch
from killswitch.storage.store import PREFIX, Keys
from killswitch.targets import Kind, Target
from killswitch.trust.keyring import Keyring

DEFAULT_LEASE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class GuardStatus:
    """How a guard stands now.

    ``lease_remaining_s`` is negative once it refuses for lack of news; ``store_regressed`` says that the
    store lost revocations, of which the guard keeps ``kept`` by itself until somebody restores them by name.
    ``keyring`` is the version of the keyring it goes by, 0 if it trusts the store.
    """

    name: str
    point: str
    epoch: int
    connected: bool
    lease_remaining_s: float
    revocations: int
    store_regressed: bool
    kept: int
    failures: int
    last_error: str
    keyring: int = 0


class Guard:
    """An enforcement point. Make one per process with :meth:`connect`; :meth:`check` before each action.

    What happens when it cannot decide: before the first snapshot, without news for one lease, with a record
    in force that it cannot read, and for a check it does not understand, it refuses. There is no setting that
    makes it allow.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str | None,
        lease_s: float,
        prefix: str,
        keyring: Keyring | None = None,
        serves: Sequence[str] = (),
        sentinel: Path | None = None,
    ) -> None:
        if not 0.1 <= lease_s <= 3600:
            raise InvalidRequest("lease_s", f"{lease_s} is not between 0.1 and 3600 seconds")
        self._watches: set[Watch] = set()
        self._wake_lock = threading.Lock()
        self._is_closed = False
        self._follower = self._new_follower(
            url, Keys(prefix), point_record(name, lease_s, tuple(serves)), keyring
        )
        self._sentinel = (
            None if sentinel is None else Sentinel(sentinel, on_change=lambda state: self._changed())
        )
        _guards.add(self)

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        name: str | None = None,
        lease_s: float = DEFAULT_LEASE_S,
        prefix: str = PREFIX,
        timeout_s: float = 5.0,
        wait: bool = True,
        keyring: Keyring | None = None,
        serves: Sequence[str] = (),
        sentinel: Path | None = None,
    ) -> Self:
        """Return a guard that follows the store at `url` in a thread of its own.

        Parameters
        ----------
        url : str
            ``redis://``, ``rediss://`` or ``unix://``.
        name : str, optional
            What people will read when this point is missing; by default the program's host and process id.
        lease_s : float
            Seconds without news after which the guard refuses everything, 0.1 to 3600. It is the longest time
            a kill can go unheard, whatever fails; shorter ones refuse sooner when the store stalls.
        prefix : str
            The prefix of the store's keys.
        timeout_s : float
            Longest wait, in seconds, for the first snapshot.
        wait : bool
            False returns at once; the guard refuses with NotReady until the first snapshot is there.
        keyring : Keyring, optional
            The public keys to go by. With it nobody who can only write to the store can lift a revocation: a
            restoration counts only with its operators' signatures, and a state that nobody vouches for allows
            nothing. Without it the store is trusted.
        serves : sequence of str, optional
            What acts behind this point, as targets are written ("agent:billing-bot"); for people to read.
        sentinel : Path, optional
            A file on this host that stops what it names, without any network; see :mod:`killswitch.point.sentinel`.

        Raises
        ------
        StoreUnreachable
            If `wait` and there is no snapshot in time. The guard is closed again.
        """
        guard = cls(
            url, name=name, lease_s=lease_s, prefix=prefix, keyring=keyring, serves=serves, sentinel=sentinel
        )
        guard._follower.start()
        if wait and not guard._follower.ready.wait(timeout_s):
            reason = guard._follower.last_error or f"no snapshot within {timeout_s} s"
            guard.close()
            raise StoreUnreachable(reason)
        return guard

    def check(
        self,
        *,
        agent: str | None = None,
        agent_version: str | None = None,
        session: str | None = None,
        human: Names = None,
        delegation: Names = None,
        credential: str | None = None,
        tool: str | None = None,
        tenant: str | None = None,
        **unknown: object,
    ) -> None:
        """Return if the action may go on; raise if anything it touches is revoked.

        Name everything the action touches. Local, lock-free, safe from any thread; no allocation that
        outlives the call, well under a microsecond when it allows.

        Parameters
        ----------
        agent, session, credential, tool, tenant : str, optional
            Their names.
        agent_version : str, optional
            ``name@version``, or the version alone beside `agent`.
        human, delegation : str or list or tuple of str, optional
            One, or the whole chain the action is on behalf of.

        Raises
        ------
        Revoked
            One of them, or the fleet, is revoked or suspended; the strongest is reported. StepUpRequired if
            it is only held for approval.
        LeaseExpired, NotReady
            The store was not heard for one lease, or not yet.
        UnknownRevocation
            A record is in force that this version cannot read.
        UncheckableAction
            The check names nothing, an unknown kind of thing, or a name that could not be revoked.
        """
        follower, sentinel = self._follower, self._sentinel
        view = follower.view
        # The fast path only ever answers "certainly nothing"; everything else is judged with care.
        if (
            unknown
            or view.barred
            or lease_clock_s() >= follower.lease_until_s
            or (sentinel is not None and lease_clock_s() >= sentinel.quiet_until_s)
            or (agent is not None and (agent.__class__ is not str or agent in view.agent))
            or (session is not None and (session.__class__ is not str or session in view.session))
            or (tool is not None and (tool.__class__ is not str or tool in view.tool))
            or (credential is not None and (credential.__class__ is not str or credential in view.credential))
            or (tenant is not None and (tenant.__class__ is not str or tenant in view.tenant))
            or (
                human is not None
                and (human in view.human if human.__class__ is str else touches(human, view.human))
            )
            or (
                delegation is not None
                and (
                    delegation in view.delegation
                    if delegation.__class__ is str
                    else touches(delegation, view.delegation)
                )
            )
            or (agent_version is not None and touches_version(agent, agent_version, view))
            or (agent is session is tool is credential is None)
        ):
            self._judge(
                named(agent, agent_version, session, human, delegation, credential, tool, tenant), unknown
            )

    def watch(
        self,
        *,
        agent: str | None = None,
        agent_version: str | None = None,
        session: str | None = None,
        human: Names = None,
        delegation: Names = None,
        credential: str | None = None,
        tool: str | None = None,
        tenant: str | None = None,
        **unknown: object,
    ) -> Watch:
        """Return a context manager whose body is stopped when anything it names is revoked.

        Takes what :meth:`check` takes, and checks on entry. ``async with`` cancels the body's task and turns
        the cancellation into the Refused that caused it; plain ``with`` is for threads, which ask
        :meth:`Watch.raise_if_revoked` or :meth:`Watch.wait` themselves. A body is also stopped when the lease
        runs out; a ``step_up`` only holds the next action and lets the running one finish.

        Raises
        ------
        Refused
            On entry as :meth:`check`; from the body's end if it was stopped.
        """
        names = named(agent, agent_version, session, human, delegation, credential, tool, tenant)
        given = {kind: value for kind, value in names.items() if value is not None}
        return Watch(self, given | unknown)

    def status(self) -> GuardStatus:
        """Return how the guard stands: connected or not, the epoch, the rest of the lease."""
        follower = self._follower
        view = follower.view
        return GuardStatus(
            name=follower.record.name,
            point=follower.record.id,
            epoch=view.epoch,
            connected=follower.connected,
            lease_remaining_s=follower.lease_until_s - lease_clock_s(),
            revocations=len(view),
            store_regressed=view.regressed,
            kept=len(view.kept),
            failures=follower.failures,
            last_error=follower.last_error,
            keyring=0 if follower.keyring is None else follower.keyring.version,
        )

    def close(self, timeout_s: float = 2.0) -> None:
        """Stop following, sign off at the store, refuse everything from now on. Idempotent."""
        self._is_closed = True
        if self._sentinel is not None:
            self._sentinel.close()
        self._follower.stop(timeout_s)
        self._changed()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # -- what the follower's thread and the watches use ------------------------------------------------------

    def stop_reason(self, names: dict[str, Any]) -> Refused | None:
        """Return why a body that touches `names` must stop, or None if it may go on. For watches.

        A ``step_up`` is no reason: it holds the next action, and what runs was allowed when it began.
        """
        try:
            self.check(**names)
            return None
        except StepUpRequired:
            pass
        except Refused as refused:
            return refused
        try:
            self._require_lease(self._follower)
            return None
        except Refused as refused:
            return refused

    def is_announced(self, revocation: Revocation) -> bool:
        """Return whether `revocation` is only announced yet: refused, but its record may never be written."""
        return revocation.target in self._follower.view.noticed

    def lease_until_s(self) -> float:
        """Return when the lease runs out, on :data:`~killswitch.clocks.lease_clock_s`. For watches."""
        return self._follower.lease_until_s

    def add_watch(self, watch: Watch) -> None:
        """Tell `watch` of every change from now on."""
        with self._wake_lock:
            self._watches.add(watch)

    def remove_watch(self, watch: Watch) -> None:
        """Tell `watch` no more."""
        with self._wake_lock:
            self._watches.discard(watch)

    def _changed(self) -> None:
        with self._wake_lock:
            watches = list(self._watches)
        for watch in watches:
            watch.look()

    # -- the careful path ------------------------------------------------------------------------------------

    def _judge(self, names: dict[Kind, Names], unknown: dict[str, object]) -> None:
        if self._follower.pid != os.getpid():
            self._wake_in_child()
        follower = self._follower
        refused = judge(follower.view, names, unknown, wall_s())
        if refused is None and self._sentinel is not None:
            refused = self._sentinel.refusal(names)
        if refused is not None:
            raise refused
        self._require_lease(follower)

    def _require_lease(self, follower: Follower) -> None:
        if self._is_closed:
            raise NotReady("this guard is closed")
        if not follower.ready.is_set():
            raise NotReady(f"no revocations read yet ({follower.last_error or 'still connecting'})")
        late_s = lease_clock_s() - follower.lease_until_s
        if late_s >= 0:
            since_s = late_s + follower.record.lease_s
            raise LeaseExpired(
                f"nothing heard from the store for {since_s:.1f} s, longer than the lease of"
                f" {follower.record.lease_s} s ({follower.last_error or 'it does not answer'})"
            )

    def _new_follower(self, url: str, keys: Keys, record: PointRecord, keyring: Keyring | None) -> Follower:
        return Follower(url, keys, record, keyring=keyring, on_change=self._changed, refuses=self._refuses)

    def _refuses(self, target: Target) -> bool:
        """Ask the check that agents' code asks; what a point confirms is what it does."""
        names: dict[str, Any] = {"agent": "*"} if target.kind == "fleet" else {target.kind: target.value}
        try:
            self.check(**names)
        except Refused:
            return True
        return False

    def _wake_in_child(self) -> None:
        """Follow anew after a fork: threads and connections stayed with the parent."""
        with self._wake_lock:
            old = self._follower
            if old.pid == os.getpid() or self._is_closed:
                return
            record = point_record(
                None if old.record.name == default_name(old.pid) else old.record.name,
                old.record.lease_s,
                old.record.serves,
            )
            follower = self._new_follower(old.url, old.keys, record, old.keyring)
            follower.view = old.view  # refuse at least what the parent knew
            follower.start()
            self._follower = follower
        follower.ready.wait(1.0)


_guards: Final[weakref.WeakSet[Guard]] = weakref.WeakSet()


def _forget_parent() -> None:
    for guard in list(_guards):
        guard._wake_lock = threading.Lock()  # the parent's may be held by a thread that is not here
        guard._watches = set()
        guard._follower.lease_until_s = float("-inf")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
