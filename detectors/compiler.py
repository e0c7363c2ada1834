"""The one place that knows whether kernels are compiled.

A kernel is a plain function on arrays and numbers. Where numba is installed it is compiled to machine code;
where it is not, the very same function runs as it stands (about 300 times slower, same results). The
uncompiled function is also the oracle that the tests hold the compiled one against.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

numba: Any
try:
    import numba
except ImportError:  # pragma: no cover - the daemon extra installs numba
    numba = None

# A kernel only borrows arrays that its caller holds, and allocates nothing. Without numba's reference counting
# it runs three times as fast, and a kernel that would allocate does not compile.
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "_nrt": False}

_F = TypeVar("_F", bound=Callable[..., Any])


def kernel(function: _F) -> _F:
    """Compile a small building block into the kernels that call it.

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


def routine(function: _F) -> _F:
    """Compile a larger building block: called instead of inlined, which keeps compilation short."""
    if numba is None:  # pragma: no cover - the daemon extra installs numba
        return function
    return cast("_F", numba.njit(**_OPTIONS)(function))


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


class KeptKernels(NamedTuple):
    """Where compiled kernels are kept, None if nowhere, and how many there are."""

    directory: Path | None
    kernels: int


def kept_kernels() -> KeptKernels | None:
    """Return what is compiled already, for people to read; None without numba."""
    if numba is None:  # pragma: no cover - the daemon extra installs numba
        return None
    directory = _cache_directory()
    if directory is None:
        return KeptKernels(None, 0)
    return KeptKernels(Path(directory), len(list(Path(directory).rglob("*.nbi"))))


def _cache_directory() -> str | None:
    """Return a directory only this user writes to (cached code is executed), or None."""
    if numba.config.CACHE_DIR:
        return str(numba.config.CACHE_DIR)  # the operator chose with NUMBA_CACHE_DIR
    package = Path(__file__).parent
    digest = hashlib.sha256()
    for source in sorted(package.glob("*.py")):
        digest.update(source.read_bytes())
    name = f"kernels-{digest.hexdigest()[:16]}"
    beside = package / "__pycache__" / name
    if _is_ours(beside):
        for stale in beside.parent.glob("kernels-*"):  # of sources that are no more
            if stale != beside:
                shutil.rmtree(stale, ignore_errors=True)
        return str(beside)
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "killcord" / name
    return str(home) if _is_ours(home) else None


def _is_ours(directory: Path) -> bool:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(directory, os.W_OK)
