"""Where Kubeflow Pipelines runs: rights, ways in and out, room, and the rules that hold it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pulumi
import pytest
from aws_stack import run
from conftest import Recorder
from platform_site import options, site
from pydantic import ValidationError

from components.contract import ObjectGrant
from components.platform.kustomize import (
    application_spec,
)
from components.platform.openings import GATEWAY, LITELLM, MILVUS, MLFLOW, Opening, Pods
from components.platform.pipelines import (
    Pipelines,
    PipelinesArgs,
    allowance,
    openings,
)
from components.platform.pipelines_manifests import (
    PREFIX,
    RUNNER,
    installation,
    server_configuration,
)
from components.platform.quotas import GPU, quota_specs
from components.platform.workflows import KEY_FORMAT
from components.settings.platform import PlatformSettings, rules
from components.settings.platform.pipelines import PipelineSettings
from tests.unit.pipelines_site import APPLICATION, arguments, decide, installed, patched

pytestmark = pytest.mark.unit


class TestRights:
    def test_nobody_reads_secrets_or_has_a_wildcard(self, recorded: Recorder):
        installed(recorded)
        roles = recorded.of("kubernetes:rbac.authorization.k8s.io/v1:Role").values()
        rules = [rule for role in roles for rule in role.inputs["rules"]]
        assert len(rules) > 10
        for rule in rules:
            assert "*" not in {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
            assert "secrets" not in rule["resources"]

    def test_only_what_touches_objects_has_an_identity_and_each_stays_below_the_prefix(self, recorded: Recorder):
        granted = {one.service_account: one for one in installed(recorded).granted}

        assert set(granted) == {"ml-pipeline", "ml-pipeline-ui", RUNNER}
        for one in granted.values():
            own = [grant for grant in one.grants if isinstance(grant, ObjectGrant) and grant.bucket == "pipelines"]
            # What runs releases keeps their artifacts too.
            more = ["releases/"] if one.service_account == RUNNER else []
            assert [grant.prefix for grant in own] == [PREFIX, *more]
        assert {grant.access for grant in granted["ml-pipeline-ui"].grants if isinstance(grant, ObjectGrant)} == {
            "read"
        }

    def test_logs_artifacts_and_definitions_are_below_the_prefix_that_is_granted(self, recorded: Recorder):
        installed(recorded)
        launcher = recorded.one("kubernetes:core/v1:ConfigMap", "pipelines-kfp-launcher").inputs["data"]
        server = json.loads(server_configuration(multi_user=False)["config.json"])
        definitions = server["ObjectStoreConfig"]["PipelinePath"]

        assert launcher["defaultPipelineRoot"].startswith(f"s3://pipelines/{PREFIX}")
        assert definitions.startswith(PREFIX)
        assert KEY_FORMAT.replace("{{workflow.namespace}}", "kubeflow").startswith(PREFIX)

    def test_ml_engineers_reach_the_api_by_forwarding_a_port(self, recorded: Recorder):
        installed(recorded)
        binding = recorded.one("kubernetes:rbac.authorization.k8s.io/v1:RoleBinding", "pipelines-pipelines-user").inputs
        assert [one["name"] for one in binding["subjects"]] == ["llmops:ml-engineers"]
        rules = recorded.one("kubernetes:rbac.authorization.k8s.io/v1:Role", "pipelines-pipelines-user").inputs["rules"]
        assert any("pods/portforward" in rule["resources"] for rule in rules)


class TestWays:
    STEPS = Pods(namespace="kubeflow", labels={"pipelines.kubeflow.org/v2_component": "true"})

    def ways(self, **isolation: Any) -> tuple[Opening, ...]:
        return decide(openings, {"isolation": isolation})

    def test_only_the_server_and_the_store_of_lineage_reach_the_database(self):
        sources_ = [way.source for way in self.ways() if 3306 in way.ports]
        assert [one.labels for one in sources_ if isinstance(one, Pods)] == [
            {"app": "ml-pipeline"},
            {"component": "metadata-grpc-server"},
        ]

    def test_the_gateway_reaches_the_user_interface_and_nothing_behind_it(self):
        (way,) = [way for way in self.ways() if way.source == GATEWAY]
        assert isinstance(way.target, Pods)
        assert way.target.labels == {"app": "ml-pipeline-ui"}

    def test_steps_reach_experiments_models_and_vectors(self):
        targets = [way.target for way in self.ways() if way.source == self.STEPS]
        for wanted in (MLFLOW, LITELLM, MILVUS):
            assert wanted in targets

    def test_steps_fetch_from_the_internet_only_where_the_settings_let_them(self):
        def fetching(ways: Iterable[Opening]) -> list[Opening]:
            return [way for way in ways if way.target == "internet"]

        assert [way.source for way in fetching(self.ways())] == [self.STEPS]
        assert not fetching(self.ways(internet=False))


class TestRoom:
    def test_steps_get_no_gpu_in_the_namespace_of_pipelines(self):
        (spec,) = quota_specs(allowance(PipelineSettings())).values()
        assert spec["hard"][f"requests.{GPU}"] == "0"

    def test_the_database_takes_no_volume_from_steps(self):
        small, large = (
            allowance(PipelineSettings.model_validate({"databaseStorageGib": size, "steps": {"storageGib": 0}}))
            for size in (10, 30)
        )
        assert (small.volumes_gib, large.volumes_gib) == (10, 30)
        assert small.disk_gib == large.disk_gib == 0

    def test_one_replica_where_nothing_is_highly_available(self, recorded: Recorder):
        installed(recorded, {"highlyAvailable": False})
        spec = recorded.one(APPLICATION).inputs["spec"]
        body = patched(spec, "Deployment", "ml-pipeline")["spec"]
        assert body["replicas"] == 1
        assert "topologySpreadConstraints" not in body["template"]["spec"]
        assert not recorded.of("kubernetes:policy/v1:PodDisruptionBudget")

    def test_pods_of_the_server_are_replaced_when_the_configuration_changes(self, monkeypatch: pytest.MonkeyPatch):
        def digest() -> str:
            spec = decide(lambda place: application_spec(arguments(place)))
            template = patched(spec, "Deployment", "ml-pipeline")["spec"]["template"]
            return template["metadata"]["annotations"]["llmops/configuration"]

        before = digest()
        assert before == digest()
        monkeypatch.setattr(
            "components.platform.pipelines_manifests.installation", lambda: {**installation(), "LOG_LEVEL": "debug"}
        )
        assert digest() != before

    def test_the_volume_of_the_database_stays_when_the_database_goes(self, recorded: Recorder):
        installed(recorded)
        policy = recorded.one("kubernetes:apps/v1:StatefulSet").inputs["spec"]["persistentVolumeClaimRetentionPolicy"]
        assert set(policy.values()) == {"Retain"}

    def test_an_object_store_without_its_protocol_is_refused_at_preview(self):
        def program() -> None:
            here = site({})
            foundation = here.foundation
            elsewhere = replace(foundation, objects=replace(foundation.objects, protocol="gcs"))
            place = replace(here, foundation=elsewhere)
            with pytest.raises(pulumi.RunError, match=r"platform\.pipelines\.enabled.*gcs"):
                Pipelines("pipelines", PipelinesArgs(site=place, secrets=(), gitops=(), workflows=()), options(place))

        run(program)

    def test_a_volume_that_its_database_does_not_fit_is_refused(self):
        with pytest.raises(ValidationError, match="databaseStorageGib"):
            PipelineSettings.model_validate({"databaseStorageGib": 1})


class TestRules:
    """What the settings of several systems must have in common; each is refused at preview, with its path."""

    @staticmethod
    def problems(settings: Mapping[str, Any], teams: Sequence[str] = ()) -> dict[str, str]:
        platform = PlatformSettings.model_validate(settings)
        return dict((*rules.workflows(platform), *rules.pipelines(platform, teams), *rules.training(platform)))

    def test_the_defaults_fit(self):
        assert self.problems({}) == {}

    @pytest.mark.parametrize(
        ("settings", "path", "words"),
        [
            ({"workflows": {"enabled": False}}, "platform.pipelines.enabled", "platform.workflows.enabled"),
            ({"delivery": {"enabled": False}}, "platform.pipelines.enabled", "platform.delivery.enabled"),
            ({"delivery": {"enabled": False}}, "platform.training.pytorchJobs", "platform.delivery.enabled"),
            ({"secrets": {"enabled": False}}, "platform.workflows.enabled", "its archive"),
            ({"scheduling": {"enabled": False}}, "platform.training.enabled", "platform.scheduling.enabled"),
            ({"workflows": {"host": "argo.elsewhere.net"}}, "platform.workflows.host", "llm.internal"),
        ],
    )
    def test_what_is_missing_is_named(self, settings: Mapping[str, Any], path: str, words: str):
        assert words in self.problems(settings)[path]

    def test_pipelines_are_published_only_where_the_gateway_checks_who_calls(self):
        """Their API has no sign-in of its own; a key of the model gateway is checked by the model gateway alone."""
        host = {"pipelines": {"host": "pipelines.llm.internal"}}
        assert "jwt" in self.problems(host)["platform.pipelines.host"]

        issuer = {"issuer": "https://id.test", "jwksUri": "https://id.test/keys", "audiences": ["llm"]}
        signed = {"gateway": {"authentication": {"mode": "jwt", "jwt": issuer}}}
        assert self.problems({**host, **signed}) == {}

    def test_what_is_switched_off_needs_nothing(self):
        off = {name: {"enabled": False} for name in ("workflows", "pipelines", "training")}
        assert self.problems({**off, "secrets": {"enabled": False}, "scheduling": {"enabled": False}}) == {}
