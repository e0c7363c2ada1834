from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors import MAX_ARGS, Features, Hasher

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def features(hasher: Hasher, args: dict[str, Any] | None = None, **changed: Any) -> Features:
    whole: dict[str, Any] = {"tool": "t", "ts_s": 1.0, "session": "s", "version": "v", "provenance": None}
    return hasher.features(args=args or {}, **(whole | changed))


@given(st.text(st.characters(), max_size=30), st.dictionaries(st.text(st.characters()), JSON, max_size=20))
def test_any_action_becomes_numbers_that_fit_64_bits(tool: str, args: dict[str, Any]) -> None:
    found = features(Hasher(1), args, tool=tool)
    hashes = [found.tool, found.session, found.version, *(number for arg in found.args for number in arg)]
    assert all(0 <= number < 1 << 64 for number in hashes)
    assert len(found.args) == min(len(args), MAX_ARGS)


def test_lone_surrogates_are_hashed_like_any_text() -> None:
    found = features(
        Hasher(1), {"\ud800": "\udfff"}, tool="\ud800", session="\ud801", provenance={"\ud800": "\ud8ff"}
    )
    assert found.tool
    assert found.session
    assert found.args[0][2]


def test_absent_is_zero_and_nothing_else_is() -> None:
    found = features(Hasher(1), {"a": 1, "b": 2}, session=None, version=None, provenance={"a": "user"})
    assert (found.session, found.version) == (0, 0)
    assert found.args[0][2] != 0
    assert found.args[1][2] == 0


def test_arguments_beyond_the_limit_count_only_into_the_size() -> None:
    found = features(Hasher(1), {f"a{i}": "xy" for i in range(MAX_ARGS + 5)})
    assert len(found.args) == MAX_ARGS
    assert found.size_chars == 2 * (MAX_ARGS + 5)


def test_equal_json_values_are_equal_whatever_the_order_of_their_keys() -> None:
    hasher = Hasher(1)
    one = features(hasher, {"a": {"x": 1, "y": [True, None]}})
    assert one == features(hasher, {"a": {"y": [True, None], "x": 1}})
    assert one != features(hasher, {"a": {"y": [True, None], "x": 2}})


def test_values_that_are_not_json_do_not_stop_the_stream() -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    found = features(
        Hasher(1), {"cycle": cycle, "deep": deep, "mixed": {1: 2, "a": 3}, "bytes": b"x", "set": {1}}
    )
    assert len(found.args) == 5


def test_hashes_depend_on_the_secret_seed() -> None:
    assert features(Hasher(1), {"a": "b"}) != features(Hasher(2), {"a": "b"})


def test_hashes_are_the_same_in_another_process() -> None:
    program = (
        "from detectors import Hasher; "
        "print(Hasher(9).features(tool='t', args={'a': 'b', 'c': [1]}, ts_s=1.5, session='s', version=None, "
        "provenance={'a': 'user'}))"
    )
    there = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": "123"},
        capture_output=True,
        text=True,
        check=True,
    )
    here = Hasher(9).features(
        tool="t", args={"a": "b", "c": [1]}, ts_s=1.5, session="s", version=None, provenance={"a": "user"}
    )
    assert there.stdout.strip() == str(here)


def test_names_are_remembered_within_a_bound() -> None:
    hasher = Hasher(1)
    for i in range(70_000):
        features(hasher, tool=f"tool-{i}")
    assert hasher.name(features(hasher, tool="tool-69999").tool) == "tool-69999"
    assert len(hasher._names) <= 65_536


@pytest.mark.parametrize("seed", [-1, 1 << 64])
def test_a_seed_that_does_not_fit_is_refused(seed: int) -> None:
    with pytest.raises(ValueError, match="64-bit"):
        Hasher(seed)
