"""Every error this package raises, in one tree.

::

    KillswitchError
    ├── InvalidTarget            (ValueError)  a target that is not one: the caller's fault
    ├── InvalidRequest           (ValueError)  a revoke or restore without reason, author, expiry ...
    ├── BadRecord                (ValueError)  bytes from the store that are no record of ours
    ├── BadKey                   (ValueError)  a key, key file or keyring that cannot be used
    ├── ApprovalNeeded                         a restore needs more people's signatures
    ├── StoreUnreachable                       no answer in time; says whether the write may have happened
    ├── StoreRefused                           the store answered with an error (rights, memory, disk)
    ├── JournalError                           a kill that waits for the store cannot be kept or read
    └── Refused                                an enforcement point says no: what an agent's code catches
        ├── Revoked                            something the action touches is revoked or suspended
        │   └── StepUpRequired                 ... or held until a human agrees
        ├── UnknownRevocation                  a record in force cannot be read: everything is refused
        ├── UnprovenState                      nobody we trust vouches for the revocations that the store shows
        ├── SentinelRefused                    a file on this host says so, or cannot be read
        ├── UncheckableAction                  the check itself named nothing, or something unknown
        ├── NotReady                           no snapshot of the revocations yet
        └── LeaseExpired                       the store has not been heard for one lease

Catch :class:`Refused` around a tool call; never let the call go on after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from killswitch.revocations import Revocation
    from killswitch.targets import Target


class KillswitchError(Exception):
    """Root of all errors of this package."""


class InvalidTarget(KillswitchError, ValueError):
    """A target cannot be read; ``field`` names the part that is wrong.

    Parameters
    ----------
    field : str
        ``"kind"``, ``"value"`` or the name of the keyword that held it.
    problem : str
        What is wrong with it, in words.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class InvalidRequest(KillswitchError, ValueError):
    """A revocation or restoration cannot be accepted; ``field`` names the argument to correct."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class BadRecord(KillswitchError, ValueError):
    """Bytes from the store are not a record this version can read, whatever the bytes were."""


class BadKey(KillswitchError, ValueError):
    """A key, a key file or a keyring cannot be used; the message says which and what to do. It never shows a secret."""


class ApprovalNeeded(KillswitchError):
    """Too few people have agreed to lift a revocation; nothing was changed.

    Parameters
    ----------
    target : Target
        What was to be restored.
    lifts : str
        Change id of the record in force, which approvals have to name.
    short : int
        How many more approvals are needed.
    """

    def __init__(self, target: Target, lifts: str, short: int) -> None:
        super().__init__(
            f"restoring {target} needs {short} more approval{'s' if short > 1 else ''} by operators' keys;"
            " ask a colleague to approve it"
        )
        self.target = target
        self.lifts = lifts
        self.short = short


class StoreUnreachable(KillswitchError):
    """The store did not answer in time.

    ``change_id`` is set when a write was under way: it may or may not have happened, and calling again with
    the same ``change_id`` is safe and applies it at most once. Until then the leases do the killing.
    """

    def __init__(self, message: str, *, change_id: str | None = None) -> None:
        super().__init__(message)
        self.change_id = change_id


class StoreRefused(KillswitchError):
    """The store answered, with an error: missing rights, no memory, a full disk. Nothing was changed."""


class JournalError(KillswitchError):
    """The directory of kills that wait for the store is full, or cannot be written or read."""


class Refused(KillswitchError):
    """The enforcement point refuses the action. Its subclasses say why; all of them mean *do not act*."""


class Revoked(Refused):
    """Something the action touches is revoked.

    Parameters
    ----------
    revocation : Revocation
        The record in force: who, when, why, until when.
    """

    def __init__(self, revocation: Revocation) -> None:
        super().__init__(revocation)
        self.revocation = revocation

    def __str__(self) -> str:
        # Made when somebody asks: refusing itself must not take longer for it.
        return self.revocation.describe()

    @property
    def target(self) -> Target:
        """What is revoked, which may be wider than the agent that asked."""
        return self.revocation.target


class StepUpRequired(Revoked):
    """The target is held (also after a suspension that ran out): a human has to agree before it acts again."""


class UnknownRevocation(Refused):
    """A revocation is in force that this version cannot read, so everything is refused (fail closed).

    Upgrade killcord in this process, or remove the record named in the message.
    """


class UnprovenState(Refused):
    """The point started on a store whose revocations no key of its keyring vouches for, so it allows nothing.

    The store may have been emptied or changed by an intruder. A running daemon puts it right within seconds; if none
    runs, start it.
    """


class SentinelRefused(Refused):
    """The sentinel file of this host stops the action, with or without a network; removing it lets it go on."""


class UncheckableAction(Refused):
    """The check named nothing, or a thing that could never be revoked, so nobody could stop the action."""


class NotReady(Refused):
    """The enforcement point has not yet read the revocations; it never starts by allowing."""


class LeaseExpired(Refused):
    """The store has not been heard for one lease, so a kill could have been missed.

    Look at the network between this process and the store; the guard resumes by itself.
    """
