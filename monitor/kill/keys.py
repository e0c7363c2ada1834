"""The daemon's private key and the keyring in force, in the state directory.

daemon.key     the daemon's Ed25519 key (mode 0600): vouches for the state, and restores while no operator is enrolled
keyring.json   the public keys of everybody; what enforcement points are given when they start
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from killswitch import Keyring, PublicKey, Signer, Switch
from monitor.state_dir import StateDir, write_private

KEY_FILE = "daemon.key"
KEYRING_FILE = "keyring.json"


class Keys(NamedTuple):
    """What signs, and by what it is judged; None where there is none."""

    signer: Signer | None
    keyring: Keyring | None


def open_keys(state: StateDir) -> Keys:
    """Return the daemon's key and the keyring, made on first use; raises BadKey if they are damaged."""
    file = state.path / KEY_FILE
    if not file.exists():
        Signer.generate("daemon").save(file)
    signer = Signer.load(file)
    if not keyring_file(state).exists():
        keep_keyring(state, Keyring.founding(PublicKey(signer.name, "daemon", signer.public)))
    return Keys(signer, Keyring.load(keyring_file(state)))


def known_keys(directory: Path) -> Keys:
    """Return what there is in a state directory, making nothing: for commands that run beside the daemon."""
    key, keyring = directory / KEY_FILE, directory / KEYRING_FILE
    if not keyring.exists():
        return Keys(None, None)
    return Keys(Signer.load(key) if key.exists() else None, Keyring.load(keyring))


def keyring_file(state: StateDir) -> Path:
    """Return where the keyring lies; give it to enforcement points."""
    return state.path / KEYRING_FILE


def keep_keyring(state: StateDir, keyring: Keyring) -> None:
    """Replace the keyring on disk."""
    write_private(keyring_file(state), keyring.encode())


def follow_keyring(state: StateDir, switch: Switch) -> bool:
    """Take up a keyring that was published since, on disk and in `switch`; say whether there was one."""
    latest = switch.latest_keyring()
    if latest is None or latest == switch.keyring:
        return False
    keep_keyring(state, latest)
    switch.use_keyring(latest)
    return True
