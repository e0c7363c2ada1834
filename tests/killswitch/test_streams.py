# ruff: noqa: PT012 - what raises here is a body under watch, and it takes several statements to have one
from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from killswitch import Guard, LeaseExpired, Revoked, Switch, Target
from killswitch.running.lease_timer import timer_of
from tests.killswitch.conftest import Server, until

BOT = Target("agent", "bot")
WHY: dict[str, Any] = {"reason": "test", "by": "tester"}
Connect = Callable[..., Guard]


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def run() -> Iterator[Callable[[Callable[[threading.Event], Any]], Future[Any]]]:
    """Run a body in a thread and return once it says that it has begun."""
    with ThreadPoolExecutor(4) as pool:

        def start(body: Callable[[threading.Event], Any]) -> Future[Any]:
            begun = threading.Event()
            future = pool.submit(body, begun)
            assert begun.wait(5)
            return future

        yield start


def test_a_thread_blocked_in_recv_is_woken_and_ends_in_the_refusal(switch, guard: Guard, pair, run) -> None:
    def body(begun: threading.Event) -> None:
        with guard.watch(agent="bot") as watch, watch.closing(pair[0]) as connection:
            begun.set()
            connection.recv(1)

    future = run(body)
    switch.revoke(BOT, **WHY)
    with pytest.raises(Revoked, match="agent:bot is revoked"):
        future.result(5)
    assert pair[0].fileno() == -1
    assert pair[1].recv(1) == b""


def test_the_end_of_the_lease_wakes_a_thread_blocked_in_recv(
    own: Server, connect: Connect, pair, run
) -> None:
    guard = connect(own.url, lease_s=0.4)

    def body(begun: threading.Event) -> None:
        with guard.watch(agent="bot") as watch, watch.closing(pair[0]) as connection:
            begun.set()
            connection.recv(1)

    future = run(body)
    own.pause()
    with pytest.raises(LeaseExpired):
        future.result(10)
    own.resume()


def test_a_lease_that_is_renewed_closes_nothing(connect: Connect, pair) -> None:
    guard = connect(lease_s=0.2)
    begun_s = time.monotonic()
    with guard.watch(agent="bot") as watch, watch.closing(pair[0]) as connection:
        until(lambda: time.monotonic() - begun_s > 0.6)
        pair[1].send(b"x")
        assert connection.recv(1) == b"x"


def test_a_buffered_reader_is_woken_without_holding_up_the_guard(switch, guard: Guard, pair, run) -> None:
    def body(begun: threading.Event) -> None:
        with guard.watch(agent="bot") as watch, watch.closing(pair[0].makefile("rb")) as reader:
            begun.set()
            reader.readline()

    future = run(body)
    switch.revoke(BOT, **WHY)
    with pytest.raises(Revoked):
        future.result(5)
    assert guard.status().connected


def test_a_close_that_blocks_does_not_hold_up_the_guard(switch, guard: Guard) -> None:
    released = threading.Event()

    class Stubborn:
        def close(self) -> None:
            released.wait(30)

    with guard.watch(agent="bot") as watch, guard.watch(agent="bot") as other:
        watch.closing(Stubborn())
        _, containment = switch.revoke_and_wait(BOT, **WHY)
        assert other.wait(5)
        assert containment.contained
        released.set()


def test_an_error_of_the_bodys_own_is_not_taken_for_a_kill(guard: Guard, pair) -> None:
    with (
        pytest.raises(ConnectionError, match="mine"),
        guard.watch(agent="bot") as watch,
        watch.closing(pair[0]),
    ):
        raise ConnectionError("mine")


def test_a_callback_is_called_once_and_forgotten_with_the_body(switch, guard: Guard) -> None:
    called: list[str] = []
    with guard.watch(agent="bot") as watch:
        watch.on_stop(lambda: called.append("stop"))
        assert timer_of(guard).running
        switch.revoke(BOT, **WHY)
        until(lambda: called == ["stop"])
        watch.look()
        watch.on_stop(lambda: called.append("late"))
    assert called == ["stop", "late"]
    until(lambda: not timer_of(guard).running)


def test_a_forgotten_callback_is_not_called(switch, guard: Guard) -> None:
    called: list[str] = []
    with guard.watch(agent="bot") as watch:
        callback = lambda: called.append("stop")  # noqa: E731
        watch.on_stop(callback)
        watch.forget(callback)
        switch.revoke(BOT, **WHY)
        assert watch.wait(5)
    assert called == []


def test_a_callback_that_raises_is_counted_and_hurts_nobody(switch, guard: Guard) -> None:
    called: list[str] = []
    with guard.watch(agent="bot") as watch:
        watch.on_stop(lambda: 1 / 0)
        watch.on_stop(lambda: called.append("second"))
        switch.revoke(BOT, **WHY)
        until(lambda: called == ["second"])
        assert watch.failures == 1
    assert guard.status().connected


def test_no_timer_runs_where_nothing_is_to_be_called(guard: Guard) -> None:
    with guard.watch(agent="bot") as watch:
        assert watch.wait(0.01) is False
        assert not timer_of(guard).running


def test_a_stream_passes_its_items_and_closes_its_source(guard: Guard) -> None:
    closed: list[bool] = []

    def numbers() -> Iterator[int]:
        try:
            yield from range(3)
        finally:
            closed.append(True)

    assert list(guard.watch(agent="bot").stream(numbers())) == [0, 1, 2]
    assert closed == [True]
    assert guard._watches == set()


def test_a_stream_gives_no_item_after_the_kill(switch, guard: Guard) -> None:
    def numbers() -> Iterator[int]:
        yield 1
        switch.revoke_and_wait(BOT, **WHY)
        yield 2

    seen: list[int] = []
    with pytest.raises(Revoked):
        seen.extend(guard.watch(agent="bot").stream(numbers()))
    assert seen == [1]


def test_a_stream_from_a_connection_is_stopped_while_it_waits(switch, guard: Guard, pair, run) -> None:
    lines: list[bytes] = []

    def body(begun: threading.Event) -> None:
        for line in guard.watch(agent="bot").stream(pair[0].makefile("rb")):
            lines.append(line)
            begun.set()

    pair[1].send(b"one\n")
    future = run(body)
    switch.revoke(BOT, **WHY)
    with pytest.raises(Revoked):
        future.result(5)
    assert lines == [b"one\n"]


def test_a_stream_for_a_revoked_agent_takes_nothing_from_its_source(switch, guard: Guard) -> None:
    switch.revoke_and_wait(BOT, **WHY)
    source = iter([1, 2])
    with pytest.raises(Revoked):
        list(guard.watch(agent="bot").stream(source))
    assert list(source) == [1, 2]


def test_an_error_of_the_source_comes_through(guard: Guard) -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise OSError("the other side went away")

    with pytest.raises(OSError, match="the other side"):
        list(guard.watch(agent="bot").stream(broken()))


class Ticker:
    """An endless source that says nothing after its first item, and whether it was closed."""

    def __init__(self) -> None:
        self.closed = False

    async def items(self) -> AsyncIterator[int]:
        try:
            yield 0
            await asyncio.sleep(60)
        finally:
            self.closed = True


async def test_an_async_stream_stops_while_it_waits_for_the_next_item(switch: Switch, guard: Guard) -> None:
    ticker, seen = Ticker(), []
    with pytest.raises(Revoked):
        async for item in guard.watch(agent="bot").astream(ticker.items()):
            seen.append(item)
            asyncio.get_running_loop().run_in_executor(None, lambda: switch.revoke(BOT, **WHY))
    task = asyncio.current_task()
    assert seen == [0]
    assert ticker.closed
    assert task is not None
    assert task.cancelling() == 0
    assert guard._watches == set()


async def test_an_async_stream_inside_the_watchs_task_ends_in_its_refusal(
    switch: Switch, guard: Guard
) -> None:
    ticker = Ticker()

    async def body() -> None:
        async with guard.watch(agent="bot") as watch:
            async for _ in watch.astream(ticker.items()):
                asyncio.get_running_loop().run_in_executor(None, lambda: switch.revoke(BOT, **WHY))

    with pytest.raises(Revoked):
        await body()
    assert ticker.closed


async def test_an_async_stream_may_be_read_by_another_task(switch: Switch, guard: Guard) -> None:
    ticker = Ticker()

    async def read() -> None:
        async for _ in watch.astream(ticker.items()):
            asyncio.get_running_loop().run_in_executor(None, lambda: switch.revoke(BOT, **WHY))

    with pytest.raises(Revoked):
        async with guard.watch(agent="bot") as watch:
            reader = asyncio.create_task(read())
            await asyncio.wait([reader])
    with pytest.raises(Revoked):
        await reader


async def test_somebody_elses_cancellation_of_a_stream_goes_through(guard: Guard) -> None:
    ticker, begun = Ticker(), asyncio.Event()

    async def read() -> None:
        async for _ in guard.watch(agent="bot").astream(ticker.items()):
            begun.set()

    reader = asyncio.create_task(read())
    await begun.wait()
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert ticker.closed


async def test_the_end_of_the_lease_stops_an_async_stream(own: Server, connect: Connect) -> None:
    guard = await asyncio.to_thread(connect, own.url, lease_s=0.4)
    ticker = Ticker()
    with pytest.raises(LeaseExpired):
        async for _ in guard.watch(agent="bot").astream(ticker.items()):
            own.pause()
    assert ticker.closed
    own.resume()


async def test_an_asyncio_connection_is_shut_by_a_kill(switch: Switch, guard: Guard) -> None:
    left, right = socket.socketpair()
    with right:
        reader, writer = await asyncio.open_connection(sock=left)
        revoke = asyncio.create_task(asyncio.to_thread(lambda: switch.revoke(BOT, **WHY)))
        with pytest.raises(Revoked):
            async with guard.watch(agent="bot") as watch:
                with watch.closing(writer):
                    await reader.read(1)
        await revoke
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        assert right.recv(1) == b""


def test_a_forked_child_gets_a_timer_of_its_own(guard: Guard, pair) -> None:
    with guard.watch(agent="bot") as watch, watch.closing(pair[0]):
        assert timer_of(guard).running
        pid = os.fork()
        if pid == 0:
            os._exit(timer_of(guard).running)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_pipe_that_is_no_connection_is_closed_aside(switch, guard: Guard, run) -> None:
    reading, writing = os.pipe()
    with guard.watch(agent="bot") as watch, open(reading, "rb", buffering=0) as pipe:
        held = watch.closing(pipe)
        switch.revoke(BOT, **WHY)
        until(lambda: pipe.closed)
        held.end()
        held.end()
    os.close(writing)


def test_a_timer_serves_all_watches_of_a_guard_and_goes_with_the_last(guard: Guard) -> None:
    timer = timer_of(guard)
    with guard.watch(agent="one") as one:
        one.on_stop(lambda: None)
        with guard.watch(agent="two") as two:
            two.on_stop(lambda: None)
        assert timer.running
    until(lambda: not timer.running)


class Plain:
    """An endless source of the barest kind: nothing to close, and a word when somebody waits for it."""

    def __init__(self, *items: int) -> None:
        self.left = list(items)

    def __aiter__(self) -> AsyncIterator[int]:
        return self

    async def __anext__(self) -> int:
        if not self.left:
            raise StopAsyncIteration
        return self.left.pop(0)


async def test_an_async_stream_ends_with_its_source(guard: Guard) -> None:
    assert [item async for item in guard.watch(agent="bot").astream(Plain(1, 2))] == [1, 2]


async def test_a_kill_between_two_items_of_an_async_stream_gives_no_other(
    switch: Switch, guard: Guard
) -> None:
    watch = guard.watch(agent="bot")
    items = watch.astream(Plain(1, 2))
    assert await anext(items) == 1
    await asyncio.to_thread(switch.revoke, BOT, **WHY)
    await asyncio.to_thread(until, lambda: watch.refused is not None)
    with pytest.raises(Revoked):
        await anext(items)


def test_what_cannot_be_closed_may_be_streamed(guard: Guard) -> None:
    assert list(guard.watch(agent="bot").stream([1, 2])) == [1, 2]


async def test_a_kill_that_comes_with_the_item_cancels_nobody(switch: Switch, guard: Guard) -> None:
    """The callback was on its way into the loop when the wait for the item ended."""

    class Blocking(Plain):
        async def __anext__(self) -> int:
            switch.revoke(BOT, **WHY)  # blocks the loop, so that both are ready when it goes on
            until(lambda: watch.refused is not None)
            return await super().__anext__()

    watch = guard.watch(agent="bot")
    with pytest.raises(Revoked):
        await anext(watch.astream(Blocking(1)))
    await asyncio.sleep(0)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
