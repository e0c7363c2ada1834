"""Words from elsewhere made harmless: they may be hostile, and end up where characters are commands. Pure.

Each is `plain` at least:

- `plain`: no control characters, nothing invisible, nothing that turns the direction of writing, one line, bounded.
- `defused`: nor can it begin a mention, a link, markup or an emoji in any chat: what would
  is put in full width, and addresses are written as security people write them, ``hxxps://evil[.]example``.
- `slack_escaped`: `plain`, with the three characters that Slack reads as commands escaped.
"""

from __future__ import annotations

import re
from typing import Final

# The same characters in full width (U+FF01 to U+FF5E, in the order of ASCII): no chat reads them as commands.
_FULL_WIDTH: Final = {code: code + 0xFEE0 for code in range(ord("!"), ord("~") + 1)}
_COMMANDS: Final = {ord(letter): _FULL_WIDTH[ord(letter)] for letter in "@#<>&*~`|[]{}\\$!"}
_LONE_UNDERSCORE: Final = re.compile(r"(?<![^\W_])_+|_+(?![^\W_])")
_SCHEME: Final = re.compile(r"(?i)\b(h)tt(ps?)(?=\W)")
_TIGHT_COLON: Final = re.compile(r":(?=\S)")  # of a scheme (mailto:), of an emoji
_DOT_IN_NAME: Final = re.compile(r"(?<=\w)\.(?=[^\W\d])")
_SLACK: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_ELLIPSIS: Final = "…"


def plain(text: object, limit: int) -> str:
    """Return the text in one line of at most `limit` characters, everything invisible shown as a dot."""
    return cut("".join(letter if letter.isprintable() else "·" for letter in str(text)[: limit + 1]), limit)


def defused(text: object, limit: int) -> str:
    """Return the text so that it stays text in whatever chat it is shown, in at most `limit` characters."""
    shown = plain(text, limit).translate(_COMMANDS)
    for risky in (_LONE_UNDERSCORE, _TIGHT_COLON):
        shown = risky.sub(lambda found: found[0].translate(_FULL_WIDTH), shown)
    shown = _SCHEME.sub(r"\1xx\2", shown)
    return cut(_DOT_IN_NAME.sub("[.]".translate(_COMMANDS), shown), limit)


def slack_escaped(text: object, limit: int) -> str:
    """Return the text for a `plain_text` object of at most `limit` characters, escapes included."""
    return cut_escaped(plain(text, limit).translate(_SLACK), limit)


def cut(text: str, limit: int) -> str:
    """Return at most `limit` characters, the last one an ellipsis if there were more."""
    return text if len(text) <= limit else text[: limit - 1] + _ELLIPSIS


def cut_escaped(text: str, limit: int) -> str:
    """Return at most `limit` characters without tearing an escape such as ``&amp;`` apart."""
    if len(text) <= limit:
        return text
    head = text[: limit - 1]
    start = head.rfind("&")
    return (head[:start] if start > head.rfind(";") else head) + _ELLIPSIS


def cut_bytes(text: str, limit: int) -> str:
    """Return as much of the text as fits into `limit` bytes of UTF-8, whole characters only."""
    encoded = text.encode()
    if len(encoded) <= limit:
        return text
    return encoded[: limit - len(_ELLIPSIS.encode())].decode(errors="ignore") + _ELLIPSIS
