"""What the log keeps of an action, and what the pipeline scores.

Raw arguments are not kept unless the operator opts in: an observation has the argument names, keyed hashes of the
values (enough to score the action again, bit for bit, when the log is replayed) and one keyed digest over all of
them (enough to prove later which arguments they were).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import astuple, replace

from detectors import Features, Hasher
from monitor.flow import Flow
from monitor.intake.action import Action, Decision, Result
from monitor.intake.session_flows import SessionFlows

_canonical = msgspec.json.Encoder(order="deterministic").encode


class Observation(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One action as the record has it. Positional on disk: new fields go to the end."""

    id: str
    ts_s: float
    agent_id: str
    tool: str
    features: Features
    arg_names: tuple[str, ...]
    args_digest: bytes
    agent_version: str | None = None
    session_id: str | None = None
    resource: str | None = None
    side_effect: bool | None = None
    result: Result | None = None
    provenance: dict[str, str] | None = None
    on_behalf_of: tuple[str, ...] = ()
    task: str | None = None
    credential: str | None = None
    policy: str | None = None
    proof_digest: bytes | None = None
    args: dict[str, Any] | None = None
    extra: dict[str, Any] = {}
    call_id: str | None = None
    decision: Decision | None = None
    trace_id: str | None = None


def plain(observation: Observation) -> dict[str, Any]:
    """Return the observation as JSON fields for people, without the numbers that only models read."""
    fields = {
        name: getattr(observation, name) for name in Observation.__struct_fields__ if name != "features"
    }
    fields["args_digest"] = observation.args_digest.hex()
    fields["proof_digest"] = observation.proof_digest.hex() if observation.proof_digest else None
    return fields


class Observer:
    """Turns actions into observations with the installation's secret. Not thread-safe.

    An action is scored with the information flow that its sensor computed. For those who send content instead (a task
    in words, outputs) it is computed here; what was read for it is gone with the process, its numbers are in the log.

    Parameters
    ----------
    secret
        32 random bytes. Without them nobody can search for arguments by their digest, nor prepare a value that
        collides with one the agent is known for.
    store_args
        Keep the raw arguments too, and outputs where they are sent (``store_args = "full"``).
    follows_sessions
        Compute the flow where no sensor did. Not for a log of actions that are observed again on replay: what was read
        before the replay began is unknown then, and the same action would get another score.
    """

    def __init__(self, secret: bytes, *, store_args: bool, follows_sessions: bool = True) -> None:
        if len(secret) != 32:
            raise ValueError(f"the secret has {len(secret)} bytes, not 32")
        self._hasher = Hasher(int.from_bytes(secret[:8], "little"))
        self._key = secret[8:]
        self._store_args = store_args
        self._flows = SessionFlows() if follows_sessions else None

    def observe(self, action: Action) -> Observation:
        """Return the action's observation; about 6 µs with three arguments, more where the flow is computed here."""
        ts_s = action.ts_s
        flow, provenance = self._flow(action)
        return Observation(
            id=action.id,
            ts_s=ts_s,
            agent_id=action.agent_id,
            tool=action.tool,
            features=self._hasher.features(
                tool=action.tool,
                args=action.args,
                ts_s=ts_s,
                session=action.session_id,
                version=action.agent_version,
                provenance=provenance,
                task=action.task,
                flow=flow,
            ),
            arg_names=tuple(action.args),
            args_digest=self._digest(action.args),
            agent_version=action.agent_version,
            session_id=action.session_id,
            resource=action.resource,
            side_effect=action.side_effect,
            result=action.result if self._store_args else _without_text(action.result),
            provenance=provenance,
            on_behalf_of=action.on_behalf_of,
            task=action.task,
            credential=action.credential,
            policy=action.policy,
            proof_digest=self._digest(action.proof) if action.proof else None,
            args=_storable(action.args) if self._store_args else None,
            extra=_storable(action.extra) if action.extra else {},
            call_id=action.call_id,
            decision=action.decision,
            trace_id=action.trace_id,
        )

    def _flow(self, action: Action) -> tuple[Flow, dict[str, str] | None]:
        """Return the action's information flow, of an unknown one what is known, and where its values came from."""
        if action.flow is not None:
            return astuple(action.flow), action.provenance
        trace = self._flows.take(action) if self._flows else None
        if trace is None:
            return () if action.side_effect is None else (int(action.side_effect),), action.provenance
        return trace.flow, trace.provenance if action.provenance is None else action.provenance

    def _digest(self, value: Mapping[str, Any] | str) -> bytes:
        """Keyed BLAKE2b-128 (RFC 7693) over JSON with sorted keys."""
        return hashlib.blake2b(_canonical(value), key=self._key, digest_size=16).digest()


def _without_text(result: Result | None) -> Result | None:
    return result if result is None or result.text is None else replace(result, text=None)


def _storable(value: Any) -> Any:
    """Return the value with integers that MessagePack cannot hold as their decimal text."""
    if isinstance(value, dict):
        return {name: _storable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_storable(item) for item in value]
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        return str(value)
    return value
