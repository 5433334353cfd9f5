"""Every policy accepts a well-formed stack, and refuses each way to break it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from world import ACCOUNT, GONE, LATER, allow, changed, judge, settings, trust, without, world

from policies import gcp, pack
from policies.exemptions import Register

pytestmark = pytest.mark.policies

_SPEC = ("spec", "template", "spec")
_SERVER = (*_SPEC, "containers", 0)
_JOB = ("spec", "pytorchReplicaSpecs", "Worker", "template", "spec", "containers", 0)
_MODEL = ("spec", "predictor", "model")
_LABELS = ("metadata", "labels")
_HARD = ("spec", "hard")
_RULE = ("rules", 0)
_SIZE = ("scalingConfig", "maxSize")
_ENCRYPTED = ("blockDeviceMappings", 0, "ebs", "encrypted")
_VOLUME = ("blockDeviceMappings", 0, "ebs", "volumeSize")
_CLAIM = ("spec", "volumeClaimTemplates", 0, "spec", "resources", "requests", "storage")
_VALUES = ("values",)

# policy, resource, path to the property, new value, words of the refusal
MUTATIONS: list[tuple[str, str, tuple[str | int, ...], Any, str]] = [
    ("gpu-quota", "training", _SIZE, 5, "5 a10g GPUs, the quota is 4: lower maxSize of training"),
    ("gpu-quota", "training", ("instanceTypes",), ["g5.12xlarge"], "16 a10g GPUs"),
    ("gpu-quota", "training", ("instanceTypes",), ["p5.48xlarge"], "does not know"),
    ("vcpu-quota", "system", _SIZE, 9, "18 vCPU, the quota onDemandStandard (L-1216C47A) is 16"),
    ("vcpu-quota", "training", ("capacityType",), "ON_DEMAND", "the quota onDemandG (L-DB2E81BA) is 0"),
    ("vcpu-quota", "training", ("instanceTypes",), ["g5.8xlarge"], "128 vCPU, the quota spotG"),
    ("node-quota", "system", _SIZE, 5, "9 nodes, the quota is 8"),
    ("instance-types", "system", ("instanceTypes",), ["m7i.large"], "m7i.large is not among"),
    ("instance-types", "database", ("instanceClass",), "db.r7g.large", "db.r7g.large is not among"),
    ("instance-types", "cache", ("nodeType",), "cache.t4g.medium", "cache.t4g.medium is not among"),
    ("regions", "aws", ("region",), "eu-west-1", "aws is in eu-west-1, quotas.regions has us-east-1"),
    ("regions", "bucket", ("region",), "us-west-2", "bucket is in us-west-2"),
    ("storage-quota", "template", _VOLUME, 200, "1650 GiB, the quota is 1000"),
    ("storage-quota", "database", ("maxAllocatedStorage",), 1000, "GiB, the quota is 1000"),
    ("storage-quota", "claims", _CLAIM, "1Ti", "GiB, the quota is 1000"),
    ("load-balancer-quota", "release", _VALUES, {"server": {"service": {"type": "LoadBalancer"}}}, "2 load balancers"),
    ("team-quota", "quota", (*_HARD, "requests.nvidia.com/gpu"), "3", "nvidia.com/gpu 3, teams declares 2"),
    ("team-quota", "quota", (*_HARD, "requests.memory"), "64Gi", "teams declares 32Gi"),
    ("team-quota", "quota", (*_HARD, "requests.cpu"), GONE, "requests.cpu unset"),
    ("training-on-spot", "training", ("capacityType",), "ON_DEMAND", "must be SPOT"),
    ("training-on-spot", "training", ("capacityType",), GONE, "must be SPOT"),
    ("database-encrypted", "database", ("storageEncrypted",), False, "storageEncrypted must be true"),
    ("database-encrypted", "database", ("kmsKeyId",), GONE, "kmsKeyId must name a key"),
    ("database-encrypted", "database", ("masterUserSecretKmsKeyId",), GONE, "masterUserSecretKmsKeyId"),
    ("database-tls", "parameters", ("parameters",), [], "rds.force_ssl must be 1"),
    ("database-tls", "parameters", ("parameters", 0, "value"), "0", "rds.force_ssl must be 1"),
    ("cache-encrypted", "cache", ("atRestEncryptionEnabled",), False, "atRestEncryptionEnabled"),
    ("cache-encrypted", "cache", ("transitEncryptionEnabled",), GONE, "transitEncryptionEnabled"),
    ("cache-encrypted", "cache", ("transitEncryptionMode",), "preferred", "not preferred"),
    ("cache-encrypted", "cache", ("authToken",), GONE, "authToken or userGroupIds"),
    ("cache-encrypted", "cache", ("kmsKeyId",), GONE, "kmsKeyId"),
    ("files-encrypted", "files", ("encrypted",), False, "encrypted must be true"),
    ("files-encrypted", "files", ("kmsKeyId",), GONE, "kmsKeyId"),
    ("volumes-encrypted", "template", _ENCRYPTED, "false", "encrypted must be true"),
    ("volumes-encrypted", "template", ("blockDeviceMappings",), GONE, "must name the root volume"),
    ("volumes-encrypted", "storage-class", ("parameters",), {}, "parameters.encrypted"),
    ("cluster-secrets-encrypted", "cluster", ("encryptionConfig",), GONE, "encryptionConfig must cover secrets"),
    ("cluster-secrets-encrypted", "cluster", ("encryptionConfig", "resources"), [], "must cover secrets"),
    ("own-key", "logs", ("kmsKeyId",), GONE, "kmsKeyId must name a key"),
    ("own-key", "backup-copies", ("kmsKeyId",), GONE, "kmsKeyId must name a key"),
    ("own-key", "topic", ("kmsMasterKeyId",), GONE, "kmsMasterKeyId must name a key"),
    ("own-key", "secret", ("kmsKeyId",), GONE, "kmsKeyId must name a key"),
    ("own-key", "images", ("encryptionConfigurations",), [{"encryptionType": "AES256"}], "kmsKey must name"),
    (
        "buckets-encrypted", "bucket-encryption", ("rules", 0, "applyServerSideEncryptionByDefault", "sseAlgorithm"),
        "AES256", "must be aws:kms",
    ),
    (
        "buckets-encrypted", "bucket-encryption", ("rules", 0, "applyServerSideEncryptionByDefault", "kmsMasterKeyId"),
        GONE, "must name a key",
    ),
    ("buckets-tls", "bucket-policy", ("policy",), allow("s3:GetObject"), "aws:SecureTransport"),
    (
        "buckets-tls", "bucket-policy", ("policy",),
        json.dumps({"Statement": {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Condition": {"Bool": {
            "aws:SecureTransport": "false"}}}}), "must deny everything",
    ),
    ("buckets-private", "bucket-access", ("blockPublicPolicy",), False, "blockPublicPolicy"),
    ("buckets-private", "bucket-access", ("restrictPublicBuckets",), GONE, "restrictPublicBuckets"),
    ("buckets-private", "bucket", ("acl",), "public-read", "acl must not be public"),
    ("database-private", "database", ("publiclyAccessible",), True, "publiclyAccessible must be false"),
    ("api-endpoint", "cluster", ("vpcConfig", "endpointPublicAccess"), True, "names no network"),
    ("api-endpoint", "cluster", ("vpcConfig", "endpointPublicAccess"), GONE, "names no network"),
    ("api-endpoint", "cluster", ("vpcConfig", "endpointPrivateAccess"), False, "endpointPrivateAccess must be true"),
    ("imdsv2", "template", ("metadataOptions", "httpTokens"), "optional", "IMDSv2"),
    ("imdsv2", "template", ("metadataOptions",), GONE, "IMDSv2"),
    ("imdsv2", "template", ("metadataOptions", "httpPutResponseHopLimit"), 2, "HopLimit must be 1"),
    ("nodes-private", "subnet", ("mapPublicIpOnLaunch",), True, "mapPublicIpOnLaunch must be false"),
    ("nodes-private", "template", ("networkInterfaces",), [{"associatePublicIpAddress": "true"}], "must be false"),
    ("security-groups-closed", "ingress", ("cidrIpv4",), "0.0.0.0/0", "ports 5432-5432 are open to 0.0.0.0/0"),
    ("security-groups-closed", "group", ("ingress", 0, "ipv6CidrBlocks"), ["::/0"], "open to ::/0"),
    ("vpc-guarded", "default-group", ("ingress",), [{"protocol": "-1"}], "must be managed and have no rules"),
    ("vpc-guarded", "flows", ("trafficType",), "ACCEPT", "what was rejected"),
    ("iam-wildcards", "permissions", ("policy",), allow("*"), "allows *"),
    ("iam-wildcards", "permissions", ("policy",), allow("s3:*", resource="arn:aws:s3:::models"), "allows s3:*"),
    ("iam-wildcards", "permissions", ("policy",), allow("s3:GetObject"), "s3:GetObject on *"),
    ("iam-wildcards", "permissions", ("policy",), allow("s3:GetObject", resource="arn:aws:s3:::*"), "arn:aws:s3:::*"),
    (
        "iam-wildcards", "permissions", ("policy",),
        allow("iam:PassRole", resource=f"arn:aws:iam::{ACCOUNT}:role/*"), "role/*",
    ),
    (
        "iam-wildcards", "permissions", ("policy",),
        json.dumps({"Statement": {"Effect": "Allow", "NotAction": "iam:*", "Resource": "arn:aws:s3:::models"}}),
        "all but",
    ),
    (
        "iam-managed-policies", "attachment", ("policyArn",), "arn:aws:iam::aws:policy/AdministratorAccess",
        "AdministratorAccess grants more",
    ),
    (
        "iam-managed-policies", "attachment", ("policyArn",), "arn:aws:iam::aws:policy/AmazonS3FullAccess",
        "AmazonS3FullAccess grants more",
    ),
    ("iam-trust", "role", ("assumeRolePolicy",), trust(aud="sts.amazonaws.com"), "lacks: sub"),
    ("iam-trust", "role", ("assumeRolePolicy",), trust(sub="system:serviceaccount:a:b"), "lacks: aud"),
    (
        "iam-trust", "role", ("assumeRolePolicy",),
        trust(sub="system:serviceaccount:*:*", aud="sts.amazonaws.com"), "lacks: system:serviceaccount:*:*",
    ),
    ("iam-trust", "role", ("assumeRolePolicy",), allow("sts:AssumeRole", Principal="*"), "lets everybody"),
    ("no-public-principal", "key", ("policy",), allow("kms:Decrypt", Principal="*"), "allows everybody"),
    (
        "no-public-principal", "bucket-policy", ("policy",),
        allow("s3:GetObject", Principal={"AWS": ["*"]}, Condition={"Bool": {"aws:SecureTransport": "true"}}),
        "allows everybody",
    ),
    ("keys-kept", "key", ("enableKeyRotation",), False, "enableKeyRotation must be true"),
    ("keys-kept", "key", ("deletionWindowInDays",), 7, "at least 30; got 7"),
    ("logs-kept", "cluster", ("enabledClusterLogTypes",), ["api"], "lacks audit, authenticator"),
    ("logs-kept", "logs", ("retentionInDays",), 90, "at least 365; got 90"),
    ("logs-kept", "logs", ("retentionInDays",), GONE, "got unset"),
    ("backups-kept", "database", ("backupRetentionPeriod",), 6, "at least 7; got 6"),
    ("backups-kept", "database", ("copyTagsToSnapshot",), False, "copyTagsToSnapshot"),
    ("backups-kept", "backup-copies", ("retentionPeriod",), 6, "at least 7; got 6"),
    ("backups-kept", "cache", ("snapshotRetentionLimit",), 0, "at least 1; got 0"),
    ("backups-kept", "files-backups", ("backupPolicy", "status"), "DISABLED", "must be ENABLED"),
    ("buckets-kept", "bucket-versioning", ("versioningConfiguration", "status"), "Suspended", "must be Enabled"),
    ("protected", "database", ("deletionProtection",), False, "deletionProtection must be true"),
    ("protected", "cluster", ("deletionProtection",), GONE, "deletionProtection must be true"),
    ("protected", "bucket", ("forceDestroy",), True, "forceDestroy must be false"),
    ("protected", "database", ("skipFinalSnapshot",), True, "skipFinalSnapshot must be false"),
    ("survives-a-zone", "database", ("multiAz",), False, "multiAz must be true"),
    ("survives-a-zone", "cache", ("automaticFailoverEnabled",), GONE, "automaticFailoverEnabled"),
    ("images-immutable", "images", ("imageTagMutability",), "MUTABLE", "must be IMMUTABLE"),
    ("images-immutable", "images", ("imageScanningConfiguration",), GONE, "scanOnPush must be true"),
    ("pod-resources", "deployment", (*_SERVER, "resources", "requests", "cpu"), GONE, "lacks requests.cpu"),
    ("pod-resources", "deployment", (*_SERVER, "resources", "limits"), GONE, "lacks limits.memory"),
    ("pod-resources", "job", (*_JOB, "resources"), GONE, "of spec.pytorchReplicaSpecs.Worker.template.spec lacks"),
    ("pod-resources", "model", (*_MODEL, "resources", "limits"), GONE, "of spec.predictor lacks limits.memory"),
    ("pod-resources", "run", ("spec", "trainer", "resourcesPerNode"), GONE, "of spec.trainer lacks requests.cpu"),
    ("pods-not-root", "model", ("spec", "predictor", "securityContext"), GONE, "lacks runAsNonRoot: true, seccomp"),
    ("images-pinned", "runtime", ("spec", "containers", 0, "image"), "vllm:1.0", "must be named by digest"),
    ("pods-not-root", "runtime", ("spec", "containers", 0, "securityContext"), GONE, "drop: [ALL]"),
    ("gpu-limits", "job", (*_JOB, "resources", "requests", "nvidia.com/gpu"), "2", "must be equal"),
    ("gpu-limits", "job", (*_JOB, "resources", "limits", "nvidia.com/gpu"), GONE, "must be equal"),
    ("images-pinned", "deployment", (*_SERVER, "image"), "server", "no fixed tag"),
    ("images-pinned", "deployment", (*_SERVER, "image"), "registry.example:5000/server", "no fixed tag"),
    ("images-pinned", "deployment", (*_SERVER, "image"), "server:latest", "no fixed tag"),
    ("images-pinned", "deployment", (*_SERVER, "image"), "server:1.2.3", "must be named by digest"),
    ("images-pinned", "deployment", (*_SERVER, "image"), "server@sha256:abc", "digest that is none"),
    ("pod-privileges", "deployment", (*_SERVER, "securityContext", "privileged"), True, "must not be privileged"),
    ("pod-privileges", "deployment", (*_SPEC, "hostNetwork"), True, "hostNetwork must not be set"),
    ("pod-privileges", "deployment", (*_SPEC, "hostPID"), True, "hostPID must not be set"),
    (
        "pod-privileges", "deployment", (*_SPEC, "volumes", 0), {"name": "root", "hostPath": {"path": "/"}},
        "must not be a hostPath: /",
    ),
    ("pod-privileges", "deployment", (*_SERVER, "ports", 0, "hostPort"), 80, "port 80 of the node"),
    ("pods-not-root", "deployment", (*_SPEC, "securityContext", "runAsNonRoot"), False, "runAsNonRoot: true"),
    ("pods-not-root", "deployment", (*_SERVER, "securityContext", "runAsNonRoot"), False, "runAsNonRoot: true"),
    ("pods-not-root", "deployment", (*_SPEC, "securityContext", "runAsUser"), 0, "other than 0"),
    ("pods-not-root", "deployment", (*_SERVER, "securityContext", "allowPrivilegeEscalation"), GONE, "allowPriv"),
    ("pods-not-root", "deployment", (*_SERVER, "securityContext", "capabilities"), GONE, "drop: [ALL]"),
    ("pods-not-root", "deployment", (*_SPEC, "securityContext", "seccompProfile"), GONE, "seccompProfile"),
    ("probes", "deployment", (*_SERVER, "readinessProbe"), GONE, "lacks readinessProbe"),
    ("probes", "claims", (*_SERVER, "livenessProbe"), GONE, "lacks livenessProbe"),
    ("stays-up", "budget", ("spec", "selector", "matchLabels", "app"), "other", "need a PodDisruptionBudget"),
    ("stays-up", "budget", ("metadata", "namespace"), "elsewhere", "need a PodDisruptionBudget"),
    ("stays-up", "budget", ("spec", "maxUnavailable"), 0, "lets no pod go"),
    ("stays-up", "deployment", (*_SPEC, "topologySpreadConstraints"), GONE, "topologySpreadConstraints"),
    ("namespaces-closed", "deny", ("spec", "policyTypes"), ["Ingress"], "denies all egress"),
    ("namespaces-closed", "deny", ("spec", "ingress"), [{}], "denies all ingress"),
    ("namespaces-closed", "deny", ("spec", "podSelector"), {"matchLabels": {"app": "a"}}, "denies all ingress"),
    ("namespaces-closed", "deny", ("metadata", "namespace"), "elsewhere", "denies all ingress"),
    ("namespaces-bounded", "quota", _HARD, {}, "no ResourceQuota"),
    ("namespaces-bounded", "quota", (*_HARD, "requests.nvidia.com/gpu"), GONE, "does not count"),
    ("namespaces-bounded", "limits", ("spec", "limits", 0, "max"), {"nvidia.com/gpu": "1"}, "must not name"),
    ("pod-security-level", "namespace", (*_LABELS, "pod-security.kubernetes.io/enforce"), GONE, "must say which"),
    ("pod-security-level", "namespace", (*_LABELS, "pod-security.kubernetes.io/enforce"), "privileged", "baseline or"),
    ("mesh-membership", "namespace", (*_LABELS, "istio.io/dataplane-mode"), "none", "must be ambient"),
    ("namespace-owner", "namespace", (*_LABELS, "llmops/owner"), GONE, "must name the team"),
    ("namespace-owner", "namespace", (*_LABELS, "llmops/team"), "other", "must be search"),
    ("namespace-owner", "namespace", ("metadata", "name"), "team-ghost", "there is no team ghost"),
    ("rbac-wildcards", "reader", (*_RULE, "verbs"), ["*"], "* in verbs"),
    ("rbac-wildcards", "reader", (*_RULE, "resources"), ["*"], "* in resources"),
    ("rbac-wildcards", "reader", (*_RULE, "verbs"), ["escalate"], "allows escalate"),
    ("rbac-bindings", "binding", ("roleRef", "name"), "cluster-admin", "makes llmops:viewers cluster-admin"),
    ("rbac-bindings", "binding", ("subjects", 0, "name"), "system:authenticated", "everybody"),
    ("no-secrets-in-state", "token", ("type",), "Opaque", ""),
    ("releases-pinned", "release", ("version",), "^12", "must be one version"),
    ("releases-pinned", "release", ("version",), GONE, "must be one version"),
    ("releases-pinned", "release", ("atomic",), False, "atomic must be true"),
    ("releases-pinned", "release", ("createNamespace",), True, "createNamespace must be false"),
    ("releases-pinned", "release", ("namespace",), GONE, "namespace must be named"),
    ("release-images", "release", ("values", "image", "tag"), "latest", "must be a fixed tag"),
    ("release-credentials", "release", ("values", "adminPassword"), "hunter2", "looks like a credential"),
    ("release-credentials", "release", ("values", "auth"), {"token": "hunter2"}, "values.auth.token looks like"),
    ("models-declared", "model", (*_LABELS, "llmops/owner"), GONE, "must name the team"),
    ("models-declared", "model", ("metadata", "annotations", "llmops/objective"), GONE, "llmops/objective must be set"),
    ("models-declared", "model", ("metadata", "annotations", "llmops/cold-start-seconds"), "3600", "1 to 1800"),
    ("models-declared", "deployment", (*_LABELS, "llmops/model"), "llama", "llmops/owner must name"),
]  # fmt: skip


@pytest.mark.parametrize("policy", pack.names())
def test_a_well_formed_stack_passes(policy: str):
    assert judge(policy, world()) == []


@pytest.mark.parametrize(("policy", "name", "path", "value", "words"), [m for m in MUTATIONS if m[4]])
def test_one_wrong_property_is_refused(policy: str, name: str, path: tuple[str | int, ...], value: Any, words: str):
    said = judge(policy, changed(world(), name, path, value))
    assert any(words in message for message in said), said


def test_a_secret_made_by_the_program_is_refused_and_not_quoted():
    made = changed(changed(world(), "token", ("type",), "Opaque"), "token", ("stringData",), {"key": "hunter2"})
    (said,) = judge("no-secrets-in-state", made)
    assert "use an ExternalSecret" in said
    assert "hunter2" not in said


_AUTHORITY = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("held", "passes"),
    [
        ({"ca.pem": _AUTHORITY}, True),
        ({"ca.pem": LATER}, True),
        ({"password": LATER}, False),
        ({"ca.pem": f"{_AUTHORITY}-----BEGIN PRIVATE KEY-----\nMIIB\n"}, False),
        ({"ca.pem": "hunter2"}, False),
        ({"ca.pem": _AUTHORITY, "password": "hunter2"}, False),
    ],
)
def test_certificates_in_a_secret_are_no_secret(held: dict[str, str], passes: bool):
    made = changed(changed(world(), "token", ("type",), "Opaque"), "token", ("stringData",), held)
    assert (judge("no-secrets-in-state", made) == []) is passes


def test_a_secret_that_is_named_with_its_reason_may_be_made():
    made = changed(changed(world(), "token", ("type",), "Opaque"), "token", ("stringData",), {"key": "hunter2"})
    made = changed(made, "token", ("metadata", "namespace"), "stores")
    assert judge("no-secrets-in-state", made, config={"made": {"stores/*": "it is the store"}}) == []
    assert judge("no-secrets-in-state", made, config={"made": {"store/*": "it is another"}})


def test_a_credential_in_values_is_not_quoted():
    (said,) = judge("release-credentials", changed(world(), "release", ("values", "adminPassword"), "hunter2"))
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("policy", "names", "words"),
    [
        ("buckets-encrypted", ["bucket-encryption"], "must name the key"),
        ("buckets-tls", ["bucket-policy"], "must deny everything"),
        ("buckets-private", ["bucket-access"], "must shut the bucket off"),
        ("buckets-kept", ["bucket-versioning"], "versioning must be Enabled"),
        ("buckets-kept", ["bucket-lifecycle"], "lifecycle"),
        ("vpc-guarded", ["default-group"], "default security group"),
        ("vpc-guarded", ["flows"], "flow log"),
        ("namespaces-closed", ["deny"], "denies all ingress"),
        ("namespaces-bounded", ["quota"], "no ResourceQuota"),
        ("stays-up", ["budget"], "need a PodDisruptionBudget"),
        ("team-quota", ["quota"], "requests.nvidia.com/gpu unset"),
    ],
)
def test_what_is_missing_beside_a_resource_is_noticed(policy: str, names: list[str], words: str):
    said = judge(policy, without(world(), *names))
    assert any(words in message for message in said), said


@pytest.mark.parametrize("kind", ["database", "bucket", "key", "files"])
def test_what_holds_data_must_be_protected_in_the_engine_too(kind: str):
    from dataclasses import replace

    bare = [replace(one, protect=False) if one.name == kind else one for one in world()]
    assert any("protect=True" in message for message in judge("protected", bare))


def test_an_unprotected_stack_is_refused_where_the_environment_demands_protection():
    open_stack = settings(protect=False)
    assert judge("protected", world(), stack=open_stack, config={"required": True})
    assert judge("protected", world(), stack=open_stack, config={"required": False}) == []


def test_the_api_server_is_open_to_the_networks_that_settings_name_and_no_other():
    stack = settings(cluster={"publicAccessCidrs": ["203.0.113.0/24"]})
    opened = changed(world(), "cluster", ("vpcConfig", "endpointPublicAccess"), True)
    cidrs = ("vpcConfig", "publicAccessCidrs")
    assert judge("api-endpoint", changed(opened, "cluster", cidrs, ["203.0.113.0/24"]), stack=stack) == []
    assert judge("api-endpoint", changed(opened, "cluster", cidrs, ["198.51.100.0/24"]), stack=stack)
    assert judge("api-endpoint", changed(opened, "cluster", cidrs, []), stack=stack) != []


@pytest.mark.parametrize(
    ("policy", "copied", "words"),
    [
        ("elastic-ip-quota", "address", "2 public addresses (address, address-2), the quota is 1"),
        ("cluster-quota", "cluster", "2 clusters"),
        ("load-balancer-quota", "gateway", "2 load balancers"),
    ],
)
def test_one_more_than_the_quota_is_refused(policy: str, copied: str, words: str):
    from dataclasses import replace

    resources = world()
    (one,) = (resource for resource in resources if resource.name == copied)
    said = judge(policy, [*resources, replace(one, name=f"{copied}-2")])
    assert any(words in message for message in said), said


def test_shares_of_teams_cannot_exceed_what_the_stack_may_have():
    greedy = settings(teams=[{"name": "search", "gpus": 3}, {"name": "vision", "gpus": 2}])
    assert any("5 GPUs together, the stack's quota is 4" in one for one in judge("team-quota", world(), stack=greedy))


def test_every_policy_that_can_be_broken_is_broken_by_some_test():
    """A policy without a mutation is a policy that nobody has seen bite."""
    elsewhere = {
        "elastic-ip-quota", "cluster-quota",  # above: one more than the quota
        "monthly-cost", "priced",  # test_money.py
        "iam-judged-later",  # test_unknowns.py
        "tags", "labels",  # test_remediation.py
        "exemptions",  # test_exemptions.py
        *(rule.name for rule in gcp.RULES),  # test_gcp.py
    }  # fmt: skip
    assert set(pack.names()) == {mutation[0] for mutation in MUTATIONS} | elsewhere


@pytest.mark.parametrize("policy", pack.names())
def test_an_empty_stack_passes(policy: str):
    assert judge(policy, [], exempt=Register()) == []


def test_a_recorded_reason_lets_a_wildcard_pass(monkeypatch: pytest.MonkeyPatch):
    from policies.security import wildcards

    wide = changed(world(), "permissions", ("policy",), allow("s3:*", resource="arn:aws:s3:::models"))
    assert judge("iam-wildcards", wide)
    reason = wildcards.Reason(resource="perm*", statement="It", reason="The tool tests every action.")
    monkeypatch.setattr(wildcards, "recorded", lambda: (reason,))
    assert judge("iam-wildcards", wide) == []


@pytest.mark.parametrize(
    "actions",
    [("ec2:DescribeInstances",), ("ecr:GetAuthorizationToken",), ("autoscaling:DescribeTags", "ec2:DescribeImages")],
)
def test_actions_that_iam_cannot_hold_to_a_resource_need_no_reason(actions: tuple[str, ...]):
    assert judge("iam-wildcards", changed(world(), "permissions", ("policy",), allow(*actions))) == []


@pytest.mark.parametrize(
    ("resource", "values", "passes"),
    [
        ("arn:aws:elasticloadbalancing:us-east-1:1:loadbalancer/net/*", "owned", True),
        ("arn:aws:elasticloadbalancing:us-east-1:1:loadbalancer/net/*", "*", False),
        ("*", "owned", False),
    ],
)
def test_a_tag_in_a_condition_stands_for_the_name_of_a_resource_but_not_for_its_kind(
    resource: str, values: str, passes: bool
):
    condition = {"StringEquals": {"aws:ResourceTag/elbv2.k8s.aws/cluster": values}}
    policy = allow("elasticloadbalancing:DeleteLoadBalancer", resource=resource, Condition=condition)
    assert (judge("iam-wildcards", changed(world(), "permissions", ("policy",), policy)) == []) is passes


def test_a_list_of_exceptions_names_an_object_with_its_namespace():
    pod = changed(world(), "deployment", (*_SPEC, "hostNetwork"), True)
    allowed = {"allowed": {"team-search/server": "It answers on the node's own address."}}
    assert judge("pod-privileges", pod, config=allowed) == []
    assert judge("pod-privileges", pod, config={"allowed": {"other/server": "Not this one."}})


OURS = "123456789012.dkr.ecr.us-east-1.amazonaws.com/llmops-prod/training:0123456789ab"


@pytest.mark.parametrize(
    ("image", "passes"),
    [
        (OURS, True),
        ("europe-west4-docker.pkg.dev/my-project/llmops-prod/training:0123456789ab", True),
        (OURS.replace("/training", "/somebody-elses"), False),
        (OURS.replace("0123456789ab", "0123456789a"), False),
        (OURS.replace("0123456789ab", "v1.2.3"), False),
        (OURS.replace("0123456789ab", "0123456789AB"), False),
        (OURS.replace("123456789012.dkr.ecr.us-east-1.amazonaws.com/", "docker.io/"), False),
        (OURS.replace(".amazonaws.com/", ".amazonaws.com.evil.example/"), False),
        (OURS.replace("llmops-prod/", "llmops-prod/other/"), False),
        ("evil.example/" + OURS, False),
    ],
)
def test_a_tag_pins_an_image_where_it_is_the_hash_of_the_content_in_our_own_repository(image: str, passes: bool):
    assert (judge("images-pinned", changed(world(), "deployment", (*_SERVER, "image"), image)) == []) is passes


@pytest.mark.parametrize(
    ("image", "passes"),
    [
        ("docker.io/acme/fetch:v1.2.3", True),
        ("docker.io/acme/fetch:latest", False),
        ("docker.io/acme/fetch", False),
        ("docker.io/acme/fetches:v1.2.3", False),
        ("evil.example/docker.io/acme/fetch:v1.2.3", False),
    ],
)
def test_an_image_that_is_on_the_list_may_be_named_by_a_fixed_tag(image: str, passes: bool):
    config = {"tagged": {"docker.io/acme/fetch": "its digest is nowhere to be read"}}
    resources = changed(world(), "deployment", (*_SERVER, "image"), image)
    assert (judge("images-pinned", resources, config=config) == []) is passes


def test_a_namespace_that_is_somebody_else_s_may_be_open_by_name():
    resources = without(world(), "deny")
    (name,) = {one.props["metadata"]["name"] for one in resources if one.type == "kubernetes:core/v1:Namespace"}
    assert judge("namespaces-closed", resources)
    assert judge("namespaces-closed", resources, config={"open": {"elsewhere": "its operator is not ours"}})
    assert judge("namespaces-closed", resources, config={"open": {name: "its operator is not ours"}}) == []


def test_an_image_that_is_known_later_is_judged_later():
    assert judge("images-pinned", changed(world(), "deployment", (*_SERVER, "image"), LATER)) == []
