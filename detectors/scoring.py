"""The one pass over a batch: score, judge, learn, move on; action by action, in order.

Theory of operation. Each action is scored against what was known before it. Its scores become a p-value. It
is flagged if the p-value is below what the operator's alert budget allows. It teaches the models unless it
was flagged, came soon after a flagged one in the same session, or the caller forbids: a hijacked session holds
harmless-looking actions too, and learning those would make the rest look normal. What is merely unusual teaches weakly.
What *happened* (previous tool, time, rate, version) moves on either way. Nothing depends on how a stream is cut into
batches.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from detectors.answer import CALIBRATING, clear, tell, to_nats
from detectors.calibration import (
    calibrate,
    evidence_p,
    kind_of,
    known_kind,
    learn_evidence,
    learn_scores,
)
from detectors.change import NEVER, SAME, change, rest, soften
from detectors.compiler import entry, kernel
from detectors.context import (
    enter_session,
    fold,
    previous_tool,
    recall,
    remember,
    steps_of,
    suspicion_of,
    trust,
)
from detectors.evidence import view_of, weigh
from detectors.layout import (
    EXTERNAL,
    FUSED_WIDTH,
    TOOL,
    UNIT,
    VERSIONS,
    Fleet,
    Row,
)
from detectors.prior import Weights
from detectors.runaway import STEADY, note_pace, runaway
from detectors.signals import (
    decayed,
    fit,
    gap_bin,
    learn,
    learn_fit,
    observe,
    pace_bin,
    size_bin,
)
from detectors.tables import Table, combine
from detectors.trades import learn_trade_of

RECALIBRATING, CALIBRATED, BORROWED = range(1, 4)
SETTLE, PAUSE, LOOK, SCORE = -3, -2, -1, 0

_LEAST_SPAN_S = 3600.0  # an agent's pace is taken from no shorter time: its first actions would say anything
_DAY_S = 86_400.0
_UNUSUAL_P = (
    0.05  # so strange an action teaches weakly though it is not flagged: if it is an attack that goes
)
_WEAK = UNIT // 4  # unseen, it would make the next one look normal; ours, chosen on recorded agents
_STRICTER = 10.0  # while recalibrating a p-value has to be ten times lower to be flagged
_CREDIT = 3.0  # flagged scores an agent may add to the fleet's calibration, as a multiple of the alert budget
_Z_MAX = 11.9
_SUSPICION = 255  # actions of a session that teach nothing after a flagged one
_NO_SESSION = 1  # actions without a session are one session of their agent (0 marks an empty entry)


class Rules(NamedTuple):
    """The settings that the kernel needs, in its units."""

    min_actions: int
    recalibration: int
    """Actions that an agent counts as recalibrating after a new version."""
    fleet_half: int
    """Values, in `UNIT`, that the fleet's tails need before evidence is calibrated, and then each calibration."""
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
    words: Table
    """Words of the declared tasks, one after the other."""
    word_starts: Table
    """(n + 1): as `starts`."""
    flow: Table
    """(n, FLOW): numbers of the information flow, `FLOW_UNKNOWN` where it is."""
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
        soften(row, rules.recalibration)
        rest(row, NEVER)  # another version may well use other tools


@kernel
def judge(row: Row, fleet: Fleet, out: Row, kind: int, rules: Rules) -> None:
    """Set state, threshold, p-value and whether the action is flagged."""
    per_day = (row["acted"] + 1.0) * _DAY_S / max(_LEAST_SPAN_S, row["span_s"])
    threshold = min(rules.max_p, rules.alerts_per_agent_day / per_day)
    out["threshold_p"] = threshold
    if fleet.fused[kind, 0] < rules.fleet_half:
        out["state"] = CALIBRATING
        return
    if row["learned"] < rules.min_actions:
        out["state"] = BORROWED
    elif row["recalibrating"] > 0:
        out["state"] = RECALIBRATING
        out["threshold_p"] = threshold / _STRICTER
    else:
        out["state"] = CALIBRATED
    out["p"] = evidence_p(row, fleet, kind, out["fused"])
    out["flagged"] = out["p"] <= out["threshold_p"]


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
def at_most_at_threshold(row: Row, fleet: Fleet, out: Row, kind: int) -> float:
    """Return an action's evidence; of a flagged one the least that would have been flagged."""
    fused = float(out["fused"])
    if out["flagged"]:
        while fused >= FUSED_WIDTH:
            if evidence_p(row, fleet, kind, fused - FUSED_WIDTH) > out["threshold_p"]:
                break
            fused -= FUSED_WIDTH
    return fused


@kernel
def learn_calibration(
    row: Row,
    fleet: Fleet,
    out: Row,
    kind: int,
    judged_by: int,
    rules: Rules,
    weight: int,
    own: bool,
    peers: bool,
) -> None:
    """Teach the calibration, once the fleet's tables have seen enough for its statistics to be meant.

    Statistics of flagged actions need care. Left out, the tails would end where flagging begins, every p-value
    beyond would be too small, and benign oddities be flagged several times as often as promised. Taken in, an
    attack would make the next one look normal. So they count as being at the threshold: how many there are is
    learned, how far they go beyond is not. An agent may add as many of them a day to its *peers'* tails as its alert
    budget foresees, times `_CREDIT`, and none to its own until a verdict.
    """
    if fleet.tails[TOOL, 0] >= rules.fleet_half:
        fused = at_most_at_threshold(row, fleet, out, judged_by)
        learn_evidence(row, fleet, kind, fused, weight, own, peers, fused < out["fused"])
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
def one(
    rows: Table, fleet: Fleet, batch: Batch, rules: Rules, weights: Weights, results: Table, mode: int, i: int
) -> None:
    """Do everything for action `i` of a batch; modes as for `run`."""
    row = rows[batch.rows[i]]
    out = results[i]
    clear(out)
    if mode == SETTLE:
        recall(row, fingerprint(batch, i))
        return
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
    first_word = batch.word_starts[i]
    last_word = batch.word_starts[i + 1]
    fit(fleet, out, tool, out["surprise"][TOOL], batch.words, first_word, last_word)
    to_nats(out)
    out["previous"] = before
    for column in range(batch.external.shape[1]):
        score_external(row, out, column, batch.external[i, column])
    calibrate(row, fleet, out)
    view = view_of(out, batch.flow[i], last_word - first_word)
    out["view"] = view
    kind = kind_of(view, row["learned"] < rules.min_actions)
    out["fused"] = weigh(out, batch.flow[i], steps_of(row, session), view, weights)
    judged_by = known_kind(fleet, kind, rules.fleet_half)
    if not is_late:
        judge(row, fleet, out, judged_by, rules)
        tell(row, out, float(batch.sizes[i]), gap_s, level)
        out["runaway"] = runaway(
            row, ts_s, gap_s, level, row["learned"] >= rules.min_actions, rules.alerts_per_agent_day
        )
    if mode == LOOK:
        return
    if not is_late and out["state"] == CALIBRATED:
        steps = steps_of(row, session) + 1
        out["change"] = change(row, out, session, steps, session == _NO_SESSION, ts_s, rules.recalibration)
    suspected = 0 if session == _NO_SESSION else suspicion_of(row, session)
    if out["flagged"]:
        remember(row, fingerprint(batch, i), previous, gap, pace)
        if batch.teach[i] and row["credit"] >= 1.0:
            row["credit"] -= 1.0
            learn_calibration(row, fleet, out, kind, judged_by, rules, UNIT, False, True)
    elif batch.teach[i] and (is_late or suspected == 0):
        learn_calibration(row, fleet, out, kind, judged_by, rules, weight, True, not is_late)
        taught = _WEAK if not is_late and out["p"] <= _UNUSUAL_P else weight
        learn(row, fleet, tool, previous, size, gap, pace, batch.args, first, last, taught)
        learn_fit(fleet, tool, batch.words, first_word, last_word, weight)
        for column in range(batch.external.shape[1]):
            learn_external(row, column, batch.external[i, column])
        row["learned"] += 1 if weight == UNIT else 0
        learn_trade_of(row, fleet, tool)
    if is_late:
        if weight == UNIT:
            trust(row, session)
        return
    if session != _NO_SESSION:
        suspected = _SUSPICION if out["flagged"] else max(0, suspected - 1)
    note_pace(row, ts_s, gap_s, level, out["runaway"])
    move_on(row, batch.tool_hashes[i], session, suspected, ts_s, gap_s, level, rules)


@entry
def run(
    rows: Table,
    fleet: Fleet,
    batch: Batch,
    rules: Rules,
    weights: Weights,
    results: Table,
    mode: int,
    start: int,
) -> int:
    """Take a batch in order from `start` on; the answers go to `results`, the models change in place.

    One path for all that can be done, because the compiler takes its time for each.

    Parameters
    ----------
    rows, fleet, batch, rules, weights, results
        Models, actions, settings, the prior, and one output an action.
    mode
        `SCORE`: score, judge and learn new actions. `PAUSE`: the same, up to and with the first that is flagged, runs
        away or shows a change.
        `LOOK`: score and judge only, as if each came next. `SETTLE`: let formerly flagged actions wait no longer for a
        verdict. 1 to `UNIT`: teach formerly flagged actions with this
        weight. Their context (previous tool, gap, rate) is used if the agent's row still has it; if more than six
        were flagged since, only what the action itself shows is learned: tool, arguments, sources, size.
    start
        Index of the first action to take.

    Returns
    -------
    How far it went: where to start again after a pause, or the number of actions.

    """
    for i in range(start, batch.rows.shape[0]):
        one(rows, fleet, batch, rules, weights, results, SCORE if mode == PAUSE else mode, i)
        if mode == PAUSE and (
            results[i]["flagged"] or results[i]["runaway"] != STEADY or results[i]["change"] != SAME
        ):
            return i + 1
    return int(batch.rows.shape[0])
