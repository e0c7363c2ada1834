"""Tells the story in plain sentences, each with the seconds since the beginning."""

from __future__ import annotations

import sys
import time
from typing import TextIO


class Narrator:
    """Writes sentences, and progress that overwrites itself where somebody watches a terminal.

    Parameters
    ----------
    out
        Standard output; standard error where standard output carries JSON.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._is_terminal = out.isatty()
        self._started_s = time.monotonic()
        self._progress_s = 0.0

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._started_s

    def say(self, sentence: str, *details: str) -> None:
        """Write a sentence, and indented lines below it."""
        self._clear()
        print(f"{self.seconds:6.1f} s  {sentence}", file=self._out, flush=True)
        for detail in details:
            print(f"          {detail}", file=self._out, flush=True)

    def progress(self, text: str) -> None:
        """Show how far something is: at once in a terminal, every three seconds elsewhere."""
        if self._is_terminal:
            print(f"\r{self.seconds:6.1f} s  {text} ...\033[K", end="", file=self._out, flush=True)
        elif time.monotonic() - self._progress_s > 3.0:
            self._progress_s = time.monotonic()
            print(f"{self.seconds:6.1f} s  {text} ...", file=self._out, flush=True)

    def _clear(self) -> None:
        if self._is_terminal:
            print("\r\033[K", end="", file=self._out)


def narrator(*, json: bool) -> Narrator:
    """Return a narrator that keeps out of the way of the JSON object on standard output."""
    return Narrator(sys.stderr if json else sys.stdout)
