"""What the feed already showed."""

from __future__ import annotations

from pathlib import Path

import msgspec

from killswitch import Change, Target
from monitor.alerts.book import Book
from monitor.alerts.keeper import Keeper
from monitor.config import Alerts
from monitor.core.pipeline import Pipeline
from monitor.live.messages import alert_message, transition_message
from monitor.live.shown import read_feed
from monitor.log.segments import Record, SegmentedLog
from tests.monitor.streams import ENFORCE, START_S, WARM, config, observed, strange, warm


def test_alerts_their_kills_and_the_last_epoch_are_read_back(tmp_path: Path) -> None:
    pipeline = Pipeline(config(ENFORCE))
    warm(pipeline)
    outcomes = pipeline.step(observed(*(strange(n, "agent-3", after=WARM) for n in (0, 1))), START_S + 1e6)
    assert len(outcomes.alerts) == 2
    changes = [Change(epoch, "c", "restore", Target("fleet"), None, None, "r", "by", 0.0) for epoch in (9, 4)]
    messages = [
        *(alert_message(alert) for alert in outcomes.alerts),
        *(transition_message(change) for change in changes),
        {"type": "acknowledgement", "ts": "", "acknowledgement": {"epoch": 99}},
    ]
    log = SegmentedLog(tmp_path)
    assert read_feed(log, Keeper(Book(Alerts()))) == (frozenset(), frozenset(), 0)
    log.append(*(Record(msgspec.json.encode(message)) for message in messages))
    shown = read_feed(log, Keeper(Book(Alerts())))
    log.close()
    assert shown.alert_ids == {alert.id for alert in outcomes.alerts}
    assert shown.change_ids == {
        alert.response.change_id for alert in outcomes.alerts if alert.response.change_id
    }
    assert shown.epoch == 9
