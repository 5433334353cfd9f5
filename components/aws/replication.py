"""Copies of the irreplaceable buckets in a second region."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import Provider, iam, s3

from components.aws.alarms import Alarm, metric_alarm
from components.aws.bucket import SecureBucket, SecureBucketArgs, bucket_name
from components.aws.policy import Account, Statement, render, service_trust
from components.buckets import Lifecycle
from components.contract import BucketRole

# The rest can be made again (pipelines, vectors), or protects something that is in the first region (logs, backups).
REPLICATED: tuple[BucketRole, ...] = ("data", "models", "mlflow")


@dataclass(frozen=True, kw_only=True)
class ReplicationArgs:
    """What replication needs.

    Attributes:
        prefix: ``<project>-<stack>``.
        source_account: Account and region of the buckets.
        replica_account: The same account in the second region.
        replica_provider: AWS provider of the second region.
        sources: Buckets to copy.
        source_kms_key_arn: Key of the buckets.
        replica_kms_key_arn: Key of the copies, in the second region.
        force_destroy: Delete the copies with their buckets.
        protect: Refuse deletion.
        alarm_topic_arn: Where failed copies are reported.
    """

    prefix: str
    source_account: Account
    replica_account: Account
    replica_provider: Provider
    sources: Mapping[BucketRole, SecureBucket]
    source_kms_key_arn: pulumi.Input[str]
    replica_kms_key_arn: pulumi.Input[str]
    force_destroy: bool
    protect: bool
    alarm_topic_arn: pulumi.Input[str]


class Replication(pulumi.ComponentResource):
    """Every new object version is copied; copies are kept without limit, and deletions are not copied."""

    replicas: Mapping[BucketRole, pulumi.Output[str]]

    def __init__(self, name: str, args: ReplicationArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:aws:Replication", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        abroad = pulumi.ResourceOptions(parent=self, provider=args.replica_provider)

        replicas: dict[BucketRole, SecureBucket] = {
            role: SecureBucket(
                f"{name}-{role}",
                SecureBucketArgs(
                    bucket_name=bucket_name(args.prefix, role, args.replica_account),
                    account=args.replica_account,
                    kms_key_arn=args.replica_kms_key_arn,
                    lifecycle=Lifecycle(),  # nothing expires
                    force_destroy=args.force_destroy,
                    protect=args.protect,
                ),
                abroad,
            )
            for role in args.sources
        }
        role = iam.Role(f"{name}-role", assume_role_policy=service_trust("s3.amazonaws.com"), opts=child)
        permissions = iam.RolePolicy(
            f"{name}-permissions",
            role=role.name,
            policy=render(
                replication_permissions(
                    sources=[bucket.arn for bucket in args.sources.values()],
                    replicas=[bucket.arn for bucket in replicas.values()],
                    source_key=args.source_kms_key_arn,
                    replica_key=args.replica_kms_key_arn,
                    source_region=args.source_account.region,
                    replica_region=args.replica_account.region,
                )
            ),
            opts=child,
        )
        for bucket_role, replica in replicas.items():
            source = args.sources[bucket_role]
            s3.BucketReplicationConfig(
                f"{name}-{bucket_role}",
                bucket=source.bucket_name,
                role=role.arn,
                rules=[_rule(replica.arn, args.replica_kms_key_arn)],
                # S3 refuses to replicate from or to a bucket without versioning, and fails copies without permission.
                opts=pulumi.ResourceOptions(
                    parent=self, depends_on=[source.versioning, replica.versioning, permissions]
                ),
            )
            for short, alarm in alarms(bucket_role, args.replica_account.region).items():
                metric_alarm(
                    f"{name}-{bucket_role}-{short}",
                    alarm,
                    dimensions={
                        "SourceBucket": source.bucket_name,
                        "DestinationBucket": replica.bucket_name,
                        "RuleId": _RULE_ID,
                    },
                    topic_arn=args.alarm_topic_arn,
                    opts=child,
                )
        self.replicas = {bucket_role: bucket.bucket_name for bucket_role, bucket in replicas.items()}
        self.register_outputs({"replicas": dict(self.replicas)})


_RULE_ID = "everything"


def alarms(role: BucketRole, region: str) -> dict[str, Alarm]:
    """What is worth a message about the copies of one bucket, by a short name."""
    return {
        "failed": Alarm(
            description=f"Objects of bucket {role} were not copied to {region}; look at the replication status of "
            "recent objects and at the replication role. docs/recovery.md#replicationfailed",
            namespace="AWS/S3",
            metric="OperationsFailedReplication",
            statistic="Sum",
            above=0,
            periods=1,
            missing_data="notBreaching",  # no data while nothing is written
        ),
        "late": Alarm(
            description=f"Copies of bucket {role} in {region} are more than 4 hours behind. "
            "docs/recovery.md#replicationlate",
            namespace="AWS/S3",
            metric="ReplicationLatency",
            statistic="Maximum",
            above=4 * 3600,  # seconds; most objects take 15 minutes, some a few hours (S3 user guide, "Replication")
            missing_data="notBreaching",
        ),
    }


def _rule(replica_arn: pulumi.Input[str], replica_key: pulumi.Input[str]) -> s3.BucketReplicationConfigRuleArgsDict:
    return {
        "id": _RULE_ID,
        "priority": 0,
        "status": "Enabled",
        "filter": {},
        # A deletion, by mistake or by an intruder, must not hide the copy.
        "delete_marker_replication": {"status": "Disabled"},
        "source_selection_criteria": {"sse_kms_encrypted_objects": {"status": "Enabled"}},
        "destination": {
            "bucket": replica_arn,
            "storage_class": "INTELLIGENT_TIERING",  # copies are read in a disaster, or never
            "encryption_configuration": {"replica_kms_key_id": replica_key},
            "metrics": {"status": "Enabled"},
        },
    }


def replication_permissions(
    *,
    sources: Sequence[pulumi.Input[str]],
    replicas: Sequence[pulumi.Input[str]],
    source_key: pulumi.Input[str],
    replica_key: pulumi.Input[str],
    source_region: str,
    replica_region: str,
) -> list[Statement]:
    """What S3 may do in our name: read versions here, write copies there, with the key of each side."""
    return [
        Statement(
            sid="ReadConfiguration",
            actions=("s3:GetReplicationConfiguration", "s3:ListBucket"),
            resources=sources,
        ),
        Statement(
            sid="ReadVersions",
            actions=(
                "s3:GetObjectVersionForReplication",
                "s3:GetObjectVersionAcl",
                "s3:GetObjectVersionTagging",
            ),
            resources=_objects(sources),
        ),
        Statement(
            sid="WriteCopies",
            actions=("s3:ReplicateObject", "s3:ReplicateTags"),  # not ReplicateDelete: deletions stay here
            resources=_objects(replicas),
        ),
        Statement(
            sid="DecryptVersions",
            actions=("kms:Decrypt",),
            resources=(source_key,),
            conditions=_only_through_s3(source_region, sources),
        ),
        Statement(
            sid="EncryptCopies",
            actions=("kms:Encrypt", "kms:GenerateDataKey"),
            resources=(replica_key,),
            conditions=_only_through_s3(replica_region, replicas),
        ),
    ]


def _objects(buckets: Sequence[pulumi.Input[str]]) -> list[pulumi.Input[str]]:
    return [pulumi.Output.concat(arn, "/*") for arn in buckets]


def _only_through_s3(
    region: str, buckets: Sequence[pulumi.Input[str]]
) -> Mapping[str, Mapping[str, pulumi.Input[str] | Sequence[pulumi.Input[str]]]]:
    """The context is the bucket's ARN with bucket keys, and the object's ARN without."""
    return {
        "StringEquals": {"kms:ViaService": f"s3.{region}.amazonaws.com"},
        "StringLike": {"kms:EncryptionContext:aws:s3:arn": [*buckets, *_objects(buckets)]},
    }
