"""What can be revoked, and how it is written: ``agent:billing-bot``, ``session:run-42``, ``fleet``."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Final, Literal, cast, get_args

from killswitch.errors import InvalidTarget

Kind = Literal[
    "agent", "agent_version", "session", "human", "delegation", "credential", "tool", "tenant", "fleet"
]

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
"""Every kind of target this version knows. Records of other kinds make a guard refuse everything."""

_PLAIN_KINDS: Final = frozenset(KINDS) - {"agent_version", "fleet"}

MAX_VALUE_CHARS: Final = 512  # security limit: a target is a key in every enforcement point's memory


@dataclass(frozen=True, slots=True)
class Target:
    """One thing that can be revoked.

    Parameters
    ----------
    kind : Kind
        One of :data:`KINDS`.
    value : str
        Its name, 1 to 512 characters without control characters; ``:``, ``/`` and ``@`` are fine.
        Empty for ``fleet``, which is everything. An ``agent_version`` is ``name@version``.

    Raises
    ------
    InvalidTarget
        If the kind is unknown or the value is not one; ``field`` says which.

    Examples
    --------
    >>> str(Target("agent", "billing-bot"))
    'agent:billing-bot'
    """

    kind: Kind
    value: str = ""

    def __post_init__(self) -> None:
        value = self.value
        if (
            self.kind in _PLAIN_KINDS
            and value.__class__ is str
            and 0 < len(value) <= MAX_VALUE_CHARS
            and value.isprintable()
        ):
            return  # nearly every one, in few steps: making a target is on the way of each kill
        if self.kind not in KINDS:
            raise InvalidTarget("kind", f"{self.kind!r} is not one of {', '.join(KINDS)}")
        if self.kind == "fleet":
            if self.value:
                raise InvalidTarget("value", "a fleet takes no value; write just 'fleet'")
            return
        problem = value_problem(self.value)
        if problem:
            raise InvalidTarget("value", problem)
        if self.kind == "agent_version" and "@" not in self.value:
            raise InvalidTarget("value", f"{self.value!r} has no version; write agent_version:name@version")

    @classmethod
    def parse(cls, text: str) -> Target:
        """Return the target that `text` names.

        Parameters
        ----------
        text : str
            ``kind:value``, split at the first colon, or ``fleet``.

        Raises
        ------
        InvalidTarget
            If it names none; the message says what to write instead.

        Examples
        --------
        >>> Target.parse("human:alice@example.com")
        Target(kind='human', value='alice@example.com')
        """
        if not isinstance(text, str):
            raise InvalidTarget("target", f"expected text, not {type(text).__name__}")
        kind, colon, value = text.partition(":")
        if not colon and kind in KINDS and kind != "fleet":
            raise InvalidTarget("value", f"missing; write {kind}:NAME")
        if not colon and kind != "fleet":
            raise InvalidTarget(
                "kind", f"missing in {text[:80]!r}; write KIND:NAME, for example agent:{text[:80]}"
            )
        if kind == "fleet" and colon:
            raise InvalidTarget("value", "a fleet takes no value; write just 'fleet'")
        return cls(cast("Kind", kind), value)  # the constructor checks what the cast promises

    def __str__(self) -> str:
        return self.kind if self.kind == "fleet" else f"{self.kind}:{self.value}"


def value_problem(value: object) -> str | None:
    """Return what keeps `value` from naming a target, in words, or None if nothing does.

    Shared by targets and by checks: a name that could not be revoked must not be allowed to act either.
    """
    if not isinstance(value, str):
        return f"expected text, not {type(value).__name__}"
    if not value:
        return "is empty"
    if len(value) > MAX_VALUE_CHARS:
        return f"has {len(value)} characters, more than {MAX_VALUE_CHARS}"
    # Cc: control characters forge lines in logs and terminals. Cs: lone surrogates cannot be encoded at all.
    if not value.isprintable() and any(
        unicodedata.category(character) in ("Cc", "Cs") for character in value
    ):
        return "holds a control character"
    return None
