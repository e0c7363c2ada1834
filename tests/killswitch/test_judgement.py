from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from killswitch import Revocation, Revoked, Target
from killswitch.point.judgement import judge, named
from killswitch.point.view import View
from killswitch.revocations import LEVELS

NOW_S = 100.0
TARGETS = [
    Target("fleet"),
    Target("agent", "a"),
    Target("agent_version", "a@1"),
    Target("session", "s"),
    Target("human", "h"),
    Target("tool", "t"),
]
NAMES = named("a", "1", "s", ("h",), None, None, "t", None)

records = st.builds(
    lambda target, level, ends_s, held: Revocation(
        target,
        level,
        "r",
        "b",
        1.0,
        ends_s if level == "suspend" else None,
        "id",
        1,
        (),
        held and level == "suspend",
    ),
    st.sampled_from(TARGETS),
    st.sampled_from(LEVELS),
    st.sampled_from([NOW_S - 1, NOW_S + 1]),
    st.booleans(),
)


@given(st.lists(records, unique_by=lambda record: record.target))
def test_whatever_is_held_the_strongest_of_it_refuses(held: list[Revocation]) -> None:
    view: Any = View()
    for record in held:
        view._put(record.target, record)
    levels = [level for record in held if (level := record.level_at(NOW_S)) is not None]
    refused = judge(view, NAMES, {}, NOW_S)
    if not levels:
        assert refused is None
    else:
        assert isinstance(refused, Revoked)
        assert refused.revocation.level_at(NOW_S) == max(levels, key=LEVELS.index)
