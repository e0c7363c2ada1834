"""Sessions: when they begin, hold and end, whatever happens in which order."""

from __future__ import annotations

from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from monitor.access.roles import PERMISSIONS, owner, principal
from monitor.access.session_file import SessionFile, encoded
from monitor.access.sessions import (
    MAX_PER_CREDENTIAL,
    Session,
    Sessions,
    csrf_of,
    is_csrf_right,
)
from monitor.access.tokens import make_secret

MAX_AGE_S, IDLE_S = 1_000.0, 100.0
ALICE = principal("alice", "analyst", "token:a")


def table(valid: set[str] | None = None, kept: list[Session] | None = None) -> Sessions:
    tokens = {"a", "b"} if valid is None else valid
    return Sessions(
        max_age_s=MAX_AGE_S, idle_s=IDLE_S, is_valid=lambda token, _: token in tokens, kept=kept or []
    )


class Model(RuleBasedStateMachine):
    """A session is alive exactly as long as a plain list of facts says."""

    cookies = Bundle("cookies")

    def __init__(self) -> None:
        super().__init__()
        self.valid = {"a", "b"}
        self.sessions = table(self.valid)
        self.now_s = 0.0
        self.facts: dict[str, tuple[str, float, float]] = {}

    @rule(target=cookies, token=st.sampled_from(["a", "b"]))
    def begin(self, token: str) -> str:
        cookie = make_secret()
        self.sessions.open(cookie, principal(token, "analyst", f"token:{token}"), self.now_s)
        self.facts[cookie] = (token, self.now_s, self.now_s)
        return cookie

    @rule(seconds=st.floats(0, 120))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @rule(cookie=cookies)
    def use(self, cookie: str) -> None:
        found = self.sessions.find(cookie, self.now_s)
        assert (found is not None) == self.is_alive(cookie)
        if found:
            token, began_s, _ = self.facts[cookie]
            self.facts[cookie] = (token, began_s, self.now_s)
            assert found.principal().name == token
        else:
            self.facts.pop(cookie, None)

    @rule(cookie=consumes(cookies))
    def leave(self, cookie: str) -> None:
        found = self.sessions.find(cookie, self.now_s)
        if found:
            self.sessions.close(found)
        self.facts.pop(cookie, None)
        assert self.sessions.find(cookie, self.now_s) is None

    @rule(token=st.sampled_from(["a", "b"]))
    def revoke(self, token: str) -> None:
        self.valid.discard(token)

    @rule()
    def restart(self) -> None:
        self.sessions = table(self.valid, self.sessions.all(self.now_s))

    @invariant()
    def nothing_is_alive_that_should_not_be(self) -> None:
        alive = {session.hash for session in self.sessions.all(self.now_s)}
        assert len(alive) == sum(self.is_alive(cookie) for cookie in self.facts)

    def is_alive(self, cookie: str) -> bool:
        if cookie not in self.facts:
            return False
        token, began_s, used_s = self.facts[cookie]
        return token in self.valid and self.now_s < began_s + MAX_AGE_S and self.now_s - used_s < IDLE_S


TestModel = Model.TestCase


@pytest.mark.parametrize("cookie", ["", "x", "x" * 201, "naïve", "\udcff"])
def test_a_cookie_that_nobody_gave_means_nothing(cookie: str) -> None:
    assert table().find(cookie, 0.0) is None


def test_what_is_kept_of_a_session_opens_nothing() -> None:
    sessions, cookie = table(), make_secret()
    session = sessions.open(cookie, ALICE, 0.0)
    content = encoded(sessions.all(0.0)).decode()
    assert cookie not in content
    assert csrf_of(cookie) not in content
    assert sessions.find(session.hash, 0.0) is None


def test_the_csrf_value_is_the_sessions_own() -> None:
    one, other = make_secret(), make_secret()
    assert is_csrf_right(one, csrf_of(one))
    for wrong in (csrf_of(other), "", None, csrf_of(one)[:-1], one, "naïve"):
        assert not is_csrf_right(one, wrong)


def test_one_credential_has_a_bounded_number_and_takes_nobody_elses_place() -> None:
    sessions, mine = table(), make_secret()
    sessions.open(mine, principal("bob", "admin", "token:b"), 0.0)
    for number in range(MAX_PER_CREDENTIAL + 20):
        sessions.open(make_secret(), ALICE, 1.0 + number / 1_000)
    assert len(sessions) == MAX_PER_CREDENTIAL + 1
    assert sessions.find(mine, 2.0)


def test_all_together_are_bounded_and_the_longest_unused_gives_way() -> None:
    sessions = Sessions(max_age_s=1e6, idle_s=1e6, is_valid=lambda *_: True, max_sessions=3)
    cookies = [make_secret() for _ in range(5)]
    for number, cookie in enumerate(cookies):
        sessions.open(cookie, principal(str(number), "admin", f"token:{number}"), float(number))
        sessions.find(cookies[0], number + 0.5)
    assert [bool(sessions.find(cookie, 9.0)) for cookie in cookies] == [True, False, False, True, True]


def test_the_local_tokens_sessions_end_with_the_daemon_and_those_of_people_do_not(tmp_path: Path) -> None:
    file, local, oidc = SessionFile(tmp_path / "sessions.json"), make_secret(), make_secret()
    valid = {"local"}
    sessions = table(valid)
    assert sessions.open(local, owner("root@host"), 0.0).principal().permissions == frozenset(PERMISSIONS)
    sessions.open(oidc, principal("carol", "on-call", "oidc"), 0.0)
    file.save(encoded(sessions.all(1.0)))
    again = table(valid, file.load())
    assert again.find(local, 1.0) is None
    found = again.find(oidc, 1.0)
    assert found is not None
    assert found.principal().role == "on-call"


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"v": 1, "sessions": [7]}', '{"v": 9, "sessions": []}'])
def test_a_damaged_file_only_asks_people_to_sign_in_again(tmp_path: Path, content: str) -> None:
    (tmp_path / "sessions.json").write_text(content)
    assert SessionFile(tmp_path / "sessions.json").load() == []


def test_a_file_that_cannot_be_written_ends_no_session(tmp_path: Path) -> None:
    SessionFile(tmp_path / "nowhere" / "sessions.json").save(b"{}")
