"""What a tool answered, cut into sentences: the places where an action's values can come from."""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import lru_cache
from itertools import accumulate
from typing import Final, NamedTuple

from monitor.flow.words import is_order, telling, words

MAX_OUTPUT_CHARS: Final = 16_384
"""Security limit, as the next two: what stands further behind is not seen."""
MAX_SENTENCES: Final = 600
MAX_SIGHTINGS: Final = 64
"""Sentences of one output that one value is looked at in."""

_SHORT_CHARS = 4_096
_SHORT_OUTPUTS = 128  # security limit on memory: 27 MB where all are as long and dense as can be

_SENTENCES = re.compile(
    r"\n[ \t]*\n"  # paragraphs
    r"|\n(?=[ \t]*[-*|<\[{])|\n(?=[ \t]*'?[\w ]{1,24}'?:)"  # list items, and fields of a record
    r"|(?<=[.!?;])['\"]{0,2}\s|\||(?<=['\"]),\s|(?<=['\"]):\s|<[^>\n]{0,200}+>"
)


class Sentence(NamedTuple):
    """One sentence or field of an output."""

    words: frozenset[str]
    """Stems of the words that tell something; `length` counts the others too."""
    length: int
    is_order: bool


class Output(NamedTuple):
    """An output as it is searched."""

    text: str
    """All of it, in lower case."""
    sentences: tuple[Sentence, ...]
    """Those that order something come first: `MAX_SIGHTINGS` others before one must not hide it."""
    lines: str
    """The text of the sentences, one a line, in the same order."""
    starts: tuple[int, ...]
    """Where each sentence begins in `lines`, and where the next one would."""
    orders: tuple[Sentence, ...]
    """Sentences of 3 to 60 words that order something, and …"""
    statements: tuple[Sentence, ...]
    """… those that do not."""
    vocabulary: frozenset[str]
    """All words of the statements."""
    order_count: int
    """How many sentences of four words or more order something."""

    def sentences_with(self, value: str) -> list[Sentence]:
        """Return the sentences in which a value (in lower case, not empty) stands, at most `MAX_SIGHTINGS`."""
        found: list[Sentence] = []
        if value not in self.text or "\n" in value:
            return found
        at = self.lines.find(value)
        while at >= 0 and len(found) < MAX_SIGHTINGS:
            number = bisect_right(self.starts, at)
            found.append(self.sentences[number - 1])
            at = self.lines.find(value, self.starts[number])
        return found


def read_output(output: str) -> Output:
    """Return an output's first `MAX_OUTPUT_CHARS` cut into sentences; about 0.1 ms for 1,500 characters."""
    # The same short answer comes again and again ("ok", the same listing): it is read once.
    return _read_again(output) if len(output) <= _SHORT_CHARS else _read(output[:MAX_OUTPUT_CHARS])


def _read(output: str) -> Output:
    found = sorted(_sentences(output), key=lambda each: not each[1].is_order)
    sentences = tuple(sentence for _, sentence in found)
    plain = [sentence for sentence in sentences if 3 <= sentence.length <= 60]
    statements = tuple(sentence for sentence in plain if not sentence.is_order)
    return Output(
        text=output.lower(),
        sentences=sentences,
        lines="\n".join(text for text, _ in found),
        starts=tuple(accumulate((len(text) + 1 for text, _ in found), initial=0)),
        orders=tuple(sentence for sentence in plain if sentence.is_order),
        statements=statements,
        vocabulary=frozenset().union(*(sentence.words for sentence in statements)),
        order_count=sum(sentence.is_order and sentence.length >= 4 for sentence in sentences),
    )


_read_again = lru_cache(maxsize=_SHORT_OUTPUTS)(_read)


def _sentences(output: str) -> list[tuple[str, Sentence]]:
    """Return the sentences and fields of an output with their text, at most `MAX_SENTENCES`."""
    found = []
    for piece in _SENTENCES.split(output.replace("\\n", "\n").replace("\\t", " ")):
        text = " ".join(piece.split()).lower()
        if len(text) >= 3:
            stems = words(text)
            found.append((text, Sentence(telling(stems), len(stems), is_order(stems))))
            if len(found) >= MAX_SENTENCES:
                break
    return found
