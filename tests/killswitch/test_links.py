from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from killswitch import InvalidRequest, StoreRefused, StoreUnreachable
from killswitch.storage.links import Link, Push, redact
from tests.killswitch.conftest import Server


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:p@ss@host:1/0", "redis://user:***@host:1/0"),
        ("rediss://:secret@host", "rediss://:***@host"),
        ("unix:///run/killcord.sock", "unix:///run/killcord.sock"),
    ],
)
def test_a_password_is_never_shown(url: str, shown: str) -> None:
    assert redact(url) == shown


@pytest.mark.parametrize("url", ["", "localhost:6379", "http://localhost", "redis://localhost:port"])
def test_what_is_no_url_is_the_callers_fault(url: str) -> None:
    with pytest.raises(InvalidRequest, match="url: "):
        Link(url, timeout_s=0.1)


@pytest.mark.parametrize(
    "option",
    [
        "socket_timeout=1000",
        "socket_connect_timeout=1000",
        "protocol=3",
        "decode_responses=1",
        "health_check_interval=9",
        "retry=often",
        "colour=green",
    ],
)
def test_a_url_cannot_take_our_time_outs_and_formats_away(url: str, option: str) -> None:
    with pytest.raises(InvalidRequest, match=option.partition("=")[0]):
        Link(f"{url}/0?{option}", timeout_s=0.5)


def test_a_url_may_choose_the_database_and_what_the_client_is_called(url: str) -> None:
    link = Link(f"{url}/3?client_name=killcord", timeout_s=1.0)
    assert link.call("CLIENT", "GETNAME") == b"killcord"
    link.close()


def test_tls_that_cannot_be_set_up_is_the_callers_fault() -> None:
    with pytest.raises(InvalidRequest, match="sometimes"):
        Link("rediss://localhost:1/?ssl_cert_reqs=sometimes", timeout_s=0.1)


def test_a_plain_server_is_no_tls_server(url: str) -> None:
    with pytest.raises(StoreUnreachable):
        Link(url.replace("redis://", "rediss://"), timeout_s=1.0)


@pytest.mark.parametrize("host", ["a" * 64, "a..b"])
def test_a_name_that_no_host_can_have_reaches_no_store(host: str) -> None:
    with pytest.raises(StoreUnreachable, match="cannot reach the store"):
        Link(f"redis://{host}:6379", timeout_s=0.5)


def test_a_wrong_password_is_said_so(url: str) -> None:
    with pytest.raises(StoreUnreachable, match=r"WRONGPASS|AUTH|password"):
        Link(url.replace("redis://", "redis://nobody:wrong@"), timeout_s=1.0)


def test_an_error_reply_leaves_the_link_in_step(url: str) -> None:
    link = Link(url, timeout_s=1.0)
    with pytest.raises(StoreRefused, match="unknown command"):
        link.call("NONSENSE")
    assert link.call("ECHO", "still here") == b"still here"
    link.close()


def test_a_lost_link_never_connects_again_by_itself(own: Server) -> None:
    link = Link(own.url, timeout_s=0.5)
    own.kill()
    with pytest.raises(StoreUnreachable):
        link.call("PING")
    own.start()
    with pytest.raises(StoreUnreachable, match="is closed"):
        link.call("PING")


def test_a_frozen_server_is_waited_for_no_longer_than_told(own: Server) -> None:
    link = Link(own.url, timeout_s=0.2)
    own.pause()
    with pytest.raises(StoreUnreachable):
        link.call("PING")
    own.resume()


def test_pushes_come_in_order_and_before_the_pong(url: str, prefix: str) -> None:
    push, link = Push(url, [prefix], timeout_s=1.0), Link(url, timeout_s=1.0)
    for number in range(3):
        link.call("PUBLISH", prefix, number)
    push.ping("nonce")
    assert [push.receive(1.0) for _ in range(4)] == [
        *(("message", prefix.encode(), b"%d" % number) for number in range(3)),
        ("pong", b"", b"nonce"),
    ]
    assert push.receive(0.0) is None
    push.close()
    link.close()


def test_waiting_for_a_push_ends_when_the_other_link_has_a_reply(url: str, prefix: str) -> None:
    push, link = Push(url, [prefix], timeout_s=1.0), Link(url, timeout_s=1.0)
    link.send(["ECHO", "here"])
    assert push.receive(30.0, link) is None
    assert link.receive() == b"here"
    assert push.receive(0.0, link) is None
    link.call("PUBLISH", prefix, "x")
    assert push.receive(30.0, link) == ("message", prefix.encode(), b"x")
    push.close()
    with pytest.raises(StoreUnreachable):
        push.receive(0.0, link)
    link.close()


def test_messages_that_came_together_are_known_to_be_there(url: str, prefix: str) -> None:
    push, link = Push(url, [prefix], timeout_s=1.0), Link(url, timeout_s=1.0)
    link.call("EVAL", "for i = 1, 2 do redis.call('PUBLISH', ARGV[1], i) end", 0, prefix)
    push.ping("both are on the wire before this")
    assert not push.holds_more()
    assert push.receive(1.0) == ("message", prefix.encode(), b"1")
    assert push.receive(1.0) == ("message", prefix.encode(), b"2")
    assert push.receive(1.0) is not None
    assert not push.holds_more()
    push.close()
    link.close()


def test_a_channel_that_is_not_for_us_is_said_so(own: Server, prefix: str) -> None:
    admin = Link(own.url, timeout_s=1.0)
    admin.call("ACL", "SETUSER", "reader", "on", ">pw", "+@all", "resetchannels", "&other")
    with pytest.raises(StoreRefused, match="NOPERM"):
        Push(own.url.replace("redis://", "redis://reader:pw@"), [prefix], timeout_s=1.0)
    admin.close()


def test_a_message_too_long_for_anybody_ends_the_connection(url: str, prefix: str) -> None:
    push, link = Push(url, [prefix], timeout_s=1.0), Link(url, timeout_s=1.0)
    link.call("PUBLISH", prefix, b"x" * 2_000_000)
    with pytest.raises(StoreUnreachable):
        push.receive(5.0)
    link.close()


@pytest.fixture
def answering() -> Iterator[Callable[[bytes], str]]:
    """Start a server that confirms a subscription and then says something of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as pool:

        def serve(junk: bytes) -> None:
            connection, _ = listener.accept()
            with connection:
                while asked := connection.recv(65_536):
                    connection.sendall(b"+OK\r\n" * asked.count(b"CLIENT\r\n"))
                    if b"SUBSCRIBE" in asked:
                        connection.sendall(b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n" + junk)

        def start(junk: bytes) -> str:
            pool.submit(serve, junk)
            return f"redis://127.0.0.1:{listener.getsockname()[1]}"

        yield start


@pytest.mark.parametrize(
    "junk",
    [
        b"*0\r\n",
        b"*-1\r\n",
        b"*1\r\n:5\r\n",
        b"*1\r\n$7\r\nmessage\r\n",
        b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$-1\r\n",
        b"*3\r\n$7\r\nmessage\r\n:1\r\n$1\r\nx\r\n",
        b"*2\r\n$4\r\npong\r\n:1\r\n",
        b"+OK\r\n",
        b"*x\r\n",
    ],
)
def test_what_is_neither_message_nor_pong_ends_the_connection(
    answering: Callable[[bytes], str], junk: bytes
) -> None:
    push = Push(answering(junk), ["c"], timeout_s=5.0)
    with pytest.raises(StoreUnreachable):
        push.receive(5.0)


def test_an_error_among_the_pushes_is_the_stores(answering: Callable[[bytes], str]) -> None:
    push = Push(answering(b"-NOAUTH who are you\r\n"), ["c"], timeout_s=5.0)
    with pytest.raises(StoreRefused, match="NOAUTH"):
        push.receive(5.0)
    push.close()


def test_a_server_that_goes_away_ends_the_wait(own: Server, prefix: str) -> None:
    push = Push(own.url, [prefix], timeout_s=1.0)
    own.kill()
    with pytest.raises(StoreUnreachable):
        push.receive(30.0)


def test_closing_wakes_a_thread_that_waits_for_pushes(url: str, prefix: str) -> None:
    push = Push(url, [prefix], timeout_s=1.0)
    ended: list[type[Exception]] = []

    def wait() -> None:
        try:
            push.receive(30.0)
        except StoreUnreachable as error:
            ended.append(type(error))

    thread = threading.Thread(target=wait)
    thread.start()
    push.close()
    thread.join(5)
    assert ended == [StoreUnreachable]


def test_a_unix_socket_serves_as_well(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("s")
    server = Server(directory / "d", unixsocket=str(directory / "v.sock"))
    link = Link(f"unix://{directory / 'v.sock'}", timeout_s=1.0)
    assert link.call("PING") == b"PONG"
    link.close()
    server.close()


def test_a_server_that_never_confirms_a_subscription_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as pool:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                while asked := connection.recv(65_536):
                    connection.sendall(b"+OK\r\n" * asked.count(b"CLIENT\r\n"))

        pool.submit(serve)
        with pytest.raises(StoreUnreachable, match="no answer to SUBSCRIBE"):
            Push(f"redis://127.0.0.1:{listener.getsockname()[1]}", ["c"], timeout_s=0.3)


def test_a_closed_link_has_no_socket_to_wait_for(url: str) -> None:
    link = Link(url, timeout_s=1.0)
    link.close()
    with pytest.raises(StoreUnreachable):
        link.socket()
