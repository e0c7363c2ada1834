"""Writes `docs/metrics.md` from the names: ``python -m monitor.metrics_page > docs/metrics.md``."""

from __future__ import annotations

import sys

from monitor.metrics import ALL, HISTOGRAMS, Metric

_INTRODUCTION = """\
# Metrics

`GET /metrics` answers in the Prometheus text format. It is open: no metric names an agent, a person or a target, and no
label holds anything that an agent or a client chose. Scrape it as often as you like; every 15 s is plenty.

```yaml
scrape_configs:
  - job_name: killcord
    static_configs: [{targets: ["127.0.0.1:8787"]}]
```

A Grafana dashboard (`monitor/grafana/killcord.json`) and alerting rules for Prometheus (`monitor/grafana/alerts.yml`)
are in the repository and in the wheel: `python -c "import monitor; print(monitor.__path__[0] + '/grafana')"` says
where. To take the dashboard up: Dashboards → New → Import → upload the file → choose the data source. Both use only
metrics of this page.

Counters begin at 0 when the daemon starts, but for those "since the log began". This page is written from
`monitor/metrics.py` by `python -m monitor.metrics_page`.

| metric | type | labels | meaning |
|---|---|---|---|
"""


def page() -> str:
    """Return the page in Markdown."""
    return _INTRODUCTION + "".join(_row(metric) for metric in sorted((*ALL, *HISTOGRAMS)))


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help.replace('|', '&#124;')} |\n"


if __name__ == "__main__":
    sys.stdout.write(page())
