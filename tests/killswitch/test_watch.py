# ruff: noqa: PT012 - what raises here is a body under watch, and it takes several statements to have one
from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from killswitch import Guard, LeaseExpired, NotReady, Revoked, StepUpRequired, Switch, Target
from killswitch.running.watch import Watch
from tests.killswitch.conftest import Server, until

BOT = Target("agent", "bot")
WHY: dict[str, Any] = {"reason": "test", "by": "tester"}
Connect = Callable[..., Guard]


async def kill_soon(switch: Switch, **options: Any) -> None:
    await asyncio.to_thread(switch.revoke, BOT, **WHY, **options)


async def test_a_kill_cancels_the_body_and_raises_revoked(switch: Switch, guard: Guard) -> None:
    cleaned = False
    killer = asyncio.create_task(kill_soon(switch))
    with pytest.raises(Revoked, match="agent:bot is revoked"):
        async with guard.watch(agent="bot"):
            try:
                await asyncio.sleep(60)
            finally:
                cleaned = True
    await killer
    task = asyncio.current_task()
    assert cleaned
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)  # and no cancellation is left over


async def test_a_kill_of_somebody_else_lets_the_body_finish(switch: Switch, guard: Guard) -> None:
    async with guard.watch(agent="other"):
        await kill_soon(switch)
        await asyncio.sleep(0.05)


async def test_a_body_is_not_begun_for_a_revoked_agent(switch: Switch, guard: Guard) -> None:
    await asyncio.to_thread(switch.revoke_and_wait, BOT, **WHY)
    with pytest.raises(Revoked):
        async with guard.watch(agent="bot"):
            pytest.fail("the body ran")
    assert guard._watches == set()


async def test_somebody_elses_cancellation_goes_through_as_it_is(guard: Guard) -> None:
    entered = asyncio.Event()

    async def body() -> None:
        async with guard.watch(agent="bot"):
            entered.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(body())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert guard._watches == set()


async def test_cancelled_by_both_it_stays_cancelled(switch: Switch, guard: Guard) -> None:
    entered = asyncio.Event()

    async def body() -> None:
        async with guard.watch(agent="bot"):
            entered.set()
            try:
                await asyncio.sleep(60)
            finally:
                task.cancel()  # a second, foreign cancellation while ours is under way

    task = asyncio.create_task(body())
    await entered.wait()
    await kill_soon(switch)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_outer_timeout_still_works(guard: Guard) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            async with guard.watch(agent="bot"):
                await asyncio.sleep(60)


async def test_a_body_that_swallows_the_cancellation_still_ends_in_revoked(
    switch: Switch, guard: Guard
) -> None:
    killer = asyncio.create_task(kill_soon(switch))
    with pytest.raises(Revoked):
        async with guard.watch(agent="bot"):
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
    await killer


async def test_an_error_of_the_bodys_clean_up_is_not_hidden(switch: Switch, guard: Guard) -> None:
    killer = asyncio.create_task(kill_soon(switch))
    with pytest.raises(ZeroDivisionError):
        async with guard.watch(agent="bot"):
            try:
                await asyncio.sleep(60)
            finally:
                raise ZeroDivisionError
    await killer


async def test_watches_can_be_nested(switch: Switch, guard: Guard) -> None:
    killer = asyncio.create_task(kill_soon(switch))
    with pytest.raises(Revoked):
        async with guard.watch(agent="outer"), guard.watch(agent="bot"):
            await asyncio.sleep(60)
    await killer


async def test_a_hold_lets_what_runs_finish_and_stops_the_next(switch: Switch, guard: Guard) -> None:
    async with guard.watch(agent="bot"):
        await kill_soon(switch, level="step_up")
        await asyncio.sleep(0.05)
    with pytest.raises(StepUpRequired):
        async with guard.watch(agent="bot"):
            pytest.fail("the body ran")


async def test_a_suspension_cancels_too(switch: Switch, guard: Guard) -> None:
    killer = asyncio.create_task(kill_soon(switch, level="suspend", expires_at_s=time.time() + 60))
    with pytest.raises(Revoked):
        async with guard.watch(agent="bot"):
            await asyncio.sleep(60)
    await killer


async def test_the_end_of_the_lease_cancels_although_nothing_was_heard(own: Server, connect: Connect) -> None:
    guard = await asyncio.to_thread(connect, own.url, lease_s=0.4)
    own.pause()
    started_s = time.monotonic()
    with pytest.raises(LeaseExpired):
        async with guard.watch(agent="bot"):
            await asyncio.sleep(60)
    assert time.monotonic() - started_s < 2
    own.resume()


async def test_a_long_body_outlives_many_leases(connect: Connect) -> None:
    guard = await asyncio.to_thread(connect, lease_s=0.2)
    async with guard.watch(agent="bot"):
        await asyncio.sleep(0.7)


async def test_closing_the_guard_stops_its_bodies(connect: Connect) -> None:
    guard = await asyncio.to_thread(connect)
    closer = asyncio.create_task(asyncio.to_thread(guard.close))
    with pytest.raises(NotReady):
        async with guard.watch(agent="bot"):
            await asyncio.sleep(60)
    await closer


def in_thread(guard: Guard, body: Callable[[Watch], None]) -> tuple[ThreadPoolExecutor, Any]:
    entered = threading.Event()

    def run() -> None:
        with guard.watch(agent="bot") as watch:
            entered.set()
            body(watch)

    pool = ThreadPoolExecutor(1)
    future = pool.submit(run)
    assert entered.wait(5)
    return pool, future


def test_a_thread_that_waits_is_woken_by_the_kill(switch: Switch, guard: Guard) -> None:
    woken: list[bool] = []
    pool, future = in_thread(guard, lambda watch: woken.append(watch.wait(60)))
    switch.revoke(BOT, **WHY)
    future.result(5)
    pool.shutdown()
    assert woken == [True]


def test_a_thread_that_asks_at_each_step_is_stopped(switch: Switch, guard: Guard) -> None:
    def body(watch: Watch) -> None:
        while not watch.wait(0.001):
            watch.raise_if_revoked()
        watch.raise_if_revoked()

    pool, future = in_thread(guard, body)
    switch.revoke(BOT, **WHY)
    with pytest.raises(Revoked):
        future.result(5)
    pool.shutdown()


def test_once_stopped_a_body_stays_stopped_although_the_agent_is_restored(
    switch: Switch, guard: Guard
) -> None:
    with guard.watch(agent="bot") as watch:
        switch.revoke(BOT, **WHY)
        assert watch.wait(5)
        switch.restore_and_wait(BOT, **WHY)
        guard.check(agent="bot")
        with pytest.raises(Revoked):
            watch.raise_if_revoked()


def test_waiting_without_a_kill_ends_in_time_and_says_go_on(guard: Guard) -> None:
    with guard.watch(agent="bot") as watch:
        assert watch.wait(0.05) is False
        watch.raise_if_revoked()


def test_a_thread_is_stopped_when_the_lease_ends(own: Server, connect: Connect) -> None:
    guard = connect(own.url, lease_s=0.4)
    with guard.watch(agent="bot") as watch:
        own.pause()
        assert watch.wait(10)
        with pytest.raises(LeaseExpired):
            watch.raise_if_revoked()
    own.resume()


def test_a_thread_that_only_asks_learns_of_the_lease_too(own: Server, connect: Connect) -> None:
    guard = connect(own.url, lease_s=0.3)
    with guard.watch(agent="bot") as watch:
        own.pause()
        until(lambda: guard.status().lease_remaining_s < 0)
        with pytest.raises(LeaseExpired):
            watch.raise_if_revoked()
    own.resume()


def test_a_hold_does_not_keep_a_body_alive_beyond_the_lease(
    own: Server, connect: Connect, prefix: str
) -> None:
    guard = connect(own.url, lease_s=0.5)
    with guard.watch(agent="bot") as watch:
        with Switch(own.url, prefix=prefix) as switch:
            switch.revoke(BOT, level="step_up", **WHY)
        own.pause()
        assert watch.wait(10)
        with pytest.raises(LeaseExpired):
            watch.raise_if_revoked()
    own.resume()


async def test_a_watch_whose_loop_is_gone_disturbs_nobody(switch: Switch, guard: Guard) -> None:
    def abandon() -> Watch:
        async def enter() -> Watch:
            return await guard.watch(agent="bot").__aenter__()

        return asyncio.run(enter())

    watch = await asyncio.to_thread(abandon)
    await kill_soon(switch)
    await asyncio.to_thread(until, lambda: watch.refused is not None)
    assert guard.status().connected
    guard.remove_watch(watch)


async def test_a_body_that_never_waits_ends_in_the_refusal_all_the_same(switch: Switch, guard: Guard) -> None:
    with pytest.raises(Revoked):
        async with guard.watch(agent="bot") as watch:
            switch.revoke(BOT, **WHY)  # blocks the loop, so that no cancellation can arrive before the end
            until(lambda: watch.refused is not None)
    await asyncio.sleep(0)  # the cancellation, too late, cancels nobody
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


def test_two_threads_that_see_the_kill_at_once_call_each_callback_once(
    switch: Switch, guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    both, called = threading.Barrier(2), []
    with guard.watch(agent="bot") as watch:
        watch.on_stop(lambda: called.append(1))
        reason = guard.stop_reason

        def reason_of_both(names: dict[str, Any]) -> Any:
            refused = reason(names)
            if refused is not None:
                both.wait(10)
            return refused

        monkeypatch.setattr(guard, "stop_reason", reason_of_both)
        with ThreadPoolExecutor() as pool:
            switch.revoke(BOT, **WHY)  # one of them is the follower
            until(lambda: both.n_waiting == 1)
            pool.submit(watch.look).result(10)
        assert watch.wait(5)
    assert called == [1]
