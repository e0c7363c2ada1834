"""An enforcement point as a program: ``python -m benchmarks.chaos_point URL NAME LEASE_S RECORD [KEYRING]``.

Checks every target it is told to watch about every two milliseconds and records each answer. A line of standard input
is a JSON array of ``[id, target]``; the answer is one line. It ends when its standard input does.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.chaos_keys import guard_options
from benchmarks.chaos_record import ALLOWED, BARRED, REVOKED, Recorder
from killswitch import Guard, Refused, Revoked, Target

PAUSE_S: Final = 0.002


def names_of(target: Target) -> dict[str, Any]:
    """Return what an action names that touches `target` and nothing else."""
    if target.kind == "agent_version":
        return {"agent_version": target.value}
    return {target.kind: target.value}


def check(guard: Guard, names: dict[str, Any]) -> int:
    """Return how the check was answered."""
    try:
        guard.check(**names)
    except Revoked:
        return REVOKED
    except Refused:
        return BARRED
    return ALLOWED


def main() -> None:
    """Check until the input ends."""
    url, name, lease_s, path = sys.argv[1:5]
    recorder = Recorder(Path(path))
    guard = Guard.connect(url, name=name, lease_s=float(lease_s), wait=False, **guard_options(sys.argv[5:]))
    orders: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            orders.put(line)
        orders.put(None)

    threading.Thread(target=read, daemon=True).start()
    watched: list[dict[str, Any]] = []
    while True:
        if not orders.empty():
            order = orders.get()
            if order is None:
                return
            targets = json.loads(order)
            recorder.watch([number for number, _ in targets])
            watched = [names_of(Target.parse(target)) for _, target in targets]
            print("watching", flush=True)
        for slot, names in enumerate(watched):
            began_ns = time.monotonic_ns()
            answer = check(guard, names)
            recorder.note(slot, answer, began_ns, time.monotonic_ns())
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    main()
