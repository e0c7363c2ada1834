"""A real server for every test: one shared, with a prefix of its own per test, or one to break."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.faults import Server
from killswitch import Guard, Switch

ROOT = Path(__file__).resolve().parents[2]
POINT = Path(__file__).with_name("point.py")


class Point:
    """An enforcement point in another process, asked over its pipes."""

    def __init__(self, url: str, prefix: str, lease_s: float = 5.0) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(POINT), url, prefix, str(lease_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self.name = self._read()

    def ask(self, command: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return self._read()

    def check(self, agent: str) -> str:
        """'allowed', or the name of the error and its message."""
        return self.ask(f"check {agent}")

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def until(claim: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Return as soon as `claim` holds; fail the test if it does not within the time."""
    deadline_s = time.monotonic() + timeout_s
    pause = threading.Event()
    while not claim():
        assert time.monotonic() < deadline_s, "did not come true in time"
        pause.wait(0.002)


def refuses(guard: Guard, **names: Any) -> bool:
    from killswitch import Refused

    try:
        guard.check(**names)
    except Refused:
        return True
    return False


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("valkey"))
    yield server
    server.close()


@pytest.fixture
def url(shared: Server) -> str:
    return shared.url


@pytest.fixture
def prefix() -> str:
    return f"{{{uuid.uuid4().hex}}}:"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Server]:
    """A server of the test's own, to kill, restart, pause and flush."""
    server = Server(tmp_path / "valkey")
    yield server
    server.close()


@pytest.fixture
def switch(url: str, prefix: str) -> Iterator[Switch]:
    with Switch(url, prefix=prefix) as switch:
        yield switch


@pytest.fixture
def connect(url: str, prefix: str) -> Iterator[Callable[..., Guard]]:
    """Make guards that are closed after the test."""
    guards: list[Guard] = []

    def make(at: str = url, **options: Any) -> Guard:
        guards.append(Guard.connect(at, **{"prefix": prefix, **options}))
        return guards[-1]

    yield make
    for guard in guards:
        guard.close()


@pytest.fixture
def guard(connect: Callable[..., Guard]) -> Guard:
    return connect(name="the-guard")


@pytest.fixture
def start_point(prefix: str) -> Iterator[Callable[..., Point]]:
    points: list[Point] = []

    def start(url: str, lease_s: float = 5.0) -> Point:
        points.append(Point(url, prefix, lease_s))
        return points[-1]

    yield start
    for point in points:
        point.close()
