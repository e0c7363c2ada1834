"""The kill switch: revoke an agent anywhere, refuse it everywhere. Needs redis-py and nothing else.

In an agent's process::

    guard = Guard.connect("redis://localhost:6379")
    guard.check(agent="billing-bot", session="run-42", tool="send_money")  # raises Revoked

By hand or from the daemon::

    Switch("redis://localhost:6379").revoke(Target.parse("agent:billing-bot"), reason="…", by="alice")
"""

from killswitch.errors import (
    BadRecord,
    InvalidRequest,
    InvalidTarget,
    KillswitchError,
    LeaseExpired,
    NotReady,
    Refused,
    Revoked,
    StepUpRequired,
    StoreRefused,
    StoreUnreachable,
    UncheckableAction,
    UnknownRevocation,
)
from killswitch.following import Gap
from killswitch.guard import Guard, GuardStatus
from killswitch.points import Ack, Containment, PointStatus
from killswitch.revocations import Change, Level, Revocation
from killswitch.snapshots import Snapshot
from killswitch.switch import Switch
from killswitch.targets import KINDS, Kind, Target
from killswitch.watch import Watch
from killswitch.writer import Outcome

__all__ = [
    "KINDS",
    "Ack",
    "BadRecord",
    "Change",
    "Containment",
    "Gap",
    "Guard",
    "GuardStatus",
    "InvalidRequest",
    "InvalidTarget",
    "KillswitchError",
    "Kind",
    "LeaseExpired",
    "Level",
    "NotReady",
    "Outcome",
    "PointStatus",
    "Refused",
    "Revocation",
    "Revoked",
    "Snapshot",
    "StepUpRequired",
    "StoreRefused",
    "StoreUnreachable",
    "Switch",
    "Target",
    "UncheckableAction",
    "UnknownRevocation",
    "Watch",
]
