"""The model gateway: configuration from declared models, and pods that stay available."""

from __future__ import annotations

import json

import pulumi
import pytest
from aws_stack import run
from conftest import Recorder
from model_gateway_site import (
    BASE,
    CLAUDE,
    LLAMA,
    MODELS,
    deployments,
    every_pod,
    install,
    pod,
    process,
    settings,
    variables,
)
from platform_site import site
from pydantic import ValidationError

from components.contract import HostedModelGrant
from components.platform.model_gateway import (
    Backend,
    GatewayModel,
    Hosted,
    hosted_models,
    hosted_openings,
    longest_answer_seconds,
    openings,
)
from components.platform.model_gateway.config import DATABASE_CONNECTIONS, configuration
from components.platform.model_gateway.gateway import connections
from components.platform.model_gateway.models import grants, problems
from components.platform.openings import LITELLM, SCRAPER
from components.settings import SettingsError, parse
from components.settings.hosted_models import HostedModelSettings
from components.settings.platform.model_gateway import ModelGatewaySettings

pytestmark = pytest.mark.unit


class TestConfiguration:
    def test_each_backend_of_a_model_is_one_deployment_under_the_models_name(self):
        found = deployments()
        assert set(found) == {"llama/a", "llama/b", "llama/spare", "claude/bedrock"}
        assert {one["model_name"] for name, one in found.items() if name.startswith("llama/")} == {"llama"}

    def test_an_address_is_made_for_what_the_server_speaks(self):
        found = {name: one["litellm_params"] for name, one in deployments().items()}
        assert (found["llama/b"]["model"], found["llama/b"]["api_base"]) == (
            "hosted_vllm/llama-8b",
            "http://b.models:8080/v1",
        )
        assert found["llama/spare"]["api_base"] == "http://c.models:8000/v2/models/llama_trt/generate"
        assert found["claude/bedrock"]["model"] == "bedrock/anthropic.claude-3-haiku-20240307-v1:0"
        assert found["claude/bedrock"]["aws_region_name"] == "us-east-1"
        assert "api_key" not in found["claude/bedrock"], "the cloud identity is the credential"

    def test_served_models_without_a_price_cost_nothing_and_hosted_ones_what_the_table_says(self):
        free = GatewayModel(name="free", backends=LLAMA.backends[:1])
        parameters = deployments((free, CLAUDE))
        assert parameters["free/a"]["litellm_params"]["output_cost_per_token"] == 0
        assert "output_cost_per_token" not in parameters["claude/bedrock"]["litellm_params"]
        priced = deployments()["llama/a"]["litellm_params"]
        assert priced["input_cost_per_token"] * 1_000_000 == pytest.approx(0.5)

    def test_no_credential_stands_in_the_file(self):
        text = json.dumps(configuration(MODELS, settings()))
        assert text.count("os.environ/LITELLM_MASTER_KEY") == 1
        assert text.count("os.environ/REDIS_PASSWORD") == 1
        assert "sk-" not in text

    def test_without_a_cache_limits_still_have_one_to_count_in(self, recorded: Recorder):
        assert "cache_params" not in configuration(MODELS, settings(cache={"enabled": False}))["litellm_settings"]
        run(lambda: install({"modelGateway": {"cache": {"enabled": False}}}))
        assert variables(process(recorded))["REDIS_SSL"] == "true"

    def test_nothing_asks_models_that_nobody_asked_for(self):
        """Health checks would call every model and wake those that are scaled to zero."""
        assert configuration(MODELS, settings())["general_settings"]["background_health_checks"] is False

    def test_a_timeout_is_not_tried_again_and_other_failures_are(self):
        router = configuration(MODELS, settings(routing={"retries": 4}))["router_settings"]
        assert router["num_retries"] == 4
        assert router["retry_policy"] == {"TimeoutErrorRetries": 0}

    def test_only_models_with_fallbacks_have_some(self):
        assert configuration(MODELS, settings())["router_settings"]["fallbacks"] == [{"llama": ["claude"]}]


class TestModels:
    def test_the_longest_answer_is_that_of_all_orders_and_all_fallbacks_one_after_another(self):
        assert longest_answer_seconds(MODELS) == 400 + 60 + 120
        assert longest_answer_seconds((CLAUDE,)) == 120
        assert longest_answer_seconds(()) == 0

    @pytest.mark.parametrize(
        ("models", "complaint"),
        [
            ((CLAUDE, CLAUDE), "claude is declared 2 times"),
            ((LLAMA,), "falls back to claude, which is not declared"),
            ((GatewayModel(name="x", backends=CLAUDE.backends, fallbacks=("x",)),), "x falls back to itself"),
            ((GatewayModel(name="x", backends=()),), "x has no backend"),
            ((GatewayModel(name="x", backends=CLAUDE.backends * 2),), "2 backends bedrock"),
        ],
    )
    def test_declarations_that_cannot_work_are_refused(self, models, complaint, recorded: Recorder):
        assert complaint in "; ".join(problems(models))

        def program():
            with pytest.raises(pulumi.RunError, match=complaint):
                install(models=models)

        run(program)

    def test_hosted_models_come_from_the_settings_in_the_stacks_region_unless_they_name_one(self):
        given = [
            HostedModelSettings.model_validate({"name": "fast", "model": "amazon.nova-lite-v1:0"}),
            HostedModelSettings.model_validate({"name": "far", "model": "x.y", "region": "us-west-2"}),
        ]
        assert [one.backends[0].target.region for one in hosted_models(given, "eu-west-1")] == [
            "eu-west-1",
            "us-west-2",
        ]

    def test_one_grant_for_each_region_names_the_models_that_are_asked_there(self):
        far = GatewayModel(
            name="far",
            backends=(
                Backend(
                    name="bedrock",
                    target=Hosted(provider="bedrock", model="us.x.y", region="us-west-2"),
                    timeout_seconds=9,
                ),
            ),
        )
        assert grants((*MODELS, far)) == (
            HostedModelGrant(models=("anthropic.claude-3-haiku-20240307-v1:0",), region="us-east-1"),
            HostedModelGrant(models=("us.x.y",), region="us-west-2"),
        )

    def test_a_price_is_both_prices(self):
        with pytest.raises(ValidationError, match="or neither"):
            HostedModelSettings.model_validate({"name": "a", "model": "x.y", "inputUsdPerMillion": 1})


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (
            {"hostedModels": [{"name": "a", "model": "x.y"}, {"name": "a", "model": "x.z"}]},
            r"hostedModels\[1\].name: must be unique",
        ),
        (
            {"hostedModels": [{"name": "a", "model": "x.y"}], "platform": {"modelGateway": {"enabled": False}}},
            "hostedModels: needs platform.modelGateway.enabled",
        ),
        (
            {"platform": {"modelGateway": {"host": "models.elsewhere.com"}}},
            "platform.modelGateway.host: must be one label below",
        ),
        (
            {"platform": {"modelGateway": {"adminHost": "api.llm.internal"}}},
            "adminHost: must differ from the API's host",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused_at_preview(given, complaint):
    with pytest.raises(SettingsError, match=complaint):
        parse({**BASE, **given})


class TestPods:
    def test_tables_come_first_then_replicas_then_teams_and_routes(self, recorded: Recorder):
        run(install)
        jobs = recorded.of("kubernetes:batch/v1:Job")
        assert "models-database" in jobs["models-migrations"].depends_on
        server = recorded.one("kubernetes:apps/v1:Deployment")
        assert {"models-migrations", "models-keys"} <= server.depends_on
        assert "models-server" in jobs["models-teams"].depends_on
        routes = recorded.of("kubernetes:networking.istio.io/v1:VirtualService")
        assert {"models-server", "edge"} <= routes["api-route"].depends_on

    def test_replicas_do_not_change_tables(self, recorded: Recorder):
        run(install)
        assert variables(process(recorded))["DISABLE_SCHEMA_UPDATE"] == "true"
        migrations = recorded.of("kubernetes:batch/v1:Job")["models-migrations"].inputs
        (container,) = migrations["spec"]["template"]["spec"]["containers"]
        assert "DISABLE_SCHEMA_UPDATE" not in variables(container)
        assert variables(container)["DATABASE_URL"] == variables(process(recorded))["DATABASE_URL"]

    def test_the_database_is_verified_and_its_address_holds_no_credential(self, recorded: Recorder):
        run(install)
        url = variables(process(recorded))["DATABASE_URL"]
        login, _, place = url.removeprefix("postgresql://").partition("@")
        assert login == "$(DATABASE_USERNAME):$(DATABASE_PASSWORD)"
        assert place.startswith("database.test:5432/litellm?sslmode=verify-full&sslrootcert=")
        names = [one["name"] for one in process(recorded)["env"]]
        assert names.index("DATABASE_PASSWORD") < names.index("DATABASE_URL"), "Kubernetes fills in earlier ones only"
        mounts = {one["name"]: one["mountPath"] for one in process(recorded)["volumeMounts"]}
        assert place.partition("sslrootcert=")[2] == f"{mounts['database-ca']}/ca.pem"

    def test_every_credential_is_read_from_a_secret(self, recorded: Recorder):
        run(install)
        found = variables(process(recorded))
        for name in ("LITELLM_MASTER_KEY", "LITELLM_SALT_KEY", "UI_PASSWORD", "REDIS_PASSWORD", "DATABASE_PASSWORD"):
            assert "secretKeyRef" in found[name], name
        secret = recorded.of("kubernetes:external-secrets.io/v1:ExternalSecret")["models-keys"].inputs["spec"]
        keys = {one["secretKey"] for one in secret["data"]}
        asked = {
            value["secretKeyRef"]["key"]
            for value in found.values()
            if isinstance(value, dict) and value["secretKeyRef"]["name"] == secret["target"]["name"]
        }
        assert asked == keys

    def test_all_pods_keep_to_the_restricted_level_and_write_nowhere_but_into_their_own_volumes(
        self, recorded: Recorder
    ):
        run(install)
        pods = every_pod(recorded)
        assert len(pods) == 4
        for spec in pods:
            assert spec["securityContext"]["runAsNonRoot"] is True
            assert spec["automountServiceAccountToken"] is False
            assert spec["enableServiceLinks"] is False
            for container in spec["containers"]:
                assert container["securityContext"]["readOnlyRootFilesystem"] is True
                assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
                assert set(container["resources"]) == {"requests", "limits"}

    def test_no_variable_of_kubernetes_own_can_be_taken_for_one_of_litellm(self, recorded: Recorder):
        run(install)
        service = recorded.one("kubernetes:core/v1:Service").inputs["metadata"]["name"]
        assert not service.startswith("litellm")

    def test_a_pod_that_must_go_has_time_for_its_answers(self, recorded: Recorder):
        run(lambda: install({"modelGateway": {"drainSeconds": 900}}))
        wait = process(recorded)["lifecycle"]["preStop"]["sleep"]["seconds"]
        drain = float(variables(process(recorded))["GRACEFUL_SHUTDOWN_TIMEOUT"])
        assert drain == 900
        assert pod(recorded)["terminationGracePeriodSeconds"] > wait + drain

    def test_replicas_stay_ready_while_the_database_fails_over_and_start_only_with_it(self, recorded: Recorder):
        run(install)
        paths = {name: process(recorded)[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness")}
        assert paths == {"startup": "/health/readiness", "readiness": "/health/liveliness"}

    def test_new_configuration_means_new_pods(self, recorded: Recorder):
        def annotation():
            deployment = recorded.one("kubernetes:apps/v1:Deployment").inputs
            return deployment["spec"]["template"]["metadata"]["annotations"]["llmops/configuration"]

        run(install)
        before = annotation()
        recorded.resources.clear()
        run(lambda: install(models=(CLAUDE,)))
        assert annotation() != before

    @pytest.mark.parametrize("several", [True, False])
    def test_replicas_budget_and_scaler_follow_the_platforms_availability(self, several, recorded: Recorder):
        run(lambda: install({"highlyAvailable": several}))
        assert bool(recorded.of("kubernetes:policy/v1:PodDisruptionBudget")) is several
        assert bool(recorded.of("kubernetes:autoscaling/v2:HorizontalPodAutoscaler")) is several
        assert bool(pod(recorded)["topologySpreadConstraints"]) is several
        replicas = recorded.one("kubernetes:apps/v1:Deployment").inputs["spec"].get("replicas")
        assert replicas == (None if several else 1), "the autoscaler's number is not ours to set"

    def test_the_scaler_measures_the_process_that_answers(self, recorded: Recorder):
        run(install)
        spec = recorded.one("kubernetes:autoscaling/v2:HorizontalPodAutoscaler").inputs["spec"]
        (metric,) = spec["metrics"]
        assert metric["containerResource"]["container"] == process(recorded)["name"]
        assert spec["scaleTargetRef"]["name"] == "model-gateway"

    def test_the_database_admits_all_replicas_and_one_more(self, recorded: Recorder):
        def program():
            place = site({"modelGateway": {"maxReplicas": 6}})
            assert connections(place) >= 7 * DATABASE_CONNECTIONS

        run(program)

    def test_metrics_have_a_port_of_their_own_that_only_prometheus_reaches(self, recorded: Recorder):
        def program():
            place = site()
            ways = [way for way in openings(place) if way.source == SCRAPER]
            (metrics,) = (one for one in pod(recorded)["containers"] if one["name"] == "metrics")
            assert [way.ports for way in ways] == [(metrics["ports"][0]["containerPort"],)]
            assert all(way.source == SCRAPER for way in openings(place) if 4001 in way.ports)

        run(install)
        run(program)


def test_models_of_google_are_asked_by_name_and_charged_by_their_list_price():
    given = [HostedModelSettings.model_validate({"name": "fast", "provider": "vertex", "model": "gemini-2.5-flash"})]
    (made,) = hosted_models(given, "us-central1")
    parameters = configuration([made], ModelGatewaySettings())["model_list"][0]["litellm_params"]
    assert parameters["model"] == "vertex_ai/gemini-2.5-flash"
    assert parameters["vertex_location"] == "us-central1"
    assert "input_cost_per_token" not in parameters
    (granted,) = grants([made])
    assert granted == HostedModelGrant(models=("gemini-2.5-flash",), region="us-central1")


def test_a_server_outside_is_asked_without_a_key_and_reached_by_its_port_alone():
    given = [
        HostedModelSettings.model_validate({"name": name, "provider": "openai", "model": "bge-m3", "url": url})
        for name, url in (("a", "https://embeddings.internal:8443"), ("b", "http://other.internal"))
    ]
    made = hosted_models(given, "us-east-1")
    first = configuration(made, ModelGatewaySettings())["model_list"][0]["litellm_params"]
    assert first["model"] == "openai/bge-m3"
    assert first["api_base"] == "https://embeddings.internal:8443/v1"
    assert grants(made) == ()
    assert [(way.source, way.target, way.ports) for way in hosted_openings(given)] == [
        (LITELLM, "anywhere", (80,)),
        (LITELLM, "anywhere", (8443,)),
    ]
