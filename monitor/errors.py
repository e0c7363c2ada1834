"""Every error that leaves `monitor`.

MonitorError
├── AccessError        tokens cannot be read or changed
├── ActionError        an action from outside does not have the documented form (`field` names the place)
├── ConfigError        the configuration file is wrong (`field` names the key)
├── DaemonError        the daemon could not start or be reached
├── DeliveryError      a message was not delivered
│   ├── DeliveryDelayed    try again later: the receiver or the way to it is in trouble
│   └── DeliveryRefused    the receiver will never take this message
├── FilterError        a filter cannot be read (`term` is the offending one)
├── HistoryError       there is no history of actions to read
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
