"""Shared files: mounted with TLS, through an access point, from inside the network."""

from __future__ import annotations

import json

import pytest
from aws_stack import HERE, KEY, TOPIC, run, statements
from conftest import ACCOUNT, REGION, Recorder

from components.aws.files import AccessPoint, Files, FilesArgs

pytestmark = pytest.mark.unit
MODELS = AccessPoint(name="models")


def files(*, backups=True, access_points=(MODELS,)):
    return Files(
        "files",
        FilesArgs(
            account=HERE,
            vpc_id="vpc-1",
            subnet_ids=["subnet-a", "subnet-b", "subnet-c"],
            client_security_group_ids={"nodes": "sg-nodes"},
            kms_key_arn=KEY,
            throughput_mode="elastic",
            access_points=access_points,
            backups=backups,
            protect=True,
            alarm_topic_arn=TOPIC,
        ),
    )


def test_the_file_system_is_encrypted_and_protected(recorded: Recorder):
    run(files)
    system = recorded.one("aws:efs/fileSystem:FileSystem")
    assert system.inputs["encrypted"] is True
    assert system.inputs["kmsKeyId"] == KEY
    assert system.protect


def test_every_zone_has_a_mount_target_that_only_nodes_reach(recorded: Recorder):
    run(files)
    targets = recorded.of("aws:efs/mountTarget:MountTarget").values()
    assert {target.inputs["subnetId"] for target in targets} == {"subnet-a", "subnet-b", "subnet-c"}
    assert all(target.inputs["securityGroups"] == ["files-clients-id"] for target in targets)
    rule = recorded.one("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule").inputs
    assert (rule["referencedSecurityGroupId"], rule["fromPort"]) == ("sg-nodes", 2049)


def test_volume_handles_name_file_system_and_access_point_as_the_csi_driver_wants_them(recorded: Recorder):
    run(lambda: files(access_points=(MODELS, AccessPoint(name="datasets", user_id=2000, group_id=2000))))
    assert recorded.component_outputs["files"]["volumes"] == {
        "models": "files-system-id::files-models-id",
        "datasets": "files-system-id::files-datasets-id",
    }


def test_files_belong_to_one_user_whatever_user_a_pod_runs_as(recorded: Recorder):
    run(files)
    point = recorded.one("aws:efs/accessPoint:AccessPoint").inputs
    assert point["posixUser"] == {"uid": 1000, "gid": 1000}
    assert point["rootDirectory"] == {
        "path": "/models",
        "creationInfo": {"ownerUid": 1000, "ownerGid": 1000, "permissions": "0775"},
    }


def test_nobody_mounts_without_tls_nor_the_root_of_the_file_system(recorded: Recorder):
    run(files)
    policy = statements(recorded, "aws:efs/fileSystemPolicy:FileSystemPolicy")
    assert policy["OnlyWithTls"]["Effect"] == "Deny"
    assert policy["OnlyWithTls"]["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    mount = policy["MountThroughAccessPoints"]
    assert "elasticfilesystem:ClientRootAccess" not in mount["Action"]
    assert mount["Condition"] == {
        "Bool": {"elasticfilesystem:AccessedViaMountTarget": "true"},
        "ArnLike": {"elasticfilesystem:AccessPointArn": f"arn:aws:elasticfilesystem:{REGION}:{ACCOUNT}:access-point/*"},
    }


@pytest.mark.parametrize(("backups", "status"), [(True, "ENABLED"), (False, "DISABLED")])
def test_backups_are_a_choice_because_they_outlive_the_stack(backups, status, recorded: Recorder):
    run(lambda: files(backups=backups))
    assert recorded.one("aws:efs/backupPolicy:BackupPolicy").inputs["backupPolicy"] == {"status": status}


def test_a_missed_backup_of_this_file_system_rings(recorded: Recorder):
    recorded.outputs["aws:efs/fileSystem:FileSystem"] = {"arn": "arn:aws:elasticfilesystem:…:file-system/fs-1"}
    run(files)
    rule = recorded.one("aws:cloudwatch/eventRule:EventRule").inputs
    assert json.loads(rule["eventPattern"])["detail"] == {
        "state": ["COMPLETED"],
        "resourceArn": ["arn:aws:elasticfilesystem:…:file-system/fs-1"],
    }
    assert recorded.one("aws:cloudwatch/metricAlarm:MetricAlarm").inputs["alarmActions"] == [TOPIC]


def test_files_without_backups_have_no_alarm_on_them(recorded: Recorder):
    run(lambda: files(backups=False))
    assert recorded.of("aws:cloudwatch/metricAlarm:MetricAlarm") == {}
