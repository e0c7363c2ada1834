"""The kill switch: revoke an agent anywhere, refuse it everywhere. Needs redis-py and nothing else.

In an agent's process::

    guard = Guard.connect("redis://localhost:6379")
    guard.check(agent="billing-bot", session="run-42", tool="send_money")  # raises Revoked

By hand or from the daemon::

    Switch("redis://localhost:6379").revoke(Target.parse("agent:billing-bot"), reason="…", by="alice")
"""

from killswitch.errors import (
    ApprovalNeeded,
    BadKey,
    BadRecord,
    InvalidRequest,
    InvalidTarget,
    JournalError,
    KillswitchError,
    LeaseExpired,
    NotReady,
    Refused,
    Revoked,
    SentinelRefused,
    StepUpRequired,
    StoreRefused,
    StoreUnreachable,
    UncheckableAction,
    UnknownRevocation,
    UnprovenState,
)
from killswitch.guard import Guard, GuardStatus
from killswitch.registry.points import Ack, Containment, PointLatency, PointStatus
from killswitch.revocations import Change, Level, Revocation
from killswitch.running.watch import Watch
from killswitch.storage.following import Gap
from killswitch.storage.journal import Journal
from killswitch.storage.snapshots import Snapshot
from killswitch.storage.writer import Outcome
from killswitch.switch import Switch
from killswitch.targets import KINDS, Kind, Target
from killswitch.trust.approvals import Approval, Petition, approve
from killswitch.trust.keyring import Keyring, PublicKey, SignedKeyring
from killswitch.trust.signing import Signer

__all__ = [
    "KINDS",
    "Ack",
    "Approval",
    "ApprovalNeeded",
    "BadKey",
    "BadRecord",
    "Change",
    "Containment",
    "Gap",
    "Guard",
    "GuardStatus",
    "InvalidRequest",
    "InvalidTarget",
    "Journal",
    "JournalError",
    "Keyring",
    "KillswitchError",
    "Kind",
    "LeaseExpired",
    "Level",
    "NotReady",
    "Outcome",
    "Petition",
    "PointLatency",
    "PointStatus",
    "PublicKey",
    "Refused",
    "Revocation",
    "Revoked",
    "SentinelRefused",
    "SignedKeyring",
    "Signer",
    "Snapshot",
    "StepUpRequired",
    "StoreRefused",
    "StoreUnreachable",
    "Switch",
    "Target",
    "UncheckableAction",
    "UnknownRevocation",
    "UnprovenState",
    "Watch",
    "approve",
]
