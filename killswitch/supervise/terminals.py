"""Lending the terminal to a program that runs in a process group of its own, and taking it back as it was."""

from __future__ import annotations

import os
import signal
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Self


class Terminal:
    """The controlling terminal of this process, of which it was the foreground when this was made."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._settings: list[Any] = termios.tcgetattr(descriptor)

    @classmethod
    def held(cls) -> Self | None:
        """Return the terminal if this process has one and is in its foreground, so that it is its to lend."""
        try:
            descriptor = _open()
        except OSError:
            return None
        try:
            if os.tcgetpgrp(descriptor) == os.getpgrp():
                return cls(descriptor)
        except (OSError, termios.error):
            pass
        os.close(descriptor)
        return None

    @staticmethod
    def lend_controlling(group: int) -> None:
        """Make `group` the foreground of the controlling terminal, if there is one."""
        with suppress(OSError):
            descriptor = _open()
            try:
                with _unstopped():
                    os.tcsetpgrp(descriptor, group)
            finally:
                os.close(descriptor)

    def lend(self, group: int) -> None:
        """Make `group` the foreground."""
        with suppress(OSError), _unstopped():
            os.tcsetpgrp(self._descriptor, group)

    def take_back(self, *, restore: bool) -> None:
        """Become the foreground again; with `restore`, undo what a killed program did to the settings."""
        with suppress(OSError, termios.error), _unstopped():
            os.tcsetpgrp(self._descriptor, os.getpgrp())
            if restore:
                termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._settings)


def _open() -> int:
    return os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)


@contextmanager
def _unstopped() -> Iterator[None]:
    """Do something to the terminal from the background without being stopped for it (SIGTTOU)."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
