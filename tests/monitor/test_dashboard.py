"""The dashboard: its files keep to their rules, and the page does its job in a real browser before a real daemon."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from uuid import uuid4

import pytest

from killswitch import Guard, Keyring, PublicKey, Revoked, Signer
from monitor.kill.keys import keep_keyring, open_keys
from monitor.state_dir import StateDir
from tests.monitor import browser as driver
from tests.monitor.daemons import mint_tokens

DASHBOARD = Path(__file__).parents[2] / "monitor" / "dashboard"
READY_S = 90.0  # the first start of a new version compiles its kernels
MARKUP = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>'
REVERSED = "bot-\u202egpj.exe"


# -- the files, without a browser ---------------------------------------------------------------------------------


def _modules() -> dict[str, str]:
    return {path.name: path.read_text() for path in DASHBOARD.glob("*.js")}


@pytest.mark.parametrize(
    "forbidden",
    [r"\.innerHTML", r"\.outerHTML", "insertAdjacentHTML", r"document\.write", r"\beval\(", r"new Function",
     "DOMParser", "createContextualFragment", "setHTMLUnsafe", "localStorage", r"document\.cookie", r"\.style\b"],
)  # fmt: skip
def test_no_module_can_turn_text_into_markup_or_keep_a_token_for_long(forbidden: str) -> None:
    found = [name for name, code in _modules().items() if re.search(forbidden, code)]
    assert not found


def test_the_page_has_nothing_inline_and_loads_nothing_from_elsewhere() -> None:
    page = (DASHBOARD / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\ssrc=)", page)
    assert not re.search(r"\s(style|on\w+)=", page)
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert addresses
    assert all(address.startswith("/static/") for address in addresses)
    sheet = (DASHBOARD / "style.css").read_text()
    assert "url(" not in sheet
    assert "@import" not in sheet


def test_everything_that_is_loaded_or_looked_up_exists() -> None:
    page = (DASHBOARD / "index.html").read_text()
    ids = set(re.findall(r'id="([^"]+)"', page))
    for name, code in _modules().items():
        imports = re.findall(r'from "\./([^"]+)"', code)
        assert {path for path in imports if not (DASHBOARD / path).exists()} == set(), name
        assert {found for found in re.findall(r'byId\("([^"]+)"\)', code) if found not in ids} == set(), name


TEXT_ON_GROUND = [
    (text, ground)
    for text in ("text", "muted", "accent", "critical", "high", "medium", "low", "ok")
    for ground in ("ground", "surface", "raised")
] + [
    ("critical", "critical-ground"), ("muted", "critical-ground"), ("accent", "critical-ground"),
    ("text", "critical-ground"),
    ("medium", "watch-ground"), ("high", "watch-ground"), ("text", "watch-ground"), ("ok", "ok-ground"),
    ("on-kill", "kill"), ("on-kill", "kill-hover"), ("on-solid", "solid"), ("on-solid", "solid-hover"),
]  # fmt: skip


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize(("text", "ground"), TEXT_ON_GROUND)
def test_text_has_the_contrast_of_wcag_aa(scheme: str, text: str, ground: str) -> None:
    colours = _colours(scheme)
    assert _contrast(colours[text], colours[ground]) >= 4.5  # WCAG 2.2 §1.4.3


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_fields_and_buttons_can_be_told_from_their_ground(scheme: str) -> None:
    colours = _colours(scheme)
    assert (
        min(_contrast(colours["edge"], colours[ground]) for ground in ("ground", "surface")) >= 3
    )  # §1.4.11


def _colours(scheme: str) -> dict[str, str]:
    blocks = re.findall(r":root \{(.*?)\}", (DASHBOARD / "style.css").read_text(), re.DOTALL)
    found = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block)) for block in blocks]
    return found[0] | (found[1] if scheme == "light" else {})


def _contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


# -- a real daemon ------------------------------------------------------------------------------------------------


@dataclass
class Daemon:
    """A running `killcord up` and how to speak to it."""

    process: subprocess.Popen[str]
    state: Path
    url: str
    tokens: dict[str, str]

    @property
    def redis_url(self) -> str:
        return str(json.loads((self.state / "daemon.json").read_text())["redis_url"])

    def call(self, method: str, path: str, body: object = None, role: str = "on-call") -> Any:
        headers = {"Authorization": f"Bearer {self.tokens[role]}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        with urlopen(Request(self.url + path, data, headers, method=method), timeout=20) as answer:
            return json.load(answer)

    def act(self, agent: str, tool: str = "read_file", **fields: Any) -> None:
        """Let an agent do one thing."""
        action = {
            "id": uuid4().hex,
            "ts": "2026-01-05T09:00:00Z",
            "agent_id": agent,
            "tool": tool,
            "session_id": "run-1",
            "args": {},
        }
        answer = self.call("POST", "/v1/actions", action | fields, role="sensor")
        assert answer["rejected"] == [], answer

    def revoked(self) -> dict[str, dict[str, Any]]:
        return {record["target"]: record for record in self.call("GET", "/v1/revocations")["revocations"]}

    def stop(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=READY_S)


@contextmanager
def _daemon(state: Path, port: int = 0) -> Iterator[Daemon]:
    """Run a daemon; whatever happens to the test, it ends."""
    daemon = _start(state, port)
    try:
        yield daemon
    finally:
        daemon.stop()


def _start(state: Path, port: int) -> Daemon:
    command = [sys.executable, "-m", "monitor.cli", "up", "--state", str(state), "--port", str(port)]
    log = (state.parent / f"{state.name}.log").open("ab")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    log.close()
    assert process.stdout is not None
    watchdog = threading.Timer(READY_S, process.kill)
    watchdog.start()
    for line in process.stdout:
        if line.startswith("ready "):
            watchdog.cancel()
            return Daemon(process, state, line.split()[1], mint_tokens(state))
    watchdog.cancel()
    process.communicate()
    pytest.fail(f"the daemon did not start: {Path(log.name).read_text()[-2000:]}")


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[driver.Browser]:
    path = driver.find_chromium()
    if path is None:
        pytest.skip("no Chromium or Chrome on the PATH")
    with driver.chromium(path, tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with _daemon(tmp_path_factory.mktemp("daemon") / "state") as daemon:
        yield daemon


@pytest.fixture
def daemon(running: Daemon) -> Iterator[Daemon]:
    """The module's daemon, with nothing revoked before and after."""
    yield running
    for target in running.revoked():
        running.call("POST", "/v1/restorations", {"target": target, "reason": "the test is over"})


@contextmanager
def _signed_in(chrome: driver.Browser, daemon: Daemon, role: str = "on-call") -> Iterator[driver.Page]:
    with chrome.page() as page:
        page.look(1440, 900)
        page.open(f"{daemon.url}/#token={daemon.tokens[role]}")
        page.wait("document.body.dataset.connection === 'live'")
        yield page


@pytest.fixture
def page(chrome: driver.Browser, daemon: Daemon) -> Iterator[driver.Page]:
    """The dashboard, signed in for everything; afterwards it must have logged no error, of the policy or of its own."""
    with _signed_in(chrome, daemon) as page:
        yield page
        assert page.errors == []


@contextmanager
def _guards(daemon: Daemon, *names: str) -> Iterator[list[Guard]]:
    with ExitStack() as stack:
        guards = [Guard.connect(daemon.redis_url, name=name) for name in names]
        for guard in guards:
            stack.callback(guard.close)
        yield guards


STUCK = """
import sys
from killswitch import Guard
guard = Guard.connect(sys.argv[1], name="stuck", lease_s=30)
print("up", flush=True)
sys.stdin.read()
guard.close()
"""


def _row(agent: str) -> str:
    return f"#agents tr[data-agent={json.dumps(agent, ensure_ascii=False)}]"


def _exists(selector: str) -> str:
    return f"document.querySelector({json.dumps(selector)}) !== null"


def _open_panel(page: driver.Page, agent: str, mode: str = "kill") -> None:
    page.click(f"{_row(agent)} button[data-mode={mode}]")
    page.wait("document.querySelector('#panel').open")


def _carry_out(page: driver.Page, reason: str) -> str:
    """Give a reason, press the button, and return what the panel says came of it."""
    page.type(reason)
    page.click("#panel-submit")
    page.wait("document.querySelector('#panel-submit').hidden")
    return page.text("#panel-verdict")


# -- signing in ---------------------------------------------------------------------------------------------------


@pytest.mark.browser
def test_the_token_leaves_the_address_bar_and_stays_in_this_tab_only(
    page: driver.Page, daemon: Daemon
) -> None:
    assert page.run("location.href") == f"{daemon.url}/"
    assert page.run("[...Array(history.length)].length && document.cookie + localStorage.length") == "0"
    assert page.run("sessionStorage.getItem('killcord.token')") == daemon.tokens["on-call"]


@pytest.mark.browser
def test_without_a_token_the_page_asks_for_one(chrome: driver.Browser, daemon: Daemon) -> None:
    with chrome.page() as page:
        page.open(f"{daemon.url}/")
        page.wait("document.activeElement.id === 'token'")
        assert page.run("document.querySelector('#board').hidden")
        page.type("not-a-token-of-this-daemon")
        page.press("Enter", 13, "\r")
        page.wait("document.querySelector('#sign-in-problem').innerText.includes('does not know this token')")
        page.type(daemon.tokens["analyst"])
        page.press("Enter", 13, "\r")
        page.wait("document.body.dataset.connection === 'live'")


@pytest.mark.browser
def test_a_token_that_may_only_watch_is_told_so(chrome: driver.Browser, daemon: Daemon) -> None:
    daemon.act("watched")
    with _signed_in(chrome, daemon, "analyst") as page:
        _open_panel(page, "watched")
        page.type("curiosity")
        page.click("#panel-submit")
        page.wait("document.querySelector('#panel-problem').innerText.includes('may only watch')")
        assert page.run("document.querySelector('#panel-reason').value") == "curiosity"
    assert daemon.revoked() == {}


# -- what is shown ------------------------------------------------------------------------------------------------


@pytest.mark.browser
def test_an_agent_appears_with_its_first_action(page: driver.Page, daemon: Daemon) -> None:
    daemon.act("newcomer", tool="search_docs", agent_version="v7")
    page.wait(_exists(_row("newcomer")))
    shown = page.text(_row("newcomer"))
    assert "v7" in shown
    assert "Learning 1/" in shown
    assert "search_docs" in shown


@pytest.mark.browser
def test_a_kill_by_the_api_shows_at_once_with_who_and_why(page: driver.Page, daemon: Daemon) -> None:
    daemon.act("far-away")
    page.wait(_exists(_row("far-away")))
    daemon.call("POST", "/v1/revocations", {"target": "agent:far-away", "reason": "it spends too much"})
    page.wait(_exists(_row("far-away") + "[data-cut=revoke]"))
    assert "Revoked" in page.text(_row("far-away"))
    listed = page.text('#cut-list [data-target="agent:far-away"]')
    assert "it spends too much" in listed
    assert "by the-on-call" in listed


@pytest.mark.browser
def test_what_an_agent_calls_itself_is_text_everywhere(page: driver.Page, daemon: Daemon) -> None:
    daemon.act(MARKUP, tool=MARKUP, agent_version=MARKUP)
    page.wait(_exists(_row(MARKUP)))
    assert MARKUP in page.text(_row(MARKUP))
    _open_panel(page, MARKUP)
    assert page.text("#panel-target") == f"agent:{MARKUP}"
    _carry_out(page, MARKUP)
    page.click("#panel-cancel")
    page.wait(_exists("#cut-list li"))
    assert MARKUP in page.text("#cut-list .reason")
    assert (
        page.run("document.querySelectorAll('main img, main script, dialog img, dialog script').length") == 0
    )
    assert page.run("window.pwned") is None
    assert daemon.revoked()[f"agent:{MARKUP}"]["reason"] == MARKUP


@pytest.mark.browser
def test_a_name_that_turns_the_text_around_is_spelled_out(page: driver.Page, daemon: Daemon) -> None:
    daemon.act(REVERSED)
    page.wait(_exists(_row(REVERSED)))
    assert page.text(_row(REVERSED) + " .name") == "bot-⟨U+202E⟩gpj.exe"


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_a_phone_can_find_and_kill_an_agent_without_scrolling_sideways(
    chrome: driver.Browser, daemon: Daemon, scheme: str
) -> None:
    name = "long-" + "x" * 200
    daemon.act(name, tool="t" * 200)
    with _signed_in(chrome, daemon) as page:
        page.look(390, 844, scheme)
        page.click(".tabs button[data-view=agents]")
        page.click("#agents-find")
        page.type("long-")
        page.wait("document.querySelectorAll('#agents tr').length === 1")
        assert page.run("document.documentElement.scrollWidth") <= 390
        _open_panel(page, name)
        assert page.run("document.querySelector('#panel').getBoundingClientRect().right") <= 390
        _carry_out(page, "woken at three")
        assert f"agent:{name}" in daemon.revoked()


# -- killing and restoring ----------------------------------------------------------------------------------------


@pytest.mark.browser
def test_a_kill_is_enforced_elsewhere_and_each_point_is_named(page: driver.Page, daemon: Daemon) -> None:
    daemon.act("thief")
    with _guards(daemon, "proxy-1", "proxy-2") as guards:
        page.wait(_exists(_row("thief")))
        page.wait("document.querySelector('[data-stat=points] dd').innerText.startsWith('2/')")
        _open_panel(page, "thief")
        page.wait("document.querySelector('#panel-effects').innerText.includes('2 live enforcement points')")
        assert re.fullmatch(r"Enforced 2/2 in [\d.]+\sm?s", _carry_out(page, "posts data to a stranger"))
        page.wait("document.querySelectorAll('#panel-points [data-state=confirmed]').length === 2")
        assert {"proxy-1", "proxy-2"} <= set(page.text("#panel-points").split())
        for guard in guards:
            with pytest.raises(Revoked):
                guard.check(agent="thief")
        record = daemon.revoked()["agent:thief"]
        assert (record["level"], record["reason"], record["by"]) == (
            "revoke",
            "posts data to a stranger",
            "the-on-call",
        )
        page.press("Escape", 27)
        page.wait(_exists(_row("thief") + "[data-cut=revoke]"))

        _open_panel(page, "thief", "restore")
        assert _carry_out(page, "it was a test").startswith("Restored: 2/2 in")
        page.wait(f"!({_exists(_row('thief') + '[data-cut]')})")
        for guard in guards:
            guard.check(agent="thief")
    assert daemon.revoked() == {}


@pytest.mark.browser
def test_a_point_that_stays_silent_is_named(page: driver.Page, daemon: Daemon) -> None:
    daemon.act("runaway")
    with subprocess.Popen(
        [sys.executable, "-c", STUCK, daemon.redis_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as point:
        assert point.stdout is not None
        assert point.stdout.readline() == b"up\n"
        with _guards(daemon, "well"):
            page.wait("document.querySelector('[data-stat=points] dd').innerText.startsWith('2/')")
            point.send_signal(
                signal.SIGSTOP
            )  # alive for the store until its lease is over, deaf to everything
            try:
                page.wait(_exists(_row("runaway")))
                _open_panel(page, "runaway")
                page.wait(
                    "document.querySelector('#panel-effects').innerText.includes('2 live enforcement points')"
                )
                assert _carry_out(page, "stop it").startswith("Not contained: 1/2 after")
                assert "Not confirmed by stuck" in page.text("#panel-notes")
            finally:
                point.send_signal(signal.SIGCONT)
            page.wait("document.querySelector('#panel-verdict').innerText.startsWith('Enforced 2/2')")


@pytest.mark.browser
@pytest.mark.parametrize("reason", ["", "  \n "])
def test_without_a_reason_nothing_is_sent(page: driver.Page, daemon: Daemon, reason: str) -> None:
    daemon.act("innocent")
    page.wait(_exists(_row("innocent")))
    _open_panel(page, "innocent")
    page.type(reason)
    page.click("#panel-submit")
    page.wait("document.querySelector('#panel-problem').innerText.startsWith('Say why')")
    assert page.run("document.activeElement.id") == "panel-reason"
    page.press("Escape", 27)
    page.wait("!document.querySelector('#panel').open")
    assert daemon.revoked() == {}


@pytest.mark.browser
def test_the_daemon_refuses_a_kill_without_a_reason_too(daemon: Daemon) -> None:
    with pytest.raises(HTTPError) as refusal:
        daemon.call("POST", "/v1/revocations", {"target": "agent:innocent", "reason": ""})
    with refusal.value as answer:
        assert answer.code == 422
        assert json.load(answer)["field"] == "reason"


@pytest.mark.browser
def test_a_restoration_that_others_have_to_agree_to_says_how_many(
    chrome: driver.Browser, tmp_path: Path
) -> None:
    state = StateDir(tmp_path / "state")
    keyring = open_keys(state).keyring
    assert keyring is not None
    operators = (PublicKey.of(Signer.generate(name), "operator") for name in ("alice", "bob"))
    keep_keyring(state, Keyring(1, (*keyring.keys, *operators), {"*": 2}))
    with _daemon(state.path) as daemon, _signed_in(chrome, daemon) as page:
        daemon.act("thief")
        daemon.call("POST", "/v1/revocations", {"target": "agent:thief", "reason": "it steals"})
        page.wait(_exists(_row("thief") + "[data-cut=revoke]"))
        _open_panel(page, "thief", "restore")
        page.type("it was a test")
        page.click("#panel-submit")
        page.wait("document.querySelector('#panel-problem').innerText.startsWith('Not done: ')")
        assert "restoring agent:thief needs 2 more approvals" in page.text("#panel-problem")
        assert page.run("document.querySelector('#panel-reason').value") == "it was a test"
        assert set(daemon.revoked()) == {"agent:thief"}


@pytest.mark.browser
def test_no_single_key_kills(page: driver.Page, daemon: Daemon) -> None:
    daemon.act("bystander")
    page.wait(_exists(_row("bystander")))
    for key in "abcdefghijklmnopqrstuvwxyz":
        page.press(key, ord(key.upper()), key)
    for key, code in (("Enter", 13), ("Delete", 46), ("Backspace", 8)):
        page.press(key, code)
    assert page.run("document.querySelector('#panel').open") is False
    _open_panel(page, "bystander")
    page.type("a reason is there")
    page.press("Enter", 13, "\r")  # a new line, in the reason
    page.run("document.querySelector('#panel-by').focus()")
    page.press("Enter", 13, "\r")  # nothing, in the name
    assert page.run("document.querySelector('#panel-submit').disabled") is False
    assert daemon.revoked() == {}


# -- losing the daemon --------------------------------------------------------------------------------------------


@pytest.mark.browser
def test_a_lost_daemon_is_said_plainly_and_found_again(chrome: driver.Browser, tmp_path: Path) -> None:
    with ExitStack() as stack:
        with _daemon(tmp_path / "state") as daemon:
            page = stack.enter_context(_signed_in(chrome, daemon))
            daemon.act("survivor")
            page.wait(_exists(_row("survivor")))
        page.wait("document.querySelector('[data-banner=lost]')?.innerText.includes('Not connected since')")
        page.wait("document.querySelector('#connection').innerText.startsWith('Reconnecting in')")
        assert page.run("document.title") == "(not connected) Killcord"
        again = stack.enter_context(_daemon(tmp_path / "state", int(daemon.url.rpartition(":")[2])))
        kill = {"target": "agent:survivor", "reason": "while you were away"}
        again.call("POST", "/v1/revocations", kill)
        page.wait("document.body.dataset.connection === 'live'")
        page.wait(_exists(_row("survivor") + "[data-cut]"))
        assert page.run("document.querySelector('[data-banner=lost]').hidden")


# -- alerts, through the page's own modules: a daemon needs long histories before it raises one --------------------


ALERT: dict[str, Any] = {
    "id": "al-1",
    "ts": "2026-01-05T09:00:00Z",
    "agent_id": MARKUP,
    "session_id": MARKUP,
    "tool": MARKUP,
    "action_id": "x",
    "action_seq": 1,
    "verdict": "anomalous",
    "severity": "critical",
    "p": 1.2e-7,
    "threshold_p": 1e-4,
    "title": f"title {MARKUP}",
    "reasons": [
        {
            "signal": "novelty",
            "observed": MARKUP,
            "expected": "3 hosts",
            "p": 2e-6,
            "sentence": "Never sent there before",
        }
    ],
    "response": {"mode": "enforce", "wanted": "revoke", "taken": "revoke", "why": MARKUP, "change_id": "c1"},
    "on_behalf_of": ["alice@example.com", MARKUP],
    "credential": None,
    "policy": None,
}


@pytest.fixture
def alerts(chrome: driver.Browser, daemon: Daemon) -> Iterator[driver.Page]:
    """A page that nobody signed in to, with a store and an alert list of its own."""
    with chrome.page() as page:
        page.look(1440, 900)
        page.open(f"{daemon.url}/")
        page.wait("!document.querySelector('#sign-in').hidden")
        page.run("new Promise((done) => setTimeout(done, 200))")  # the page's own first beat is over
        page.run(
            "Promise.all([import('/static/store.js'), import('/static/alerts.js')]).then(([{Store}, {AlertsView}]) => {"
            " window.store = new Store(); new AlertsView(store, () => {});"
            " document.querySelector('#board').hidden = false; document.querySelector('#sign-in').hidden = true; })"
        )
        yield page
        assert page.errors == []


def _feed(page: driver.Page, *alerts: dict[str, Any]) -> None:
    page.run(f"{json.dumps(alerts)}.forEach((alert) => store.receive({{type: 'alert', alert}}))")


@pytest.mark.browser
def test_an_alert_says_what_was_strange_how_unlikely_and_what_was_done(alerts: driver.Page) -> None:
    _feed(alerts, ALERT)
    # Not drawn before it is in sight (content-visibility), so its text is awaited, not only its element.
    alerts.wait("document.querySelector('#alerts .alert')?.innerText.includes('Revoked automatically')")
    shown = alerts.text("#alerts .alert")
    for part in (
        "Critical", "title", "Never sent there before", "observed <img", "expected 3 hosts", "p 2.0\u00a0×\u00a010⁻⁶",
        "p 1.2\u00a0×\u00a010⁻⁷, alert below 10⁻⁴", "Revoked automatically", "Kill",
    ):  # fmt: skip
        assert part in shown, part
    alerts.click("#alerts summary")
    alerts.wait("document.querySelector('#alerts .facts').innerText.includes('alice@example.com →')")
    assert alerts.run("document.querySelectorAll('main img, main script').length") == 0
    assert alerts.run("window.pwned") is None


@pytest.mark.browser
def test_a_reason_says_nothing_twice(alerts: driver.Page) -> None:
    reason = {"signal": "size", "observed": "12 characters", "expected": "3 to 5", "p": 1e-5}
    wordy = reason | {"sentence": "Arguments of 12 characters, where 3 to 5 are usual"}
    _feed(
        alerts,
        ALERT
        | {
            "title": wordy["sentence"],
            "reasons": [wordy, wordy | {"sentence": "12 characters"}, wordy | {"expected": "none"}],
        },
    )
    alerts.wait("document.querySelectorAll('#alerts .reason-item')[1]?.innerText.includes('none')")
    shown = alerts.run("[...document.querySelectorAll('#alerts .reason-item')].map((node) => node.innerText)")
    assert [text.split("\n") for text in shown] == [
        ["12 characters", "expected 3 to 5", "p 10⁻⁵"],
        ["expected none", "p 10⁻⁵"],
    ]


@pytest.mark.browser
def test_the_page_holds_at_most_five_hundred_alerts_and_the_same_one_once(alerts: driver.Page) -> None:
    _feed(alerts, *[ALERT | {"id": f"al-{i}"} for i in range(620)], ALERT | {"id": "al-619"})
    alerts.wait("document.querySelectorAll('#alerts .alert').length === 500")
    order = alerts.run("[...document.querySelectorAll('#alerts .alert')].map((node) => node.dataset.alert)")
    assert order == [f"al-{i}" for i in range(619, 119, -1)]
    assert alerts.text("#alerts-count") == "newest 500"


@pytest.mark.browser
def test_a_fetched_list_and_the_feed_become_one_order_without_repeats(alerts: driver.Page) -> None:
    _feed(alerts, *[ALERT | {"id": f"al-{i}"} for i in (3, 4)])
    alerts.run(f"store.mergeAlerts({json.dumps([ALERT | {'id': f'al-{i}'} for i in (3, 2, 1)])}, 2)")
    assert alerts.run("store.alerts.map((alert) => alert.id)") == ["al-4", "al-3", "al-2", "al-1"]


@pytest.mark.browser
def test_a_list_in_use_stands_still_and_counts_what_waits(alerts: driver.Page) -> None:
    _feed(alerts, ALERT)
    alerts.wait(_exists("#alerts .alert"))
    alerts.click("#alerts summary")
    _feed(alerts, ALERT | {"id": "al-2"})
    alerts.wait("document.querySelector('#alerts-held').innerText.startsWith('1 new alert')")
    assert alerts.run("document.querySelectorAll('#alerts .alert').length") == 1
    alerts.click("#alerts-held")
    alerts.wait("document.querySelectorAll('#alerts .alert').length === 2")


# -- words and figures --------------------------------------------------------------------------------------------


@pytest.mark.browser
@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("probability(1.2e-7)", "1.2\u00a0×\u00a010⁻⁷"),
        ("probability(1e-12)", "10⁻¹²"),
        ("probability(0.0021)", "0.0021"),
        ("probability(null)", "–"),
        ("odds(1e-7)", "1 in 10 million"),
        ("odds(0.25)", "1 in 4"),
        ("odds(1e-40)", "under 1 in 1000 trillion"),
        ("ms(3.14)", "3.1\u00a0ms"),
        ("ms(2000)", "2.0\u00a0s"),
        ("count(1234567)", "1\u202f234\u202f567"),
        ("ago(100, 160500)", "1 min"),
        ("ago('2026-01-05T09:00:00Z', Date.parse('2026-01-05T11:30:00Z'))", "2 h"),
        ("plain('a\\u202eb\\nc\\u0000')", "a⟨U+202E⟩b⟨U+000A⟩c⟨U+0000⟩"),
        ("plain('x'.repeat(500), 3)", "xxx…"),
        ("names(['a', 'b', 'c'], 2)", "a, b and 1 more"),
    ],
)
def test_values_become_words(alerts: driver.Page, call: str, words: str) -> None:
    assert alerts.run(f"import('/static/format.js').then(({{{call.partition('(')[0]}}}) => {call})") == words


@pytest.mark.browser
def test_one_replicas_word_does_not_stand_for_another(alerts: driver.Page) -> None:
    point = {"host": "h", "live": True}
    expected = [
        point | {"id": "p1", "name": "proxy", "pid": 1},
        point | {"id": "p2", "name": "proxy", "pid": 2},
    ]
    response = {"epoch": 7, "enforced": 1, "points": 2, "missing": ["proxy (h, pid 2)"]}
    missing = (
        "import('/static/containment.js').then(({containment}) => containment({epoch: 7, response: "
        + json.dumps(response)
        + ", expected: "
        + json.dumps(expected)
        + ", acks: new Map([[7, new Map([[%s, 1]])]])}).missing)"
    )
    assert alerts.run(missing % "'proxy'") == ["proxy (h, pid 2)"]
    assert alerts.run(missing % "'p1'") == ["proxy (h, pid 2)"]
    assert alerts.run(missing % "'p2'") == []


@pytest.mark.browser
def test_a_point_whose_own_check_says_otherwise_has_not_confirmed(alerts: driver.Page) -> None:
    point = {"host": "h", "live": True}
    expected = [
        point | {"id": "p1", "name": "good", "pid": 1},
        point | {"id": "p2", "name": "bad", "pid": 2},
    ]
    response = {"epoch": 7, "enforced": 1, "points": 2, "missing": [], "contrary": ["bad (h, pid 2)"]}
    found = alerts.run(
        "import('/static/containment.js').then(({containment}) => containment({epoch: 7, response: "
        + json.dumps(response)
        + ", expected: "
        + json.dumps(expected)
        + ", acks: new Map([[7, new Map([['p1', 1], ['p2', 1]])]])}))"
    )
    assert (found["confirmed"], found["total"], found["isContained"]) == (1, 2, False)
    assert found["missing"] == ["bad (h, pid 2)"]
