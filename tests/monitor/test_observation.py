"""What the log keeps of an action."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from monitor.intake.action import parse_action
from monitor.intake.observation import Observation, Observer, plain
from monitor.record import entries
from monitor.record.entries import Actions
from tests.monitor.streams import SECRET

DOCUMENT: dict[str, Any] = {
    "id": "a-1",
    "ts": 1_795_000_000.5,
    "agent_id": "billing-bot",
    "tool": "send_money",
    "args": {"to": "DE89 3704", "amount": 12},
    "provenance": {"to": "tool:read_invoice"},
    "on_behalf_of": ["alice@example.com"],
    "proof": "eyJ-signature",
    "result": {"ok": True, "chars": 3},
    "colour": "red",
}


def observe(store_args: bool = False, secret: bytes = SECRET, **fields: Any) -> Observation:
    return Observer(secret, store_args=store_args).observe(parse_action(json.dumps({**DOCUMENT, **fields})))


def stored(observation: Observation) -> Observation:
    """The observation after a trip to disk."""
    entry = entries.decode(entries.encode(Actions(1.0, [observation])))
    assert isinstance(entry, Actions)
    return entry.observations[0]


def test_an_observation_survives_the_log_unchanged() -> None:
    for store_args in (False, True):
        assert stored(observe(store_args)) == observe(store_args)


def test_raw_arguments_and_proofs_are_not_kept_by_default() -> None:
    on_disk = entries.encode(Actions(1.0, [observe()]))
    assert b"DE89" not in on_disk
    assert b"eyJ-signature" not in on_disk
    assert observe().arg_names == ("to", "amount")


def test_raw_arguments_are_kept_when_asked_for() -> None:
    assert observe(store_args=True).args == DOCUMENT["args"]


def test_the_digest_depends_on_the_arguments_and_the_secret_and_not_on_their_order() -> None:
    digest = observe().args_digest
    assert digest == observe(args={"amount": 12, "to": "DE89 3704"}).args_digest
    assert digest != observe(args={"to": "DE89 3704", "amount": 13}).args_digest
    assert digest != observe(secret=bytes(32)).args_digest


def test_the_features_depend_on_the_secret() -> None:
    assert observe().features == observe().features
    assert observe().features.tool != observe(secret=bytes(32)).features.tool


@pytest.mark.parametrize("field", ["args", "unknown"])
def test_integers_of_any_size_can_be_stored(field: str) -> None:
    value = {"wei": 10**30, "all": [-(10**25), {"n": 1 << 64}], "fits": (1 << 64) - 1}
    kept = stored(observe(True, SECRET, **{field: value}))
    held = kept.args if field == "args" else kept.extra["unknown"]
    assert held == {
        "wei": "1" + "0" * 30,
        "all": ["-1" + "0" * 25, {"n": str(1 << 64)}],
        "fits": (1 << 64) - 1,
    }


def test_people_see_digests_as_hex_and_no_model_numbers() -> None:
    fields = plain(observe())
    assert "features" not in fields
    assert fields["args_digest"] == observe().args_digest.hex()
    assert fields["proof_digest"] == (observe().proof_digest or b"").hex()
    assert plain(observe(proof=None))["proof_digest"] is None
    assert json.loads(msgspec.json.encode(fields))["extra"] == {"colour": "red"}


def test_a_secret_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="31 bytes"):
        Observer(bytes(31), store_args=False)
