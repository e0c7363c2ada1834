"""What one allowing ``Guard.check`` costs, beside one look-up in a Python set."""

from __future__ import annotations

from functools import partial
from typing import Any

import redis

from benchmarks.series import Action, fresh_ns, hot_ns, look_up_all
from killswitch import Guard, Target
from killswitch.revocations import Revocation
from killswitch.storage import codec

FOUR = "check(agent='bot', session='run-42', tool='send_money', human='alice@example.com')"


def measure_check(url: str, revoked: int) -> dict[str, float]:
    """Return the nanoseconds of an allowing check of four names, and of one look-up in a set, side by side.

    Two ways each. Plain: names as an action brings them, new strings that nobody has hashed yet, and a set of 100,000.
    ``hot``: the same few literals again and again.
    """
    prefix = f"check-{revoked}:"
    fill(url, prefix, revoked)
    names = {f"agent-{number}" for number in range(100_000)}
    with Guard.connect(url, prefix=prefix, timeout_s=60.0) as guard:
        if guard.status().revocations != revoked:
            raise RuntimeError(f"the guard holds {guard.status().revocations} of {revoked} revocations")
        scope: dict[str, Any] = {"check": guard.check, "names": names}
        found = {
            "revoked": revoked,
            "check_ns": fresh_ns(partial(_check_all, guard)),
            "set_lookup_ns": fresh_ns(partial(look_up_all, names)),
            "check_hot_ns": hot_ns(FOUR, scope),
            "check_one_hot_ns": hot_ns("check(agent='bot')", scope),
            "set_lookup_hot_ns": hot_ns("'bot' in names", scope),
        }
    return {**found, "check_to_set_lookup": round(found["check_ns"] / found["set_lookup_ns"], 2)}


def _check_all(guard: Guard, actions: list[Action]) -> None:
    check = guard.check
    for agent, session, tool, human in actions:
        check(agent=agent, session=session, tool=tool, human=human)


def fill(url: str, prefix: str, revoked: int) -> None:
    """Put `revoked` revocations into the store as a snapshot would find them."""
    client = redis.Redis.from_url(url)
    pipeline = client.pipeline(transaction=False)
    for number in range(revoked):
        target = Target("agent", f"agent-{number}")
        record = Revocation(target, "revoke", "benchmark", "benchmark", 1.0, None, str(number), number + 1)
        pipeline.hset(f"{prefix}state", str(target), codec.encode_revocation(record))
        if number % 5_000 == 0:
            pipeline.execute()
    pipeline.set(f"{prefix}epoch", revoked)
    pipeline.execute()
    client.close()
