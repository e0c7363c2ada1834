"""What is on disk: the logs, the checkpoint, and what was refused."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Final

from monitor.doctor.finding import Finding, fail, ok, skipped, warn
from monitor.doctor.installation import Installation
from monitor.errors import LogError
from monitor.log.checkpoint import Checkpoint, read_any_checkpoint
from monitor.log.segments import read_log, segment_starts

READ_FOR_S: Final = 4.0
MAX_CHECKPOINT_BYTES: Final = 1024 * 1024 * 1024
TAIL_BYTES: Final = 256 * 1024
RECENT_S: Final = 3600.0
OLD_INTERVALS: Final = 10


def action_log(installation: Installation) -> Finding:
    """Say whether the action log can be read."""
    return _log(
        installation.state / "log", "action log", "what was acknowledged after that place cannot be replayed"
    )


def feed_log(installation: Installation) -> Finding:
    """Say whether the feed's log can be read."""
    return _log(installation.state / "feed", "feed's log", "nobody can resume from before that place")


def audit_log(installation: Installation) -> Finding:
    """Say whether the trail of who did what can be read."""
    return _log(installation.state / "audit", "audit trail", "who did what after that place is not known")


def checkpoint(installation: Installation) -> Finding:
    """Say whether the next start goes on from the models on disk, and how old they are."""
    file = installation.state / "checkpoint"
    try:
        found_file = file.stat()
    except FileNotFoundError:
        return _without_checkpoint(installation)
    if found_file.st_size > MAX_CHECKPOINT_BYTES:
        return skipped(f"the checkpoint has {found_file.st_size / 1e9:.1f} GB, too much to read it here")
    found = read_any_checkpoint(file)
    if isinstance(found, str):
        return fail(found, "delete it: the next start replays the log from its start, which takes longer")
    if (why := _mismatch(installation, found)) is not None:
        return why
    age_s = time.time() - found_file.st_mtime
    interval_s = installation.config.log.checkpoint_interval_s
    if installation.is_running and age_s > OLD_INTERVALS * interval_s and _is_growing(installation, found):
        return warn(
            f"the checkpoint is {age_s:.0f} s old, though actions come in",
            "look for 'no checkpoint' in the daemon's log: the next start replays everything since then",
        )
    return ok(f"the models were written {age_s:.0f} s ago, after entry {found.seq}")


def dead_letters(installation: Installation) -> Finding:
    """Say whether actions were refused lately, and what was wrong with them."""
    file = installation.state / "dead-letters.ndjson"
    try:
        found = file.stat()
    except FileNotFoundError:
        return ok("no action was ever refused")
    lines = _tail(file)
    if time.time() - found.st_mtime > RECENT_S:
        return ok("no action was refused in the last hour")
    fields = [str(line.get("field", "")) for line in lines]
    usual = max(set(fields), key=fields.count) if fields else ""
    about = f", most often because of the field {usual[:80]!a}" if usual else ""
    return warn(
        f"actions were refused in the last hour{about}",
        f"see {file}: their agents are watched with gaps until their sensor is put right",
    )


def _log(directory: Path, name: str, loss: str) -> Finding:
    if not directory.is_dir():
        return warn(f"there is no {name}", "the daemon makes it when it first starts")
    try:
        starts = segment_starts(directory)
        segments, entries = _verified(directory, starts)
    except (LogError, OSError) as error:
        return fail(
            f"the {name} is damaged: {error}",
            f"copy {directory} away and bring it back from a backup; {loss}",
        )
    torn = sorted(directory.glob("*.torn"))
    if torn:
        return warn(
            f"{len(torn)} torn tails were cut off the {name}, the last at {torn[-1].name}",
            "nothing acknowledged was in them; find out what ended the machine or the disk, and delete them",
        )
    return ok(f"the newest {segments} of {len(starts)} segments of the {name} are whole ({entries} entries)")


def _verified(directory: Path, starts: list[int]) -> tuple[int, int]:
    """Read segments, the newest first, for as long as there is time; return how many, and their entries."""
    until_s = time.monotonic() + READ_FOR_S
    entries, end = 0, None
    for count, start in enumerate(reversed(starts), 1):
        for frame in read_log(directory, start):
            if end is not None and frame.first_seq >= end:
                break
            entries += frame.entries
        end = start
        if time.monotonic() > until_s:
            return count, entries
    return len(starts), entries


def _mismatch(installation: Installation, found: Checkpoint) -> Finding | None:
    """Return why a daemon of this version and configuration could not go on from the checkpoint."""
    secret = installation.state / "secret"
    if not secret.exists() or (installation.config_path is None and not installation.is_running):
        return None
    from monitor.engines.state_format import fingerprint  # brings the detectors with it

    seed = int.from_bytes(hashlib.sha256(secret.read_bytes()).digest()[:8], "little")
    if found.fingerprint == fingerprint(installation.config, seed):
        return None
    return warn(
        "the checkpoint was made under another version, secret, or [detection] configuration",
        "the next start replays the log from its start to make the models anew; leave it the time",
    )


def _without_checkpoint(installation: Installation) -> Finding:
    starts = segment_starts(installation.state / "log")
    if len(starts) <= 1:
        return ok("there is no checkpoint yet, and little to replay")
    return warn(
        f"there is no checkpoint, and {len(starts)} segments of the log",
        "look for 'no checkpoint' in the daemon's log: the next start replays all of them",
    )


def _is_growing(installation: Installation, found: Checkpoint) -> bool:
    return any(True for _ in read_log(installation.state / "log", found.seq + 1))


def _tail(file: Path) -> list[dict[str, object]]:
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - TAIL_BYTES))
        lines = stream.read().splitlines()
    found = []
    for line in lines:
        try:
            document = json.loads(line)
        except ValueError:
            continue  # the first one is cut
        if isinstance(document, dict):
            found.append(document)
    return found
