"""Which agents' models are in memory, in which row, and who gives way when there is no room.

All rows that there may be are one array, asked for at once. Nothing is paid for that: the system gives zeroed memory
page by page as rows are first written. An array that grows would have to be copied, and a large fleet stood still for
seconds while it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from detectors.layout import STATE_VERSION, Row, Rows
from detectors.spill import Spill

_HEADER = STATE_VERSION.to_bytes(2, "little")
_LEAVING_SHARE = 64  # when memory is full the least recent 1/64 leaves together: one pass, not many …
_LEAVING_MOST = 512  # … and no more than so many at once, lest an action wait for the disk


class Residents:
    """The rows of the agents whose models are in memory.

    Parameters
    ----------
    dtype
        A row's type, from `layout.row_dtype`.
    max_agents
        How many rows there are, ≥ 1.
    spill
        Takes the models of the agents that were idle longest, and gives them back; without one they are forgotten.

    """

    def __init__(self, dtype: np.dtype[np.void], max_agents: int, spill: Spill | None) -> None:
        self.rows: Rows = np.zeros(max_agents, dtype)
        """All rows there are; only those of agents mean anything."""
        self._bytes = self.rows.view(np.uint8).reshape(max_agents, dtype.itemsize)
        blank = np.zeros(1, dtype)
        blank["last_ts_s"] = np.nan
        self._blank = blank.view(np.uint8)
        self._spill = spill
        self._row_of: dict[int, int] = {}
        self._agents = np.zeros(max_agents, np.uint64)
        self._last_seen = np.zeros(max_agents, np.int64)
        self._begun = 0  # rows from here on were never anybody's
        self._free: list[int] = []  # rows that were
        self.clock = 0
        """Actions and allocations so far: orders agents by recency without any wall clock."""

    def __len__(self) -> int:
        """Return how many agents' models are in memory."""
        return len(self._row_of)

    def knows(self, agent: int) -> bool:
        """Return whether an agent has a model, in memory or spilled."""
        return agent in self._row_of or (self._spill is not None and agent in self._spill)

    def row(self, agent: int) -> int:
        """Return an agent's row: the one it has, one with its spilled model, or a new one."""
        found = self._row_of.get(agent)
        if found is not None:
            return found
        # Taken before room is made: what is spilled for it may push the oldest out of the store.
        model = self._spill.take(agent) if self._spill is not None else None
        if self._is_full():
            self._make_room()
        if self._free:
            row = self._free.pop()
        else:
            row, self._begun = self._begun, self._begun + 1
        self._row_of[agent] = row
        self._agents[row] = agent
        self.clock += 1
        self._last_seen[row] = self.clock
        self._bytes[row] = self._unpacked(model) if model is not None and self._fits(model) else self._blank
        return row

    def rows_of(self, agents: Sequence[int], start: int) -> npt.NDArray[np.int64]:
        """Return the rows of the next actions' agents, up to where one has to give way.

        An agent may only give way after the actions before are scored, else the outcome would depend on where
        the batch was cut.
        """
        get = self._row_of.get
        rows: list[int] = []
        for position in range(start, len(agents)):
            row = get(agents[position])
            if row is None:
                if rows and self._is_full():
                    break
                row = self.row(agents[position])
            rows.append(row)
        found = np.array(rows, np.int64)
        clock = self.clock + len(found)
        self._last_seen[found] = np.arange(self.clock + 1, clock + 1)  # the last of equals stays
        self.clock = clock
        return found

    def look(self, agent: int) -> Row | None:
        """Return an agent's row to be read, wherever it lies, without moving anything; None if it has none."""
        row = self._row_of.get(agent)
        if row is not None:
            return self.rows[row]
        model = self._spill.peek(agent) if self._spill is not None else None
        if model is None or not self._fits(model):
            return None
        return self._unpacked(model).view(self.rows.dtype)[0]

    def used(self) -> npt.NDArray[np.int64]:
        """Return the rows that are agents', in no order."""
        return np.fromiter(self._row_of.values(), np.int64, len(self._row_of))

    def load(self, agent: int, model: bytes) -> None:
        """Give an agent a model that `packed` made, in place of the one it has; `ValueError` if it does not fit."""
        if not self._fits(model):
            raise ValueError(
                "not a model of this version and number of external detectors; it has to be learned anew"
            )
        self._bytes[self.row(agent)] = self._unpacked(model)

    def dump(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return agents, recency and rows, in the order of the agents' numbers: equal states have equal dumps."""
        used = self.used()
        used = used[np.argsort(self._agents[used])]
        return {
            "agents": self._agents[used],
            "last_seen": self._last_seen[used],
            "rows": self._bytes[used],
        }

    def restore(self, dumped: Mapping[str, npt.NDArray[np.generic]], clock: int) -> None:
        """Take up, in place of nothing, what `dump` returned. `ValueError` if it does not fit."""
        rows = np.ascontiguousarray(dumped["rows"], np.uint8)
        if rows.shape[1:] != self._bytes.shape[1:] or len(rows) > len(self.rows):
            raise ValueError("the dump is of another layout or number of external detectors")
        self._begun = len(rows)
        self._bytes[: len(rows)] = rows
        self._agents[: len(rows)] = dumped["agents"]
        self._last_seen[: len(rows)] = dumped["last_seen"]
        self._row_of = dict(zip(dumped["agents"].tolist(), range(len(rows)), strict=True))
        self.clock = clock

    def _is_full(self) -> bool:
        return not self._free and self._begun == len(self.rows)

    def _make_room(self) -> None:
        leaving = max(1, min(len(self.rows) // _LEAVING_SHARE, _LEAVING_MOST))
        idle = np.argpartition(self._last_seen, leaving - 1)[:leaving]
        idle = idle[np.argsort(self._last_seen[idle])]
        agents = self._agents[idle].tolist()
        if self._spill is not None:
            models = zip(agents, self._bytes[idle], strict=True)
            self._spill.put([(agent, _HEADER + model.tobytes()) for agent, model in models])
        for agent in agents:
            self._free.append(self._row_of.pop(agent))

    def _fits(self, model: bytes) -> bool:
        return model[:2] == _HEADER and len(model) == 2 + self.rows.itemsize

    def _unpacked(self, model: bytes) -> npt.NDArray[np.uint8]:
        return np.frombuffer(model, np.uint8, offset=2)


def packed(row: Row) -> bytes:
    """Return a row as the bytes that `Residents.load` takes."""
    return _HEADER + bytes(row.tobytes())
