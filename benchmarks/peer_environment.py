"""An environment for other people's packages, apart from ours: what it holds is pinned by hash."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parent.parent
INSTALL_S: Final = 600.0

Say = Callable[[str], None]


class NoPeers(Exception):
    """The peers could not be installed or did not run; the message says why."""


class PeerEnvironment(NamedTuple):
    """Where peers live, and the lock file that says which."""

    home: Path
    lock: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.home / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")

    def install(self, say: Say) -> None:
        """Make the environment unless it is there.

        Raises
        ------
        NoPeers
            If there is no package index, or one without these versions.
        """
        wanted = hashlib.sha256(self.lock.read_bytes()).hexdigest()
        stamp = self.home / "installed"
        if stamp.exists() and stamp.read_text() == wanted:
            return
        say("peers: installing (once) ...")
        try:
            venv.create(self.home, with_pip=True, clear=True)
            subprocess.run(
                [str(self.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                 "--require-hashes", "--no-deps", "--only-binary", ":all:", "-r", str(self.lock)],
                check=True, capture_output=True, text=True, timeout=INSTALL_S,
            )  # fmt: skip
        except subprocess.CalledProcessError as error:
            last = (error.stderr or "").strip().splitlines()
            raise NoPeers(f"pip: {last[-1][:200] if last else error.returncode}") from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NoPeers(f"{type(error).__name__}; is there a package index?") from error
        stamp.write_text(wanted)

    def ask(self, module: str, *arguments: str, lines: Iterable[str], timeout_s: float, say: Say) -> Any:
        """Return the JSON that a module of ours prints when it runs among the peers; they are installed if need be.

        Parameters
        ----------
        lines
            What it reads from its standard input.

        Raises
        ------
        NoPeers
            If they cannot be installed, or it does not run.
        """
        self.install(say)
        with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryFile("w+") as told:
            told.writelines(f"{line}\n" for line in lines)
            told.seek(0)
            try:
                done = subprocess.run(
                    [str(self.python), "-m", module, *arguments],
                    cwd=directory, env={**os.environ, "PYTHONPATH": str(ROOT)},  # some leave files where they run
                    stdin=told, stdout=subprocess.PIPE, check=True, timeout=timeout_s,
                )  # fmt: skip
            except (OSError, subprocess.SubprocessError) as error:
                raise NoPeers(f"{' '.join([module, *arguments])}: {type(error).__name__}") from error
        return json.loads(done.stdout)

    def versions(self, packages: Iterable[str]) -> dict[str, str]:
        """Return the installed versions by name."""
        script = (
            "import json, sys; from importlib.metadata import version;"
            "print(json.dumps({name: version(name) for name in sys.argv[1:]}))"
        )
        done = subprocess.run(
            [str(self.python), "-c", script, *packages], check=True, capture_output=True, text=True
        )
        found: dict[str, str] = json.loads(done.stdout)
        return found
