"""Velero: what is kept, for how long, and with which rights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from conftest import Recorder
from platform_site import Identities, options, site
from pydantic import ValidationError

from components.contract import ObjectGrant
from components.platform.backups import Backups, BackupsArgs, location, namespaces, pod_security, schedule_spec
from components.platform.quotas import SHARES
from components.settings.platform.backups import BackupSettings
from components.settings.teams import TeamSettings

pytestmark = pytest.mark.unit

TEAMS = (TeamSettings(name="research"),)
RELEASE = "kubernetes:helm.sh/v3:Release"
SCHEDULE = "kubernetes:velero.io/v1:Schedule"
CLASS = "kubernetes:snapshot.storage.k8s.io/v1:VolumeSnapshotClass"


def declared(recorded: Recorder, identities: Identities | None = None, **settings: Any) -> dict[str, Any]:
    def program() -> None:
        place = site({"backups": settings}, teams=TEAMS, identities=identities)
        Backups("backups", BackupsArgs(site=place), options(place))

    recorded.run(program)
    return recorded.one(RELEASE).inputs["values"]


def test_it_writes_below_its_own_prefix_of_the_backups_and_holds_no_credential(recorded: Recorder):
    asked = Identities()
    chosen = declared(recorded, asked)

    (granted,) = asked.granted
    (grant,) = granted.grants
    assert isinstance(grant, ObjectGrant)
    (place,) = chosen["configuration"]["backupStorageLocation"]
    assert (grant.bucket, grant.access) == ("backups", "read-write")
    assert place["bucket"] == "backups"
    assert grant.prefix == f"{place['prefix']}/", "what it may write is where it writes"
    assert (granted.namespace, granted.service_account) == ("velero", chosen["serviceAccount"]["server"]["name"])
    assert chosen["serviceAccount"]["server"]["annotations"] == {"test/identity": "backups"}
    assert chosen["credentials"] == {"useSecret": False}


def test_snapshots_are_taken_by_the_volume_driver_and_outlive_their_objects(recorded: Recorder):
    chosen = declared(recorded)

    assert chosen["configuration"]["features"] == "EnableCSI"
    assert chosen["snapshotsEnabled"] is False, "else Velero would need rights on every volume of the account"
    snapshots = recorded.one(CLASS)
    assert snapshots.inputs["driver"] == "ebs.csi.aws.com"
    assert snapshots.inputs["deletionPolicy"] == "Retain"
    assert snapshots.inputs["metadata"]["labels"] == {"velero.io/csi-volumesnapshot-class": "true"}
    assert snapshots.provider == "cluster", "the cluster's provider, as for every object"


def test_the_first_backup_waits_for_velero_and_for_the_way_to_take_snapshots(recorded: Recorder):
    declared(recorded)

    assert {"backups-release", "backups-snapshots"} <= recorded.one(SCHEDULE).depends_on


@pytest.mark.parametrize(("days", "ttl"), [(14, "336h0m0s"), (1, "24h0m0s")])
def test_backups_expire_when_the_settings_say(days: int, ttl: str):
    spec = schedule_spec(BackupSettings.model_validate({"retentionDays": days}), ["mlops-data"])

    assert spec["template"]["ttl"] == ttl
    assert spec["useOwnerReferencesInBackup"] is False, "backups are not lost with the schedule"


def test_a_backup_by_hand_is_kept_as_long(recorded: Recorder):
    chosen = declared(recorded, retentionDays=30)

    scheduled = recorded.one(SCHEDULE).inputs["spec"]["template"]["ttl"]
    assert chosen["configuration"]["defaultBackupTTL"] == scheduled == "720h0m0s"


def test_every_team_and_every_namespace_with_state_is_kept_and_no_controller_is():
    kept = namespaces(BackupSettings.model_validate({"moreNamespaces": ["legacy"]}), TEAMS)

    assert {"mlops-data", "mlops-serving", "mlops-system", "mlops-training", "team-research", "legacy"} <= set(kept)
    assert "cert-manager" in kept, "the key of the private authority is nowhere else"
    assert not {"velero", "istio-system", "keda", "volcano-system", "gpu-system", "kube-system"} & set(kept)


def test_nothing_is_restored_that_would_ask_for_certificates_again_or_hold_a_lock(recorded: Recorder):
    declared(recorded)
    left_out = set(recorded.one(SCHEDULE).inputs["spec"]["template"]["excludedResources"])

    assert {"orders.acme.cert-manager.io", "challenges.acme.cert-manager.io"} <= left_out
    assert "leases.coordination.k8s.io" in left_out
    assert not {"secrets", "persistentvolumeclaims", "persistentvolumes", "configmaps"} & left_out


def test_agents_come_to_the_nodes_only_where_volume_data_is_moved(recorded: Recorder):
    assert declared(recorded)["deployNodeAgent"] is False


def test_moving_volume_data_needs_agents_everywhere_and_no_path_of_the_node(recorded: Recorder):
    chosen = declared(recorded, moveVolumeData=True)

    assert chosen["deployNodeAgent"] is True
    assert chosen["nodeAgent"]["disableHostPath"] is True
    assert chosen["nodeAgent"]["tolerations"] == [{"operator": "Exists"}]
    assert recorded.one(SCHEDULE).inputs["spec"]["template"]["snapshotMoveData"] is True


def test_without_volumes_there_is_nothing_to_move():
    settings = BackupSettings.model_validate({"volumes": False, "moveVolumeData": True})

    assert schedule_spec(settings, [])["template"]["snapshotMoveData"] is False
    assert pod_security(settings) == {}


def test_only_moving_data_needs_more_than_the_restricted_level():
    assert pod_security(BackupSettings()) == {}
    (needed,) = pod_security(BackupSettings.model_validate({"moveVolumeData": True})).values()
    assert needed.level == "baseline"


def test_every_container_of_the_server_meets_the_restricted_level(recorded: Recorder):
    chosen = declared(recorded)

    pod = chosen["podSecurityContext"]
    assert pod["runAsNonRoot"] is True
    assert pod["runAsUser"] > 0, "the image names its user, which Kubernetes cannot prove to be no root"
    assert pod["fsGroup"], "else its token would be root's"
    for context in (chosen["containerSecurityContext"], chosen["initContainers"][0]["securityContext"]):
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}


def test_the_plugin_speaks_what_the_object_store_speaks(recorded: Recorder):
    def program() -> None:
        place = site()
        store = replace(place.foundation.objects, protocol="gcs", endpoint="storage.googleapis.com")
        place = replace(place, foundation=replace(place.foundation, objects=store))
        assert location(store)["provider"] == "gcp"
        assert "config" not in location(store)
        Backups("backups", BackupsArgs(site=place), options(place))

    recorded.run(program)
    (plugin,) = recorded.one(RELEASE).inputs["values"]["initContainers"]
    assert plugin["image"].startswith("docker.io/velero/velero-plugin-for-gcp:v")


def test_the_server_and_its_jobs_fit_the_namespaces_share(recorded: Recorder):
    chosen = declared(recorded)
    requests = [chosen["resources"]["requests"], chosen["upgradeJobResources"]["requests"]]
    maintenance = chosen["configuration"]["repositoryMaintenanceJob"]["repositoryConfigData"]["global"]["podResources"]
    share = SHARES["velero"]

    cpu = [one["cpu"] for one in requests] + [maintenance["cpuRequest"]]
    memory = [one["memory"] for one in requests] + [maintenance["memoryRequest"]]
    assert sum(int(one.removesuffix("m")) for one in cpu) <= share.cpu_millicores
    assert sum(int(one.removesuffix("Mi")) for one in memory) <= share.memory_mib


@pytest.mark.parametrize("cron", ["daily", "0 3 * *", "0 3 * * * *", "@daily"])
def test_a_schedule_has_five_fields(cron: str):
    with pytest.raises(ValidationError):
        BackupSettings.model_validate({"schedule": cron})
