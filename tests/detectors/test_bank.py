from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors import STATES, Bank, Features, Scores, Settings
from detectors.layout import EXTERNAL, FLOW, SIGNALS, SOURCE, TOOL
from tests.detectors.streams import HASHER, benign, hijacked, numbers, steps

QUICK = Settings(min_actions=40, fleet_min_actions=200, alerts_per_agent_day=20.0)


@pytest.fixture(scope="module")
def stream() -> tuple[list[int], list[Features]]:
    return numbers(benign(3, 8, 4000))


def digest(scores: list[Scores]) -> str:
    whole = hashlib.sha256()
    for field in Scores._fields:
        whole.update(np.concatenate([np.ascontiguousarray(getattr(s, field)) for s in scores]).tobytes())
    return whole.hexdigest()


@pytest.mark.parametrize("size", [1, 7, 999])
def test_the_outcome_does_not_depend_on_how_the_stream_is_cut(
    stream: tuple[list[int], list[Features]], size: int
) -> None:
    agents, features = stream[0][:2500], stream[1][:2500]
    whole = steps(Bank(QUICK), agents, features, 2500)
    assert whole[0].flagged.any()
    assert digest(steps(Bank(QUICK), agents, features, size)) == digest(whole)


def test_cutting_does_not_matter_when_agents_have_to_be_forgotten(
    stream: tuple[list[int], list[Features]],
) -> None:
    agents, features = stream[0][:1500], stream[1][:1500]
    banks = [Bank(QUICK, max_agents=3) for _ in range(2)]
    assert digest(steps(banks[0], agents, features, 1)) == digest(steps(banks[1], agents, features, 1500))
    assert len(banks[0]) == 3


ORACLE = """
import hashlib, sys
import numpy as np
from tests.detectors.test_bank import QUICK, digest
from tests.detectors.streams import benign, numbers, steps
from detectors import Bank, scoring
assert not hasattr(scoring.run, "py_func") or not sys.argv[1] == "plain", "the compiler is still on"
agents, features = numbers(benign(5, 4, 900))
bank = Bank(QUICK)
found = digest(steps(bank, agents, features, 100))
bank.learn(agents[-3:], features[-3:], 0.25)
whole = hashlib.sha256(found.encode())
for name, table in sorted(bank.dump().items()):
    whole.update(name.encode() + np.ascontiguousarray(table).tobytes())
print(whole.hexdigest())
"""


def test_compiled_and_plain_python_agree_to_the_last_bit() -> None:
    root = str(Path(__file__).parents[2])
    answers = [
        subprocess.run(
            [sys.executable, "-W", "error", "-c", ORACLE, kind],
            env={**os.environ, "NUMBA_DISABLE_JIT": "1" if kind == "plain" else "0", "PYTHONPATH": root},
            capture_output=True,
            text=True,
            check=False,
        )
        for kind in ("plain", "compiled")
    ]
    assert [answer.stderr for answer in answers] == ["", ""]
    assert answers[0].stdout == answers[1].stdout
    assert len(answers[0].stdout) == 65


def test_an_agent_costs_at_most_4_kib() -> None:
    assert Bank(Settings()).bytes_per_agent <= 4096
    assert Bank(Settings(externals=3)).bytes_per_agent <= 4096
    bank = Bank(Settings())
    bank.row(1)
    assert len(bank.export(1)) == bank.bytes_per_agent + 2


def test_a_dumped_bank_continues_bit_for_bit(stream: tuple[list[int], list[Features]]) -> None:
    agents, features = stream
    bank = Bank(QUICK, max_agents=6)
    steps(bank, agents[:2000], features[:2000])
    bank.learn(agents[:2], features[:2], 1.0)
    restored = Bank.restore(QUICK, {name: table.copy() for name, table in bank.dump().items()})
    ours = digest(steps(bank, agents[2000:], features[2000:]))
    assert digest(steps(restored, agents[2000:], features[2000:])) == ours


def test_an_exported_model_continues_bit_for_bit_in_a_bank_with_the_same_fleet(
    stream: tuple[list[int], list[Features]],
) -> None:
    agents, features = stream
    bank = Bank(QUICK)
    steps(bank, agents[:2000], features[:2000])
    moved = Bank.restore(QUICK, bank.dump())
    model = moved.export(3)
    moved._rows[moved.row(3)] = np.zeros(1, moved._dtype)[0]
    moved.load(3, model)
    assert digest(steps(moved, agents[2000:], features[2000:])) == digest(
        steps(bank, agents[2000:], features[2000:])
    )


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_bytes_of_the_right_length_are_safe_to_load(data: st.DataObject) -> None:
    bank = Bank(QUICK)
    bank.row(1)
    header = bank.export(1)[:2]
    seed = data.draw(st.integers(0, 2**32 - 1))
    bank.load(1, header + np.random.default_rng(seed).bytes(bank.bytes_per_agent))
    scores = bank.step([1] * 5, [HASHER.features(**hijacked(1e9 + i, "s")) for i in range(5)])
    assert scores.surprise.shape == (5, len(SIGNALS))


@pytest.mark.parametrize("wrong", [b"", b"\x01\x00", b"\xff\xff" + bytes(3896)])
def test_bytes_of_another_layout_are_refused(wrong: bytes) -> None:
    with pytest.raises(ValueError, match="learned anew"):
        Bank(QUICK).load(1, wrong)


def test_a_dump_for_other_settings_is_refused() -> None:
    with pytest.raises(ValueError, match="layout"):
        Bank.restore(Settings(externals=1), Bank(Settings()).dump())


def test_nothing_is_flagged_and_p_is_unknown_while_calibrating(
    stream: tuple[list[int], list[Features]],
) -> None:
    bank = Bank(Settings())
    scores = steps(bank, stream[0][:400], stream[1][:400], 400)[0]
    assert np.isnan(scores.p).all()
    assert not scores.flagged.any()
    assert bank.calibration(1).state == "calibrating"
    assert bank.calibration(1).needed > 0
    assert bank.calibration(999) == ("calibrating", 0, bank.calibration(999).needed)


def test_needed_counts_down_to_calibrated(stream: tuple[list[int], list[Features]]) -> None:
    bank = Bank(QUICK)
    steps(bank, *stream)
    for agent in range(1, 9):
        assert bank.calibration(agent).state == "calibrated"
        assert bank.calibration(agent).needed == 0


def calibrated(stream: tuple[list[int], list[Features]]) -> Bank:
    bank = Bank(QUICK)
    steps(bank, *stream)
    return bank


def attack(stream: tuple[list[int], list[Features]], agent: int = 2) -> Features:
    last = max(f.ts_s for a, f in zip(*stream, strict=True) if a == agent)
    return HASHER.features(**hijacked(last + 2.0, "hijacked"))


def test_a_flagged_action_is_not_learned(stream: tuple[list[int], list[Features]]) -> None:
    bank = calibrated(stream)
    strange = attack(stream)
    first, second = (bank.step([2], [strange]) for _ in range(2))
    assert first.flagged[0]
    assert second.flagged[0]
    assert second.seen[0, 1] == 0


def test_a_dismissed_alert_teaches_and_is_not_raised_again(stream: tuple[list[int], list[Features]]) -> None:
    bank = calibrated(stream)
    strange = attack(stream)
    before = bank.step([2], [strange])
    bank.learn([2], [strange], 1.0)
    after = bank.step([2], [strange])
    assert after.p[0] > 3 * before.p[0]
    assert after.fused[0] < before.fused[0]
    assert after.observed[0, 1] == 0  # the recipient is known now


def test_an_unjudged_alert_teaches_weakly(stream: tuple[list[int], list[Features]]) -> None:
    scores = {}
    for weight in (0.25, 1.0):
        bank = calibrated(stream)
        strange = attack(stream)
        bank.step([2], [strange])
        bank.learn([2], [strange], weight)
        scores[weight] = bank.step([2], [strange])
        assert scores[weight].of[0, 3] == weight  # how often the agent used the tool
    assert scores[0.25].surprise[0, TOOL] > scores[1.0].surprise[0, TOOL]


def test_a_verdict_teaches_the_context_in_which_the_action_stood(
    stream: tuple[list[int], list[Features]],
) -> None:
    bank = calibrated(stream)
    strange = attack(stream)
    first = bank.step([2], [strange])
    assert first.previous[0] == 0
    bank.learn([2], [strange], 1.0)
    again = bank.step([2], [strange._replace(session=77 << 32)])
    assert again.seen[0, 0] == first.seen[0, 0] + 1  # send_mail at the start of a session


@pytest.mark.parametrize("weight", [0.1, 0.3, 2.0, -1.0])
def test_a_weight_that_is_no_quarter_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match=r"0\.25"):
        Bank(QUICK).learn([], [], weight)


def test_an_unusual_action_that_is_not_flagged_teaches_weakly_and_makes_no_value_known(
    stream: tuple[list[int], list[Features]],
) -> None:
    tolerant = Settings(min_actions=40, fleet_min_actions=200, alerts_per_agent_day=1e-9)
    bank = Bank(tolerant)
    steps(bank, *stream)
    strange = attack(stream)
    first, second = (bank.step([2], [strange]) for _ in range(2))
    assert first.p[0] <= 0.05
    assert not first.flagged[0]
    assert second.seen[0, TOOL] - first.seen[0, TOOL] == 0.25
    assert second.observed[0, 1] == 2  # the recipient is as new as before


def test_what_may_not_teach_is_scored_but_not_learned(stream: tuple[list[int], list[Features]]) -> None:
    bank = calibrated(stream)
    before = bank.calibration(1).seen
    scores = bank.step([1], [stream[1][0]], teach=[False])
    assert np.isfinite(scores.p[0])
    assert bank.calibration(1).seen == before


def test_a_new_version_recalibrates_once_even_if_both_versions_run(
    stream: tuple[list[int], list[Features]],
) -> None:
    bank = calibrated(stream)
    ours = [f for a, f in zip(*stream, strict=True) if a == 1]
    new = HASHER.hash("2")
    assert STATES[bank.step([1], [ours[-1]._replace(version=new)]).state[0]] == "recalibrating"
    states = bank.step(
        [1] * 40, [f._replace(version=f.version if i % 2 else new) for i, f in enumerate(ours[:40])]
    ).state
    assert STATES[states[-1]] == "calibrated"
    assert (np.diff(states.astype(int)) >= 0).all()


def test_softening_makes_a_new_habit_less_surprising(stream: tuple[list[int], list[Features]]) -> None:
    bank = calibrated(stream)
    strange = attack(stream)
    before = bank.step([2], [strange], teach=[False]).surprise[0, : SOURCE + 1].sum()
    upgraded = strange._replace(version=HASHER.hash("2"))
    assert bank.step([2], [upgraded], teach=[False]).surprise[0, : SOURCE + 1].sum() < before


def test_external_scores_take_part(stream: tuple[list[int], list[Features]]) -> None:
    agents, features = stream
    rng = np.random.default_rng(1)
    bank = Bank(Settings(min_actions=40, fleet_min_actions=200, alerts_per_agent_day=20.0, externals=1))
    external = rng.normal(0.4, 0.05, (len(agents), 1))
    bank.step(agents, features, external=external)
    usual = bank.step([1], features[-1:], teach=[False], external=np.array([[0.4]]))
    high = bank.step([1], features[-1:], teach=[False], external=np.array([[0.95]]))
    missing = bank.step([1], features[-1:], teach=[False])
    assert high.signal_p[0, EXTERNAL] < 0.01 < usual.signal_p[0, EXTERNAL]
    assert high.p[0] < usual.p[0]
    assert np.isnan(missing.signal_p[0, EXTERNAL])


def test_input_of_unequal_length_is_refused_and_teaches_nothing() -> None:
    bank = Bank(QUICK)
    with pytest.raises(ValueError, match="one entry an action"):
        bank.step([1, 2], [HASHER.features(**hijacked(1.0, "s"))])
    assert len(bank) == 0


def test_no_actions_give_no_scores() -> None:
    assert Bank(QUICK).step([], []).p.shape == (0,)


@pytest.mark.parametrize("ts_s", [float("nan"), float("inf"), -float("inf"), 1e300, -1e300, 0.0])
def test_absurd_times_harm_neither_this_action_nor_the_next(
    stream: tuple[list[int], list[Features]], ts_s: float
) -> None:
    bank = calibrated(stream)
    scores = bank.step(
        [1] * 3, [f._replace(ts_s=t) for f, t in zip(stream[1][:3], (ts_s, 2e9, 2e9 + 1), strict=True)]
    )
    assert np.isfinite(scores.p).all()
    assert (scores.p > 0).all()
    assert (scores.threshold_p > 0).all()
    assert np.isfinite(scores.threshold_p).all()


def test_agents_idle_longest_are_forgotten_first() -> None:
    bank = Bank(QUICK, max_agents=4)
    action = HASHER.features(**hijacked(1.0, "s"))
    for agent in (1, 2, 3, 4, 1, 5):
        bank.step([agent], [action])
    assert [agent in bank for agent in (1, 2, 3, 4, 5)] == [True, False, True, True, True]
    assert bank.calibration(2).seen == 0
    assert len(bank) == 4


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_actions": 1},
        {"fleet_min_actions": 10},
        {"alerts_per_agent_day": 0.0},
        {"alerts_per_agent_day": float("nan")},
        {"max_p": 0.5},
        {"externals": 4},
    ],
)
def test_settings_out_of_range_are_refused_by_name(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Settings(**wrong)  # type: ignore[arg-type]


def test_an_agent_is_told_how_far_the_calibration_is_that_its_own_actions_go_by(
    stream: tuple[list[int], list[Features]],
) -> None:
    bank = calibrated(stream)
    flowing = [f._replace(flow=(0,) * len(FLOW)) for f in stream[1][:90]]
    bank.step([99] * 90, flowing)
    assert np.isnan(bank.step([99], flowing[:1]).p[0])
    assert (bank.calibration(99).state, bank.calibration(1).state) == ("calibrating", "calibrated")


@pytest.mark.parametrize("max_agents", [100, 7])
def test_the_calibrated_are_counted_at_once_as_one_by_one(max_agents: int) -> None:
    agents, features = numbers(benign(3, agents=12, actions=4000))
    bank = Bank(QUICK, max_agents=max_agents)
    counts = set()
    for start in range(0, len(agents), 250):
        bank.step(agents[start : start + 250], features[start : start + 250])
        one_by_one = sum(
            bank.calibration(agent).state == "calibrated" for agent in range(1, 13) if agent in bank
        )
        assert bank.count_calibrated() == one_by_one
        counts.add(one_by_one)
    assert len(counts) > 1, "it changed meanwhile"
