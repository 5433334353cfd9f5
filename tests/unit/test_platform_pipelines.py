"""Kubeflow Pipelines: what comes from Git holds no credential, and every account may do less than what is published."""

from __future__ import annotations

import json

import pytest
import yaml
from conftest import Recorder
from platform_site import options, site

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
from components.platform.pipelines_database import USER, start_script
from components.platform.pipelines_manifests import (
    DATABASES,
    DEFINITIONS,
    installation,
    providers,
    server_configuration,
)
from components.versions import TREES
from tests.unit.pipelines_site import APPLICATION, PROJECT, arguments, decide, environment, installed, patched

pytestmark = pytest.mark.unit


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
        assert "AccessKey" not in server_configuration(multi_user=False)["config.json"]

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
