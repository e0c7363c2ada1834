"""What is read out of a text: words, the verbs that an order begins with, the names of somebody or something."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_VERBS = """
    accept activate add approve ask assign attach book buy call cancel change check checkout click clone close collect
    commit complete confirm connect contact copy create delete deploy disable download drop edit email enable enter
    execute expose fetch fill follow forward fund generate give go grant ignore include input install invite issue join
    leave link list load log login make merge message move notify open order output pay perform post propose provide
    publish pull purchase push put read recommend refund register release remove rename reply report request reserve
    reset reveal review run save schedule search select sell send set share show sign star start stop submit subscribe
    summarize take tell transfer turn unlink unlock unsubscribe update upload use verify view visit wire withdraw write
"""
VERBS: Final = frozenset(_VERBS.split())
"""Verbs that an order to an agent begins with."""

_POLITE: Final = frozenset({"please", "now", "you", "then", "also", "to"})
"""Words that may stand before the verb."""

_STOP_WORDS = """
    the a an of to in on for and or is are was be it this that with my your our his her their i you he she they me him
    them as at by from can could please do does did have has had if will would not no but so just its there here all any
    up out into about also get got
"""
_STOP: Final = frozenset(_STOP_WORDS.split())

_MAX_STEMS = 16_384  # security limits on memory: about 2 MB …
_MAX_STEM_CHARS = 32
_SHORT_CHARS = 64  # … and 4 MB
_SHORT_TEXTS = 2_048

_WORD = re.compile(r"[a-z0-9]+")
_BETWEEN = re.compile(r"[\s,;\"'\[\]{}()]+")
_NAME = re.compile(r"@|://|www\.|^[A-Z]{2}\d{6}|/[^\w/]{0,200}\w|\d{5}|[A-Za-z0-9]\.[a-z]{2}")
"""What a part of a value looks like that names somebody or something: an address, a link, a path, an account."""
_HINT = re.compile(r"[@/.\d]")
"""What stands in all of these; most parts have none of it."""


def stem(word: str) -> str:
    """Return the word without the commonest endings of English."""
    if word[-1:] in ("s", "g", "d"):
        for ending in ("ing", "ied", "ies", "ed", "es", "s"):
            if word.endswith(ending) and len(word) - len(ending) >= 3:
                return word[: -len(ending)]
    return word


class _Stems(dict[str, str]):
    """Stems of words, made on first use. A flood of invented words costs time, never memory."""

    def __missing__(self, word: str) -> str:
        found = stem(word)
        if len(word) <= _MAX_STEM_CHARS:
            if len(self) >= _MAX_STEMS:
                self.clear()
            self[word] = found
        return found


_stem_of = _Stems().__getitem__
_VERB_STEMS: Final = frozenset(map(stem, VERBS))


def words(text: str) -> list[str]:
    """Return the stems of all words of a text, in order."""
    return list(map(_stem_of, _WORD.findall(text.lower())))


def telling_words(text: str) -> frozenset[str]:
    """Return the stems that say what a text is about."""
    return _telling_words_of_short(text) if len(text) <= _SHORT_CHARS else telling(words(text))


@lru_cache(maxsize=_SHORT_TEXTS)  # names of tools, values of arguments: they come again and again
def _telling_words_of_short(text: str) -> frozenset[str]:
    return telling(words(text))


def telling(stems: list[str]) -> frozenset[str]:
    """Return those of the stems that say what a text is about."""
    return frozenset(stems) - _STOP


def is_order(stems: list[str]) -> bool:
    """Return whether a sentence of these words tells its reader to do something."""
    if len(stems) < 3:
        return False
    return stems[0] in _VERB_STEMS or (stems[0] in _POLITE and not _VERB_STEMS.isdisjoint(stems[1:4]))


def names(value: str) -> list[str]:
    """Return the parts of a value that name somebody or something."""
    if not _HINT.search(value):
        return []
    parts = (part for part in _BETWEEN.split(value) if _HINT.search(part) and _NAME.search(part))
    return [part.strip(".,;:!?<>") for part in parts]
