"""``ops mirror``: what is listed, what is copied, and that a second run goes on where the first one ended."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from components.settings.air_gap import AirGapSettings
from ops.mirror import cli
from ops.mirror.collect import Needs, of_resources
from ops.mirror.copy import CopyError, Lock, Piece, copy, pieces

pytestmark = pytest.mark.unit

_MIRRORS = {
    "registry": "registry.test/mirror",
    "charts": "oci://registry.test/charts",
    "git": "https://git.test/mirror",
    "models": "s3://models/hub",
}
MIRRORS = AirGapSettings.model_validate(_MIRRORS)
_POD: dict[str, Any] = {
    "type": "kubernetes:core/v1:Pod",
    "inputs": {"spec": {"containers": [{"image": "docker.io/library/alpine:3.23"}]}},
}
_OTHER: dict[str, Any] = {"type": "aws:s3/bucket:Bucket", "inputs": {"bucket": "docker.io/not/an-image"}}


def state(folder: Path, *resources: dict[str, Any]) -> list[str]:
    """Arguments for a state and a stack's file in ``folder``."""
    (folder / "state.json").write_text(json.dumps({"deployment": {"resources": list(resources)}}))
    (folder / "stack.yaml").write_text(json.dumps({"config": {"llmops:airGap": _MIRRORS}}))
    return ["--state", str(folder / "state.json"), "--settings", str(folder / "stack.yaml"), "--no-render"]


def test_only_what_goes_to_the_cluster_is_listed():
    assert of_resources([_POD, _OTHER]).images == {"docker.io/library/alpine:3.23"}


def test_a_secret_of_the_state_is_read_like_any_other_value():
    marked = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "value": _POD["inputs"]["spec"]}
    found = of_resources([{"type": _POD["type"], "inputs": {"spec": marked}}])
    assert found.images == {"docker.io/library/alpine:3.23"}


def test_every_kind_has_a_place_behind_its_own_mirror():
    needs = Needs(
        images=frozenset({"quay.io/a/b:1"}),
        charts=frozenset({("keda", "2.20.2")}),
        trees=frozenset({("https://github.com/a/b.git", "c0ffee")}),
        models=frozenset({"hf://org/name@abc"}),
    )
    assert [piece.target for piece in pieces(needs, MIRRORS)] == [
        "registry.test/mirror/quay.io/a/b:1",
        "oci://registry.test/charts/keda:2.20.2",
        "https://git.test/mirror/github.com/a/b.git",
        "s3://models/hub/org/name/abc",
    ]


@pytest.mark.parametrize("tool", ["skopeo", "crane"])
def test_an_image_is_copied_as_it_was_when_its_tag_was_resolved(
    tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):

    def which(name: str) -> str | None:
        return f"/usr/bin/{name}" if name == tool else None

    monkeypatch.setattr("shutil.which", which)
    asked: list[Sequence[str]] = []

    def run(command: Sequence[str]) -> str:
        asked.append(command)
        return "sha256:" + "0" * 64

    piece = Piece(kind="image", source="quay.io:443/a/b:1", target="registry.test/mirror/quay.io/a/b:1")
    assert copy(piece, tmp_path, run) == "sha256:" + "0" * 64
    assert {command[0] for command in asked} == {tool}
    if tool == "skopeo":
        assert asked[-1][-2:] == [f"docker://quay.io:443/a/b@sha256:{'0' * 64}", f"docker://{piece.target}"]


def test_a_dry_run_copies_nothing_and_leaves_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def forbidden(*_: object) -> str:
        raise AssertionError("nothing is to be copied")

    monkeypatch.setattr(cli, "copy", forbidden)
    lock = tmp_path / "lock.json"
    answer = CliRunner().invoke(cli.app, ["copy", *state(tmp_path, _POD), "--lock", str(lock)])
    assert answer.exit_code == 0, answer.output
    assert "would copy image docker.io/library/alpine:3.23" in answer.output
    assert not lock.exists()


def test_a_failed_piece_stops_no_other_and_the_next_run_takes_only_that_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    second = {**_POD, "inputs": {"spec": {"containers": [{"image": "quay.io/a/b:1"}]}}}
    arguments = ["copy", *state(tmp_path, _POD, second), "--lock", str(tmp_path / "lock.json"), "--yes"]
    broken = {"docker.io/library/alpine:3.23"}
    copied: list[str] = []

    def copying(piece: Piece, _: Path) -> str:
        if piece.source in broken:
            raise CopyError("the registry does not answer")
        copied.append(piece.source)
        return "sha256:0"

    def nothing_is_missing(_: object) -> list[str]:
        return []

    monkeypatch.setattr(cli, "copy", copying)
    monkeypatch.setattr(cli, "missing_tools", nothing_is_missing)
    assert CliRunner().invoke(cli.app, arguments).exit_code == 1
    assert copied == ["quay.io/a/b:1"]
    broken.clear()
    assert CliRunner().invoke(cli.app, arguments).exit_code == 0
    assert copied == ["quay.io/a/b:1", "docker.io/library/alpine:3.23"]


def test_what_went_to_another_mirror_is_copied_again(tmp_path: Path):
    lock = Lock(tmp_path / "lock.json")
    piece = Piece(kind="image", source="quay.io/a/b:1", target="one.test/quay.io/a/b:1")
    lock.add(piece, "sha256:0")
    again = Lock(tmp_path / "lock.json")
    assert again.has(piece)
    assert again.digest("quay.io/a/b:1") == "sha256:0"
    assert not again.has(Piece(kind="image", source=piece.source, target="two.test/quay.io/a/b:1"))


def test_without_mirrors_there_is_nowhere_to_copy_to(tmp_path: Path):
    arguments = state(tmp_path, _POD)
    (tmp_path / "stack.yaml").write_text(json.dumps({"config": {}}))
    answer = CliRunner().invoke(cli.app, ["copy", *arguments])
    assert answer.exit_code == 2


def test_everything_that_the_stack_s_file_names_of_the_hub_is_on_the_list(tmp_path: Path):
    commit = "0123456789" * 4
    arguments = state(tmp_path, _POD)
    document = json.loads((tmp_path / "stack.yaml").read_text())
    document["config"] |= {
        "llmops:models": [{"source": "hf://org/chat@main"}, {"source": "hosted:openai/x"}],
        "llmops:fineTunes": [{"base": {"source": f"hf://org/base@{commit}"}}],
        "llmops:datasets": [{"tokenizer": {"source": "hf://org/tokens", "revision": commit}}],
    }
    (tmp_path / "stack.yaml").write_text(json.dumps(document))

    said = CliRunner().invoke(cli.app, ["list", *arguments]).output

    for name in ("org/chat@main", f"org/base@{commit}", f"org/tokens@{commit}"):
        assert f"hf://{name} -> s3://models/hub/{name.replace('@', '/')}" in said
    assert "openai" not in said
