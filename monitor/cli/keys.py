"""`killcord keys`: make keys, look at the keyring, and replace it by one that enough of its keys have signed."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from killswitch import BadKey, BadRecord, InvalidRequest, Keyring, PublicKey, SignedKeyring, Signer, Switch
from killswitch.trust.keyring import ANY_KIND, MAX_KEYRING_BYTES
from monitor.cli.asking import ask, has_terminal
from monitor.cli.main import DONE, REFUSED
from monitor.cli.outcome import keys_of, open_switch
from monitor.kill.keys import KEYRING_FILE
from monitor.state_dir import write_private

TIMEOUT_S = 2.0
PUBLISHED = "keyrings"  # in the state directory: what was published, one file a version


def new(options: argparse.Namespace) -> int:
    """Make a private key and print the line by which others add it."""
    signer = Signer.generate(options.name)
    signer.save(options.out)
    key = PublicKey.of(signer, options.role)
    print(json.dumps(_key_fields(key)) if options.json else key.line())
    return DONE


def show(options: argparse.Namespace) -> int:
    """Print the keyring in force."""
    keyring = _current(options)
    print(json.dumps(_fields(keyring)) if options.json else _text(keyring))
    return DONE


def propose(options: argparse.Namespace) -> int:
    """Write the successor of the keyring in force, unsigned."""
    current = _current(options)
    added = [PublicKey.parse(line) for line in options.add]
    unknown = set(options.remove) - {key.name for key in current.keys}
    if unknown:
        raise InvalidRequest("--remove", f"{', '.join(sorted(unknown))} is not on the keyring")
    kept = [key for key in current.keys if key.name not in options.remove]
    keys = (*kept, *added)
    operators = sum(key.role == "operator" for key in keys)
    quorum = _quorum(current, options.quorum, operators)
    proposed = SignedKeyring(Keyring(current.version + 1, keys, quorum))
    try:
        with options.out.open("xb") as file:
            file.write(proposed.encode() + b"\n")
    except OSError as error:
        raise InvalidRequest("--out", f"cannot write {options.out}: {error.strerror}") from error
    print(_changes(current, proposed.keyring))
    print(_who_must_sign(current, proposed, options.out))
    return DONE


def sign(options: argparse.Namespace) -> int:
    """Show what a proposed keyring would change, and sign it."""
    current, proposed = _current(options), _load(options.file)
    signer = Signer.load(options.key)
    print(_changes(current, proposed.keyring))
    if has_terminal() and not options.yes and ask(f"Sign this as {signer.name}? Type yes:") != "yes":
        return REFUSED
    signed = proposed.signed_by(signer)
    if not any(key.id == signer.key_id for key in signed.signers(current)):
        raise BadKey(f"{signer.name}'s key is not on the keyring in force, so the signature would not count")
    _save(options.file, signed)
    print(_who_must_sign(current, signed, options.file))
    return DONE


def publish(options: argparse.Namespace) -> int:
    """Hand a signed keyring to all points and daemons, if those that hold the one in force will take it.

    Without a file: hand out again what was published from here, for a store that lost it.
    """
    current, kept = _current(options), options.state / PUBLISHED
    with open_switch(options, TIMEOUT_S) as switch:
        if options.file is None:
            return _publish_again(switch, kept)
        proposed = _load(options.file)
        current = switch.latest_keyring() or current
        if proposed.keyring != current and not current.accepts(proposed):
            print(_changes(current, proposed.keyring), file=sys.stderr)
            print(_who_must_sign(current, proposed, options.file), file=sys.stderr)
            return REFUSED
        switch.publish_keyring(proposed)
    if options.keyring is None:
        kept.mkdir(mode=0o700, exist_ok=True)
        _save(kept / f"{proposed.keyring.version}.json", proposed)
    _save(options.keyring or options.state / KEYRING_FILE, proposed)
    print(f"version {proposed.keyring.version} is in force; points and daemons take it as they hear of it")
    return DONE


def _publish_again(switch: Switch, kept: Path) -> int:
    keyrings = sorted(map(_load, kept.glob("*.json")), key=lambda signed: signed.keyring.version)
    if not keyrings:
        raise InvalidRequest("FILE", f"nothing was published from here ({kept}); name the file")
    for signed in keyrings:
        switch.publish_keyring(signed)
    print(f"published again: version {', '.join(str(signed.keyring.version) for signed in keyrings)}")
    return DONE


def _current(options: argparse.Namespace) -> Keyring:
    keyring = keys_of(options).keyring
    if keyring is None:
        raise InvalidRequest(
            "--keyring", "there is none in the state directory: start a daemon, or name the file"
        )
    return keyring


def _load(path: Path) -> SignedKeyring:
    try:
        with path.open("rb") as file:
            return SignedKeyring.decode(file.read(MAX_KEYRING_BYTES + 1))
    except OSError as error:
        raise InvalidRequest("FILE", f"cannot read {path}: {error.strerror}") from error
    except BadRecord as error:
        raise BadKey(f"{path} is no proposed keyring: {error}") from error


def _save(path: Path, signed: SignedKeyring) -> None:
    try:
        write_private(path, signed.encode() + b"\n")
    except OSError as error:
        raise InvalidRequest("FILE", f"cannot write {path}: {error.strerror}") from error


def _quorum(current: Keyring, wanted: list[str], operators: int) -> dict[str, int]:
    """Return the quorum with each ``N``, ``KIND=N`` or ``KIND=`` (back to that of all others) applied."""
    quorum = dict(current.quorum)
    if not wanted and not current.operators:
        quorum[ANY_KIND] = min(2, operators)  # the first people: from now on they, not the daemon, restore
    for text in wanted:
        kind, equals, number = text.rpartition("=")
        kind = kind if equals else ANY_KIND
        if equals and not number and kind != ANY_KIND:
            quorum.pop(kind, None)
        elif number.isascii() and number.isdigit() and len(number) < 5:
            quorum[kind] = int(number)
        else:
            raise InvalidRequest("--quorum", f"{text!r}: expected a number, KIND=NUMBER or KIND=")
    return quorum


def _changes(current: Keyring, proposed: Keyring) -> str:
    """Return in words what would change."""
    before, after = set(current.keys), set(proposed.keys)
    lines = [f"version {current.version} -> {proposed.version}"]
    lines += [f"  removes {key.line()}" for key in current.keys if key not in after]
    lines += [f"  adds    {key.line()}" for key in proposed.keys if key not in before]
    if current.quorum != proposed.quorum:
        lines.append(f"  quorum  {_quorum_text(current.quorum)} -> {_quorum_text(proposed.quorum)}")
    if proposed.operators and proposed.rotation_quorum == 0:
        lines.append("  warning: with a quorum of 0 the daemon's key restores alone; say --quorum 2")
    if proposed.operators and not any(key.role == "recovery" for key in proposed.keys):
        lines.append("  warning: no recovery key; if operators lose their keys, nothing can be restored")
    return "\n".join(lines)


def _who_must_sign(current: Keyring, proposed: SignedKeyring, path: Path) -> str:
    short = current.short(proposed.signers(current), current.rotation_quorum)
    names = ", ".join(key.name for key in proposed.signers(current)) or "nobody yet"
    if proposed.keyring.version != current.version + 1:
        return f"version {current.version} is in force, so the next has to be {current.version + 1}: propose again"
    if not short:
        return f"signed by {names}: killcord keys publish {path}"
    whose = (
        "the daemon's key or an operator's"
        if current.rotation_quorum == 0
        else f"{short} more operator{'s' if short > 1 else ''}"
    )
    return f"signed by {names}; needs {whose}: killcord keys sign {path} --key FILE"


def _text(keyring: Keyring) -> str:
    width = max(len(key.name) for key in keyring.keys)
    lines = [f"version {keyring.version}, quorum {_quorum_text(keyring.quorum)}"]
    lines += [f"  {key.name:{width}}  {key.role:8}  {key.id}" for key in keyring.keys]
    return "\n".join(lines)


def _quorum_text(quorum: Mapping[str, int]) -> str:
    return ", ".join(f"{kind}={number}" for kind, number in quorum.items())


def _fields(keyring: Keyring) -> dict[str, Any]:
    return {
        "version": keyring.version,
        "quorum": dict(keyring.quorum),
        "keys": [_key_fields(key) for key in keyring.keys],
    }


def _key_fields(key: PublicKey) -> dict[str, str]:
    return {"name": key.name, "role": key.role, "id": key.id, "line": key.line()}
