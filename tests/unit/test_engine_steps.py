"""Converting, building and trying engines, as far as that needs no GPU."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.unit import image_code  # noqa: F401 - makes the next imports possible

from engine import arguments, steps  # isort: skip
from engine.__main__ import main  # isort: skip
from engine.config import Build, Convert, parse  # isort: skip

from workloads import compatibility
from workloads.artifacts import find, publish, read
from workloads.artifacts.configuration import ConfigError

pytestmark = pytest.mark.unit

KEY, ENGINE_KEY = "c" * 64, "e" * 64
BUILT = {
    "version": "1.2.1",
    "pretrained_config": {"architecture": "LlamaForCausalLM", "mapping": {"tp_size": 1, "pp_size": 1}},
    "build_config": {
        "max_batch_size": 8, "max_input_len": 100, "max_seq_len": 200, "max_num_tokens": 200,
        "plugin_config": {"use_paged_context_fmha": True},
    },
}  # fmt: skip


def converting(place: Path, **more: Any) -> Convert:
    told = {
        "task": "convert",
        "source": (place / "models").as_uri(),
        "checkpoints": (place / "checkpoints").as_uri(),
        "key": KEY,
    }
    return Convert.model_validate(told | more)


def model(place: Path) -> str:
    folder = place / "model"
    folder.mkdir()
    rope = {"rope_theta": 500000.0, "rope_type": "llama3", "factor": 8.0}
    (folder / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"], "rope_parameters": rope}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "TokenizersBackend"}))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_text("weights")
    return publish(folder, (place / "models").as_uri(), "a" * 64, kind="model", parents={}, facts={}).url


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand-ins of NVIDIA's programs: they write what those write, and keep their command lines."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = f"""#!/bin/sh
echo "$0 $@" >> {tmp_path}/commands
test ! -e {tmp_path}/fails || exit 1
test -z "$PYTHONPATH" || exit 9
while [ "$1" != --output_dir ]; do
  if [ "$1" = --model_dir ]; then cp "$2/config.json" {tmp_path}/seen.json; fi
  shift
done
mkdir -p "$2"
cp {tmp_path}/built.json "$2/config.json"
echo engine > "$2/rank0.engine"
"""
    for name in ("python3", "trtllm-build", "nvidia-smi"):
        tool = folder / name
        tool.write_text("#!/bin/sh\necho NVIDIA A10G\n" if name == "nvidia-smi" else script)
        tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "built.json").write_text(json.dumps(BUILT))
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("PYTHONPATH", "/opt/engine")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def building(place: Path, source: str, **more: Any) -> Build:
    told = {
        "task": "build", "checkpoint": f"{(place / 'checkpoints').as_uri()}/{KEY}", "source": source,
        "engines": (place / "engines").as_uri(), "key": ENGINE_KEY, "gpu": "a10g", "maxBatchSize": 8,
        "maxInputTokens": 100, "maxSequenceTokens": 200, "maxNumTokens": 200,
    }  # fmt: skip
    return Build.model_validate(told | more)


def test_a_model_becomes_an_engine_with_the_manifest_that_servers_check(tools: Path):
    from workloads.triton.manifest import EngineManifest

    source = model(tools)
    steps.convert(converting(tools, source=source))
    steps.build(building(tools, source))
    made = read(f"{(tools / 'engines').as_uri()}/{ENGINE_KEY}")
    manifest = EngineManifest.model_validate_json(
        (tools / "engines" / ENGINE_KEY / "release" / "manifest.json").read_text()
    )

    assert set(made.files) >= {
        "release/manifest.json",
        "release/engine/rank0.engine",
        "release/tokenizer/tokenizer.json",
    }
    assert not any("safetensors" in path for path in made.files)
    assert (manifest.gpu, manifest.tensorrt_llm, manifest.max_batch_size) == ("a10g", "1.2.1", 8)
    before = (tools / "commands").read_text()
    steps.convert(converting(tools, source=source))
    steps.build(building(tools, source))
    assert (tools / "commands").read_text() == before


def test_a_tool_that_fails_leaves_nothing_under_a_final_name(tools: Path):
    source = model(tools)
    (tools / "fails").touch()
    with pytest.raises(steps.ToolError):
        steps.convert(converting(tools, source=source))
    assert find((tools / "checkpoints").as_uri(), KEY) is None

    (tools / "fails").unlink()
    steps.convert(converting(tools, source=source))
    assert find((tools / "checkpoints").as_uri(), KEY) is not None


def test_the_converter_sees_the_position_of_tokens_as_they_were_trained(tools: Path):
    """Release 4 of Transformers would take its own default for what it does not find."""
    steps.convert(converting(tools, source=model(tools)))
    seen = json.loads((tools / "seen.json").read_text())

    assert seen["rope_theta"] == 500000.0
    assert seen["rope_scaling"] == {"rope_type": "llama3", "factor": 8.0}


def test_an_engine_is_built_on_the_gpu_that_will_serve_it_or_not_at_all(tools: Path):
    source = model(tools)
    steps.convert(converting(tools, source=source))
    with pytest.raises(steps.ToolError, match="must be built on l4"):
        steps.build(building(tools, source, gpu="l4"))
    assert find((tools / "engines").as_uri(), ENGINE_KEY) is None


@pytest.mark.parametrize(
    ("wanted", "found", "count", "problem"),
    [
        ("a10g", ["NVIDIA A10G"], 1, ""),
        ("h100", ["NVIDIA H100 80GB HBM3"] * 2, 2, ""),
        ("l40s", ["NVIDIA L40S"], 1, ""),
        ("l4", ["NVIDIA L40S"], 1, "built on l4"),
        ("a100", ["NVIDIA A100-SXM4-40GB"], 1, ""),
        ("a10g", ["NVIDIA A10G"], 4, "4 GPUs are needed"),
        ("a10g", [], 1, "0 are there"),
    ],
)
def test_gpus_are_known_by_the_name_that_the_driver_gives(wanted: str, found: list[str], count: int, problem: str):
    said = arguments.problem_of_gpu(wanted, found, count)

    assert (problem in said) if problem else said == ""


def command(**more: Any) -> list[str]:
    config = converting(Path("/x"), **more)
    calibration = Path("/calibration") if config.calibrated else None
    return list(
        arguments.convert_command(
            config, architecture="Qwen3ForCausalLM", model=Path("/m"), output=Path("/o"), calibration=calibration
        )
    )


def test_weights_that_need_no_calibration_are_converted_by_their_family_s_program():
    said = " ".join(command(quantization="int8-weights", parallel={"tensor": 2, "pipeline": 2}))

    assert "/app/examples/models/core/qwen/convert_checkpoint.py" in said
    assert "--tp_size 2 --pp_size 2 --workers 4 --use_weight_only --weight_only_precision int8" in said


def test_weights_that_are_calibrated_go_through_the_quantizer():
    said = " ".join(command(quantization="fp8", kvCache="fp8", calibration="s3://data/raw/x.jsonl"))

    assert "/app/examples/quantization/quantize.py" in said
    assert "--qformat fp8 --kv_cache_dtype fp8 --calib_dataset /calibration" in said


def test_what_cannot_be_converted_is_refused_before_gpus_are_used():
    with pytest.raises(arguments.UnsupportedError, match="MambaForCausalLM cannot be converted"):
        arguments.convert_command(
            converting(Path("/x")), architecture="MambaForCausalLM", model=Path(), output=Path(), calibration=None
        )
    with pytest.raises(ConfigError, match="needs calibration"):
        parse(json.dumps(converting(Path("/x")).model_dump(by_alias=True) | {"quantization": "fp8"}))


def test_the_builder_is_told_every_limit_of_the_settings():
    said = " ".join(arguments.build_command(building(Path("/x"), "s3://m"), checkpoint=Path("/c"), output=Path("/o")))

    for flag in ("--max_batch_size 8", "--max_input_len 100", "--max_seq_len 200", "--max_num_tokens 200"):
        assert flag in said
    assert "--use_paged_context_fmha enable" in said


def test_a_tokenizer_of_a_newer_release_is_read_by_the_older_one():
    newer = {"tokenizer_class": "TokenizersBackend", "extra_special_tokens": ["<a>"], "model_max_length": 5}

    assert compatibility.older_tokenizer(newer) == {
        "tokenizer_class": "PreTrainedTokenizerFast", "additional_special_tokens": ["<a>"], "model_max_length": 5,
    }  # fmt: skip
    assert compatibility.older_config({"rope_theta": 1.0, "rope_parameters": {"rope_theta": 2.0}})["rope_theta"] == 1.0


def test_a_model_of_a_newer_release_keeps_its_sense_of_position_for_the_older_one(tmp_path: Path):
    rope = {"rope_type": "llama3", "factor": 8.0, "rope_theta": 500000.0}
    (tmp_path / "config.json").write_text(json.dumps({"rope_parameters": rope, "dtype": "bfloat16"}))

    compatibility.for_older(tmp_path)

    said = json.loads((tmp_path / "config.json").read_text())
    assert said["rope_parameters"] == rope, "the newer one still finds its own"
    assert (said["rope_theta"], said["torch_dtype"]) == (500000.0, "bfloat16")
    assert said["rope_scaling"] == {"rope_type": "llama3", "factor": 8.0}
    assert [one.name for one in tmp_path.iterdir()] == ["config.json"], "adapters have no tokenizer, or the like"


def test_a_wrong_configuration_is_never_tried_again(capsys: Any):
    assert main(["--config", '{"task": "build"}']) == 2
    assert "build.maxBatchSize" in capsys.readouterr().err
