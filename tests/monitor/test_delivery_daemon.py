"""Deliveries of the whole daemon: killed at any moment, to receivers that fail, and asked about on the command line."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from monitor.delivery.events import read_event
from monitor.log.segments import read_log
from tests.monitor.daemons import FAST_CONFIG, RunningDaemon
from tests.monitor.delivery_feed import KEY, private
from tests.monitor.test_daemon import AGENTS, WARM, habits, hijacked

Run = Callable[..., subprocess.CompletedProcess[str]]


class Receiver:
    """An HTTP server in threads that fails at random, in every way that receivers do, with a share of `failing`."""

    def __init__(self, failing: float) -> None:
        self.failing = failing
        self.taken: list[tuple[str, dict[str, Any]]] = []
        self._rng = random.Random(5)
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                receiver.answer(self)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["content-length"]))
        with self._lock:
            failure = (
                self._rng.choice([500, 429, 503, "before", "after"])
                if self._rng.random() < self.failing
                else None
            )
            if failure in (None, "after"):  # taken, and the answer lost
                self.taken.append((request.headers["webhook-id"], json.loads(body)))
        if failure in ("before", "after"):
            request.close_connection = True
            return
        with contextlib.suppress(OSError):
            request.send_response(failure if isinstance(failure, int) else 200)
            request.send_header("content-length", "0")
            request.end_headers()


def configured(tmp_path: Path, url: str) -> str:
    secret = private(tmp_path, KEY)
    route = f'[[delivery.routes]]\nname = "{{}}"\nkind = "webhook"\nurl = "{url}"\nsecret_file = "{secret}"\n'
    dead = route.format("dead").replace(
        url, "http://127.0.0.1:9/"
    )  # nobody listens: may not matter to the other
    return FAST_CONFIG + route.format("hook") + dead


def status(daemon: RunningDaemon, name: str = "hook") -> dict[str, Any]:
    return next(route for route in daemon.get("/v1/deliveries")["routes"] if route["name"] == name)


def logged(state: Path) -> list[int]:
    """The numbers of all alerts in the feed's log."""
    return [frame.first_seq for frame in read_log(state / "feed") if read_event(frame)]


def test_every_alert_arrives_in_order_at_least_once_whatever_fails_and_whenever_the_daemon_is_killed(
    tmp_path: Path,
) -> None:
    rng = random.Random(11)
    with Receiver(failing=0.3) as receiver:
        with RunningDaemon(tmp_path / "state", configured(tmp_path, receiver.url)) as daemon:
            daemon.send(habits(WARM))
            for cycle in range(5):
                killer = threading.Timer(
                    rng.uniform(0.3, 1.5), lambda: daemon.process.send_signal(signal.SIGKILL)
                )
                killer.start()
                with contextlib.suppress(OSError, HTTPException, AssertionError):
                    for number in range(200):
                        agent = AGENTS[number % len(AGENTS)]
                        daemon.send([hijacked(1000 * cycle + number, agent)])
                killer.join()
                daemon.process.wait(10)
                daemon.process.stdout.close()
                daemon.start()
            daemon.wait_for(lambda: daemon.metric("killcord_backlog_actions") == 0, "every action scored")
            receiver.failing = 0.0
            daemon.wait_for(lambda: status(daemon)["behind"] == 0, "every alert delivered")
            assert status(daemon)["set_aside"] == 0
            assert status(daemon, "dead")["state"] == "retrying"
            assert daemon.stop() == 0
        once = dict(receiver.taken)
    expected = logged(tmp_path / "state")
    assert len(expected) > 20
    assert [message["seq"] for message in once.values()] == expected
    assert len(receiver.taken) > len(expected), "some came twice, which their ids told"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver(failing=0.0) as running:
        yield running


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[RunningDaemon]:
    folder = tmp_path_factory.mktemp("deliveries")
    with RunningDaemon(folder / "state", configured(folder, receiver.url)) as running:
        yield running


@pytest.fixture
def run(daemon: RunningDaemon) -> Run:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            "-m",
            "monitor.cli",
            "deliveries",
            *arguments,
            "--state",
            str(daemon.state),
        ]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    return run


def test_the_command_line_shows_how_the_routes_stand(run: Run) -> None:
    done = run()
    assert "hook (webhook): waiting, 0 sent, 0 behind" in done.stdout
    told = json.loads(run("--json").stdout)
    assert [route["name"] for route in told["routes"]] == ["hook", "dead"]
    assert set(told["routes"][0]) == {
        "name", "kind", "filter", "cursor", "behind", "sent", "failed", "set_aside", "missed", "last_error",
        "last_sent_at", "state",
    }  # fmt: skip


def test_a_test_is_sent_through_the_real_path(run: Run, receiver: Receiver) -> None:
    before = len(receiver.taken)
    done = run("test", "hook")
    assert (done.returncode, done.stdout) == (0, "hook: a test was delivered\n")
    assert [message["test"] for _, message in receiver.taken[before:]] == [True, True]


def test_a_test_that_does_not_arrive_says_why(run: Run) -> None:
    done = run("test", "dead")
    assert done.returncode == 1
    assert done.stdout.startswith("dead: not delivered: no answer: ")
    assert json.loads(run("test", "dead", "--json").stdout)["delivered"] is False


def test_the_metrics_tell_the_routes_apart(daemon: RunningDaemon) -> None:
    lines = daemon.request("GET", "/metrics")[1].splitlines()
    for name in ("sent_total", "failed_total", "behind"):
        assert {f'killcord_deliveries_{name}{{route="{route}"}} 0.0' for route in ("hook", "dead")} <= set(
            lines
        )
    assert 'killcord_deliveries_lost_total{route="hook",why="missed"} 0.0' in lines


def test_a_test_names_its_route(run: Run) -> None:
    assert run("test").returncode == 2
    unknown = run("test", "nobody")
    assert unknown.returncode == 1
    assert "hook, dead" in unknown.stderr


@pytest.mark.parametrize(
    ("role", "expected"), [("sensor", 403), ("auditor", 403), ("analyst", 200), (None, 401)]
)
def test_a_test_takes_a_role_that_may_triage(daemon: RunningDaemon, role: str | None, expected: int) -> None:
    assert daemon.request("POST", "/v1/deliveries/hook/test", role=role)[0] == expected


def test_a_wrong_route_keeps_the_daemon_from_starting_and_is_named(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text(configured(tmp_path, "http://127.0.0.1:9/"))
    (tmp_path / "secret").chmod(0o644)
    command = [
        sys.executable,
        "-m",
        "monitor.cli",
        "up",
        "--state",
        str(tmp_path / "s"),
        "--config",
        str(config),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "delivery.routes.0.secret_file" in done.stderr
