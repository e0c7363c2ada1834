"""Keys and keyrings for tests: made once, since making a key in pure Python takes a while."""

from __future__ import annotations

from hypothesis import strategies as st

from killswitch import Keyring, PublicKey, Signer

DAEMON = Signer("daemon", b"d" * 32)
RECOVERY = Signer("safe", b"r" * 32)
PEOPLE = tuple(Signer(f"person-{number}", bytes([number]) * 32) for number in range(6))
STRANGER = Signer("person-1", b"s" * 32)


def keyring(
    people: int = 3, quorum: dict[str, int] | None = None, *, version: int = 1, recovery: bool = True
) -> Keyring:
    """A keyring with the daemon, the first so many people, and the key in the safe."""
    keys = [PublicKey.of(DAEMON, "daemon"), *(PublicKey.of(one, "operator") for one in PEOPLE[:people])]
    if recovery:
        keys.append(PublicKey.of(RECOVERY, "recovery"))
    return Keyring(version, tuple(keys), {"*": min(2, people)} if quorum is None else quorum)


@st.composite
def keyrings(draw: st.DrawFn, version: int | None = None) -> Keyring:
    people = draw(st.integers(0, len(PEOPLE)))
    numbers = st.integers(0, people)
    quorum = draw(st.dictionaries(st.sampled_from(["*", "agent", "session", "fleet"]), numbers))
    found = draw(st.integers(1, 1_000)) if version is None else version
    return keyring(people, quorum, version=found, recovery=draw(st.booleans()))
