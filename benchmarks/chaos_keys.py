"""The keys of a chaos run: the daemon's, two operators', and the keyring that writers and points hold."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from killswitch.targets import Target
from killswitch.trust.approvals import Approval, Petition, approve
from killswitch.trust.keyring import Keyring, PublicKey
from killswitch.trust.signing import Signer
from monitor.kill.keys import KEY_FILE, KEYRING_FILE

OPERATORS: Final = ("alice", "bob")
VOTE_VALID_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Keys:
    """Private keys and the keyring that makes them count, whose file is ``path``."""

    daemon: Signer
    operators: tuple[Signer, ...]
    keyring: Keyring
    path: Path

    @classmethod
    def generate(cls, state: Path) -> Keys:
        """Return fresh keys; the daemon's own and the keyring lie in its state directory, as if enrolled there."""
        daemon = Signer.generate("daemon")
        operators = tuple(Signer.generate(name) for name in OPERATORS)
        keyring = Keyring.founding(
            PublicKey.of(daemon, "daemon"), [PublicKey.of(operator, "operator") for operator in operators]
        )
        state.mkdir(mode=0o700, parents=True)
        daemon.save(state / KEY_FILE)
        path = state / KEYRING_FILE
        path.write_bytes(keyring.encode())
        path.chmod(0o600)
        return cls(daemon, operators, keyring, path)

    def switch_options(self) -> dict[str, Any]:
        """Return what a program that kills and restores gives to its Switch."""
        return {"signer": self.daemon, "keyring": self.keyring}

    def votes(self, target: Target, lifts: str) -> tuple[Approval, ...]:
        """Return the votes of all operators for lifting the record with the change id `lifts`."""
        now_s = time.time()
        petition = Petition.open(target, lifts, reason="chaos", by="chaos", now_s=now_s, valid_s=VOTE_VALID_S)
        return tuple(approve(petition, operator, now_s) for operator in self.operators)


def guard_options(arguments: list[str]) -> dict[str, Any]:
    """Return what a point gives to its Guard; `arguments` holds its keyring's path or nothing."""
    return {"keyring": Keyring.load(Path(arguments[0]))} if arguments else {}
