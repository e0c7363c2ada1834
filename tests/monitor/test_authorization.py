"""Who may use what: every entry of the table and the feed's socket, against every role and every kind of stranger.

The expectations are written out by hand. An endpoint without a line here fails, and so does a line that the table's
permission does not keep.
"""

from __future__ import annotations

import http.client
import itertools
import re
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from starlette.routing import Mount, Route, WebSocketRoute
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from monitor.access.roles import ROLES
from monitor.access.token_file import TokenFile
from monitor.access.tokens import id_of, make_secret, written
from monitor.state_dir import StateDir
from monitor.telemetry import Telemetry
from monitor.web.app import create_app
from monitor.web.table import ENDPOINTS
from tests.monitor.daemons import FAST_CONFIG, RunningDaemon, mint_token

READERS = {"analyst", "on-call", "admin", "auditor"}
TRIAGE = {"analyst", "on-call", "admin"}
KILLERS = {"on-call", "admin"}
AUDITORS = {"admin", "auditor"}
KNOWN = set(ROLES)  # whoever is somebody
EVERYBODY = KNOWN | {None}

MAY_USE: dict[tuple[str, str], set[Any]] = {
    ("POST", "/v1/actions"): {"sensor"},
    ("GET", "/v1/actions"): READERS,
    ("GET", "/v1/agents"): READERS,
    ("GET", "/v1/agents/{agent_id:path}"): READERS,
    ("GET", "/v1/blast-radius"): READERS,
    ("GET", "/v1/transitions"): READERS,
    ("GET", "/v1/drills"): READERS,
    ("GET", "/v1/status"): READERS,
    ("GET", "/v1/deliveries"): READERS,
    ("POST", "/v1/deliveries/{route}/test"): TRIAGE,
    ("GET", "/v1/alerts"): READERS,
    ("GET", "/v1/alerts/{alert_id}"): READERS,
    ("POST", "/v1/alerts/changes"): TRIAGE,
    ("GET", "/v1/mutes"): READERS,
    ("POST", "/v1/mutes"): TRIAGE,
    ("DELETE", "/v1/mutes/{mute_id}"): TRIAGE,
    ("GET", "/v1/feed/events"): READERS,
    ("GET", "/v1/feed/messages"): READERS,
    ("GET", "/v1/feed/schema"): READERS,
    ("GET", "/v1/revocations"): READERS,
    ("POST", "/v1/revocations"): KILLERS,
    ("POST", "/v1/restorations"): KILLERS,
    ("POST", "/v1/session"): EVERYBODY,
    ("GET", "/v1/session"): KNOWN,
    ("DELETE", "/v1/session"): KNOWN,
    ("GET", "/v1/login"): EVERYBODY,
    ("GET", "/v1/login/callback"): EVERYBODY,
    ("GET", "/v1/audit"): AUDITORS,
    ("GET", "/v1/openapi.json"): EVERYBODY,
    ("GET", "/healthz"): EVERYBODY,
    ("GET", "/readyz"): EVERYBODY,
    ("GET", "/metrics"): EVERYBODY,
    ("SOCKET", "/v1/feed"): READERS,
}
OUTSIDE_THE_TABLE = {("SOCKET", "/v1/feed"), ("GET", "/"), ("FILES", "/static")}

_UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


class Sender(NamedTuple):
    """Somebody who asks: `role` is None for strangers; `headers` are what they send."""

    name: str
    role: str | None
    headers: dict[str, str]


class World:
    """A real daemon and all who may come to it."""

    def __init__(self, daemon: RunningDaemon) -> None:
        self.daemon = daemon
        self.host, self.port = urlsplit(daemon.url).hostname, urlsplit(daemon.url).port
        self.origin = daemon.url
        self._addresses = (f"127.1.{high}.{low}" for high, low in itertools.product(range(1, 255), repeat=2))
        revoked = mint_token(daemon.state, "admin")
        TokenFile(StateDir(daemon.state).token_file).revoke(id_of(revoked), time.time())
        self.strangers = [
            Sender("nobody", None, {}),
            Sender("an unknown token", None, bearer(written("0123456789ab", make_secret()))),
            Sender("a wrong secret", None, bearer(written(id_of(daemon.tokens["admin"]), make_secret()))),
            Sender("a local token of another run", None, bearer(written("local", make_secret()))),
            Sender("a revoked token", None, bearer(revoked)),
            Sender("an expired token", None, bearer(mint_token(daemon.state, "admin", expires_at_s=1.0))),
            Sender("an unknown cookie", None, {"Cookie": f"killcord={make_secret()}", "Origin": self.origin}),
            Sender("no token at all", None, {"Authorization": "Basic YWRtaW46YWRtaW4="}),
        ]

    def known(self, role: str) -> list[Sender]:
        """The same role by token and by a new session."""
        token = self.daemon.tokens[role]
        return [
            Sender(f"{role} by token", role, bearer(token)),
            Sender(f"{role} by session", role, self.sign_in(token)),
        ]

    def sign_in(self, token: str) -> dict[str, str]:
        status, body, headers = self.raw("POST", "/v1/session", {}, {"token": token})
        assert status == 201, body
        cookie = headers["set-cookie"].split(";")[0]
        return {"Cookie": cookie, "Origin": self.origin, "X-Killcord-CSRF": body["csrf"]}

    def raw(self, method: str, path: str, headers: dict[str, str], body: Any = None) -> tuple[int, Any, Any]:
        import json

        # From an address of its own each time, so that no failure slows the next request.
        connection = http.client.HTTPConnection(
            self.host or "", self.port, timeout=30, source_address=(next(self._addresses), 0)
        )
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            is_json = response.headers.get("content-type", "").startswith("application/json")
            return response.status, json.loads(response.read()) if is_json else None, response.headers
        finally:
            connection.close()

    def status(self, method: str, path: str, sender: Sender) -> int:
        """The status of a request that changes nothing: its body is empty, or of no meaning."""
        path = re.sub(r"\{\w+(:\w+)?\}", "x", path)
        if method == "SOCKET":
            return self.raw("GET", path, {**sender.headers, **_UPGRADE})[0]
        return self.raw(method, path, sender.headers, {} if method in ("POST", "PUT", "PATCH") else None)[0]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with RunningDaemon(tmp_path_factory.mktemp("matrix") / "state", FAST_CONFIG) as running:
        yield World(running)


def test_every_endpoint_has_a_line_here() -> None:
    table = {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}
    written_out = set(MAY_USE) - OUTSIDE_THE_TABLE
    assert table - written_out == set(), "say above who may use these"
    assert written_out - table == set(), "these are no more"
    assert len(table) == len(ENDPOINTS), "no endpoint is there twice"


def test_nothing_is_served_that_is_not_in_the_table() -> None:
    served = set()
    for route in create_app(SimpleNamespace(telemetry=Telemetry())).routes:  # type: ignore[arg-type]
        match route:
            case WebSocketRoute():
                served.add(("SOCKET", route.path))
            case Mount():
                served.add(("FILES", route.path))
            case Route():
                served |= {(method, route.path) for method in (route.methods or set()) - {"HEAD"}}
            case _:
                raise AssertionError(f"what is {route!r}?")
    assert served - {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS} == OUTSIDE_THE_TABLE


@pytest.mark.parametrize(("method", "path"), MAY_USE)
@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_use_what_it_is_for_and_nothing_else(
    world: World, method: str, path: str, role: str
) -> None:
    for sender in world.known(role):
        status = world.status(method, path, sender)
        if role in MAY_USE[method, path]:
            assert status not in (401, 403, 429), (sender.name, status)
            assert status < 500 or path == "/readyz", (sender.name, status)
        else:
            assert status == 403, sender.name


@pytest.mark.parametrize(("method", "path"), MAY_USE)
def test_a_stranger_may_use_only_what_is_for_everybody(world: World, method: str, path: str) -> None:
    for sender in world.strangers:
        status = world.status(method, path, sender)
        if None in MAY_USE[method, path]:
            assert status not in (401, 403, 429), (sender.name, status)
        elif method == "SOCKET" and "Origin" in sender.headers:
            assert status in (401, 403), sender.name
        else:
            assert status == 401, sender.name


# -- the socket -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", None])
def test_another_sites_page_opens_no_socket_with_somebodys_cookie(world: World, origin: str | None) -> None:
    headers = world.sign_in(world.daemon.tokens["admin"])
    right = world.status("SOCKET", "/v1/feed", Sender("own page", "admin", headers))
    forged = {**headers, "Origin": origin} if origin else {"Cookie": headers["Cookie"]}
    assert right == 101
    assert world.status("SOCKET", "/v1/feed", Sender("other page", "admin", forged)) == 403


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
def test_another_sites_page_opens_no_socket_with_a_token_either(world: World, origin: str) -> None:
    headers = {**bearer(world.daemon.tokens["admin"]), "Origin": origin}
    assert world.status("SOCKET", "/v1/feed", Sender("other page", "admin", headers)) == 403


def test_a_browsers_token_as_a_subprotocol_opens_the_socket(world: World) -> None:
    for token, status in (
        (world.daemon.tokens["auditor"], 101),
        (world.daemon.tokens["sensor"], 403),
        ("x" * 20, 401),
    ):
        headers = {"Sec-WebSocket-Protocol": f"killcord.v1, bearer.{token}", "Origin": world.origin}
        assert world.status("SOCKET", "/v1/feed", Sender("browser", None, headers)) == status


@pytest.mark.parametrize("how", ["token", "session", "sign out"])
def test_an_open_socket_ends_with_its_token_and_its_session(world: World, how: str) -> None:
    token = mint_token(world.daemon.state, "analyst")
    world.daemon.wait_for(lambda: world.raw("GET", "/v1/alerts", bearer(token))[0] == 200, "the new token")
    headers = bearer(token) if how == "token" else world.sign_in(token)
    origin = headers.pop("Origin", None)
    url = f"ws{world.daemon.url.removeprefix('http')}/v1/feed"
    with connect(url, additional_headers=headers, origin=origin, proxy=None) as socket:  # type: ignore[arg-type]
        socket.recv(timeout=10)
        if how == "sign out":
            assert world.raw("DELETE", "/v1/session", {**headers, "Origin": world.origin})[0] == 204
        else:
            TokenFile(StateDir(world.daemon.state).token_file).revoke(id_of(token), time.time())
        assert _end_of(socket) == 1008


def _end_of(socket: ClientConnection) -> int:
    """The code that the daemon closes a socket with, within ten seconds."""
    deadline_s = time.monotonic() + 10.0
    while time.monotonic() < deadline_s:
        try:
            socket.recv(timeout=10)
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 0
    raise AssertionError("the socket is still open")
