"""The simulated fleet: repeatable, valid, and as varied as it says it is."""

import json
import statistics
import subprocess
import sys
from collections import Counter
from itertools import islice, pairwise

import pytest

from monitor.demo.fleet import make_agent, make_fleet, merged_history
from monitor.demo.trades import load_trades
from monitor.intake.action import action_from_fields

NOW_S = 1_760_000_000.0
AGENTS = 24


@pytest.fixture(scope="module")
def fleet():
    return make_fleet(7, AGENTS)


@pytest.fixture(scope="module")
def history(fleet):
    return {agent.name: agent.history(NOW_S) for agent in fleet}


def values(actions, argument):
    return [action["args"][argument] for action in actions if argument in action["args"]]


def gaps(actions):
    return [later["ts"] - earlier["ts"] for earlier, later in pairwise(actions)]


def of_trade(history, fleet, name):
    return [action for agent in fleet if agent.trade.name == name for action in history[agent.name]]


def test_every_duty_names_tools_of_its_trade():
    for trade in load_trades().trades:
        assert {trade.records, trade.outlet} <= trade.tools.keys()
        for duty in trade.duties:
            assert {step.tool for step in duty.steps} <= trade.tools.keys()


def test_every_tool_of_a_trade_is_used_and_every_source_exists():
    for trade in load_trades().trades:
        tools = {**trade.tools, **{tool.name: tool for tool in load_trades().extras}}
        for tool in tools.values():
            for argument in tool.arguments:
                named = {source[5:] for source in argument.sources if source.startswith("tool:")}
                assert named <= tools.keys(), (trade.name, tool.name)


def test_the_fleet_has_eight_trades_and_names_nobody_twice():
    big = make_fleet(1, 60)
    assert len({agent.trade.name for agent in big}) >= 8
    assert len({agent.name for agent in big}) == 60


def test_a_seed_makes_the_same_agent_in_another_process():
    program = (
        "import json, sys; from itertools import islice; from monitor.demo.fleet import make_agent;"
        "agent = make_agent(7, 24, 5); actions = agent.history(1760000000.0);"
        "live = [call.action for call in islice(agent.work(), 50)];"
        "bad = [call.action for call in islice(agent.hijacked(), 20)];"
        "json.dump([actions, live, bad], sys.stdout)"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=True)
    agent = make_agent(7, 24, 5)
    mine = [agent.history(NOW_S)]
    mine += [
        [call.action for call in islice(agent.work(), 50)],
        [c.action for c in islice(agent.hijacked(), 20)],
    ]
    assert json.loads(out.stdout) == json.loads(json.dumps(mine))


def test_another_seed_makes_another_fleet(fleet):
    other = make_fleet(8, AGENTS)
    assert [a.version for a in other] != [a.version for a in fleet]
    assert make_agent(8, AGENTS, 0).history(NOW_S) != make_agent(7, AGENTS, 0).history(NOW_S)


def test_every_action_is_one_that_the_daemon_takes(fleet, history):
    agent = make_agent(7, AGENTS, 3)
    agent.history(NOW_S)
    live = [call.action for call in [*islice(agent.work(), 200), *islice(agent.hijacked(), 50)]]
    for number, action in enumerate([*live, *(one for actions in history.values() for one in actions[:100])]):
        parsed = action_from_fields({"id": str(number), "ts": 0, **action})
        assert not parsed.extra
        assert parsed.on_behalf_of
        assert parsed.provenance.keys() == parsed.args.keys()


def test_history_is_the_past_day_or_so_in_order_and_ends_now(history):
    spans_h = []
    for actions in history.values():
        assert 1200 <= len(actions) <= 2100
        assert min(gaps(actions)) > 0
        assert NOW_S - 1 < actions[-1]["ts"] < NOW_S
        spans_h.append((actions[-1]["ts"] - actions[0]["ts"]) / 3600)
    assert 12 < statistics.median(spans_h) < 48


def test_merged_history_is_in_the_order_of_time(history):
    merged = merged_history(make_fleet(7, AGENTS), NOW_S)
    assert len(merged) == sum(map(len, history.values()))
    assert min(gaps(merged)) >= 0


def test_agents_work_in_busy_periods_with_idle_hours_between(history):
    for actions in history.values():
        all_gaps = gaps(actions)
        assert 0.2 < statistics.median(all_gaps) < 0.6
        assert 2 <= sum(gap > 1800 for gap in all_gaps) <= 25
    longest = [max(gaps(actions)) for actions in history.values()]
    assert statistics.median(longest) > 3 * 3600


def test_there_are_bursts(history):
    """Bulk work: at least ten calls of one tool in a row, quicker than the agent's usual pace."""
    bursts = 0
    for actions in history.values():
        for start in range(len(actions) - 10):
            run = actions[start : start + 10]
            bursts += len({action["tool"] for action in run}) == 1 and run[-1]["ts"] - run[0]["ts"] < 2.0
    assert bursts > 100


def test_live_work_goes_on_at_the_pace_of_the_history(history):
    agent = make_agent(7, AGENTS, 2)
    agent.history(NOW_S)
    live = [call.gap_s for call in islice(agent.work(), 1500)]
    past = [gap for gap in gaps(history[agent.name]) if gap < 60]
    assert 0.75 < statistics.median(live) / statistics.median(past) < 1.33
    assert max(live) < 120


def test_a_call_never_outlasts_the_gap_to_the_next_one():
    agent = make_agent(7, AGENTS, 4)
    agent.history(NOW_S)
    calls = list(islice(agent.work(), 1000))
    calls += list(islice(agent.hijacked(), 100))[1:]
    for earlier, later in pairwise(calls):
        if earlier.is_bad == later.is_bad:
            assert (
                earlier.duration_s < later.gap_s or earlier.action["session_id"] != later.action["session_id"]
            )


def test_values_recur_with_favourites(fleet, history):
    for agent in fleet:
        if agent.trade.name != "support":
            continue
        counts = Counter(values(history[agent.name], "customer_id"))
        top_ten = sum(count for _, count in counts.most_common(10))
        assert 0.3 < top_ten / counts.total() < 0.9
        assert len(counts) > 30


def test_new_values_come_at_a_natural_rate_until_the_end(fleet, history):
    """Some customers in the last quarter were never seen by anybody before, but not many."""
    actions = sorted(of_trade(history, fleet, "support"), key=lambda action: action["ts"])
    customers = values(actions, "customer_id")
    cut = len(customers) * 3 // 4
    new = [value for value in customers[cut:] if value not in set(customers[:cut])]
    assert 0.005 < len(new) / (len(customers) - cut) < 0.25


def test_hosts_hardly_ever_change_and_their_new_ones_are_honest(fleet, history):
    for agent in fleet:
        argument = agent.trade.tools[agent.trade.outlet].arguments[0].name
        seen = Counter(
            action["args"][argument] for action in history[agent.name] if action["tool"] == agent.trade.outlet
        )
        assert 3 <= len(seen) <= 9
        assert seen.total() > 20


def test_a_document_is_sometimes_an_honest_source_of_where_to_send(fleet, history):
    sources = Counter(
        action["provenance"]["url"]
        for agent in fleet
        for action in history[agent.name]
        if action["tool"] == agent.trade.outlet
    )
    assert 5 < sources["tool:read_document"] < 0.1 * sources.total()


def test_a_value_comes_only_from_a_tool_that_the_session_called(history):
    for actions in history.values():
        called = {}
        for action in actions:
            tools = called.setdefault(action["session_id"], set())
            for source in action["provenance"].values():
                assert source in ("user", "model") or source.removeprefix("tool:") in tools
            tools.add(action["tool"])


def test_two_agents_are_upgraded_in_the_middle_and_get_a_new_tool_with_it(history):
    upgraded = 0
    for actions in history.values():
        versions = list(dict.fromkeys(action["agent_version"] for action in actions))
        if len(versions) == 1:
            continue
        upgraded += 1
        where = next(i for i, action in enumerate(actions) if action["agent_version"] == versions[1])
        assert 500 <= where <= len(actions) - 400
        before = {action["tool"] for action in actions[:where]}
        assert {action["tool"] for action in actions[where:]} - before
    assert upgraded == 2


def test_now_and_then_an_agent_uses_a_tool_for_the_first_time_late(fleet, history):
    extras = {tool.name for tool in load_trades().extras}
    late = 0
    for actions in history.values():
        first = {}
        for index, action in enumerate(actions):
            first.setdefault(action["tool"], index)
        late += sum(tool in extras and index > len(actions) // 4 for tool, index in first.items())
    assert 4 <= late <= 2 * AGENTS


def test_agents_of_one_trade_differ(fleet, history):
    desks = [agent for agent in fleet if agent.trade.name == "billing"]
    assert len(desks) == 3
    mixes = []
    for agent in desks:
        counts = Counter(action["tool"] for action in history[agent.name])
        mixes.append({tool: count / counts.total() for tool, count in counts.items()})
    for one, other in [(0, 1), (0, 2), (1, 2)]:
        distance = (
            sum(abs(mixes[one].get(t, 0) - mixes[other].get(t, 0)) for t in {*mixes[one], *mixes[other]}) / 2
        )
        assert distance > 0.03


def test_a_hijacked_agent_reads_the_document_and_then_sends_records_to_a_host_nobody_has_seen(fleet, history):
    hosts = {value for actions in history.values() for value in values(actions, "url")}
    for number in range(8):
        agent = make_agent(7, AGENTS, number)
        agent.history(NOW_S)
        session = list(islice(agent.work(), 10))[-1].action["session_id"]
        first, *bad = islice(agent.hijacked(), 30)
        assert first.action["tool"] == "read_document"
        assert not first.is_bad
        assert all(call.is_bad for call in bad)
        assert {call.action["tool"] for call in bad} == {agent.trade.records, agent.trade.outlet}
        assert {call.action["session_id"] for call in [first, *bad]} == {session}
        assert len(set(values([call.action for call in bad], "url")) - hosts) == 1
        leading = agent.trade.tools[agent.trade.outlet].arguments[0].name
        assert all(
            call.action["provenance"][leading] == "tool:read_document"
            for call in bad
            if call.action["tool"] == agent.trade.outlet
        )
        assert statistics.median(call.gap_s for call in bad) < 0.4


def test_a_restored_agent_goes_back_to_honest_work():
    agent = make_agent(7, AGENTS, 0)
    agent.history(NOW_S)
    list(islice(agent.work(), 10))
    bad = list(islice(agent.hijacked(), 10))
    good = list(islice(agent.work(), 30))
    assert not any(call.is_bad for call in good)
    assert good[0].action["session_id"] != bad[0].action["session_id"]
