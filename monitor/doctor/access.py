"""Who gets in: tokens, and the certificate that browsers and sensors see."""

from __future__ import annotations

import ssl
import time
from collections import Counter
from pathlib import Path
from typing import Final

from monitor.access.token_file import TokenFile
from monitor.doctor.finding import Finding, fail, ok, printable, skipped, warn
from monitor.doctor.installation import Installation
from monitor.errors import AccessError
from monitor.state_dir import StateDir

DAY_S: Final = 86_400.0
SOON_S: Final = 14 * DAY_S
_REPLACE: Final = "replace the file: it is read anew by itself"
_MAKE: Final = "killcord tokens new"


def tokens(installation: Installation) -> Finding:
    """Say whether sensors and people can get in, and whose token ends soon."""
    try:
        kept = TokenFile(StateDir(installation.state).token_file).load()
    except AccessError as error:
        return fail("the tokens are damaged: nobody new gets in", str(error))
    now_s = time.time()
    valid = [token for token in kept if token.state_at(now_s) == "valid"]
    if not any(token.role == "sensor" for token in valid):
        return warn(
            "no sensor has a valid token: no action can be sent", f"{_MAKE} makes one for each sensor"
        )
    ending = [token for token in valid if token.expires_at is not None and token.expires_at - now_s < SOON_S]
    if ending:
        names = ", ".join(printable(token.name) for token in ending[:3])
        return warn(f"{len(ending)} tokens end within 14 days: {names}", f"replace them in time: {_MAKE}")
    counts = Counter(token.role for token in valid)
    return ok("valid tokens: " + ", ".join(f"{count} {role}" for role, count in sorted(counts.items())))


def certificate(installation: Installation) -> Finding:
    """Say whether the certificate can be served, and for how long."""
    server = installation.config.server
    if not server.tls_cert:
        return skipped("the daemon serves no TLS itself")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(server.tls_cert, server.tls_key)
        ends_s = _ends_s(Path(server.tls_cert))
    except (OSError, ValueError) as error:
        return fail(
            f"{server.tls_cert} and {server.tls_key} are no certificate with its key: {error}",
            "put [server] tls_cert and tls_key right: the daemon does not start with them",
        )
    left_s = ends_s - time.time()
    if left_s <= 0:
        return fail(
            f"the certificate ended {-left_s / DAY_S:.0f} days ago",
            _REPLACE,
        )
    text = f"the certificate is valid for {left_s / DAY_S:.0f} more days"
    return warn(text, _REPLACE) if left_s < SOON_S else ok(text)


def _ends_s(file: Path) -> float:
    """Return the end of the first certificate in a file, in seconds since 1970."""
    from cryptography.x509 import load_pem_x509_certificate

    return load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc.timestamp()
