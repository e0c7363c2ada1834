from __future__ import annotations

import numpy as np
import pytest

from detectors import Bank, Features, Reason, Scores, Settings, Subject, explain, runaway_reason
from detectors.explanation import one_in
from detectors.layout import FLOW, RHYTHM
from detectors.prior import shipped_prior
from tests.detectors.streams import HASHER, benign, hijacked, numbers, steps

SUBJECT = Subject(
    tool="send_mail",
    arg_names=("to", "body"),
    arg_values=("mallory@evil.example", "y" * 3000),
    arg_sources=("tool:read_web_page", "tool:read_file"),
    tool_name=HASHER.name,
)


@pytest.fixture(scope="module")
def hijack() -> tuple[Scores, Features]:
    bank = Bank(Settings(min_actions=40, fleet_min_actions=200))
    agents, features = numbers(benign(3, 8, 4000))
    steps(bank, agents, features)
    last = next(f for a, f in zip(reversed(agents), reversed(features), strict=True) if a == 2)
    action = HASHER.features(**hijacked(last.ts_s + 0.002, "x"))._replace(session=last.session)
    return bank.step([2], [action]), action


def reasons(hijack: tuple[Scores, Features], subject: Subject = SUBJECT) -> dict[str, Reason]:
    return {reason.signal: reason for reason in explain(hijack[0], 0, hijack[1], subject)}


def test_the_strongest_reason_comes_first(hijack: tuple[Scores, Features]) -> None:
    p = [reason.p for reason in explain(hijack[0], 0, hijack[1], SUBJECT)]
    assert p == sorted(p)
    assert 1 <= len(p) <= 4


def test_a_transition_names_both_tools_and_the_counts(hijack: tuple[Scores, Features]) -> None:
    sentence = reasons(hijack)["transition"].sentence
    assert "`send_mail` after `tool-" in sentence
    assert "0 of " in sentence


def test_a_new_value_is_quoted_with_its_argument(hijack: tuple[Scores, Features]) -> None:
    found = explain(hijack[0], 0, hijack[1], SUBJECT)
    assert any("`to`" in r.sentence and "mallory@evil.example" in r.sentence for r in found)


def test_a_source_is_named(hijack: tuple[Scores, Features]) -> None:
    assert "from `tool:read_web_page`" in reasons(hijack)["source"].sentence


def test_without_names_and_values_the_sentences_still_stand(hijack: tuple[Scores, Features]) -> None:
    found = explain(hijack[0], 0, hijack[1], Subject(tool="send_mail"))
    assert all(reason.sentence.endswith(").") for reason in found)
    assert not any("mallory" in reason.sentence for reason in found)


def test_values_cannot_break_the_line_they_stand_in(hijack: tuple[Scores, Features]) -> None:
    hostile = Subject(
        "send_mail", ("to", "body"), ("a\nb\x1b[31m`\u202e", "c\r\n" * 100), tool_name=HASHER.name
    )
    for reason in explain(hijack[0], 0, hijack[1], hostile):
        assert reason.sentence.isprintable()
        assert len(reason.sentence) < 400


def test_an_order_in_an_output_is_told_first_and_by_the_weights_that_judged() -> None:
    codes = {"told": 2, "echo_told": 10, "untied": 2, "seen": 1, "age": 0}
    action = HASHER.features(**hijacked(1.0, "s"))._replace(flow=tuple(codes.get(name, 0) for name in FLOW))
    scores = Bank(Settings()).step([1], [action])
    first = explain(scores, 0, action, SUBJECT)[0]
    assert first.signal == "flow"
    assert "reads like an order" in first.sentence
    assert "2 of its arguments have nothing to do with the task" in first.sentence
    blind = shipped_prior()._replace(flow=np.zeros_like(shipped_prior().flow))
    assert "flow" not in {reason.signal for reason in explain(scores, 0, action, SUBJECT, blind)}


def test_a_normal_action_has_one_reason_too() -> None:
    bank = Bank(Settings())
    action = HASHER.features(**hijacked(1.0, "s"))
    assert len(explain(bank.step([1], [action]), 0, action, SUBJECT)) >= 1


def test_a_burst_is_told_with_what_is_usual() -> None:
    bank = Bank(Settings(min_actions=40, fleet_min_actions=200))
    action = {"tool": "poll", "args": {}, "session": "s", "version": None, "provenance": None}
    for i in range(400):
        bank.step([1, 2, 3], [HASHER.features(ts_s=1e9 + 10.0 * i, **action)] * 3)
    burst = [HASHER.features(ts_s=1e9 + 3990 + 0.01 * (i + 1), **action) for i in range(60)]
    scores = bank.step([1] * 60, burst)
    hasty = int(np.flatnonzero(scores.runaway)[0])
    told = runaway_reason(scores, hasty, Subject("poll"))
    assert told.signal == "rate"
    assert told.expected.startswith("usually about 6;")


def test_haste_is_told_with_what_is_usual_where_a_prior_counts_it() -> None:
    blind = shipped_prior()
    learned = np.zeros_like(blind.learned)
    learned[:, RHYTHM, -4:] = 5.0
    weights = blind._replace(learned=learned)
    bank = Bank(Settings(min_actions=40, fleet_min_actions=200), prior=weights)
    action = {"tool": "poll", "args": {}, "session": "s", "version": None, "provenance": None}
    for i in range(400):
        bank.step([1, 2, 3], [HASHER.features(ts_s=1e9 + 600.0 * i, **action)] * 3)
    hasty = HASHER.features(ts_s=1e9 + 600.0 * 399 + 0.5, **action)
    told = explain(bank.step([1], [hasty]), 0, hasty, Subject("poll"), weights)[0]
    assert told.signal == "rhythm"
    assert told.sentence.startswith(
        "Called 500 ms after the agent's previous action, usually about 8.74 min; "
    )


def test_external_detectors_are_named() -> None:
    bank = Bank(Settings(min_actions=40, fleet_min_actions=200, externals=1))
    agents, features = numbers(benign(3, 4, 800))
    rng = np.random.default_rng(1)
    bank.step(agents, features, external=rng.normal(0.4, 0.05, (800, 1)))
    scores = bank.step([1], features[-1:], external=np.array([[0.99]]))
    found = explain(scores, 0, features[-1], Subject("t", externals=("river.anomaly.HalfSpaceTrees",)))
    assert any(r.signal == "river.anomaly.HalfSpaceTrees" and "0.99" in r.observed for r in found)


@pytest.mark.parametrize(
    ("p", "words"),
    [(1.0, "5 in 5"), (0.1, "1 in 10"), (2.5e-5, "1 in 40,000"), (1e-15, "1 in 1,000,000,000,000,000")],
)
def test_odds_in_words(p: float, words: str) -> None:
    assert one_in(p) == words
