"""A real Kafka broker for tests, without Docker: one JVM, KRaft mode, free loopback ports, a small heap.

>>> with Broker() as broker:            # doctest: +SKIP
...     connect(broker.address)         # "127.0.0.1:<port>"

It takes three to four seconds to start and about 180 MB of memory, so tests share one (fixture
``kafka_broker``) and keep apart by topic names.
"""

import contextlib
import ctypes
import functools
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from tests.kafka.jars import Unavailable, find_java, resolve, say

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
PORT_ATTEMPTS = 3  # a port can be taken between the moment we pick it and the moment Kafka binds it
LOG_TAIL_LINES = 30
PR_SET_PDEATHSIG = 1  # prctl(2)

# Serial collector and the first compiler tier: half the start time and memory of the defaults.
JVM_FLAGS = ("-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
LOG_FLAGS = ("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true")

# `auto.create.topics.enable=false`: a misspelt topic must fail, not appear. The initial rebalance delay (3 s)
# only serves big groups. After a crash the controller lets the broker back in once its old session has ended,
# hence the short one (9 s is the default). What is replicated thrice by default has one broker here.
PROPERTIES = """\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:{controller_port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={log_dir}
auto.create.topics.enable=false
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=500
group.initial.rebalance.delay.ms=0
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
log.cleaner.dedupe.buffer.size=4194304
"""
CLUSTER_ID = "MkU3OEVBNTcwNTJENDM2Qk"  # any 16 bytes in base64; each broker is a cluster of its own


class BrokerError(Exception):
    """The broker did not start; the message ends with the tail of its log."""


class _PortTaken(BrokerError):
    """Another program took one of the chosen ports first."""


@functools.cache
def available() -> str | None:
    """Return why there can be no broker here, or None if there can; resolves the jars the first time.

    The answer is kept for the process: a machine that is offline is asked once, not once a test.
    """
    try:
        find_java()
        resolve()
    except Unavailable as error:
        return str(error)
    return None


class Broker:
    """One Kafka broker and controller in one JVM; a context manager. Not safe for use by several threads.

    `stop` and `start` again keep ports and data, so a test can take the broker away and bring it back.

    Raises
    ------
    Unavailable
        When entered where no broker can be; ask `available` first.
    BrokerError
        When the broker ends or does not answer within `START_TIMEOUT_S`.
    """

    def __init__(self, say: Callable[[str], None] = say) -> None:
        self._say = say
        self._cleanup = contextlib.ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self._home = Path()
        self._port = 0

    @property
    def address(self) -> str:
        """Bootstrap server, ``127.0.0.1:<port>``."""
        return f"127.0.0.1:{self._port}"

    @property
    def pid(self) -> int | None:
        """Process id of the JVM while it runs, else None."""
        return self._process.pid if self._process else None

    def __enter__(self) -> Self:
        self._java = find_java()
        self._class_path = f"{resolve(say=self._say)}/*"
        self._say("kafka: starting a broker (a few seconds) ...")
        with contextlib.ExitStack() as undo:
            home = undo.enter_context(tempfile.TemporaryDirectory(prefix="killcord-kafka-"))
            undo.callback(self.stop)
            self._home = Path(home)
            self._start_on_free_ports()
            self._cleanup = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    def start(self) -> None:
        """Start the JVM on the ports and data of this broker and wait until it answers.

        Takes 2-4 s, after `kill` up to 7 s.
        """
        log = self._log_path.open("ab")
        with log:
            self._process = subprocess.Popen(
                self._java_command("kafka.Kafka", str(self._properties_path)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=_die_with_parent(),
            )
        self._wait_until_it_answers(self._process)

    def stop(self) -> None:
        """End the JVM: SIGTERM (a clean shutdown takes half a second), SIGKILL after `STOP_TIMEOUT_S`."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """End the JVM with SIGKILL, as a crash would; `start` recovers the data."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def log_tail(self, lines: int = LOG_TAIL_LINES) -> str:
        """Return the last lines the broker logged (warnings and errors)."""
        if not self._log_path.exists():
            return "(no log)"
        return "\n".join(self._log_path.read_text(errors="replace").splitlines()[-lines:])

    @property
    def _log_path(self) -> Path:
        return self._home / "broker.log"

    @property
    def _properties_path(self) -> Path:
        return self._home / "server.properties"

    def _start_on_free_ports(self) -> None:
        for attempt in range(1, PORT_ATTEMPTS + 1):
            self._format(*_free_ports())
            try:
                return self.start()
            except _PortTaken:
                self.stop()
                if attempt == PORT_ATTEMPTS:
                    raise

    def _format(self, port: int, controller_port: int) -> None:
        """Write the configuration for these ports and an empty log directory."""
        self._port = port
        self._properties_path.write_text(
            PROPERTIES.format(port=port, controller_port=controller_port, log_dir=self._home / "data")
        )
        command = self._java_command("kafka.tools.StorageTool", "format", "--ignore-formatted")
        command += ["-t", CLUSTER_ID, "-c", str(self._properties_path)]
        run = subprocess.run(command, capture_output=True, text=True, timeout=START_TIMEOUT_S, check=False)
        if run.returncode != 0:
            raise BrokerError(f"formatting the log directory failed:\n{run.stdout}{run.stderr}")

    def _java_command(self, *program: str) -> list[str]:
        return [self._java, *JVM_FLAGS, *LOG_FLAGS, "-cp", self._class_path, *program]

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline_s:
            if process.poll() is not None:
                kind = _PortTaken if "Address already in use" in self.log_tail(200) else BrokerError
                raise kind(f"the broker ended with status {process.returncode}:\n{self.log_tail()}")
            if _has_live_broker(self._port):
                return
            time.sleep(0.05)  # polling another process; the deadline bounds it
        raise BrokerError(f"no answer within {START_TIMEOUT_S:.0f} s:\n{self.log_tail()}")


def _has_live_broker(port: int) -> bool:
    """Ask for metadata (API 3, version 0): true once the controller lists a broker as alive.

    An open port is not enough: it opens before the broker may serve.
    """
    request = struct.pack(">hhihi", 3, 0, 1, -1, 0)  # correlation id 1, no client id, no topics
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            head = connection.makefile("rb").read(12)  # size, correlation id, number of brokers
    except OSError:
        return False
    return len(head) == 12 and struct.unpack(">iii", head)[2] > 0


def _free_ports() -> tuple[int, int]:
    """Return two distinct loopback ports that are free at this moment."""
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]


def _die_with_parent() -> Callable[[], object] | None:
    """Return what makes the child die with us (Linux): a killed test run must not leave a JVM behind."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return functools.partial(libc.prctl, PR_SET_PDEATHSIG, signal.SIGKILL)
