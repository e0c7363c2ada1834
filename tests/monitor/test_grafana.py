"""The Grafana dashboard and the alerting rules ask only for what the daemon measures."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import monitor
from monitor.metrics import ALL, HISTOGRAMS

GRAFANA = Path(monitor.__path__[0]) / "grafana"
FROM_PROMETHEUS = {"job", "instance"}
LABELS = {metric.name: {*metric.labels} | FROM_PROMETHEUS for metric in ALL}
for metric in HISTOGRAMS:
    LABELS[f"{metric.name}_bucket"] = {"le"} | FROM_PROMETHEUS
    LABELS[f"{metric.name}_sum"] = LABELS[f"{metric.name}_count"] = FROM_PROMETHEUS

METRIC = re.compile(r"\b((?:killcord|process)_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"[^"]*"')
GROUPING = re.compile(r"\bby \(([^)]*)\)")


def problems(expression: str) -> list[str]:
    """What an expression asks for and nobody measures."""
    found = []
    metrics = METRIC.findall(expression)
    if not metrics:
        return [f"no metric of ours in {expression}"]
    known = set.intersection(*(LABELS.get(name, set()) for name, _ in metrics))
    for name, selector in metrics:
        if name not in LABELS:
            found.append(f"no metric {name}")
        found += [
            f"{name} has no {label}"
            for label in MATCHER.findall(selector)
            if label not in LABELS.get(name, set())
        ]
    for group in GROUPING.findall(expression):
        found += [f"no label {label}" for label in re.split(r"\s*,\s*", group) if label not in known]
    return found


def dashboard() -> dict[str, Any]:
    return dict(json.loads((GRAFANA / "killcord.json").read_text()))


def targets() -> Iterator[tuple[str, dict[str, Any]]]:
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target


def test_the_check_sees_what_is_wrong() -> None:
    assert problems("rate(killcord_nothing[5m])")
    assert problems('killcord_agents{severity="high"}')
    assert problems("sum by (le) (killcord_agents)")
    assert problems("killcord_kill_latency_seconds")
    assert problems("1 + 1")
    assert not problems('sum by (kind) (rate(killcord_changes_total{drill="false"}[5m]))')


def test_every_panel_asks_for_what_is_measured() -> None:
    assert {title: bad for title, target in targets() if (bad := problems(target["expr"]))} == {}


def test_every_legend_names_labels_that_are_there() -> None:
    for title, target in targets():
        known = set.intersection(*(LABELS[name] for name, _ in METRIC.findall(target["expr"])))
        assert {*re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])} <= known, title


def test_panels_do_not_overlap_and_each_says_what_it_shows() -> None:
    taken: set[tuple[int, int]] = set()
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        assert panel["type"] == "row" or panel["description"]
        taken |= cells


def test_every_metric_is_on_the_dashboard_or_left_out_on_purpose() -> None:
    shown = {
        re.sub("_bucket$", "", name) for _, target in targets() for name, _ in METRIC.findall(target["expr"])
    }
    left_out = {"killcord_alerts_total"}  # killcord_alerts_raised_total has the severities
    missing = {metric.name for metric in (*ALL, *HISTOGRAMS)} - shown - left_out - LATER
    assert missing == set()


LATER: set[str] = set()
"""Metrics of parts that bring their own panels."""


def test_every_alerting_rule_asks_for_what_is_measured() -> None:
    text = (GRAFANA / "alerts.yml").read_text()
    expressions = re.findall(r"^ +expr: (.+)$", text, re.MULTILINE)
    assert len(expressions) == text.count("- alert: ") > 10
    assert {expression: bad for expression in expressions if (bad := problems(expression))} == {}
    assert text.count("summary: ") == text.count("severity: ") - text.count('severity="') == len(expressions)


def test_rules_are_yaml_that_prometheus_reads() -> None:
    import yaml  # of schemathesis; nothing of ours reads YAML

    (group,) = yaml.safe_load((GRAFANA / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert isinstance(rule["expr"], str)
        assert rule["labels"]["severity"] in ("critical", "warning")
