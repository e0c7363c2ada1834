"""Signing in with OpenID Connect: the rules by themselves, and the whole of it against a real provider over HTTP."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import httpx
import pytest

from monitor.access.oidc import LOGIN_TIMEOUT_S, Attempts, check_claims, person
from monitor.errors import AccessError
from tests.monitor.daemons import FAST_CONFIG, RunningDaemon
from tests.monitor.providers import provider_of, serve

# The provider runs in a thread of this process, and its libraries speak of their own future.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SECRET = b"s" * 32
CLAIMS: dict[str, Any] = {
    "iss": "https://id",
    "aud": "killcord",
    "exp": 200,
    "iat": 90,
    "nonce": "n",
    "sub": "u1",
}


# -- an attempt -----------------------------------------------------------------------------------------------------


def test_an_attempt_is_recognised_once_by_any_daemon_of_the_installation() -> None:
    begun = Attempts(SECRET).begin("state", 0.0)
    again = Attempts(SECRET)
    assert again.finish(begun.seal, "state", 1.0) == begun
    with pytest.raises(AccessError, match="used before"):
        again.finish(begun.seal, "state", 1.0)


def test_the_seal_tells_neither_nonce_nor_verifier() -> None:
    begun = Attempts(SECRET).begin("state", 0.0)
    assert begun.verifier not in begun.seal
    assert begun.nonce not in begun.seal
    digest = hashlib.sha256(begun.verifier.encode()).digest()
    assert base64.urlsafe_b64decode(begun.challenge + "=") == digest


@pytest.mark.parametrize(
    ("seal", "state", "now_s", "said"),
    [
        (None, "other", 1.0, "another attempt"),
        (None, "", 1.0, "another attempt"),
        (None, "state", LOGIN_TIMEOUT_S + 1, "ten minutes"),
        ("", "", 1.0, "not begun"),
        ("", "state", 1.0, "not begun"),
        ("a.b.c.d", "a", 1.0, "not begun"),
        ("state.99999999999.x", "state", 1.0, "not begun"),
        ("naïve.1.x", "naïve", 1.0, "not begun"),
    ],
)
def test_an_attempt_of_nobodys_is_refused(seal: str | None, state: str, now_s: float, said: str) -> None:
    attempts = Attempts(SECRET)
    begun = attempts.begin("state", 0.0)
    with pytest.raises(AccessError, match=said):
        attempts.finish(begun.seal if seal is None else seal, state, now_s)


def test_another_installations_seal_is_refused() -> None:
    with pytest.raises(AccessError, match="not begun"):
        Attempts(SECRET).finish(Attempts(b"x" * 32).begin("state", 0.0).seal, "state", 1.0)


# -- the claims -----------------------------------------------------------------------------------------------------


def check(**changes: Any) -> None:
    claims = {name: value for name, value in {**CLAIMS, **changes}.items() if value is not None}
    check_claims(claims, issuer="https://id", client_id="killcord", nonce="n", now_s=100.0)


@pytest.mark.parametrize(
    "changes",
    [{}, {"aud": ["killcord"]}, {"aud": ["killcord", "x"], "azp": "killcord"}, {"exp": 41}, {"iat": 159}],
)
def test_claims_that_hold(changes: dict[str, Any]) -> None:
    check(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil"}, {"iss": None}, {"aud": "other"}, {"aud": None}, {"aud": ["killcord", "x"]},
        {"azp": "other"}, {"nonce": "m"}, {"nonce": None}, {"nonce": 7}, {"exp": 39}, {"exp": None}, {"exp": "200"},
        {"exp": True}, {"iat": None}, {"iat": 161},
    ],
)  # fmt: skip
def test_claims_that_do_not_hold(changes: dict[str, Any]) -> None:
    with pytest.raises(AccessError):
        check(**changes)


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"email": "a@x", "preferred_username": "al"}, "a@x"),
        ({"email": "a@x", "email_verified": False, "preferred_username": "al"}, "al"),
        ({"email": "a\nb", "preferred_username": 7}, "u1"),
        ({"email": "x" * 201}, "u1"),
    ],
)
def test_the_name_is_one_that_the_provider_vouches_for(claims: dict[str, Any], name: str) -> None:
    found = person({"sub": "u1", "groups": ["soc"], **claims}, claim="groups", roles={"soc": "analyst"})
    assert (found.name, found.role) == (name, "analyst")


@pytest.mark.parametrize("groups", [None, [], "", ["other"], ["SOC"], {"soc": 1}, 7])
def test_without_a_role_nobody_comes_in(groups: Any) -> None:
    with pytest.raises(AccessError, match="no role here"):
        person({"sub": "u1", "groups": groups}, claim="groups", roles={"soc": "analyst"})


def test_the_first_entry_that_applies_decides() -> None:
    roles = {"sre": "on-call", "soc": "analyst"}
    assert person({"sub": "u", "groups": ["soc", "sre"]}, claim="groups", roles=roles).role == "on-call"  # type: ignore[arg-type]
    assert person({"sub": "u", "groups": "soc"}, claim="groups", roles=roles).role == "analyst"  # type: ignore[arg-type]


# -- a real provider ------------------------------------------------------------------------------------------------


class World:
    """A provider, and a daemon that sends its people there. `lie` changes what a browser asks of the provider."""

    def __init__(self, state: Path, issuer: str) -> None:
        config = FAST_CONFIG + (
            f'[oidc]\nissuer = "{issuer}"\nclient_id = "killcord"\nclient_secret_file = "{state}.secret"\n'
            'roles = { soc = "analyst", sre = "on-call" }\n'
        )
        Path(f"{state}.secret").write_text("hush\n")
        self.daemon = RunningDaemon(state, config)
        self.token_requests: list[dict[str, list[str]]] = []

    def browser(self) -> httpx.Client:
        return httpx.Client(base_url=self.daemon.url, timeout=20, trust_env=False)

    def authorize(
        self, browser: httpx.Client, user: str, lie: Callable[[dict[str, str]], None] | None = None
    ) -> str:
        """Begin at the daemon, sign in at the provider, and return where that sends the browser."""
        to_provider = browser.get("/v1/login")
        assert to_provider.status_code == 303, to_provider.text
        parts = urlsplit(to_provider.headers["location"])
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.asked = query
        if lie:
            lie(query)
        url = urlunsplit(parts._replace(query=urlencode(query)))
        answer = httpx.post(url, data={"sub": user}, trust_env=False)
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    provider = provider_of({"ana": ["soc"], "nobody": ["sales"]})
    listened: list[dict[str, list[str]]] = []

    def listening(environ: dict[str, Any], start: Any) -> Any:
        """The provider, and beside it what reaches its token endpoint."""
        if environ["PATH_INFO"].endswith("/token"):
            import io

            body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            environ["wsgi.input"] = io.BytesIO(body)
            listened.append(
                {**parse_qs(body.decode()), "authorization": [environ.get("HTTP_AUTHORIZATION", "")]}
            )
        return provider(environ, start)

    with serve(listening) as issuer:
        world = World(tmp_path_factory.mktemp("oidc") / "state", issuer)
        world.token_requests = listened
        with world.daemon:
            yield world


def test_who_has_a_role_is_signed_in_under_the_providers_name(world: World) -> None:
    with world.browser() as browser:
        assert browser.get("/v1/session").json()["login"] == "/v1/login"
        back = browser.get(world.authorize(browser, "ana"))
        assert (back.status_code, back.headers["location"]) == (303, "/")
        assert "SameSite=strict" in back.headers["set-cookie"]
        about = browser.get("/v1/session").json()
        assert (about["name"], about["role"]) == ("ana@example.com", "analyst")
        headers = {"Origin": world.daemon.url, "X-Killcord-CSRF": about["csrf"]}
        body = {"ids": ["al-1"], "change": "comment", "comment": "ours"}
        assert browser.post("/v1/alerts/changes", json=body, headers=headers).status_code == 200
    _, told = world.daemon.request("GET", "/v1/audit?limit=2", role="auditor")
    assert [(one["by"], one["outcome"]) for one in told["entries"]] == [("ana@example.com", "done")] * 2
    assert told["entries"][1]["act"] == "sign in"


def test_the_code_is_bound_to_a_verifier_that_only_the_daemon_has(world: World) -> None:
    with world.browser() as browser:
        browser.get(world.authorize(browser, "ana"))
    asked, redeemed = world.asked, world.token_requests[-1]
    assert asked["code_challenge_method"] == "S256"
    digest = hashlib.sha256(redeemed["code_verifier"][0].encode()).digest()
    assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == asked["code_challenge"]
    assert redeemed["authorization"][0].startswith("Basic ")


def refused(world: World, browser: httpx.Client, url: str, said: str) -> None:
    answer = browser.get(url)
    assert answer.status_code == 403
    assert said in answer.text
    assert "text/html" in answer.headers["content-type"]
    assert browser.get("/v1/session").status_code == 401


def test_without_a_role_the_page_says_so(world: World) -> None:
    with world.browser() as browser:
        refused(
            world,
            browser,
            world.authorize(browser, "nobody"),
            "nobody@example.com is known, but has no role here",
        )


def test_another_attempts_state_is_refused(world: World) -> None:
    with world.browser() as browser:
        url = world.authorize(browser, "ana", lambda query: query.update(state="another"))
        refused(world, browser, url, "another attempt")


def test_a_browser_that_has_not_begun_is_refused(world: World) -> None:
    """Nobody is signed in as somebody else by a link."""
    with world.browser() as attacker, world.browser() as victim:
        refused(world, victim, world.authorize(attacker, "ana"), "not begun to sign in here")


def test_another_nonce_is_refused(world: World) -> None:
    with world.browser() as browser:
        url = world.authorize(browser, "ana", lambda query: query.update(nonce="another"))
        refused(world, browser, url, "another attempt")


def test_a_code_is_good_once(world: World) -> None:
    with world.browser() as browser, world.browser() as thief:
        url = world.authorize(browser, "ana")
        for cookie in browser.cookies.jar:
            thief.cookies.jar.set_cookie(cookie)
        assert browser.get(url).status_code == 303
        refused(world, thief, url, "used before")


def test_a_made_up_code_is_refused_by_the_provider(world: World) -> None:
    with world.browser() as browser:
        url = re.sub("code=[^&]*", "code=made-up", world.authorize(browser, "ana"))
        refused(world, browser, url, "the provider refused with 400")


def test_a_person_who_declines_at_the_provider_is_told(world: World) -> None:
    with world.browser() as browser:
        url = re.sub("code=[^&]*", "error=access_denied", world.authorize(browser, "ana"))
        refused(world, browser, url, "did not let you in")


def test_refused_sign_ins_are_in_the_trail(world: World) -> None:
    with world.browser() as browser:
        refused(world, browser, "/v1/login/callback?state=x&code=y", "not begun")
    told = world.daemon.request("GET", "/v1/audit?limit=1", role="auditor")[1]["entries"]
    assert (told[0]["act"], told[0]["outcome"], told[0]["by"]) == ("sign in", "refused", "")


def test_a_provider_that_is_down_stops_nobody_but_those_who_sign_in_there(tmp_path: Path) -> None:
    config = FAST_CONFIG + '[oidc]\nissuer = "http://127.0.0.1:1"\nclient_id = "killcord"\n'
    with RunningDaemon(tmp_path / "state", config) as daemon:
        status, page = daemon.request("GET", "/v1/login", role=None)
        assert status == 503
        assert "use a token" in page
        assert daemon.request("GET", "/v1/alerts")[0] == 200


def test_an_answer_that_has_expired_is_refused(tmp_path: Path) -> None:
    """The provider's tokens end before they begin to hold, by more than clocks may differ."""
    from datetime import timedelta

    with serve(provider_of({"ana": ["soc"]}, access_token_max_age=timedelta(seconds=-120))) as issuer:
        world = World(tmp_path / "state", issuer)
        with world.daemon, world.browser() as browser:
            refused(world, browser, world.authorize(browser, "ana"), "has expired")
