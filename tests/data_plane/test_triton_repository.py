"""What the program tells a Triton pod: parsed by Triton's own definitions, fetched by KServe's reader, loaded."""

from __future__ import annotations

import json
import os
import re
import subprocess
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from moto.server import ThreadedMotoServer

from components.versions import IMAGES
from tests.data_plane.environments import environment
from tests.unit.conftest import Recorder
from tests.unit.platform_site import options, site
from tests.unit.stack_models import chat, planned
from tests.unit.triton_stand_in import Server, serving
from workloads.models.component import Models, ModelsArgs
from workloads.triton import pipeline, sync
from workloads.triton.config import (
    DynamicBatching,
    InstanceGroup,
    ModelConfig,
    Tensor,
    VersionPolicy,
    WarmUp,
    pbtxt,
)
from workloads.triton.manifest import document, manifest_of
from workloads.triton.suitability import TENSORRT_LLM

pytestmark = pytest.mark.data_plane

SOURCE = "s3://models/llama/1"
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}

PARSER = """
    import json, sys
    from google.protobuf import json_format, text_format
    from tritonclient.grpc import model_config_pb2
    parsed = {}
    for name, text in json.load(sys.stdin).items():
        message = text_format.Parse(text, model_config_pb2.ModelConfig())
        parsed[name] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    print(json.dumps(parsed))
"""


def parsed(configs: dict[str, str]) -> dict[str, Any]:
    """Every file as tritonclient's own definition reads it; a field that it does not know is an error."""
    python = environment("triton") / "bin" / "python"
    done = subprocess.run(
        [str(python), "-c", textwrap.dedent(PARSER)],
        input=json.dumps(configs),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@dataclass(frozen=True)
class Emitted:
    """What the program declares for a pod.

    Attributes:
        files: The ConfigMap as it is mounted, by path.
        containers: The containers that are ours, by name.
    """

    files: dict[str, str]
    containers: dict[str, dict[str, Any]]

    @property
    def release(self) -> dict[str, Any]:
        return json.loads(self.files["release.json"])


@pytest.fixture
def emit(recorded: Recorder) -> Callable[..., Emitted]:
    def emitted(**changes: Any) -> Emitted:
        recorded.resources.clear()
        found = planned(chat(**{"backend": "triton", "quantization": "awq", "source": SOURCE, **changes}))

        def program() -> None:
            place = site({"serving": found.settings.platform.serving.model_dump(by_alias=True)})
            Models("models", ModelsArgs(site=place, specs=found.specs, plans=found.plans, after=()), options(place))

        recorded.run(program)
        predictor = recorded.one("kubernetes:serving.kserve.io/v1beta1:InferenceService").inputs["spec"]["predictor"]
        data = recorded.one("kubernetes:core/v1:ConfigMap").inputs["data"]
        (volume,) = [one for one in predictor["volumes"] if "configMap" in one]
        return Emitted(
            {one["path"]: data[one["key"]] for one in volume["configMap"]["items"]},
            {one["name"]: one for one in (*predictor["initContainers"], *predictor["containers"])},
        )

    return emitted


@dataclass(frozen=True)
class Pod:
    """The containers that are ours, on this machine.

    Attributes:
        emitted: What was declared for them.
        mount: Where the ConfigMap is.
        cache: Their disk.
        store: Address of the object store.
    """

    emitted: Emitted
    mount: Path
    cache: Path
    store: str

    def tell(self, emitted: Emitted) -> Pod:
        """Mount what was declared, as the kubelet does."""
        for path, text in emitted.files.items():
            file = self.mount / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return replace(self, emitted=emitted)

    def start(self, name: str, python: Path | str, **more: str) -> subprocess.Popen[str]:
        """The container's own command and variables; paths and addresses are those of this machine."""
        container = self.emitted.containers[name]
        variables = {one["name"]: one["value"] for one in container["env"]}
        assert variables["RELEASE"] == f"{container['workingDir']}/release.json"
        variables |= {"CACHE": str(self.cache), "RELEASE": str(self.mount / "release.json"), "HOME": str(self.cache)}
        variables |= {**KEYS, "AWS_ENDPOINT_URL": self.store, "PATH": os.environ["PATH"], **more}
        program, *arguments = container["command"]
        assert program == "python3"
        return subprocess.Popen(
            [str(python), *arguments],
            cwd=self.mount,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(store: str) -> Iterator[Any]:
    client = boto3.client(
        "s3",
        endpoint_url=store,
        region_name=KEYS["AWS_REGION"],
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
    )
    client.create_bucket(Bucket="models")
    yield client
    requests.post(f"{store}/moto-api/reset", timeout=10)


@pytest.fixture
def uploaded(bucket: Any, tmp_path: Path) -> Path:
    """A release in the store, and the file of manifests beside the settings."""
    folder = tmp_path / "built"
    engine = {
        "version": TENSORRT_LLM[IMAGES["triton"].rpartition(":")[2]],
        "pretrained_config": {"architecture": "LlamaForCausalLM", "mapping": {"tp_size": 1, "pp_size": 1}},
        "build_config": {"max_batch_size": 8, "max_input_len": 8192, "max_seq_len": 8192, "max_num_tokens": 8192},
    }
    for path, text in {
        "engine/config.json": json.dumps(engine),
        "engine/rank0.engine": "weights" * 1000,
        "tokenizer/tokenizer_config.json": "{}",
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    manifest = manifest_of(folder, gpu="a10g")
    (folder / "manifest.json").write_text(document(manifest))
    for file in folder.rglob("*"):
        if file.is_file():
            bucket.upload_file(str(file), "models", f"llama/1/{file.relative_to(folder).as_posix()}")
    bucket.put_object(Bucket="models", Key="llama/10/engine/rank0.engine", Body=b"of another release")
    known = tmp_path / "engines.json"
    known.write_text(json.dumps({SOURCE: json.loads(document(manifest))}))
    return known


@pytest.fixture
def pod(emit: Callable[..., Emitted], uploaded: Path, store: str, tmp_path: Path) -> Pod:
    (tmp_path / "cache").mkdir()
    empty = Emitted({}, {})
    return Pod(empty, tmp_path / "mount", tmp_path / "cache", store).tell(
        emit(triton={"engineManifest": str(uploaded)})
    )


def fetched(pod: Pod) -> tuple[int, str]:
    process = pod.start("fetch", environment("kserve-storage") / "bin" / "python")
    said, _ = process.communicate(timeout=120)
    return process.returncode, said


class TestConfiguration:
    def test_the_definitions_are_those_of_the_release_in_the_image(self):
        """26.07 is 2.71.0: Triton's monthly releases raise the second number by one."""
        pinned = Path(__file__).with_name("requirements-triton.txt").read_text()
        (minor,) = re.findall(r"^tritonclient==2\.(\d+)\.", pinned, re.MULTILINE)
        year, month = IMAGES["triton"].rpartition(":")[2].split("-")[0].split(".")

        assert int(minor) == 71 + (int(year) - 26) * 12 + int(month) - 7

    def test_everything_that_a_pod_is_told_is_a_model_of_triton(self, emit: Callable[..., Emitted]):
        configs = emit().release["configs"]
        found = parsed(configs)

        assert {name: model["name"] for name, model in found.items()} == {name: name for name in configs}
        (engine,) = [model for name, model in found.items() if name.startswith(pipeline.ENGINE_MODEL)]
        assert engine["backend"] == "tensorrtllm"
        assert engine["model_transaction_policy"] == {"decoupled": True}
        assert engine["parameters"]["gpt_model_type"] == {"string_value": "inflight_fused_batching"}

    def test_the_steps_of_an_ensemble_exist_and_agree_on_the_types_of_what_they_hand_on(
        self, emit: Callable[..., Emitted]
    ):
        """What Triton checks when it loads an ensemble: names, types, and that nothing needed is missing."""
        release = emit().release
        found = parsed(release["configs"])
        served = found[release["served"]]
        types = {one["name"]: one["data_type"] for one in served["input"]}
        for step in served["ensemble_scheduling"]["step"]:
            model = found[step["model_name"]]
            inputs = {one["name"]: one for one in model["input"]}
            outputs = {one["name"]: one for one in model["output"]}
            assert {name for name, one in inputs.items() if not one.get("optional")} <= set(step["input_map"])
            for name, tensor in step["input_map"].items():
                assert types[tensor] == inputs[name]["data_type"], (step["model_name"], name)
            for name, tensor in step["output_map"].items():
                types[tensor] = outputs[name]["data_type"]
        assert {one["name"]: one["data_type"] for one in served["output"]}.items() <= types.items()

    def test_every_field_that_we_know_is_written_as_triton_reads_it(self):
        config = ModelConfig(
            name='odd "name"\nä',
            backend="python",
            max_batch_size=4,
            inputs=(Tensor(name="a", type="TYPE_FP32", dims=(-1, 3), optional=True, ragged=True),),
            outputs=(Tensor(name="b", type="TYPE_INT64", scalar=True),),
            batching=DynamicBatching(max_queue_delay_microseconds=5, max_queue_size=6, preferred_batch_sizes=(2, 4)),
            instances=(InstanceGroup(count=2, kind="KIND_GPU", gpus=(0, 1)),),
            versions=VersionPolicy(latest=0, specific=(1, 3)),
            warm_ups=(WarmUp(name="w", inputs=(Tensor(name="a", type="TYPE_FP32", dims=(-1, 3)),)),),
            parameters={"path": "C:\\x", "quote": '"'},
            response_cache=True,
        )
        found = parsed({"one": pbtxt(config)})["one"]

        assert found["name"] == config.name
        assert found["version_policy"] == {"specific": {"versions": ["1", "3"]}}
        assert found["dynamic_batching"] == {
            "preferred_batch_size": [2, 4],
            "max_queue_delay_microseconds": "5",
            "default_queue_policy": {"max_queue_size": 6},
        }
        assert found["instance_group"] == [{"count": 2, "kind": "KIND_GPU", "gpus": [0, 1]}]
        assert found["input"] == [
            {"name": "a", "data_type": "TYPE_FP32", "dims": ["-1", "3"], "optional": True, "allow_ragged_batch": True}
        ]
        assert found["output"] == [{"name": "b", "data_type": "TYPE_INT64", "dims": ["1"], "reshape": {}}]
        assert {key: value["string_value"] for key, value in found["parameters"].items()} == config.parameters
        assert found["model_warmup"][0]["inputs"]["a"] == {
            "data_type": "TYPE_FP32",
            "dims": ["1", "3"],
            "zero_data": True,
        }
        assert found["response_cache"] == {"enable": True}


class TestFetching:
    def test_kserves_reader_brings_the_declared_release_and_nothing_beside_it(self, pod: Pod):
        status, said = fetched(pod)
        assert status == 0, said

        folder = pod.cache / "releases" / pod.emitted.release["release"]
        assert (folder / "engine" / "rank0.engine").read_text() == "weights" * 1000
        files = {one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file()}
        assert files == {
            "engine/config.json",
            "engine/rank0.engine",
            "tokenizer/tokenizer_config.json",
            "manifest.json",
        }
        assert (pod.cache / sync.KEY).exists()

    def test_a_release_that_was_changed_in_the_store_starts_no_server(self, pod: Pod, bucket: Any):
        bucket.put_object(Bucket="models", Key="llama/1/engine/rank0.engine", Body=b"w" * 7000)

        status, said = fetched(pod)

        assert status == 1
        assert "engine/rank0.engine is not the file of the manifest" in said
        assert not [one for one in (pod.cache / "releases").iterdir() if not one.name.startswith(".")]

    def test_a_release_that_is_not_there_starts_no_server(self, pod: Pod, bucket: Any):
        for one in bucket.list_objects_v2(Bucket="models", Prefix="llama/1/")["Contents"]:
            bucket.delete_object(Bucket="models", Key=one["Key"])

        status, said = fetched(pod)

        assert status == 1
        assert "failed: s3://models/llama/1/" in said


def eventually(condition: Callable[[], bool], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.1)
    return False


@pytest.fixture
def triton(pod: Pod) -> Iterator[Server]:
    """A server in this pod, after its first container."""
    status, said = fetched(pod)
    assert status == 0, said
    for role in (pipeline.PREPROCESSING, pipeline.POSTPROCESSING):
        code = pod.cache / "code" / role / "1"
        code.mkdir(parents=True)
        (code / "model.py").write_text("")
    with serving(pod.cache / "repository", (pod.cache / sync.KEY).read_text()) as server:
        yield server


@pytest.fixture
def loader(pod: Pod, triton: Server) -> Iterator[None]:
    """The container beside the server."""
    python = environment("kserve-storage") / "bin" / "python"
    process = pod.start("loader", python, CONTROL=triton.url, FRONTEND=triton.url)
    yield
    process.terminate()
    process.communicate(timeout=20)


@pytest.mark.usefixtures("loader")
def test_the_loaders_container_makes_the_pod_ready_when_the_model_has_answered(pod: Pod, triton: Server):
    program, option, file = pod.emitted.containers["loader"]["readinessProbe"]["exec"]["command"]
    probe = [program, option, str(pod.cache / Path(file).name)]

    assert eventually(lambda: subprocess.run(probe, check=False).returncode == 0)
    assert triton.announced == {"chat"}
    (engine,) = [name for name in triton.loaded if name.startswith(pipeline.ENGINE_MODEL)]
    assert pod.emitted.release["release"] in engine


@pytest.mark.usefixtures("loader")
def test_a_server_takes_another_release_in_place_when_the_file_changes(
    pod: Pod, triton: Server, emit: Callable[..., Emitted], uploaded: Path
):
    """The same files, run in another way: that is another release too."""
    assert eventually((pod.cache / "serving").exists)

    second = emit(context=4096, triton={"engineManifest": str(uploaded), "swap": "in-place"})
    pod.tell(second)
    name = second.release["release"]

    assert eventually(lambda: (pod.cache / "serving").read_text() == name)
    assert eventually(lambda: all(name in model for model in triton.loaded if model != "chat"))
    assert eventually(lambda: [one.name for one in (pod.cache / "releases").iterdir()] == [name])
