"""How surprising each side of an action is, and how it is learned.

Every signal is one idea: the surprise -ln P(outcome | context) in nats, where P is the agent's own relative
frequency, smoothed by that of the fleet, which is smoothed by the uniform distribution. A new agent therefore
behaves like its peers until it has shown habits of its own.

References
----------
D. J. C. MacKay, L. C. Bauman Peto: A hierarchical Dirichlet language model. Natural Language Engineering 1
(1995). We fix the two concentrations (`_AGENT_STRENGTH`, `_FLEET_STRENGTH`) by hand instead of fitting them,
so that one pass is enough.

"""

from __future__ import annotations

import math

from detectors.compiler import kernel
from detectors.layout import (
    GAP_BINS,
    NOVEL_KINDS,
    NOVELTY,
    RATE,
    RATE_BINS,
    RHYTHM,
    SIZE,
    SOURCE,
    TASK,
    TOOL,
    TRANSITION,
    UNIT,
    Fleet,
    Row,
)
from detectors.tables import Table, bump, bump_slot, combine, count, keep, kinds, knows, shrink

START = 1
"""The "previous tool" of a session's first action."""
RATE_TAU_S = 60.0

_AGENT_STRENGTH = 4.0 * UNIT  # what the fleet knows weighs like four actions of the agent's own
_FLEET_STRENGTH = 2.0 * UNIT
_LIMIT_AGENT = 60_000  # 15,000 actions, then halved; fits 16 bits with the largest weight added
_LIMIT_FLEET = 1 << 31
_TOOL_BASE = 1.0 / 128.0  # an unseen tool or source: one of 128; ours, only its order of magnitude matters
_SOURCE_BASE = 1.0 / 32.0
_SIZE_BASE = 1.0 / 16.0
_KIND_BASE = 1.0 / NOVEL_KINDS
_ALWAYS = 1  # the context of a tool for itself
_WORD = 2
_KNOWN_WORD = 10 * UNIT  # a word that was seen less, a number of an order say, tells nothing about tools
_WORD_STRENGTH = 1.5 * UNIT


@kernel
def size_bin(characters: float) -> int:
    """Return the octave of a size: 0 for none, 1 for one character, at most 24."""
    return min(math.frexp(characters)[1], 24) if characters >= 1.0 else 0


@kernel
def gap_bin(gap_s: float) -> int:
    """Return the octave of a gap in milliseconds; -1 if the gap is not a number (no action before)."""
    if math.isnan(gap_s):
        return -1
    if not gap_s >= 0.001:
        return 0
    return min(math.frexp(min(gap_s, 1e9) * 1000.0)[1], GAP_BINS - 1)


@kernel
def pace_bin(level: float) -> int:
    """Return the half octave of the decayed number of actions in the last minute or so."""
    return max(0, min(math.frexp(level * level)[1], RATE_BINS - 1))


@kernel
def decayed(level: float, gap_s: float) -> float:
    """Return the decayed count of actions after one more; an unknown or negative gap is no time."""
    if level > 0.0 and gap_s > 0.0:
        return level * math.exp(-gap_s / RATE_TAU_S) + 1.0
    return level + 1.0


@kernel
def backed_off(seen: float, of: float, peer_seen: float, peer_of: float, base: float) -> float:
    """Return P(outcome | context) in (0, 1]: the agent's frequency, smoothed by the fleet's, smoothed by `base`.

    A total may lag behind a part of it (its entry had to make room): the larger of the two counts.
    Written with one division, because it runs a dozen times an action.
    """
    peers = max(peer_seen, peer_of) + _FLEET_STRENGTH
    own = max(seen, of) + _AGENT_STRENGTH
    return (seen * peers + _AGENT_STRENGTH * (peer_seen + _FLEET_STRENGTH * base)) / (own * peers)


@kernel
def note(out: Row, signal: int, p: float, seen: float, of: float, peer_seen: float, peer_of: float) -> None:
    """Write down one signal: its probability and the counts (in actions) that it comes from."""
    out["surprise"][signal] = p
    out["seen"][signal] = seen / UNIT
    out["of"][signal] = of / UNIT
    out["peer_seen"][signal] = peer_seen / UNIT
    out["peer_of"][signal] = peer_of / UNIT


@kernel
def pair(
    row: Row, fleet: Fleet, out: Row, signal: int, subject: int, outcome: int, base: float, worst: float
) -> float:
    """Score one outcome in its context; keep it as the signal's if its probability is below `worst`."""
    context = combine(signal + 1, subject)
    part = combine(context, outcome + 1)
    peer_seen = count(fleet.pair_keys, fleet.pair_counts, part)
    peer_of = count(fleet.pair_keys, fleet.pair_counts, context)
    seen = count(row["pair_keys"], row["pair_counts"], part)
    of = count(row["pair_keys"], row["pair_counts"], context)
    p = backed_off(seen, of, peer_seen, peer_of, base)
    if p < worst:
        note(out, signal, p, seen, of, peer_seen, peer_of)
        return p
    return worst


@kernel
def learn_pair(row: Row, fleet: Fleet, signal: int, subject: int, outcome: int, weight: int) -> None:
    """Count one outcome in its context, for the agent and for the fleet."""
    context = combine(signal + 1, subject)
    part = combine(context, outcome + 1)
    bump(row["pair_keys"], row["pair_counts"], context, weight, _LIMIT_AGENT)
    bump(row["pair_keys"], row["pair_counts"], part, weight, _LIMIT_AGENT)
    bump(fleet.pair_keys, fleet.pair_counts, context, weight, _LIMIT_FLEET)
    bump(fleet.pair_keys, fleet.pair_counts, part, weight, _LIMIT_FLEET)


@kernel
def novelty(row: Row, fleet: Fleet, value: int) -> int:
    """Return how new a value is: 0 known to the agent, 1 known only to peers, 2 new to all."""
    if knows(row["values"], value):
        return 0
    return 1 if knows(fleet.values, value) else 2


@kernel
def kind(row: Row, fleet: Fleet, out: Row, subject: int, outcome: int, worst: float) -> float:
    """Score how new a value is for its (tool, argument); keep it if its probability is below `worst`."""
    peer_seen, peer_of = kinds(fleet.slot_keys, fleet.slot_counts, subject, outcome)
    seen, of = kinds(row["slot_keys"], row["slot_counts"], subject, outcome)
    p = backed_off(seen, of, peer_seen, peer_of, _KIND_BASE)
    if p < worst:
        note(out, NOVELTY, p, seen, of, peer_seen, peer_of)
        out["observed"][NOVELTY] = outcome
        return p
    return worst


@kernel
def level(own: Table, peers: Table, out: Row, signal: int, first: int, last: int) -> None:
    """Score a quantity by how often it was in the bins first to last: as extreme as now, or more so."""
    seen = of = peer_seen = peer_of = 0  # integers: no sum depends on the order, so lanes may share it
    for i in range(own.shape[0]):
        own_here = int(own[i])
        peers_here = int(peers[i])
        is_within = first <= i <= last
        of += own_here
        peer_of += peers_here
        seen += own_here if is_within else 0
        peer_seen += peers_here if is_within else 0
    p = backed_off(seen, of, peer_seen, peer_of, 1.0 / own.shape[0])
    note(out, signal, min(p, 1.0), seen, of, peer_seen, peer_of)


@kernel
def learn_level(own: Table, peers: Table, position: int, weight: int) -> None:
    """Count a quantity, for the agent and for the fleet."""
    own[position] += weight
    if own[position] > _LIMIT_AGENT:
        shrink(own, 1)
    peers[position] += weight
    if peers[position] > _LIMIT_FLEET:
        shrink(peers, 1)


@kernel
def fit(fleet: Fleet, out: Row, tool: int, p_tool: float, words: Table, first: int, last: int) -> None:
    """Score a tool by the words of the declared task: what agents use when they are asked for that.

    A mixture over the words that are known, each weighing the more the rarer it is: rare words tell tasks apart.
    """
    whole = 0.0
    fits = 0.0
    best = -1.0
    for i in range(first, last):
        of = count(fleet.word_keys, fleet.word_counts, combine(_WORD, words[i]))
        if of < _KNOWN_WORD:
            continue
        seen = count(fleet.word_keys, fleet.word_counts, combine(words[i], tool))
        weight = 1.0 / (of + UNIT)
        whole += weight
        fits += weight * (seen + _WORD_STRENGTH * p_tool) / (of + _WORD_STRENGTH)
        if weight > best:
            best = weight
            out["peer_seen"][TASK] = seen / UNIT
            out["peer_of"][TASK] = of / UNIT
    if whole > 0.0:
        out["surprise"][TASK] = min(1.0, fits / whole)


@kernel
def learn_fit(fleet: Fleet, tool: int, words: Table, first: int, last: int, weight: int) -> None:
    """Count a tool for each word of the task."""
    for i in range(first, last):
        bump(fleet.word_keys, fleet.word_counts, combine(_WORD, words[i]), weight, _LIMIT_FLEET)
        bump(fleet.word_keys, fleet.word_counts, combine(words[i], tool), weight, _LIMIT_FLEET)


@kernel
def observe(
    row: Row,
    fleet: Fleet,
    out: Row,
    tool: int,
    previous: int,
    size: int,
    gap: int,
    pace: int,
    args: Table,
    first: int,
    last: int,
) -> None:
    """Write the surprise of every signal of one action to `out`; change no model.

    Parameters
    ----------
    row, fleet
        The agent's model and its prior.
    out
        Its `surprise` must be NaN and its `arg` -1; signals that cannot be known stay so.
    tool, previous
        Fingerprints; `previous` is `START` for a session's first action, -1 if unknown.
    size, gap, pace
        Bins; `gap` and `pace` are -1 if unknown.
    args, first, last
        The action's arguments are `args[first:last]`, each (name, value, source).

    """
    if previous >= 0:
        pair(row, fleet, out, TRANSITION, previous, tool, _TOOL_BASE, 2.0)
    pair(row, fleet, out, TOOL, _ALWAYS, tool, _TOOL_BASE, 2.0)
    pair(row, fleet, out, SIZE, tool, size, _SIZE_BASE, 2.0)
    # Only haste is strange. Agents rest for honest reasons, and a quiet one does no harm.
    if gap >= 0:
        level(row["rhythm"], fleet.rhythm, out, RHYTHM, 0, gap)
    if pace >= 0:
        level(row["pace"], fleet.pace, out, RATE, pace, RATE_BINS - 1)
    newest = 2.0
    strangest = 2.0
    for i in range(first, last):
        subject = combine(tool, args[i, 0])
        outcome = novelty(row, fleet, combine(args[i, 0], args[i, 1]))
        p = kind(row, fleet, out, subject, outcome, newest)
        if p < newest:
            newest = p
            out["arg"][NOVELTY] = i - first
        if args[i, 2] != 0:
            p = pair(row, fleet, out, SOURCE, subject, args[i, 2], _SOURCE_BASE, strangest)
            if p < strangest:
                strangest = p
                out["arg"][SOURCE] = i - first


@kernel
def learn(
    row: Row,
    fleet: Fleet,
    tool: int,
    previous: int,
    size: int,
    gap: int,
    pace: int,
    args: Table,
    first: int,
    last: int,
    weight: int,
) -> None:
    """Teach one action to the agent's model and the fleet's; `weight` is in `UNIT`, the rest as above.

    A weak lesson makes no value known: one sight of an attacker's address must not be enough.
    """
    if previous >= 0:
        learn_pair(row, fleet, TRANSITION, previous, tool, weight)
    learn_pair(row, fleet, TOOL, _ALWAYS, tool, weight)
    learn_pair(row, fleet, SIZE, tool, size, weight)
    if gap >= 0:
        learn_level(row["rhythm"], fleet.rhythm, gap, weight)
    if pace >= 0:
        learn_level(row["pace"], fleet.pace, pace, weight)
    for i in range(first, last):
        subject = combine(tool, args[i, 0])
        value = combine(args[i, 0], args[i, 1])
        outcome = novelty(row, fleet, value)
        bump_slot(row["slot_keys"], row["slot_counts"], subject, outcome, weight, _LIMIT_AGENT)
        bump_slot(fleet.slot_keys, fleet.slot_counts, subject, outcome, weight, _LIMIT_FLEET)
        if weight >= UNIT:
            keep(row["values"], value)
            keep(fleet.values, value)
        if args[i, 2] != 0:
            learn_pair(row, fleet, SOURCE, subject, args[i, 2], weight)
