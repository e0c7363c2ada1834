"""One action in numbers: what the detectors see, and what the action log keeps instead of raw arguments."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import islice
from typing import NamedTuple

from xxhash import xxh3_64_intdigest

MAX_ARGS = 16
"""Arguments read one by one; the rest count into `size_chars` only. A security limit: it bounds work per
action."""

MAX_WORDS = 16
"""Words of a task that are read: the longest ones. A security limit: each costs two look-ups an action."""

_MAX_TASKS = 4_096
_MAX_NAMES = 65_536  # a security limit on memory: about 10 MB

_Args = Mapping[str, object]
_Sources = Mapping[str, str] | None

_WORD = re.compile(r"\w{3,32}")

_to_json = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str).encode


class Features(NamedTuple):
    """The numeric form of one action; it holds no text.

    Every hash is keyed and has 64 bits; 0 means absent. Two installations give the same text different
    hashes.
    """

    tool: int
    session: int
    version: int
    ts_s: float
    """When the agent acted, epoch seconds."""
    size_chars: int
    """Characters of all argument values, as text."""
    args: tuple[tuple[int, int, int], ...]
    """(name, value, source) of each argument; source 0 = unknown."""
    words: tuple[int, ...] = ()
    """Words of the declared task, at most `MAX_WORDS`."""
    flow: tuple[int, ...] = ()
    """Numbers of the information flow, 0 to 15 each, in the order of `layout.FLOW`. If it is unknown: the first of them
    alone (1 for a side effect, 0 for none), or nothing."""


class _Names(dict[str, int]):
    """Hashes of names, made on first use. A flood of invented names costs time, never memory."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.texts: dict[int, str] = {}

    def __missing__(self, name: str) -> int:
        if len(self) >= _MAX_NAMES:
            self.clear()
            self.texts.clear()
        found = self[name] = _digest(name, self.seed)
        self.texts[found] = name
        return found


class _Words(dict[str, tuple[int, ...]]):
    """Hashes of the words of tasks, made on first use: a task stays the same for a whole session."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __missing__(self, task: str) -> tuple[int, ...]:
        if len(self) >= _MAX_TASKS:
            self.clear()
        # Long words tell more than short ones; among equals the order of the alphabet makes it repeatable.
        words = sorted(set(_WORD.findall(task.lower())), key=lambda word: (-len(word), word))[:MAX_WORDS]
        found = self[task] = tuple(_digest(word, self.seed) for word in words)
        return found


class Hasher:
    """Turns an action into `Features`, with hashes that are stable across processes.

    XXH3 under a secret seed: fast, and its collisions cannot be searched for without the seed. It is not a
    cryptographic digest: who holds the seed can test guesses of a value, so keep the seed as secret as the log.

    Parameters
    ----------
    seed
        Secret of this installation, 0 ≤ seed < 2⁶⁴. Models learned under one seed mean nothing under another.

    Raises
    ------
    ValueError
        If the seed does not fit 64 bits.

    Notes
    -----
    About 2 µs for three arguments. Names are remembered (65,536 at most); use one hasher per thread.

    Examples
    --------
    >>> hasher = Hasher(seed=7)
    >>> seen = hasher.features(tool="read_file", args={"path": "a.txt"}, ts_s=0.0, session=None, version=None,
    ...                        provenance=None)
    >>> seen.size_chars, seen.session, len(seen.args)
    (5, 0, 1)
    >>> hasher.name(seen.tool)
    'read_file'

    """

    def __init__(self, seed: int) -> None:
        if not 0 <= seed < 1 << 64:
            raise ValueError("seed must be an unsigned 64-bit integer; make one with secrets.randbits(64)")
        self._seed = seed
        self._names = _Names(seed)
        self._words = _Words(seed)

    def hash(self, text: str) -> int:
        """Return the keyed 64-bit hash of a text; never 0. About 0.2 µs for short texts."""
        return _digest(text, self._seed)

    def name(self, key: int) -> str | None:
        """Return the tool, argument, source or version name behind a hash, if it was seen lately."""
        return self._names.texts.get(key)

    def features(
        self,
        *,
        tool: str,
        args: _Args,
        ts_s: float,
        session: str | None,
        version: str | None,
        provenance: _Sources,
        task: str | None = None,
        flow: tuple[int, ...] = (),
    ) -> Features:
        """Return the numeric form of an action.

        Parameters
        ----------
        tool, args
            What was called with what. Strings are hashed as they are, everything else as canonical JSON text. The
            first `MAX_ARGS` arguments are read in the order given; the others only add to the size.
        ts_s
            When the agent acted, epoch seconds. It is kept as given; the models ignore what is not finite.
        session, version
            None if unknown.
        provenance
            Where each argument's value was first visible (`user`, `tool:<name>`, `model`); None if unknown.
        task
            What the human asked for, in words; None if unknown.
        flow
            As in `Features.flow`.

        """
        names = self._names
        seed = self._seed
        size_chars = 0
        rows = []
        # One plain loop: for the two or three arguments of a call, setting up anything cleverer costs more.
        for name, value in args.items() if len(args) <= MAX_ARGS else islice(args.items(), MAX_ARGS):
            text = value if value.__class__ is str else _text(value)
            size_chars += len(text)
            try:
                value_hash = xxh3_64_intdigest(text.encode(), seed)
            except UnicodeEncodeError:
                value_hash = _digest(text, seed)
            source = provenance.get(name) if provenance else None
            rows.append((names[name], value_hash, names[source] if source else 0))
        if len(args) > MAX_ARGS:
            size_chars += sum(len(_text(value)) for value in islice(args.values(), MAX_ARGS, None))
        return tuple.__new__(
            Features,
            (
                names[tool],
                _digest(session, seed) if session else 0,
                names[version] if version else 0,
                ts_s,
                size_chars,
                tuple(rows),
                self._words[task] if task else (),
                flow,
            ),
        )


def _digest(text: str, seed: int) -> int:
    """Return the keyed hash of any text; never 0, which means absent."""
    try:
        return xxh3_64_intdigest(text.encode(), seed) or 1
    except UnicodeEncodeError:  # lone surrogates are legal in JSON
        return xxh3_64_intdigest(text.encode("utf-8", "surrogatepass"), seed) or 1


def _text(value: object) -> str:
    """Return the text that stands for a value that is not exactly a `str`."""
    if isinstance(value, str):
        return str(value)
    if type(value) is int:
        return int.__repr__(value)
    try:
        return _to_json(value)
    except (TypeError, ValueError, RecursionError):  # keys of mixed types, cycles, hostile nesting
        return f"<{type(value).__name__}>"
