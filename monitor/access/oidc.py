"""Signing in with OpenID Connect: authorization code, PKCE, state and nonce. Pure; `oidc_provider` asks the provider.

An attempt to sign in keeps nothing on the daemon: the browser holds its state in a cookie that the daemon has sealed,
and the nonce (OpenID Connect Core §3.1.2.1) and the PKCE verifier (RFC 7636) are derived from it with the
installation's secret. So nobody can fill a table, a restart interrupts nobody, and who steals the code has no verifier
to redeem it with.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, TypeGuard
from urllib.parse import urlencode

from monitor.access.roles import Principal, Role, principal
from monitor.access.tokens import MAX_NAME_CHARS
from monitor.errors import AccessError

LOGIN_TIMEOUT_S: Final = 600.0
MAX_CLOCK_SKEW_S: Final = 60.0
MAX_USED: Final = 10_000
# Signatures with the provider's own key only: never "none", never one that is made with the client's secret.
ALGORITHMS: Final = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
    "Ed25519",
)


class Attempt(NamedTuple):
    """One attempt to sign in. `seal` goes into the browser's cookie, `state` and `nonce` to the provider."""

    state: str
    nonce: str
    verifier: str
    seal: str

    @property
    def challenge(self) -> str:
        """The PKCE challenge, S256 (RFC 7636 §4.2)."""
        return _base64(hashlib.sha256(self.verifier.encode()).digest())


class Attempts:
    """Makes attempts, and recognises each of its own once."""

    def __init__(self, secret: bytes) -> None:
        self._key = hmac.digest(secret, b"killcord sign-in", "sha256")
        self._used: OrderedDict[str, None] = OrderedDict()

    def begin(self, state: str, now_s: float) -> Attempt:
        """Return a new attempt; `state` is a new secret."""
        return self._attempt(state, int(now_s + LOGIN_TIMEOUT_S))

    def finish(self, seal: str, state: str, now_s: float) -> Attempt:
        """Return the attempt that a browser comes back from; raises `AccessError` if it did not begin here."""
        sealed_state, until, *_ = [*seal.split("."), "", ""]
        until_s = int(until) if until.isascii() and until.isdigit() and len(until) < 12 else 0
        attempt = self._attempt(sealed_state, until_s)
        if not hmac.compare_digest(attempt.seal.encode(), seal.encode("utf-8", "replace")):
            raise AccessError("this browser has not begun to sign in here; begin again")
        if not hmac.compare_digest(sealed_state.encode(), state.encode("utf-8", "replace")):
            raise AccessError("the answer belongs to another attempt to sign in; begin again")
        if now_s > until_s:
            raise AccessError("signing in took longer than ten minutes; begin again")
        if state in self._used:
            raise AccessError("this answer was used before; begin again")
        self._used[state] = None
        if len(self._used) > MAX_USED:
            self._used.popitem(last=False)
        return attempt

    def _attempt(self, state: str, until_s: int) -> Attempt:
        def derived(what: str) -> str:
            return _base64(
                hmac.digest(self._key, f"{what} {state} {until_s}".encode("utf-8", "replace"), "sha256")
            )

        return Attempt(state, derived("nonce"), derived("verifier"), f"{state}.{until_s}.{derived('seal')}")


def authorization_url(
    endpoint: str, attempt: Attempt, *, client_id: str, scopes: str, redirect_url: str
) -> str:
    """Return where the browser is sent to sign in."""
    query = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_url,
        "scope": scopes,
        "state": attempt.state,
        "nonce": attempt.nonce,
        "code_challenge": attempt.challenge,
        "code_challenge_method": "S256",
    }
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"


def check_claims(claims: Mapping[str, Any], *, issuer: str, client_id: str, nonce: str, now_s: float) -> None:
    """Check the claims of an ID token whose signature holds (OpenID Connect Core §3.1.3.7); raises `AccessError`."""
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if claims.get("iss") != issuer:
        raise AccessError("the provider's answer is from another issuer than the configured one")
    if client_id not in audiences or claims.get("azp", client_id) != client_id:
        raise AccessError("the provider's answer is for somebody else")
    if len(audiences) > 1 and "azp" not in claims:
        raise AccessError("the provider's answer is for several, and does not say for whom it was made")
    nonce_offered = claims.get("nonce")
    if not isinstance(nonce_offered, str) or not hmac.compare_digest(nonce_offered.encode(), nonce.encode()):
        raise AccessError("the provider's answer belongs to another attempt to sign in; begin again")
    expires_s, issued_s = claims.get("exp"), claims.get("iat")
    if not _is_number(expires_s) or not _is_number(issued_s):
        raise AccessError("the provider's answer does not say from when until when it holds")
    if now_s > expires_s + MAX_CLOCK_SKEW_S:
        raise AccessError("the provider's answer has expired; begin again, and compare the clocks")
    if issued_s > now_s + MAX_CLOCK_SKEW_S:
        raise AccessError("the provider's answer is from the future; compare the clocks")


def person(claims: Mapping[str, Any], *, claim: str, roles: Mapping[str, Role]) -> Principal:
    """Return who signed in, with the role of the first entry that applies; raises `AccessError` if none does."""
    name = _name(claims)
    held = claims.get(claim)
    values = {str(value) for value in held} if isinstance(held, list) else {str(held)}
    for value, role in roles.items():
        if value in values:
            return principal(name, role, "oidc")
    raise AccessError(
        f"{name} is known, but has no role here: none of the values of '{claim}' is in [oidc] roles; "
        "ask who runs this daemon"
    )


def _name(claims: Mapping[str, Any]) -> str:
    # An address that the provider says nobody has verified is a name of somebody's own choice.
    email = claims.get("email") if claims.get("email_verified") is not False else None
    for name in (email, claims.get("preferred_username"), claims.get("sub")):
        if isinstance(name, str) and 0 < len(name) <= MAX_NAME_CHARS and name.isprintable():
            return name
    raise AccessError("the provider's answer names nobody")


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
