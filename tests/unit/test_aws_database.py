"""The database, everything about it that can be decided without a cloud."""

from __future__ import annotations

import json

import pytest
from aws_stack import HERE, KEY, OTHER_KEY, PREFIX, TOPIC, run
from conftest import ACCOUNT, REGION, Recorder

from components.aws.database import Database, DatabaseArgs, alarms

pytestmark = pytest.mark.unit
LOGS_KEY = KEY.replace("1234abcd", "2234abcd")


def database(*, protect=True, monitoring_seconds=60, clients=None):
    return Database(
        "database",
        DatabaseArgs(
            prefix=PREFIX,
            account=HERE,
            vpc_id="vpc-1",
            subnet_ids=["subnet-a", "subnet-b"],
            client_security_group_ids=clients or {"nodes": "sg-nodes"},
            kms_key_arn=KEY,
            secrets_kms_key_arn=OTHER_KEY,
            logs_kms_key_arn=LOGS_KEY,
            engine_version="17",
            instance_class="db.m7g.large",
            storage_gib=100,
            max_connections=400,
            highly_available=True,
            backup_retention_days=7,
            log_retention_days=90,
            monitoring_seconds=monitoring_seconds,
            protect=protect,
            alarm_topic_arn=TOPIC,
        ),
    )


def server(recorded: Recorder) -> dict:
    return recorded.one("aws:rds/instance:Instance").inputs


def test_backups_are_kept_seven_days_and_the_password_never_passes_through_us(recorded: Recorder):
    run(database)
    assert server(recorded)["backupRetentionPeriod"] == 7
    assert server(recorded)["manageMasterUserPassword"] is True
    assert server(recorded)["masterUserSecretKmsKeyId"] == OTHER_KEY
    assert "password" not in server(recorded)
    admin = recorded.component_outputs["database"]["admin"]
    assert admin == f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:rds!db-1"


def test_storage_insights_and_logs_are_encrypted_with_our_keys(recorded: Recorder):
    run(database)
    assert server(recorded)["storageEncrypted"] is True
    assert server(recorded)["kmsKeyId"] == server(recorded)["performanceInsightsKmsKeyId"] == KEY
    groups = recorded.of("aws:cloudwatch/logGroup:LogGroup")
    assert {group.inputs["kmsKeyId"] for group in groups.values()} == {LOGS_KEY}


def test_rds_finds_our_log_groups_and_does_not_make_its_own(recorded: Recorder):
    """A group made by RDS has no key and no retention, and stays when the server goes."""
    run(database)
    groups = recorded.of("aws:cloudwatch/logGroup:LogGroup")
    expected = {
        f"/aws/rds/instance/{server(recorded)['identifier']}/{log}"
        for log in server(recorded)["enabledCloudwatchLogsExports"]
    }
    assert {group.inputs["name"] for group in groups.values()} == expected
    assert set(groups) <= recorded.one("aws:rds/instance:Instance").depends_on


def test_clients_are_forced_to_use_tls(recorded: Recorder):
    run(database)
    group = recorded.one("aws:rds/parameterGroup:ParameterGroup").inputs
    assert group["family"] == "postgres17"
    assert {"name": "rds.force_ssl", "value": "1"} in group["parameters"]
    assert server(recorded)["publiclyAccessible"] is False


def test_only_the_named_security_groups_reach_the_port(recorded: Recorder):
    run(lambda: database(clients={"nodes": "sg-nodes", "jobs": "sg-jobs"}))
    rules = recorded.of("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule").values()
    assert {rule.inputs["referencedSecurityGroupId"] for rule in rules} == {"sg-nodes", "sg-jobs"}
    for rule in rules:
        assert (rule.inputs["fromPort"], rule.inputs["toPort"], rule.inputs["ipProtocol"]) == (5432, 5432, "tcp")
        assert "cidrIpv4" not in rule.inputs
    assert "ingress" not in recorded.one("aws:ec2/securityGroup:SecurityGroup").inputs
    assert server(recorded)["vpcSecurityGroupIds"] == ["database-clients-id"]


def test_a_protected_server_cannot_go_and_would_leave_a_snapshot_with_a_fresh_name(recorded: Recorder):
    run(database)
    instance = recorded.one("aws:rds/instance:Instance")
    assert instance.protect
    assert instance.inputs["deletionProtection"] is True
    assert instance.inputs["deleteAutomatedBackups"] is False
    assert instance.inputs["skipFinalSnapshot"] is False
    assert instance.inputs["finalSnapshotIdentifier"] == f"{PREFIX}-postgres-final-0011223344556677"


def test_an_unprotected_server_goes_without_leaving_anything(recorded: Recorder):
    run(lambda: database(protect=False))
    instance = recorded.one("aws:rds/instance:Instance")
    assert not instance.protect
    assert instance.inputs["deletionProtection"] is False
    assert instance.inputs["deleteAutomatedBackups"] is True
    assert instance.inputs["skipFinalSnapshot"] is True
    assert "finalSnapshotIdentifier" not in instance.inputs


def test_enhanced_monitoring_brings_its_role_and_off_means_no_role(recorded: Recorder):
    run(database)
    role = recorded.one("aws:iam/role:Role", "database-monitoring")
    assert "monitoring.rds.amazonaws.com" in role.inputs["assumeRolePolicy"]
    assert "database-monitoring" in recorded.one("aws:rds/instance:Instance").depends_on


def test_without_enhanced_monitoring_there_is_no_role(recorded: Recorder):
    run(lambda: database(monitoring_seconds=0))
    assert not recorded.of("aws:iam/role:Role")
    assert "monitoringRoleArn" not in server(recorded)


def test_alarms_and_failovers_reach_the_topic(recorded: Recorder):
    run(database)
    found = recorded.of("aws:cloudwatch/metricAlarm:MetricAlarm")
    missed = found.pop("database-backups")
    assert missed.inputs["alarmActions"] == [TOPIC]
    assert set(found) == {"database-cpu", "database-storage", "database-connections"}
    for alarm in found.values():
        assert alarm.inputs["alarmActions"] == alarm.inputs["okActions"] == [TOPIC]
        assert alarm.inputs["dimensions"] == {"DBInstanceIdentifier": f"{PREFIX}-postgres"}
    events = recorded.one("aws:rds/eventSubscription:EventSubscription").inputs
    assert events["sourceIds"] == [f"{PREFIX}-postgres"]
    assert "failover" in events["eventCategories"]


def test_a_missed_backup_rings_and_the_first_one_is_not_missed(recorded: Recorder):
    """The rule is there before the server, whose first backup it counts; the alarm comes once that has been made."""
    run(database)
    rule = recorded.one("aws:cloudwatch/eventRule:EventRule")
    assert json.loads(rule.inputs["eventPattern"])["detail"]["SourceIdentifier"] == [f"{PREFIX}-postgres"]
    assert "database-server" not in rule.depends_on
    alarm = recorded.one("aws:cloudwatch/metricAlarm:MetricAlarm", "database-backups")
    assert "database-server" in alarm.depends_on


def test_the_connection_alarm_fires_before_the_limit_that_the_server_enforces(recorded: Recorder):
    run(database)
    limit = next(
        parameter["value"]
        for parameter in recorded.one("aws:rds/parameterGroup:ParameterGroup").inputs["parameters"]
        if parameter["name"] == "max_connections"
    )
    assert recorded.one("aws:cloudwatch/metricAlarm:MetricAlarm", "database-connections").inputs["threshold"] == 320
    assert limit == "400"


def test_the_storage_alarm_means_that_growing_did_not_help(recorded: Recorder):
    """RDS grows storage below 10 %; 5 % of 100 GiB are 5.37e9 bytes."""
    alarm = alarms(storage_gib=100, max_connections=400)["storage"]
    assert alarm.below == pytest.approx(5_368_709_120)
