"""Who may know whom, and how large a module may grow."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("detectors", "killswitch", "monitor")
MAX_LINES = 400
MAY_IMPORT = {
    "detectors": {"detectors", "numpy", "numba", "river", "xxhash"},
    "killswitch": {"killswitch", "redis"},
}
# Signatures are ten times as fast with it and the same without it; nobody is asked to install it.
MAY_ALSO = {"killswitch/trust/ed25519.py": {"cryptography"}}


def modules(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imported(source: str) -> Iterator[str]:
    """The top-level names of everything a module imports, wherever in it; a relative import is its own room."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").split(".")[0]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "__import__":
            yield "__import__"


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    allowed = MAY_IMPORT[room] | sys.stdlib_module_names
    found = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(room)
        for name in imported(path.read_text())
        if name not in allowed | MAY_ALSO.get(str(path.relative_to(ROOT)), set())
    }
    assert found == set()


def test_the_rule_sees_imports_inside_functions_and_of_every_form() -> None:
    source = "def f():\n    import monitor.x as y\n    from redis import Redis\n    __import__('os')\nfrom . import z"
    assert set(imported(source)) == {"monitor", "redis", "__import__"}


def reads_environment(source: str) -> bool:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv", "getenvb"):
            return True
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            names = {alias.name for alias in node.names}
            if names & {"environ", "environb", "getenv", "getenvb"}:
                return True
    return False


def test_only_the_command_line_reads_the_environment() -> None:
    readers = {
        str(path.relative_to(ROOT))
        for room in ROOMS
        for path in modules(room)
        if reads_environment(path.read_text()) and "cli" not in path.relative_to(ROOT).parts
    }
    # The one exception changes nothing but where compiled code is kept (XDG_CACHE_HOME).
    assert readers == {"detectors/compiler.py"}


@pytest.mark.parametrize("room", ROOMS)
def test_no_module_outgrows_its_reader(room: str) -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in modules(room)}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}


@pytest.mark.parametrize("room", ROOMS)
def test_each_package_says_that_it_is_typed(room: str) -> None:
    assert (ROOT / room / "py.typed").is_file()


NEW_MODULES = """
import sys
before = set(sys.modules)
import {name}
tops = {{name.split(".")[0] for name in set(sys.modules) - before}}
print(*sorted(tops - set(sys.stdlib_module_names)))
"""


def brings(name: str) -> set[str]:
    """The packages outside the standard library that importing a module brings into a fresh process."""
    ran = subprocess.run(
        [sys.executable, "-c", NEW_MODULES.format(name=name)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=True,
    )
    return set(ran.stdout.split())


def test_what_lives_in_an_agent_is_light() -> None:
    assert brings("monitor.sensor") == {"monitor"}
    assert brings("killswitch") - brings("redis") == {"killswitch"}


def test_the_rooms_stand_alone() -> None:
    assert not brings("detectors") & {"monitor", "killswitch", "redis"}
    assert not brings("killswitch") & {"monitor", "detectors"}
