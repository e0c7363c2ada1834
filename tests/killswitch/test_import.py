"""What runs inside other people's agents is light: redis-py and the standard library, and documented as it works."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import subprocess
import sys

import pytest

import killswitch
from tests.killswitch.conftest import ROOT

ALONE = """
import sys
from importlib.abc import MetaPathFinder

class OnlyRedis(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in {"redis", "killswitch"} and top not in sys.stdlib_module_names:
            raise ModuleNotFoundError(f"No module named {name!r} here", name=name)

sys.meta_path.insert(0, OnlyRedis())
import killswitch
killswitch.Target.parse("agent:x")
guard = killswitch.Guard.connect("redis://127.0.0.1:1", wait=False)
try:
    guard.check(agent="x")
except killswitch.Refused as refused:
    print(type(refused).__name__)
guard.close()
print(sorted({name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names) - {"__main__"}))
"""


def test_it_imports_and_refuses_with_redis_alone() -> None:
    found = subprocess.run(
        [sys.executable, "-c", ALONE], capture_output=True, text=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}
    )
    assert found.stderr == ""
    refused, modules = found.stdout.splitlines()
    assert refused == "NotReady"
    foreign = [name for name in modules.strip("[]").replace("'", "").split(", ") if not name.startswith("_")]
    assert set(foreign) <= {"killswitch", "redis"}


def test_what_is_exported_exists_and_is_documented() -> None:
    for name in killswitch.__all__:
        exported = getattr(killswitch, name)
        assert exported.__doc__ or not isinstance(exported, type)


@pytest.mark.parametrize("module", [info.name for info in pkgutil.iter_modules(killswitch.__path__)])
def test_the_examples_in_the_documentation_work(module: str) -> None:
    assert doctest.testmod(importlib.import_module(f"killswitch.{module}")).failed == 0


def test_all_errors_are_in_the_tree_that_the_documentation_prints() -> None:
    from killswitch import errors

    tree = errors.__doc__ or ""
    for name, error in vars(errors).items():
        if isinstance(error, type) and issubclass(error, Exception):
            assert issubclass(error, errors.KillswitchError)
            assert name in tree
