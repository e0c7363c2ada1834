"""A back-test in words: a summary of each policy, examples, where two part, and one sentence of advice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from monitor.cli.asking import clock_time, shown
from monitor.config import Config
from monitor.core.backtest import Report
from monitor.core.difference import AgentDifference, Difference
from monitor.core.findings import Counted, Finding
from monitor.core.tally import Budget, Totals
from monitor.intake.recorded_history import RecordedHistory

MAX_ROWS = 20
MAX_NAMES = 5
MAX_NAME_CHARS = 60
LETTERS = "AB"


class Shown(NamedTuple):
    """What is told: where the history is from, the policies under their names, and what came of it."""

    source: str
    policies: list[tuple[str, Config]]
    report: Report


def text(told: Shown, recorded: RecordedHistory | None) -> str:
    """Return the whole report for a terminal."""
    lines = [*_history(told, recorded)]
    for index in range(len(told.policies)):
        lines += ["", *_policy(told, index)]
    if told.report.difference is not None:
        lines += ["", *_difference(told.report.difference)]
    return "\n".join([*lines, "", advice(told)])


def advice(told: Shown) -> str:
    """Return in one sentence what to make of it."""
    if not any(totals.agent_days for totals in told.report.policies):
        return (
            "This history is too short to judge a policy by: no agent's model was calibrated, so nothing could be"
            " flagged."
        )
    if told.report.difference is None:
        return _advice_on_one(told.report.policies[0])
    return _advice_on_two(told.report.difference, told.report.policies)


# -- the history ----------------------------------------------------------------------------------------------------


def _history(told: Shown, recorded: RecordedHistory | None) -> Iterator[str]:
    facts = told.report.history
    agents = max(totals.agents for totals in told.report.policies)
    yield (
        f"{facts.actions:,} actions of {_of(agents, 'agent')} in {facts.days:.1f} days, {clock_time(facts.first_s)} to "
        f"{clock_time(facts.last_s)}, from {shown(told.source)}"
    )
    if recorded is not None and (recorded.rejected or recorded.duplicates):
        yield f"({recorded.rejected:,} more were refused, {recorded.duplicates:,} were repeated)"
    if facts.out_of_order:
        yield f"({facts.out_of_order:,} actions are older than some before them; the clock does not go back)"
    yield "The models start empty; the clock is the actions' own time."
    if facts.verdicts or facts.kills_by_hand or facts.restorations:
        yield (
            f"Honoured where they stand: {_of(facts.verdicts, 'verdict')}, {_of(facts.kills_by_hand, 'kill')} by hand, "
            f"{_of(facts.restorations, 'restoration')}."
        )
    if facts.past_policy_kills:
        yield (
            f"Passed over: {_of(facts.past_policy_kills, 'automatic kill')} of the policy of then. What these agents "
            "would have done next is in no history."
        )


# -- one policy -----------------------------------------------------------------------------------------------------


def _policy(told: Shown, index: int) -> Iterator[str]:
    name, config = told.policies[index]
    totals, response = told.report.policies[index], config.response
    letter = f"Policy {LETTERS[index]}" if len(told.policies) > 1 else "Policy"
    promoted = "" if response.mode == "enforce" else ", shown as if promoted to enforce"
    yield f"{letter}: {shown(name)} (mode {response.mode}{promoted}; kill = {response.kill})"
    yield (
        f"  calibration     the first {totals.calibrating_first:,} actions only calibrated, {totals.calibrating:,} in "
        f"all; {totals.agent_days:.1f} agent-days were scored"
    )
    yield f"  alerts          {_counted(totals.alerts)}; {_against(totals.alert_budget)}"
    yield f"  held for people {_counted(totals.held_for_human)}"
    yield f"  kills           {_counted(totals.kills)}; {_against(totals.kill_budget)}"
    yield from _around_kills(totals)
    for title, found in (
        ("kills", totals.kills),
        ("holds", totals.held_for_human),
        ("alerts", totals.alerts),
    ):
        if found.examples:
            yield f"  {title}, for example:"
            yield from (f"    {_example(finding)}" for finding in found.examples)


def _around_kills(totals: Totals) -> Iterator[str]:
    if totals.kills.total:
        yield (
            f"  prevented       {_of(totals.actions_prevented, 'action')} came from agents that would have been stopped"
        )
    if totals.alerts_while_stopped:
        yield f"  not counted     {_of(totals.alerts_while_stopped, 'alert')} about agents that were stopped by then"
    for why, times in totals.held_back.items():
        yield f"  not killed      {_of(times, 'time')}: {shown(why)}"
    if totals.kills_refused:
        yield f"  not killed      {_of(totals.kills_refused, 'time')}: the store would refuse the request"
    yield f"  blast radius    automatic kills paused {_of(totals.blast_radius_pauses, 'time')}"


def _counted(found: Counted) -> str:
    if not found.total:
        return "none"
    verdicts = (("confirmed", found.confirmed), ("dismissed", found.dismissed))
    said = [f"{verdict} {number:,}" for verdict, number in verdicts if number]
    judged = f"; people {', '.join(said)}" if said else ""
    return f"{found.total:,} ({_of(found.agents, 'agent')}{judged})"


def _against(budget: Budget) -> str:
    return (
        f"{budget.per_agent_day:.3g} per agent-day; budget for false ones {budget.budget_per_agent_day:.3g} per "
        f"agent-day, {budget.allowed:.3g} in all"
    )


def _example(finding: Finding) -> str:
    p = "" if finding.p is None else f" (p = {finding.p:.1g})"
    parts = [f"{finding.ts} {_name(finding.agent_id)}: {shown(finding.sentence)}{p}"]
    if finding.outcome in ("suspend", "revoke"):
        parts.append(f"{finding.outcome}; {_of(finding.actions_prevented, 'action')} prevented")
    if finding.verdict:
        parts.append(f"people said: {shown(finding.verdict)}")
    return "; ".join(parts)


# -- two policies ---------------------------------------------------------------------------------------------------


def _difference(found: Difference) -> Iterator[str]:
    yield (
        f"Difference: alerts of A only {found.alerts_only_a:,}, of B only {found.alerts_only_b:,}, of both "
        f"{found.alerts_both:,}"
    )
    if not found.agents:
        return
    width = max(len("AGENT"), *(len(_name(agent.agent_id)) for agent in found.agents[:MAX_ROWS]))
    yield (
        f"  {'AGENT':<{width}}  {'KILLS A':>7}  {'KILLS B':>7}  {'FIRST KILL A':<20}  {'FIRST KILL B':<20}  "
        f"{'ALERTS ONLY A':>13}  {'ONLY B':>6}  {'BOTH':>6}"
    )
    yield from (f"  {_row(agent, width)}" for agent in found.agents[:MAX_ROWS])
    if len(found.agents) > MAX_ROWS:
        yield f"  ... and {_of(len(found.agents) - MAX_ROWS, 'agent')} more; --json has them all"


def _row(agent: AgentDifference, width: int) -> str:
    kills = f"{agent.kills_a:>7}  {agent.kills_b:>7}"
    first = f"{_second(agent.first_kill_a):<20}  {_second(agent.first_kill_b):<20}"
    alerts = f"{agent.alerts_only_a:>13}  {agent.alerts_only_b:>6}  {agent.alerts_both:>6}"
    return f"{_name(agent.agent_id):<{width}}  {kills}  {first}  {alerts}"


def _second(ts: str) -> str:
    return f"{ts[:19]}Z" if ts else "-"


# -- advice ---------------------------------------------------------------------------------------------------------


def _advice_on_one(totals: Totals) -> str:
    kills = totals.kills
    if not kills.total:
        return (
            "This policy would have killed nobody, with "
            f"{totals.alert_budget.per_agent_day:.2g} alerts per agent-day (budget for false ones: "
            f"{totals.alert_budget.budget_per_agent_day:.2g})."
        )
    return (
        f"This policy would have killed {_of(kills.agents, 'agent')}, where the budget allows "
        f"{totals.kill_budget.allowed:.2g} false kills: before promoting it, look at each one that people have not "
        "confirmed."
    )


def _advice_on_two(found: Difference, policies: list[Totals]) -> str:
    only_a, only_b = found.killed_only_a, found.killed_only_b
    if not only_a and not only_b:
        same = (
            f"Both policies would have killed the same {_of(len(found.killed_both), 'agent')}"
            if found.killed_both
            else "Neither policy would have killed anybody"
        )
        return (
            f"{same}; A raises {found.alerts_only_a:,} alerts that B does not, B {found.alerts_only_b:,} that A does"
            " not."
        )
    sides = (("B", "A", only_b, policies[1]), ("A", "B", only_a, policies[0]))
    return " ".join(_would_kill(*side) for side in sides if side[2])


def _would_kill(one: str, other: str, names: list[str], totals: Totals) -> str:
    return (
        f"Policy {one} would have killed {_of(len(names), 'agent')} that {other} would not ({_some(names)}); its "
        f"budget allows {totals.kill_budget.allowed:.2g} false kills."
    )


def _some(names: list[str]) -> str:
    more = len(names) - MAX_NAMES
    return ", ".join(_name(name) for name in names[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")


def _name(agent_id: str) -> str:
    name = shown(agent_id)
    return name if len(name) <= MAX_NAME_CHARS else name[: MAX_NAME_CHARS - 1] + "…"


def _of(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
