from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from killswitch import InvalidTarget, Target
from tests.killswitch.records import targets


@given(targets())
def test_a_target_reads_back_as_it_is_written(target: Target) -> None:
    assert Target.parse(str(target)) == target


@pytest.mark.parametrize("text", ["agent:a:b/c@d", "human:alice@example.com", "agent:spiffe://x/y", "fleet"])
def test_values_may_hold_colons_slashes_and_at_signs(text: str) -> None:
    assert str(Target.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "field", "hint"),
    [
        ("robot:x", "kind", "not one of agent"),
        ("billing-bot", "kind", "write KIND:NAME"),
        ("", "kind", "write KIND:NAME"),
        ("agent", "value", "write agent:NAME"),
        ("agent:", "value", "empty"),
        ("agent:" + "x" * 513, "value", "513 characters"),
        ("agent:a\nb", "value", "control character"),
        ("agent:a\x00", "value", "control character"),
        ("agent:\ud800", "value", "control character"),
        ("fleet:x", "value", "takes no value"),
        ("fleet:", "value", "takes no value"),
        ("agent_version:bot", "value", "name@version"),
    ],
)
def test_what_is_no_target_names_the_field_and_what_to_write(text: str, field: str, hint: str) -> None:
    with pytest.raises(InvalidTarget, match=hint) as caught:
        Target.parse(text)
    assert caught.value.field == field


def test_512_characters_are_allowed() -> None:
    assert len(Target.parse("agent:" + "x" * 512).value) == 512


@given(st.text() | st.none() | st.integers() | st.binary())
def test_anything_else_raises_only_invalid_target(anything: object) -> None:
    with suppress(InvalidTarget):
        assert str(Target.parse(anything)) == anything  # type: ignore[arg-type]


def test_a_target_cannot_be_changed_and_is_a_key() -> None:
    target = Target("agent", "x")
    with pytest.raises(AttributeError):
        target.value = "y"  # type: ignore[misc]
    assert {target: 1}[Target.parse("agent:x")] == 1


def test_a_value_must_be_text() -> None:
    with pytest.raises(InvalidTarget, match="expected text, not int"):
        Target("agent", 7)  # type: ignore[arg-type]


def test_the_fleet_is_everybody_and_has_no_name() -> None:
    with pytest.raises(InvalidTarget, match="just 'fleet'"):
        Target("fleet", "all")
    with pytest.raises(InvalidTarget, match="not one of"):
        Target("robot", "x")  # type: ignore[arg-type]
