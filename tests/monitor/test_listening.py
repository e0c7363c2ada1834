"""TLS by files, and kills on a port of their own: a real daemon, real certificates, real connections."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trustme
from websockets.sync.client import connect

from monitor.config import Server
from monitor.errors import ConfigError, DaemonError
from monitor.listening import Tls, listen
from tests.monitor.daemons import FAST_CONFIG, RunningDaemon

KILL = {"target": "agent:x", "reason": "test"}


class Certificates:
    """A certificate authority, and the files that a daemon serves with."""

    def __init__(self, directory: Path) -> None:
        self.ca = trustme.CA()
        self.cert, self.key, self.ca_file = (directory / name for name in ("cert.pem", "key.pem", "ca.pem"))
        self.ca.cert_pem.write_to_path(self.ca_file)
        self.issue()

    def issue(self) -> None:
        made = self.ca.issue_cert("127.0.0.1", "localhost")
        self.key.write_bytes(made.private_key_pem.bytes())
        self.cert.write_bytes(b"".join(part.bytes() for part in made.cert_chain_pems))

    def config(self) -> str:
        return f'[server]\ntls_cert = "{self.cert}"\ntls_key = "{self.key}"\n'

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca_file)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def call(
    url: str, method: str, path: str, token: str, body: Any = None, context: ssl.SSLContext | None = None
) -> tuple[int, Any, dict[str, str]]:
    parts = urlsplit(url)
    if parts.scheme == "https":
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            parts.hostname or "", parts.port, timeout=30, context=context
        )
    else:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    data = None if body is None else json.dumps(body).encode()
    try:
        connection.request(method, path, data, {"Authorization": f"Bearer {token}"})
        response = connection.getresponse()
        return response.status, json.loads(response.read()), {k.lower(): v for k, v in response.getheaders()}
    finally:
        connection.close()


def killcord(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "monitor.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


# -- TLS ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tls_daemon(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[RunningDaemon]:
    state = tmp_path_factory.mktemp("tls") / "state"
    with RunningDaemon(state, FAST_CONFIG + certificates.config()) as running:
        yield running


def test_requests_and_the_feed_go_over_tls_and_browsers_are_told_to_insist(
    tls_daemon: RunningDaemon, certificates: Certificates
) -> None:
    assert tls_daemon.url.startswith("https://")
    token = tls_daemon.tokens["analyst"]
    status, _, headers = call(tls_daemon.url, "GET", "/v1/alerts", token, context=certificates.context())
    assert status == 200
    assert headers["strict-transport-security"].startswith("max-age=")
    with connect(
        f"wss{tls_daemon.url.removeprefix('https')}/v1/feed",
        additional_headers={"Authorization": f"Bearer {token}"},
        ssl=certificates.context(),
        proxy=None,
    ) as socket:
        assert json.loads(socket.recv(timeout=10))["type"] == "status"


def test_the_session_cookie_is_secure_over_tls(tls_daemon: RunningDaemon, certificates: Certificates) -> None:
    token = tls_daemon.tokens["analyst"]
    status, _, headers = call(
        tls_daemon.url, "POST", "/v1/session", "", {"token": token}, certificates.context()
    )
    assert status == 201
    assert headers["set-cookie"].startswith("__Host-killcord=")
    assert "Secure" in headers["set-cookie"]


def test_who_does_not_know_the_authority_is_not_served(tls_daemon: RunningDaemon) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        call(tls_daemon.url, "GET", "/v1/alerts", "x", context=ssl.create_default_context())


def test_the_command_line_takes_a_ca_and_pins_its_own_daemons_certificate(
    tls_daemon: RunningDaemon, certificates: Certificates, tmp_path: Path
) -> None:
    by_token = ("--url", tls_daemon.url, "--token", tls_daemon.tokens["analyst"])
    assert killcord("agents", *by_token, "--ca", str(certificates.ca_file)).returncode == 0
    refused = killcord("agents", *by_token)
    assert refused.returncode == 3
    assert "certificate" in refused.stderr.lower()
    assert killcord("agents", "--state", str(tls_daemon.state)).returncode == 0
    assert killcord("tail", "--limit", "0", "--state", str(tmp_path / "none")).returncode == 3
    recording = tmp_path / "actions.jsonl"
    recording.write_text('{"id": "1", "ts": 1.0, "agent_id": "x", "tool": "t"}\n')
    sent = killcord("replay", str(recording), "--state", str(tls_daemon.state), "--json")
    assert json.loads(sent.stdout)["accepted"] == 1, sent.stderr
    wrong = killcord("agents", *by_token, "--ca", str(tmp_path / "none.pem"))
    assert wrong.returncode == 2
    assert "--ca" in wrong.stderr


def test_a_new_certificate_is_served_without_a_restart(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    with RunningDaemon(tmp_path / "state", FAST_CONFIG + certificates.config()) as daemon:
        before = _served(daemon.url)
        certificates.issue()
        daemon.wait_for(lambda: _served(daemon.url) != before, "the new certificate", 30.0)
        daemon.wait_for(
            lambda: killcord("agents", "--state", str(daemon.state)).returncode == 0, "the announcement", 10.0
        )


def _served(url: str) -> str:
    parts = urlsplit(url)
    return ssl.get_server_certificate((parts.hostname or "", parts.port or 0))


def test_a_wrong_pair_is_named_and_a_wrong_new_one_changes_nothing(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    tls = Tls(Server(tls_cert=str(certificates.cert), tls_key=str(certificates.key)))
    assert tls.certificate().count("BEGIN CERTIFICATE") == 1
    other = Certificates(_made(tmp_path / "other"))
    os.replace(other.key, certificates.key)
    for cert in (str(certificates.cert), str(tmp_path / "none.pem")):
        with pytest.raises(ConfigError) as refusal:
            Tls(Server(tls_cert=cert, tls_key=str(certificates.key)))
        assert refusal.value.field == "server.tls_cert"


def _made(path: Path) -> Path:
    path.mkdir()
    return path


# -- kills on a port of their own -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningDaemon, str]]:
    config = FAST_CONFIG + '[server]\nkill_host = "127.0.0.1"\nkill_port = 0\n'
    with RunningDaemon(tmp_path_factory.mktemp("split") / "state", config) as running:
        yield running, json.loads((running.state / "daemon.json").read_text())["kill_url"]


@pytest.mark.parametrize("path", ["/v1/revocations", "/v1/restorations"])
def test_kill_and_restore_are_answered_there_only(split: tuple[RunningDaemon, str], path: str) -> None:
    daemon, kill_url = split
    token = daemon.tokens["on-call"]
    status, answer, _ = call(daemon.url, "POST", path, token, KILL)
    assert status == 403
    assert kill_url in answer["error"]
    assert call(kill_url, "POST", path, token, KILL)[0] in (200, 202)


def test_reading_is_answered_on_both_and_the_dashboard_learns_where_to_kill(
    split: tuple[RunningDaemon, str],
) -> None:
    daemon, kill_url = split
    assert kill_url != daemon.url
    for url in (daemon.url, kill_url):
        assert call(url, "GET", "/v1/revocations", daemon.tokens["analyst"])[0] == 200
        assert call(url, "GET", "/v1/session", daemon.tokens["analyst"])[1]["kill_url"] == kill_url


def test_strangers_learn_nothing_of_the_other_port(split: tuple[RunningDaemon, str]) -> None:
    daemon, kill_url = split
    status, answer, _ = call(daemon.url, "POST", "/v1/revocations", "x", KILL)
    assert status == 401
    assert kill_url not in answer["error"]


def test_a_port_that_is_taken_is_named() -> None:
    with listen_on_any() as taken, pytest.raises(DaemonError, match=r"server\.kill_port"):
        listen(Server(port=0, kill_host="127.0.0.1", kill_port=taken.getsockname()[1]), None, None)


def listen_on_any() -> Any:
    import socket

    return socket.create_server(("127.0.0.1", 0))


def test_a_daemon_takes_as_many_files_as_it_may_have(tmp_path: Path) -> None:
    """Started from a shell that gives a process 256, it can still serve a thousand readers."""
    show = "import resource; from monitor.listening import lift_file_limit; resource.setrlimit(resource.RLIMIT_NOFILE, "
    show += "(256, resource.getrlimit(resource.RLIMIT_NOFILE)[1])); lift_file_limit(); "
    show += "print(resource.getrlimit(resource.RLIMIT_NOFILE))"
    shown = subprocess.run(
        [sys.executable, "-c", show], capture_output=True, text=True, timeout=60, check=True
    )
    soft, most = shown.stdout.strip("()\n").split(", ")
    assert soft == most
