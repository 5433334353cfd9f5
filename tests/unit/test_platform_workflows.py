"""Argo Workflows: steps run confined and with their own namespace's artifacts; the server may read, and no more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import pulumi
import pytest
from aws_stack import run
from conftest import Recorder
from platform_site import Identities, options, site
from pydantic import ValidationError

from components.contract import ObjectGrant
from components.platform.databases import DatabaseAccess
from components.platform.openings import Pods
from components.platform.site import Site
from components.platform.workflows import (
    ENTRY,
    EXECUTOR,
    KEY_FORMAT,
    OPENINGS,
    Workflows,
    WorkflowsArgs,
    artifact_repository,
    defaults,
    executors,
    persistence,
)
from components.settings.platform.workflows import WorkflowSettings
from components.settings.teams import TeamSettings

pytestmark = pytest.mark.unit

RBAC = "kubernetes:rbac.authorization.k8s.io/v1"
TEAMS = (TeamSettings(name="nlp"), TeamSettings(name="vision"))
Decided = TypeVar("Decided")


def decide(ask: Callable[[Site], Decided], settings: Mapping[str, Any] | None = None) -> Decided:
    """What a deciding function says of a site."""
    found: list[Decided] = []
    run(lambda: found.append(ask(site(settings, teams=TEAMS))))
    return found[0]


def installed(recorded: Recorder, settings: Mapping[str, Any] | None = None) -> Identities:
    identities = Identities()

    def program() -> None:
        here = site(settings, teams=TEAMS, identities=identities)
        arguments = WorkflowsArgs(site=here, databases=(), team_namespaces={"team-nlp": ()})
        Workflows("workflows", arguments, options(here))

    recorded.run(program)
    return identities


def chart(recorded: Recorder) -> dict[str, Any]:
    return recorded.one("kubernetes:helm.sh/v3:Release").inputs["values"]


class TestSteps:
    def test_each_namespace_writes_artifacts_below_its_own_name_and_nowhere_else(self, recorded: Recorder):
        granted = installed(recorded).granted
        assert {one.namespace for one in granted} == {"mlops-data", "mlops-training", "team-nlp"}
        for one in granted:
            prefixes = [
                grant.prefix for grant in one.grants if isinstance(grant, ObjectGrant) and grant.bucket == "pipelines"
            ]
            assert prefixes == [f"{one.namespace}/"]
            assert KEY_FORMAT.replace("{{workflow.namespace}}", one.namespace).startswith(prefixes[0])

    def test_a_team_reaches_no_data_of_the_platform(self):
        grants, _ = decide(lambda place: executors(place, {"team-nlp": ()}))["team-nlp"]
        buckets = {grant.bucket for grant in grants if isinstance(grant, ObjectGrant)}
        assert not buckets & {"data", "models", "backups", "logs", "vectors"}

    def test_a_team_without_a_namespace_gets_no_account(self):
        assert "team-vision" not in decide(lambda place: executors(place, {"team-nlp": ()}))

    def test_what_reports_a_steps_result_may_do_nothing_else(self, recorded: Recorder):
        installed(recorded)
        for name in ("workflows-mlops-data", "workflows-mlops-training", "workflows-team-nlp"):
            (rule,) = recorded.one(f"{RBAC}:Role", name).inputs["rules"]
            assert rule == {
                "apiGroups": ["argoproj.io"],
                "resources": ["workflowtaskresults"],
                "verbs": ["create", "patch"],
            }

    def test_every_container_of_a_step_is_confined(self, recorded: Recorder):
        """Else the namespaces would refuse its pod."""
        installed(recorded)
        for container in (chart(recorded)["mainContainer"], chart(recorded)["executor"]):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert context["runAsNonRoot"] is True
        pod = chart(recorded)["controller"]["workflowDefaults"]["spec"]["securityContext"]
        assert pod["runAsNonRoot"] is True
        assert pod["runAsUser"] != 0
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}

    def test_a_step_that_says_nothing_gets_the_account_of_its_namespace_and_waits_behind_others(self):
        spec = defaults(keep_hours=2)
        assert spec["serviceAccountName"] == EXECUTOR
        assert spec["podPriorityClassName"] == "batch"
        assert spec["ttlStrategy"] == {"secondsAfterCompletion": 7200}

    def test_pods_of_workflows_report_to_the_api_server_and_other_training_pods_need_not(self):
        (way,) = [way for way in OPENINGS if isinstance(way.source, Pods) and way.source.namespace == "mlops-training"]
        assert isinstance(way.source, Pods)
        assert way.source.labels


class TestServer:
    def test_the_charts_role_with_every_secret_of_the_cluster_is_not_taken(self, recorded: Recorder):
        installed(recorded)
        assert chart(recorded)["server"]["rbac"] == {"create": False}
        (wide,) = recorded.of(f"{RBAC}:ClusterRole").values()
        for rule in wide.inputs["rules"]:
            assert rule["apiGroups"] == ["argoproj.io"]
            assert set(rule["verbs"]) <= {"get", "list", "watch"}

    def test_it_reads_one_secret_the_one_of_the_archive(self, recorded: Recorder):
        installed(recorded)
        rules = recorded.one(f"{RBAC}:Role", "workflows-server").inputs["rules"]
        (secrets,) = [rule for rule in rules if "secrets" in rule["resources"]]
        assert secrets["resourceNames"] == [ENTRY]
        assert secrets["verbs"] == ["get"]

    def test_people_may_do_what_their_own_token_may(self, recorded: Recorder):
        installed(recorded)
        assert chart(recorded)["server"]["authModes"] == ["client"]


class TestArchive:
    def kept(self, days: int = 90) -> dict[str, Any]:
        def ask(_: Site) -> dict[str, Any]:
            access = DatabaseAccess(
                host=pulumi.Output.from_input("database.test"),
                port=pulumi.Output.from_input(5432),
                name="argo",
                entry=ENTRY,
                secret_name=ENTRY,
                ca_secret_name=f"{ENTRY}-ca",
                ready=(),
            )
            return persistence(access, archive_days=days)

        return decide(ask)

    def test_the_servers_certificate_is_verified_with_its_name(self, recorded: Recorder):
        assert self.kept()["postgresql"]["sslMode"] == "verify-full"
        installed(recorded)
        for part in ("controller", "server"):
            (variable,) = chart(recorded)[part]["extraEnv"]
            (mount,) = chart(recorded)[part]["volumeMounts"]
            assert variable["name"] == "PGSSLROOTCERT"
            assert variable["value"].startswith(f"{mount['mountPath']}/")
            assert {one["name"] for one in chart(recorded)[part]["volumes"]} == {mount["name"]}

    def test_all_replicas_together_stay_below_the_connections_of_their_user(self):
        """Two controllers and two servers, and one more of each during a roll-out; the user has forty."""
        assert 6 * self.kept()["connectionPool"]["maxOpenConns"] <= 40

    def test_days_are_counted_as_the_controller_reads_them(self):
        assert self.kept(days=30)["archiveTTL"] == "30d"

    def test_credentials_are_names_of_secrets(self):
        login = self.kept()["postgresql"]
        assert login["passwordSecret"] == {"name": ENTRY, "key": "password"}
        assert "password" not in login


class TestArtifacts:
    def test_they_need_no_keys_on_the_s3_protocol(self):
        repository = decide(artifact_repository)
        assert repository["s3"]["useSDKCreds"] is True
        assert repository["s3"]["insecure"] is False
        assert not {key for key in repository["s3"] if key.endswith("Secret")}

    def test_logs_are_kept_there(self):
        assert decide(artifact_repository)["archiveLogs"] is True


def test_a_single_replica_is_not_spread_and_has_no_disruption_budget(recorded: Recorder):
    installed(recorded, {"highlyAvailable": False})
    for part in ("controller", "server"):
        assert chart(recorded)[part]["replicas"] == 1
        assert chart(recorded)[part]["pdb"]["enabled"] is False
        assert "topologySpreadConstraints" not in chart(recorded)[part]


def test_no_job_fetches_definitions_from_the_internet(recorded: Recorder):
    installed(recorded)
    assert chart(recorded)["crds"]["full"] is False


def test_a_namespace_may_not_run_more_than_all_together():
    with pytest.raises(ValidationError, match="namespaceParallelism"):
        WorkflowSettings.model_validate({"parallelism": 5, "namespaceParallelism": 6})


def test_the_release_waits_for_its_database_and_its_rights(recorded: Recorder):
    installed(recorded)
    waits = recorded.one("kubernetes:helm.sh/v3:Release").depends_on
    assert "workflows-server" in waits
    assert "workflows-database" in waits
