"""The jars of the test broker: Kafka itself, resolved once by Maven into a cache of this checkout.

The cache key is the content of ``pom.xml``, so a new Kafka version never meets old jars on one class path.
"""

import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

POM = Path(__file__).with_name("pom.xml")
CACHE = Path(__file__).resolve().parents[2] / ".cache" / "kafka"
MIN_JAVA = 17  # Kafka 4 brokers are compiled for it
MAVEN_TIMEOUT_S = 300.0  # about 45 MB and 60 small files from a cold cache


class Unavailable(Exception):
    """There can be no broker here; the message is the reason, fit for a pytest skip."""


def say(line: str) -> None:
    """Tell the person at the terminal what takes longer than a second."""
    print(line, file=sys.stderr, flush=True)


def java_version(java: str) -> int:
    """Return the feature release of *java*, e.g. 17 (0 if it does not say); "1.8" counts as 8."""
    run = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False)
    found = re.search(r'version "(?:1\.)?(\d+)', run.stderr)
    return int(found[1]) if found else 0


@functools.cache
def find_java() -> str:
    """Return the path of a Java that can run the broker, or raise `Unavailable`."""
    java = shutil.which("java")
    if java is None:
        raise Unavailable("no java on PATH")
    version = java_version(java)
    if version < MIN_JAVA:
        raise Unavailable(f"java is version {version}, Kafka needs {MIN_JAVA} or newer")
    return java


def resolve(pom: Path = POM, cache: Path = CACHE, say: Callable[[str], None] = say) -> Path:
    """Return a directory that holds all jars of *pom*, asking Maven for them the first time.

    Safe to call from several processes at once: each resolves into a directory of its own, and the first
    rename wins. Costs nothing when cached, seconds to minutes when not.

    Raises
    ------
    Unavailable
        No ``mvn``, or it could not resolve the jars (the reason names its first error).
    """
    jars = cache / hashlib.sha256(pom.read_bytes()).hexdigest()[:16]
    if jars.is_dir():
        return jars
    mvn = shutil.which("mvn")
    if mvn is None:
        raise Unavailable("no mvn on PATH to resolve the Kafka jars with")
    cache.mkdir(parents=True, exist_ok=True)
    say("kafka: resolving the broker's jars with Maven (about 45 MB, the first time only) ...")
    with tempfile.TemporaryDirectory(dir=cache, prefix="resolving-") as scratch:
        _copy_dependencies(mvn, pom, Path(scratch) / "jars", cache / "mvn.log")
        try:
            os.rename(Path(scratch) / "jars", jars)
        except OSError:
            if not jars.is_dir():  # otherwise another process was faster: its jars are the same
                raise
    return jars


def _copy_dependencies(mvn: str, pom: Path, target: Path, log_path: Path) -> None:
    """Have Maven copy the run-time dependencies of *pom* to *target*; its output goes to *log_path*."""
    goal = ["dependency:copy-dependencies", f"-DoutputDirectory={target}", "-DincludeScope=runtime"]
    with log_path.open("w") as log:
        try:
            run = subprocess.run(
                [mvn, "-B", "-q", "-f", str(pom), *goal],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=MAVEN_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise Unavailable(f"mvn did not resolve the jars within {MAVEN_TIMEOUT_S:.0f} s") from error
    if run.returncode != 0 or not any(target.glob("kafka_*.jar")):
        raise Unavailable(f"mvn could not resolve the Kafka jars: {_first_error(log_path)}")


def _first_error(log_path: Path) -> str:
    """Return Maven's first error line, shortened: the rest repeats it with advice."""
    lines = log_path.read_text(errors="replace").splitlines()
    errors = [line.removeprefix("[ERROR]").strip() for line in lines if "ERROR" in line]
    return (errors or lines or ["no output"])[0][:300]
