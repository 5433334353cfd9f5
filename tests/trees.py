"""Kustomize trees of the pinned commits, rendered as Argo CD renders them; none of their text is in this repository.

``LLMOPS_TREES`` names a folder with a checkout in each ``<tree>-<commit>/``; by default ``llmops-trees`` in the user's
cache.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.versions import TREES, TreeName
from sandbox import paths
from sandbox.toolchain import clients


def checkout(tree: TreeName) -> Path:
    """The files of a tree; skips where nobody has put them there."""
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "llmops-trees"
    folder = Path(os.environ.get("LLMOPS_TREES", default)) / f"{tree}-{TREES[tree].commit}"
    if not folder.is_dir():
        pytest.skip(f"no {folder}: a checkout of {TREES[tree].repository} at {TREES[tree].commit}")
    return folder


def kubectl() -> Path:
    """The client that brings Kustomize."""
    found = clients.find_or_get("kubectl", paths.cache_dir(), print)
    if not isinstance(found, Path):
        pytest.skip(found.reason)
    return found


def rendered(application: Mapping[str, Any], work: Path) -> list[dict[str, Any]]:
    """Objects of an application, from its specification alone.

    As Argo CD does it: namespace and patches are written into the kustomization of the folder that a source names.
    """
    found: list[dict[str, Any]] = []
    tree: TreeName = application["project"]
    for number, source in enumerate(application["sources"]):
        folder = work / f"{tree}-{number}"
        shutil.copytree(checkout(tree), folder)
        kustomization = folder / source["path"] / "kustomization.yaml"
        content = yaml.safe_load(kustomization.read_text())
        content["namespace"] = source["kustomize"]["namespace"]
        content["patches"] = [*content.get("patches", ()), *source["kustomize"]["patches"]]
        kustomization.write_text(yaml.safe_dump(content))
        built = subprocess.run(
            [kubectl(), "kustomize", kustomization.parent], check=False, capture_output=True, text=True
        )
        assert built.returncode == 0, built.stderr
        found += [one for one in yaml.safe_load_all(built.stdout) if one]
    return found
