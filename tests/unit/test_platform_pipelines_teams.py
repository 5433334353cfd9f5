"""Kubeflow Pipelines for several teams: who gets which rights and ways, and what is left out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import pytest
from conftest import Recorder

from components.contract import ObjectGrant
from components.platform.kustomize import application_spec
from components.platform.openings import GATEWAY, Opening, Pods
from components.platform.pipelines import openings, own_sign_in, published
from components.platform.pipelines_manifests import RUNNER, SHARED_DEFINITIONS, server_configuration
from components.platform.pipelines_teams import USER
from components.settings.platform import PlatformSettings, rules
from components.settings.platform.pipelines import PipelineSettings
from components.settings.teams import TeamSettings
from tests.unit.pipelines_site import APPLICATION, arguments, decide, environment, installed

pytestmark = pytest.mark.unit

TEAMS: Final = (TeamSettings(name="nlp"), TeamSettings(name="search"))
SEVERAL: Final = {"pipelines": {"multiUser": True}}
RBAC: Final = "kubernetes:rbac.authorization.k8s.io/v1"
API: Final = "pipelines.kubeflow.org"


class TestSignIn:
    def test_the_server_asks_who_calls_and_believes_no_header(self):
        variables = environment(decide(lambda place: application_spec(arguments(place)), SEVERAL), "ml-pipeline")
        assert variables["MULTIUSER"]["value"] == "true"
        assert variables["REQUIRE_NAMESPACE_FOR_PIPELINES"]["value"] == "true"
        name = variables["KUBEFLOW_USERID_HEADER"]["value"]
        assert set(name) & set(" ():"), "a name that a header can have"

    def test_a_single_user_is_asked_nothing(self):
        variables = environment(decide(lambda place: application_spec(arguments(place))), "ml-pipeline")
        assert "MULTIUSER" not in variables

    def test_each_group_makes_tokens_of_its_own_namespaces_account(self, recorded: Recorder):
        installed(recorded, SEVERAL, TEAMS)
        people = {
            binding.inputs["metadata"]["namespace"]: binding.inputs["subjects"]
            for binding in recorded.of(f"{RBAC}:RoleBinding").values()
            if binding.inputs["metadata"]["name"] == "pipelines-sign-in"
        }
        assert {namespace: [one["name"] for one in subjects] for namespace, subjects in people.items()} == {
            "kubeflow": ["llmops:ml-engineers"],
            "team-nlp": ["llmops:team-nlp"],
            "team-search": ["llmops:team-search"],
        }
        for role in recorded.of(f"{RBAC}:Role").values():
            if role.inputs["metadata"]["name"] == "pipelines-sign-in":
                (rule,) = role.inputs["rules"]
                assert (rule["resources"], rule["resourceNames"]) == (["serviceaccounts/token"], [USER])

    def test_the_account_that_signs_in_has_words_of_the_api_alone(self, recorded: Recorder):
        installed(recorded, SEVERAL, TEAMS)
        roles = [
            role.inputs
            for role in recorded.of(f"{RBAC}:Role").values()
            if role.inputs["metadata"]["name"] == "pipelines-api"
        ]
        assert len(roles) == 3
        assert {group for role in roles for rule in role["rules"] for group in rule["apiGroups"]} == {API}


class TestRights:
    def test_nobody_reads_secrets_or_has_a_wildcard(self, recorded: Recorder):
        installed(recorded, SEVERAL, TEAMS)
        kinds = (recorded.of(f"{RBAC}:{kind}").values() for kind in ("Role", "ClusterRole"))
        rules_ = [rule for roles in kinds for role in roles for rule in role.inputs["rules"]]
        for rule in rules_:
            assert "*" not in {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
            assert "secrets" not in rule["resources"]

    def test_across_namespaces_there_is_only_asking_watching_and_reporting(self, recorded: Recorder):
        installed(recorded, SEVERAL, TEAMS)
        roles = [role for name, role in recorded.of(f"{RBAC}:ClusterRole").items() if "-teams-" in name]
        for role in roles:
            for rule in role.inputs["rules"]:
                reviews = set(rule["resources"]) <= {"tokenreviews", "subjectaccessreviews"}
                words = rule["apiGroups"] == [API]
                assert reviews or words or set(rule["verbs"]) <= {"get", "list", "watch"}
        assert len(roles) == 3

    def test_the_server_reads_no_logs(self, recorded: Recorder):
        """Its own path for them asks nobody who calls."""
        installed(recorded, SEVERAL, TEAMS)
        roles = [
            role for role in recorded.of(f"{RBAC}:Role").values() if role.inputs["metadata"]["name"] == "ml-pipeline"
        ]
        assert {role.inputs["metadata"]["namespace"] for role in roles} == {"kubeflow", "team-nlp", "team-search"}
        assert not [rule for role in roles for rule in role.inputs["rules"] if "pods/log" in rule["resources"]]

    def test_steps_of_a_team_reach_its_part_of_the_bucket_and_the_server_definitions_alone(self, recorded: Recorder):
        granted = installed(recorded, SEVERAL, TEAMS).granted
        parts = {
            (one.namespace, one.service_account): [
                grant.prefix for grant in one.grants if isinstance(grant, ObjectGrant) and grant.bucket == "pipelines"
            ]
            for one in granted
        }
        assert parts == {
            ("kubeflow", "ml-pipeline"): [SHARED_DEFINITIONS],
            ("kubeflow", RUNNER): ["kubeflow/", "releases/"],
            ("team-nlp", RUNNER): ["team-nlp/"],
            ("team-search", RUNNER): ["team-search/"],
        }
        server = json.loads(server_configuration(multi_user=True)["config.json"])
        assert f"{server['ObjectStoreConfig']['PipelinePath']}/" == SHARED_DEFINITIONS

    def test_each_team_is_told_where_its_artifacts_go(self, recorded: Recorder):
        installed(recorded, SEVERAL, TEAMS)
        roots = {
            one.inputs["metadata"]["namespace"]: one.inputs["data"]["defaultPipelineRoot"]
            for one in recorded.of("kubernetes:core/v1:ConfigMap").values()
            if one.inputs["metadata"]["name"] == "kfp-launcher"
        }
        assert roots == {
            space: f"s3://pipelines/{space}/artifacts" for space in ("kubeflow", "team-nlp", "team-search")
        }

    @pytest.mark.parametrize(("host", "doors"), [("", 2), ("kfp.llm.internal", 0)])
    def test_teams_forward_a_port_only_where_the_gateway_leads_to_no_api(
        self, recorded: Recorder, host: str, doors: int
    ):
        """Who may forward a port reaches every pod of the namespace, the store of lineage too."""
        installed(recorded, {"pipelines": {"multiUser": True, "host": host}}, TEAMS)
        found = [
            role.inputs["metadata"]["name"]
            for role in recorded.of(f"{RBAC}:Role").values()
            if role.inputs["metadata"]["namespace"] == "kubeflow"
            and any("pods/portforward" in rule["resources"] for rule in role.inputs["rules"])
        ]
        assert len([name for name in found if name.startswith("pipelines-team-")]) == doors

    def test_it_is_applied_after_all_of_this(self, recorded: Recorder):
        installed(recorded, SEVERAL, TEAMS)
        waits = recorded.one(APPLICATION).depends_on
        assert {"pipelines-teams-team-nlp-runner", "pipelines-teams-ml-pipeline"} <= waits


class TestWays:
    def ways(self) -> tuple[Opening, ...]:
        return decide(openings, SEVERAL, TEAMS)

    def test_a_team_reaches_the_api_and_its_steps_lineage_too(self):
        found = {
            (tuple(way.source.labels), way.ports)
            for way in self.ways()
            if isinstance(way.source, Pods) and way.source.namespace == "team-nlp"
        }
        assert found == {((), (8887, 8888)), (("pipelines.kubeflow.org/v2_component",), (8080,))}

    def test_the_gateway_reaches_the_api(self):
        (way,) = [way for way in self.ways() if way.source == GATEWAY]
        assert isinstance(way.target, Pods)
        assert (way.target.labels, way.ports) == ({"app": "ml-pipeline"}, (8888,))

    def test_nothing_is_open_for_what_is_left_out(self):
        ends = [end for way in self.ways() for end in (way.source, way.target) if isinstance(end, Pods)]
        assert not [end for end in ends if set(end.labels.values()) & {"ml-pipeline-ui", "metadata-envoy"}]


class TestPublished:
    HOST: Final = {"pipelines": {"multiUser": True, "host": "pipelines.llm.internal"}}

    @staticmethod
    def problems(settings: Mapping[str, Any], *teams: str) -> dict[str, str]:
        return dict(rules.pipelines(PlatformSettings.model_validate(settings), teams))

    def test_only_what_asks_who_calls(self):
        rule = published(PipelineSettings.model_validate({"multiUser": True}))
        assert (rule.backend.service, rule.prefix) == ("ml-pipeline", "/apis/v2beta1")
        assert published(PipelineSettings()).prefix == "/"

    def test_the_gateway_leaves_sign_in_to_the_api(self):
        for several, host, left in ((True, "a.b", ("a.b",)), (True, "", ()), (False, "a.b", ())):
            assert own_sign_in(PipelineSettings.model_validate({"multiUser": several, "host": host})) == left

    def test_no_sign_in_at_the_gateway_is_needed(self):
        assert self.problems(self.HOST, "nlp") == {}
        single = {"pipelines": {"host": "pipelines.llm.internal"}}
        assert "multiUser" in self.problems(single, "nlp")["platform.pipelines.host"]

    def test_without_teams_there_is_nobody_to_keep_apart(self):
        assert "teams" in self.problems(SEVERAL)["platform.pipelines.multiUser"]
