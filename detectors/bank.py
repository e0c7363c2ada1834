"""All agents' models, and the batch calls on them."""

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
from detectors.residents import Residents, packed
from detectors.scores import STATES, Calibration, Scores
from detectors.scoring import Batch
from detectors.settings import Settings
from detectors.spill import Spill


class Bank:
    """The models of all agents, scored and taught in batches by one compiled pass.

    Parameters
    ----------
    settings
        What the operator chose.
    max_agents
        Security limit on memory, ≥ 1: 100,000 agents take about 400 MB, asked for at once and used as agents come.
        Beyond it the models of the agents not seen for longest go to `spill`.
    spill
        Keeps them, and gives them back when their agents return: outcomes are those of a bank with room for all.
        Without one they are forgotten, and their agents begin anew.
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
        max_agents: int = 100_000,
        spill: Spill | None = None,
        prior: Weights | None = None,
    ) -> None:
        if max_agents < 1:
            raise ValueError("max_agents must be at least 1")
        self.settings = settings
        self.max_agents = max_agents
        self._rules = settings.rules()
        self._weights = prior or shipped_prior()
        self._dtype = row_dtype(settings.externals)
        self._output = output_dtype(settings.externals)
        self._fleet = new_fleet(settings.externals)
        self._residents = Residents(self._dtype, max_agents, spill)
        self._rows = self._residents.rows

    @property
    def bytes_per_agent(self) -> int:
        """Bytes of one agent's model: fixed, at most 4096."""
        return self._dtype.itemsize

    def __len__(self) -> int:
        """Return the number of agents whose model is in memory."""
        return len(self._residents)

    def __contains__(self, agent: int) -> bool:
        """Return whether an agent has a model, in memory or spilled."""
        return self._residents.knows(agent)

    def row(self, agent: int) -> int:
        """Return an agent's row, a new one if it has none.

        When the bank is full, the agents that were idle longest are spilled or forgotten for it.

        Parameters
        ----------
        agent
            64-bit hash of the agent's identity.

        """
        return self._residents.row(agent)

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
            Called with the index of each action that is flagged, runs away or shows a change and the scores so far,
            before the next action is taken.

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
            rows = self._residents.rows_of(agents, done)
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
            if on_flag and (own[at - 1]["flagged"] or own[at - 1]["runaway"] or own[at - 1]["change"]):
                on_flag(first + at - 1, _scores(results))

    def learn(self, agents: Sequence[int], features: Sequence[Features], weight: float) -> None:
        """Teach actions that were flagged when they happened, once it is known what they were.

        Parameters
        ----------
        agents, features
            As for `step`. Agents that have no model any more are skipped.
        weight
            1.0 for a dismissed alert, 0.25 for one that nobody judged in time, 0.0 for a confirmed one: it teaches
            nothing, and waits no longer.

        Raises
        ------
        ValueError
            If the weight is not a multiple of a quarter between 0 and 1, or the lengths differ.

        """
        units = round(weight * UNIT)
        if units != weight * UNIT or not 0 <= units <= UNIT:
            raise ValueError("weight must be 0.0, 0.25, 0.5, 0.75 or 1.0")
        mode = units or scoring.SETTLE
        if len(agents) != len(features):
            raise ValueError("agents and features must have one entry an action")
        known = [(a, f) for a, f in zip(agents, features, strict=True) if a in self]
        taught = 0
        while taught < len(known):
            rows = self._residents.rows_of([a for a, _ in known], taught)
            n = len(rows)
            batch = columns(
                rows,
                [f for _, f in known[taught : taught + n]],
                np.ones(n, np.bool_),
                np.full((n, self.settings.externals), np.nan),
            )
            results = np.zeros(n, self._output)
            scoring.run(self._rows, self._fleet, batch, self._rules, self._weights, results, mode, 0)
            taught += n

    def calibration(self, agent: int) -> Calibration:
        """Return how far an agent's model is; an unknown agent is calibrating and has seen nothing."""
        row = self._residents.look(agent)
        learned = int(row["learned"]) if row is not None else 0
        half = self._rules.fleet_half
        # Of the calibrations, the one that the agent's own actions mostly go by; a new agent's have not told yet.
        own = row["fused"][:, 0] if row is not None else np.zeros(1)
        kind = known_kind(self._fleet, int(np.argmax(own if own.any() else self._fleet.fused[:, 0])), half)
        missing = sum(
            max(0, half - int(seen)) for seen in (self._fleet.tails[TOOL, 0], self._fleet.fused[kind, 0])
        )
        if missing:
            return Calibration(STATES[answer.CALIBRATING], learned, -(-missing // UNIT))
        if row is None or learned < self.settings.min_actions:
            return Calibration(STATES[scoring.BORROWED], learned, self.settings.min_actions - learned)
        left = int(row["recalibrating"])
        return Calibration(STATES[scoring.RECALIBRATING if left else scoring.CALIBRATED], learned, left)

    def count_calibrated(self) -> int:
        """Return how many agents in memory have a model that is calibrated: one pass over all, not one call each."""
        rows, used = self._residents.rows, self._residents.used()
        is_ready = (rows["learned"][used] >= self.settings.min_actions) & (rows["recalibrating"][used] == 0)
        half = self._rules.fleet_half
        if self._fleet.tails[TOOL, 0] < half or not is_ready.any():
            return 0
        own = rows["fused"][:, :, 0][used[is_ready]]
        kinds = np.where(own.any(axis=1), own.argmax(axis=1), int(np.argmax(self._fleet.fused[:, 0])))
        known = [
            kind
            for kind in range(len(self._fleet.fused))
            if self._fleet.fused[known_kind(self._fleet, kind, half), 0] >= half
        ]
        return int(np.isin(kinds, known).sum())

    def export(self, agent: int) -> bytes:
        """Return an agent's model as bytes, for another bank with the same number of externals and hash seed.

        Raises
        ------
        KeyError
            If the agent has no model.

        """
        row = self._residents.look(agent)
        if row is None:
            raise KeyError(agent)
        return packed(row)

    def load(self, agent: int, row: bytes) -> None:
        """Give an agent a model made by `export`; it replaces the one that it has.

        Raises
        ------
        ValueError
            If the bytes are of another layout or length. Any bytes of the right length are safe to run.

        """
        self._residents.load(agent, row)

    def dump(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return the state as plain arrays; a bank restored from them continues bit for bit.

        What is spilled is its store's to keep.
        """
        state: dict[str, npt.NDArray[np.generic]] = {
            "layout": np.array(
                [STATE_VERSION, self.settings.externals, self.max_agents, self._residents.clock], np.int64
            ),
            **self._residents.dump(),
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
        spill: Spill | None = None,
        prior: Weights | None = None,
    ) -> Bank:
        """Return a bank that continues where `dump` was called, with a store that holds what was spilled then.

        Raises
        ------
        ValueError
            If the dump is of another layout or does not fit the settings.

        """
        version, externals, max_agents, clock = (int(number) for number in dumped["layout"])
        bank = cls(settings, max_agents=max_agents, spill=spill, prior=prior)
        if version != STATE_VERSION or externals != settings.externals:
            raise ValueError("the dump is of another layout or number of external detectors")
        bank._residents.restore(dumped, clock)
        for name, table in bank._fleet._asdict().items():
            source = dumped[f"fleet.{name}"]
            if source.shape != table.shape or source.dtype != table.dtype:
                raise ValueError(f"the dump's fleet table {name} has another shape or type")
            table[...] = source
        return bank


def _scores(results: Rows) -> Scores:
    return Scores(**{name: results[name] for name in Scores._fields})


def warm_up(settings: Settings | None = None) -> None:
    """Compile everything that a bank with these settings calls, before the first action has to wait for it.

    Twenty seconds on the very first run after an installation (again for each number of externals), half a second
    when the machine code is on disk.
    """
    bank = Bank(settings or Settings(), max_agents=1)
    nothing = Features(tool=1 << 40, session=0, version=0, ts_s=0.0, size_chars=0, args=((1, 2, 3),))
    bank.step([1], [nothing])
