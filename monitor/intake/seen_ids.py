"""The same action sent twice counts once: a bounded memory of the latest ids. Pure."""

from __future__ import annotations

import array

import xxhash


class SeenIds:
    """Remembers at least the last `capacity / 2` and at most `capacity` ids, per agent, as 64-bit keyed hashes.

    Ids are keyed by agent, so that no agent can hide an action of its own behind another one's id. Two generations
    of sets: when the younger is full the elder is forgotten. About 60 bytes an id.
    """

    def __init__(self, capacity: int, seed: int) -> None:
        self._per_generation = max(1, capacity // 2)
        self._seed = seed
        self._young: set[int] = set()
        self._old: set[int] = set()

    def is_new(self, agent_id: str, action_id: str) -> bool:
        """Remember the id and return whether it was not known before."""
        key = self._key(agent_id, action_id)
        if key in self._young or key in self._old:
            return False
        if len(self._young) >= self._per_generation:
            self._old, self._young = self._young, set()
        self._young.add(key)
        return True

    def forget(self, agent_id: str, action_id: str) -> None:
        """Take an id back: its action did not become durable, so sending it again is no duplicate."""
        key = self._key(agent_id, action_id)
        self._young.discard(key)
        self._old.discard(key)

    def dump(self) -> tuple[bytes, bytes]:
        """Return both generations for a checkpoint."""
        return array.array("Q", self._old).tobytes(), array.array("Q", self._young).tobytes()

    def restore(self, dumped: tuple[bytes, bytes]) -> None:
        """Take up what `dump` returned."""
        self._old, self._young = (set(array.array("Q", part)) for part in dumped)

    def _key(self, agent_id: str, action_id: str) -> int:
        return xxhash.xxh3_64_intdigest(f"{agent_id}\x1f{action_id}".encode(), self._seed)
