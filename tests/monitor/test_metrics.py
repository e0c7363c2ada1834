"""Metrics in the Prometheus text format."""

from __future__ import annotations

import re

import pytest

from monitor.metrics import ACTIONS, ALL, STORE, render


def test_every_metric_is_rendered_with_its_meaning_and_type() -> None:
    text = render({metric: number for number, metric in enumerate(ALL)})
    lines = text.splitlines()
    assert len(lines) == 3 * len(ALL)
    for number, metric in enumerate(ALL):
        told, typed, value = lines[3 * number : 3 * number + 3]
        assert told == f"# HELP {metric.name} {metric.help}"
        assert typed == f"# TYPE {metric.name} {metric.kind}"
        assert value == f"{metric.name} {float(number)}"
    assert text.endswith("\n")


def test_names_are_ours_unique_and_counters_end_in_total() -> None:
    assert len({metric.name for metric in ALL}) == len(ALL)
    for metric in ALL:
        assert re.fullmatch(r"killcord_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert "\n" not in metric.help


@pytest.mark.parametrize(("value", "text"), [(123_456_789, "123456789.0"), (True, "1.0"), (0.1, "0.1")])
def test_values_are_exact(value: float, text: str) -> None:
    rendered = render(dict.fromkeys(ALL, 0.0) | {ACTIONS: value, STORE: value})
    assert f"\n{ACTIONS.name} {text}\n" in rendered
    assert float(text) == value


def test_a_metric_without_a_value_is_an_error() -> None:
    with pytest.raises(KeyError):
        render({ACTIONS: 1})
