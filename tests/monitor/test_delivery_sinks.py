"""Each way out over a real socket or file: what arrives, and what becomes of what does not."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import re
import socket
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme

from monitor.delivery.apprise_sink import AppriseSink
from monitor.delivery.rotated_file import RotatedFile
from monitor.delivery.routes import RouteConfig
from monitor.errors import ConfigError
from tests.monitor.delivery_feed import KEY, alert, change, delivering, private
from tests.monitor.engines import until
from tests.monitor.receivers import OK, Answer, Got, http_receiver, syslog_receiver

ROUTING_KEY = "0123456789abcdef0123456789ABCDEF"
DASHBOARD = "https://watch.example.com"
CLOSING = change("close", "closed", reason="confirmed", comment="seen")


def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


def authority_file(tmp_path: Path, authority: trustme.CA) -> str:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return str(tmp_path / "ca.pem")


async def deliver(tmp_path: Path, route: RouteConfig, *messages: dict[str, Any]) -> dict[str, Any]:
    """Publish the messages at once, and return how the route stands when it has seen to all."""
    async with delivering(tmp_path, route) as (feed, deliveries):
        await feed.publish(messages)
        await until(lambda: deliveries.status()[0]["behind"] == 0)
        return deliveries.status()[0]


# -- webhook --------------------------------------------------------------------------------------------------------


async def test_a_receiver_can_check_the_signature_of_each_attempt(tmp_path: Path) -> None:
    async with http_receiver() as receiver:
        receiver.decide = lambda got: Answer(500) if len(receiver.asked) == 1 else OK
        route = RouteConfig(name="hook", kind="webhook", url=receiver.url, secret_file=private(tmp_path, KEY))
        await deliver(tmp_path, route, alert())
    assert len({got.headers["webhook-id"] for got in receiver.asked}) == 1
    for got in receiver.asked:
        signed = f"{got.headers['webhook-id']}.{got.headers['webhook-timestamp']}.".encode() + got.body
        key = base64.b64decode(KEY.removeprefix("whsec_"))
        mac = hmac.new(key, signed, hashlib.sha256).digest()
        assert got.headers["webhook-signature"] == "v1," + base64.b64encode(mac).decode()
        assert got.headers["content-type"] == "application/json"


async def test_over_tls_only_the_configured_authority_is_trusted(tmp_path: Path) -> None:
    authority = trustme.CA()
    keys = {"kind": "webhook", "secret_file": private(tmp_path, KEY)}
    async with http_receiver(server_tls(authority)) as receiver:
        trusting = RouteConfig(
            name="yes",
            url=receiver.url,
            ca_file=authority_file(tmp_path, authority),
            **keys,  # type: ignore[arg-type]
        )
        wary = RouteConfig(name="no", url=receiver.url, **keys)  # type: ignore[arg-type]
        async with delivering(tmp_path, trusting, wary) as (feed, deliveries):
            await feed.publish([alert()])
            await until(lambda: deliveries.status()[0]["sent"] == 1 and deliveries.status()[1]["failed"] > 1)
            assert "certificate" in deliveries.status()[1]["last_error"].lower()
    assert len(receiver.taken) == 1


async def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    async with http_receiver() as trap, http_receiver() as receiver:
        receiver.decide = lambda got: Answer(307, {"location": trap.url}) if len(receiver.asked) < 3 else OK
        route = RouteConfig(name="hook", kind="webhook", url=receiver.url, secret_file=private(tmp_path, KEY))
        await deliver(tmp_path, route, alert())
    assert (len(receiver.taken), trap.asked) == (1, [])


async def test_an_endless_answer_is_read_no_further_than_needed(tmp_path: Path) -> None:
    async with http_receiver() as receiver:
        receiver.decide = lambda got: Answer(400, body=b"x" * 50_000_000)
        route = RouteConfig(name="hook", kind="webhook", url=receiver.url, secret_file=private(tmp_path, KEY))
        assert (await deliver(tmp_path, route, alert()))["set_aside"] == 1
    assert (tmp_path / "delivery/hook/dead-letters.ndjson").stat().st_size < 10_000


# -- PagerDuty, Slack -----------------------------------------------------------------------------------------------


async def test_pagerduty_gets_its_key_and_closes_what_the_filter_does_not_know(tmp_path: Path) -> None:
    async with http_receiver() as receiver:
        receiver.decide = lambda got: Answer(202, body=b'{"status":"success"}')
        route = RouteConfig(
            name="pager",
            kind="pagerduty",
            url=receiver.url,
            secret_file=private(tmp_path, ROUTING_KEY + "\n"),
            filter="state:open",
            dashboard_url=DASHBOARD,
        )
        await deliver(tmp_path, route, alert(), alert(2, group={"state": "acknowledged"}), CLOSING)
    sent = [got.json for got in receiver.taken]
    assert [one["event_action"] for one in sent] == ["trigger", "resolve"]
    assert {one["routing_key"] for one in sent} == {ROUTING_KEY}
    assert {one["dedup_key"] for one in sent} == {"killcord:al-1"}


async def test_slack_gets_blocks_at_the_address_in_the_secret(tmp_path: Path) -> None:
    async with http_receiver() as receiver:
        receiver.decide = lambda got: Answer(200, body=b"ok")
        route = RouteConfig(name="chat", kind="slack", secret_file=private(tmp_path, receiver.url))
        status = await deliver(tmp_path, route, alert(), alert(2, group={"id": "al-1", "count": 2}), CLOSING)
    assert [got.json["blocks"][0]["type"] for got in receiver.taken] == ["header", "header"]
    assert "closed as confirmed by alice" in receiver.taken[1].json["blocks"][0]["text"]["text"]
    assert status["sent"] == 2


# -- OCSF -----------------------------------------------------------------------------------------------------------


async def test_findings_go_out_as_lines_in_batches(tmp_path: Path) -> None:
    async with http_receiver() as receiver:
        route = RouteConfig(
            name="lake",
            kind="ocsf_http",
            url=receiver.url,
            batch=10,
            secret_file=private(tmp_path, "Bearer abc"),
        )
        await deliver(tmp_path, route, *map(alert, range(1, 26)))
    assert [len(got.body.splitlines()) for got in receiver.taken] == [10, 10, 5]
    assert {got.headers["authorization"] for got in receiver.taken} == {"Bearer abc"}
    assert {got.headers["content-type"] for got in receiver.taken} == {"application/x-ndjson"}
    lines = [json.loads(line) for got in receiver.taken for line in got.body.splitlines()]
    assert [line["metadata"]["sequence"] for line in lines] == list(range(1, 26))


async def test_with_a_batch_of_one_each_finding_is_an_object(tmp_path: Path) -> None:
    async with http_receiver() as receiver:
        route = RouteConfig(name="lake", kind="ocsf_http", url=receiver.url, batch=1)
        await deliver(tmp_path, route, alert(1), alert(2))
    assert [got.json["class_uid"] for got in receiver.taken] == [2004, 2004]
    assert receiver.taken[0].headers["content-type"] == "application/json"


async def test_the_one_at_fault_in_a_batch_is_set_aside_alone(tmp_path: Path) -> None:
    def decide(got: Got) -> Answer:
        return Answer(422) if b'"sequence":3' in got.body else OK

    async with http_receiver() as receiver:
        receiver.decide = decide
        route = RouteConfig(name="lake", kind="ocsf_http", url=receiver.url, batch=5)
        status = await deliver(tmp_path, route, *map(alert, range(1, 6)))
    assert (status["sent"], status["set_aside"]) == (4, 1)
    assert [got.json["metadata"]["sequence"] for got in receiver.taken] == [1, 2, 4, 5]


def lines_of(*files: Path) -> list[int]:
    return [
        json.loads(line)["metadata"]["sequence"] for file in files for line in file.read_text().splitlines()
    ]


async def test_findings_are_appended_and_a_file_that_was_moved_is_begun_anew(tmp_path: Path) -> None:
    file, moved = tmp_path / "findings.ndjson", tmp_path / "moved.ndjson"
    route = RouteConfig(name="file", kind="ocsf_file", path=str(file))
    async with delivering(tmp_path, route) as (feed, deliveries):
        await feed.publish([alert(1), alert(2)])
        await until(lambda: deliveries.status()[0]["sent"] == 2)
        file.rename(moved)
        await feed.publish([alert(3)])
        await until(lambda: deliveries.status()[0]["sent"] == 3)
    assert (lines_of(moved), lines_of(file)) == ([1, 2], [3])
    assert file.stat().st_mode & 0o027 == 0


async def test_a_disk_that_takes_nothing_delays(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    route = RouteConfig(name="file", kind="ocsf_file", path=str(tmp_path / "there/findings.ndjson"))
    async with delivering(tmp_path, route) as (feed, deliveries):
        (tmp_path / "there").rmdir()
        await feed.publish([alert(1)])
        await until(lambda: deliveries.status()[0]["failed"] > 1)
        (tmp_path / "there").mkdir()
        await until(lambda: deliveries.status()[0]["sent"] == 1)
    assert lines_of(tmp_path / "there/findings.ndjson") == [1]


def test_a_file_is_rotated_by_its_size_and_so_many_are_kept(tmp_path: Path) -> None:
    file = RotatedFile(tmp_path / "f", rotate_bytes=10, keep_files=2)
    for number in range(6):
        file.append(b"%d234567\n" % number)
    file.close()
    assert {path.name: path.read_bytes()[:1] for path in tmp_path.iterdir()} == {
        "f": b"5",
        "f.1": b"4",
        "f.2": b"3",
    }


@pytest.mark.parametrize("torn", [b"", b"half", b"x" * 200_000])
def test_a_torn_line_is_cut_off_before_the_next(tmp_path: Path, torn: bytes) -> None:
    (tmp_path / "f").write_bytes(b"whole\n" + torn)
    file = RotatedFile(tmp_path / "f", rotate_bytes=1 << 30, keep_files=2)
    file.append(b"next\n")
    file.close()
    assert (tmp_path / "f").read_bytes() == b"whole\nnext\n"


# -- syslog ---------------------------------------------------------------------------------------------------------


def syslog(port: int, transport: str, **keys: Any) -> RouteConfig:
    return RouteConfig(
        **{"name": "log", "kind": "syslog", "host": "127.0.0.1", "port": port, "transport": transport, **keys}
    )


def seqs(messages: list[bytes]) -> list[int]:
    return [int(found[1]) for message in messages if (found := re.search(rb'seq="(\d+)"', message))]


async def test_syslog_over_udp(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as collector:
        collector.bind(("127.0.0.1", 0))
        collector.settimeout(30)
        await deliver(tmp_path, syslog(collector.getsockname()[1], "udp"), alert(1), CLOSING)
        messages = [await asyncio.to_thread(collector.recv, 65_536) for _ in range(2)]
    assert seqs(messages) == [1, 2]
    assert messages[0].startswith(b"<106>1 ")


@pytest.mark.parametrize("is_tls", [False, True], ids=["tcp", "tls"])
async def test_syslog_over_a_stream_survives_hang_ups(tmp_path: Path, is_tls: bool) -> None:
    authority = trustme.CA()
    keys = {"ca_file": authority_file(tmp_path, authority)} if is_tls else {}
    async with syslog_receiver(server_tls(authority) if is_tls else None) as collector:
        route = syslog(collector.port, "tls" if is_tls else "tcp", **keys)
        async with delivering(tmp_path, route) as (feed, _):
            for number in range(1, 31):
                await feed.publish([alert(number)])
                await until(lambda: seqs(collector.messages)[-1:] == [number])  # noqa: B023
                if number % 10 == 0:
                    collector.hang_up()
    assert list(dict.fromkeys(seqs(collector.messages))) == list(range(1, 31))
    assert collector.connections >= 3


async def test_a_collector_with_a_foreign_certificate_gets_nothing(tmp_path: Path) -> None:
    async with syslog_receiver(server_tls(trustme.CA())) as collector:
        ca_file = authority_file(tmp_path, trustme.CA())
        async with delivering(tmp_path, syslog(collector.port, "tls", ca_file=ca_file)) as (feed, deliveries):
            await feed.publish([alert()])
            await until(lambda: deliveries.status()[0]["failed"] > 1)
            assert "certificate" in deliveries.status()[0]["last_error"].lower()
    assert collector.messages == []


@pytest.mark.skipif(sys.platform != "linux", reason="only here can we tell what the other kernel has taken")
async def test_what_a_collector_does_not_take_in_is_not_called_sent(tmp_path: Path) -> None:
    async with syslog_receiver() as collector:
        collector.reads.clear()
        route = syslog(collector.port, "tcp", timeout_s=2.0)
        async with delivering(tmp_path, route) as (feed, deliveries):
            text = "x" * 7000
            await feed.publish([alert(number, title=text) for number in range(100)])
            await until(lambda: deliveries.status()[0]["failed"] > 0)
            assert deliveries.status()[0]["behind"] > 0
            collector.reads.set()
            await until(lambda: deliveries.status()[0]["behind"] == 0)
    assert sorted(set(seqs(collector.messages))) == list(range(1, 101))


# -- apprise --------------------------------------------------------------------------------------------------------

its_own_warnings = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning"
)  # of its many plugins, when they are loaded


@its_own_warnings
async def test_apprise_notifies_and_tries_again(tmp_path: Path) -> None:
    async with http_receiver() as receiver:
        receiver.decide = lambda got: Answer(500) if len(receiver.asked) == 1 else OK
        address = private(tmp_path, f"json://127.0.0.1:{receiver.port}/")
        route = RouteConfig(name="any", kind="apprise", secret_file=address, dashboard_url=DASHBOARD)
        status = await deliver(tmp_path, route, alert(), CLOSING)
    assert [(got.json["type"], got.json["title"].split()[0]) for got in receiver.taken] == [
        ("failure", "CRITICAL"),
        ("info", "CRITICAL"),
    ]
    assert "Tool: http_post" in receiver.taken[0].json["message"]
    assert f"{DASHBOARD}/#/alerts/al-1" in receiver.taken[0].json["message"]
    assert (status["sent"], status["failed"]) == (2, 1)


@its_own_warnings
async def test_what_apprise_never_gets_rid_of_is_set_aside(tmp_path: Path) -> None:
    async with http_receiver() as receiver:
        receiver.decide = lambda got: Answer(400) if len(receiver.asked) <= AppriseSink.attempts else OK
        address = private(tmp_path, f"json://127.0.0.1:{receiver.port}/")
        route = RouteConfig(name="any", kind="apprise", secret_file=address)
        status = await deliver(tmp_path, route, alert(1), alert(2))
    assert (status["sent"], status["set_aside"]) == (1, 1)


def test_without_apprise_the_configuration_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(ConfigError, match=r"killcord\[notify\]") as caught:
        AppriseSink("json://127.0.0.1/", "", "delivery.routes.0")
    assert caught.value.field == "delivery.routes.0.kind"


@its_own_warnings
@pytest.mark.parametrize("address", ["no address", "json://a/\njson://b/", "http"])
def test_an_address_that_apprise_does_not_know_is_refused(address: str) -> None:
    with pytest.raises(ConfigError) as caught:
        AppriseSink(address, "", "delivery.routes.0")
    assert caught.value.field == "delivery.routes.0.secret_file"
    assert address not in str(caught.value)
