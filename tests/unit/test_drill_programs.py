"""The programs of the drills' pods, without a cloud: weights, models, claims, and what is told of a drill."""

from __future__ import annotations

import hashlib
import importlib
import json
import signal
import sys
import urllib.error
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.data_plane.drill_records import Records, records

pytestmark = pytest.mark.unit

PODS = Path(__file__).resolve().parents[2] / "components" / "platform" / "pods"
NAMES = ("drill_report", "drill_claim", "drill_weights", "drill_objects", "drill_model", "drill_registry")


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Records]:
    with records(tmp_path / "records") as found:
        yield found


@pytest.fixture
def programs(kept: Records, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Modules as a pod has them: beside one another, and told by the environment where things are."""
    for name, value in {**kept.environment, "DEADLINE_SECONDS": "600"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(str(PODS))
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield SimpleNamespace(**{name.removeprefix("drill_"): importlib.import_module(name) for name in NAMES})
    finally:
        signal.signal(signal.SIGTERM, before)
        for name in NAMES:
            sys.modules.pop(name, None)


# Weights


def weights(tensors: Mapping[str, Any], body: bytes, *, header: bytes | None = None) -> bytes:
    text = header if header is not None else json.dumps({"__metadata__": {"format": "pt"}, **tensors}).encode()
    return len(text).to_bytes(8, "little") + text + body


def tensor(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


TWO = {"a": tensor("F32", [2, 3], 0, 24), "b": tensor("BF16", [4], 24, 32)}
WHOLE = weights(TWO, bytes(32))


def opened(programs: Any, content: bytes) -> Any:
    return programs.weights.opened(lambda start, end: content[start:end], len(content))


def test_a_whole_file_is_opened(programs: Any):
    found = opened(programs, WHOLE)
    assert (found.names, found.parameters, found.unknown) == ({"a", "b"}, 10, 0)


def test_types_below_a_byte_and_newer_ones_are_no_defects(programs: Any):
    found = opened(programs, weights({"a": tensor("F4", [4], 0, 2), "b": tensor("F12_NEW", [7], 2, 3)}, bytes(3)))
    assert found.unknown == 1


BROKEN = {
    "nothing at all": (b"1234", "too few"),
    "a length that is none": (b"\xff" * 64, "would end at byte"),
    "cut off within its header": (WHOLE[:40], "would end at byte"),
    "cut off within its tensors": (WHOLE[:-1], "have 32 bytes, and the file has 31"),
    "longer than its tensors": (WHOLE + b"0", "have 32 bytes, and the file has 33"),
    "no JSON": (weights({}, b"", header=b"{"), "does not parse"),
    "no object": (weights({}, b"", header=b"[1]"), "no object"),
    "a name twice": (
        weights({}, bytes(8), header=b'{"a":%b,"a":%b}' % ((json.dumps(tensor("F32", [2], 0, 8)).encode(),) * 2)),
        "twice",
    ),
    "another shape": (weights({"a": tensor("F32", [5], 0, 24)}, bytes(24)), "tensor a is F32 [5], and has 24 bytes"),
    "no shape": (weights({"a": {"dtype": "F32"}}, b""), "does not describe tensor a"),
    "tensors one over another": (
        weights({"a": tensor("U8", [4], 0, 4), "b": tensor("U8", [4], 2, 6)}, bytes(6)),
        "tensor b lies at 2",
    ),
    "a gap": (weights({"a": tensor("U8", [4], 0, 4), "b": tensor("U8", [2], 6, 8)}, bytes(8)), "tensor b lies at 6"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_file_is_not_opened(what: str, programs: Any):
    content, said = BROKEN[what]
    with pytest.raises(programs.weights.WeightsError, match=said.replace("[", r"\[").replace("]", r"\]")):
        opened(programs, content)


# Models


def model(**more: bytes | None) -> dict[str, bytes]:
    """Files as a fine-tune leaves them, in two files of weights; None leaves one out."""
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    files: dict[str, bytes | None] = {
        "config.json": b'{"model_type": "llama"}',
        "model-1.safetensors": weights({"a": tensor("F32", [2, 3], 0, 24)}, bytes(24)),
        "model-2.safetensors": weights({"b": tensor("BF16", [4], 0, 8)}, bytes(8)),
        "model.safetensors.index.json": json.dumps(index).encode(),
        "tokenizer.json": b'{"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}}}',
        "tokenizer_config.json": b"{}",
        "chat_template.jinja": b"{{ messages }}",
    }
    named = {name.replace("__", "-").replace("_dot_", "."): content for name, content in more.items()}
    return {name: content for name, content in {**files, **named}.items() if content is not None}


def load(programs: Any, files: Mapping[str, bytes], room: int = 1 << 20) -> tuple[Any, dict[str, int]]:
    """How far a model was loaded, and how many bytes of each file were asked for."""
    asked: dict[str, int] = {}

    def fetch(path: str, start: int, end: int) -> bytes:
        asked[path] = asked.get(path, 0) + end - start
        return files[path][start:end]

    sizes = {path: len(content) for path, content in files.items()}
    return programs.model.load(programs.objects.Folder("s3://mlflow/m", sizes, fetch), room), asked


def test_a_model_is_read_through(programs: Any):
    files = model()

    found, asked = load(programs, files)

    assert (found.depth, found.tensors) == ("read", 2)
    assert found.read_bytes == found.bytes == sum(map(len, files.values()))
    assert "2 tensors, 10 parameters in 2 files" in found.notes
    assert "tokenizer.json: 2 tokens" in found.notes
    assert set(asked) == set(files), "also what is not parsed"


def test_of_a_model_beyond_the_limit_headers_and_sizes_alone_are_looked_at_and_that_is_said(programs: Any):
    files = model(**{"model-1.safetensors": weights({"a": tensor("U8", [9000], 0, 9000)}, bytes(9000))})

    found, asked = load(programs, files, room=8000)

    assert found.depth == "headers"
    assert any("more than are read through (8000)" in note for note in found.notes)
    assert asked["model-1.safetensors"] < 200
    with pytest.raises(programs.model.BrokenModelError, match=r"model-1\.safetensors"):
        load(programs, {**files, "model-1.safetensors": files["model-1.safetensors"][:-1]}, room=8000)


INDEX = json.dumps({"weight_map": {"a": "model-1.safetensors", "lost": "model-2.safetensors"}}).encode()
DEFECTS = {
    "a file of weights cut off": ({"model-2.safetensors": model()["model-2.safetensors"][:-3]}, "model-2.safetensors"),
    "a file of weights gone": ({"model-2.safetensors": None}, "model-2.safetensors"),
    "a tensor gone": ({"model.safetensors.index.json": INDEX}, "model-2.safetensors: .* tensor lost"),
    "an index without contents": ({"model.safetensors.index.json": b"{}"}, "model.safetensors.index.json"),
    "a configuration that does not parse": ({"config.json": b'{"model_type"'}, "config.json: it does not parse"),
    "a configuration of nothing": ({"config.json": b"{}"}, "config.json: it names neither"),
    "a tokenizer that does not parse": ({"tokenizer.json": b"\x00"}, "tokenizer.json: it does not parse"),
    "a tokenizer without a vocabulary": ({"tokenizer.json": b'{"model": {"vocab": {}}}'}, "tokenizer.json"),
    "a tokenizer's configuration alone": ({"tokenizer.json": None}, "tokenizer_config.json: no vocabulary"),
    "no weights": (
        {"model-1.safetensors": None, "model-2.safetensors": None, "model.safetensors.index.json": None},
        "no weights",
    ),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_broken_model_does_not_load_and_the_file_is_named(defect: str, programs: Any):
    changed, said = DEFECTS[defect]
    with pytest.raises(programs.model.BrokenModelError, match=said):
        load(programs, model(**changed))


def with_manifest(files: dict[str, bytes]) -> dict[str, bytes]:
    told = {name: {"sizeBytes": len(one), "sha256": hashlib.sha256(one).hexdigest()} for name, one in files.items()}
    return {**files, "manifest.json": json.dumps({"format": 1, "files": told}).encode()}


def test_a_model_with_a_manifest_has_the_contents_that_were_saved(programs: Any):
    files = with_manifest(model())
    assert load(programs, files)[0].depth == "read"
    for name, content in (
        ("model-1.safetensors", files["model-1.safetensors"][:-1] + b"1"),
        ("chat_template.jinja", b"{{ }}"),
    ):
        with pytest.raises(programs.model.BrokenModelError, match=name):
            load(programs, {**files, name: content})


def test_parts_of_a_model_may_have_configurations_of_their_own(programs: Any):
    assert load(programs, model(**{"1_Pooling/config.json": b'{"pooling_mode_cls_token": true}'}))[0].depth == "read"


def test_files_that_are_no_model_of_transformers_are_said_to_be_none(programs: Any):
    found, _ = load(programs, {"engine.plan": b"1"})
    assert found.depth == "metadata"
    assert any("no model of Transformers" in note for note in found.notes)
    with pytest.raises(programs.model.BrokenModelError, match="no files"):
        load(programs, {})


def test_a_store_that_is_away_for_a_moment_is_asked_again_and_a_short_answer_is_none(programs: Any):
    answers: list[Any] = [OSError("reset"), b"12", b"1"]

    def fetch(path: str, start: int, end: int) -> bytes:
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    folder = programs.objects.Folder("s3://b", {"a": 2}, fetch)
    assert b"".join(folder.pieces("a")) == b"12"
    with pytest.raises(ValueError, match="1 bytes of 2"):
        folder.read("a", 0, 2)


# Which one


class Registry:
    """Versions of registered models, and where their files are."""

    def __init__(self, programs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.versions: list[Any] = []
        self.folders: dict[str, dict[str, bytes]] = {}
        self.place = ""

        def folder(url: str) -> Any:
            files = self.folders[url]
            sizes = {path: len(content) for path, content in files.items()}
            return programs.objects.Folder(url, sizes, lambda path, start, end: files[path][start:end])

        monkeypatch.setattr(programs.objects, "folder", folder)

    def add(self, name: str, version: str, made: int, files: dict[str, bytes], status: str = "READY") -> None:
        one = SimpleNamespace(name=name, version=version, creation_timestamp=made, status=status)
        self.versions.append(one)
        self.folders[f"s3://mlflow/{name}/{version}"] = files

    def get_model_version_download_uri(self, name: str, version: str) -> str:
        return self.place or f"s3://mlflow/{name}/{version}"


@pytest.fixture
def registry(programs: Any, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setenv("LOAD_ALIAS", "production")
    monkeypatch.setenv("LOAD_BYTES", "5000")
    return Registry(programs, monkeypatch)


def loaded(programs: Any, registry: Registry, aliases: list[Any]) -> Any:
    found = drill(programs)
    programs.registry.loads(found, registry, registry.versions, aliases)
    return found


def test_what_is_served_is_loaded_before_what_is_newer(programs: Any, registry: Registry):
    registry.add("chat", "1", 100, model())
    registry.add("chat", "2", 200, model())
    registry.add("other", "1", 150, model(), status="FAILED_REGISTRATION")
    aliases = [["chat", "production", 1], ["chat", "candidate", 2], ["other", "production", 1]]

    found = loaded(programs, registry, aliases)

    assert found.passed, found.checks
    assert (found.loaded["model"], found.loaded["version"]) == ("chat", 1)


def test_where_nothing_is_served_the_newest_within_the_limit_is_loaded(programs: Any, registry: Registry):
    registry.add("chat", "1", 100, model())
    registry.add("chat", "2", 200, model())
    registry.add("huge", "1", 300, model(**{"more.txt": bytes(6000)}))

    assert loaded(programs, registry, []).loaded["version"] == 2
    registry.versions = registry.versions[2:]
    assert loaded(programs, registry, []).loaded["depth"] == "headers", "there is only the one beyond it"


def test_a_model_whose_files_are_gone_does_not_load(programs: Any, registry: Registry):
    registry.add("chat", "7", 100, {})

    found = loaded(programs, registry, [])

    assert not found.passed
    (check,) = found.checks
    assert check.name == "chat version 7 loads"
    assert "s3://mlflow/chat/7: there are no files" in check.detail


def test_a_registry_without_any_model_has_nothing_to_load_and_that_is_said(programs: Any, registry: Registry):
    found = loaded(programs, registry, [])
    assert found.passed
    assert found.checks[0].detail == "the registry has no version that is ready"
    programs.registry.lead_somewhere(found, [], [])
    assert found.passed


def test_files_are_known_by_their_place_and_by_how_much_of_them_was_read(
    programs: Any, registry: Registry, monkeypatch: pytest.MonkeyPatch
):
    """A model that is registered anew under its name has a version 1 again; a limit that is changed, another digest."""
    monkeypatch.setenv("MODELS", "3")
    monkeypatch.setenv("MODEL_BYTES", "5000")
    registry.add("chat", "1", 100, model())
    aliases = [["chat", "production", 1]]

    def digests(known: Mapping[str, str]) -> Any:
        found = drill(programs)
        programs.registry.files(found, registry, aliases, known)
        return found

    first = digests({})
    assert first.passed
    registry.folders["s3://mlflow/chat/1"]["chat_template.jinja"] = b"{{ massages }}"
    assert not digests(first.files).passed, "the same place, and other contents"
    monkeypatch.setenv("MODEL_BYTES", "10")
    assert digests(first.files).passed
    monkeypatch.setenv("MODEL_BYTES", "5000")
    registry.place = "s3://mlflow/anew"
    registry.folders["s3://mlflow/anew"] = model(**{"more.txt": b"1"})
    assert digests(first.files).passed


# One at a time


def claim(pod: str, until: float) -> str:
    return json.dumps({"pod": pod, "until": until})


def test_a_claim_is_taken_held_and_given_back(programs: Any, kept: Records, tmp_path: Path):
    mine = programs.claim.Claim("registry")
    assert not mine.held()
    assert mine.take(tmp_path) is False, "nobody left anything"
    assert mine.held()
    assert float((tmp_path / "began").read_text()) > 0
    mine.release()
    assert kept.data == {}


def test_a_drill_does_not_begin_beside_another_one(programs: Any, kept: Records, tmp_path: Path):
    kept.put({"registry.claim": claim("other", 9e9), "vectors.claim": claim("one", 9e9)})
    with pytest.raises(programs.claim.ClaimedError, match="pod other"):
        programs.claim.Claim("registry").take(tmp_path)
    assert json.loads(kept.data["registry.claim"])["pod"] == "other"


@pytest.mark.parametrize("text", [claim("other", 1), claim("", 0), "no JSON"], ids=["over", "freed", "broken"])
def test_what_a_killed_drill_claimed_can_be_taken_and_says_that_something_is_left(
    text: str, programs: Any, kept: Records, tmp_path: Path
):
    kept.put({"vectors.claim": text})
    assert programs.claim.Claim("vectors").take(tmp_path) is True


def test_of_two_drills_that_begin_at_the_same_moment_one_begins(programs: Any, kept: Records, tmp_path: Path):
    kept.meanwhile.append(lambda: kept.put({"registry.claim": claim("other", 9e9)}))
    with pytest.raises(programs.claim.ClaimedError, match="pod other"):
        programs.claim.Claim("registry").take(tmp_path)
    kept.put({"registry.claim": None})
    kept.meanwhile.append(lambda: kept.put({"cluster.json": "{}"}))
    assert programs.claim.Claim("registry").take(tmp_path) is False, "another record is no other drill"


# What is told


def drill(programs: Any) -> Any:
    return programs.report.Drill(name="registry", time_objective_seconds=1, point_objective_seconds=1)


def nothing(*_: Any) -> None:
    pass


def test_an_api_server_that_is_away_for_a_moment_loses_no_result(programs: Any, kept: Records):
    kept.put({"registry.json": json.dumps({"lastPassedAt": 7})})
    kept.away = 2

    assert programs.report.kept("registry") == {"lastPassedAt": 7}
    kept.away = 2
    programs.report.keep("registry", {"passed": True})

    assert kept.last("registry") == {"passed": True}


def test_a_refusal_is_not_asked_again(programs: Any, kept: Records, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(programs.report.time, "sleep", lambda _: pytest.fail("it waits"))
    (Path(kept.environment["SERVICE_ACCOUNT"]) / "token").write_text("another")
    with pytest.raises(urllib.error.HTTPError):
        programs.report.kept("registry")


def test_cleaning_that_fails_does_not_forget_when_a_drill_last_passed(
    programs: Any, kept: Records, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ONLY_CLEAN", "true")
    kept.put({"registry.json": json.dumps({"lastPassedAt": 7, "files": {"m": "abc"}})})

    def broken() -> None:
        raise OSError("database away")

    assert programs.report.run(drill(programs), nothing, broken) == 1
    assert kept.last("registry")["lastPassedAt"] == 7
    assert set(kept.failed("registry")) == {"nothing is left behind"}
    assert programs.report.run(drill(programs), nothing, nothing) == 0


def test_what_another_drill_restored_is_neither_judged_nor_removed(programs: Any, kept: Records):
    fail = lambda *_: pytest.fail("it is touched")  # noqa: E731 one word for two arguments

    assert programs.report.run(drill(programs), fail, fail, lambda: False) == 1
    assert not kept.data


def test_a_record_has_room_for_every_failure_it_tells(programs: Any):
    found = drill(programs)
    for number in range(2000):
        found.check(f"collection {number}", "x" * 500, passed=number != 1500)

    record = found.record()

    assert not record["passed"]
    assert [one["name"] for one in record["checks"] if not one["passed"]] == ["collection 1500"]
    assert len(json.dumps(record)) < 300_000


def test_steps_are_those_of_every_container(programs: Any, tmp_path: Path):
    (tmp_path / "began").write_text("1000.5")
    (tmp_path / "steps").write_text("dump 1.25\ncompare 2.00\n")
    found = drill(programs)
    found.after(tmp_path)
    with found.step("compare"):
        pass

    record = found.record()

    assert record["startedAt"] == 1000
    assert record["steps"] == {"dump": 1.25, "compare": 2.0}
    assert found.steps["compare"] > 2
    assert record["pod"]


def test_mlflow_is_told_all_checks_though_it_takes_a_hundred_tags_at_once(
    programs: Any, monkeypatch: pytest.MonkeyPatch
):
    asked: list[Any] = []

    def answer(method: str, url: str, headers: Any, body: Any = None) -> dict[str, Any]:
        asked.append(body or {})
        return {"experiment": {"experiment_id": "1"}, "run": {"info": {"run_id": "r"}}}

    monkeypatch.setattr(programs.report, "_asked", answer)
    for name in ("USERNAME", "PASSWORD"):
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", "x")
    found = drill(programs)
    for number in range(250):
        found.check(f"collection {number}", "", passed=True)
    found.steps["dump"], found.amounts["rows"] = 1.5, 12

    programs.report.log(found.record())

    batches = [body["tags"] for body in asked if "tags" in body]
    assert max(map(len, batches)) <= 100
    assert len({one["key"] for batch in batches for one in batch}) == 252
    metrics = {one["key"]: one["value"] for body in asked for one in body.get("metrics", ())}
    assert metrics["step_seconds/dump"] == 1.5
    assert metrics["amount/rows"] == 12
