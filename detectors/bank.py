"""All agents' models in one place: who has which row, and the batch calls on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from detectors import answer, scoring
from detectors.calibration import known_kind
from detectors.columns import columns
from detectors.features import Features
from detectors.layout import (
    STATE_VERSION,
    TOOL,
    UNIT,
    Rows,
    new_fleet,
    output_dtype,
    row_dtype,
)
from detectors.prior import Weights, shipped_prior
from detectors.scores import STATES, Calibration, Scores
from detectors.scoring import Batch
from detectors.settings import Settings

_HEADER = STATE_VERSION.to_bytes(2, "little")
_EVICTED_SHARE = (
    64  # when the bank is full the least recent 1/64 of the agents leaves together: one pass, not many
)


class Bank:
    """The models of all agents, scored and taught in batches by one compiled pass.

    Parameters
    ----------
    settings
        What the operator chose.
    capacity
        Rows to begin with, ≥ 1; doubled when needed.
    max_agents
        Security limit on memory, ≥ 1: 100,000 agents take about 400 MB. Beyond it the agents not seen for
        longest are forgotten and begin anew when they return.
    prior
        Weights of the signals; the shipped ones by default.

    Notes
    -----
    Not thread-safe: one writer. Deterministic: the same calls give the same results, bit for bit, however the
    stream is cut into batches. Memory is `bytes_per_agent` an agent plus about 1.5 MB for the fleet.

    """

    def __init__(
        self,
        settings: Settings,
        *,
        capacity: int = 64,
        max_agents: int = 100_000,
        prior: Weights | None = None,
    ) -> None:
        if capacity < 1 or max_agents < 1:
            raise ValueError("capacity and max_agents must be at least 1")
        self.settings = settings
        self.max_agents = max_agents
        self._rules = settings.rules()
        self._weights = prior or shipped_prior()
        self._dtype = row_dtype(settings.externals)
        self._output = output_dtype(settings.externals)
        self._fleet = new_fleet(settings.externals)
        self._rows = self._blank(min(capacity, max_agents))
        self._row_of: dict[int, int] = {}
        self._agents = np.zeros(len(self._rows), np.uint64)
        self._last_seen = np.zeros(len(self._rows), np.int64)
        self._free = list(range(len(self._rows) - 1, -1, -1))
        self._clock = 0  # actions and allocations so far: orders agents by recency without any wall clock

    @property
    def bytes_per_agent(self) -> int:
        """Bytes of one agent's model: fixed, at most 4096."""
        return self._dtype.itemsize

    def __len__(self) -> int:
        """Return the number of agents that have a model."""
        return len(self._row_of)

    def __contains__(self, agent: int) -> bool:
        """Return whether an agent has a model."""
        return agent in self._row_of

    def row(self, agent: int) -> int:
        """Return an agent's row, a new one if it has none.

        When the bank is full, the agents that were idle longest are forgotten for it.

        Parameters
        ----------
        agent
            64-bit hash of the agent's identity.

        """
        found = self._row_of.get(agent)
        if found is not None:
            return found
        if not self._free:
            self._make_room()
        row = self._row_of[agent] = self._free.pop()
        self._agents[row] = agent
        self._clock += 1
        self._last_seen[row] = self._clock
        return row

    def step(
        self,
        agents: Sequence[int],
        features: Sequence[Features],
        *,
        teach: Sequence[bool] | npt.NDArray[np.bool_] | None = None,
        external: npt.NDArray[np.float64] | None = None,
        on_flag: Callable[[int, Scores], None] | None = None,
    ) -> Scores:
        """Score actions in order, flag those that the alert budget says are too strange, learn the others.

        Parameters
        ----------
        agents, features
            One entry an action, oldest first; any length.
        teach
            Whether each action may teach the models if it is not flagged; None: all may. An array is read when
            an action's turn comes, so `on_flag` may change it for those that follow.
        external
            (n, externals) scores of foreign detectors made before they learned the action, higher is
            stranger; NaN where missing. None: all missing.
        on_flag
            Called with the index of each action that is flagged or runs away and the scores so far, before the next
            action is taken.

        Raises
        ------
        ValueError
            If the lengths or shapes do not agree. Nothing was learned then.

        Notes
        -----
        About 2 µs an action in batches of 256, 40 µs for an action alone: gather actions where they wait anyway.

        """
        n = len(features)
        may_teach = np.ones(n, np.bool_) if teach is None else np.asarray(teach, np.bool_)
        if external is None:
            external = np.full((n, self.settings.externals), np.nan)
        else:
            external = np.ascontiguousarray(external, np.float64)
        if len(agents) != n or may_teach.shape != (n,) or external.shape != (n, self.settings.externals):
            raise ValueError("agents, features, teach and external must have one entry an action")
        results = np.zeros(n, self._output)
        done = 0
        while done < n:
            rows = self._known_rows(agents, done)
            end = done + len(rows)
            batch = columns(rows, features[done:end], may_teach[done:end], external[done:end])
            self._run(batch, results, done, on_flag)
            done = end
        return _scores(results)

    def _run(
        self, batch: Batch, results: Rows, first: int, on_flag: Callable[[int, Scores], None] | None
    ) -> None:
        """Take a batch whose answers begin at `first`, pausing where something is flagged if anybody wants that."""
        own = results[first : first + len(batch.rows)]
        mode = scoring.PAUSE if on_flag else scoring.SCORE
        at = 0
        while at < len(own):
            at = scoring.run(self._rows, self._fleet, batch, self._rules, self._weights, own, mode, at)
            if on_flag and (own[at - 1]["flagged"] or own[at - 1]["runaway"]):
                on_flag(first + at - 1, _scores(results))

    def learn(self, agents: Sequence[int], features: Sequence[Features], weight: float) -> None:
        """Teach actions that were flagged when they happened, once it is known what they were.

        Parameters
        ----------
        agents, features
            As for `step`. Agents that have no model any more are skipped.
        weight
            1.0 for a dismissed alert, 0.25 for one that nobody judged in time. A confirmed one is never
            taught.

        Raises
        ------
        ValueError
            If the weight is not a multiple of a quarter between 0.25 and 1, or the lengths differ.

        """
        units = round(weight * UNIT)
        if units != weight * UNIT or not 1 <= units <= UNIT:
            raise ValueError("weight must be 0.25, 0.5, 0.75 or 1.0")
        if len(agents) != len(features):
            raise ValueError("agents and features must have one entry an action")
        known = [(self._row_of[a], f) for a, f in zip(agents, features, strict=True) if a in self._row_of]
        if not known:
            return
        rows = np.array([row for row, _ in known], np.int64)
        n = len(known)
        batch = columns(
            rows, [f for _, f in known], np.ones(n, np.bool_), np.full((n, self.settings.externals), np.nan)
        )
        scoring.run(
            self._rows, self._fleet, batch, self._rules, self._weights, np.zeros(n, self._output), units, 0
        )

    def calibration(self, agent: int) -> Calibration:
        """Return how far an agent's model is; an unknown agent is calibrating and has seen nothing."""
        row = self._row_of.get(agent)
        learned = int(self._rows[row]["learned"]) if row is not None else 0
        half = self._rules.fleet_half
        # Of the calibrations, the one that the agent's own actions mostly go by; a new agent's have not told yet.
        own = self._rows[row]["fused"][:, 0] if row is not None else np.zeros(1)
        kind = known_kind(self._fleet, int(np.argmax(own if own.any() else self._fleet.fused[:, 0])), half)
        missing = sum(
            max(0, half - int(seen)) for seen in (self._fleet.tails[TOOL, 0], self._fleet.fused[kind, 0])
        )
        if missing:
            return Calibration(STATES[answer.CALIBRATING], learned, -(-missing // UNIT))
        if row is None or learned < self.settings.min_actions:
            return Calibration(STATES[scoring.BORROWED], learned, self.settings.min_actions - learned)
        left = int(self._rows[row]["recalibrating"])
        return Calibration(STATES[scoring.RECALIBRATING if left else scoring.CALIBRATED], learned, left)

    def export(self, agent: int) -> bytes:
        """Return an agent's model as bytes, for another bank with the same number of externals and hash seed.

        Raises
        ------
        KeyError
            If the agent has no model.

        """
        return _HEADER + bytes(self._rows[self._row_of[agent]].tobytes())

    def load(self, agent: int, row: bytes) -> None:
        """Give an agent a model made by `export`; it replaces the one that it has.

        Raises
        ------
        ValueError
            If the bytes are of another layout or length. Any bytes of the right length are safe to run.

        """
        if row[:2] != _HEADER or len(row) != 2 + self._dtype.itemsize:
            raise ValueError(
                "not a model of this version and number of external detectors; it has to be learned anew"
            )
        self._rows[self.row(agent)] = np.frombuffer(row, self._dtype, offset=2)[0]

    def dump(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return the whole state as plain arrays; a bank restored from them continues bit for bit."""
        used = np.array(sorted(self._row_of.values()), np.int64)
        state: dict[str, npt.NDArray[np.generic]] = {
            "layout": np.array(
                [STATE_VERSION, self.settings.externals, self.max_agents, self._clock], np.int64
            ),
            "agents": self._agents[used],
            "last_seen": self._last_seen[used],
            "rows": self._rows[used].view(np.uint8).reshape(len(used), self._dtype.itemsize),
        }
        for name, table in self._fleet._asdict().items():
            state[f"fleet.{name}"] = table.copy()
        return state

    @classmethod
    def restore(
        cls,
        settings: Settings,
        dumped: Mapping[str, npt.NDArray[np.generic]],
        *,
        prior: Weights | None = None,
    ) -> Bank:
        """Return a bank that continues where `dump` was called.

        Raises
        ------
        ValueError
            If the dump is of another layout or does not fit the settings.

        """
        version, externals, max_agents, clock = (int(number) for number in dumped["layout"])
        rows = np.ascontiguousarray(dumped["rows"], np.uint8)
        bank = cls(settings, capacity=max(1, len(rows)), max_agents=max_agents, prior=prior)
        fits = version == STATE_VERSION and externals == settings.externals
        if not fits or rows.shape[1:] != (bank.bytes_per_agent,):
            raise ValueError("the dump is of another layout or number of external detectors")
        for agent, last_seen, row in zip(dumped["agents"], dumped["last_seen"], rows, strict=True):
            place = bank.row(int(agent))
            bank._last_seen[place] = last_seen
            bank._rows[place] = row.view(bank._dtype)[0]
        for name, table in bank._fleet._asdict().items():
            source = dumped[f"fleet.{name}"]
            if source.shape != table.shape or source.dtype != table.dtype:
                raise ValueError(f"the dump's fleet table {name} has another shape or type")
            table[...] = source
        bank._clock = clock
        return bank

    def _known_rows(self, agents: Sequence[int], start: int) -> npt.NDArray[np.int64]:
        """Return the rows of the next actions, up to where an agent has to be forgotten.

        An agent may only be forgotten after the actions before it are scored, else the outcome would depend
        on where the batch was cut.
        """
        get = self._row_of.get
        rows: list[int] = []
        for position in range(start, len(agents)):
            row = get(agents[position])
            if row is None:
                if rows and not self._free and len(self._rows) >= self.max_agents:
                    break
                row = self.row(agents[position])
            rows.append(row)
        found = np.array(rows, np.int64)
        self._last_seen[found] = np.arange(
            self._clock + 1, self._clock + 1 + len(found)
        )  # the last of equals stays
        self._clock += len(found)
        return found

    def _make_room(self) -> None:
        size = len(self._rows)
        if size < self.max_agents:
            grown = min(self.max_agents, size * 2)
            self._rows = np.concatenate([self._rows, self._blank(grown - size)])
            self._agents = np.concatenate([self._agents, np.zeros(grown - size, np.uint64)])
            self._last_seen = np.concatenate([self._last_seen, np.zeros(grown - size, np.int64)])
            self._free.extend(range(grown - 1, size - 1, -1))
            return
        leaving = max(1, size // _EVICTED_SHARE)
        for row in np.argsort(self._last_seen)[:leaving].tolist():
            del self._row_of[int(self._agents[row])]
            self._rows[row] = self._blank(1)[0]
            self._free.append(row)

    def _blank(self, count: int) -> Rows:
        rows = np.zeros(count, self._dtype)
        rows["last_ts_s"] = np.nan
        return rows


def _scores(results: Rows) -> Scores:
    return Scores(**{name: results[name] for name in Scores._fields})


def warm_up(settings: Settings | None = None) -> None:
    """Compile everything that a bank with these settings calls, before the first action has to wait for it.

    Twenty seconds on the very first run after an installation (again for each number of externals), half a second
    when the machine code is on disk.
    """
    bank = Bank(settings or Settings(), capacity=1)
    nothing = Features(tool=1 << 40, session=0, version=0, ts_s=0.0, size_chars=0, args=((1, 2, 3),))
    bank.step([1], [nothing])
