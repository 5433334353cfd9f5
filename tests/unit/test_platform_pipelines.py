"""Kubeflow Pipelines: what comes from Git holds no credential, and every account may do less than what is published."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import pulumi
import pytest
import yaml
from aws_stack import run
from conftest import Recorder
from platform_site import Identities, options, site
from pydantic import ValidationError

from components.contract import ObjectGrant
from components.credentials import CATALOGUE
from components.platform.kustomize import (
    Kustomized,
    KustomizedArgs,
    Source,
    Target,
    application_spec,
    definition,
    deployment,
    project_spec,
    removed,
)
from components.platform.openings import GATEWAY, LITELLM, MILVUS, MLFLOW, Opening, Pods
from components.platform.pipelines import (
    Pipelines,
    PipelinesArgs,
    allowance,
    openings,
)
from components.platform.pipelines_database import USER, start_script
from components.platform.pipelines_manifests import (
    DATABASES,
    DEFINITIONS,
    KINDS,
    PREFIX,
    RUNNER,
    installation,
    providers,
    server_configuration,
    sources,
)
from components.platform.quotas import GPU, quota_specs
from components.platform.site import Site
from components.platform.workflows import KEY_FORMAT
from components.settings.platform import PlatformSettings, rules
from components.settings.platform.pipelines import PipelineSettings
from components.versions import TREES

pytestmark = pytest.mark.unit

APPLICATION = "kubernetes:argoproj.io/v1alpha1:Application"
PROJECT = "kubernetes:argoproj.io/v1alpha1:AppProject"
Decided = TypeVar("Decided")


def decide(ask: Callable[[Site], Decided], settings: Mapping[str, Any] | None = None) -> Decided:
    """What a deciding function says of a site."""
    found: list[Decided] = []
    run(lambda: found.append(ask(site(settings))))
    return found[0]


def installed(recorded: Recorder, settings: Mapping[str, Any] | None = None) -> Identities:
    identities = Identities()

    def program() -> None:
        here = site(settings, identities=identities)
        Pipelines("pipelines", PipelinesArgs(site=here, secrets=(), gitops=(), workflows=()), options(here))

    recorded.run(program)
    return identities


def arguments(place: Site) -> KustomizedArgs:
    return KustomizedArgs(
        site=place,
        tree="kubeflow-pipelines",
        namespace="kubeflow",
        sources=sources(place),
        kinds=KINDS,
        definitions=DEFINITIONS,
        after=(),
    )


def patched(spec: Mapping[str, Any], kind: str, name: str) -> dict[str, Any]:
    """The body of the one patch for an object."""
    found = [
        yaml.safe_load(patch["patch"])
        for source in spec["sources"]
        for patch in source["kustomize"]["patches"]
        if patch["target"]["kind"] == kind and patch["target"].get("name") == name
    ]
    assert len(found) == 1
    return found[0]


def environment(spec: Mapping[str, Any], name: str) -> dict[str, dict[str, Any]]:
    (container,) = patched(spec, "Deployment", name)["spec"]["template"]["spec"]["containers"]
    return {one["name"]: one for one in container["env"]}


class TestTheApplication:
    def test_all_of_it_is_known_at_preview(self):
        """So that what a new version or a setting changes is seen before it is applied."""
        json.dumps(decide(lambda place: application_spec(arguments(place))))

    def test_it_is_pinned_to_a_commit_and_waited_for_at_that_commit(self, recorded: Recorder):
        installed(recorded)
        application = recorded.one(APPLICATION).inputs
        commit = TREES["kubeflow-pipelines"].commit

        assert {source["targetRevision"] for source in application["spec"]["sources"]} == {commit}
        awaited = json.loads(application["metadata"]["annotations"]["pulumi.com/waitFor"])
        assert f"jsonpath={{.status.sync.revisions[0]}}={commit}" in awaited
        assert any(one.endswith("=Healthy") for one in awaited)

    def test_its_objects_go_before_it_does(self, recorded: Recorder):
        installed(recorded)
        assert recorded.one(APPLICATION).inputs["metadata"]["finalizers"]

    def test_it_comes_after_everything_that_its_pods_read_and_before_nothing_of_that(self, recorded: Recorder):
        installed(recorded)
        waits = recorded.one(APPLICATION).depends_on
        read = {"pipelines-pipeline-install-config", "pipelines-kfp-launcher", "pipelines-ml-pipeline-config"}
        accounts = {
            one.name for one in recorded.of("kubernetes:core/v1:ServiceAccount").values() if "pipelines-" in one.name
        }
        assert read | accounts | {"pipelines-database-server", "pipelines-database-login"} <= waits

    def test_its_project_lets_nothing_through_but_pods_services_configuration_and_its_definitions(
        self, recorded: Recorder
    ):
        installed(recorded)
        spec = recorded.one(PROJECT).inputs["spec"]
        kinds = {one["kind"] for one in spec["namespaceResourceWhitelist"]}

        assert spec["sourceRepos"] == [TREES["kubeflow-pipelines"].repository]
        assert {one["namespace"] for one in spec["destinations"]} == {"kubeflow"}
        assert not kinds & {"Secret", "ServiceAccount", "Role", "RoleBinding", "NetworkPolicy", "ResourceQuota"}
        assert {one["kind"] for one in spec["clusterResourceWhitelist"]} == {"CustomResourceDefinition"}

    def test_argo_cd_may_write_these_definitions_and_no_others(self, recorded: Recorder):
        installed(recorded)
        (role,) = recorded.of("kubernetes:rbac.authorization.k8s.io/v1:ClusterRole").values()
        for rule in role.inputs["rules"]:
            assert rule["resources"] == ["customresourcedefinitions"]
            assert set(rule["resourceNames"]) == set(DEFINITIONS)

    def test_without_definitions_there_is_no_right_to_write_any(self, recorded: Recorder):
        def program() -> None:
            here = site({})
            args = KustomizedArgs(
                site=here,
                tree="training-operator",
                namespace="kubeflow",
                sources=(),
                kinds=(),
                definitions=(),
                after=(),
            )
            Kustomized("plain", args, options(here))
            assert project_spec(args)["clusterResourceWhitelist"] == []

        recorded.run(program)
        assert not recorded.of("kubernetes:rbac.authorization.k8s.io/v1:ClusterRole")


class TestPatches:
    def test_a_name_is_taken_literally(self):
        """Kustomize reads it as a regular expression, in which a dot is anything."""
        assert Target(kind="CustomResourceDefinition", name="a.b-c").selector["name"] == r"a\.b-c"

    def test_without_a_name_every_object_of_the_kind_is_left_out(self):
        (patch,) = removed("Secret")
        assert "name" not in patch.manifest["target"]
        assert yaml.safe_load(patch.manifest["patch"])["$patch"] == "delete"

    def test_a_wave_waits_for_the_lower_ones(self):
        body = yaml.safe_load(deployment("server", wave=3, spec={}).manifest["patch"])
        assert body["metadata"]["annotations"] == {"argocd.argoproj.io/sync-wave": "3"}
        assert body["metadata"]["name"] == "server"

    def test_a_definition_comes_first_and_is_never_pruned(self):
        annotations = yaml.safe_load(definition("jobs.example.org").manifest["patch"])["metadata"]["annotations"]
        assert int(annotations["argocd.argoproj.io/sync-wave"]) < 0
        assert annotations["argocd.argoproj.io/sync-options"] == "Prune=false"

    def test_a_source_is_named_by_its_folder(self):
        spec = decide(
            lambda place: application_spec(
                KustomizedArgs(
                    site=place,
                    tree="training-operator",
                    namespace="kubeflow",
                    sources=(Source(path="somewhere", patches=()),),
                    kinds=(),
                    definitions=(),
                    after=(),
                )
            )
        )
        assert [source["path"] for source in spec["sources"]] == ["somewhere"]


class TestCredentials:
    def test_none_is_in_what_comes_from_git(self):
        whole = json.dumps(decide(lambda place: application_spec(arguments(place))))
        assert "minio123" not in whole
        assert "secretKeyRef" not in whole  # what is published reads the database's own Secret already

    def test_the_servers_keys_of_the_object_store_are_empty_and_not_absent(self):
        """Absent, it would take the keys that are built into its image instead of its own identity."""
        found = environment(decide(lambda place: application_spec(arguments(place))), "ml-pipeline")
        for name in ("OBJECTSTORECONFIG_ACCESSKEY", "OBJECTSTORECONFIG_SECRETACCESSKEY"):
            assert found[name]["value"] == ""
            assert found[name]["valueFrom"] is None

    def test_the_built_in_configuration_with_its_keys_is_replaced(self):
        spec = decide(lambda place: application_spec(arguments(place)))
        pod = patched(spec, "Deployment", "ml-pipeline")["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert {one["mountPath"] for one in container["volumeMounts"]} == {"/config"}
        assert "AccessKey" not in server_configuration()["config.json"]

    def test_steps_take_their_own_identity(self):
        store = json.loads(decide(lambda place: providers(place.foundation.objects)))["s3"]["default"]
        assert store["credentials"] == {"fromEnv": True}
        assert "secretRef" not in store["credentials"]

    def test_the_databases_password_is_read_from_a_file_and_root_stays_inside_the_pod(self, recorded: Recorder):
        installed(recorded)
        server = recorded.one("kubernetes:apps/v1:StatefulSet").inputs
        (container,) = server["spec"]["template"]["spec"]["containers"]
        told = {one["name"]: one["value"] for one in container["env"]}

        assert "MYSQL_PASSWORD" not in told
        assert told["MYSQL_PASSWORD_FILE"].startswith("/run/secrets/")
        assert told["MYSQL_ROOT_HOST"] == "localhost"
        assert told["MYSQL_USER"] == USER

    def test_the_user_of_the_catalogue_is_the_one_that_gets_the_rights(self):
        (entry,) = [one for one in CATALOGUE if one.purpose == "pipelines-database"]
        assert entry.fixed["username"] == USER

    def test_the_user_may_do_everything_in_its_two_databases_and_nothing_else(self):
        granted = [line for line in start_script().splitlines() if line.startswith("GRANT")]
        assert granted == [f"GRANT ALL PRIVILEGES ON `{name}`.* TO 'pipelines'@'%';" for name in DATABASES]
        assert {installation()["pipelineDb"], installation()["mlmdDb"]} == set(DATABASES)


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
        definitions = json.loads(server_configuration()["config.json"])["ObjectStoreConfig"]["PipelinePath"]

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
    def problems(settings: Mapping[str, Any]) -> dict[str, str]:
        platform = PlatformSettings.model_validate(settings)
        return dict(found for rule in (rules.workflows, rules.pipelines, rules.training) for found in rule(platform))

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
