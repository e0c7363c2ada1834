"""Are agents told of that run away, and only these? ``python -m benchmarks.runaway --json``.

Simulated agents of known rhythm work honestly for some weeks; then each goes wrong in each way there is: a burst of 600
times its pace, for three minutes or half a minute, a slow ramp to 128 times, a loop of identical calls, work at an hour
of the night at which it never worked. Ours is the pipeline in its default configuration, and its alerts of the kind
``malfunction`` count; beside it the rogue agent detector of Microsoft's Agent Governance Toolkit sees the same streams.
A delay is the stream's time from the onset to the alerted action. `control_alerted` says for how many of the agents
there was an alert within as long a time of honest work instead. With ``--stream DIR`` also the loops of real agents in
a recorded stream (`benchmarks.detect_stream`). No clock is read: this counts, it does not time.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.detect_ours import fields_of
from benchmarks.detect_stream import StreamError, read_stream
from benchmarks.machine import describe
from benchmarks.peer_environment import NoPeers
from benchmarks.runaway_loops import loop_figures, numbered
from benchmarks.runaway_ours import Ours
from benchmarks.runaway_peer import run_peer
from benchmarks.runaway_run import figures
from benchmarks.runaway_streams import Event
from monitor.errors import ActionError

COUNTED: Final = (
    "agents of which something was told between onset and end, and alerts on honest work per agent-day, its first days "
    "included; alerts on one agent's successive actions are one"
)
CLOCK: Final = (
    "none is read: seconds are the stream's, from the first action that goes wrong to the alerted one"
)
MEASURED: Final = ("killcord", "numpy", "numba")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; 2 if the stream cannot be read."""
    options = parse(arguments)
    try:
        result = measure(options)
    except (ActionError, StreamError) as error:
        say(f"runaway: {error}")
        return 2
    print(json.dumps(result) if options.json else table(result))
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.runaway", description=(__doc__ or "").splitlines()[0]
    )
    add = parser.add_argument
    add("--seeds", type=_seeds, default=range(1, 4), metavar="A-B",
        help="first and last seed, one fleet each (default 1-3)")  # fmt: skip
    add("--agents", type=int, default=24, help="agents of a fleet (default 24)")
    add("--days", type=int, default=28, help="days of honest history (default 28)")
    add("--stream", type=Path, metavar="DIR", help="directory of a labelled stream, for real loops")
    add("--loop-calls", type=int, metavar="N", help="our `detection.loop_calls` (default: as shipped)")
    add("--no-peer", action="store_true", help="leave the peer out")
    add("--json", action="store_true", help="print one JSON object last (otherwise a table)")
    return parser.parse_args(arguments)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return all figures."""
    recorded = read_events(options.stream) if options.stream else []
    size = options.seeds, options.agents, options.days
    config = "" if options.loop_calls is None else f"[detection]\nloop_calls = {options.loop_calls}"
    ours = figures(lambda lives: Ours(config), *size, lambda text: say(f"ours: {text}"))
    ours["loops"] = loop_figures(Ours(config), recorded) if recorded else None
    return {
        "benchmark": "runaway",
        "ours": ours,
        "peers": {} if options.no_peer else {"agt_rogue": peer(*size, recorded)},
        "fleets": {"seeds": list(options.seeds), "agents": options.agents, "days": options.days},
        "config": config,
        "counted": COUNTED,
        "clock": CLOCK,
        "machine": describe(MEASURED),
    }


def read_events(directory: Path) -> list[Event]:
    """Return a recorded stream's actions, each with its place in a run of identical calls."""
    steps = (record.step.seen for record in read_stream(directory).records)
    return numbered((seen.ts_s, fields_of(seen, "declared", None)) for seen in steps)


def peer(seeds: Sequence[int], agents: int, days: int, recorded: Sequence[Event]) -> dict[str, Any]:
    """Return the peer's figures, or why there are none."""
    try:
        return run_peer(seeds, agents, days, recorded, say)
    except NoPeers as error:
        say(f"agt_rogue: skipped, {error}")
        return {"skipped": str(error)}


def _seeds(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


# -- what people see ------------------------------------------------------------------------------------------------


def say(line: str) -> None:
    """Print for people."""
    print(line, file=sys.stderr, flush=True)


def table(result: dict[str, Any]) -> str:
    """Return the figures as lines."""
    lines = []
    for name, found in {"ours": result["ours"], **result["peers"]}.items():
        if "skipped" in found:
            lines += [f"{name}: skipped, {found['skipped']}", ""]
            continue
        lines += [f"{name:<14}{'told of':>10}{'as honest':>12}{'actions':>10}{'seconds':>10}  as"]
        for scenario, row in found["scenarios"].items():
            kinds = ", ".join(f"{kind} {times}" for kind, times in row["kinds"].items())
            lines += [f"{_row(scenario, row)}  {kinds}"]
            lines += [_row(f"  {rhythm}", own) for rhythm, own in row["by_rhythm"].items()]
        honest = found["honest"]
        alerts = f"{honest['alerts']:,} alerts on {honest['agent_days']:,.0f} agent-days"
        share = f"{honest['actions_alerted_share']:.2%} of the actions"
        lines += [f"honest: {alerts}, {honest['alerts_per_agent_day']:g} a day; {share}"]
        for length, row in (found["loops"] or {"runs": {}})["runs"].items():
            after = f"after {_cell(row['calls_median'])} calls"
            lines += [
                f"real runs of {length:>2} and more: {row['alerted']} of {row['sessions']} told of, {after}"
            ]
        lines += [""]
    return "\n".join([*lines, f"counted: {result['counted']}", f"clock: {result['clock']}"])


def _row(name: str, row: dict[str, Any]) -> str:
    share = f"{row['detected']} of {row['agents']}"
    delays = f"{_cell(row['actions_median']):>10}{_cell(row['seconds_median']):>10}"
    return f"{name:<14}{share:>10}{row['control_alerted']:>12}{delays}"


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:,g}"


if __name__ == "__main__":
    sys.exit(main())
