"""One simulated agent in a process of its own: a real `Guard` before each tool call, a real `Sensor` after it.

It talks with the story over a socket in JSON lines. It is told `live`, `hijack`, `stop`; it tells `ready`, `refused`
(with what it measured), `acting` (again), `done` (with its counts). Times are of ``time.monotonic()``, which all
processes of a machine share. When the socket closes the process ends, so that no agent outlives the story.

Started with ``python -m monitor.demo.agent_process FD...``: one launcher imports everything once and forks an agent
for each socket, which takes a fraction of a second where as many interpreters would take many.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from killswitch import Guard, Keyring, Refused, Revoked
from monitor.demo.fleet import Call, make_agent
from monitor.sensor import Sensor

_SLICE_S = 0.1  # an order from the story is heard within this time
_RETRY_S = 0.02  # a stopped agent asks so often whether it may go on
_FLUSH_S = 5.0


@dataclass(frozen=True, slots=True)
class Setup:
    """What an agent process needs to know; the first line on its socket."""

    seed: int
    agents: int
    number: int
    history_until_s: float
    url: str
    token: str
    redis_url: str
    keyring: str


class AgentProcess:
    """The agent's life: work until told otherwise, obey the guard, report.

    Parameters
    ----------
    setup
        Who it is and where the daemon and the store are.
    lines, out
        The two directions of its socket.
    """

    def __init__(self, setup: Setup, lines: TextIO, out: TextIO) -> None:
        self._lines = lines
        self._out = out
        self._orders: set[str] = set()
        self._ordered = threading.Condition()
        self._agent = make_agent(setup.seed, setup.agents, setup.number)
        self._agent.history(setup.history_until_s)  # brings it to the state in which its history left it
        self._guard = Guard.connect(
            setup.redis_url,
            name=self._agent.name,
            keyring=Keyring.decode(setup.keyring.encode()),
            serves=[f"agent:{self._agent.name}"],
        )
        self._acked = 0
        self._sensor = Sensor(setup.url, setup.token, on_ack=self._on_ack)
        self._sent = 0
        self._is_hijacked = False
        # Calls that began since the hijack, in order, and when each was acknowledged; the bad ones among them.
        self._acks: dict[str, float | None] = {}
        self._bad: list[str] = []

    def run(self) -> None:
        """Live until told to stop, then report the counts."""
        self._tell("ready", agent=self._agent.name)
        threading.Thread(target=self._listen, daemon=True).start()
        with self._ordered:
            self._ordered.wait_for(lambda: self._orders & {"live", "stop"})
        calls = self._agent.work()
        start_s = time.monotonic()
        while not self._is_ordered("stop"):
            if self._take_order("hijack"):
                self._is_hijacked = True
                start_s = time.monotonic()  # it may have been in the middle of a long pause
                calls = self._agent.hijacked()
            call = next(calls)
            start_s = max(start_s + call.gap_s, time.monotonic())
            refused = self._pause(call, start_s) or self._perform(call)
            if refused is not None:
                self._stand_still(call, *refused)
                calls = self._agent.work()
                start_s = time.monotonic()
        self._finish()

    # --- one call -------------------------------------------------------------------------------------

    def _pause(self, call: Call, until_s: float) -> tuple[Refused, float] | None:
        """Wait for the call's time; return what stopped the agent meanwhile, and when."""
        try:
            with self._guard.watch(**_touched(call, with_tool=False)) as watch:
                while (left_s := until_s - time.monotonic()) > 0 and not self._orders & {"stop", "hijack"}:
                    if watch.wait(min(left_s, _SLICE_S)):
                        watch.raise_if_revoked()
        except Refused as refused:
            return refused, time.monotonic()
        return None

    def _perform(self, call: Call) -> tuple[Refused, float] | None:
        """Check, let the tool work, report the action; return what refused or interrupted it, and when."""
        if self._orders & {"stop", "hijack"} and not call.is_bad:
            return None
        names = _touched(call)
        action = {**call.action, "id": os.urandom(16).hex(), "ts": time.time()}
        outcome, has_begun = None, False
        try:
            self._guard.check(**names)
            with self._guard.watch(**names) as watch:
                has_begun = True
                self._note(action["id"], is_bad=call.is_bad)
                if watch.wait(call.duration_s):
                    watch.raise_if_revoked()
        except Refused as refused:
            outcome = refused, time.monotonic()
            action["result"] = {"ok": False}
        if has_begun:
            self._sent += self._sensor.send(action)
        return outcome

    def _note(self, action_id: str, *, is_bad: bool) -> None:
        if self._is_hijacked:
            self._acks[action_id] = None
        if is_bad:
            self._bad.append(action_id)

    def _stand_still(self, call: Call, refused: Refused, at_s: float) -> None:
        """Report the refusal; return when the agent may act again."""
        wall_s = time.time() - (time.monotonic() - at_s)
        self._sensor.flush(_FLUSH_S)
        facts: dict[str, Any] = {"at_s": at_s, "why": str(refused), "kind": type(refused).__name__}
        if isinstance(refused, Revoked):
            record = refused.revocation
            facts |= {"change_id": record.change_id, "since_write_ms": (wall_s - record.at_s) * 1000}
        self._tell("refused", **facts, acks=self._acks, bad=self._bad)
        self._is_hijacked, self._acks, self._bad = False, {}, []
        while not self._is_ordered("stop"):
            try:
                self._guard.check(**_touched(call))
            except Refused:
                self._wait_for_order(_RETRY_S)
            else:
                self._tell("acting", at_s=time.monotonic())
                return

    # --- orders and reports -----------------------------------------------------------------------------

    def _listen(self) -> None:
        for line in self._lines:
            with self._ordered:
                self._orders.add(json.loads(line)["do"])
                self._ordered.notify_all()
        try:  # the story is gone, and nobody would ever stop this agent
            self._guard.close()
        finally:
            os._exit(1)

    def _is_ordered(self, order: str) -> bool:
        return order in self._orders

    def _take_order(self, order: str) -> bool:
        with self._ordered:
            is_there = order in self._orders
            self._orders.discard(order)
            return is_there

    def _wait_for_order(self, timeout_s: float) -> None:
        with self._ordered:
            self._ordered.wait_for(lambda: "stop" in self._orders, timeout_s)

    def _on_ack(self, ids: Sequence[str], at_s: float) -> None:
        self._acked += len(ids)
        for action_id in ids:
            if action_id in self._acks:
                self._acks[action_id] = at_s

    def _tell(self, event: str, **facts: object) -> None:
        print(json.dumps({"event": event, **facts}), file=self._out, flush=True)

    def _finish(self) -> None:
        self._sensor.close(_FLUSH_S)
        self._guard.close()
        counters = self._sensor.counters()
        self._tell(
            "done",
            sent=self._sent,
            acked=self._acked,
            accepted=counters.accepted,
            rejected=counters.rejected,
            dropped=counters.dropped,
            errors=list(self._sensor.last_errors()),
        )


def _touched(call: Call, *, with_tool: bool = True) -> dict[str, Any]:
    """Return everything that a call touches and that somebody may have revoked."""
    action = call.action
    human, *delegates = action["on_behalf_of"]
    names = {
        "agent": action["agent_id"],
        "agent_version": action["agent_version"],
        "session": action["session_id"],
        "human": human,
        "delegation": tuple(delegates) or None,
        "credential": action["credential"],
    }
    return {**names, "tool": action["tool"]} if with_tool else names


def launch(descriptors: Sequence[int]) -> int:
    """Fork an agent for each socket and wait for them; only before any thread was started."""
    children = [_fork(descriptor, descriptors) for descriptor in descriptors]
    for descriptor in descriptors:
        os.close(descriptor)
    return max((os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children), default=0)


def _fork(descriptor: int, descriptors: Sequence[int]) -> int:
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the story, which tells the agents
        for other in descriptors:
            if other != descriptor:
                os.close(other)
        connection = socket.socket(fileno=descriptor)
        with connection, connection.makefile("r") as lines, connection.makefile("w") as out:
            AgentProcess(Setup(**json.loads(lines.readline())), lines, out).run()
        status = 0
    except (BrokenPipeError, ConnectionResetError):
        pass  # the story has ended early and needs no report
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    sys.exit(launch([int(argument) for argument in sys.argv[1:]]))
