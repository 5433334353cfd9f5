"""The cache: never without TLS and a token, whatever its size."""

from __future__ import annotations

import json

import pytest
from aws_stack import KEY, OTHER_KEY, PREFIX, TOPIC, hidden, run
from conftest import Recorder

from components.aws.cache import CREDENTIAL, Cache, CacheArgs
from components.aws.secrets import SecretVault

pytestmark = pytest.mark.unit


def cache(*, replicas=1):
    return Cache(
        "cache",
        CacheArgs(
            vpc_id="vpc-1",
            subnet_ids=["subnet-a", "subnet-b"],
            client_security_group_ids={"nodes": "sg-nodes"},
            kms_key_arn=KEY,
            vault=SecretVault(prefix=PREFIX, kms_key_arn=OTHER_KEY, recovery_window_days=0),
            engine_version="8.1",
            node_type="cache.m7g.large",
            replicas=replicas,
            snapshot_retention_days=7,
            alarm_topic_arn=TOPIC,
        ),
    )


def group(recorded: Recorder) -> dict:
    return recorded.one("aws:elasticache/replicationGroup:ReplicationGroup").inputs


@pytest.mark.parametrize("replicas", [0, 1])
def test_it_is_encrypted_on_the_wire_and_on_disk_in_every_size(replicas, recorded: Recorder):
    run(lambda: cache(replicas=replicas))
    assert group(recorded)["transitEncryptionEnabled"] is True
    assert group(recorded)["transitEncryptionMode"] == "required"
    assert group(recorded)["atRestEncryptionEnabled"] is True
    assert group(recorded)["kmsKeyId"] == KEY


def test_the_token_that_clients_read_is_the_token_that_the_server_checks(recorded: Recorder):
    run(cache)
    version = recorded.one("aws:secretsmanager/secretVersion:SecretVersion").inputs
    assert json.loads(hidden(version["secretString"])) == {"token": hidden(group(recorded)["authToken"])}
    assert recorded.one("aws:secretsmanager/secret:Secret").inputs["name"] == f"{PREFIX}/cache-auth"
    assert recorded.one("aws:secretsmanager/secret:Secret").inputs["kmsKeyId"] == OTHER_KEY


def test_the_version_moves_only_with_its_setting_and_at_once(recorded: Recorder):
    """A version below the server's would replace it, and a waiting upgrade keeps the old parameter group in use."""
    run(cache)
    assert group(recorded)["autoMinorVersionUpgrade"] is False
    assert group(recorded)["applyImmediately"] is True


def test_the_token_keeps_to_what_elasticache_accepts(recorded: Recorder):
    run(cache)
    password = recorded.one("random:index/randomPassword:RandomPassword").inputs
    assert 16 <= password["length"] <= 128
    assert password["special"] is False
    assert CREDENTIAL.properties == ("token",)


@pytest.mark.parametrize(("replicas", "fails_over"), [(0, False), (1, True), (2, True)])
def test_a_replica_takes_over_by_itself_and_every_node_is_watched(replicas, fails_over, recorded: Recorder):
    run(lambda: cache(replicas=replicas))
    assert group(recorded)["numCacheClusters"] == replicas + 1
    assert group(recorded)["automaticFailoverEnabled"] is fails_over
    assert group(recorded)["multiAzEnabled"] is fails_over
    watched = {
        alarm.inputs["dimensions"]["CacheClusterId"]
        for alarm in recorded.of("aws:cloudwatch/metricAlarm:MetricAlarm").values()
    }
    assert watched == {f"cache-group-id-00{number}" for number in range(1, replicas + 2)}


def test_a_full_cache_forgets_answers_and_not_state(recorded: Recorder):
    run(cache)
    parameters = recorded.one("aws:elasticache/parameterGroup:ParameterGroup").inputs
    assert parameters["family"] == "valkey8"
    assert parameters["parameters"] == [{"name": "maxmemory-policy", "value": "volatile-lru"}]


def test_only_the_named_security_groups_reach_the_port(recorded: Recorder):
    run(cache)
    rule = recorded.one("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule").inputs
    assert (rule["referencedSecurityGroupId"], rule["fromPort"], rule["toPort"]) == ("sg-nodes", 6379, 6379)
    assert group(recorded)["securityGroupIds"] == ["cache-clients-id"]
