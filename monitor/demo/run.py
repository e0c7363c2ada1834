"""`killcord demo`: sets the stage, tells the story, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import json
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom

from monitor.demo.agent_process import Setup
from monitor.demo.crew import Crew
from monitor.demo.daemon_process import DaemonProcess
from monitor.demo.errors import StoryFailed
from monitor.demo.feed_reader import FeedReader
from monitor.demo.findings import Findings
from monitor.demo.fleet import make_fleet
from monitor.demo.narrator import Narrator, narrator
from monitor.demo.story import Story
from monitor.errors import ConfigError

MIN_AGENTS = 20
MAX_AGENTS = 200
"""Each is a process; a machine with two cores starts about that many in ten seconds."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What `killcord demo` was asked for.

    Parameters
    ----------
    once
        End by itself; otherwise everything stays up until Ctrl-C.
    json
        Print one JSON object last on standard output, and the story on standard error.
    agents
        Size of the fleet, 20 to 200.
    seed
        Of the simulation; None takes another one each time, and names it.
    state
        An empty or new directory that is kept; None makes one and removes it at the end.
    """

    once: bool = False
    json: bool = False
    agents: int = 24
    seed: int | None = None
    state: Path | None = None


def run(options: DemoOptions) -> int:
    """Tell the story; return 0 only if it held.

    Takes about half a minute. Every process that it starts is gone when it returns, whatever happened. Belongs
    into the main thread where Ctrl-C and SIGTERM are to end it.

    Raises
    ------
    ConfigError
        If the options make no sense.
    """
    if not MIN_AGENTS <= options.agents <= MAX_AGENTS:
        raise ConfigError("--agents", f"is {MIN_AGENTS} to {MAX_AGENTS}")
    findings = Findings(agents=options.agents)
    tell = narrator(json=options.json)
    with _terminable(), _state(options.state) as state:
        try:
            _stage(options, state, tell, findings)
        except StoryFailed as error:
            findings.failed = str(error)
        except KeyboardInterrupt:
            findings.failed = "it was interrupted"
    problem = findings.problem()
    tell.say(f"The story did not hold: {problem}." if problem else "The story held.")
    if options.json:
        print(json.dumps(findings.as_json()), flush=True)  # noqa: T201
    return 1 if problem else 0


def _stage(options: DemoOptions, state: Path, tell: Narrator, findings: Findings) -> None:
    """Start everything, play the scenes, stop everything."""
    seed = SystemRandom().randrange(10**6) if options.seed is None else options.seed
    until_s = time.time()
    tell.say(f"Starting the daemon, its store and {options.agents} simulated agents (seed {seed}).")
    with contextlib.ExitStack() as stack:
        daemon = stack.enter_context(DaemonProcess(state))
        fleet = make_fleet(seed, options.agents)
        daemon.wait_ready(lambda: tell.progress("the daemon starts (the first time it compiles the models)"))
        feed = stack.enter_context(FeedReader(daemon.address.url, daemon.token))
        setups = [_setup(seed, options.agents, number, until_s, daemon) for number in range(options.agents)]
        crew = stack.enter_context(Crew(setups))
        tell.say(f"The dashboard: {daemon.dashboard}")
        story = Story(seed, fleet, daemon, feed, crew, tell, findings)
        story.learn(until_s)
        story.work()
        story.hijack()
        story.kill_by_hand()
        story.restore()
        if not options.once:
            _stay(daemon, tell)
        story.account()


def _setup(seed: int, agents: int, number: int, until_s: float, daemon: DaemonProcess) -> Setup:
    return Setup(
        seed=seed,
        agents=agents,
        number=number,
        history_until_s=until_s,
        url=daemon.address.url,
        token=daemon.token,
        redis_url=daemon.address.point_url,
        keyring=daemon.keyring,
    )


def _stay(daemon: DaemonProcess, tell: Narrator) -> None:
    """Return at Ctrl-C; the agents go on working meanwhile."""
    tell.say(
        "Everything stays up; Ctrl-C ends it.", f"dashboard: {daemon.dashboard}", f"state: {daemon.state}"
    )
    try:
        while daemon.is_running():
            time.sleep(0.5)
    except KeyboardInterrupt:
        return
    raise StoryFailed("the daemon ended")


@contextlib.contextmanager
def _state(path: Path | None) -> Iterator[Path]:
    """Give the state directory; one of our own is removed at the end."""
    if path is None:
        with tempfile.TemporaryDirectory(prefix="killcord-demo-", ignore_cleanup_errors=True) as made:
            yield Path(made)
        return
    path = path.absolute()
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    if any(path.iterdir()):
        raise ConfigError("--state", f"{path} is not empty: the demo would mix with what is there")
    yield path


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM unwind everything as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
