"""The kill path through TLS, whose sockets hold bytes back that no poll can see."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from benchmarks.faults import Server
from killswitch import Guard, LeaseExpired, StoreUnreachable, Switch, Target
from killswitch.storage.links import Link, Push
from tests.killswitch.conftest import refuses, until

BOT = Target("agent", "bot")
WHY: dict[str, Any] = {"reason": "test", "by": "tester"}
Connect = Callable[..., Guard]

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    directory = tmp_path_factory.mktemp("tls")
    paths = directory / "cert.pem", directory / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=store"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-out", str(paths[0]), "-keyout", str(paths[1])]
    subprocess.run(command, check=True, capture_output=True)
    return paths


class Front:
    """Takes TLS connections and passes what they say on to a plain port, from a loop in a thread."""

    def __init__(self, port: int, certificate: tuple[Path, Path]) -> None:
        self._port = port
        self._writers: list[asyncio.StreamWriter] = []
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*certificate)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context))
        port = self._server.sockets[0].getsockname()[1]
        self.bare_url = f"rediss://127.0.0.1:{port}"
        self.url = f"{self.bare_url}?ssl_ca_certs={certificate[0]}"

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += writer, inner_writer
        await asyncio.gather(self._pump(reader, inner_writer), self._pump(inner_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def _end(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))

    def close(self) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture
def front(own: Server, certificate: tuple[Path, Path]) -> Iterator[Front]:
    with closing(Front(own.port, certificate)) as front:
        yield front


def test_kills_and_restorations_go_through_tls(front: Front, prefix: str, connect: Connect) -> None:
    guard = connect(front.url)
    with Switch(front.url, prefix=prefix) as switch:
        outcome, containment = switch.revoke_and_wait(BOT, **WHY)
        assert (outcome.durable, containment.contained, containment.total) == (True, True, 1)
        assert containment.latencies[0].point.name == guard.status().name
        assert refuses(guard, agent="bot")
        assert switch.restore_and_wait(BOT, **WHY)[1].contained
    guard.check(agent="bot")


def test_a_certificate_that_nobody_vouches_for_is_no_store(front: Front) -> None:
    with pytest.raises(StoreUnreachable, match=r"(?i)certificate"):
        Link(front.bare_url, timeout_s=5.0)


def test_messages_of_one_record_are_all_taken_before_the_other_link_is_looked_at(
    front: Front, prefix: str
) -> None:
    push, link = Push(front.url, [prefix], timeout_s=5.0), Link(front.url, timeout_s=5.0)
    link.call("EVAL", "for i = 1, 200 do redis.call('PUBLISH', ARGV[1], ARGV[2]) end", 0, prefix, "x" * 500)
    link.send(["ECHO", "here"])
    heard = 0
    while heard < 200:  # more bytes than one read takes: the rest is decrypted already, and no poll sees it
        heard += push.receive(5.0, link) is not None
    assert link.receive() == b"here"
    push.ping("nonce")
    assert push.receive(5.0) == ("pong", b"", b"nonce")
    assert push.receive(0.0) is None
    assert push.receive(0.01) is None
    push.close()
    link.close()


def test_a_store_that_freezes_behind_tls_makes_points_refuse_within_their_lease(
    front: Front, own: Server, connect: Connect
) -> None:
    guard = connect(front.url, lease_s=0.5)
    own.pause()
    until(lambda: refuses(guard, agent="bot"))
    with pytest.raises(LeaseExpired):
        guard.check(agent="bot")
    own.resume()
    until(lambda: not refuses(guard, agent="bot"))
