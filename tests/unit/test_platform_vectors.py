"""Milvus: where its data is, who may speak to it, and how it is backed up."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pulumi
import pytest
from conftest import Recorder
from platform_site import Identities, options, site
from pydantic import ValidationError

from components.contract import ObjectGrant
from components.platform.mesh import AMBIENT
from components.platform.namespaces import ROOMS
from components.platform.openings import MILVUS
from components.platform.vectors import Vectors, VectorsArgs, guards
from components.platform.vectors_backups import BACKUP_SCRIPT, PREFIX, RESTORE_SCRIPT
from components.platform.vectors_values import ACCOUNT, METADATA_ACCOUNT, RELEASE
from components.settings.platform.vectors import VectorSettings

pytestmark = pytest.mark.unit

CHART = "kubernetes:helm.sh/v3:Release"
CRONJOB = "kubernetes:batch/v1:CronJob"
BUDGET = "kubernetes:policy/v1:PodDisruptionBudget"
POLICY = "kubernetes:security.istio.io/v1:AuthorizationPolicy"


def declared(recorded: Recorder, identities: Identities | None = None, **settings: Any) -> dict[str, Any]:
    def program() -> None:
        place = site(settings, identities=identities)
        Vectors("vectors", VectorsArgs(site=place, secrets_ready=(), mesh_ready=()), options(place))

    recorded.run(program)
    return recorded.one(CHART).inputs["values"]


def container(recorded: Recorder, job: str) -> dict[str, Any]:
    (found,) = recorded.one(CRONJOB, job).inputs["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    return found


def test_vectors_lie_in_the_foundations_object_store_and_no_credential_is_in_the_values(recorded: Recorder):
    asked = Identities()
    chosen = declared(recorded, asked)

    own = next(one for one in asked.granted if one.service_account == ACCOUNT)
    assert own.grants == (ObjectGrant(bucket="vectors", access="read-write"),)
    assert chosen["externalS3"]["bucketName"] == "vectors"
    assert chosen["externalS3"]["useIAM"] is True
    assert chosen["externalS3"]["useSSL"] is True
    assert not {"accessKey", "secretKey"} & set(chosen["externalS3"])
    assert chosen["serviceAccount"]["name"] == own.service_account
    assert not chosen["minio"]["enabled"]
    assert not chosen["pulsarv3"]["enabled"]


@pytest.mark.parametrize(("several", "founder"), [(True, "mixCoordinator"), (False, "standalone")])
def test_the_administrators_password_comes_from_a_secret_before_anybody_can_sign_in(
    recorded: Recorder, several: bool, founder: str
):
    chosen = declared(recorded, highlyAvailable=several)

    (variable,) = chosen[founder]["extraEnv"]
    assert variable["name"] == "COMMON_SECURITY_DEFAULTROOTPASSWORD"
    assert variable["valueFrom"]["secretKeyRef"] == {"name": "milvus-root", "key": "password"}
    configuration = json.loads(chosen["extraConfigFiles"]["user.yaml"])
    assert configuration["common"]["security"] == {"authorizationEnabled": True}
    assert "vectors-root" in recorded.one(CHART).depends_on


def test_production_has_every_part_twice_and_a_budget_for_each(recorded: Recorder):
    chosen = declared(recorded)

    assert chosen["cluster"] == {"enabled": True}
    parts = ("proxy", "mixCoordinator", "queryNode", "streamingNode", "dataNode")
    assert all(chosen[part]["replicas"] == 2 for part in parts)
    assert all(chosen[part]["topologySpreadConstraints"] for part in parts)
    assert chosen["mixCoordinator"]["activeStandby"] == {"enabled": True}, "two that both led would be worse than one"
    assert (chosen["etcd"]["replicaCount"], chosen["etcd"]["pdb"]) == (3, {"create": True})
    assert chosen["etcd"]["podAntiAffinityPreset"] == "hard", "a lost node must not take the majority"
    budgets = [one.inputs["spec"]["selector"]["matchLabels"]["component"] for one in recorded.of(BUDGET).values()]
    assert sorted(budgets) == ["datanode", "mixcoord", "proxy", "querynode", "streamingnode"]


def test_development_has_one_process_that_keeps_nothing_on_its_node(recorded: Recorder):
    chosen = declared(recorded, highlyAvailable=False)

    assert chosen["cluster"] == {"enabled": False}
    assert chosen["standalone"]["replicas"] == 1
    assert chosen["standalone"]["persistence"] == {"enabled": False}
    assert chosen["etcd"]["replicaCount"] == 1
    assert chosen["etcd"]["persistence"]["size"] == "10Gi", "metadata is on a volume"
    assert not recorded.of(BUDGET), "a budget for one pod would only hold up its node"


def test_the_mode_can_be_chosen_apart_from_availability(recorded: Recorder):
    assert declared(recorded, vectors={"mode": "standalone"})["cluster"] == {"enabled": False}


@pytest.mark.parametrize("several", [True, False])
def test_milvus_reckons_with_the_memory_that_is_kept_for_it(recorded: Recorder, several: bool):
    chosen = declared(recorded, highlyAvailable=several)

    for part in ("queryNode", "dataNode", "streamingNode") if several else ("standalone",):
        resources = chosen[part]["resources"]
        assert resources["requests"]["memory"] == resources["limits"]["memory"]


def test_without_the_mesh_nothing_would_encrypt_its_traffic_so_that_is_refused(recorded: Recorder):
    with pytest.raises(pulumi.RunError, match=r"needs platform\.mesh\.enabled"):
        declared(recorded, mesh={"enabled": False}, gateway={"enabled": False})
    assert ROOMS["mlops-data"].mesh, "its namespace is in the mesh"
    assert AMBIENT


def test_metadata_is_open_to_milvus_alone(recorded: Recorder):
    (rule,) = guards()["milvus-metadata"]["rules"]
    (source,) = rule["from"]

    assert source["source"]["principals"] == [
        f"cluster.local/ns/mlops-data/sa/{account}" for account in (ACCOUNT, METADATA_ACCOUNT)
    ]
    chosen = declared(recorded)
    assert chosen["etcd"]["serviceAccount"]["name"] == METADATA_ACCOUNT
    assert {"vectors-guard-milvus", "vectors-guard-milvus-metadata"} <= recorded.one(CHART).depends_on


def test_only_the_port_that_asks_for_a_password_is_open_to_everybody():
    guard = guards()["milvus"]
    open_to_all = [rule for rule in guard["rules"] if "from" not in rule]

    (rule,) = open_to_all
    assert [one["operation"]["ports"] for one in rule["to"]] == [["19530"]]
    assert guard["action"] == "ALLOW"
    assert MILVUS.labels.items() <= guard["selector"]["matchLabels"].items()
    assert guard["selector"]["matchLabels"]["app.kubernetes.io/instance"] == RELEASE


def test_guards_reach_the_api_server_as_they_are_tested(recorded: Recorder):
    declared(recorded)
    made = {one.inputs["metadata"]["name"]: one.inputs["spec"] for one in recorded.of(POLICY).values()}

    assert made == guards()


def test_a_backup_is_taken_every_day_and_kept_thirty(recorded: Recorder):
    declared(recorded)
    job = recorded.one(CRONJOB, "vectors-backups").inputs["spec"]

    minute, hour, *rest = job["schedule"].split()
    assert minute.isdigit()
    assert hour.isdigit()
    assert rest == ["*", "*", "*"]
    assert job["concurrencyPolicy"] == "Forbid"
    assert job["suspend"] is False
    environment = {one["name"]: one.get("value") for one in container(recorded, "vectors-backups")["env"]}
    assert environment["RETENTION_DAYS"] == "30"


def test_who_takes_backups_cannot_change_vectors_and_who_restores_cannot_change_backups(recorded: Recorder):
    asked = Identities()
    declared(recorded, asked)
    by_account = {
        one.service_account: {grant.bucket: grant for grant in one.grants if isinstance(grant, ObjectGrant)}
        for one in asked.granted
    }

    taking, restoring = by_account["milvus-backup"], by_account["milvus-restore"]
    assert taking["vectors"].access == "read"
    assert taking["backups"].access == "read-write"
    assert restoring["backups"].access == "read"
    assert restoring["vectors"].access == "read-write"
    # The bucket also holds the cluster's backups, with every Secret in them.
    assert {one["backups"].prefix for one in (taking, restoring)} == {f"{PREFIX}/"}


def test_the_tools_configuration_names_both_places_and_holds_no_password(recorded: Recorder):
    declared(recorded)
    (text,) = recorded.one("kubernetes:core/v1:ConfigMap").inputs["data"].values()
    told = json.loads(text)

    assert (told["minio"]["bucketName"], told["minio"]["backupBucketName"]) == ("vectors", "backups")
    assert told["minio"]["rootPath"] == declared(recorded_again(recorded))["externalS3"]["rootPath"]
    assert told["minio"]["useIAM"] is told["minio"]["backupUseIAM"] is True
    assert "password" not in text.lower()


def recorded_again(recorded: Recorder) -> Recorder:
    recorded.resources.clear()
    return recorded


def test_restores_are_made_by_hand_and_touch_nothing_that_is_there(recorded: Recorder):
    declared(recorded)
    job = recorded.one(CRONJOB, "vectors-backups-restore").inputs["spec"]

    assert job["suspend"] is True
    assert job["jobTemplate"]["spec"]["backoffLimit"] == 0
    environment = {one["name"]: one.get("value") for one in container(recorded, "vectors-backups-restore")["env"]}
    assert environment["SUFFIX"]
    assert "drop" not in RESTORE_SCRIPT


def test_without_backups_there_is_neither_job(recorded: Recorder):
    declared(recorded, vectors={"backups": {"enabled": False}})

    assert not recorded.of(CRONJOB)


@pytest.mark.parametrize("wrong", [{"mode": "lite"}, {"queryNodes": 0}, {"backups": {"schedule": "daily"}}])
def test_settings_that_cannot_work_are_refused(wrong: dict[str, Any]):
    with pytest.raises(ValidationError):
        VectorSettings.model_validate(wrong)


class Tool:
    """A stand-in for milvus-backup that keeps its backups as files, and answers as the real one does."""

    def __init__(self, folder: Path) -> None:
        self.backups = folder / "backups"
        self.backups.mkdir()
        self.calls = folder / "calls"
        self._bin = folder / "bin"
        self._bin.mkdir()
        tool = self._bin / "milvus-backup"
        tool.write_text(
            '#!/bin/sh\necho "$@" >> "$CALLS"\nshift 2\ncommand="$1"; shift\n'
            'name=""; if [ "${1:-}" = --name ]; then name="$2"; fi\n'
            'case "$command" in\n'
            '  create) if [ -n "${FAIL:-}" ]; then touch "$BACKUPS/$name"; exit 1; fi; touch "$BACKUPS/$name" ;;\n'
            '  delete) rm "$BACKUPS/$name" ;;\n'
            '  list) { echo "[INFO] listing"; echo ">> Backups:"; ls "$BACKUPS"; } >&2 ;;\n'
            "esac\n"
        )
        tool.chmod(0o755)

    def run(self, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
        # The image's own folder comes first in the script's PATH; it does not exist here.
        return subprocess.run(
            ["/bin/sh", "-c", script],
            env={
                "PATH": f"{self._bin}:{os.environ['PATH']}",
                "BACKUPS": str(self.backups),
                "CALLS": str(self.calls),
                "CONFIGURATION": "/etc/milvus-backup/backup.yaml",
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def holds(self) -> set[str]:
        return {one.name for one in self.backups.iterdir()}


@pytest.fixture
def tool(tmp_path: Path) -> Tool:
    return Tool(tmp_path)


OLD, RECENT, BY_HAND = "daily_20200101_020000", "daily_29990101_020000", "before_migration"


def test_old_backups_go_and_those_that_people_made_stay(tool: Tool):
    for name in (OLD, RECENT, BY_HAND):
        (tool.backups / name).touch()

    done = tool.run(BACKUP_SCRIPT, RETENTION_DAYS="30")

    assert done.returncode == 0, done.stderr
    left = tool.holds()
    assert OLD not in left
    assert {RECENT, BY_HAND} <= left
    assert len(left) == 3, "the new one"


def test_when_the_new_one_fails_no_old_one_is_removed_and_its_rest_is(tool: Tool):
    (tool.backups / OLD).touch()

    done = tool.run(BACKUP_SCRIPT, RETENTION_DAYS="30", FAIL="yes")

    assert done.returncode != 0, "a failed job is seen"
    assert tool.holds() == {OLD}


def test_a_restore_names_its_backup_or_is_told_which_there_are(tool: Tool):
    (tool.backups / RECENT).touch()
    nothing = {"BACKUP": "", "SUFFIX": "_restored", "FILTER": "", "RBAC": "false"}

    asked = tool.run(RESTORE_SCRIPT, **nothing)
    assert asked.returncode != 0
    assert RECENT in asked.stdout + asked.stderr

    tool.calls.unlink()
    done = tool.run(RESTORE_SCRIPT, **{**nothing, "BACKUP": RECENT, "FILTER": "default.papers"})
    assert done.returncode == 0, done.stderr
    (call,) = tool.calls.read_text().splitlines()
    assert call.endswith(f"restore --name {RECENT} --rebuild_index --suffix _restored --filter default.papers")
