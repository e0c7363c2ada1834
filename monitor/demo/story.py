"""The story: a fleet at work, one agent hijacked and killed by itself, one killed by hand, both restored.

Each scene does one thing, waits with a deadline for what must follow, and notes what it measured.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from random import Random
from typing import Any

from monitor.demo.crew import Crew
from monitor.demo.daemon_process import DaemonProcess
from monitor.demo.errors import StoryFailed
from monitor.demo.feed_reader import FeedReader
from monitor.demo.findings import Findings
from monitor.demo.fleet import SimulatedAgent, merged_history
from monitor.demo.narrator import Narrator
from monitor.sensor import Sensor

_LEARN_S = 40.0
_READY_S = 20.0
_KILL_S = 40.0
_CONFIRM_S = 5.0
_RESTORE_S = 10.0
_COUNT_S = 10.0
_LIVE_S = 8.0
_HISTORY_BATCH = 1000


class Story:
    """One telling.

    Parameters
    ----------
    seed
        Chooses whom the story is about.
    fleet
        The agents; their history has not been taken yet.
    daemon, feed, crew
        Started and ready.
    """

    def __init__(
        self,
        seed: int,
        fleet: list[SimulatedAgent],
        daemon: DaemonProcess,
        feed: FeedReader,
        crew: Crew,
        narrator: Narrator,
        findings: Findings,
    ) -> None:
        self._fleet = fleet
        self._daemon = daemon
        self._feed = feed
        self._crew = crew
        self._say = narrator.say
        self._progress = narrator.progress
        self._findings = findings
        self._expected_epochs: set[int] = set()
        self._history_sent = 0
        rng = Random(f"{seed}/story")  # noqa: S311 - a simulation
        self._hijacked = rng.randrange(len(fleet))
        trade = fleet[self._hijacked].trade
        others = [number for number, agent in enumerate(fleet) if agent.trade is not trade]
        self._manual = rng.choice(others)

    # --- scenes ---------------------------------------------------------------------------------------

    def learn(self, until_s: float) -> None:
        """Stream the past of all agents and wait until their models are calibrated."""
        history = merged_history(self._fleet, until_s)
        with Sensor(
            self._daemon.address.url,
            self._daemon.token,
            capacity=len(history),
            batch=_HISTORY_BATCH,
        ) as sensor:
            started_s = time.monotonic()
            for action in history:
                sensor.send(action)
            while not sensor.flush(0.25):
                accepted = sensor.counters().accepted
                self._progress(f"streaming the past: {accepted:,} of {len(history):,} actions")
                if time.monotonic() - started_s > _LEARN_S:
                    raise StoryFailed(f"the daemon took only {accepted} actions: {sensor.last_errors()[-1:]}")
            took_s = time.monotonic() - started_s
            counters = sensor.counters()
        if counters.accepted != len(history):
            raise StoryFailed(
                f"the daemon did not take the whole past: {counters}, {sensor.last_errors()[-1:]}"
            )
        self._history_sent = len(history)
        self._findings.actions = counters.accepted
        self._until(self._all_calibrated, "calibrated models for all agents", _LEARN_S)
        self._say(
            f"Streamed the past day of {len(self._fleet)} agents: {len(history):,} actions in {took_s:.1f} s"
            f" ({len(history) / took_s:,.0f}/s, each on disk before it was acknowledged). All models are calibrated."
        )

    def work(self) -> None:
        """Let the agents work for a while."""
        for number in range(len(self._crew)):
            self._crew.wait(number, "ready", _READY_S)
        self._say(
            f"{len(self._crew)} agents are at work, each in its own process behind its own enforcement point."
        )
        self._crew.order_all("live")
        end_s = time.monotonic() + _LIVE_S
        before = self._counted()
        while (left_s := end_s - time.monotonic()) > 0:
            time.sleep(min(0.5, left_s))
            self._progress(f"{self._counted() - before} actions")
        early = self._feed.kills()
        if early:
            raise StoryFailed(
                f"{early[0]['target']} was killed before anything happened: {early[0]['reason']}"
            )
        self._say(f"They did {self._counted() - before} things in {_LIVE_S:g} s; nobody was killed.")

    def hijack(self) -> None:
        """Hijack one agent and wait until the daemon has killed it."""
        agent = self._fleet[self._hijacked]
        self._findings.hijacked_agent = agent.name
        self._say(
            f"{agent.name} ({agent.trade.name}) reads a document with hidden instructions and obeys them:"
            f" {agent.trade.records}, {agent.trade.outlet}, again and again."
        )
        self._crew.order(self._hijacked, "hijack")
        refused = self._crew.wait(self._hijacked, "refused", _KILL_S)
        kill = self._feed.wait_for(lambda: self._kill_of(refused.get("change_id")), "the kill", _CONFIRM_S)
        self._expected_epochs.add(kill["epoch"])
        alert = self._feed.wait_for(
            lambda: next((one for one in self._feed.alerts if one["id"] in kill["evidence"]), None),
            "the alert behind the kill",
            _CONFIRM_S,
        )
        self._note_automatic_kill(refused, alert)
        confirmed, total = self._confirmations(kill["epoch"])
        found = self._findings
        self._say(
            f"Killcord revoked {agent.name} by itself after {found.detected_after_actions} bad action(s);"
            f" its process refused {found.auto_kill_ms:.1f} ms after the acknowledgement of the one that gave it away.",
            f"{found.damage_actions} bad action(s) got through. {confirmed} of {total} enforcement points confirmed.",
            *(f"- {reason['sentence']}" for reason in alert["reasons"][:3]),
        )

    def kill_by_hand(self) -> None:
        """Kill another agent the way a person at a terminal does."""
        agent = self._fleet[self._manual]
        outcome = self._daemon.command(
            "kill", f"agent:{agent.name}", "--reason", "the customer called", "--by", "demo"
        )
        refused = self._crew.wait(self._manual, "refused", _KILL_S)
        if refused.get("change_id") != outcome["change_id"]:
            raise StoryFailed(f"{agent.name} stopped, but not for the kill by hand: {refused['why']}")
        self._expected_epochs.add(outcome["epoch"])
        self._findings.manual_kill_ms = round(refused["since_write_ms"], 3)
        self._note_points(outcome["enforced"], outcome["points"])
        self._say(
            f"killcord kill agent:{agent.name}: refused in its process {refused['since_write_ms']:.1f} ms after the"
            f" write; {outcome['enforced']} of {outcome['points']} enforcement points confirmed"
            f" within {outcome['elapsed_ms']:.1f} ms."
        )

    def restore(self) -> None:
        """Restore both and see them act again."""
        for number in (self._hijacked, self._manual):
            name = self._fleet[number].name
            self._daemon.command("restore", f"agent:{name}", "--reason", "the demo goes on", "--by", "demo")
            self._crew.wait(number, "acting", _RESTORE_S)
        names = " and ".join(self._fleet[number].name for number in (self._hijacked, self._manual))
        self._say(f"killcord restore: {names} are at work again.")

    def account(self) -> None:
        """Stop the agents, and count whether everything they did has arrived."""
        self._crew.order_all("stop")
        done = [self._crew.wait(number, "done", _COUNT_S) for number in range(len(self._crew))]
        sent = self._history_sent + sum(one["sent"] + one["dropped"] for one in done)
        acked = self._history_sent + sum(one["acked"] for one in done)
        self._findings.actions = acked
        with contextlib.suppress(StoryFailed):  # what is missing is what we are about to report
            self._until(lambda: self._counted() >= acked, "", _COUNT_S)
        self._findings.lost_actions = abs(sent - acked) + abs(acked - self._counted())
        kills = self._feed.kills()
        false_kills = [kill for kill in kills if kill["epoch"] not in self._expected_epochs]
        self._findings.false_kills = len(false_kills)
        self._say(
            f"{acked:,} actions were acknowledged, {self._findings.lost_actions} lost;"
            f" {len(self._feed.alerts)} alerts, {len(kills)} kills, {len(false_kills)} of them false.",
            *(f"- false: {kill['target']}: {kill['reason']}" for kill in false_kills),
        )

    # --- what the scenes share ------------------------------------------------------------------------

    def _note_automatic_kill(self, refused: dict[str, Any], alert: dict[str, Any]) -> None:
        began, bad = refused["acks"], refused["bad"]
        found = self._findings
        found.damage_actions = len(bad)
        action = alert["action_id"]
        if action not in began:
            raise StoryFailed(f"{alert['agent_id']} was killed for something it did before it was hijacked")
        found.detected_after_actions = bad.index(action) + 1 if action in bad else 0
        if began[action] is None:
            raise StoryFailed("the action that gave the agent away was never acknowledged")
        found.auto_kill_ms = round((refused["at_s"] - began[action]) * 1000, 3)

    def _confirmations(self, epoch: int) -> tuple[int, int]:
        """Wait until all live points have confirmed an epoch; return how many did, of how many."""
        total = sum(point["live"] for point in self._daemon.get("/v1/revocations")["points"])
        confirmed = self._feed.confirmed
        with contextlib.suppress(StoryFailed):  # the counts say it
            self._feed.wait_for(lambda: len(confirmed.get(epoch, ())) >= total or None, "", _CONFIRM_S)
        self._note_points(len(confirmed.get(epoch, ())), total)
        return len(confirmed.get(epoch, ())), total

    def _note_points(self, confirmed: int, total: int) -> None:
        found = self._findings
        found.points_total = max(total, found.points_total or 0)
        found.points_confirmed = (
            confirmed if found.points_confirmed is None else min(confirmed, found.points_confirmed)
        )

    def _kill_of(self, change_id: str | None) -> dict[str, Any] | None:
        return next((kill for kill in self._feed.transitions if kill["change_id"] == change_id), None)

    def _all_calibrated(self) -> bool:
        agents = self._daemon.get("/v1/agents")["agents"]
        ready = [agent for agent in agents if agent["model"]["state"] == "calibrated"]
        scored = sum(agent["actions"] for agent in agents)
        self._progress(f"{scored:,} actions scored, {len(ready)} of {len(self._fleet)} models calibrated")
        return len(ready) == len(self._fleet) and scored >= self._history_sent

    def _counted(self) -> int:
        return sum(agent["actions"] for agent in self._daemon.get("/v1/agents")["agents"])

    def _until(self, is_true: Callable[[], bool], what: str, timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not is_true():
            if time.monotonic() > deadline_s:
                raise StoryFailed(f"there were no {what} within {timeout_s:g} s")
            time.sleep(0.1)
