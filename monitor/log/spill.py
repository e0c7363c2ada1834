"""Models of idle agents on disk: what memory has no room for, until the agent returns.

Theory of operation
-------------------
A file of equal *slots*, one model each: ``crc32 u32 | length u32 | agent u64 | model``, little-endian, filled up with
zeros to whole pages of 4 KiB, so that writing one never has to read. The checksum covers everything after itself. Which
agent lies in which slot is an index in memory, in the order in which they were spilled, and a copy of the index is part
of each checkpoint.

Recovery is checkpoint and replay of the action log, bit for bit. So the replay has to meet every spilled model as it
was at the checkpoint, whatever was spilled and taken back since, up to whatever instant. Three rules see to that:

- A slot that the index of a checkpoint names is not written again before a later checkpoint, which does not name it,
  is durable (`settle`). Other slots are free at once. Hence nothing has to be cut back, no scan has to find out what
  counts, a half-written slot is one that nobody names, and the file needs no compaction: gaps are where the next go.
- The slots are on disk (`sync`) before the checkpoint that names them is written.
- A store that begins anew begins a new file, with a name of its own. A checkpoint that is put aside now (another
  configuration, say) and taken up later can only find its own file, or none. Old files go when a checkpoint is durable.

A slot whose checksum or agent is wrong, or that lies beyond the end of the file, is an agent forgotten: it is told in
the log and its model begins anew. So is a model that could not be written. That is the one way in which a replay may
differ: the disk has lost something.

Bounds: `max_agents` models; twice as many slots, since as many again may be named by the last checkpoint only, and
three times while the next is being written. In memory about 150 bytes an agent.

One thread uses it; only `sync` may run in another.
"""

from __future__ import annotations

import logging
import os
import secrets
import struct
import zlib
from collections import deque
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from monitor.state_dir import sync_directory

log = logging.getLogger("killcord.spill")

PAGE_BYTES = 4096
_SUFFIX = ".models"
_HEADER = struct.Struct("<IIQ")
_AFTER_CRC = 4


class SpillFile:
    """Models of at most `max_agents` agents in a directory, which is the store's own; a `detectors.Spill`.

    Parameters
    ----------
    max_agents
        Security limit on the disk, ≥ 0; beyond it the agents that were spilled longest ago are forgotten.
    """

    def __init__(self, directory: Path, max_agents: int) -> None:
        self._directory = directory
        self._max = max_agents
        self._handle = -1
        self.begin_anew()

    def __len__(self) -> int:
        """Return how many models are kept."""
        return len(self._slot_of)

    def __contains__(self, agent: int, /) -> bool:
        """Return whether an agent's model is here."""
        return agent in self._slot_of

    # -- models -------------------------------------------------------------------------------------------------

    def put(self, models: Sequence[tuple[int, bytes]]) -> None:
        """Keep the models, in the system's cache at first; beyond the limit those spilled longest ago are forgotten."""
        kept = models[-self._max :] if self._max else ()
        written = 0
        try:
            for agent, model in kept:
                self._write(agent, model)
                written += 1
        except OSError as error:
            lost = len(kept) - written
            log.error(
                "%d idle agents are forgotten, their models cannot be spilled: %s; is the disk full?",
                lost,
                error,
            )
        for agent in list(islice(self._slot_of, max(0, len(self._slot_of) - self._max))):
            self._release(agent)

    def take(self, agent: int) -> bytes | None:
        """Return an agent's model and keep it no longer; None if it is not here, or is damaged."""
        model = self.peek(agent)
        if agent in self._slot_of:
            self._release(agent)
        return model

    def peek(self, agent: int) -> bytes | None:
        """Return an agent's model and keep it; None if it is not here, or is damaged."""
        slot = self._slot_of.get(agent)
        if slot is None:
            return None
        try:
            model = _decoded(agent, os.pread(self._handle, self._slot_bytes, slot * self._slot_bytes))
        except OSError as error:
            log.warning("agent %016x is forgotten, its spilled model cannot be read: %s", agent, error)
            return None
        if model is None:
            log.warning("agent %016x is forgotten, its spilled model is damaged", agent)
        return model

    # -- checkpoints --------------------------------------------------------------------------------------------

    def dump(self) -> dict[str, Any]:
        """Return the index for a checkpoint, and leave alone from now on what it names."""
        self._unnamed.clear()
        count = len(self._slot_of)
        return {
            "file": self._name,
            "slot_bytes": self._slot_bytes,
            "released": self._released,
            "agents": np.fromiter(self._slot_of, np.uint64, count),
            "slots": np.fromiter(self._slot_of.values(), np.int64, count),
        }

    def sync(self) -> None:
        """Return when everything that was put so far is on disk; `OSError` if it cannot be."""
        handle = self._handle
        if handle >= 0:
            os.fdatasync(handle)
            sync_directory(self._directory)

    def settle(self, dumped: dict[str, Any]) -> None:
        """Take note that a checkpoint with this index is durable: what only earlier ones name is needed no more."""
        while self._given_back < dumped["released"]:
            self._free.append(self._held.popleft())
            self._given_back += 1
        for path in self._directory.glob(f"*{_SUFFIX}"):
            if path.name != self._name:
                path.unlink(missing_ok=True)

    def begin_anew(self) -> None:
        """Begin without any model, and leave the files alone that a checkpoint may name."""
        self.close()
        self._name = ""  # the file is made when there is something for it
        self._slot_bytes = PAGE_BYTES
        self._slot_of: dict[int, int] = {}
        self._slots = 0  # how many the file has
        self._free: list[int] = []
        self._unnamed: set[int] = set()  # slots written since the last dump: no checkpoint names them
        self._held: deque[int] = deque()  # released slots that one may name, in the order of their release …
        self._released = self._given_back = 0  # … and how many ever came in and out of there

    def restore(self, dumped: dict[str, Any]) -> None:
        """Go on with what `dump` named. What is not there is told in the log and forgotten."""
        self.begin_anew()
        agents, slots = dumped["agents"].tolist(), dumped["slots"].tolist()
        if not agents:
            return
        slot_bytes = dumped["slot_bytes"]
        try:
            handle = os.open(self._directory / dumped["file"], os.O_RDWR | os.O_CLOEXEC)
            whole = os.fstat(handle).st_size // slot_bytes
        except OSError as error:
            log.warning("%d idle agents are forgotten, their spilled models are gone: %s", len(agents), error)
            return
        self._handle, self._name, self._slot_bytes = handle, dumped["file"], slot_bytes
        self._slot_of = {agent: slot for agent, slot in zip(agents, slots, strict=True) if 0 <= slot < whole}
        if lost := len(agents) - len(self._slot_of):
            log.warning("%d idle agents are forgotten, %s has been cut short", lost, self._name)
        used = set(self._slot_of.values())
        self._slots = 1 + max(used, default=-1)
        self._free = [slot for slot in range(self._slots - 1, -1, -1) if slot not in used]

    def close(self) -> None:
        """Release the file. Idempotent."""
        if self._handle >= 0:
            os.close(self._handle)
        self._handle = -1

    # -- slots --------------------------------------------------------------------------------------------------

    def _write(self, agent: int, model: bytes) -> None:
        data = _encoded(agent, model)
        if self._handle < 0:
            self._begin_file(len(data))
        if len(data) != self._slot_bytes:
            raise OSError(f"a model of {len(model)} bytes does not fit into {self._name}")
        if agent in self._slot_of:
            self._release(agent)
        slot = self._free.pop() if self._free else self._slots
        try:
            written = os.pwrite(self._handle, data, slot * self._slot_bytes)
            if written != len(data):  # a full disk takes a part of it
                raise OSError(f"only {written} of {len(data)} bytes were written")
        except OSError:
            if slot < self._slots:
                self._free.append(slot)
            raise
        self._slots = max(self._slots, slot + 1)
        self._unnamed.add(slot)
        self._slot_of[agent] = slot

    def _begin_file(self, slot_bytes: int) -> None:
        name = secrets.token_hex(8) + _SUFFIX
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._handle = os.open(self._directory / name, flags, 0o600)
        self._name, self._slot_bytes = name, slot_bytes

    def _release(self, agent: int) -> None:
        slot = self._slot_of.pop(agent)
        if slot in self._unnamed:
            self._unnamed.remove(slot)
            self._free.append(slot)
        else:
            self._held.append(slot)
            self._released += 1


def _encoded(agent: int, model: bytes) -> bytes:
    covered = _HEADER.pack(0, len(model), agent)[_AFTER_CRC:] + model
    data = zlib.crc32(covered).to_bytes(_AFTER_CRC, "little") + covered
    return data.ljust(-(-len(data) // PAGE_BYTES) * PAGE_BYTES, b"\0")


def _decoded(agent: int, data: bytes) -> bytes | None:
    """Return the agent's model out of its slot, or None if the slot does not hold it whole."""
    if len(data) < _HEADER.size:
        return None
    crc, length, owner = _HEADER.unpack_from(data)
    end = _HEADER.size + length
    if owner != agent or end > len(data) or zlib.crc32(data[_AFTER_CRC:end]) != crc:
        return None
    return data[_HEADER.size : end]
