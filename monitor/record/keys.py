"""The key that signs the record's checkpoints, in the state directory.

record.key     the private key (mode 0600)
record.vkey    its public key in the form that auditors are given (c2sp.org/signed-note)
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Final

from killswitch.trust import ed25519
from monitor.errors import DaemonError
from monitor.proof.notes import Signer, Verifier
from monitor.state_dir import StateDir, write_private

KEY_FILE: Final = "record.key"
VKEY_FILE: Final = "record.vkey"


def open_key(state: StateDir, origin: str) -> Signer:
    """Return the key, made on first use for this origin; raises `DaemonError` if its file is damaged."""
    file = state.path / KEY_FILE
    if not file.exists():
        seed = ed25519.generate()
        digest = hashlib.sha256(ed25519.public_key(seed)).hexdigest()
        name = origin or f"killcord/{digest[:12]}"
        write_private(file, json.dumps({"name": name, "seed": seed.hex()}).encode())
    try:
        held = json.loads(file.read_bytes())
        signer = Signer(held["name"], bytes.fromhex(held["seed"]))
    except (ValueError, KeyError, TypeError) as error:
        raise DaemonError(f"{file} is damaged: bring it back from a copy") from error
    write_private(state.path / VKEY_FILE, f"{signer.vkey}\n".encode())
    return signer


def known_key(directory: Path) -> Verifier | None:
    """Return the public key that lies in a state directory, None if there is none; raises `ProofError` if it is bad."""
    file = directory / VKEY_FILE
    return Verifier.parse(file.read_text().strip()) if file.exists() else None
