"""The one pass over a batch: score, judge, learn, move on; action by action, in order.

Theory of operation. Each action is scored against what was known before it. Its scores become a p-value. It
is flagged if the p-value is below what the operator's alert budget allows. It teaches the models unless it
was flagged, came soon after a flagged one in the same session, or the caller forbids: a hijacked session holds
harmless-looking actions too, and learning those would make the rest look normal. What merely *happened*
(previous tool, time, rate, version) moves on either way. Nothing depends on how a stream is cut into batches.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from detectors.calibration import calibrate, fused_p, learn_fused, learn_scores
from detectors.compiler import entry, kernel
from detectors.context import (
    enter_session,
    fold,
    previous_tool,
    recall,
    remember,
    suspicion_of,
    trust,
)
from detectors.layout import (
    EXTERNAL,
    RATE,
    RHYTHM,
    SIZE,
    UNIT,
    VERSIONS,
    Fleet,
    Row,
)
from detectors.signals import decayed, gap_bin, learn, observe, pace_bin, size_bin
from detectors.tables import Table, combine, shrink

CALIBRATING, RECALIBRATING, CALIBRATED = range(3)
PAUSE, LOOK, SCORE = -2, -1, 0

_DAY_S = 86_400.0
_SOFTER = 3  # a new version: what was learned keeps an eighth of its weight
_STRICTER = 10.0  # while recalibrating a p-value has to be ten times lower to be flagged
_CREDIT = 3.0  # flagged scores an agent may add to the fleet's calibration, as a multiple of the alert budget
_TELLING = 0.05  # below this p-value a signal's usual level is looked up for the explanation
_Z_MAX = 11.9
_SUSPICION = 255  # actions of a session that teach nothing after a flagged one
_NO_SESSION = 1  # actions without a session are one session of their agent (0 marks an empty entry)


class Rules(NamedTuple):
    """The settings that the kernel needs, in its units."""

    warm: int
    """Actions of an agent before its scores enter the calibration."""
    min_actions: int
    recalibration: int
    """Actions that an agent counts as recalibrating after a new version."""
    fleet_half: int
    """Scores, in `UNIT`, that each of the two stages of calibration needs."""
    alerts_per_agent_day: float
    max_p: float


class Batch(NamedTuple):
    """Actions as columns. Hashes but one are the upper 32 bits of those in `Features`."""

    rows: Table
    tool_hashes: Table
    """All 64 bits: the only hash that has to lead back to a name."""
    tools: Table
    sessions: Table
    versions: Table
    ts_s: Table
    sizes: Table
    args: Table
    """(m, 3): name, value and source of every argument of every action."""
    starts: Table
    """(n + 1): action i has the arguments starts[i] to starts[i + 1]."""
    teach: Table
    external: Table


@kernel
def note_version(row: Row, version: int, rules: Rules) -> None:
    """Start recalibrating when an agent shows a version that it has not shown lately.

    Two versions side by side (a gradual roll-out) are one change, not one an action. A change during
    recalibration softens nothing further, so that inventing versions cannot wash a model out faster than it
    learns.
    """
    versions = row["versions"]
    if version == 0 or versions[0] == version:
        return
    at = 0
    while at < VERSIONS - 1 and versions[at] != version:
        at += 1
    is_change = versions[at] != version and versions[0] != 0
    while at > 0:
        versions[at] = versions[at - 1]
        at -= 1
    versions[0] = version
    if is_change and row["learned"] >= rules.min_actions and row["recalibrating"] == 0:
        row["recalibrating"] = rules.recalibration
        shrink(row["pair_counts"], _SOFTER)
        shrink(row["slot_counts"], _SOFTER)
        shrink(row["rhythm"], _SOFTER)
        shrink(row["pace"], _SOFTER)
        shrink(row["tails"], 16)  # old scores say nothing about the new version: begin again from the fleet's
        shrink(row["fused"], 16)


@kernel
def judge(row: Row, fleet: Fleet, out: Row, rules: Rules) -> None:
    """Set state, threshold, p-value and whether the action is flagged."""
    days = max(1.0, row["span_s"] / _DAY_S)
    per_day = (row["acted"] + 1.0) / days
    threshold = min(rules.max_p, rules.alerts_per_agent_day / per_day)
    if row["learned"] < rules.min_actions or fleet.fused[0] < rules.fleet_half:
        out["state"] = CALIBRATING
        out["threshold_p"] = threshold
        return
    if row["recalibrating"] > 0:
        out["state"] = RECALIBRATING
        threshold = threshold / _STRICTER
    else:
        out["state"] = CALIBRATED
    out["threshold_p"] = threshold
    out["p"] = fused_p(row, fleet, out["fused"])
    out["flagged"] = out["p"] <= threshold


@kernel
def score_external(row: Row, out: Row, column: int, score: float) -> None:
    """Note a foreign detector's score in standard deviations above the agent's mean; not finite = missing."""
    if not math.isfinite(score):
        return
    out["observed"][EXTERNAL + column] = score
    out["expected"][EXTERNAL + column] = row["external_mean"][column]
    spread = math.sqrt(row["external_var"][column]) + 1e-9
    z = (score - row["external_mean"][column]) / spread
    out["surprise"][EXTERNAL + column] = (
        min(max(z, 0.0), _Z_MAX) if row["external_seen"][column] > 1.0 else 0.0
    )


@kernel
def learn_external(row: Row, column: int, score: float) -> None:
    """Move the exponentially weighted mean and variance (West 1979) of a foreign detector's scores."""
    if not math.isfinite(score):
        return
    seen = min(row["external_seen"][column] + 1.0, 1000.0)
    delta = score - row["external_mean"][column]
    row["external_mean"][column] += delta / seen
    row["external_var"][column] += (delta * delta * (1.0 - 1.0 / seen) - row["external_var"][column]) / seen
    row["external_seen"][column] = seen


@kernel
def fingerprint(batch: Batch, i: int) -> int:
    """Return what recognises an action when its verdict arrives."""
    print_ = combine(int(batch.tools[i]), int(batch.sessions[i]))
    for j in range(batch.starts[i], batch.starts[i + 1]):
        print_ = combine(print_, combine(batch.args[j, 0], batch.args[j, 1]))
    return print_


@kernel
def clear(out: Row) -> None:
    """Set an output to "nothing is known"."""
    out["p"] = math.nan
    out["threshold_p"] = math.nan
    out["fused"] = 0.0
    out["previous"] = 0
    out["flagged"] = False
    out["state"] = CALIBRATING
    for k in range(out["surprise"].shape[0]):
        out["surprise"][k] = math.nan
        out["signal_p"][k] = math.nan
        out["observed"][k] = math.nan
        out["expected"][k] = math.nan
        out["seen"][k] = 0.0
        out["of"][k] = 0.0
        out["peer_seen"][k] = 0.0
        out["peer_of"][k] = 0.0
        out["arg"][k] = -1


@kernel
def mode(counts: Table) -> int:
    """Return the fullest bin."""
    best = 0
    for i in range(1, counts.shape[0]):
        if counts[i] > counts[best]:
            best = i
    return best


@kernel
def tell(row: Row, out: Row, size_chars: float, gap_s: float, level: float) -> None:
    """Write down observed and usual quantities, for the explanation."""
    out["observed"][SIZE] = size_chars
    out["observed"][RHYTHM] = gap_s
    out["observed"][RATE] = level
    if out["signal_p"][RHYTHM] <= _TELLING:
        out["expected"][RHYTHM] = 2.0 ** (mode(row["rhythm"]) - 1) / 1000.0
    if out["signal_p"][RATE] <= _TELLING:
        out["expected"][RATE] = 2.0 ** ((mode(row["pace"]) - 1) / 2.0)


@kernel
def learn_calibration(
    row: Row, fleet: Fleet, out: Row, rules: Rules, weight: int, own: bool, peers: bool
) -> None:
    """Teach the calibration, once the models that made the scores have seen enough to be meant.

    Scores of flagged actions need care. Left out, the fleet's tail would end where flagging begins, every p-value
    beyond would be too small, and benign oddities be flagged several times as often as promised. Taken in, an
    attack would make itself normal. So an agent may add as many flagged scores a day to the *fleet's* tails as
    its alert budget foresees, times `_CREDIT`, and nothing to its own until a verdict.
    """
    if row["learned"] < rules.warm:
        return
    if fleet.tails[SIZE, 0] >= rules.fleet_half:
        learn_fused(row, fleet, out["fused"], weight, own, peers)
    learn_scores(row, fleet, out, weight, own, peers)


@kernel
def move_on(
    row: Row,
    tool: np.uint64,
    session: int,
    suspected: int,
    ts_s: float,
    gap_s: float,
    level: float,
    rules: Rules,
) -> None:
    """Let time pass: this is state, not learning, and happens for flagged actions too."""
    enter_session(row, session, tool, suspected)
    if math.isfinite(ts_s):
        row["last_ts_s"] = ts_s
        row["rate"] = level
    if gap_s > 0.0:
        passed_s = min(gap_s, _DAY_S)
        row["span_s"] += passed_s
        most = max(1.0, _CREDIT * rules.alerts_per_agent_day)
        row["credit"] = min(most, row["credit"] + most * passed_s / _DAY_S)
    row["acted"] += 1
    if row["recalibrating"] > 0:
        row["recalibrating"] -= 1


@kernel
def one(rows: Table, fleet: Fleet, batch: Batch, rules: Rules, results: Table, mode: int, i: int) -> None:
    """Do everything for action `i` of a batch; modes as for `run`."""
    row = rows[batch.rows[i]]
    out = results[i]
    clear(out)
    is_late = mode > SCORE
    weight = mode if is_late else UNIT
    tool = int(batch.tools[i])
    session = int(batch.sessions[i])
    if session == 0:
        session = _NO_SESSION
    ts_s = float(batch.ts_s[i])
    if mode == SCORE:
        note_version(row, int(batch.versions[i]), rules)
    before = previous_tool(row, session)
    gap_s = ts_s - row["last_ts_s"] if math.isfinite(ts_s) else math.nan
    level = decayed(row["rate"], gap_s)
    previous = fold(before)
    gap = gap_bin(gap_s)
    pace = pace_bin(level) if math.isfinite(ts_s) else -1
    if is_late:
        previous, gap, pace = recall(row, fingerprint(batch, i))
    size = size_bin(float(batch.sizes[i]))
    first = batch.starts[i]
    last = batch.starts[i + 1]
    observe(row, fleet, out, tool, previous, size, gap, pace, batch.args, first, last)
    out["previous"] = before
    for column in range(batch.external.shape[1]):
        score_external(row, out, column, batch.external[i, column])
    calibrate(row, fleet, out)
    if not is_late:
        judge(row, fleet, out, rules)
        tell(row, out, float(batch.sizes[i]), gap_s, level)
    if mode == LOOK:
        return
    suspected = 0 if session == _NO_SESSION else suspicion_of(row, session)
    if out["flagged"]:
        remember(row, fingerprint(batch, i), previous, gap, pace)
        if batch.teach[i] and row["credit"] >= 1.0:
            row["credit"] -= 1.0
            learn_calibration(row, fleet, out, rules, UNIT, False, True)
    elif batch.teach[i] and (is_late or suspected == 0):
        learn_calibration(row, fleet, out, rules, weight, True, not is_late)
        learn(row, fleet, tool, previous, size, gap, pace, batch.args, first, last, weight)
        for column in range(batch.external.shape[1]):
            learn_external(row, column, batch.external[i, column])
        row["learned"] += 1 if weight == UNIT else 0
    if is_late:
        if weight == UNIT:
            trust(row, session)
        return
    if session != _NO_SESSION:
        suspected = _SUSPICION if out["flagged"] else max(0, suspected - 1)
    move_on(row, batch.tool_hashes[i], session, suspected, ts_s, gap_s, level, rules)


@entry
def run(rows: Table, fleet: Fleet, batch: Batch, rules: Rules, results: Table, mode: int, start: int) -> int:
    """Take a batch in order from `start` on; the answers go to `results`, the models change in place.

    One path for all that can be done, because the compiler takes its time for each.

    Parameters
    ----------
    rows, fleet, batch, rules, results
        Models, actions, settings, and one output an action.
    mode
        `SCORE`: score, judge and learn new actions. `PAUSE`: the same, up to and with the first flagged one.
        `LOOK`: score and judge only, as if each came next. 1 to `UNIT`: teach formerly flagged actions with this
        weight. Their context (previous tool, gap, rate) is used if the agent's row still has it; if more than six
        were flagged since, only what the action itself shows is learned: tool, arguments, sources, size.
    start
        Index of the first action to take.

    Returns
    -------
    How far it went: where to start again after a pause, or the number of actions.

    """
    for i in range(start, batch.rows.shape[0]):
        one(rows, fleet, batch, rules, results, SCORE if mode == PAUSE else mode, i)
        if mode == PAUSE and results[i]["flagged"]:
            return i + 1
    return int(batch.rows.shape[0])
