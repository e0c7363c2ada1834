"""Tokens: what is kept of them, whose they are, and the file that command line and daemon share."""

from __future__ import annotations

import json
import multiprocessing
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.access.roles import PERMISSIONS, ROLES, Principal, Role
from monitor.access.token_file import LOOK_INTERVAL_S, FollowedTokens, TokenFile
from monitor.access.tokens import Refusal, Token, Tokens, id_of, make_secret, make_token, written
from monitor.errors import AccessError


def made(role: Role = "analyst", name: str = "alice", expires_at_s: float | None = None) -> tuple[str, Token]:
    return make_token(role, name, by="root@host", now_s=100.0, expires_at_s=expires_at_s)


# -- whose a token is -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
def test_a_token_is_its_owner_with_its_role(role: Role) -> None:
    text, token = made(role, "alice@example.com")
    found = Tokens([token]).judge(text, 100.0)
    assert isinstance(found, Principal)
    assert (found.name, found.role, found.credential) == ("alice@example.com", role, f"token:{token.id}")


def test_nothing_that_is_kept_opens_anything() -> None:
    text, token = made()
    secret = text.removeprefix(f"kc_{token.id}_")
    kept = repr(token)
    assert secret not in kept
    assert Tokens([token]).principal(written(token.id, token.hash), 100.0) is None


def test_a_token_opens_nothing_after_its_end_or_once_revoked() -> None:
    text, token = made(expires_at_s=200.0)
    assert Tokens([token]).principal(text, 199.9)
    assert Tokens([token]).judge(text, 200.0) == Refusal("expired", token.id)
    revoked = Token(token.id, token.role, token.name, token.hash, 100.0, "x", 200.0, 150.0)
    assert Tokens([revoked]).judge(text, 160.0) == Refusal("revoked", token.id)


@given(st.text() | st.from_regex(r"kc_[a-z0-9]{1,12}_[A-Za-z0-9_-]{20,60}", fullmatch=True))
def test_no_text_but_the_token_is_the_token(text: str) -> None:
    _, token = made()
    tokens = Tokens([token], local=make_secret())
    assert tokens.judge(text, 100.0) == Refusal("unknown")


@given(st.data())
def test_one_wrong_character_is_another_token(data: st.DataObject) -> None:
    text, token = made()
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters().filter(lambda character: character != text[place]))
    assert Tokens([token]).principal(text[:place] + other + text[place + 1 :], 100.0) is None


def test_a_right_secret_under_another_id_is_unknown() -> None:
    (text, one), (_, other) = made(), made()
    secret = text.removeprefix(f"kc_{one.id}_")
    assert Tokens([one, other]).judge(written(other.id, secret), 100.0) == Refusal("unknown")


def test_the_local_token_may_do_everything_and_only_while_there_is_one() -> None:
    secret = make_secret()
    found = Tokens(local=secret, local_name="root@host").principal(written("local", secret), 0.0)
    assert found is not None
    assert (found.name, found.permissions) == ("root@host", frozenset(PERMISSIONS))
    assert Tokens(local=make_secret()).principal(written("local", secret), 0.0) is None
    assert Tokens().principal(written("local", secret), 0.0) is None
    assert not Tokens().is_valid("local", 0.0)


def test_secrets_are_long_and_differ() -> None:
    secrets = {make_secret() for _ in range(1_000)}
    assert len(secrets) == 1_000
    assert min(map(len, secrets)) >= 43, "256 bits in base64"


def test_the_id_in_a_token_is_read_and_nothing_else_is() -> None:
    text, token = made()
    assert id_of(text) == token.id
    assert id_of("Bearer x") == id_of("") == id_of("kc_x") == ""


# -- the file -------------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> TokenFile:
    return TokenFile(tmp_path / "access.json")


def test_the_file_holds_no_secret_and_is_for_its_owner_only(file: TokenFile) -> None:
    text, token = made()
    file.add(token)
    assert text.split("_", 2)[2] not in file.path.read_text()
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert file.load() == (token,)


def test_without_a_file_there_are_no_tokens(file: TokenFile) -> None:
    assert file.load() == ()
    with pytest.raises(AccessError, match="tokens list"):
        file.revoke("nobody", 1.0)


def test_revoking_twice_keeps_the_first_time(file: TokenFile) -> None:
    _, token = made()
    file.add(token)
    assert file.revoke(token.id, 5.0).revoked_at == 5.0
    assert file.revoke(token.id, 9.0).revoked_at == 5.0


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[]",
        "nonsense",
        '{"v": 2, "tokens": []}',
        '{"v": 1, "tokens": [{"id": "a"}]}',
        b"\xff\xfe".decode("latin1"),
    ],
)
def test_a_damaged_file_is_named(file: TokenFile, content: str) -> None:
    file.path.write_text(content)
    with pytest.raises(AccessError, match=r"access\.json"):
        file.load()
    with pytest.raises(AccessError, match=r"access\.json"):
        file.add(made()[1])
    assert file.path.read_text() == content, "and stays as it is for whoever mends it"


def test_a_role_that_there_is_not_is_damage(file: TokenFile) -> None:
    file.add(made()[1])
    content = json.loads(file.path.read_text())
    content["tokens"][0]["role"] = "god"
    file.path.write_text(json.dumps(content))
    with pytest.raises(AccessError, match="role"):
        file.load()


def _add_many(path: Path) -> None:
    for _ in range(10):
        TokenFile(path).add(made()[1])


def test_two_who_change_it_at_once_undo_nothing(file: TokenFile) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_add_many, args=(file.path,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert len(file.load()) == 20


# -- following it ---------------------------------------------------------------------------------------------------


def test_a_change_is_seen_within_the_interval(file: TokenFile) -> None:
    text, token = made()
    followed = FollowedTokens(file)
    assert followed.at(0.0).principal(text, 100.0) is None
    file.add(token)
    assert followed.at(0.0).principal(text, 100.0) is None, "not looked again yet"
    assert followed.at(LOOK_INTERVAL_S).principal(text, 100.0)
    file.revoke(token.id, 100.0)
    assert followed.at(2 * LOOK_INTERVAL_S).principal(text, 100.0) is None


def test_damage_at_the_start_is_an_error_and_later_locks_nobody_out(file: TokenFile) -> None:
    text, token = made()
    file.add(token)
    followed = FollowedTokens(file)
    file.path.write_text("damaged by hand")
    assert followed.at(9.0).principal(text, 100.0)
    with pytest.raises(AccessError):
        FollowedTokens(file)


def test_a_file_that_is_removed_takes_its_tokens_with_it(file: TokenFile) -> None:
    text, token = made()
    file.add(token)
    followed = FollowedTokens(file)
    file.path.unlink()
    assert followed.at(9.0).principal(text, 100.0) is None
