"""`killcord backtest` as it is run: over recorded streams, a daemon's log, and beside the daemon that writes it."""

from __future__ import annotations

import fcntl
import gzip
import itertools
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from monitor.cli import backtest_text
from monitor.cli.durations import duration_s
from monitor.cli.main import main
from monitor.core import backtest as backtest_module
from monitor.demo.fleet import make_fleet, merged_history
from monitor.errors import ConfigError
from monitor.log import entries
from monitor.log.entries import Actions, Transition
from monitor.log.history import read_history
from monitor.log.segments import Record, SegmentedLog
from tests.monitor.daemons import RunningDaemon
from tests.monitor.scripted import ScriptedPipeline
from tests.monitor.streams import WARM, habit, habits, strange

DOCS = Path(__file__).resolve().parents[2] / "docs" / "backtest.md"
NOW_S = 1_795_000_000.0
AGENTS = 4
POLICY = "[detection]\nmin_actions = 200\n[response]\nfalse_kills_per_agent_day = {}\n"
STRICT, LOOSE = POLICY.format(0.1), POLICY.format(1e-9)
"""Policies that kill every calibrated agent of which something is flagged, and none."""
AS_ONE_MOMENT = f"""{STRICT}mode = "enforce"
suspend_s = 1e9
max_automatic_kills = 1000
[drill]
interval_s = 0.0
""".replace("[response]", "unjudged_after_s = 1e9\n[response]")
"""A policy under which it does not matter that a daemon is sent days of actions within a second."""

Json = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def scripted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is flagged is up to the test, unless it asks for the `real_pipeline`."""
    if "real_pipeline" not in request.fixturenames:
        monkeypatch.setattr(backtest_module, "Pipeline", ScriptedPipeline)


@pytest.fixture
def real_pipeline() -> None:
    """Leaves it in its place."""


@pytest.fixture(scope="module")
def documents() -> list[dict[str, Any]]:
    """Two hours of four agents, two of which do strange things at the end."""
    odd = [strange(number, f"agent-{number % 2}", after=WARM + 4 * number) for number in range(6)]
    return [msgspec.to_builtins(action) for action in (*map(habit, range(WARM)), *odd)]


@pytest.fixture(scope="module")
def fleet() -> list[dict[str, Any]]:
    """A day of six simulated agents, two of which are hijacked at its end."""
    agents = make_fleet(18, 6)
    actions = merged_history(agents, NOW_S)
    for agent in agents[:2]:
        ts_s = actions[-1]["ts"]
        for call in itertools.islice(agent.hijacked(), 60):
            ts_s += call.gap_s
            actions.append({**call.action, "ts": round(ts_s, 6)})
    return [{**action, "id": f"a-{number}"} for number, action in enumerate(actions)]


@pytest.fixture(scope="module")
def stream(documents: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("stream") / "actions.jsonl", documents)


def written(file: Path, documents: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(document) + "\n" for document in documents))
    return file


@pytest.fixture
def strict(tmp_path: Path) -> Path:
    return toml(tmp_path / "strict.toml", STRICT)


@pytest.fixture
def loose(tmp_path: Path) -> Path:
    return toml(tmp_path / "loose.toml", LOOSE)


def toml(file: Path, text: str) -> Path:
    file.write_text(text)
    return file


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Json:
    """Run the command with `--json`; return what it told."""

    def told(*arguments: object) -> dict[str, Any]:
        status = main(["backtest", "--json", *map(str, arguments)])
        captured = capsys.readouterr()
        assert status == 0, captured.err
        found: dict[str, Any] = json.loads(captured.out)
        return found

    return told


def logged(state: Path, *batches: Actions, segment_bytes: int = 1 << 26) -> Path:
    """A state directory that holds nothing but a log."""
    log = SegmentedLog(state / "log", segment_bytes=segment_bytes)
    for batch in batches:
        log.append(Record(entries.encode(batch), entries.count(batch)))
    log.sync()
    log.close()
    return state


# -- what is told ---------------------------------------------------------------------------------------------------


def test_a_recorded_stream_is_judged(told: Json, stream: Path, strict: Path, documents: list[Any]) -> None:
    found = told(stream, "--policy", strict)
    assert (found["history"]["actions"], found["history"]["source"]) == (len(documents), str(stream))
    (policy,) = found["policies"]
    assert (policy["policy"], policy["mode"], policy["agents"]) == (str(strict), "alert", AGENTS)
    assert (policy["kills"]["total"], policy["actions_prevented"]) == (2, 4)
    assert policy["kill_budget"]["budget_per_agent_day"] == 0.1
    assert found["difference"] is None
    assert f"would have killed {policy['kills']['agents']} agent" in found["advice"]


def test_the_text_says_what_the_numbers_say(
    told: Json, stream: Path, strict: Path, loose: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = told(stream, "--policy", strict)["policies"][0]
    assert main(["backtest", str(stream), "--policy", str(strict)]) == 0
    text = capsys.readouterr().out
    assert "(mode alert, shown as if promoted to enforce; kill = suspend)" in text
    assert f"the first {policy['calibrating_first']:,} actions only calibrated" in text
    assert re.search(rf"^  kills +{policy['kills']['total']} \({policy['kills']['agents']} agent", text, re.M)
    assert f"budget for false ones 0.1 per agent-day, {policy['kill_budget']['allowed']:.3g} in all" in text
    example = policy["kills"]["examples"][0]
    assert f"{example['ts']} {example['agent_id']}: {example['sentence']} (p = {example['p']:.1g})" in text
    assert f"suspend; {example['actions_prevented']} actions prevented" in text
    assert text.splitlines()[-1].startswith("This policy would have killed")
    assert main(["backtest", str(stream), "--policy", str(loose), "--examples", "1"]) == 0
    shown = capsys.readouterr().out.split("  alerts, for example:\n")[1].split("\n\n")[0]
    assert re.fullmatch(r"    \d{4}-\S+Z \S+: .+ \(p = \S+\)", shown)


def test_two_policies_are_compared(
    told: Json, stream: Path, strict: Path, loose: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told(stream, "--policy", loose, "--against", strict)
    assert [policy["policy"] for policy in found["policies"]] == [str(loose), str(strict)]
    killed = found["difference"]["killed_only_b"]
    assert killed == sorted({finding["agent_id"] for finding in found["policies"][1]["kills"]["examples"]})
    assert (found["difference"]["killed_only_a"], found["policies"][0]["kills"]["total"]) == ([], 0)
    assert main(["backtest", str(stream), "--policy", str(loose), "--against", str(strict)]) == 0
    text = capsys.readouterr().out
    row = next(line for line in text.splitlines() if line.startswith(f"  {killed[0]} "))
    agent = next(each for each in found["difference"]["agents"] if each["agent_id"] == killed[0])
    assert row.split()[1:4] == ["0", str(agent["kills_b"]), "-"]
    assert agent["first_kill_b"][:19] in row
    last = text.splitlines()[-1]
    assert last == found["advice"]
    assert last.startswith(f"Policy B would have killed {len(killed)} agent")
    assert "that A would not" in last


def test_policies_that_come_to_the_same_are_said_to(
    told: Json, stream: Path, strict: Path, loose: Path
) -> None:
    same = told(stream, "--policy", strict, "--against", strict)["advice"]
    assert re.match(r"Both policies would have killed the same \d agents?; A raises 0 alerts", same)
    neither = told(stream, "--policy", loose, "--against", loose)["advice"]
    assert neither.startswith("Neither policy would have killed anybody; ")
    assert told(stream, "--policy", loose)["advice"].startswith("This policy would have killed nobody, with ")


def test_a_history_too_short_to_calibrate_says_nothing(
    told: Json, tmp_path: Path, documents: list[Any]
) -> None:
    found = told(written(tmp_path / "short.jsonl", documents[:100]))
    assert "too short to judge" in found["advice"]
    assert found["policies"][0]["policy"] == "the default configuration"


def test_every_key_is_documented(told: Json, stream: Path, strict: Path, loose: Path) -> None:
    def keys(value: Any) -> set[str]:
        if isinstance(value, list):
            return set().union(*map(keys, value))
        return set(value).union(*map(keys, value.values())) if isinstance(value, dict) else set()

    found = told(stream, "--policy", strict, "--against", loose)
    for policy in found["policies"]:
        policy["held_back"] = {}  # its keys are sentences
    assert keys(found) - set(re.findall(r"`(\w+)`", DOCS.read_text())) == set()


# -- policies -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--policy", "--against"])
def test_a_wrong_policy_is_answered_with_its_key(
    stream: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    wrong = toml(tmp_path / "wrong.toml", "[response]\nkil = 'suspend'\n")
    assert main(["backtest", str(stream), option, str(wrong)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("killcord: response.kil: no such key")
    assert str(wrong) in said


def test_a_policy_that_cannot_be_read_is_a_mistake_too(
    stream: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], real_pipeline: None
) -> None:
    assert main(["backtest", str(stream), "--policy", str(tmp_path / "none.toml")]) == 2
    assert "none.toml" in capsys.readouterr().err
    river = toml(tmp_path / "river.toml", '[[detection.river]]\nname = "river.nothing.Here"\n')
    assert main(["backtest", str(stream), "--policy", str(river)]) == 2
    assert "detection.river.0.name" in capsys.readouterr().err


def test_tables_that_do_not_count_are_named(
    stream: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = toml(tmp_path / "whole.toml", f"[server]\nport = 1\n[log]\nretention_days = 1.0\n{STRICT}")
    assert main(["backtest", "--json", str(stream), "--policy", str(whole)]) == 0
    captured = capsys.readouterr()
    assert "only [detection] and [response] count in a back-test, not [log], [server]" in captured.err
    assert json.loads(captured.out)["policies"][0]["ignored"] == ["[log]", "[server]"]


# -- recorded streams -----------------------------------------------------------------------------------------------


def test_several_streams_are_one_in_the_order_of_time(
    told: Json, stream: Path, tmp_path: Path, documents: list[Any], strict: Path
) -> None:
    names = sorted({document["agent_id"] for document in documents})
    for number, name in enumerate(names):
        folder = tmp_path / str(number)
        folder.mkdir()
        own = [document for document in documents if document["agent_id"] == name]
        text = "".join(json.dumps(document) + "\n" for document in own)
        (folder / "actions.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    parts = [tmp_path / str(number) for number in range(len(names))]
    assert told(*parts, "--policy", strict)["policies"] == told(stream, "--policy", strict)["policies"]


def test_what_is_no_action_is_counted_and_said_and_repeats_count_once(
    tmp_path: Path, documents: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    bad = [{**documents[0], "id": f"bad-{number}", "ts": "yesterday"} for number in range(7)]
    file = written(tmp_path / "actions.jsonl", [*bad, *documents[:50], *documents[:20]])
    assert main(["backtest", "--json", str(file)]) == 0
    captured = capsys.readouterr()
    history = json.loads(captured.out)["history"]
    assert (history["actions"], history["rejected"], history["duplicates"]) == (50, 7, 20)
    refusals = [line for line in captured.err.splitlines() if line.startswith("refused")]
    assert len(refusals) == 5
    assert refusals[0].startswith("refused actions.jsonl, action 1: ts: ")


def test_only_the_end_of_a_stream_is_taken(told: Json, stream: Path, documents: list[Any]) -> None:
    since_s = documents[-1]["ts"] - 3_600
    expected = sum(document["ts"] >= since_s for document in documents)
    assert 0 < expected < len(documents)
    assert told(stream, "--last", "1h")["history"]["actions"] == expected


# -- a daemon's log -------------------------------------------------------------------------------------------------


def test_a_log_is_read_while_it_is_held_and_nothing_is_touched(told: Json, tmp_path: Path) -> None:
    state = logged(tmp_path / "state", Actions(NOW_S, habits(50)), Actions(NOW_S, habits(50, first=50)))
    os.truncate(
        next((state / "log").glob("*.seg")), segment_bytes(state) - 3
    )  # as a crash, or a write now, leaves it
    before = image(state)
    with (state / "log" / "lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert told("--state", state)["history"]["actions"] == 50
    assert image(state) == before


def segment_bytes(state: Path) -> int:
    return next((state / "log").glob("*.seg")).stat().st_size


def image(state: Path) -> dict[str, tuple[int, bytes]]:
    """Everything in the directory: names, times of change, contents."""
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in (state, *state.rglob("*"))
    }


def test_only_the_end_of_a_log_is_taken_and_old_segments_are_not_read(told: Json, tmp_path: Path) -> None:
    batches = [Actions(NOW_S + 60 * n, habits(20, first=20 * n)) for n in range(40)]
    state = logged(tmp_path / "state", *batches, segment_bytes=20_000)
    segments = sorted((state / "log").glob("*.seg"))
    assert len(segments) > 4
    assert told("--state", state, "--last", "5m")["history"]["actions"] == 6 * 20
    assert told("--state", state, "--last", "1d")["history"]["actions"] == 40 * 20
    content = bytearray(segments[0].read_bytes())
    content[-1] ^= 1
    segments[0].write_bytes(content)
    assert told("--state", state, "--last", "5m")["history"]["actions"] == 6 * 20


def test_the_newest_entry_counts_where_the_last_segment_is_still_empty(tmp_path: Path) -> None:
    state = logged(tmp_path / "state", Actions(NOW_S, habits(5)), Actions(NOW_S + 90, habits(5, first=5)))
    (state / "log" / f"{11:020d}.seg").write_bytes(b"KILLCORD LOG 1\r\n")
    found = list(read_history(state / "log", 60.0))
    assert [entry.now_s for entry in found] == [NOW_S + 90]
    assert list(read_history(tmp_path / "nowhere", 60.0)) == []


def test_a_segment_that_retention_deletes_meanwhile_is_passed_over(tmp_path: Path) -> None:
    batches = [Actions(NOW_S + n, habits(20, first=20 * n)) for n in range(12)]
    state = logged(tmp_path / "state", *batches, segment_bytes=5_000)
    segments = sorted((state / "log").glob("*.seg"))
    assert len(segments) > 4
    reading = read_history(state / "log")
    first = next(reading)
    segments[0].unlink()
    segments[1].unlink()
    rest = list(reading)
    assert first.now_s == NOW_S
    assert rest[-1].now_s == NOW_S + 11
    assert len(rest) < 11


def test_a_damaged_log_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    batches = [Actions(NOW_S, habits(20, first=20 * n)) for n in range(12)]
    state = logged(tmp_path / "state", *batches, segment_bytes=20_000)
    first = min((state / "log").glob("*.seg"))
    content = bytearray(first.read_bytes())
    content[-1] ^= 1
    first.write_bytes(content)
    assert main(["backtest", "--state", str(state)]) == 1
    assert "is damaged at byte" in capsys.readouterr().err


def test_a_running_daemon_is_not_disturbed_and_its_policy_comes_to_what_people_were_shown(
    tmp_path: Path, fleet: list[dict[str, Any]], told: Json, real_pipeline: None
) -> None:
    """The log is unchanged afterwards, no file is new, and the daemon goes on taking actions in."""
    state, policy_file = tmp_path / "state", tmp_path / "state.toml"
    with RunningDaemon(state, AS_ONE_MOMENT) as daemon:
        for start in range(0, len(fleet), 2000):
            daemon.send(fleet[start : start + 2000])
        daemon.wait_until_scored(len(fleet))
        daemon.wait_for(lambda: daemon.metric("killcord_backlog_actions") == 0, "everything to be seen to")
        groups = daemon.get("/v1/alerts?limit=1000")["alerts"]
        live = [alert for group in groups for alert in daemon.get(f"/v1/alerts/{group['id']}")["alerts"]]
        kills = sum(alert["response"]["taken"] == "suspend" for alert in live)
        daemon.wait_for(lambda: transitions(state) == kills, "the log of the kills")
        stopped = {found["target"] for found in daemon.get("/v1/revocations")["revocations"]}
        log, names = image(state / "log"), names_in(state)
        found = told("--state", state, "--policy", policy_file, "--examples", 1000)
        assert image(state / "log") == log
        assert names_in(state) == names
        daemon.send([{**fleet[-1], "id": "one-more"}])
        assert told("--state", state)["history"]["actions"] == len(fleet) + 1
    (policy,) = found["policies"]
    killed = {f"agent:{finding['agent_id']}" for finding in policy["kills"]["examples"]}
    assert found["history"]["actions"] == len(fleet)
    assert found["history"]["past_policy_kills"] == policy["kills"]["total"] == kills >= 1
    assert killed == stopped
    assert policy["alerts"]["total"] + policy["alerts_while_stopped"] == len(live)
    mine = [*policy["kills"]["examples"], *policy["alerts"]["examples"]]
    assert {finding["alert_id"] for finding in mine} <= {alert["id"] for alert in live}


def transitions(state: Path) -> int:
    return sum(isinstance(entry, Transition) for entry in read_history(state / "log"))


def names_in(state: Path) -> set[str]:
    return {
        path.name for path in state.iterdir() if not path.name.startswith(".")
    }  # but for files being replaced


# -- usage ----------------------------------------------------------------------------------------------------------


def test_nothing_to_read_is_said_and_makes_nothing(
    tmp_path: Path, strict: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "none"
    assert main(["backtest", "--state", str(state)]) == 3
    assert "there is no state directory" in capsys.readouterr().err
    state.mkdir()
    assert main(["backtest", "--state", str(state)]) == 3
    assert "there is no action" in capsys.readouterr().err
    assert list(state.iterdir()) == []
    assert main(["backtest", str(tmp_path / "none.jsonl")]) == 3
    assert main(["backtest", str(written(tmp_path / "empty.jsonl", []))]) == 3


def test_files_that_may_not_be_read_are_nothing_to_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    state = logged(tmp_path / "state", Actions(NOW_S, habits(5)))

    def refused(*_: object, **__: object) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refused)
    assert main(["backtest", "--state", str(state)]) == 3
    assert "Permission denied" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--last", "week"], "--last"),
        (["--last", "0d"], "--last"),
        (["--examples", "-1"], "--examples"),
        (["--state", "somewhere"], "--state"),
    ],
)
def test_a_wrong_option_is_named(
    stream: Path, arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["backtest", str(stream), *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"killcord: {named}: ")


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("1.5m", 90), ("24h", 86_400), (" 7d ", 604_800)])
def test_lengths_of_time_are_read(text: str, seconds: float) -> None:
    assert duration_s("--last", text) == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "1e9d", "7days", "nan", "0.0s"])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--last"):
        duration_s("--last", text)


def test_hostile_names_do_not_reach_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert backtest_text._name("a\x1b[2J") == "a·[2J"
    assert backtest_text._name("a\x1b[2Jb\u202ec" + "d" * 99) == "a·[2Jb·c" + "d" * 51 + "…"
    file = written(tmp_path / "a\x1b[2J.jsonl", [{"id": "1", "ts": 1.0, "agent_id": "a", "tool": "t"}])
    assert main(["backtest", str(file)]) == 0
    assert "\x1b" not in capsys.readouterr().out
