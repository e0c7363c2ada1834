"""What each agent did lately: its newest scores, and with which tools, sessions, people and credentials. Pure, bounded.

Kept for people who look at an agent and for the blast radius of a kill; nothing is decided by it. All of it is part of
a checkpoint, and what came after the checkpoint is replayed from the log: a restart loses none of it. Memory is bounded
for all agents together (`max_bytes`); beyond it the agents that were silent for long lose theirs first.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from monitor.core.alerts import Alert
from monitor.intake.observation import Observation

MAX_SCORES: Final = 500
MAX_KEPT_DOINGS: Final = 64
"""Of one agent's ways to act, those that none of its newest scores shows: the latest so many are remembered."""

MAX_SIGNALS: Final = 40
"""Reasons of an agent's newest alerts that are remembered."""

MAX_BYTES: Final = 64 * 1024 * 1024
"""Security limit: 4,900 agents with all their scores, or 100,000 with some twenty."""

_SCORE: Final = struct.Struct("<QdffH")  # seq, ts, p, threshold_p, number of the doing
_pack, _pack_into = _SCORE.pack, _SCORE.pack_into
_WIDTH: Final = _SCORE.size
_FULL: Final = _WIDTH * MAX_SCORES
_DOING_BYTES: Final = 400  # an entry without its texts, measured with 64-bit CPython
_AGENT_BYTES: Final = 400
_SIGNAL_BYTES: Final = 500
_SECOND_CHANCES: Final = 8

Key = tuple[str, str | None, tuple[str, ...], str | None]


class Score(NamedTuple):
    """One scored action. The p-values have about seven digits."""

    seq: int
    ts: float
    tool: str
    session_id: str | None
    p: float
    threshold_p: float


class Doing(NamedTuple):
    """A tool used in a session on somebody's behalf with a credential, and when last.

    `last_ts` is the agent's clock, `at_s` ours: an agent with a clock of its own must not hide from a blast radius.
    """

    tool: str
    session_id: str | None
    on_behalf_of: tuple[str, ...]
    credential: str | None
    last_ts: float
    at_s: float


class Signal(NamedTuple):
    """One reason of an alert about the agent, in the alert's own words."""

    alert_id: str
    ts: str
    verdict: str
    severity: str
    tool: str
    signal: str
    observed: str
    expected: str
    p: float
    sentence: str


class _Seen:
    """A doing under its number in its agent's scores."""

    __slots__ = ("at_s", "credential", "last_ts", "number", "on_behalf_of", "session_id")

    def __init__(self, number: int, key: Key) -> None:
        _, self.session_id, self.on_behalf_of, self.credential = key
        self.number = number
        self.last_ts = 0.0
        self.at_s = 0.0


class _Agent:
    """`scores` grows to its full size and is then written round; `at` is where the next one goes.

    `latest` has the last doing with each tool: nearly always it is the next one with it too, and found without hashing
    all its parts.
    """

    __slots__ = ("at", "at_s", "latest", "queued_at_s", "scores", "seen", "signals", "text_bytes")

    def __init__(self, now_s: float) -> None:
        self.scores = bytearray()
        self.at = 0
        self.seen: dict[Key, _Seen] = {}
        self.latest: dict[str, _Seen] = {}
        self.signals: deque[Signal] = deque(maxlen=MAX_SIGNALS)
        self.text_bytes = 0
        self.at_s = self.queued_at_s = now_s

    def bytes(self) -> int:
        return _AGENT_BYTES + len(self.scores) + self.text_bytes + sum(map(_signal_bytes, self.signals))

    def newest(self) -> Iterator[tuple[int, float, float, float, int]]:
        """Yield the scores, oldest first."""
        return _SCORE.iter_unpack(bytes(self.scores[self.at :] + self.scores[: self.at]))


class Activity:
    """The newest scores and doings of the agents that acted lately. O(1) an action, about 0.3 µs."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._agents: dict[str, _Agent] = {}
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._agents)

    def note(self, action: Observation, seq: int, p: float, threshold_p: float, now_s: float) -> None:
        """Remember one action with its p-value (NaN while the model is being calibrated: no score then)."""
        agent = self._agents.get(action.agent_id) or self._add(action.agent_id, now_s)
        seen = agent.latest.get(action.tool)
        if (
            seen is None
            or seen.session_id != action.session_id
            or seen.on_behalf_of != action.on_behalf_of
            or seen.credential != action.credential
        ):
            seen = self._see(agent, action)
        ts = seen.last_ts = action.ts_s
        agent.at_s = seen.at_s = now_s
        if p != p:  # NaN
            return
        at = agent.at
        if at < len(agent.scores):
            _pack_into(agent.scores, at, seq, ts, p, threshold_p, seen.number)
        else:
            agent.scores += _pack(seq, ts, p, threshold_p, seen.number)
            self.bytes += _WIDTH
            if self.bytes > self._max_bytes:
                self._make_room(agent)
        agent.at = at + _WIDTH if at + _WIDTH < _FULL else 0

    def note_alert(self, alert: Alert) -> None:
        """Remember why people were alerted about an agent whose action was noted before."""
        agent = self._agents.get(alert.agent_id)
        if agent is None:  # it had to make room meanwhile
            return
        self.bytes -= agent.bytes()
        for reason in alert.reasons:
            texts = (reason.signal, reason.observed, reason.expected, reason.p, reason.sentence)
            agent.signals.append(
                Signal(alert.id, alert.ts, alert.verdict, alert.severity, alert.tool, *texts)
            )
        self.bytes += agent.bytes()
        self._make_room(agent)

    # -- what is asked of it ------------------------------------------------------------------------------------

    def agents(self) -> list[str]:
        """Return the agents of which something is remembered."""
        return list(self._agents)

    def scores(self, agent_id: str) -> list[Score]:
        """Return the agent's newest scores, at most 500, oldest first."""
        agent = self._agents.get(agent_id)
        if agent is None:
            return []
        keys = {seen.number: key for key, seen in agent.seen.items()}
        return [
            Score(seq, ts, keys[number][0], keys[number][1], p, threshold_p)
            for seq, ts, p, threshold_p, number in agent.newest()
        ]

    def doings(self, agent_id: str) -> list[Doing]:
        """Return the ways in which the agent acted, the latest last as far as it changed."""
        agent = self._agents.get(agent_id)
        if agent is None:
            return []
        return [Doing(*key, seen.last_ts, seen.at_s) for key, seen in agent.seen.items()]

    def signals(self, agent_id: str) -> list[Signal]:
        """Return the reasons of the newest alerts about the agent, the newest alert first."""
        agent = self._agents.get(agent_id)
        return list(reversed(agent.signals)) if agent else []

    def dump(self) -> dict[str, Any]:
        """Return plain values for a checkpoint."""
        return {
            agent_id: [
                bytes(agent.scores),
                agent.at,
                agent.at_s,
                [[*key, seen.number, seen.last_ts, seen.at_s] for key, seen in agent.seen.items()],
                [list(signal) for signal in agent.signals],
            ]
            for agent_id, agent in self._agents.items()
        }

    def restore(self, dumped: dict[str, Any]) -> None:
        """Take up what `dump` returned."""
        self._agents, self.bytes = {}, 0
        for agent_id, (scores, at, at_s, doings, signals) in dumped.items():
            agent = self._agents[agent_id] = _Agent(at_s)
            agent.scores, agent.at = bytearray(scores), at
            for tool, session_id, on_behalf_of, credential, number, last_ts, doing_at_s in doings:
                key = (tool, session_id, tuple(on_behalf_of), credential)
                seen = agent.seen[key] = _Seen(number, key)
                seen.last_ts, seen.at_s = last_ts, doing_at_s
                agent.text_bytes += _key_bytes(key)
            agent.signals.extend(Signal(*signal) for signal in signals)
            self.bytes += agent.bytes()

    # -- inside -------------------------------------------------------------------------------------------------

    def _add(self, agent_id: str, now_s: float) -> _Agent:
        agent = self._agents[agent_id] = _Agent(now_s)
        self.bytes += agent.bytes()
        return agent

    def _see(self, agent: _Agent, action: Observation) -> _Seen:
        """Return the action's doing; a new one gets a number, and old ones that no score shows make room."""
        key = (action.tool, action.session_id, action.on_behalf_of, action.credential)
        seen = agent.seen.get(key)
        if seen:
            agent.latest[action.tool] = seen
            return seen
        if len(agent.seen) >= 2 * (MAX_SCORES + MAX_KEPT_DOINGS):
            self._forget_doings(agent)
        seen = agent.seen[key] = agent.latest[action.tool] = _Seen(len(agent.seen), key)
        size = _key_bytes(key)
        agent.text_bytes += size
        self.bytes += size
        if self.bytes > self._max_bytes:
            self._make_room(agent)
        return seen

    def _forget_doings(self, agent: _Agent) -> None:
        """Keep what the scores show and the latest others, and number them anew."""
        scores = list(agent.newest())
        shown = {number for *_, number in scores}
        others = [(seen.at_s, seen.number) for seen in agent.seen.values() if seen.number not in shown]
        kept = shown | {number for _, number in sorted(others)[-MAX_KEPT_DOINGS:]}
        before = agent.text_bytes
        agent.seen = {key: seen for key, seen in agent.seen.items() if seen.number in kept}
        agent.latest = {}
        agent.text_bytes = sum(map(_key_bytes, agent.seen))
        self.bytes += agent.text_bytes - before
        numbers: dict[int, int] = {}
        for number, seen in enumerate(agent.seen.values()):
            numbers[seen.number] = number
            seen.number = number
        packed = [_pack(*score, numbers[number]) for *score, number in scores]
        agent.scores, agent.at = bytearray(b"".join(packed)), len(packed) * _WIDTH % _FULL

    def _make_room(self, spared: _Agent) -> None:
        """Forget agents that were silent since they were last considered, the first in line first.

        Whoever acted meanwhile goes to the end of the line, but not more than a few at a time: this must stay cheap.
        """
        chances = _SECOND_CHANCES
        while self.bytes > self._max_bytes and len(self._agents) > 1:
            agent_id = next(iter(self._agents))
            agent = self._agents.pop(agent_id)
            if agent is spared or (chances and agent.at_s > agent.queued_at_s):
                chances -= agent is not spared
                agent.queued_at_s = agent.at_s
                self._agents[agent_id] = agent
            else:
                self.bytes -= agent.bytes()


def _key_bytes(key: Key) -> int:
    tool, session_id, on_behalf_of, credential = key
    return (
        _DOING_BYTES + len(tool) + len(session_id or "") + sum(map(len, on_behalf_of)) + len(credential or "")
    )


def _signal_bytes(signal: Signal) -> int:
    return (
        _SIGNAL_BYTES + len(signal.tool) + len(signal.observed) + len(signal.expected) + len(signal.sentence)
    )
