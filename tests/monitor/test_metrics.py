"""Metrics in the Prometheus text format."""

from __future__ import annotations

import re

import pytest

from monitor.metrics import (
    ACTIONS,
    ALL,
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

ZEROS: dict[Metric, float | Labelled] = {
    metric: {("x",) * len(metric.labels): 0.0} if metric.labels else 0.0 for metric in ALL
}


def rendered(values: dict[Metric, float | Labelled], *latencies_s: float) -> str:
    histogram = Histogram(KILL_LATENCY_BOUNDS_S)
    for latency_s in latencies_s:
        histogram.observe(latency_s)
    return render(values, {KILL_LATENCY: histogram})


def test_every_metric_is_rendered_with_its_meaning_and_type() -> None:
    values = {
        metric: {("x",) * len(metric.labels): number} if metric.labels else number
        for number, metric in enumerate(ALL)
    }
    text = rendered(values)
    lines = text.splitlines()
    assert lines[3 * len(ALL)] == f"# HELP {KILL_LATENCY.name} {KILL_LATENCY.help}"
    for number, metric in enumerate(ALL):
        told, typed, value = lines[3 * number : 3 * number + 3]
        assert told == f"# HELP {metric.name} {metric.help}"
        assert typed == f"# TYPE {metric.name} {metric.kind}"
        labels = ",".join(f'{label}="x"' for label in metric.labels)
        assert value == f"{metric.name}{{{labels}}} {float(number)}".replace("{}", "")
    assert text.endswith("\n")


def test_names_are_ours_unique_and_counters_end_in_total() -> None:
    every = (*ALL, *HISTOGRAMS)
    assert len({metric.name for metric in every}) == len(every)
    for metric in every:
        assert re.fullmatch(r"killcord_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert "\n" not in metric.help


@pytest.mark.parametrize(("value", "text"), [(123_456_789, "123456789.0"), (True, "1.0"), (0.1, "0.1")])
def test_values_are_exact(value: float, text: str) -> None:
    told = rendered(ZEROS | {ACTIONS: value, STORE: value})
    assert f"\n{ACTIONS.name} {text}\n" in told
    assert float(text) == value


def test_a_metric_without_a_value_is_an_error() -> None:
    with pytest.raises(KeyError):
        rendered({ACTIONS: 1})


def test_a_histogram_counts_upwards_and_a_value_on_a_bound_is_within_it() -> None:
    lines = rendered(ZEROS, 0.0005, 0.001, 0.0011, 60.0, 61.0).splitlines()
    buckets = [line for line in lines if line.startswith("killcord_kill_latency_seconds_bucket")]
    assert len(buckets) == len(KILL_LATENCY_BOUNDS_S) + 1
    assert buckets[0] == 'killcord_kill_latency_seconds_bucket{le="0.001"} 2'
    assert buckets[1] == 'killcord_kill_latency_seconds_bucket{le="0.002"} 3'
    assert buckets[-2:] == [
        'killcord_kill_latency_seconds_bucket{le="60"} 4',
        'killcord_kill_latency_seconds_bucket{le="+Inf"} 5',
    ]
    assert lines[-2:] == [
        f"{KILL_LATENCY.name}_sum {0.0005 + 0.001 + 0.0011 + 60 + 61!r}",
        f"{KILL_LATENCY.name}_count 5",
    ]


def test_never_is_infinitely_long_ago() -> None:
    assert f"\n{DRILL_AGE.name} +Inf\n" in rendered(ZEROS | {DRILL_AGE: float("inf")})


def test_a_label_tells_values_apart_and_is_read_as_it_was() -> None:
    text = rendered(ZEROS | {DELIVERED: {("a",): 1, ('b"\\\n',): 2}})
    assert f'\n{DELIVERED.name}{{route="a"}} 1.0\n{DELIVERED.name}{{route="b\\"\\\\\\n"}} 2.0\n' in text
