"""A model with backend ``triton`` becomes a server, a loader beside it, and what the two are told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Recorded, Recorder
from platform_site import Identities, options, site
from stack_models import CANARY, chat, planned

from components.contract import ObjectGrant
from components.platform.cold_start import PROBE_SECONDS
from components.platform.runtimes import RUNTIMES, TRITON_CACHE, runtime_of
from components.settings import SettingsError, parse
from workloads.models.component import Models, ModelsArgs
from workloads.models.registration import gateway_models
from workloads.triton.manifest import EngineManifest, document

pytestmark = pytest.mark.unit

SERVER = "kubernetes:serving.kserve.io/v1beta1:InferenceService"
CONFIG = "kubernetes:core/v1:ConfigMap"
POLICY = "kubernetes:security.istio.io/v1:AuthorizationPolicy"
SOURCE = "s3://models/llama"


def triton(**changes: Any) -> dict[str, Any]:
    return chat(**{"backend": "triton", "quantization": "awq", **changes})


ENGINE = EngineManifest.model_validate(
    {
        "model": "llama",
        "gpu": "a10g",
        "tensorrtLlm": "1.2.1",
        "maxBatchSize": 16,
        "maxInputTokens": 8192,
        "maxSequenceTokens": 8192,
        "maxNumTokens": 8192,
        "pagedContext": True,
        "files": dict.fromkeys(
            ("engine/config.json", "engine/rank0.engine", "tokenizer/tokenizer_config.json"), "0" * 64
        ),
    }
)


@pytest.fixture
def manifests(tmp_path: Path) -> str:
    """The file beside the settings."""
    file = tmp_path / "engines.json"
    entries = {source: json.loads(document(ENGINE)) for source in (SOURCE, "s3://models/llama-2")}
    file.write_text(json.dumps(entries))
    return str(file)


def declared(recorded: Recorder, *models: dict[str, Any], mesh: bool = True) -> Identities:
    found = planned(*models, platform={"mesh": {"enabled": True, "waypoints": True}})
    identities = Identities()

    def program() -> None:
        serving = found.settings.platform.serving.model_dump(by_alias=True)
        place = site({"serving": serving, "mesh": {"enabled": mesh, "waypoints": mesh}}, identities=identities)
        Models("models", ModelsArgs(site=place, specs=found.specs, plans=found.plans, after=()), options(place))

    recorded.run(program)
    return identities


def predictor(recorded: Recorder) -> dict[str, Any]:
    return recorded.one(SERVER).inputs["spec"]["predictor"]


def containers(recorded: Recorder) -> dict[str, dict[str, Any]]:
    """Every container of a server's pod as KServe puts it together."""
    found = predictor(recorded)
    base, own = runtime_of(RUNTIMES["triton"])["containers"][0], found["model"]
    main = {**base, "args": [*base["args"], *own["args"]]}
    main["volumeMounts"] = [*base["volumeMounts"], *own["volumeMounts"]]
    return {one["name"]: one for one in (*found["initContainers"], main, *found["containers"])}


def told(recorded: Recorder) -> dict[str, Any]:
    return json.loads(recorded.one(CONFIG).inputs["data"]["release.json"])


def release(recorded: Recorder, **changes: Any) -> str:
    recorded.resources.clear()
    declared(recorded, triton(**changes))
    return told(recorded)["release"]


class TestPod:
    def test_the_frontend_finds_a_tokenizer_where_the_fetcher_puts_it(self, recorded: Recorder):
        declared(recorded, triton())
        (tokenizer,) = [one for one in containers(recorded)["kserve-container"]["args"] if "--tokenizer=" in one]

        assert tokenizer == f"--tokenizer={TRITON_CACHE}/releases/{told(recorded)['release']}/tokenizer"

    def test_everything_that_a_release_is_told_is_below_one_disk_that_all_containers_have(self, recorded: Recorder):
        declared(recorded, triton())

        shared = [
            (mount["name"], mount["subPath"])
            for one in containers(recorded).values()
            for mount in one["volumeMounts"]
            if mount["mountPath"] == TRITON_CACHE
        ]
        assert len(shared) == len(containers(recorded))
        assert len(set(shared)) == 1

    def test_every_mount_has_a_volume(self, recorded: Recorder):
        declared(recorded, triton())
        volumes = {one["name"] for one in predictor(recorded)["volumes"]}

        assert {mount["name"] for one in containers(recorded).values() for mount in one["volumeMounts"]} == volumes

    def test_python_finds_the_loaders_modules_where_they_are_mounted(self, recorded: Recorder):
        declared(recorded, triton())
        (volume,) = [one for one in predictor(recorded)["volumes"] if "configMap" in one]
        paths = {one["path"]: one["key"] for one in volume["configMap"]["items"]}
        data = recorded.one(CONFIG).inputs["data"]

        assert volume["configMap"]["name"] == recorded.one(CONFIG).inputs["metadata"]["name"]
        assert set(paths.values()) == set(data)
        for name in ("fetch", "loader"):
            *_, module = containers(recorded)[name]["command"]
            assert f"{module.replace('.', '/')}.py" in paths

    def test_the_pod_is_ready_when_the_loader_says_that_the_model_answered(self, recorded: Recorder):
        declared(recorded, triton())
        loader = containers(recorded)["loader"]
        waits = planned(triton()).plans["chat"].waits

        assert loader["readinessProbe"]["exec"]["command"] == ["test", "-e", f"{TRITON_CACHE}/serving"]
        assert loader["startupProbe"]["failureThreshold"] * PROBE_SECONDS == waits.startup

    def test_no_container_has_rights(self, recorded: Recorder):
        declared(recorded, triton())

        for one in containers(recorded).values():
            assert one["securityContext"]["allowPrivilegeEscalation"] is False
            assert one["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert one["image"].rpartition(":")[2] not in ("", "latest")

    def test_the_loader_asks_the_ports_on_which_the_server_listens(self, recorded: Recorder):
        declared(recorded, triton())
        arguments = containers(recorded)["kserve-container"]["args"]
        asked = {one["name"]: one["value"] for one in containers(recorded)["loader"]["env"]}

        for name, option in (("CONTROL", "--kserve-http-port"), ("FRONTEND", "--openai-port")):
            assert f"{option}={asked[name].rpartition(':')[2]}" in arguments
            assert asked[name].startswith("http://127.0.0.1:")


class TestRelease:
    def test_another_way_to_run_an_engine_is_another_release_and_other_pods(self, recorded: Recorder, manifests: str):
        names: set[str] = set()
        pods: set[str] = set()
        for changes in ({}, {"source": "s3://models/llama-2"}, {"triton": {"engineManifest": manifests}}):
            names.add(release(recorded, **changes))
            pods.add(predictor(recorded)["annotations"]["llmops/told"])

        assert len(names) == len(pods) == 3

    def test_what_a_pod_is_told_beside_its_release_means_other_pods_too(self, recorded: Recorder):
        """What was mounted before is never exchanged: it stands under a name of its own."""
        names: set[str] = set()
        releases: set[str] = set()
        for seconds in (2, 3):
            releases.add(release(recorded, objective={"p99Seconds": seconds}))
            names.add(recorded.one(CONFIG).inputs["metadata"]["name"])

        assert len(releases) == 1
        assert len(names) == 2

    def test_a_release_is_the_same_for_the_same_files_wherever_they_are(self, recorded: Recorder, manifests: str):
        known = {"triton": {"engineManifest": manifests}}

        assert release(recorded, **known) == release(recorded, source="s3://models/llama-2", **known)

    def test_servers_of_the_release_before_keep_what_they_were_told(self, recorded: Recorder):
        names: set[str] = set()
        for source in (SOURCE, "s3://models/llama-2"):
            release(recorded, source=source)
            config = recorded.one(CONFIG).inputs
            names.add(config["metadata"]["name"])
            assert config["immutable"] is True
        assert len(names) == 2

    def test_in_place_the_pods_stay_and_read_of_another_release(self, recorded: Recorder):
        found: list[tuple[dict[str, Any], dict[str, Any]]] = []
        for source in (SOURCE, "s3://models/llama-2"):
            name = release(recorded, source=source, triton={"swap": "in-place"})
            server, config = predictor(recorded), recorded.one(CONFIG).inputs
            assert config["immutable"] is False
            found.append((json.loads(json.dumps(server).replace(name, "")), config["metadata"]))
        assert found[0] == found[1]

    def test_the_pod_refuses_other_files_than_the_declared_ones(self, recorded: Recorder, manifests: str):
        release(recorded, triton={"engineManifest": manifests})

        assert told(recorded)["digest"] == ENGINE.digest
        assert told(recorded)["gpu"] == "a10g"

    def test_an_engine_is_run_with_as_many_places_as_it_was_built_with(self, recorded: Recorder, manifests: str):
        release(recorded, triton={"engineManifest": manifests})
        configs = told(recorded)["configs"]

        assert all(f"max_batch_size: {ENGINE.max_batch_size}" in text for text in configs.values())


class TestAccess:
    def test_a_server_may_read_its_release_and_see_that_its_bucket_is_there(self, recorded: Recorder):
        identities = declared(recorded, triton())

        (granted,) = identities.granted
        assert granted.grants == (ObjectGrant(bucket="models", access="read", prefix="llama/", lists_bucket=True),)
        assert told(recorded)["source"] == "s3://models/llama/"

    def test_nobody_commands_a_server_through_the_mesh(self, recorded: Recorder):
        declared(recorded, triton())
        policy = recorded.one(POLICY).inputs["spec"]
        closed = {port for rule in policy["rules"] for to in rule["to"] for port in to["operation"]["ports"]}

        ports = {
            one.rpartition("=")[2]
            for one in containers(recorded)["kserve-container"]["args"]
            if one.startswith("--kserve-") and "port" in one
        }
        assert policy["action"] == "DENY"
        assert policy["selector"] == {"matchLabels": {"app": "isvc.chat-predictor"}}
        assert closed == ports
        assert "8000" not in closed

    def test_without_a_mesh_there_is_no_policy_of_it(self, recorded: Recorder):
        declared(recorded, triton(), mesh=False)

        assert not recorded.of(POLICY)

    def test_models_are_loaded_through_the_frontend_with_a_key_that_no_manifest_holds(self, recorded: Recorder):
        declared(recorded, triton())
        (_, _, script, *_) = containers(recorded)["kserve-container"]["command"]

        assert "--openai-restricted-api model-repository" in script
        assert '$(cat "$CACHE/key")' in script


def test_the_model_gateway_calls_the_openai_frontend_by_the_models_name():
    (model,) = gateway_models(planned(triton()).specs, planned(triton()).plans)
    (backend,) = model.backends

    assert (backend.target.api, backend.target.model) == ("openai", "chat")  # type: ignore[union-attr] it is served


def test_each_version_has_a_release_of_its_own(recorded: Recorder):
    declared(recorded, triton(canary=CANARY))
    documents: list[Recorded] = list(recorded.of(CONFIG).values())
    found = [json.loads(one.inputs["data"]["release.json"]) for one in documents]

    assert {one["served"] for one in found} == {"chat", "chat-canary"}
    assert len({one["release"] for one in found}) == 2


def problems(**changes: Any) -> dict[str, str]:
    try:
        parse({"owner": "ml", "costCenter": "1", "models": [triton(**changes)]})
    except SettingsError as error:
        return {problem.path: problem.message for problem in error.problems}
    return {}


class TestRefusals:
    def test_an_engine_that_fits_is_accepted(self, manifests: str):
        assert problems(triton={"engineManifest": manifests}) == {}

    @pytest.mark.parametrize(
        ("changes", "path", "remedy"),
        [
            ({"source": "hf://meta-llama/Llama-3.1-8B-Instruct"}, "models[0].source", "set backend: vllm"),
            ({"canary": {**CANARY, "source": "hf://a/b"}}, "models[0].canary.source", "build one"),
            ({"gpu": {"type": "l4", "count": 1}}, "models[0].gpu.type", "set a10g, or build the engine on l4"),
            ({"gpu": {"type": "a10g", "count": 4}}, "models[0].gpu.count", "set 1, or build it for 4"),
            ({"context": 8193}, "models[0].context", "--max_seq_len 8193"),
            ({"source": "s3://models/llama-3"}, "models[0].triton.engineManifest", "no entry for s3://models/llama-3"),
        ],
    )
    def test_what_no_engine_can_serve_is_refused_with_what_to_do(
        self, changes: dict[str, Any], path: str, remedy: str, manifests: str
    ):
        found = problems(**{"triton": {"engineManifest": manifests}, **changes})

        assert remedy in found.get(path, ""), found

    def test_a_file_that_is_not_there_is_refused(self):
        found = problems(triton={"engineManifest": "nowhere.json"})

        assert "nowhere.json is not there" in found["models[0].triton.engineManifest"]

    def test_two_engines_that_no_gpu_holds_are_not_exchanged_in_place(self):
        assert problems(context=2048, triton={"swap": "in-place"}) == {}
        found = problems(quantization="none", context=2048, concurrency=1, triton={"swap": "in-place"})

        assert "set roll, lower context, or take a larger gpu.type" in found["models[0].triton.swap"]

    def test_an_engine_without_room_for_what_was_promised_is_refused(self, tmp_path: Path):
        """TensorRT sets aside memory for the largest step that it was built for; what vLLM could do here, it cannot."""
        file = tmp_path / "engines.json"
        wide = {**json.loads(document(ENGINE)), "maxNumTokens": 65536}
        file.write_text(json.dumps({SOURCE: wide}))
        known = {"triton": {"engineManifest": str(file)}}

        assert problems(concurrency=1, **known) == {}
        assert "smaller --max_num_tokens" in problems(concurrency=10, **known)["models[0].concurrency"]


class TestBalancing:
    GATEWAY = "kubernetes:gateway.networking.k8s.io/v1:Gateway"

    def test_a_waypoint_stands_in_front_of_the_service_that_is_called(self, recorded: Recorder):
        declared(recorded, triton(triton={"balance": "requests"}, replicas={"min": 0, "max": 2}))
        gateway = recorded.one(self.GATEWAY).inputs
        rule = recorded.one("kubernetes:networking.istio.io/v1:DestinationRule").inputs["spec"]
        server = recorded.one(SERVER).inputs
        route = recorded.one("kubernetes:http.keda.sh/v1beta1:InterceptorRoute").inputs["spec"]

        # KServe gives a service the labels of its InferenceService and of its predictor.
        assert server["metadata"]["labels"]["istio.io/use-waypoint"] == gateway["metadata"]["name"]
        assert gateway["metadata"]["labels"]["istio.io/waypoint-for"] == "service"
        assert rule["host"].split(".")[0] == route["target"]["service"]
        assert rule["trafficPolicy"]["loadBalancer"] == {"simple": "LEAST_REQUEST"}

    def test_its_proxies_are_as_restricted_as_their_namespace_asks_for(self, recorded: Recorder):
        declared(recorded, triton(triton={"balance": "requests"}, replicas={"min": 0, "max": 2}))
        name = recorded.one(self.GATEWAY).inputs["spec"]["infrastructure"]["parametersRef"]["name"]
        (data,) = [one.inputs["data"] for one in recorded.of(CONFIG).values() if one.inputs["metadata"]["name"] == name]
        pod = json.loads(data["deployment"])["spec"]["template"]["spec"]

        assert pod["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}}
        (proxy,) = pod["containers"]
        assert {"requests", "limits"} == set(proxy["resources"])

    @pytest.mark.parametrize("changes", [{}, {"triton": {"balance": "requests"}, "replicas": {"min": 1, "max": 1}}])
    def test_connections_or_a_single_server_need_no_waypoint(self, changes: dict[str, Any], recorded: Recorder):
        declared(recorded, triton(**changes))

        assert not recorded.of(self.GATEWAY)
        assert "istio.io/use-waypoint" not in recorded.one(SERVER).inputs["metadata"]["labels"]
