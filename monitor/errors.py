"""Every error that leaves `monitor`.

MonitorError
├── AccessError        tokens cannot be read or changed
├── ActionError        an action from outside does not have the documented form (`field` names the place)
├── ChangeRefused      an alert cannot be changed so, or an agent not be muted so (`field` names what is wrong)
│   └── ChangeConflict it could be, but for what is there already
├── ConfigError        the configuration file is wrong (`field` names the key)
├── DaemonError        the daemon could not start or be reached
│   └── FeedLost       the live feed broke off and did not come back
├── DeliveryError      a message was not delivered
│   ├── DeliveryDelayed    try again later: the receiver or the way to it is in trouble
│   └── DeliveryRefused    the receiver will never take this message
├── FeedRefused        the daemon does not give its feed to this reader, or not with this filter
├── FeedReset          the daemon's feed is not the one that was read before
├── FilterError        a filter cannot be read (`term` is the offending one)
├── HistoryError       there is no history of actions to read
├── RequestRefused     the daemon does not do what a command asked for (`status` is its HTTP status)
└── LogError           the action log cannot be read or written
    └── LogFailed      a write or fsync failed: nothing more is acknowledged until a restart
"""


class MonitorError(Exception):
    """Root of the package's errors; the message is one sentence that says what to do."""


class AccessError(MonitorError):
    """Tokens cannot be read or changed; or a provider's word cannot be taken."""


class ActionError(MonitorError):
    """An action was refused at the edge.

    Attributes
    ----------
    field
        Path of the offending field (``args.amount``), or ``""`` when the text is not JSON at all.
    document
        The bytes that were refused, where they are known.
    """

    def __init__(self, field: str, message: str, document: bytes = b"") -> None:
        super().__init__(message)
        self.field = field
        self.document = document


class ChangeRefused(MonitorError):
    """A change of an alert or a mute is refused; `field` is what is wrong, None where it comes at a wrong time."""

    def __init__(self, field: str | None, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field


class ChangeConflict(ChangeRefused):
    """What is there already stands against a change."""


class ConfigError(MonitorError):
    """The configuration is wrong; `field` is the dotted key."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field


class DaemonError(MonitorError):
    """The daemon could not start, or is not there."""


class DeliveryError(MonitorError):
    """A message was not delivered."""


class DeliveryDelayed(DeliveryError):
    """The receiver or the way to it is in trouble: try again, not before `retry_after_s` if it said so."""

    def __init__(self, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DeliveryRefused(DeliveryError):
    """The receiver will never take this message; `answer` is what it said, as far as it was read."""

    def __init__(self, message: str, answer: str = "") -> None:
        super().__init__(message)
        self.answer = answer


class FeedLost(DaemonError):
    """The live feed broke off, and trying again did not help."""


class FeedRefused(MonitorError):
    """The daemon refused the feed, and would again.

    Attributes
    ----------
    status
        401: the token is not known; 403: it may not read; 422: something that was asked for is wrong.
    field
        What the refusal is about, if it is about one thing: ``filter``, ``since``.
    """

    def __init__(self, status: int, error: str, field: str | None) -> None:
        super().__init__(f"the feed was refused ({status}): {error}")
        self.status = status
        self.field = field


class FeedReset(MonitorError):
    """The daemon's log ends before what was read already: its state was restored from an older copy.

    Attributes
    ----------
    since
        The number after which the reader wanted to go on.
    last_seq
        The last one that the daemon has.
    """

    def __init__(self, since: int, last_seq: int) -> None:
        super().__init__(
            f"the feed was read up to {since}, but the daemon's ends at {last_seq}: its state was restored from an "
            f"older copy; read again from 0, or go on after {last_seq}"
        )
        self.since = since
        self.last_seq = last_seq


class FilterError(MonitorError):
    """A filter cannot be read; `term` is the offending one."""

    def __init__(self, term: str, problem: str) -> None:
        super().__init__(f"{term}: {problem}")
        self.term = term


class HistoryError(MonitorError):
    """There is no history of actions where one was looked for."""


class LogError(MonitorError):
    """The log on disk cannot be used as it is."""


class LogFailed(LogError):
    """A write or fsync failed. What the disk holds since the last good fsync is unknown, so the log stops."""


class ProofError(MonitorError):
    """A note, a checkpoint or a proof does not hold, or cannot be read."""


class RecordDamaged(LogError):
    """A part of the record is not what was written; `entry` is the number of the first bad one where that is known."""

    def __init__(self, message: str, entry: int | None = None) -> None:
        super().__init__(message)
        self.entry = entry


class RecordUnavailable(MonitorError):
    """The record cannot be read or changed now."""


class RequestRefused(MonitorError):
    """The daemon does not do what a command asked for; `status` is the HTTP status of its answer."""

    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status = status
