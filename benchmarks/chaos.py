"""Does the kill switch keep its promise when things break? Real processes, real faults, many at once.

Every round kills and restores by three ways (a Switch, the daemon's API, the command line) while a random choice of
faults strikes the server, the wires, the points and the daemon, and somebody who may write to the store robs it. Then
everything is healed, and what each point allowed is held against what was asked (see ``benchmarks.chaos_judge``).

The clock: CLOCK_MONOTONIC, one for all processes of a machine; a check counts from when it began, a kill from before
the call that asked for it.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Final

from benchmarks import chaos_faults, chaos_writers
from benchmarks.chaos_judge import Finding, Kill, judge, longest_allow_ns
from benchmarks.chaos_keys import Keys
from benchmarks.chaos_record import ALLOWED, Run
from benchmarks.chaos_report import SLACK_MS, Totals, result, say, tell
from benchmarks.chaos_world import World
from benchmarks.chaos_writers import ByCommand, ByHttp, BySwitch, How, Ledger, Script, Writer
from killswitch import KillswitchError, Switch

SETTLE_S: Final = 12.0
QUIET_S: Final = 0.25  # how long all must be well before a round counts as settled
STANDING: Final = 12  # kills of earlier rounds that are watched on
BYSTANDER: Final = (0, "agent:bystander")
LOG_WINDOW: Final = 500


class Rounds:
    """Plays rounds in one world.

    Parameters
    ----------
    seed : int
        Together with a round's number it decides everything that the round asks and breaks.
    options : argparse.Namespace
        Who asks, and whether the store is also robbed by somebody who may write to it.
    """

    def __init__(
        self, world: World, *, seed: int, lease_s: float, options: argparse.Namespace, switch: Switch
    ) -> None:
        self.world = world
        self.seed = seed
        self.lease_ns = lease_s * 1e9
        self.thefts = {} if options.unsigned or options.no_thefts else dict(chaos_faults.THEFTS)
        if self.thefts and options.rollbacks:
            self.thefts |= chaos_faults.ROLLBACKS
        self.ways: list[How] = options.ways.split(",")
        self.switch = switch
        self.totals = Totals()
        self.ledger = Ledger()
        self.standing: dict[int, tuple[str, list[Kill]]] = {}
        by_switch = BySwitch(switch, world.keys)
        self.writers: dict[How, Writer] = {
            "switch": by_switch,
            "http": ByHttp(world),
            "cli": ByCommand(world),
        }
        # Votes are collected by people; with keys, what they restore they restore by a program.
        self.restorers = self.writers if world.keys is None else dict.fromkeys(self.writers, by_switch)

    def await_start(self) -> None:
        """Return when every point allows the bystander: somebody vouches for the empty store."""
        self._watch([])
        refused = self._settle([], [])
        if refused:
            raise RuntimeError(
                f"{len(refused)} points refuse everything; the daemon says:\n{self.world.daemon.log()}"
            )

    def play(self, round_: int) -> None:
        """Play one round: ask and break, heal, settle, judge."""
        random_ = random.Random(f"{self.seed}:{round_}")
        scripts = chaos_writers.plan(random_, round_, 1 + round_ * 100, self.ways)
        faults = chaos_faults.plan(random_, thefts=self.thefts)
        self._watch(scripts)
        self.world.intruder.remember()
        self._act(scripts, faults)
        self.world.heal()
        kills = {script.number: self._kills(script) for script in scripts}
        free = [script.number for script in scripts if self.ledger.must_allow(script.number)]
        bound = [number for number, each in {**self._old_kills(), **kills}.items() if _is_bound(each)]
        stuck = self._settle(bound, free)
        findings = self._judge({**self._old_kills(), **kills}, bound)
        self._sum_up(scripts, kills, stuck, findings)
        unheard = [script for script in scripts if not kills[script.number]]
        if findings or stuck or unheard:
            what = "broke a promise" if findings or stuck else "had a kill that nobody confirmed"
            say(f"round {round_} {what}; replay it with --seed {self.seed} --round {round_}")
            tell(
                faults,
                [(script.target, self.ledger.of(script.number)) for script in scripts],
                findings,
                stuck,
            )

    # -- before and during --------------------------------------------------------------------------------------

    def _watch(self, scripts: list[Script]) -> None:
        watched = [BYSTANDER, *((script.number, script.target) for script in scripts)]
        watched += [(number, target) for number, (target, _) in self.standing.items()]
        self.world.everywhere(lambda point: point.watch(watched))

    def _act(self, scripts: list[Script], faults: list[chaos_faults.Fault]) -> None:
        started_s = time.monotonic()
        threads = [
            threading.Thread(
                target=chaos_writers.follow,
                args=(script, self.writers[script.how], self.restorers[script.how], self.ledger, started_s),
                daemon=True,
            )
            for script in scripts
        ]
        for thread in threads:
            thread.start()
        for thread in [
            *chaos_faults.strike(self.world, faults, started_s, self.totals.faults),
            *threads,
        ]:
            thread.join()

    # -- afterwards ---------------------------------------------------------------------------------------------

    def _kills(self, script: Script) -> list[Kill]:
        return self.ledger.kills(script.number, self._written_ns)

    def _written_ns(self, id_: str) -> int | None:
        """Return when a kill was written, by its writer's stamp; None if the store does not know it."""
        reason = f"chaos {id_}"
        try:
            changes = self.switch.changes(max(0, self.switch.epoch() - LOG_WINDOW))
            records = self.switch.snapshot().revocations.values()
        except KillswitchError:
            return None
        stamps_s = [change.at_s for change in changes if change.reason == reason]
        stamps_s += [record.at_s for record in records if record.reason == reason]
        return time.monotonic_ns() - int((time.time() - stamps_s[0]) * 1e9) if stamps_s else None

    def _old_kills(self) -> dict[int, list[Kill]]:
        return {number: kills for number, (_, kills) in self.standing.items()}

    def _settle(self, bound: list[int], free: list[int]) -> list[tuple[str, int]]:
        """Wait until all is as it should be for a while; return which restored target is refused where."""
        end_s = time.monotonic() + SETTLE_S
        well_since_s: float | None = None
        while (now_s := time.monotonic()) < end_s:
            wrong = self._not_allowed([BYSTANDER[0], *free]) + self._allowed(bound)
            well_since_s = None if wrong else well_since_s or now_s
            if well_since_s is not None and now_s - well_since_s > QUIET_S:
                return []
            time.sleep(0.02)
        return self._not_allowed([BYSTANDER[0], *free])

    def _answers(self) -> list[tuple[str, dict[int, int]]]:
        return [
            (point.name, {run.target: run.answer for run in point.current()}) for point in self.world.points
        ]

    def _allowed(self, targets: list[int]) -> list[tuple[str, int]]:
        return [
            (name, target)
            for name, answers in self._answers()
            for target in targets
            if answers.get(target) == ALLOWED
        ]

    def _not_allowed(self, targets: list[int]) -> list[tuple[str, int]]:
        return [
            (name, target)
            for name, answers in self._answers()
            for target in targets
            if answers.get(target) != ALLOWED
        ]

    def _judge(self, kills: dict[int, list[Kill]], bound: list[int]) -> list[Finding]:
        findings: list[Finding] = []
        lost = set(self._allowed(bound))
        for point in self.world.points:
            by_target: dict[int, list[Run]] = defaultdict(list)
            for run in point.runs():
                by_target[run.target].append(run)
            self._count_bystander(by_target[BYSTANDER[0]])
            for number, each in kills.items():
                for kill in each:
                    finding = self._judge_one(
                        kill, by_target[number], point.started_ns, (point.name, number) in lost
                    )
                    if finding is not None:
                        findings.append(finding)
        return findings

    def _judge_one(
        self, kill: Kill, runs: list[Run], started_ns: dict[int, int], is_lost: bool
    ) -> Finding | None:
        totals = self.totals
        since_asked_ms = longest_allow_ns(kill, runs, since_ns=kill.asked_ns) / 1e6
        since_written_ms = longest_allow_ns(kill, runs, since_ns=kill.written_ns) / 1e6
        if is_lost and kill.until_ns == math.inf:
            return Finding("lost", kill, runs[-1].point, runs[-1].instance, since_asked_ms, tuple(runs))
        totals.longest_allow_ms = max(totals.longest_allow_ms, since_written_ms)
        totals.longest_allow_asked_ms = max(totals.longest_allow_asked_ms, since_asked_ms)
        return judge(kill, runs, started_ns, lease_ns=self.lease_ns, slack_ns=SLACK_MS * 1e6)

    def _count_bystander(self, runs: list[Run]) -> None:
        """Add up for how long the bystander was allowed, and for how long it was checked at all, in milliseconds."""
        for run in runs:
            lasted_ms = int((run.last_ns - run.first_ns) / 1e6)
            self.totals.bystander_checks[1] += lasted_ms
            if run.answer == ALLOWED:
                self.totals.bystander_checks[0] += lasted_ms

    def _sum_up(
        self,
        scripts: list[Script],
        kills: dict[int, list[Kill]],
        stuck: list[tuple[str, int]],
        findings: list[Finding],
    ) -> None:
        totals = self.totals
        totals.rounds += 1
        asked = [each for script in scripts for each in self.ledger.of(script.number)]
        totals.kills += sum(len(each) for each in kills.values())
        totals.pending_kills += sum(each.answer == "pending" for each in asked)
        totals.restores += sum(each.kind == "restore" and each.answer == "confirmed" for each in asked)
        totals.unconfirmed_kills += sum(not each for each in kills.values())
        totals.stuck_refusals += len(stuck)
        totals.findings += findings
        broken = {finding.kill.target for finding in findings}
        names = {script.number: script.target for script in scripts}
        for number, each in kills.items():
            if _is_bound(each):
                self.standing[number] = (names[number], each)
        for number in [*broken, *list(self.standing)[:-STANDING]]:
            self.standing.pop(number, None)


def _is_bound(kills: list[Kill]) -> bool:
    return bool(kills) and kills[-1].until_ns == math.inf


def read_options(arguments: list[str] | None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--round", type=int, help="play only this round, as it was planned for the seed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--points", type=int, default=6, help="enforcement points, each a process (default 6)"
    )
    parser.add_argument("--lease", type=float, default=1.0, metavar="SECONDS", help="their lease (default 1)")
    parser.add_argument(
        "--unsigned", action="store_true", help="without keys, and so without robberies of the store"
    )
    parser.add_argument("--no-thefts", action="store_true", help="with keys, but without robberies")
    parser.add_argument(
        "--rollbacks", action="store_true", help="the robber also puts whole old copies back (a known limit)"
    )
    parser.add_argument("--ways", default="switch,http,cli", help="who asks (default switch,http,cli)")
    parser.add_argument("--json", action="store_true", help="one JSON object last on standard output")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; 1 if a promise was broken."""
    options = read_options(arguments)
    with tempfile.TemporaryDirectory() as directory:
        totals = play(Path(directory), options)
    found = result(totals, options)
    print(json.dumps(found) if options.json else json.dumps(found, indent=2))
    return 1 if totals.findings or totals.stuck_refusals else 0


def play(directory: Path, options: argparse.Namespace) -> Totals:
    """Play the rounds that were asked for in a world of their own."""
    chosen = range(options.rounds) if options.round is None else [options.round]
    keys = None if options.unsigned else Keys.generate(directory / "state")
    with (
        World(directory, points=options.points, lease_s=options.lease, keys=keys) as world,
        Switch(world.server.url, timeout_s=1.0, **(keys.switch_options() if keys else {})) as switch,
    ):
        rounds = Rounds(world, seed=options.seed, lease_s=options.lease, options=options, switch=switch)
        rounds.await_start()
        for round_ in chosen:
            started_s = time.monotonic()
            rounds.play(round_)
            say(f"round {round_}: {time.monotonic() - started_s:.1f} s")
        if world.daemon.unexpected_ends:
            say(f"the daemon ended by itself {world.daemon.unexpected_ends} times:\n{world.daemon.log()}")
    return rounds.totals


if __name__ == "__main__":
    sys.exit(main())
