"""What runs in the peers' own environment: the side that kills, the side that is to stop, and the checks.

Started by :mod:`benchmarks.kill_peers` as ``python -m benchmarks.peers_inside ROLE URL``. It reads JSON lines from
standard input and writes JSON lines to standard output. Everything has its default settings unless a comment says why
not.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import os
import random
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TextIO

from benchmarks.series import Action, fresh_ns, look_up_all

AGENT = "billing-bot"
CALL_EVERY_S = 0.001  # a worker's tool calls; in a busy loop a few workers would starve each other
POLL_SPREAD_S = 5.0


class Pipe:
    """JSON lines with the benchmark. Libraries that print to standard output print to standard error instead."""

    def __init__(self) -> None:
        self._out: TextIO = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)
        sys.stdout = sys.stderr

    def tell(self, **words: Any) -> None:
        """Send one object."""
        self._out.write(json.dumps(words) + "\n")

    def asked(self) -> str:
        """Return what to do next; empty at the end."""
        return sys.stdin.readline().strip()


def agent_killswitch(url: str, **options: Any) -> Any:
    """Return agent-killswitch with its Redis backend."""
    redis, peer = _import("redis"), _import("agent_killswitch")
    backend = _import("agent_killswitch.backends.redis").RedisBackend(redis.Redis.from_url(url))
    return peer.KillSwitch(backend=backend, **options)


def agent_killswitch_kill(pipe: Pipe, url: str) -> None:
    """Kill and restore an agent."""
    peer, switch = _import("agent_killswitch"), agent_killswitch(url)
    while what := pipe.asked():
        started_ns = time.monotonic_ns()
        if what == "kill":
            switch.activate(peer.KillLevel.KILL, peer.KillScope.AGENT, AGENT, reason="benchmark")
        else:
            switch.deactivate(peer.KillScope.AGENT, AGENT)
        pipe.tell(started_ns=started_ns)


def agent_killswitch_check(pipe: Pipe, url: str) -> None:
    """Check without a pause until the check refuses, as an agent would that does nothing else."""
    switch = agent_killswitch(url)
    while pipe.asked():
        while switch.check(AGENT).is_killed:
            time.sleep(CALL_EVERY_S)
        pipe.tell(ready=True)
        while not switch.check(AGENT).is_killed:
            pass
        pipe.tell(refused_ns=time.monotonic_ns())


def agent_killswitch_group(pipe: Pipe, url: str) -> None:
    """Run a task in its task group until that cancels it."""
    tasks = _import("agent_killswitch.integrations.asyncio_tasks")
    switch = agent_killswitch(url)
    cancelled_ns: list[int] = []

    async def work() -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled_ns.append(time.monotonic_ns())
            raise

    async def run() -> None:
        group = tasks.KillSwitchTaskGroup(killswitch=switch, agent_id=AGENT)
        group.add_task(work())
        pipe.tell(ready=True)
        await group.run()

    while pipe.asked():
        while switch.check(AGENT).is_killed:
            time.sleep(CALL_EVERY_S)
        asyncio.run(run())
        pipe.tell(refused_ns=cancelled_ns[-1])


def airlock_signers() -> tuple[Any, ...]:
    """Return three operators' signers, as its quorum of 2 of 3 wants them."""
    signer = _import("agent_airlock.kill_switch.signer").HMACBroadcastSigner
    return tuple(signer(f"operator-{number}", bytes([number]) * 32) for number in range(3))


def airlock_transport(url: str) -> Any:
    """Return its Redis stream."""
    return _import("agent_airlock.kill_switch.transports.redis_stream").RedisStreamTransport.from_url(url)


def airlock_kill(pipe: Pipe, url: str) -> None:
    """Freeze the fleet; release it with two signatures."""
    broadcast = _import("agent_airlock.kill_switch.broadcast").KillSwitchBroadcast
    senders = [broadcast(signer=signer, transport=airlock_transport(url)) for signer in airlock_signers()]
    while what := pipe.asked():
        started_ns = time.monotonic_ns()
        if what == "kill":
            senders[0].trigger("benchmark")
        else:
            senders[0].reset("benchmark")
            senders[1].reset("benchmark")
        pipe.tell(started_ns=started_ns)


def airlock_call(pipe: Pipe, url: str) -> None:
    """Call a guarded tool every millisecond until it is refused.

    Its poll begins with the first call; a random pause before that puts several workers out of step.
    """
    time.sleep(random.uniform(0, POLL_SPREAD_S))
    listener = _import("agent_airlock.kill_switch.broadcast").KillSwitchListener(
        signers=airlock_signers(), transport=airlock_transport(url)
    )
    _import("agent_airlock.kill_switch.registry").install(listener)
    ran: list[int] = []

    @_import("agent_airlock").Airlock()  # type: ignore[untyped-decorator]
    def tool(number: int) -> int:
        ran.append(number)
        return number

    def is_refused() -> bool:
        ran.clear()
        tool(number=1)
        return not ran

    while pipe.asked():
        while is_refused():
            time.sleep(CALL_EVERY_S)
        pipe.tell(ready=True)
        while not is_refused():
            time.sleep(CALL_EVERY_S)
        pipe.tell(refused_ns=time.monotonic_ns())


def checks(pipe: Pipe, url: str) -> None:
    """Time each peer's allowing check with as many revocations as asked, beside a look-up in a set."""
    while revoked := pipe.asked():
        count = int(revoked)
        names = {f"agent-{number}" for number in range(100_000)}
        pipe.tell(
            revoked=count,
            set_lookup_ns=fresh_ns(partial(look_up_all, names)),
            agent_killswitch_memory_ns=_killswitch_memory_ns(count),
            agent_killswitch_redis_ns=_killswitch_redis_ns(url),
            agt_is_revoked_ns=_agt_ns(count),
            cedarpy_ns=_cedar_ns(count),
        )


def _killswitch_memory_ns(revoked: int) -> float:
    peer = _import("agent_killswitch")
    switch = peer.KillSwitch()
    for number in range(revoked):
        switch.activate(peer.KillLevel.KILL, peer.KillScope.AGENT, f"agent-{number}", reason="benchmark")
    return fresh_ns(_each(lambda action: switch.check(action[0])), actions=2_000)


def _killswitch_redis_ns(url: str) -> float:
    switch = agent_killswitch(url, prefix="checks:")
    return fresh_ns(_each(lambda action: switch.check(action[0])), actions=200)


def _agt_ns(revoked: int) -> float:
    listed = _import("agentmesh.identity.revocation").RevocationList()
    for number in range(revoked):
        listed.revoke(f"agent-{number}", "benchmark")
    return fresh_ns(_each(lambda action: listed.is_revoked(action[0])))


def _cedar_ns(revoked: int) -> float:
    """Time Cedar with policies and entities read beforehand, the fastest way it offers."""
    cedar = _import("cedarpy")
    policies = cedar.PolicySet.from_str(
        'permit(principal, action, resource); forbid(principal in Group::"revoked", action, resource);'
    )
    group = {"type": "Group", "id": "revoked"}
    entities: list[dict[str, Any]] = [{"uid": group, "attrs": {}, "parents": []}]
    entities += [
        {"uid": {"type": "Agent", "id": f"agent-{number}"}, "attrs": {}, "parents": [group]}
        for number in range(revoked)
    ]
    known = cedar.Entities.from_json_str(json.dumps(entities))

    def check(action: Action) -> None:
        agent, _session, tool, _human = action
        request = {"principal": {"type": "Agent", "id": agent}, "action": 'Action::"call"',
                   "resource": {"type": "Tool", "id": tool}, "context": {}}  # fmt: skip
        if not cedar.is_authorized(request, policies, known).allowed:
            raise RuntimeError("Cedar refused what it should allow")

    return fresh_ns(_each(check), actions=500)


def _each(check: Callable[[Action], object]) -> Callable[[list[Action]], None]:
    def run(actions: list[Action]) -> None:
        for action in actions:
            check(action)

    return run


def _import(name: str) -> Any:
    return importlib.import_module(name)


ROLES: dict[str, Callable[[Pipe, str], None]] = {
    role.__name__.replace("_", "-"): role
    for role in (
        agent_killswitch_kill,
        agent_killswitch_check,
        agent_killswitch_group,
        airlock_kill,
        airlock_call,
        checks,
    )
}


def main() -> None:
    """Play one role until standard input ends."""
    logging.disable(logging.CRITICAL)
    role, url = sys.argv[1:]
    ROLES[role](Pipe(), url)


if __name__ == "__main__":
    main()
