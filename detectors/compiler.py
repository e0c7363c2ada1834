"""The one place that knows whether kernels are compiled.

A kernel is a plain function on arrays and numbers. Where numba is installed it is compiled to machine code;
where it is not, the very same function runs as it stands (about 300 times slower, same results). The
uncompiled function is also the oracle that the tests hold the compiled one against.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

numba: Any
try:
    import numba
except ImportError:  # pragma: no cover - the daemon extra installs numba
    numba = None

# A kernel only borrows arrays that its caller holds, and allocates nothing. Without numba's reference counting
# it runs three times as fast, and a kernel that would allocate does not compile.
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "_nrt": False}

_F = TypeVar("_F", bound=Callable[..., Any])

COMPILED: bool = numba is not None
"""Whether kernels run as machine code in this environment."""


def kernel(function: _F) -> _F:
    """Compile a building block that only other kernels call.

    Parameters
    ----------
    function
        Uses arrays, numbers and other kernels only, so that it means the same compiled and not.

    Returns
    -------
    The compiled function, or `function` itself without numba.

    """
    if numba is None:  # pragma: no cover - the daemon extra installs numba
        return function
    return cast("_F", numba.njit(**_OPTIONS, forceinline=True)(function))


def entry(function: _F) -> _F:
    """Compile a kernel that Python calls, and keep the machine code on disk between runs.

    numba's cache looks only at the file of the function itself, so a change in a kernel that it calls would
    go unnoticed. The cache directory is therefore named after a digest of every source file of this package.

    Parameters
    ----------
    function
        As for `kernel`.

    Returns
    -------
    The compiled function, or `function` itself without numba.

    """
    if numba is None:  # pragma: no cover - the daemon extra installs numba
        return function
    directory = _cache_directory()
    if directory is None:
        return cast("_F", numba.njit(**_OPTIONS)(function))
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = directory
    try:
        return cast("_F", numba.njit(**_OPTIONS, cache=True)(function))
    finally:
        numba.config.CACHE_DIR = before


def plain(function: _F) -> _F:
    """Return the uncompiled form of a kernel; the kernels that it calls stay as they are."""
    return cast("_F", getattr(function, "py_func", function))


def _cache_directory() -> str | None:
    """Return a directory only this user writes to (cached code is executed), or None."""
    if numba.config.CACHE_DIR:
        return str(numba.config.CACHE_DIR)  # the operator chose with NUMBA_CACHE_DIR
    package = Path(__file__).parent
    digest = hashlib.sha256()
    for source in sorted(package.glob("*.py")):
        digest.update(source.read_bytes())
    name = f"kernels-{digest.hexdigest()[:16]}"
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    for candidate in (package / "__pycache__" / name, home / "killcord" / name):
        try:
            candidate.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(candidate, os.W_OK):
            return str(candidate)
    return None
