"""A plain Faust worker for the tests, run as a process of its own: it copies raw records between two topics.

``python -m tests.kafka.raw_worker BROKER GROUP SOURCE TARGET [POISON]``. An effect (here: a record in TARGET,
acknowledged by the broker) comes before the acknowledgement of its cause. A record equal to POISON fails its
effect. Prints ``ready`` when it has started. Ends with status 0 on SIGTERM, 1 when an effect failed.
"""

import asyncio
import logging
import signal
import sys
import tempfile
from typing import Any

import faust

STOP_TIMEOUT_S = 20.0


def make_app(broker: str, group: str, data_dir: str) -> Any:
    """Return a Faust app bound to the running loop, with all off that a headless worker does not need."""
    return faust.App(
        group,  # the consumer group
        broker=f"kafka://{broker}",
        loop=asyncio.get_running_loop(),
        autodiscover=False,
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        datadir=data_dir,  # else "<group>-data" appears in the working directory
        store="memory://",
        key_serializer="raw",
        value_serializer="raw",
        consumer_auto_offset_reset="earliest",
        producer_acks=-1,
        stream_wait_empty=False,  # else stop() waits for a failed record's acknowledgement, for ever
        broker_commit_interval=0.5,
        broker_session_timeout=6.0,
        broker_heartbeat_interval=2.0,
    )


async def work(broker: str, group: str, source: str, target: str, poison: str = "") -> int:
    """Copy until SIGTERM or a failed effect; return the exit status."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _finish, over)
    with tempfile.TemporaryDirectory(prefix="killcord-faust-") as data_dir:
        app = make_app(broker, group, data_dir)
        out = app.topic(target, key_serializer="raw", value_serializer="raw")

        async def copy_one(event: Any) -> None:
            if poison and event.value == poison.encode():
                raise ValueError("poison")
            sent = await out.send(key=event.key, value=event.value)
            await sent  # the broker has it on all replicas

        async def copy(stream: Any) -> None:
            # noack(): by default Faust acknowledges a record even when its effect raised.
            async for event in stream.noack().events():
                try:
                    await copy_one(event)
                except Exception as error:
                    # It must not leave the agent: an app that crashed cannot be stopped cleanly.
                    _finish(over, error)
                    return  # nothing after the failed record is acknowledged
                event.ack()

        app.agent(app.topic(source, key_serializer="raw", value_serializer="raw"), concurrency=1)(copy)
        await app.start()
        print("ready", flush=True)
        await _until_over(app, over)
    return 1 if not over.done() or over.exception() else 0


async def _until_over(app: Any, over: asyncio.Future[None]) -> None:
    """Wait for the end of the work or of Faust, then stop Faust, which commits what is acknowledged."""
    crashed = asyncio.create_task(app.wait_until_stopped())
    try:
        await asyncio.wait({over, crashed}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait_for(app.stop(), STOP_TIMEOUT_S)
    finally:
        crashed.cancel()


def _finish(over: asyncio.Future[None], error: Exception | None = None) -> None:
    """Say once that the work is over, and why if it failed."""
    if over.done():
        return
    if error is None:
        over.set_result(None)
    else:
        over.set_exception(error)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    sys.exit(asyncio.run(work(*sys.argv[1:])))
