"""Programs built from Go modules, where neither PATH nor a download has them."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

_POLL_SECONDS = 0.2
_REPORT_EVERY_SECONDS = 15.0
_LOG_TAIL_LINES = 15
_BUILDING = ".building"

Report = Callable[[str], None]


class BuildError(Exception):
    """A build that failed; the message ends with the tool's own last lines."""


@dataclass(frozen=True, kw_only=True)
class Module:
    """The small Go module in which programs are built.

    Attributes:
        go: Language version of its ``go`` line; not below that of any dependency.
        requires: Version by module path.
        replaces: ``path version`` by the module path that it stands for.
        linked: Values of string variables set at link time, by ``package.variable``.
    """

    go: str
    requires: Mapping[str, str]
    replaces: Mapping[str, str] = field(default_factory=dict[str, str])
    linked: Mapping[str, str] = field(default_factory=dict[str, str])

    def text(self) -> str:
        """Return the ``go.mod`` file."""
        lines = ["module sandboxtools", "", f"go {self.go}", ""]
        lines += [f"require {path} {version}" for path, version in self.requires.items()]
        lines += [f"replace {path} => {target}" for path, target in self.replaces.items()]
        return "\n".join(lines) + "\n"


def go_available() -> str | None:
    """Version of Go on PATH such as ``1.26.8``, or None."""
    if shutil.which("go") is None:
        return None
    answer = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=False)
    return answer.stdout.strip().removeprefix("go") or None


def built(name: str, module: Module, packages: Sequence[str], cache: Path) -> Path | None:
    """Directory of the binaries where an earlier build made them."""
    folder = cache / f"{name}-{_key(module, packages)}"
    return folder if folder.is_dir() else None


def build(name: str, module: Module, packages: Sequence[str], cache: Path, report: Report) -> Path:
    """Build ``packages`` inside ``module``, once per version and platform.

    The result appears whole or not at all: the build runs in a temporary directory that is renamed at the end, and
    swept by the next build when this one is killed. Go's own build cache keeps what was compiled until then.

    Args:
        name: What is built, for directories and messages.
        module: Dependencies and their versions.
        packages: Import paths of the ``main`` packages; the binary's name is the last path element.
        cache: Directory that keeps results.
        report: Receives a line at the start of each step and one every 15 s.

    Returns:
        Directory with the binaries.

    Raises:
        BuildError: No Go on PATH, or it failed.
    """
    if go_available() is None:
        raise BuildError(f"building {name} needs Go {module.go} or newer on PATH")
    cache.mkdir(parents=True, exist_ok=True)
    target = cache / f"{name}-{_key(module, packages)}"
    with _lock(cache / f".{name}.lock", name, report) as lock:
        if target.is_dir():
            return target
        for stale in cache.glob(f".{name}-*{_BUILDING}"):
            shutil.rmtree(stale, ignore_errors=True)
        work = cache / f".{target.name}{_BUILDING}"
        try:
            (work / "bin").mkdir(parents=True)
            (work / "go.mod").write_text(module.text())
            for number, package in enumerate(packages, start=1):
                step = f"building {package.rsplit('/', 1)[-1]} from source ({number} of {len(packages)})"
                flags = " ".join(f"-X {variable}={value}" for variable, value in module.linked.items())
                command = ["go", "build", "-mod=mod", f"-ldflags={flags}", "-o", "bin/", package]
                _run(command, work, lock, step, report)
            (work / "bin").rename(target)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return target


def downloaded(module: str, version: str, report: Report) -> Path:
    """Directory of a module's source in Go's module cache, downloaded where it is missing.

    Raises:
        BuildError: No Go on PATH, or the module cannot be had.
    """
    if go_available() is None:
        raise BuildError(f"reading {module} needs Go on PATH")
    report(f"looking up {module} {version}")
    answer = subprocess.run(
        ["go", "mod", "download", "-json", f"{module}@{version}"], capture_output=True, text=True, check=False
    )
    if answer.returncode != 0:
        raise BuildError(f"go cannot download {module} {version}: {(answer.stderr or answer.stdout).strip()}")
    return Path(str(json.loads(answer.stdout)["Dir"]))


def earlier(name: str, cache: Path) -> Path | None:
    """Directory of the binaries of any earlier build of ``name`` for this platform; ``name`` says the version."""
    return next(iter(sorted(cache.glob(f"{name}-{_platform()}-*"))), None)


def _platform() -> str:
    return f"{platform.system().lower()}-{platform.machine().lower()}"


def _key(module: Module, packages: Sequence[str]) -> str:
    content = json.dumps([asdict(module), list(packages)], sort_keys=True)
    return f"{_platform()}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"


@contextmanager
def _lock(path: Path, name: str, report: Report) -> Generator[int]:
    """Hold the lock of ``name``.

    The compiler inherits the descriptor: should this process be killed, the next one waits for the orphan instead of
    competing with it.
    """
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(f"waiting for another build of {name}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def _run(command: Sequence[str], work: Path, lock: int, step: str, report: Report) -> None:
    log = work / "build.log"
    started = reported = time.monotonic()
    report(step)
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=work, stdout=output, stderr=subprocess.STDOUT, pass_fds=(lock,), env=_environment()
        )
    try:
        while process.poll() is None:
            time.sleep(_POLL_SECONDS)
            if time.monotonic() - reported >= _REPORT_EVERY_SECONDS:
                reported = time.monotonic()
                report(f"{step}: {reported - started:.0f} s{_last_line(log)}")
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    if process.returncode != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:])
        raise BuildError(f"{step} failed:\n{tail}")


def _environment() -> dict[str, str]:
    """Return the user's environment without a workspace that happens to surround the cache."""
    return {**os.environ, "GOWORK": "off"}


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return f", {lines[-1]}" if lines else ""
