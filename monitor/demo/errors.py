"""What ends the demo's story early."""

from __future__ import annotations

from monitor.errors import MonitorError


class StoryFailed(MonitorError):
    """Something that the demo promises did not happen; the message says what, in one sentence."""
