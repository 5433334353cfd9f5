"""Manifests of engines: an engine that cannot run is refused before anything is created."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.versions import IMAGES
from workloads.triton import manifest
from workloads.triton.manifest import EngineManifest, ManifestError, document, manifest_of, read
from workloads.triton.suitability import TENSORRT_LLM, problems

pytestmark = pytest.mark.unit

SOURCE = "s3://models/chat/1"


def built(**changes: Any) -> dict[str, Any]:
    """``engine/config.json`` in the words of trtllm-build 1.2."""
    return {
        "version": "1.2.1",
        "pretrained_config": {
            "architecture": "LlamaForCausalLM",
            "mapping": {"world_size": 1, "tp_size": 1, "pp_size": 1},
            "quantization": {"quant_algo": "W4A16_AWQ", "kv_cache_quant_algo": None},
        },
        "build_config": {
            "max_batch_size": 64,
            "max_input_len": 8192,
            "max_seq_len": 16384,
            "max_num_tokens": 8192,
            "plugin_config": {"use_paged_context_fmha": True},
        },
        **changes,
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A release as it is uploaded."""
    release = tmp_path / "release"
    for path, text in {
        "engine/config.json": json.dumps(built()),
        "engine/rank0.engine": "weights",
        "tokenizer/tokenizer_config.json": "{}",
        "tokenizer/tokenizer.json": "{}",
        "tokenizer/empty": "",
    }.items():
        (release / path).parent.mkdir(parents=True, exist_ok=True)
        (release / path).write_text(text)
    return release


def test_a_manifest_says_what_the_engine_was_built_for(folder: Path):
    made = manifest_of(folder, gpu="a10g")

    assert (made.gpu, made.gpus, made.tensorrt_llm, made.model) == ("a10g", 1, "1.2.1", "LlamaForCausalLM")
    assert (made.max_batch_size, made.max_sequence_tokens, made.paged_context) == (64, 16384, True)
    assert (made.quantization, made.kv_cache) == ("W4A16_AWQ", "")
    assert "tokenizer/empty" not in made.files, "readers of object stores leave empty files out"


def test_every_byte_of_every_file_names_the_release(folder: Path):
    before = manifest_of(folder, gpu="a10g")
    (folder / "tokenizer" / "tokenizer.json").write_text("{ }")

    assert manifest_of(folder, gpu="a10g").digest != before.digest


def test_the_command_writes_what_preview_and_pod_read(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    known = tmp_path / "engines.json"
    arguments = [str(folder), "--gpu", "a10g", "--manifests", str(known)]
    assert manifest.main([*arguments, "--source", SOURCE]) == 0
    assert manifest.main([*arguments, "--source", f"{SOURCE}b"]) == 0

    made = read(known)
    assert set(made) == {SOURCE, f"{SOURCE}b"}
    assert (folder / manifest.FILE).read_text() == document(made[SOURCE])
    assert made[SOURCE].digest[:12] in capsys.readouterr().out


def test_a_folder_without_an_engine_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    arguments = [str(tmp_path), "--gpu", "a10g", "--source", SOURCE, "--manifests", str(tmp_path / "engines.json")]

    assert manifest.main(arguments) == 1
    assert "no engine of trtllm-build" in capsys.readouterr().err


@pytest.fixture
def engine(folder: Path) -> EngineManifest:
    return manifest_of(folder, gpu="a10g")


FITTING: dict[str, Any] = {"gpu": "a10g", "gpus": 1, "context": 16384, "concurrency": 64}


def test_what_an_engine_was_built_for_it_may_serve(engine: EngineManifest):
    assert list(problems(engine, **FITTING)) == []


@pytest.mark.parametrize(
    ("change", "path", "remedy"),
    [
        ({"gpu": "l4"}, "gpu.type", "set a10g, or build the engine on l4"),
        ({"gpus": 2}, "gpu.count", "set 1, or build it for 2"),
        ({"context": 16385}, "context", "set 16384, or build it with --max_seq_len 16385"),
        ({"concurrency": 65}, "concurrency", "set 64, or build it with --max_batch_size 65"),
        ({"image": "nvcr.io/nvidia/tritonserver:99.01-trtllm-python-py3"}, "triton.engineManifest", "look it up"),
    ],
)
def test_what_an_engine_was_not_built_for_is_refused_with_what_to_do(
    change: dict[str, Any], path: str, remedy: str, engine: EngineManifest
):
    ((found, message),) = problems(engine, **{**FITTING, **change})

    assert found == path
    assert remedy in message


def test_an_engine_of_another_version_cannot_be_read(engine: EngineManifest):
    ((path, message),) = problems(engine.model_copy(update={"tensorrt_llm": "1.1.0"}), **FITTING)

    assert path == "triton.engineManifest"
    assert "build it in that image" in message


def test_what_is_in_the_pinned_image_is_known():
    """A newer image may read no engines at all (decision 14): somebody looks, and adds its line."""
    assert IMAGES["triton"].rpartition(":")[2] in TENSORRT_LLM


Change = Callable[[dict[str, Any]], Any]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda entry: entry.update(gpu="A10G"), "gpu"),
        (lambda entry: entry.update(tensorParallel=2), "spread over 2 GPUs"),
        (lambda entry: entry["files"].pop("tokenizer/tokenizer_config.json"), "must hold tokenizer"),
        (lambda entry: entry["files"].update({"../x": "0" * 64}), "not a path below the release"),
        (lambda entry: entry["files"].update({"engine/config.json": "abc"}), "files"),
        (lambda entry: entry.update(maxBatch=3), "maxBatch"),
    ],
)
def test_a_manifest_that_says_something_impossible_is_refused_with_its_place(
    change: Change, said: str, engine: EngineManifest, tmp_path: Path
):
    entry = json.loads(document(engine))
    change(entry)
    file = tmp_path / "engines.json"
    file.write_text(json.dumps({SOURCE: entry}))

    with pytest.raises(ManifestError, match=said) as refused:
        read(file)
    assert SOURCE in str(refused.value)


@pytest.mark.parametrize("text", [None, "{", "[]"])
def test_a_file_of_manifests_that_is_none_is_refused(text: str | None, tmp_path: Path):
    file = tmp_path / "engines.json"
    if text is not None:
        file.write_text(text)

    with pytest.raises(ManifestError, match=r"engines\.json"):
        read(file)
