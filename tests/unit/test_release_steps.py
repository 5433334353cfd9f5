"""The code of releases' steps: what is there is not made again, and what fails half-way has no name."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit import image_code  # noqa: F401 - makes the next imports possible

from release import planning, repository  # isort: skip
from release.__main__ import main, promote  # isort: skip
from release.config import Find, Look, Plan, Promote, Sync, parse  # isort: skip
from finetune.config import FineTuneConfig, model_key  # isort: skip

from workloads.artifacts import key_of, publish
from workloads.artifacts.objects import LocalObjects
from workloads.artifacts.pointer import point_to
from workloads.evaluation import gate
from workloads.triton import built

pytestmark = pytest.mark.unit

KEY = "a" * 64


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "one.jsonl").write_text('{"text": "a"}\n')
    return tmp_path


def url(path: Path) -> str:
    return path.as_uri()


def looking(place: Path, **more: Any) -> Look:
    told = {"task": "look", "sources": [url(place / "raw")], "decides": {"a": 1}, "records": url(place / "records")}
    return Look.model_validate(told | more)


def dataset(place: Path, content: str = "x", key: str = KEY) -> str:
    folder = place / f"made-{key[:4]}"
    folder.mkdir(exist_ok=True)
    (folder / "part.parquet").write_text(content)
    made = publish(folder, url(place / "processed"), key, kind="dataset", parents={}, facts={})
    point_to(made)
    return made.url


def training(place: Path) -> dict[str, Any]:
    return {
        "name": "support",
        "base": "s3://models/base",
        "data": {},
        "output": {"models": url(place / "models"), "checkpoints": url(place / "checkpoints")},
    }


def planning_for(place: Path, look: Look, **more: Any) -> Plan:
    told = {
        "task": "plan", "look": look.model_dump(by_alias=True), "record": planning.state_key(look),
        "dataset": url(place / "processed"), "training": training(place), "processes": 2,
    }  # fmt: skip
    return Plan.model_validate(told | more)


def model(place: Path, dataset_key: str = KEY, dataset_url: str = "") -> str:
    """A trained model, under the key that the training gives it."""
    config = FineTuneConfig.model_validate({**training(place), "data": {"url": dataset_url}})
    folder = place / "weights"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text("{}")
    key = model_key(config, data_key=dataset_key, processes=2)
    return publish(folder, url(place / "models"), key, kind="model", parents={}, facts={}).url


def test_unchanged_raw_files_are_prepared_once(place: Path):
    look = looking(place)
    assert planning.look(look)["preprocess"] == "run"
    made = dataset(place)

    assert planning.plan(planning_for(place, look))["dataset"] == made
    assert planning.look(look)["preprocess"] == "skip"


@pytest.mark.parametrize("change", ["content", "new file", "settings"])
def test_whatever_decides_the_data_has_it_prepared_anew(place: Path, change: str):
    look = looking(place)
    dataset(place)
    planning.plan(planning_for(place, look))
    if change == "content":
        (place / "raw" / "one.jsonl").write_text('{"text": "b"}\n')
    elif change == "new file":
        (place / "raw" / "two.jsonl").write_text("{}\n")
    else:
        look = looking(place, decides={"a": 2})

    assert planning.look(look)["preprocess"] == "run"


def test_raw_files_that_change_while_they_are_read_are_looked_at_again(place: Path):
    look = looking(place)
    wanted = planning_for(place, look)
    dataset(place)
    (place / "raw" / "late.jsonl").write_text("{}\n")
    planning.plan(wanted)

    assert planning.look(look)["preprocess"] == "run"


def test_a_model_that_is_there_is_not_trained_again(place: Path):
    look = looking(place)
    made = dataset(place)
    assert planning.plan(planning_for(place, look))["train"] == "run"
    trained = model(place, dataset_url=made)

    assert planning.plan(planning_for(place, look)) == {"train": "skip", "dataset": made, "model": trained}


def test_data_that_nobody_has_prepared_is_a_failure_that_may_pass(place: Path):
    with pytest.raises(planning.NothingError, match="no dataset has been prepared"):
        planning.plan(planning_for(place, looking(place)))


class Registry:
    """Versions of one model, as ``MlflowClient`` has them."""

    def __init__(self, *sources: str, **aliases: str) -> None:
        self.sources, self.aliases = sources, aliases

    def search_model_versions(self, *_: Any, **__: Any) -> Any:
        class Page(list[Any]):
            token = None

        return Page(SimpleNamespace(version=str(at), source=one) for at, one in enumerate(self.sources, start=1))

    def get_registered_model(self, _name: str) -> Any:
        return SimpleNamespace(aliases=self.aliases)

    def get_model_version(self, _name: str, version: str) -> Any:
        return SimpleNamespace(version=version, source=self.sources[int(version) - 1])


def finding(place: Path, model_url: str = "", **more: Any) -> Find:
    folders = {name: url(place / name) for name in ("checkpoints", "engines", "trials", "repository")}
    decides = {"image": "0123", "convert": {"dtype": "auto"}, "build": {"gpu": "a10g"}, "trial": {"prompt": "?"}}
    told = {
        "task": "find", "registeredModel": "support", "model": model_url,
        "engine": {"decides": decides, **folders},
    }  # fmt: skip
    return Find.model_validate(told | more)


def artifact(place: Path, folder: str, key: str, kind: str) -> None:
    made = place / f"new-{folder}"
    made.mkdir(exist_ok=True)
    (made / "file").write_text(kind)
    publish(made, url(place / folder), key, kind=kind, parents={}, facts={})


def test_every_part_of_an_engine_that_is_there_is_left_out(place: Path):
    source = model(place, dataset_url="s3://data/x")
    registry = Registry(source)
    found = planning.find_version(finding(place, source), registry)
    assert {found[step] for step in ("convert", "build", "sync", "trial")} == {"run"}

    artifact(place, "engines", found["engineKey"], "engine")
    (place / "repository" / found["engineKey"]).mkdir(parents=True)
    (place / "repository" / found["engineKey"] / "manifest.json").write_text("{}")
    again = planning.find_version(finding(place, source), registry)
    # A checkpoint is for building only.
    assert [again[step] for step in ("convert", "build", "sync", "trial")] == ["skip", "skip", "skip", "run"]
    artifact(place, "trials", found["trialKey"], "trial")
    assert planning.find_version(finding(place, source), registry)["trial"] == "skip"


def test_another_image_builds_another_engine(place: Path):
    source = model(place, dataset_url="s3://data/x")
    config = finding(place, source).model_dump(by_alias=True)
    other = json.loads(json.dumps(config))
    other["engine"]["decides"]["image"] = "4567"
    one, two = (planning.find_version(Find.model_validate(told), Registry(source)) for told in (config, other))

    assert one["engineKey"] != two["engineKey"]


def test_the_version_with_the_watched_alias_is_released_and_nothing_without_one(place: Path):
    source = model(place, dataset_url="s3://data/x")
    found = planning.find_version(finding(place, alias="go"), Registry("s3://a/b", source, go="2"))
    assert (found["version"], found["source"]) == ("2", source)

    nothing = planning.find_version(finding(place, alias="go"), Registry("s3://a/b"))
    assert {nothing[step] for step in ("evaluate", "convert", "build", "sync", "trial")} == {"skip"}


def test_a_model_that_was_not_registered_stops_the_release(place: Path):
    with pytest.raises(planning.NothingError, match="the training registers it"):
        planning.find_version(finding(place, "s3://mlflow/x"), Registry("s3://mlflow/y"))


def engine(place: Path) -> Sync:
    """A built engine, and where it is to go."""
    folder = place / "engine-artifact"
    release = folder / "release"
    for name in ("engine/config.json", "engine/rank0.engine", "tokenizer/tokenizer_config.json"):
        (release / name).parent.mkdir(parents=True, exist_ok=True)
        (release / name).write_text(name)
    files = {
        path.relative_to(release).as_posix(): built.sha256(path)
        for path in sorted(release.rglob("*"))
        if path.is_file()
    }
    (release / built.FILE).write_text(built.text({"gpu": "a10g", "files": files}))
    made = publish(folder, url(place / "engines"), KEY, kind="engine", parents={}, facts={})
    return Sync(task="sync", engine=made.url, release=f"{url(place / 'repository')}/{KEY}")


def test_a_release_that_breaks_off_has_no_manifest_and_the_next_try_finishes_it(
    place: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(place)
    config = engine(place)
    upload, seen = LocalObjects.upload, []

    def breaks(self: LocalObjects, file: Path, target: str) -> None:
        seen.append(target)
        if len(seen) == 2:
            raise ConnectionError("the store went away")
        upload(self, file, target)

    monkeypatch.setattr(LocalObjects, "upload", breaks)
    with pytest.raises(ConnectionError):
        repository.sync(config)
    assert not repository.is_whole(config.release)

    repository.sync(config)
    assert repository.is_whole(config.release)
    assert repository.sync(config) == {"release": config.release}


def test_another_release_of_that_name_is_not_touched(place: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(place)
    config = engine(place)
    there = place / "repository" / KEY / "manifest.json"
    there.parent.mkdir(parents=True)
    there.write_text("another")

    with pytest.raises(repository.RepositoryError, match="holds another release"):
        repository.sync(config)
    assert there.read_text() == "another"
    assert [path.name for path in there.parent.iterdir()] == ["manifest.json"]


def test_exit_codes_say_whether_trying_again_may_help(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    monkeypatch.setenv("RESULTS", str(place / "results"))
    told = looking(place).model_dump_json(by_alias=True)

    assert main(["--config", told]) == 0
    assert (place / "results" / "preprocess").read_text() == "run"
    assert main(["--config", '{"task": "look", "surprise": 1, "records": "ftp://x"}']) == 2
    said = capsys.readouterr().err
    assert "surprise" in said
    assert "records" in said
    missing = planning_for(place, looking(place)).model_dump_json(by_alias=True)
    assert main(["--config", missing]) == 1

    def refuses(*_: Any, **__: Any) -> None:
        raise gate.Refused("below its thresholds")

    monkeypatch.setattr(gate, "promote", refuses)
    monkeypatch.setattr("release.__main__.registry", lambda: None)
    alias = {"task": "promote", "registeredModel": "support", "version": "1", "alias": "candidate", "by": "x"}
    assert main(["--config", json.dumps(alias)]) == 3
    with pytest.raises(gate.Refused):
        promote(Promote.model_validate(alias), None)
    assert parse(json.dumps(alias)) == Promote.model_validate(alias)
    assert key_of({"a": 1})
