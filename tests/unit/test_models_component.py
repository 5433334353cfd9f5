"""A declared model becomes servers, a backend of the gateway and a smoke test."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pulumi
import pytest
from conftest import Recorder
from platform_site import Identities, options, site
from stack_models import CANARY, LLAMA, TEAM, chat, planned

from components.contract import ObjectGrant, SharedFiles
from components.platform.model_gateway.config import configuration
from components.platform.openings import LITELLM, Pods
from components.settings.teams import TeamSettings
from components.versions import IMAGES
from workloads.models import smoke
from workloads.models.component import Models, ModelsArgs
from workloads.models.registration import gateway_models
from workloads.models.stack import openings, stack_models

pytestmark = pytest.mark.unit

SERVER = "kubernetes:serving.kserve.io/v1beta1:InferenceService"
SCALING = "kubernetes:keda.sh/v1alpha1:ScaledObject"
JOB = "kubernetes:batch/v1:Job"
PINNED = "pulumi-python:dynamic:Resource"


def declared(recorded: Recorder, *models: dict[str, Any], **stack: Any) -> tuple[Models, Identities]:
    """Run a program with these models; it also says which identities they have."""
    found = planned(*models, **stack)
    identities = Identities()

    def program() -> Models:
        place = site(
            {"serving": found.settings.platform.serving.model_dump(by_alias=True)},
            teams=[TeamSettings.model_validate(TEAM)],
            identities=identities,
        )
        files = SharedFiles(csi_driver="files.test", volumes={"models": pulumi.Output.from_input("handle-of-models")})
        place = replace(place, foundation=replace(place.foundation, files=files))
        return Models(
            "models",
            ModelsArgs(
                site=place, specs=found.specs, plans=found.plans, after=(), gateway=[place.foundation.cluster.provider]
            ),
            options(place),
        )

    return recorded.run(program), identities


def arguments(recorded: Recorder, name: str = "chat") -> list[str]:
    (server,) = [one for one in recorded.of(SERVER).values() if one.inputs["metadata"]["name"] == name]
    return server.inputs["spec"]["predictor"]["model"]["args"]


class TestServers:
    def test_weights_stream_from_the_real_bucket_to_the_gpu(self, recorded: Recorder):
        declared(recorded, chat())
        given = arguments(recorded)

        assert given[0] == "s3://models/llama"
        assert "--load-format=runai_streamer" in given
        assert "storageUri" not in recorded.one(SERVER).inputs["spec"]["predictor"]["model"]

    def test_a_servers_memory_holds_what_the_streamer_may_take(self, recorded: Recorder):
        declared(recorded, chat())
        (extra,) = [json.loads(one.partition("=")[2]) for one in arguments(recorded) if "extra-config" in one]
        limit = recorded.one(SERVER).inputs["spec"]["predictor"]["model"]["resources"]["limits"]["memory"]

        assert extra["memory_limit"] < int(limit.removesuffix("Mi")) * 2**20

    def test_a_server_may_read_its_weights_and_nothing_beside_them(self, recorded: Recorder):
        _, identities = declared(recorded, chat())

        (granted,) = identities.granted
        assert (granted.namespace, granted.service_account) == ("mlops-serving", "chat")
        assert granted.grants == (ObjectGrant(bucket="models", access="read", prefix="llama/"),)

    def test_only_a_model_of_the_hub_looks_for_the_hub(self, recorded: Recorder):
        models = [chat(), chat(name="hub", source=f"hf://{LLAMA}@main", architecture=None)]
        _, identities = declared(recorded, *models)
        servers = {
            one.inputs["metadata"]["name"]: one.inputs["spec"]["predictor"] for one in recorded.of(SERVER).values()
        }

        assert {"name": "HF_HUB_OFFLINE", "value": "1"} in servers["chat"]["model"]["env"]
        assert not servers["hub"]["model"].get("env")
        assert servers["hub"]["labels"]["llmops/weights"] == "hub"
        assert "llmops/weights" not in servers["chat"]["labels"]
        assert arguments(recorded, "hub")[0] == LLAMA
        assert "--revision=main" in arguments(recorded, "hub")
        assert [one.service_account for one in identities.granted] == ["chat"]

    def test_weights_on_a_file_system_are_mounted_to_be_read(self, recorded: Recorder):
        _, identities = declared(recorded, chat(source="file:///models/llama/8b"))
        volume = recorded.one("kubernetes:core/v1:PersistentVolume").inputs["spec"]
        claim = recorded.one("kubernetes:core/v1:PersistentVolumeClaim").inputs
        predictor = recorded.one(SERVER).inputs["spec"]["predictor"]

        assert volume["csi"]["volumeHandle"] == "handle-of-models"
        assert volume["csi"]["readOnly"] is True
        assert volume["persistentVolumeReclaimPolicy"] == "Retain"
        assert {
            "name": "weights",
            "persistentVolumeClaim": {"claimName": claim["metadata"]["name"], "readOnly": True},
        } in (predictor["volumes"])
        assert arguments(recorded)[0] == "/mnt/models/llama/8b"
        assert not identities.granted

    def test_what_was_sized_is_what_is_started(self, recorded: Recorder):
        found = planned(chat()).plans["chat"]
        declared(recorded, chat())
        model = recorded.one(SERVER).inputs["spec"]["predictor"]["model"]

        assert f"--tensor-parallel-size={found.gpus}" in model["args"]
        assert model["resources"]["limits"]["nvidia.com/gpu"] == str(found.gpus)
        assert f"--max-num-seqs={found.sequences}" in model["args"]

    def test_a_team_s_model_runs_in_its_namespace(self, recorded: Recorder):
        declared(recorded, chat(team="research", replicas={"max": 1}))

        server = recorded.one(SERVER).inputs
        assert server["metadata"]["namespace"] == "team-research"
        assert server["metadata"]["labels"]["llmops/team"] == "research"

    def test_the_queue_and_the_cache_of_the_servers_add_servers(self, recorded: Recorder):
        serving = {"prometheusUrl": "http://prometheus-operated.monitoring:9090"}
        declared(recorded, chat(replicas={"min": 0, "max": 2}), platform={"serving": serving})

        triggers = recorded.one(SCALING).inputs["spec"]["triggers"]
        queries = {one["metadata"].get("query", "").partition("{")[0]: one["metadata"] for one in triggers}
        assert {"sum(vllm:num_requests_waiting", "sum(vllm:kv_cache_usage_perc"} < set(queries)
        assert 0 < float(queries["sum(vllm:kv_cache_usage_perc"]["threshold"]) < 1


class TestTraffic:
    def test_a_canary_has_a_server_at_all_times_and_the_model_may_have_none(self, recorded: Recorder):
        declared(recorded, chat(canary=CANARY, replicas={"max": 2}))
        servers = {
            one.inputs["metadata"]["name"]: one.inputs["spec"]["predictor"] for one in recorded.of(SERVER).values()
        }

        assert servers["chat-canary"]["minReplicas"] == 1
        assert servers["chat"]["minReplicas"] == 0
        assert arguments(recorded, "chat-canary")[0] == "s3://models/llama-2"

    def test_promotion_rolls_the_models_own_servers_to_the_canarys_weights(self, recorded: Recorder):
        declared(recorded, chat(canary={**CANARY, "state": "promoted"}))

        assert arguments(recorded, "chat")[0] == arguments(recorded, "chat-canary")[0] == "s3://models/llama-2"

    def test_after_a_promotion_the_settings_may_be_cleaned_up_without_touching_the_servers(self, recorded: Recorder):
        promoted = planned(chat(canary={**CANARY, "state": "promoted"})).specs[0].versions[0]
        clean = planned(chat(source="s3://models/llama-2")).specs[0].versions[0]

        assert (promoted.name, promoted.source, promoted.fewest, promoted.most) == (
            clean.name,
            clean.source,
            clean.fewest,
            clean.most,
        )

    def test_what_is_rolled_back_answers_nothing_and_has_no_server(self, recorded: Recorder):
        declared(recorded, chat(canary={**CANARY, "state": "rolled-back"}))

        assert [one.inputs["metadata"]["name"] for one in recorded.of(SERVER).values()] == ["chat"]
        (model,) = gateway_models(*_registered(chat(canary={**CANARY, "state": "rolled-back"})))
        assert [one.name for one in model.backends] == ["stable"]

    def test_weights_are_the_shares_of_the_requests(self):
        (model,) = gateway_models(*_registered(chat(canary={**CANARY, "percent": 20})))

        assert {one.name: one.weight for one in model.backends} == {"stable": 80, "canary": 20}

    def test_only_ab_tests_keep_sessions(self):
        found = planned(
            chat(canary=CANARY, replicas={"max": 1}),
            chat(name="b", ab={"variants": [{"name": "b", "source": "s3://models/b"}]}, replicas={"max": 1}),
        )
        router = configuration(gateway_models(found.specs, found.plans), found.settings.platform.model_gateway)

        assert router["router_settings"]["model_group_affinity_config"] == {"b": ["session_affinity"]}

    def test_a_request_for_a_model_that_may_be_away_is_waited_for_as_long_as_a_cold_start(self):
        (away, there) = gateway_models(*_registered(chat(), chat(name="there", replicas={"min": 1, "max": 1})))
        waits = planned(chat()).plans["chat"].waits

        assert away.backends[0].timeout_seconds > waits.activation
        assert there.backends[0].timeout_seconds == waits.answer

    def test_answers_cost_the_teams_what_the_servers_cost(self):
        (model,) = gateway_models(*_registered(chat(throughput={"tokensPerSecond": 50})))
        hourly = planned(chat()).plans["chat"].cost.server_hourly_usd

        assert hourly
        assert model.output_usd_per_million == pytest.approx(hourly / (50 * 3600) * 1e6)


def _registered(*models: dict[str, Any]):
    found = planned(*models)
    return found.specs, found.plans


class TestPinned:
    def test_an_alias_is_pinned_and_its_server_reads_the_registrys_bucket(self, recorded: Recorder):
        recorded.outputs[PINNED] = {"version": "3", "source": "s3://mlflow/artifacts/1/models/m-1"}
        _, identities = declared(recorded, chat(source="models:/llama@champion"))

        assert arguments(recorded)[0] == "s3://mlflow/artifacts/1/models/m-1"
        assert identities.granted[0].grants == (ObjectGrant(bucket="mlflow", access="read", prefix="artifacts/"),)

    def test_a_version_that_lies_elsewhere_is_refused(self, recorded: Recorder):
        recorded.outputs[PINNED] = {"version": "3", "source": "s3://somewhere/else"}

        with pytest.raises(Exception, match="bucket of the model registry"):
            declared(recorded, chat(source="models:/llama@champion"))


class TestSmokeTests:
    def test_each_version_and_the_gateway_are_asked(self, recorded: Recorder):
        declared(recorded, chat(canary=CANARY))
        files = recorded.one("kubernetes:core/v1:ConfigMap").inputs["data"]
        wanted = json.loads(files["smoke.json"])

        assert [one["name"] for one in wanted["backends"]] == ["chat", "chat-canary"]
        assert wanted["gateway"].startswith("http://model-gateway.")

    def test_it_comes_after_the_servers_and_may_take_a_cold_start(self, recorded: Recorder):
        declared(recorded, chat())
        job = recorded.one(JOB)

        assert any("server" in one for one in job.depends_on)
        waits = planned(chat()).plans["chat"].waits
        assert job.inputs["spec"]["activeDeadlineSeconds"] > 2 * waits.activation
        assert int(job.custom_timeouts["create"].removesuffix("s")) > job.inputs["spec"]["activeDeadlineSeconds"]

    def test_its_pod_is_restricted_and_has_no_key_but_its_own(self, recorded: Recorder):
        declared(recorded, chat())
        pod = recorded.one(JOB).inputs["spec"]["template"]["spec"]
        (container,) = pod["containers"]

        assert pod["automountServiceAccountToken"] is False
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert [one["valueFrom"]["secretKeyRef"]["name"] for one in container["env"]] == ["model-smoke-key"]
        assert container["image"] == IMAGES["litellm"]

    def test_another_source_is_another_test_and_another_budget_is_not(self, recorded: Recorder):
        def digest(**changes: Any) -> str:
            recorded.resources.clear()
            declared(recorded, chat(**changes))
            return recorded.one(JOB).inputs["spec"]["template"]["metadata"]["annotations"]["llmops/declaration"]

        assert digest() != digest(source="s3://models/other")
        assert digest() == digest(budget={"monthlyUsd": 9000})

    @pytest.mark.parametrize(
        ("changes", "tested"),
        [
            ({}, True),
            ({"smoke": {"wakes": False}}, False),
            ({"smoke": {"wakes": False}, "replicas": {"min": 1, "max": 1}}, True),
            ({"smoke": {"enabled": False}}, False),
        ],
    )
    def test_it_wakes_models_unless_that_is_not_wanted(self, changes: dict[str, Any], tested: bool, recorded: Recorder):
        declared(recorded, chat(**changes))

        assert bool(recorded.of(JOB)) is tested


def test_the_outputs_say_what_a_model_costs_and_how_long_it_takes_to_start(recorded: Recorder):
    serving = {"prometheusUrl": "http://prometheus-operated.monitoring:9090"}
    declared(recorded, chat(replicas={"min": 1, "max": 2}), platform={"serving": serving})
    told = recorded.component_outputs["model-chat"]

    assert told["usdPerHourMaximum"] == pytest.approx(2 * told["usdPerHourMinimum"])
    assert told["coldStartSeconds"] > 0
    assert told["usdPerMillionTokens"] > 0


def test_a_hosted_model_has_no_server_and_is_called_at_the_cloud(recorded: Recorder):
    hosted = {
        "name": "fast",
        "backend": "hosted",
        "source": "hosted://bedrock/us.anthropic.claude-haiku-4-5-20251001-v1:0",
    }
    declared(recorded, hosted)
    (model,) = gateway_models(*_registered(hosted))

    assert not recorded.of(SERVER)
    assert model.backends[0].target.model == "us.anthropic.claude-haiku-4-5-20251001-v1:0"


class TestOpenings:
    def test_only_models_of_the_hub_leave_the_cluster_and_only_their_pods(self):
        hub = chat(name="hub", source=f"hf://{LLAMA}", architecture=None, team="research", replicas={"max": 1})
        specs = planned(chat(), hub).specs
        (way,) = [one for one in openings(specs, ["research"]) if one.target == "internet"]

        assert way.source == Pods(namespace="team-research", labels={"llmops/weights": "hub"})
        assert not [one for one in openings(planned(chat()).specs, ["research"]) if one.target == "internet"]

    def test_the_smoke_test_reaches_the_gateway_and_the_teams_servers(self):
        ways = [one for one in openings(planned(chat()).specs, ["research"]) if one.source == smoke.PODS]

        assert LITELLM in [one.target for one in ways]
        assert Pods(namespace="team-research") in [one.target for one in ways]

    def test_a_stack_without_models_opens_nothing(self):
        assert not list(openings([], ["research"]))


def test_the_platform_knows_of_the_models_before_they_exist():
    declared = stack_models(planned(chat(canary=CANARY)).settings, prefix="llmops-test")

    assert [one.name for one in declared.gateway] == [one.name for one in declared.objectives] == ["chat"]
    assert declared.plans["chat"].gpus == 1
