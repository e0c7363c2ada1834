"""Asks an OpenID Connect provider for its endpoints, its keys, and an ID token for a code. Every wait is bounded."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from monitor.access.oidc import ALGORITHMS, Attempt, authorization_url, check_claims, person
from monitor.access.roles import Principal
from monitor.config import Oidc
from monitor.errors import AccessError

TIMEOUT_S: Final = 5.0
IN_ALL_S: Final = 10.0  # several answers that each come just in time
KEEP_S: Final = 3_600.0
ASK_AGAIN_AFTER_S: Final = 10.0
MAX_ANSWER_BYTES: Final = 1024 * 1024  # security limit
BASIC: Final = (
    "client_secret_basic"  # what a provider supports that does not say (OpenID Connect Discovery §3)
)
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


class Provider:
    """One provider, asked when somebody signs in and never before: whether it is up is no matter of the daemon's."""

    def __init__(self, config: Oidc) -> None:
        self._config = config
        self._found: dict[str, Any] = {}
        self._found_s = float("-inf")
        self._keys: KeySet | None = None
        self._keys_s = float("-inf")

    async def authorization_url(self, attempt: Attempt, redirect_url: str) -> str:
        """Return where to send the browser; raises `AccessError` if the provider cannot be asked."""
        found = await _within(self._discover())
        return authorization_url(
            found["authorization_endpoint"],
            attempt,
            client_id=self._config.client_id,
            scopes=self._config.scopes,
            redirect_url=redirect_url,
        )

    async def person(self, attempt: Attempt, code: str, redirect_url: str) -> tuple[Principal, str]:
        """Return who signed in, and their ``sub``; raises `AccessError` if the provider's word does not hold."""
        claims = await _within(self._claims(attempt, code, redirect_url))
        check_claims(
            claims,
            issuer=self._config.issuer,
            client_id=self._config.client_id,
            nonce=attempt.nonce,
            now_s=time.time(),
        )
        return person(claims, claim=self._config.claim, roles=self._config.roles), str(claims.get("sub"))

    # -- inside -------------------------------------------------------------------------------------------------

    async def _claims(self, attempt: Attempt, code: str, redirect_url: str) -> dict[str, Any]:
        found = await self._discover()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_url,
            "client_id": self._config.client_id,
            "code_verifier": attempt.verifier,
        }
        secret = self._secret()
        basic = None
        if secret and BASIC in found.get("token_endpoint_auth_methods_supported", (BASIC,)):
            basic = (self._config.client_id, secret)
        elif secret:
            form["client_secret"] = secret
        answer = await _ask("POST", found["token_endpoint"], form, basic)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise AccessError("the provider sent no ID token")
        return await self._verified(token)

    async def _verified(self, token: str) -> dict[str, Any]:
        """Return the claims of an ID token that one of the provider's keys signed; new keys are looked for once."""
        for may_ask_again in (True, False):
            try:
                return dict(jwt.decode(token, await self._key_set(), algorithms=list(ALGORITHMS)).claims)
            except (JoseError, ValueError) as error:
                if may_ask_again and time.monotonic() - self._keys_s > ASK_AGAIN_AFTER_S:
                    self._keys = None
                    continue
                raise AccessError(f"the provider's signature does not hold: {error}") from error
        raise AssertionError  # the second time either returns or raises

    async def _key_set(self) -> KeySet:
        if self._keys is None or time.monotonic() - self._keys_s > KEEP_S:
            found = await self._discover()
            answer = await _ask("GET", found["jwks_uri"])
            try:
                self._keys = KeySet.import_key_set(answer)  # type: ignore[arg-type]
            except (JoseError, ValueError, KeyError, TypeError) as error:
                raise AccessError(f"the provider's keys cannot be read: {error}") from error
            self._keys_s = time.monotonic()
        return self._keys

    async def _discover(self) -> dict[str, Any]:
        """Return the provider's metadata (OpenID Connect Discovery §3), asked for anew once an hour."""
        if time.monotonic() - self._found_s > KEEP_S:
            issuer = self._config.issuer
            found = await _ask("GET", f"{issuer.rstrip('/')}/.well-known/openid-configuration")
            if found.get("issuer") != issuer:
                raise AccessError(
                    f"{issuer} calls itself {found.get('issuer')!r}: configure exactly that as issuer"
                )
            for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                _check_url(name, found.get(name))
            self._found, self._found_s = found, time.monotonic()
        return self._found

    def _secret(self) -> str:
        """Return the client's secret; empty for a public client."""
        if not self._config.client_secret_file:
            return ""
        try:
            return Path(self._config.client_secret_file).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise AccessError(f"oidc.client_secret_file cannot be read: {error}") from error


async def _within(asking: Any) -> Any:
    try:
        async with asyncio.timeout(IN_ALL_S):
            return await asking
    except TimeoutError as error:
        raise AccessError(
            f"the provider did not answer within {IN_ALL_S:g} s; try again, or use a token"
        ) from error


async def _ask(
    method: str, url: str, form: dict[str, str] | None = None, authentication: tuple[str, str] | None = None
) -> dict[str, Any]:
    """Return the JSON object that the provider answers with."""
    try:
        async with (
            httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False) as client,
            client.stream(method, url, data=form, auth=authentication) as response,
        ):
            body = b""
            async for part in response.aiter_bytes():
                body += part
                if len(body) > MAX_ANSWER_BYTES:
                    raise AccessError("the provider's answer is too long")
            answer = httpx.Response(response.status_code, content=body)
        document = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise AccessError(
            f"the provider does not answer as it should ({error!r}); try again, or use a token"
        ) from error
    if answer.status_code != 200 or not isinstance(document, dict):
        said = str(document.get("error", "")) if isinstance(document, dict) else ""
        raise AccessError(f"the provider refused with {answer.status_code} {said[:100]}")
    return document


def _check_url(name: str, url: object) -> None:
    parts = urlsplit(url) if isinstance(url, str) else None
    if parts is None or not (
        parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    ):
        raise AccessError(f"the provider's {name} is no https address")
