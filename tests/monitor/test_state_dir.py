"""The daemon's directory."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from monitor.errors import DaemonError
from monitor.state_dir import Address, StateDir, write_private


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_directory_and_its_secrets_are_for_their_owner_only(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "deep" / "state")
    state.secret()
    state.announce(Address("http://127.0.0.1:1", "unix:///s", 7))
    assert mode(state.path) == 0o700
    assert {mode(state.path / name) for name in ("secret", "daemon.json")} == {0o600}


def test_the_secret_is_made_once_and_kept(tmp_path: Path) -> None:
    first, again = StateDir(tmp_path), StateDir(tmp_path)
    assert first.secret() == again.secret()
    assert len(first.secret()) == 32


def test_two_installations_share_nothing(tmp_path: Path) -> None:
    one, other = StateDir(tmp_path / "one"), StateDir(tmp_path / "other")
    assert one.secret() != other.secret()


def test_an_announced_daemon_is_found_until_it_takes_it_back(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    address = Address("http://127.0.0.1:8787", "redis://127.0.0.1:6379/0", 42)
    state.announce(address)
    assert state.address() == address
    state.retract()
    state.retract()
    with pytest.raises(DaemonError, match="killcord up"):
        state.address()


@pytest.mark.parametrize("content", ["", "[]", "{}", "7", '{"url": "http://x"}', '{"url": 1, "nonsense": 2}'])
def test_a_damaged_announcement_raises_our_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "daemon.json").write_text(content)
    with pytest.raises(DaemonError, match=r"daemon\.json"):
        StateDir(tmp_path).address()


def test_a_damaged_secret_raises_our_error(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"short")
    with pytest.raises(DaemonError, match="5 bytes"):
        StateDir(tmp_path).secret()


def test_a_directory_that_cannot_be_made_raises_our_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DaemonError, match="--state"):
        StateDir(tmp_path / "file" / "state")


def test_a_file_is_replaced_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "secret"
    write_private(file, b"first")

    def fail(_: int) -> None:
        raise OSError("no space")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space"):
        write_private(file, b"second")
    assert file.read_bytes() == b"first"


def test_looking_for_a_daemon_makes_no_directory(tmp_path: Path) -> None:
    with pytest.raises(DaemonError, match="there is no state directory"):
        StateDir.existing(tmp_path / "nope")
    assert not (tmp_path / "nope").exists()
    assert StateDir.existing(tmp_path).path == tmp_path
