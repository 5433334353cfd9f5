"""The Pulumi engine: found, downloaded or built, in that order."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sandbox.toolchain import downloads, gobuild
from sandbox.toolchain.control_plane import executable, system_and_machine
from sandbox.toolchain.gobuild import Report

VERSION = "3.220.0"
_HOST_VERSION = "3.70.0"  # the newest Python language host that is part of a published Go module
_CLIPBOARD = "github.com/tgummerer/clipboard v0.0.0-20241001131231-d02d263e614e"  # as Pulumi's own go.mod has it
_HOST_PROGRAM = "pulumi-language-python"
_HOST_SCRIPTS = (
    "cmd/pulumi-language-python-exec",
    "dist/pulumi-analyzer-policy-python",
    "dist/pulumi-resource-pulumi-python",
)

ENGINE_MODULE = gobuild.Module(
    go="1.25.0",
    requires={"github.com/pulumi/pulumi/pkg/v3": f"v{VERSION}", "github.com/pulumi/pulumi/sdk/v3": f"v{VERSION}"},
    replaces={"github.com/atotto/clipboard": _CLIPBOARD},
    linked={"github.com/pulumi/pulumi/sdk/v3/go/common/version.Version": f"v{VERSION}"},
)
_HOST_MODULE = gobuild.Module(
    go="1.25.0",
    requires={"github.com/pulumi/pulumi/sdk/v3": f"v{_HOST_VERSION}"},
    linked={"github.com/pulumi/pulumi/sdk/v3/go/common/version.Version": f"v{_HOST_VERSION}"},
)


@dataclass(frozen=True)
class Engine:
    """A usable engine.

    Attributes:
        pulumi: The ``pulumi`` program.
        folders: Directories that must be on PATH for it to find its Python language host.
        origin: Where it came from; for messages.
    """

    pulumi: Path
    folders: tuple[Path, ...]
    origin: str


class NoEngineError(Exception):
    """No engine can be had; the message names the three remedies."""


def find_or_get(cache: Path, report: Report) -> Engine:
    """Return an engine, and say where it comes from.

    Raises:
        NoEngineError: Not on PATH, not to be downloaded, not to be built.
    """
    reasons: list[str] = []
    ways: tuple[Callable[[Path, Report], Engine], ...] = (_from_path, _kept, _from_release, _from_source)
    for way in ways:
        try:
            return way(cache, report)
        except (_Absent, downloads.Unavailable, gobuild.BuildError) as error:
            reasons.append(str(error))
    listed = "\n".join(f"  - {reason}" for reason in reasons if reason)
    raise NoEngineError(
        f"the sandbox needs the Pulumi engine {VERSION} or newer, and found no way to get one:\n{listed}\n"
        "Do one of these:\n"
        f"  1. install Pulumi {VERSION} or newer and have `pulumi` on PATH (https://www.pulumi.com/docs/install/)\n"
        f"  2. let this machine reach {_host()}, or name a mirror in {downloads.override_variable(_release_url(''))}\n"
        f"  3. install Go {ENGINE_MODULE.go} or newer with access to a Go module proxy: the engine is then built here\n"
        "Unit tests run without an engine: make test TIERS=unit"
    )


class _Absent(Exception):  # noqa: N818 not an error: the next way is tried
    pass


def _from_path(_cache: Path, _report: Report) -> Engine:
    found = shutil.which("pulumi")
    if found is None:
        raise _Absent("`pulumi` is not on PATH")
    version = subprocess.run([found, "version"], capture_output=True, text=True, check=False).stdout.strip()
    if _numbers(version) < _numbers(VERSION):
        raise _Absent(f"`pulumi` on PATH ({found}) is {version or 'of no known version'}: too old")
    if shutil.which(_HOST_PROGRAM, path=str(Path(found).parent)) is None and shutil.which(_HOST_PROGRAM) is None:
        raise _Absent(f"`pulumi` on PATH ({found}) comes without {_HOST_PROGRAM}")
    return Engine(Path(found), (Path(found).resolve().parent,), f"found on PATH: {found} {version}")


def _numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"v?(\d+)\.(\d+)\.(\d+)", version)
    return tuple(int(part) for part in match.groups()) if match else ()


def _kept(cache: Path, _report: Report) -> Engine:
    """Return what an earlier run downloaded or built."""
    release = _release_dir(cache)
    if (release / "pulumi").exists():
        return Engine(release / "pulumi", (release,), f"downloaded earlier: {release}")
    assembled = _built_dir(cache)
    if not assembled.is_dir():
        raise _Absent("")
    return Engine(assembled / "pulumi", (assembled,), f"built earlier: {assembled}")


def _release_dir(cache: Path) -> Path:
    return cache / f"pulumi-{VERSION}"


def _built_dir(cache: Path) -> Path:
    system, machine = system_and_machine()
    return cache / f"pulumi-{VERSION}-with-host-{_HOST_VERSION}-{system}-{machine}"


def _release_url(asset: str) -> str:
    return f"https://github.com/pulumi/pulumi/releases/download/v{VERSION}/{asset}"


def _host() -> str:
    return _release_url("").split("/")[2]


def _from_release(cache: Path, report: Report) -> Engine:
    system, machine = system_and_machine()
    archive = f"pulumi-v{VERSION}-{system}-{ {'amd64': 'x64', 'arm64': 'arm64'}[machine] }.tar.gz"
    sums = downloads.fetch_text(_release_url(f"pulumi-{VERSION}-checksums.txt"))
    digest = next((line.split()[0] for line in sums.splitlines() if line.split()[-1:] == [archive]), None)
    if digest is None:
        raise downloads.Unavailable(f"the checksums of Pulumi {VERSION} do not name {archive}")
    packed = downloads.fetch(_release_url(archive), cache / archive, sha256=digest, report=report)
    target = _release_dir(cache)
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        with tarfile.open(packed) as tar:
            tar.extractall(part, filter="data")
        (part / "pulumi").rename(target)  # the archive holds one folder of that name
    except (tarfile.TarError, OSError) as error:
        raise downloads.Unavailable(f"{archive} cannot be unpacked: {error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        packed.unlink()
    return Engine(target / "pulumi", (target,), f"downloaded: Pulumi {VERSION} from {_host()}")


_ENGINE_PACKAGES = ("github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",)
_HOST_PACKAGES = (f"github.com/pulumi/pulumi/sdk/v3/python/cmd/{_HOST_PROGRAM}",)


def _from_source(cache: Path, report: Report) -> Engine:
    if gobuild.go_available() is None:
        raise gobuild.BuildError("it cannot be built: Go is not on PATH")
    report(f"no engine on PATH and none to download: building Pulumi {VERSION}, about 4 minutes once")
    engine = gobuild.build("pulumi", ENGINE_MODULE, _ENGINE_PACKAGES, cache, report)
    host = gobuild.build("pulumi-python-host", _HOST_MODULE, _HOST_PACKAGES, cache, report)
    source = gobuild.downloaded("github.com/pulumi/pulumi/sdk/v3", f"v{_HOST_VERSION}", report)
    # The engine takes a host that lies beside it without asking; one from PATH earns a warning in every run.
    target = _built_dir(cache)
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    programs = (engine / "pulumi", host / _HOST_PROGRAM, *(source / "python" / script for script in _HOST_SCRIPTS))
    for program in programs:
        shutil.copyfile(program, part / program.name)
        executable(part / program.name)
    part.rename(target)
    return Engine(target / "pulumi", (target,), f"built: Pulumi {VERSION} from Go modules")
