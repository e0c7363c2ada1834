"""The values that simulated agents work with: a few that come back all the time, many that hardly ever do.

Each trade has a world of values per kind; each agent knows a part of it, with favourites of its own (Zipf), and now
and then meets a value that nobody has seen. How often is written in `_KINDS`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import accumulate
from random import Random
from typing import NamedTuple


class _Kind(NamedTuple):
    size: int  # values that one agent has at a time
    p_new: float  # how often a value is new to everybody
    zipf: float  # how much the favourites are preferred: the weight of rank r is 1 / r ** zipf
    coin: Callable[[Random], str]


def _split(words: str) -> list[str]:
    return words.split()


_WORDS = _split(
    "order account delivery report status meeting change price quote review update renewal contract support"
    " launch issue request summary market growth device battery network storage margin forecast ticket number"
    " please thanks regards attached following confirmed shipped delayed replaced refund credit balance open closed"
    " week month quarter today tomorrow region team customer partner vendor plan option details final draft"
)
_FIRST = _split(
    "ana ben carla deniz emil fatima goran hana ivan jana kofi lena marta nils olga priya rosa sven tariq uma"
)
_LAST = _split(
    "abel brandt costa diaz ekman fischer garcia haddad ito jansen keller lund moreau nowak okafor petit"
)
_FIRMS = _split(
    "acorn birch cobalt delta ember falcon granite hollow indigo juniper kestrel lumen maple nimbus orchid"
)
_SERVICES = _split("api auth billing cart catalog search mail media metrics queue reports sessions")
_CITIES = _split(
    "Aarhus Athens Basel Berlin Bilbao Bologna Bruges Cork Dublin Ghent Graz Hamburg Helsinki Lille Lisbon Lyon Malmo"
    " Milan Munich Nantes Oslo Porto Prague Riga Rome Split Tallinn Turin Utrecht Valencia Vienna Vilnius Warsaw Zurich"
)


def text(rng: Random, median_words: int = 25, *, chars: int = 0) -> str:
    """Return a message composed anew each time: of log-normal length, or of so many characters."""
    words = chars // 6 if chars else round(median_words * rng.lognormvariate(0.0, 0.6))
    return " ".join(rng.choices(_WORDS, k=max(3, words)))


def firm(rng: Random) -> str:
    """Return a company's domain."""
    return f"{rng.choice(_FIRMS)}-{rng.choice(_WORDS)}.example"


def person(rng: Random) -> str:
    """Return the address of somebody in the house that runs the agents."""
    return f"{rng.choice(_FIRST)}.{rng.choice(_LAST)}@harbour.example"


def _number(prefix: str, digits: int) -> Callable[[Random], str]:
    return lambda rng: f"{prefix}{rng.randrange(10**digits):0{digits}}"


def _words(count: int, separator: str = " ") -> Callable[[Random], str]:
    return lambda rng: separator.join(rng.sample(_WORDS, count))


def _sql(rng: Random) -> str:
    columns = ", ".join(rng.sample(_WORDS, rng.randint(1, 4)))
    return f"select {columns} from {rng.choice(_WORDS)}s where {rng.choice(_WORDS)} > {rng.randrange(500)}"  # noqa: S608 - nobody runs it


_FRESH = (1, 1.0, 1.0)  # composed anew each time
_KINDS: dict[str, _Kind] = {
    "customer": _Kind(80, 0.03, 1.0, _number("C-", 5)),
    "account": _Kind(60, 0.03, 1.0, lambda r: f"{r.choice(_FIRMS)} {r.choice(_WORDS)} {r.randrange(100)}"),
    "traveller": _Kind(50, 0.03, 1.0, lambda r: f"{r.choice(_FIRST)} {r.choice(_LAST)} {r.randrange(100)}"),
    "candidate": _Kind(70, 0.12, 0.7, _number("CAND-", 5)),
    "ticket": _Kind(30, 0.75, 0.3, _number("T-", 6)),
    "invoice": _Kind(60, 0.45, 0.4, _number("INV-2026-", 5)),
    "document": _Kind(
        50, 0.40, 0.6, lambda r: f"{r.choice(_WORDS)}-{r.choice(_WORDS)}-{r.randrange(1000)}.pdf"
    ),
    "recipient": _Kind(45, 0.02, 1.1, lambda r: f"{r.choice(_FIRST)}.{r.choice(_LAST)}@{firm(r)}"),
    "endpoint": _Kind(5, 0.002, 1.3, lambda r: f"https://hooks.{firm(r)}/{r.choice(_WORDS)}"),
    "page": _Kind(80, 0.35, 0.8, lambda r: f"https://{firm(r)}/{r.choice(_WORDS)}/{r.randrange(1000)}"),
    "host": _Kind(24, 0.005, 0.9, lambda r: f"{r.choice(_SERVICES)}-{r.randrange(20):02}.harbour.example"),
    "secret": _Kind(12, 0.004, 1.0, lambda r: f"{r.choice(_SERVICES)}/{r.choice(_WORDS)}-key"),
    "path": _Kind(18, 0.01, 1.0, lambda r: f"/etc/{r.choice(_SERVICES)}/{r.choice(_WORDS)}.yaml"),
    "repository": _Kind(8, 0.003, 1.0, lambda r: f"harbour/{r.choice(_SERVICES)}-{r.choice(_WORDS)}"),
    "version": _Kind(10, 0.25, 0.8, lambda r: f"v{r.randrange(9)}.{r.randrange(30)}.{r.randrange(9)}"),
    "command": _Kind(16, 0.05, 0.9, lambda r: f"systemctl {r.choice(_WORDS)} {r.choice(_SERVICES)}"),
    "topic": _Kind(14, 0.03, 0.9, _words(2)),
    "role": _Kind(8, 0.02, 0.8, _words(2)),
    "flight": _Kind(40, 0.30, 0.6, lambda r: f"KX{r.randrange(100, 2000)}"),
    "hotel": _Kind(40, 0.15, 0.7, lambda r: f"Hotel {r.choice(_FIRMS).title()} {r.choice(_CITIES)}"),
    "city": _Kind(25, 0.0, 0.9, lambda r: r.choice(_CITIES)),
    "date": _Kind(40, 0.15, 0.5, lambda r: f"2026-{r.randint(1, 12):02}-{r.randint(1, 28):02}"),
    "table": _Kind(22, 0.01, 0.9, _words(2, "_")),
    "schema": _Kind(4, 0.0, 1.0, _words(1)),
    "dashboard": _Kind(9, 0.01, 0.9, _words(2, "-")),
    "field": _Kind(8, 0.01, 0.9, _words(1)),
    "queue": _Kind(5, 0.0, 1.0, _words(1)),
    "status": _Kind(3, 0.0, 1.0, _words(1)),
    "language": _Kind(5, 0.0, 1.0, _words(1)),
    "person": _Kind(5, 0.004, 1.0, person),
    "text": _Kind(*_FRESH, text),
    "query": _Kind(*_FRESH, lambda r: text(r, 4)),
    "sql": _Kind(*_FRESH, _sql),
    "amount": _Kind(*_FRESH, lambda r: f"{r.lognormvariate(4.0, 1.0):.2f}"),
    "count": _Kind(*_FRESH, lambda r: str(round(r.lognormvariate(3.0, 1.2)))),
}

_WORLD_FACTOR = 2.5  # a trade's world holds so many times what one agent knows of it


class World:
    """All values that a trade's agents may come across; the same for all of them.

    Parameters
    ----------
    seed, trade
        Decide everything.
    """

    def __init__(self, seed: int, trade: str) -> None:
        self._name = f"{seed}/{trade}"
        self._values: dict[str, tuple[str, ...]] = {}

    def values(self, kind: str) -> tuple[str, ...]:
        """Return the world's values of a kind."""
        known = self._values.get(kind)
        if known is None:
            spec = _KINDS[kind]
            rng = Random(f"{self._name}/{kind}")  # noqa: S311 - a simulation
            known = tuple(spec.coin(rng) for _ in range(round(spec.size * _WORLD_FACTOR)))
            self._values[kind] = known
        return known


class Vocabulary:
    """What one agent knows of its trade's world; it drifts as new values come up. Bounded."""

    def __init__(self, rng: Random, world: World) -> None:
        self._rng = rng
        self._world = world
        self._known: dict[str, list[str]] = {}

    def draw(self, kind: str) -> str:
        """Return a value: often a favourite, seldom a new one."""
        spec = _KINDS[kind]
        rng = self._rng
        known = self._known.get(kind)
        if known is None:
            known = self._known[kind] = rng.sample(self._world.values(kind), spec.size)
        if rng.random() < spec.p_new:
            value = spec.coin(rng)
            # It takes the place of something seldom used, and comes back as often as that did.
            known[rng.randrange(spec.size // 2, spec.size)] = value
            return value
        return known[rng.choices(_RANKS[: spec.size], cum_weights=_cumulative(spec.size, spec.zipf))[0]]


_RANKS = range(1000)


@cache
def _cumulative(size: int, zipf: float) -> tuple[float, ...]:
    return tuple(accumulate(1.0 / (rank + 1) ** zipf for rank in range(size)))
