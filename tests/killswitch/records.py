"""Hypothesis strategies for targets, records and changes."""

from __future__ import annotations

from hypothesis import strategies as st

from killswitch.revocations import LEVELS, Change, Revocation
from killswitch.targets import KINDS, Target

words = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=40).filter(
    lambda text: bool(text.strip())
)
seconds = st.floats(min_value=0.001, max_value=4e9, allow_nan=False)
epochs = st.integers(min_value=1, max_value=1 << 62)


@st.composite
def targets(draw: st.DrawFn) -> Target:
    kind = draw(st.sampled_from(KINDS))
    if kind == "fleet":
        return Target("fleet")
    value = draw(words)
    return Target(kind, f"{value}@1" if kind == "agent_version" else value)


@st.composite
def revocations(draw: st.DrawFn) -> Revocation:
    level = draw(st.sampled_from(LEVELS))
    return Revocation(
        target=draw(targets()),
        level=level,
        reason=draw(words),
        by=draw(words),
        at_s=draw(seconds),
        expires_at_s=draw(seconds) if level == "suspend" else None,
        change_id=draw(words),
        epoch=draw(epochs),
        evidence=tuple(draw(st.lists(words, max_size=3))),
    )


@st.composite
def changes(draw: st.DrawFn) -> Change:
    record = draw(revocations())
    previous = draw(st.none() | revocations())
    lifted = draw(st.booleans())
    return Change(
        epoch=record.epoch,
        change_id=record.change_id,
        kind="restore" if lifted else record.level,
        target=record.target,
        previous=previous,
        new=None if lifted else record,
        reason=record.reason,
        by=record.by,
        at_s=record.at_s,
    )
