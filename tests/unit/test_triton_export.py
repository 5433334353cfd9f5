"""A release laid out for a managed endpoint: whole, checked, and still a release."""

from __future__ import annotations

import hashlib
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from workloads import images
from workloads.managed.container.serve import Settings, frontend_command
from workloads.triton import export as module
from workloads.triton.export import EXPORT, ExportError, Service, export, plan
from workloads.triton.sync import Wanted, check

pytestmark = pytest.mark.unit

FILES = {
    "engine/config.json": b'{"version": "1.2.1"}',
    "engine/rank0.engine": b"weights" * 1000,
    "tokenizer/tokenizer_config.json": b"{}",
}
CODE = {role: {"model.py": f"# {role}\n".encode()} for role in ("preprocessing", "postprocessing")}


def manifest(**more: Any) -> bytes:
    document = {
        "model": "llama",
        "gpu": "a10g",
        "tensorrtLlm": "1.2.1",
        "maxBatchSize": 8,
        "maxInputTokens": 4096,
        "maxSequenceTokens": 8192,
        "maxNumTokens": 8192,
        "pagedContext": True,
        "files": {path: hashlib.sha256(data).hexdigest() for path, data in FILES.items()},
        **more,
    }
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "release"
    for path, data in {**FILES, "manifest.json": manifest()}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    for role, files in CODE.items():
        for path, data in files.items():
            place = tmp_path / "code" / role / "1"
            place.mkdir(parents=True, exist_ok=True)
            (place / path).write_bytes(data)
    return folder


def exported(
    release: Path,
    target: str = "target",
    *,
    name: str = "chat",
    service: Service = "sagemaker",
    code: Path | None = None,
    digest: str = "",
) -> Path:
    place = release.parent / target
    own = code or release.parent / "code"
    export(release.as_uri(), place.as_uri(), name=name, service=service, code=own, digest=digest)
    return place


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_container_finds_its_models_and_its_tokenizer_and_every_model_has_a_version(release: Path):
    place = exported(release)
    command = frontend_command(Settings.of({"MODEL_NAME": "chat", "MODEL_REPOSITORY": str(place)}))
    repository, tokenizer = (Path(command[command.index(one) + 1]) for one in ("--model-repository", "--tokenizer"))
    assert (tokenizer / "tokenizer_config.json").exists()
    found = sorted(one.name for one in repository.iterdir())
    assert "chat" in found
    assert len(found) == 4
    for model in found:
        assert f'name: "{model}"' in (repository / model / "config.pbtxt").read_text()
        assert [one for one in (repository / model / "1").iterdir() if one.stat().st_size], model
    for role in CODE:
        assert next(repository.glob(f"{role}-*/1/model.py")).read_bytes() == CODE[role]["model.py"]


@pytest.mark.parametrize(("service", "folder"), [("sagemaker", "/opt/ml/model"), ("vertex", "/tmp/models")])
def test_configurations_name_the_files_where_the_service_has_them(service: Any, folder: str):
    made = plan(manifest(), name="chat", service=service, code=CODE)
    texts = "".join(data.decode() for path, data in made.added.items() if path.endswith("config.pbtxt"))
    assert f'"{folder}/engine"' in texts
    assert f'"{folder}/tokenizer"' in texts


def test_every_model_that_the_ensemble_names_is_there():
    made = plan(manifest(), name="chat", service="sagemaker", code=CODE)
    names = {path.split("/")[1] for path in made.added}
    steps = made.added["models/chat/config.pbtxt"].decode().split("model_name: ")[1:]
    assert {step.split('"')[1] for step in steps} == names - {"chat"}


def test_what_comes_out_is_still_a_release_for_the_cluster(release: Path):
    place = exported(release)
    digest = hashlib.sha256(manifest()).hexdigest()
    check(Wanted(release="r", source=str(place), digest=digest, gpu="a10g", shared=False), place, contents=True)


def test_doing_it_again_changes_nothing(release: Path):
    place = exported(release)
    before = contents(place)
    exported(release)
    assert contents(place) == before


def test_a_damaged_file_is_not_exported_and_leaves_no_end(release: Path):
    (release / "engine" / "rank0.engine").write_bytes(b"other")
    with pytest.raises(ExportError, match=r"engine/rank0\.engine is not the file of the manifest"):
        exported(release)
    assert not (release.parent / "target" / EXPORT).exists()


class KilledError(Exception):
    """The pod is gone."""


def killed_after(writes: int) -> Any:
    """Object stores of a pod that is killed with one of its writes."""
    real, left = module.objects, itertools.count(writes - 1, -1)

    class Store:
        def __init__(self, url: str) -> None:
            self._real = real(url)

        def __getattr__(self, name: str) -> Any:
            if name in ("upload", "write", "create") and next(left) == 0:
                raise KilledError
            return getattr(self._real, name)

    return Store


def test_an_export_that_was_killed_is_finished_by_the_next_one(release: Path, monkeypatch: pytest.MonkeyPatch):
    whole = {path: data for path, (data, _) in contents(exported(release, "whole")).items()}
    real = module.objects

    for after in range(1, 14):
        target = f"target-{after}"
        monkeypatch.setattr(module, "objects", killed_after(after))
        with pytest.raises(KilledError):
            exported(release, target)
        assert not (release.parent / target / EXPORT).exists()
        monkeypatch.setattr(module, "objects", real)
        assert {path: data for path, (data, _) in contents(exported(release, target)).items()} == whole


@pytest.mark.parametrize("more", [{"name": "other"}, {"service": "vertex"}])
def test_a_folder_that_holds_another_export_is_left_alone(more: dict[str, Any], release: Path):
    place = exported(release)
    before = contents(place)
    with pytest.raises(ExportError, match="take another folder"):
        exported(release, **more)
    assert contents(place) == before


def test_another_release_than_the_declared_one_is_refused(release: Path):
    with pytest.raises(ExportError, match="holds another release"):
        exported(release, digest="0" * 64)
    exported(release)
    (release / "manifest.json").write_bytes(manifest(maxBatchSize=16))
    with pytest.raises(ExportError, match="holds another release"):
        exported(release)


def test_without_the_code_of_the_image_nothing_is_laid_out(release: Path):
    with pytest.raises(ExportError, match="no code of preprocessing"):
        exported(release, code=release.parent / "nowhere")


def test_the_image_of_the_engine_build_has_all_that_the_command_needs(release: Path, tmp_path: Path):
    images.lay_out("engine", tmp_path / "image")
    place = tmp_path / "managed"
    command = [sys.executable, "-m", "workloads.triton.export", release.as_uri(), place.as_uri()]
    command += ["--name", "chat", "--service", "vertex", "--code", str(tmp_path / "code")]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "image"), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert (place / EXPORT).is_file()


def test_the_command_says_what_is_wrong(release: Path, capsys: pytest.CaptureFixture[str]):
    nowhere = (release.parent / "nowhere").as_uri()
    assert module.main([nowhere, nowhere, "--name", "chat", "--service", "vertex"]) == 1
    assert "nowhere" in capsys.readouterr().err
