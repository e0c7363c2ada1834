"""Metrics in the Prometheus text format."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from monitor.metrics import (
    ACTIONS,
    ALL,
    BUILD,
    DELIVERED,
    DRILL_AGE,
    HISTOGRAMS,
    KILL_LATENCY,
    KILL_LATENCY_BOUNDS_S,
    STORE,
    Histogram,
    Labelled,
    Metric,
    render,
)
from monitor.metrics_page import page
from tests.monitor.exposition import families

ZEROS: dict[Metric, float | Labelled] = {
    metric: {("x",) * len(metric.labels): 0.0} if metric.labels else 0.0 for metric in ALL
}


def rendered(values: dict[Metric, float | Labelled], *latencies_s: float) -> str:
    histogram = Histogram(KILL_LATENCY_BOUNDS_S)
    for latency_s in latencies_s:
        histogram.observe(latency_s)
    others = {metric: Histogram((1.0,)) for metric in HISTOGRAMS}
    return render(ZEROS | values, {**others, KILL_LATENCY: histogram})


def test_every_metric_is_rendered_with_its_meaning_type_and_labels() -> None:
    found = families(rendered({}))
    assert list(found) == [metric.name for metric in (*ALL, *HISTOGRAMS)]
    for metric in (*ALL, *HISTOGRAMS):
        family = found[metric.name]
        assert (family.kind, family.help) == (metric.kind, metric.help)
        assert family.samples
    for metric in ALL:
        assert [set(sample.labels) for sample in found[metric.name].samples] == [set(metric.labels)]


def test_names_are_ours_or_the_customary_ones_unique_and_counters_end_in_total() -> None:
    every = (*ALL, *HISTOGRAMS)
    assert len({metric.name for metric in every}) == len(every)
    for metric in every:
        assert re.fullmatch(r"(killcord|process)_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert "\n" not in metric.help
        assert all(re.fullmatch(r"[a-z_]+", label) and label != "le" for label in metric.labels)


@pytest.mark.parametrize(("value", "text"), [(123_456_789, "123456789.0"), (True, "1.0"), (0.1, "0.1")])
def test_values_are_exact(value: float, text: str) -> None:
    told = rendered({ACTIONS: value, STORE: value})
    assert f"\n{ACTIONS.name} {text}\n" in told
    assert float(text) == value


def test_a_metric_without_a_value_is_an_error() -> None:
    with pytest.raises(KeyError):
        render({ACTIONS: 1}, {})


@pytest.mark.parametrize("value", ["plain", 'a"b', "a\\b", "a\nb", '\\"\n\\n', "{},="])
def test_whatever_stands_in_a_label_is_read_as_it_was(value: str) -> None:
    (sample,) = families(rendered({BUILD: {(value, "3.11"): 1}}))[BUILD.name].samples
    assert sample.labels == {"version": value, "python": "3.11"}


@pytest.mark.parametrize("given", [("a",), ("a", "b", "c"), ()])
def test_labels_and_names_must_match(given: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="zip"):
        rendered({BUILD: {given: 1}})


def test_a_histogram_counts_upwards_and_a_value_on_a_bound_is_within_it() -> None:
    lines = rendered({}, 0.0005, 0.001, 0.0011, 60.0, 61.0).splitlines()
    buckets = [line for line in lines if line.startswith("killcord_kill_latency_seconds_bucket")]
    assert len(buckets) == len(KILL_LATENCY_BOUNDS_S) + 1
    assert buckets[0] == 'killcord_kill_latency_seconds_bucket{le="0.001"} 2'
    assert buckets[1] == 'killcord_kill_latency_seconds_bucket{le="0.002"} 3'
    assert buckets[-2:] == [
        'killcord_kill_latency_seconds_bucket{le="60"} 4',
        'killcord_kill_latency_seconds_bucket{le="+Inf"} 5',
    ]
    assert f"{KILL_LATENCY.name}_sum {0.0005 + 0.001 + 0.0011 + 60 + 61!r}" in lines
    assert f"{KILL_LATENCY.name}_count 5" in lines


def test_never_is_infinitely_long_ago() -> None:
    assert f"\n{DRILL_AGE.name} +Inf\n" in rendered({DRILL_AGE: float("inf")})


def test_the_documentation_is_the_module() -> None:
    written = Path(__file__).parents[2] / "docs" / "metrics.md"
    assert written.read_text() == page(), "run: python -m monitor.metrics_page > docs/metrics.md"


def test_a_label_tells_values_apart_and_is_read_as_it_was() -> None:
    text = rendered({DELIVERED: {("a",): 1, ('b"\\\n',): 2}})
    assert f'\n{DELIVERED.name}{{route="a"}} 1.0\n{DELIVERED.name}{{route="b\\"\\\\\\n"}} 2.0\n' in text
