from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from killswitch.storage.replies import MAX_REPLY_BYTES, BadReply, ErrorReply, Replies, Reply

MESSAGE = b"*3\r\n$7\r\nmessage\r\n$7\r\nchanges\r\n$5\r\na\r\nbc\r\n"


def encoded(reply: Reply) -> bytes:
    parts = [b"*%d\r\n" % len(reply)]
    for item in reply:
        if isinstance(item, bytes):
            parts.append(b"$%d\r\n%s\r\n" % (len(item), item))
        else:
            parts.append(b"$-1\r\n" if item is None else b":%d\r\n" % item)
    return b"".join(parts)


def feed_until_refused(start: bytes) -> None:
    replies = Replies()
    replies.feed(start)
    for _ in range(20):
        assert replies.next() is None
        replies.feed(b"$65000\r\n" + b"x" * 65_000 + b"\r\n")


def all_of(replies: Replies) -> list[Reply]:
    found = []
    while (reply := replies.next()) is not None:
        found.append(reply)
    return found


def outcome(replies: Replies) -> Reply | str | None:
    try:
        return replies.next()
    except (BadReply, ErrorReply) as error:
        return type(error).__name__


def test_a_message_is_cut_at_its_lengths_not_at_its_line_breaks() -> None:
    replies = Replies()
    replies.feed(MESSAGE)
    assert replies.next() == [b"message", b"changes", b"a\r\nbc"]
    assert replies.next() is None
    assert not replies.holds_more()


def test_what_was_read_along_is_kept_for_the_next() -> None:
    replies = Replies()
    replies.feed(MESSAGE + MESSAGE[:9])
    assert replies.next() is not None
    assert replies.holds_more()
    assert replies.next() is None
    replies.feed(MESSAGE[9:])
    assert replies.next() == [b"message", b"changes", b"a\r\nbc"]


@given(
    st.lists(st.lists(st.binary(max_size=40) | st.integers(-9, 9) | st.none(), max_size=4), max_size=5),
    st.integers(1, 40),
)
def test_however_it_is_cut_the_same_replies_come_out(sent: list[Reply], size: int) -> None:
    stream, replies, found = b"".join(map(encoded, sent)), Replies(), []
    for start in range(0, len(stream), size):
        replies.feed(stream[start : start + size])
        found += all_of(replies)
    assert found == sent


@given(st.binary(max_size=12), st.binary(max_size=12), st.data())
def test_a_message_that_comes_alone_is_read_like_one_that_comes_behind_another(
    channel: bytes, body: bytes, data: st.DataObject
) -> None:
    sent = bytearray(encoded([b"message", channel, body]))
    if data.draw(st.booleans()):  # or what is nearly one
        sent[data.draw(st.integers(0, len(sent) - 1))] = data.draw(st.sampled_from(b"0123456789$:*-\r\nm"))
    alone, behind = Replies(), Replies()
    alone.feed(bytes(sent))
    behind.feed(MESSAGE + bytes(sent))
    assert behind.next() == [b"message", b"changes", b"a\r\nbc"]
    assert outcome(alone) == outcome(behind)


def test_an_error_is_said_and_reading_goes_on_behind_it() -> None:
    replies = Replies()
    replies.feed(b"-NOPERM no\r\n" + MESSAGE)
    with pytest.raises(ErrorReply, match="NOPERM no"):
        replies.next()
    assert replies.next() is not None


@pytest.mark.parametrize(
    "bytes_",
    [b"*x\r\n", b"*1\r\n$y\r\n", b"*1\r\n$-2\r\n", b"*1\r\n+OK\r\n", b"+OK\r\n", b"*1\r\n\r\n", b"\r\n"],
)
def test_anything_else_is_no_reply(bytes_: bytes) -> None:
    replies = Replies()
    replies.feed(bytes_)
    with pytest.raises(BadReply):
        replies.next()


@pytest.mark.parametrize("start", [b"*1\r\n$%d\r\n" % (MAX_REPLY_BYTES + 1), b"*99\r\n", b"*"])
def test_nobody_can_fill_the_memory_with_one_message(start: bytes) -> None:
    with pytest.raises(BadReply):
        feed_until_refused(start)


@given(st.binary(max_size=200))
def test_whatever_the_bytes_only_the_documented_errors(bytes_: bytes) -> None:
    replies = Replies()
    replies.feed(bytes_)
    try:
        all_of(replies)
    except (BadReply, ErrorReply):
        return
