"""How many hijacked agents are found, at how many false alerts: ``python -m benchmarks.detect --stream DIR --json``.

A labelled stream of real agents' actions goes through our pipeline and through other detectors in one pass: each action
is scored on what came before it, then learned; its output is shown afterwards. Labels are read by the judge alone.
Authorised twins, sessions in which the user himself asks for what an attack does, have no time in the stream: each is
put before the state at the stream's end as if it came next, and forgotten.

The clock counts processor time of one thread in scoring and learning. Ours covers everything from an action's JSON
fields to p-value and alert; River's, the forest on prepared numbers; the others', their own calls.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.detect_figures import by_goal
from benchmarks.detect_folds import joined
from benchmarks.detect_judge import Promised, View, describe_stream, judged, look, promises, verdicts
from benchmarks.detect_ours import ALERT_RATE, SEES, Ours, budget_for
from benchmarks.detect_peers import PEERS
from benchmarks.detect_run import Analyst, Run, prequential
from benchmarks.detect_stream import Stream, StreamError, read_stream
from benchmarks.fit_prior import code, leaving_out
from benchmarks.machine import describe
from benchmarks.peer_environment import NoPeers
from detectors import Weights, load_prior
from monitor.errors import ActionError

CLOCK: Final = (
    "processor time of one thread; ours: JSON fields to p-value and alert, in batches of at most 64; "
    "river_hst: score_one and learn_one on prepared numbers; others: their own calls"
)
ANY: Final = "any"
PROMISED: Final = f"{ALERT_RATE:g}"
MEASURED: Final = ("killcord", "numpy", "numba", "river", "msgspec")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; 2 if the stream cannot be read or an option cannot be had."""
    options = parse(arguments)
    try:
        result = measure(options)
    except (ActionError, StreamError, ValueError) as error:
        say(f"detect: {error}")
        return 2
    print(json.dumps(result) if options.json else table(result))
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.detect",
        description=(__doc__ or "").splitlines()[0],
    )
    add = parser.add_argument
    add("--stream", type=Path, required=True, metavar="DIR", help="directory of the labelled stream")
    add("--limit", type=int, metavar="N", help="take the first N actions only")
    add("--agents", default="*", metavar="PATTERN", help="judge these agents only; all are streamed")
    add("--suite", metavar="NAME", help="judge agents of this suite only; all are streamed")
    add("--feedback", type=float, metavar="DELAY_S", help="an analyst judges every alert after so long")
    add("--prior", type=Path, metavar="FILE", help="weights instead of the shipped ones")
    add("--cross-validate", action="store_true",
        help="judge each suite by weights fitted on the others")  # fmt: skip
    add("--sees", choices=SEES, default="flow", help="what our sensor tells of an action (default flow)")
    add("--peers", type=peer_names, default=list(PEERS), metavar="NAMES",
        help=f"others to run, with commas, '' for none (default {','.join(PEERS)})")  # fmt: skip
    add("--json", action="store_true", help="print one JSON object last (otherwise a table)")
    return parser.parse_args(arguments)


def peer_names(text: str) -> list[str]:
    """Return the peers that an option names."""
    names = [name for name in text.split(",") if name]
    if unknown := set(names) - PEERS.keys():
        raise argparse.ArgumentTypeError(f"no such peer: {', '.join(sorted(unknown))}")
    return names


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return all figures."""
    say("reading the stream ...")
    stream = read_stream(options.stream, options.limit)
    view = look(stream, options.agents, options.suite)
    priors = priors_for(stream, options)
    ours, run = run_ours(stream, priors, options)
    say("the same stream without the hijacked sessions ...")
    honest = stream.without_hijacked()
    kept, _ = run_ours(honest, priors, options)
    promised = promises(kept, look(honest, options.agents, options.suite))
    goals = [(record.suite, record.label.attack) for record in view.records]
    return {
        "benchmark": "detect",
        "ours": {**judged(run, view), "realised_over_promised": promised[PROMISED]["overall"]},
        "peers": {name: peer(name, stream, view) for name in options.peers},
        "by_goal": by_goal(view.scores(run), view.judgement, goals),
        "realised": {"without_attacks": promised, "with_attacks": promises(ours, view)},
        "stream": {**describe_stream(stream, view), "feedback_s": options.feedback},
        "clock": CLOCK,
        "machine": describe(MEASURED),
    }


def priors_for(stream: Stream, options: argparse.Namespace) -> dict[str, Weights | None]:
    """Return the weights to judge each suite by; under the name ANY those for all suites."""
    if not options.cross_validate:
        return {ANY: load_prior(options.prior) if options.prior else None}
    say("signals' codes ...")
    coded = code(stream)
    return {suite: leaving_out(coded, [suite]) for suite in sorted(set(coded.suites.tolist()))}


def run_ours(
    stream: Stream, priors: Mapping[str, Weights | None], options: argparse.Namespace
) -> tuple[Promised, Run]:
    """Put the stream before our pipeline once with each of the weights."""
    folds = {}
    for suite, prior in priors.items():
        say(f"ours, weights for {suite} suite: {len(stream.records):,} actions ...")
        folds[suite] = run_once(stream, prior, options)
    return folds[ANY] if ANY in folds else joined(stream, folds)


def run_once(stream: Stream, prior: Weights | None, options: argparse.Namespace) -> tuple[Promised, Run]:
    """Put the stream before our pipeline, with an analyst if wished."""
    steps = [record.step for record in stream.records]
    ours = Ours(budget_for([seen for seen, _ in steps]), prior, options.sees)
    if options.feedback is None:
        run = prequential(ours, ours.stopwatch, steps, stream.twins)
    else:
        analyst = Analyst(ours, verdicts(stream.records), options.feedback)
        run = prequential(ours, ours.stopwatch, steps, stream.twins, analyst.judge_until)
    return Promised(ours.budget, ours.p, ours.raised), run


def peer(name: str, stream: Stream, view: View) -> dict[str, Any]:
    """Return a peer's figures, or why there are none."""
    say(f"{name} ...")
    try:
        run = PEERS[name]([record.step for record in stream.records], stream.twins, say)
    except NoPeers as error:
        say(f"{name}: skipped, {error}")
        return {"skipped": str(error)}
    return {**judged(run, view), "realised_over_promised": None}  # nothing was promised


# -- what people see ------------------------------------------------------------------------------------------------


def say(line: str) -> None:
    """Print for people."""
    print(line, file=sys.stderr, flush=True)


def table(result: dict[str, Any]) -> str:
    """Return the figures as lines."""
    columns = {"ours": result["ours"], **result["peers"]}
    keys = [key for key in result["ours"] if key != "note"]
    lines = [" " * 22 + "".join(f"{name:>24}" for name in columns)]
    for key in keys:
        cells = "".join(f"{_cell(column.get(key)):>24}" for column in columns.values())
        lines += [f"{key:<22}{cells}"]
    lines += [f"{name}: {column['skipped']}" for name, column in columns.items() if "skipped" in column]
    lines += ["", "goal" + " " * 34 + "sessions   at 1/1k  at 1/10k   rate needed"]
    for row in result["by_goal"]:
        name = f"{row['suite']} {row['attack']}"
        counts = f"{row['sessions']:>8}{row['found_1e3']:>10}{row['found_1e4']:>10}"
        lines.append(f"{name:<38}{counts}{row['median_rate_needed']:>14.6f}")
    for traffic, kept in result["realised"].items():
        lines += ["", *(f"realised {traffic} {key:<20} {value}" for key, value in kept.items())]
    return "\n".join([*lines, "", *(f"{key:<22}{value}" for key, value in result["stream"].items())])


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value[0]:g} – {value[1]:g}" if isinstance(value, list) else f"{value:,}"


if __name__ == "__main__":
    sys.exit(main())
