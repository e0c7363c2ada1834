"""The API's own description: it is valid, it says everything, and 10,000 requests made up from it break nothing."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from urllib.parse import quote, urlencode, urlsplit

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis.core import NotSet

from monitor.access.roles import ROLES
from monitor.web.openapi import document
from monitor.web.table import ENDPOINTS
from tests.monitor.daemons import FAST_CONFIG, RunningDaemon

REQUESTS = 10_000
CONFIG = FAST_CONFIG + "[killswitch]\ncontain_timeout_s = 0.01\n"
TARGETS = (
    "agent:a",
    "session:run/1",
    "human:alice@example.com",
    "tool:t",
    "tenant:x",
    "fleet",
    "pope:x",
    "agent:",
)
MAY_BE_503 = {("GET", "/readyz"), ("GET", "/v1/login")}
"""Where 503 is an answer that the description gives a meaning while nothing is broken."""


def test_the_document_is_valid_openapi() -> None:
    OpenAPIV31SpecValidator(document(ENDPOINTS)).validate()


def test_the_document_names_every_endpoint_with_what_it_takes() -> None:
    paths = document(ENDPOINTS)["paths"]
    for endpoint in ENDPOINTS:
        operation = paths[re.sub(r":\w+\}", "}", endpoint.path)][endpoint.method.lower()]
        assert operation["summary"] == endpoint.summary
        assert bool(operation["security"]) == (endpoint.permission is not None)
        assert f"`{endpoint.permission}`" in operation.get("description", "`None`")
        assert ("requestBody" in operation) == (endpoint.body is not None or endpoint.schema is not None)
    names = [operation["operationId"] for path in paths.values() for operation in path.values()]
    assert len(names) == len(set(names)) == len(ENDPOINTS)


WITHOUT_BODY = {"/v1/deliveries/{route}/test"}  # its path says it all


def test_everything_that_changes_something_says_what_its_body_is() -> None:
    for endpoint in ENDPOINTS:
        if endpoint.method in ("POST", "PUT", "PATCH") and endpoint.path not in WITHOUT_BODY:
            assert endpoint.body is not None or endpoint.schema is not None, endpoint.path


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    with RunningDaemon(tmp_path_factory.mktemp("fuzz") / "state", CONFIG) as running:
        yield running


def test_the_daemon_serves_the_document(daemon: RunningDaemon) -> None:
    assert daemon.request("GET", "/v1/openapi.json", role=None) == (200, document(ENDPOINTS))


class Fuzzer:
    """Sends what schemathesis makes up to a real daemon, as somebody who may do most, and counts the answers."""

    def __init__(self, daemon: RunningDaemon) -> None:
        parts = urlsplit(daemon.url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        self._tokens = daemon.tokens
        self._random = random.Random(7)
        self.statuses: Counter[tuple[str, str, int]] = Counter()
        self.broken: list[str] = []

    def close(self) -> None:
        self._connection.close()

    def send(self, case: schemathesis.Case) -> None:
        """Send it as each role: those who may not are a part of what must not break."""
        target, body = _target(case), self._body(case)
        for role in ROLES:
            headers = {"Authorization": f"Bearer {self._tokens[role]}", "Content-Type": "application/json"}
            self._connection.request(case.method, target, body, headers)
            response = self._connection.getresponse()
            answer = self._read(response)
            self.statuses[case.method, case.path, response.status] += 1
            if response.status >= 500 and not (
                response.status == 503 and (case.method, case.path) in MAY_BE_503
            ):
                self.broken.append(
                    f"{role}: {case.method} {target} {body!r}: {response.status} {answer[:300]!r}"
                )

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        """Return the body; of one that never ends (server-sent events) nothing, and its connection is given up."""
        if (response.getheader("Content-Type") or "").startswith("text/event-stream"):
            self._connection.close()
            return b""
        return response.read()

    @property
    def sent(self) -> int:
        return self.statuses.total()

    def _body(self, case: schemathesis.Case) -> bytes | None:
        body = case.body
        if body is None or isinstance(body, NotSet):
            return None
        if isinstance(body, bytes):
            return body
        if isinstance(body, dict) and "target" in body and self._random.random() < 0.5:
            body = {**body, "target": self._random.choice(TARGETS)}  # else hardly any would name something
        return json.dumps(body, default=repr).encode("utf-8", "surrogatepass")


def _target(case: schemathesis.Case) -> str:
    path = case.path
    for name, value in (case.path_parameters or {}).items():
        path = path.replace(f"{{{name}}}", quote(str(value), safe="", errors="surrogatepass"))
    query = {name: value for name, value in (case.query or {}).items() if value is not None}
    return path + (f"?{urlencode(query, doseq=True, errors='surrogatepass')}" if query else "")


def _fuzz(fuzzer: Fuzzer, strategy: st.SearchStrategy[schemathesis.Case], count: int) -> None:
    @settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def send(case: schemathesis.Case) -> None:
        fuzzer.send(case)

    with contextlib.suppress(Unsatisfiable):  # what takes nothing cannot be asked wrongly
        send()


def _can_vary(operation: schemathesis.APIOperation) -> bool:
    return bool(operation.body) or any(True for _ in operation.iter_parameters())


@pytest.mark.timeout(600)
def test_ten_thousand_made_up_requests_break_nothing(daemon: RunningDaemon) -> None:
    schema = schemathesis.openapi.from_dict(document(ENDPOINTS))
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) == len(ENDPOINTS)
    fixed = [operation for operation in operations if not _can_vary(operation)]
    strategies = [
        operation.as_strategy(generation_mode=mode)
        for operation in operations
        if operation not in fixed
        for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
    ]
    fuzzer, began_s = Fuzzer(daemon), time.monotonic()
    with contextlib.closing(fuzzer):
        for operation in fixed:
            _fuzz(fuzzer, operation.as_strategy(), 1)
        while fuzzer.sent < REQUESTS:
            for strategy in strategies:
                _fuzz(fuzzer, strategy, 1 + REQUESTS // (len(ROLES) * len(strategies)))
    print(f"{fuzzer.sent} requests in {time.monotonic() - began_s:.0f} s: {sorted(fuzzer.statuses.items())}")
    assert fuzzer.broken == []
    assert fuzzer.sent >= REQUESTS
    assert {(method, path) for method, path, _ in fuzzer.statuses} == {
        (operation.method.upper(), operation.path) for operation in operations
    }, "each was asked"
    assert any(status == 202 for _, path, status in fuzzer.statuses if path == "/v1/revocations"), (
        "some killed"
    )
    assert daemon.process is not None
    assert daemon.process.poll() is None
    assert daemon.request("GET", "/healthz", role=None)[0] == 200
