"""Names for the numbers."""

from __future__ import annotations

from typing import Any

import pytest

from monitor.core import words as module
from monitor.core.words import MAX_VALUE_CHARS, Words, subject
from monitor.intake.action import Action
from monitor.intake.observation import Observation, Observer
from tests.monitor.streams import SECRET, observed


def action(store_args: bool = False, **fields: Any) -> Observation:
    made = Action(**{"id": "a", "ts": 1.0, "agent_id": "x", "tool": "send_money", **fields})
    return Observer(SECRET, store_args=store_args).observe(made)


def test_a_tool_is_known_by_its_hash_whole_or_half() -> None:
    words, seen = Words(), action()
    assert words.tool(seen.features.tool) is None
    words.note(seen)
    assert words.tool(seen.features.tool) == words.tool(seen.features.tool >> 32) == "send_money"


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TOOLS", 2)
    words = Words()
    for name in "abc":
        words.note(action(tool=name))
    assert sorted(words.dump().values()) == ["a", "b"]


def test_restored_words_know_the_same() -> None:
    first, second = Words(), Words()
    first.note(action())
    second.restore(first.dump())
    assert second.tool(action().features.tool) == "send_money"


def test_values_are_named_only_where_they_are_kept() -> None:
    args = {"to": "DE89", "all": [1, 2], "long": "x" * 500}
    assert subject(action(args=args), Words()).arg_values is None
    values = subject(action(store_args=True, args=args), Words()).arg_values
    assert values is not None
    assert list(values[:2]) == ["DE89", "[1, 2]"]
    assert len(values[2]) == MAX_VALUE_CHARS


def test_sources_stand_beside_their_arguments() -> None:
    named = subject(action(args={"a": 1, "b": 2}, provenance={"b": "user"}), Words())
    assert (named.arg_names, named.arg_sources) == (("a", "b"), (None, "user"))


def test_names_that_an_agent_made_up_fit_one_line_of_a_terminal() -> None:
    args = {"\x1b[2J": 1, "n" * 10_000: 2}
    named = subject(action(tool="wipe\u202e", args=args, provenance={"\x1b[2J": "tool:\n"}), Words())
    texts = [named.tool, *named.arg_names, *(source for source in named.arg_sources or () if source)]
    assert all(text.isprintable() and len(text) <= MAX_VALUE_CHARS for text in texts)
    words = Words()
    words.note(observed(Action(id="a", ts=1.0, agent_id="x", tool="wipe\u202e"))[0])
    assert all(text.isprintable() for text in words.dump().values())
