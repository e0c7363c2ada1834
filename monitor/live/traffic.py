"""How many follow the feed, what they were sent and what they were too slow for, by the way in which they read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from monitor import metrics
from monitor.live.reader import TRANSPORTS, Reader
from monitor.metrics import Labelled, Metric


class Traffic:
    """The readers that are served now, and the sums of those that are gone. Belongs to one event loop.

    Each reader counts for itself, so that sending costs no look-up; the sums are made when somebody asks.
    """

    def __init__(self) -> None:
        self._readers: set[Reader] = set()
        self._sent: Counter[str] = Counter()
        self._missed: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._readers)

    def __iter__(self) -> Iterator[Reader]:
        return iter(self._readers)

    def came(self, reader: Reader) -> None:
        """Count the reader among those that are served."""
        self._readers.add(reader)

    def left(self, reader: Reader) -> None:
        """Forget the reader, but not what it was sent."""
        self._readers.discard(reader)
        self._sent[reader.transport] += reader.sent
        self._missed[reader.transport] += reader.missed

    def metrics(self) -> dict[Metric, Labelled]:
        """Return the values now."""
        here: Counter[str] = Counter()
        sent, missed = self._sent.copy(), self._missed.copy()
        for reader in self._readers:
            here[reader.transport] += 1
            sent[reader.transport] += reader.sent
            missed[reader.transport] += reader.missed
        counts = {metrics.READERS: here, metrics.FEED_SENT: sent, metrics.FEED_MISSED: missed}
        return {metric: {(way,): found[way] for way in TRANSPORTS} for metric, found in counts.items()}
