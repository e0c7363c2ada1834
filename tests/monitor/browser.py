"""A headless Chromium over the DevTools protocol: just what the dashboard's tests need, on `websockets` alone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from websockets.sync.client import ClientConnection, connect

DEADLINE_S = 30.0
FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--remote-debugging-port=0",
)


class PageError(AssertionError):
    """The page threw, or what was waited for did not come."""


def find_chromium() -> str | None:
    """Return the path of an installed Chromium or Chrome, or None."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
    return next((path for path in map(shutil.which, names) if path), None)


class Page:
    """One tab. Everything the page logs as an error or throws is kept in `errors`."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._last_id = 0
        self.errors: list[str] = []
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Return the result of one protocol command; events that arrive meanwhile are looked at on the way."""
        self._last_id += 1
        self._connection.send(json.dumps({"id": self._last_id, "method": method, "params": params}))
        while True:
            message = json.loads(self._connection.recv(timeout=DEADLINE_S))
            if message.get("id") == self._last_id:
                if "error" in message:
                    raise PageError(f"{method}: {message['error']['message']}")
                return dict(message["result"])
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description") or details["text"])
        elif message.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(f"{params['entry']['text']} {params['entry'].get('url', '')}".strip())

    def open(self, url: str) -> None:
        """Load a page in this tab and wait for its `load` event."""
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, expression: str) -> Any:
        """Return the value of a JavaScript expression; a promise is awaited."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise PageError(details.get("exception", {}).get("description") or details["text"])
        return answer["result"].get("value")

    def wait(self, condition: str, timeout_s: float = DEADLINE_S) -> Any:
        """Return the first true value of a JavaScript expression, asked again until the deadline."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            try:
                if value := self.run(condition):
                    return value
            except PageError as error:  # between two documents there is nothing to ask
                if "context" not in str(error) and "navigated" not in str(error):
                    raise
            time.sleep(0.02)
        raise PageError(f"never came true: {condition}\npage: {self.text()[:2000]}\nerrors: {self.errors}")

    def text(self, selector: str = "body") -> str:
        """Return what a reader sees of the first element that matches; "" when there is none."""
        return str(self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def click(self, selector: str) -> None:
        """Click in the middle of the first element that matches, with a real mouse event."""
        found = f"document.querySelector({json.dumps(selector)})"
        self.wait(f"{found}?.getClientRects().length > 0")
        box = self.run(
            f"(() => {{ const n = {found}; n.scrollIntoView({{block: 'center'}});"
            " const r = n.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        where = {"x": box[0], "y": box[1], "button": "left", "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type="mousePressed", **where)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", **where)

    def type(self, text: str) -> None:
        """Type text into what has the focus."""
        self.call("Input.insertText", text=text)

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press and release one key, such as ("Escape", 27) or ("Enter", 13, "\\r")."""
        down = {"key": key, "code": key, "windowsVirtualKeyCode": code, "text": text}
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **down)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, code=key, windowsVirtualKeyCode=code)

    def look(self, width: int, height: int, scheme: str = "dark") -> None:
        """Set the size of the window in CSS pixels and the preferred colour scheme."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])


class Browser:
    """A running Chromium; `page()` opens tabs."""

    def __init__(self, port: int) -> None:
        self._port = port

    def _json(self, path: str) -> Any:
        with urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=DEADLINE_S) as answer:
            return json.load(answer)

    @contextmanager
    def page(self) -> Iterator[Page]:
        """Yield a new tab with its own storage; it is closed at the end."""
        browser_url = self._json("/json/version")["webSocketDebuggerUrl"]
        with connect(browser_url, max_size=None, compression=None, proxy=None) as root:
            tabs = _Root(root)
            context = tabs.call("Target.createBrowserContext")["browserContextId"]
            target = tabs.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
            address = f"ws://127.0.0.1:{self._port}/devtools/page/{target}"
            try:
                with connect(address, max_size=None, compression=None, proxy=None) as connection:
                    yield Page(connection)
            finally:
                tabs.call("Target.disposeBrowserContext", browserContextId=context)


class _Root:
    """The browser's own connection, which makes and ends tabs."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._last_id = 0

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._last_id += 1
        self._connection.send(json.dumps({"id": self._last_id, "method": method, "params": params}))
        while True:
            message = json.loads(self._connection.recv(timeout=DEADLINE_S))
            if message.get("id") == self._last_id:
                return dict(message["result"])


@contextmanager
def chromium(path: str, profile: Path) -> Iterator[Browser]:
    """Start a browser with an empty profile in `profile`; it and its children are ended afterwards."""
    sandbox = ("--no-sandbox",) if os.geteuid() == 0 else ()  # Chromium refuses to start as root without
    command = [path, *FLAGS, *sandbox, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield Browser(_port(process, profile / "DevToolsActivePort"))
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(DEADLINE_S)


def _port(process: subprocess.Popen[bytes], where: Path) -> int:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise PageError(f"the browser ended at once with status {process.returncode}")
        if where.exists() and (lines := where.read_text().split()):
            return int(lines[0])
        time.sleep(0.02)
    raise PageError("the browser did not open its debugging port")
