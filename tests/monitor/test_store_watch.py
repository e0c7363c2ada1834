"""What comes back from the store into the daemon, and what does not get lost on the way."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from killswitch import InvalidRequest, Switch
from monitor import daemon
from monitor.errors import LogError
from monitor.gate import open_gate
from monitor.kill.drills import Drills
from monitor.kill.store_watch import start_in
from monitor.record.host import RecorderHost
from monitor.state_dir import StateDir, write_private
from tests.monitor.engines import until
from tests.monitor.streams import ENFORCE, SECRET, WARM, config, habits, observed, strange


async def test_an_automatic_kill_that_is_no_request_reaches_people_and_frees_its_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = StateDir(tmp_path / "state")
    write_private(state.path / "secret", SECRET)

    def refuse(*_: Any, **__: Any) -> None:
        raise InvalidRequest("evidence", "has an id of 200 characters")

    with Switch(f"unix://{tmp_path}/nothing", timeout_s=0.1) as switch:
        monkeypatch.setattr(switch, "revoke", refuse)
        async with (
            RecorderHost(state.path, config(ENFORCE).record) as recorder,
            open_gate(config(ENFORCE), state) as gate,
            daemon._services(
                config(ENFORCE), state, switch, switch, Drills(), gate, recorder, {}
            ) as services,
        ):
            await services.engine.ingest(habits(WARM))
            await services.engine.ingest(observed(strange(1, "agent-1", after=WARM)))
            await until(lambda: "kill_refused" in verdicts(services.feed.newest("alert", 100)))
            alert = services.feed.newest("alert", 1)[0]["alert"]
            assert "has an id of 200 characters" in alert["title"]
            assert services.engine.pipeline.dump()["stopped"] == {}
            assert services.status()["kills_pending"] == 0


def verdicts(messages: list[dict[str, Any]]) -> list[str]:
    return [message["alert"]["verdict"] for message in messages]


async def test_what_fails_in_the_loop_is_said(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise LogError("the disk is full")

    async def work() -> None:
        done.set()

    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    with caplog.at_level(logging.CRITICAL):
        await asyncio.to_thread(start_in, loop, fail(), "change 7 is not recorded")
        await asyncio.to_thread(start_in, loop, work(), "never said")
        await done.wait()
        await until(lambda: "change 7 is not recorded: the disk is full" in caplog.text)
    assert "never said" not in caplog.text
