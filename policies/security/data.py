"""Data: encrypted where it lies and where it moves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, cast

from pulumi_policy import Severity
from pydantic import Field

from policies.registry import Context, Finding, PolicyConfig, Rule, fsbp
from policies.security.buckets import BUCKET, PARTS, Buckets
from policies.view import UNKNOWN, Resource, at, document, is_true

DATABASE: Final = "aws:rds/instance:Instance"
DATABASE_COPIES: Final = "aws:rds/instanceAutomatedBackupsReplication:InstanceAutomatedBackupsReplication"
DATABASE_PARAMETERS: Final = "aws:rds/parameterGroup:ParameterGroup"
CACHE: Final = "aws:elasticache/replicationGroup:ReplicationGroup"
FILES: Final = "aws:efs/fileSystem:FileSystem"
CLUSTER: Final = "aws:eks/cluster:Cluster"
TEMPLATE: Final = "aws:ec2/launchTemplate:LaunchTemplate"
STORAGE_CLASS: Final = "kubernetes:storage.k8s.io/v1:StorageClass"


def _key(value: Any, what: str) -> Iterator[str]:
    """A key of the stack's own must be named; which one may be known only during the update."""
    if not value and value is not UNKNOWN:
        yield f"{what} must name a key of the stack: AWS's own keys cannot be withdrawn, and grant to the whole account"


def _database(resource: Resource, _context: Context) -> Iterator[str]:
    if not is_true(resource.get("storageEncrypted")):
        yield "storageEncrypted must be true"
    yield from _key(resource.get("kmsKeyId"), "kmsKeyId")
    if is_true(resource.get("manageMasterUserPassword")):
        yield from _key(resource.get("masterUserSecretKmsKeyId"), "masterUserSecretKmsKeyId")
    elif resource.get("password") is not None:
        yield "manageMasterUserPassword must be true: a password of the program's own stays in the state"


def _database_tls(resource: Resource, _context: Context) -> Iterator[str]:
    family = resource.get("family")
    if not (isinstance(family, str) and family.startswith("postgres")):
        return
    parameters = {at(one, "name"): at(one, "value") for one in resource.items("parameters")}
    if parameters.get("rds.force_ssl") != "1":
        yield "parameter rds.force_ssl must be 1, or clients may connect without TLS"


def _cache(resource: Resource, _context: Context) -> Iterator[str]:
    if not is_true(resource.get("atRestEncryptionEnabled")):
        yield "atRestEncryptionEnabled must be true"
    yield from _key(resource.get("kmsKeyId"), "kmsKeyId")
    if not is_true(resource.get("transitEncryptionEnabled")) or resource.get("transitEncryptionMode") == "preferred":
        yield "transitEncryptionEnabled must be true and transitEncryptionMode not preferred"
    if resource.get("authToken") is None and not resource.items("userGroupIds"):
        yield "authToken or userGroupIds must be set, or whoever reaches the cache may use it"


def _files(resource: Resource, _context: Context) -> Iterator[str]:
    if not is_true(resource.get("encrypted")):
        yield "encrypted must be true"
    yield from _key(resource.get("kmsKeyId"), "kmsKeyId")


def _volumes(resource: Resource, _context: Context) -> Iterator[str]:
    if resource.type == STORAGE_CLASS:
        if resource.get("provisioner") == "ebs.csi.aws.com" and not is_true(resource.get("parameters", "encrypted")):
            yield 'parameters.encrypted must be "true", or volumes of claims are in plain text'
        return
    if resource.type != TEMPLATE:
        if not is_true(resource.get("encrypted")):
            yield "encrypted must be true"
        return
    for index, mapping in enumerate(resource.items("blockDeviceMappings")):
        if at(mapping, "ebs") is not None and not is_true(at(mapping, "ebs", "encrypted")):
            yield f"blockDeviceMappings[{index}].ebs.encrypted must be true"
    if not resource.items("blockDeviceMappings"):
        yield "blockDeviceMappings must name the root volume and encrypt it"


def _cluster_secrets(resource: Resource, _context: Context) -> Iterator[str]:
    config = resource.get("encryptionConfig")
    covered = at(config, "resources")
    if config is None or (isinstance(covered, list) and "secrets" not in covered):
        yield "encryptionConfig must cover secrets with a key of the stack"


_KEYED: Final = {
    "aws:cloudwatch/logGroup:LogGroup": "kmsKeyId",
    "aws:secretsmanager/secret:Secret": "kmsKeyId",
    "aws:sns/topic:Topic": "kmsMasterKeyId",
    DATABASE_COPIES: "kmsKeyId",
}
_REPOSITORY: Final = "aws:ecr/repository:Repository"


def _own_key(resource: Resource, _context: Context) -> Iterator[str]:
    if resource.type == _REPOSITORY:
        yield from _key(resource.get("encryptionConfigurations", 0, "kmsKey"), "encryptionConfigurations[0].kmsKey")
    else:
        yield from _key(resource.get(_KEYED[resource.type]), _KEYED[resource.type])


class BucketConfig(PolicyConfig):
    """Which buckets are encrypted otherwise.

    Attributes:
        without_key: Resource names of buckets that S3's own key encrypts.
    """

    # S3 delivers access logs only to buckets with its own key (S3 user guide, "Enabling server access logging").
    without_key: tuple[str, ...] = Field(default=("foundation-objects-access-logs",))


def _buckets_encrypted(resources: Sequence[Resource], context: Context) -> Iterator[Finding]:
    buckets = Buckets(resources)
    for bucket in buckets.all:
        found = buckets.part(bucket, "encryption")
        rule = found.get("rules", 0, "applyServerSideEncryptionByDefault") if found else None
        if found is None:
            yield Finding("a BucketServerSideEncryptionConfiguration must name the key of the stack", bucket)
        elif bucket.name not in context.config.without_key and at(rule, "sseAlgorithm") not in ("aws:kms", UNKNOWN):
            yield Finding("sseAlgorithm must be aws:kms with a key of the stack", bucket)
        elif bucket.name not in context.config.without_key and at(rule, "kmsMasterKeyId") is None:
            yield Finding("kmsMasterKeyId must name a key of the stack", bucket)


def refuses_plain_text(policy: Any) -> bool:
    """Whether a policy document denies every action to requests without TLS."""
    for statement in _statements(policy):
        secure = at(statement, "Condition", "Bool", "aws:SecureTransport")
        actions = at(statement, "Action")
        whole = "*" in actions or "s3:*" in actions if isinstance(actions, (list, str)) else False
        anyone = at(statement, "Principal") in ("*", {"AWS": "*"})
        if statement.get("Effect") == "Deny" and secure in ("false", False) and whole and anyone:
            return True
    return False


def _statements(policy: Any) -> list[dict[str, Any]]:
    found = at(policy, "Statement")
    listed = cast("list[Any]", found) if isinstance(found, list) else [found]
    return [cast("dict[str, Any]", one) for one in listed if isinstance(one, dict)]


def _buckets_tls(resources: Sequence[Resource], _context: Context) -> Iterator[Finding]:
    buckets = Buckets(resources)
    for bucket in buckets.all:
        found = buckets.part(bucket, "policy")
        policy = document(found.get("policy")) if found else None
        if policy is not UNKNOWN and not refuses_plain_text(policy):
            yield Finding("a bucket policy must deny everything where aws:SecureTransport is false", bucket)


_BUCKETS: Final = (BUCKET, *PARTS.values())

RULES: Final = (
    Rule(
        name="database-encrypted", group="security", severity=Severity.CRITICAL, types=(DATABASE,), resource=_database,
        control=fsbp("RDS.3"),
        description="Databases are encrypted with a key of the stack; RDS keeps their password.",
    ),
    Rule(
        name="database-tls", group="security", severity=Severity.HIGH, types=(DATABASE_PARAMETERS,),
        resource=_database_tls, control=fsbp("RDS.38"),
        description="PostgreSQL takes no connection without TLS.",
    ),
    Rule(
        name="cache-encrypted", group="security", severity=Severity.HIGH, types=(CACHE,), resource=_cache,
        control=fsbp("ElastiCache.5"),
        description="Caches are encrypted at rest and in transit, and ask for a credential.",
    ),
    Rule(
        name="files-encrypted", group="security", severity=Severity.HIGH, types=(FILES,), resource=_files,
        control=fsbp("EFS.1"),
        description="Shared file systems are encrypted with a key of the stack.",
    ),
    Rule(
        name="volumes-encrypted", group="security", severity=Severity.HIGH, resource=_volumes, control=fsbp("EC2.3"),
        types=(TEMPLATE, "aws:ebs/volume:Volume", STORAGE_CLASS),
        description="Volumes of nodes and of claims are encrypted.",
    ),
    Rule(
        name="cluster-secrets-encrypted", group="security", severity=Severity.HIGH, types=(CLUSTER,),
        resource=_cluster_secrets, control=fsbp("EKS.3"),
        description="Kubernetes secrets are enveloped with a key of the stack.",
    ),
    Rule(
        name="own-key", group="security", severity=Severity.MEDIUM, types=(*_KEYED, _REPOSITORY), resource=_own_key,
        description="Logs, secrets, topics, images and copied backups are encrypted with a key of the stack.",
    ),
    Rule(
        name="buckets-encrypted", group="security", severity=Severity.HIGH, types=_BUCKETS, stack=_buckets_encrypted,
        config=BucketConfig,
        description="Buckets are encrypted with a key of the stack.",
    ),
    Rule(
        name="buckets-tls", group="security", severity=Severity.HIGH, types=_BUCKETS, stack=_buckets_tls,
        control=fsbp("S3.5"),
        description="Buckets refuse requests without TLS.",
    ),
)  # fmt: skip
