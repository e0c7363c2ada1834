"""The one configuration file: TOML, validated once at start, unknown keys refused.

`config.reference.toml` beside this module lists every key with its default, unit and effect; a test holds the two
together. No module reads the environment or a global: the parsed value is passed in.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from monitor.delivery.routes import Delivery, check_delivery
from monitor.errors import ConfigError


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class Server(_Section):
    """Where the daemon listens and what it takes in."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8787
    max_body_bytes: Annotated[int, Field(ge=1024, le=256 * 1024 * 1024)] = 16 * 1024 * 1024
    allowed_origins: tuple[str, ...] = ()
    max_backlog_actions: Count = 100_000
    tls_cert: str = ""
    tls_key: str = ""
    kill_host: str = ""
    kill_port: Annotated[int, Field(ge=0, le=65535)] = 8788
    trusted_proxies: tuple[str, ...] = ()


class Access(_Section):
    """How long people stay signed in, and how long it is kept who did what."""

    session_max_age_s: Positive = 43_200.0
    session_idle_s: Positive = 3_600.0
    audit_retention_days: Positive = 365.0


class Oidc(_Section):
    """Signing in to the dashboard at an OpenID Connect provider."""

    issuer: Annotated[str, Field(pattern=r"^(https?://\S+)?$")] = ""
    client_id: str = ""
    client_secret_file: str = ""
    scopes: str = "openid email profile"
    claim: str = "groups"
    roles: dict[str, Literal["analyst", "on-call", "admin", "auditor"]] = {}
    redirect_url: Annotated[str, Field(pattern=r"^(https?://\S+/v1/login/callback)?$")] = ""


class Log(_Section):
    """The durable record of what came in."""

    store_args: Literal["digest", "full"] = "digest"
    segment_bytes: Annotated[int, Field(ge=64 * 1024)] = 64 * 1024 * 1024
    retention_days: Positive = 30.0
    retention_bytes: Annotated[int, Field(ge=1024 * 1024)] = 20 * 1024 * 1024 * 1024
    dedupe_ids: Count = 1_000_000
    checkpoint_interval_s: Positive = 60.0


class RecordSettings(_Section):
    """The tamper-evident record of who did what for whom."""

    origin: Annotated[str, Field(pattern=r"^[^\s+]{0,200}$")] = ""
    retention_days: Positive = 730.0
    retention_bytes: Annotated[int, Field(ge=64 * 1024 * 1024)] = 100 * 1024 * 1024 * 1024
    content_days: Positive = 90.0
    checkpoint_interval_s: Positive = 60.0
    checkpoint_command: tuple[str, ...] = ()


class RiverDetector(_Section):
    """A River anomaly detector put beside ours for the agents that match."""

    name: str
    params: dict[str, Any] = {}
    agents: tuple[str, ...] = ("*",)


class Detection(_Section):
    """The online models."""

    min_actions: Annotated[int, Field(ge=20)] = 200
    fleet_min_actions: Annotated[int, Field(ge=200)] = 1000
    max_agents: Annotated[int, Field(ge=64)] = 100_000
    max_spilled: Annotated[int, Field(ge=0)] = 1_000_000
    unjudged_after_s: Positive = 86_400.0
    max_unjudged: Count = 10_000
    loop_calls: Annotated[int, Field(ge=2)] = 10
    error_streak: Annotated[int, Field(ge=2)] = 20
    river: Annotated[tuple[RiverDetector, ...], Field(max_length=2)] = ()


class Response(_Section):
    """What happens when an action is strange (architecture §4)."""

    mode: Literal["observe", "alert", "enforce"] = "alert"
    kill: Literal["suspend", "revoke"] = "suspend"
    suspend_s: Positive = 3600.0
    false_alerts_per_agent_day: Positive = 0.1
    false_kills_per_agent_day: Positive = 0.001
    evidence_window_s: Positive = 3600.0
    max_automatic_kills: Count = 5
    automatic_kills_window_s: Positive = 600.0


class KillSwitch(_Section):
    """The store that the enforcement points follow."""

    redis_url: str = ""
    contain_timeout_s: Annotated[float, Field(gt=0, le=60)] = 2.0


class Drill(_Section):
    """The drills that show whether a kill would be enforced, before it is needed."""

    interval_s: Annotated[float, Field(ge=0)] = 3600.0
    promise_ms: Annotated[float, Field(gt=0, le=60_000)] = 1000.0


class Feed(_Section):
    """The live websocket feed."""

    client_buffer: Count = 1000
    recent_messages: Count = 10_000
    retention_days: Positive = 90.0


class Alerts(_Section):
    """What people work on."""

    group_window_s: Positive = 3600.0
    max_open_groups: Count = 100_000
    max_closed_groups: Count = 10_000
    closed_days: Positive = 90.0
    max_mutes: Count = 10_000


class Config(_Section):
    """Everything that can be configured, with its default."""

    server: Server = Server()
    access: Access = Access()
    oidc: Oidc = Oidc()
    log: Log = Log()
    record: RecordSettings = RecordSettings()
    detection: Detection = Detection()
    response: Response = Response()
    killswitch: KillSwitch = KillSwitch()
    drill: Drill = Drill()
    feed: Feed = Feed()
    delivery: Delivery = Delivery()
    alerts: Alerts = Alerts()


def load_config(path: Path | None) -> Config:
    """Return the configuration in the file, or the defaults where there is none.

    Raises
    ------
    ConfigError
        Naming the first wrong key, and how many more there are.
    """
    if path is None:
        return Config()
    try:
        return parse_config(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("", f"cannot read {path}: {error}") from error


def parse_config(text: str) -> Config:
    """Return the configuration that a TOML text describes; raises `ConfigError`."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError("", f"not TOML: {error}") from error
    try:
        config = Config.model_validate(_tuples(document))
    except ValidationError as error:
        raise _first_of(error) from error
    _check_together(config)
    return config


def _check_together(config: Config) -> None:
    """Refuse what each key allows by itself and no two of them together."""
    response, server, oidc = config.response, config.server, config.oidc
    if response.false_kills_per_agent_day > response.false_alerts_per_agent_day:
        raise ConfigError(
            "response.false_kills_per_agent_day",
            "may not be above false_alerts_per_agent_day: every kill is an alert too",
        )
    if bool(server.tls_cert) != bool(server.tls_key):
        missing = "tls_key" if server.tls_cert else "tls_cert"
        raise ConfigError(f"server.{missing}", "TLS takes both files, the certificate chain and its key")
    if server.kill_host and server.kill_port and server.kill_port == server.port:
        raise ConfigError("server.kill_port", "must be another port than server.port: it tells the two apart")
    if oidc.issuer and not oidc.client_id:
        raise ConfigError(
            "oidc.client_id", "is what the provider calls this daemon; without it nobody can sign in"
        )
    if "openid" not in oidc.scopes.split():
        raise ConfigError("oidc.scopes", "must hold 'openid': without it the provider sends no identity")
    check_delivery(config.delivery)


def _tuples(value: Any) -> Any:
    """TOML arrays arrive as lists; the configuration holds tuples, which nobody can change later."""
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _first_of(error: ValidationError) -> ConfigError:
    problems = error.errors(include_url=False)
    first = problems[0]
    field = ".".join(str(part) for part in first["loc"])
    message = "no such key" if first["type"] == "extra_forbidden" else first["msg"]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return ConfigError(field, f"{message}{more}; see config.reference.toml")
