"""Customer-managed KMS keys, one for each domain of data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import pulumi
from pulumi_aws import kms

from components.aws.policy import ANYONE, Account, Statement, render

KeyDomain = Literal["cluster", "storage", "database", "objects", "backups", "secrets", "logs"]
"""What a key encrypts: Kubernetes secrets; node volumes, shared files and images; the database and the cache; buckets;
the bucket of backups; Secrets Manager; CloudWatch logs and notifications."""

ALL_DOMAINS: tuple[KeyDomain, ...] = get_args(KeyDomain)

_USE = ("kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey")
# Wildcards in _USE: the variants with and without plaintext, and from and to; all are needed to read and write volumes.

# Services that publish to the stack's topic, which the logs key encrypts.
PUBLISHERS = ("budgets.amazonaws.com", "cloudwatch.amazonaws.com", "events.rds.amazonaws.com")


@dataclass(frozen=True, kw_only=True)
class KeysArgs:
    """What the keys need.

    Attributes:
        prefix: ``<project>-<stack>``; the aliases are ``alias/<prefix>-<domain>``.
        account: Where the keys live.
        deletion_window_days: 7 to 30; how long a deleted key can be brought back.
        protect: Refuse deletion: without its key, data is gone.
        domains: Which keys to make.
    """

    prefix: str
    account: Account
    deletion_window_days: int
    protect: bool
    domains: Sequence[KeyDomain] = ALL_DOMAINS


class Keys(pulumi.ComponentResource):
    """Keys with yearly rotation; their policies let the account's IAM decide, and services in only where they must."""

    arns: Mapping[KeyDomain, pulumi.Output[str]]
    ids: Mapping[KeyDomain, pulumi.Output[str]]

    def __init__(self, name: str, args: KeysArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:aws:Keys", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        keys: dict[KeyDomain, kms.Key] = {
            domain: kms.Key(
                f"{name}-{domain}",
                description=f"{args.prefix}: {domain}",
                enable_key_rotation=True,
                deletion_window_in_days=args.deletion_window_days,
                policy=render(key_policy(domain, args.account)),
                opts=pulumi.ResourceOptions(parent=self, protect=args.protect),
            )
            for domain in args.domains
        }
        for domain, key in keys.items():
            kms.Alias(f"{name}-{domain}", name=f"alias/{args.prefix}-{domain}", target_key_id=key.id, opts=child)

        self.arns = {domain: key.arn for domain, key in keys.items()}
        self.ids = {domain: key.id for domain, key in keys.items()}
        self.register_outputs({"arns": dict(self.arns), "ids": dict(self.ids)})


def key_policy(domain: KeyDomain, account: Account) -> tuple[Statement, ...]:
    """Who may use the key of ``domain``: the account's IAM always, services where they act in their own name."""
    return (
        Statement(
            sid="AccountAdministers",
            principal={"AWS": account.root_arn},
            actions=("kms:*",),  # KMS user guide: without it, a key whose policy is wrong can be managed by nobody
            resources=("*",),
        ),
        *(_node_volumes(account) if domain == "storage" else ()),
        *(_log_groups(account) if domain == "logs" else ()),
        *(_notifications(account) if domain == "logs" else ()),
    )


def _node_volumes(account: Account) -> tuple[Statement, ...]:
    """Auto Scaling starts the nodes of managed node groups, so its service-linked role encrypts their volumes.

    The role is named by a condition and not as the principal: KMS refuses a principal that does not exist yet, and
    a fresh account gets the role only with its first Auto Scaling group.
    """
    role = "role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
    who = {
        "StringEquals": {
            "kms:CallerAccount": account.id,
            "aws:PrincipalArn": f"arn:{account.partition}:iam::{account.id}:{role}",
        }
    }
    return (
        Statement(sid="AutoScalingUses", principal=ANYONE, actions=_USE, resources=("*",), conditions=who),
        Statement(
            sid="AutoScalingAttachesVolumes",
            principal=ANYONE,
            actions=("kms:CreateGrant",),
            resources=("*",),
            conditions={**who, "Bool": {"kms:GrantIsForAWSResource": "true"}},
        ),
    )


def _log_groups(account: Account) -> tuple[Statement, ...]:
    groups = f"arn:{account.partition}:logs:{account.region}:{account.id}:log-group:*"  # any group of this account
    return (
        Statement(
            sid="LogGroupsEncrypt",
            principal={"Service": f"logs.{account.region}.amazonaws.com"},
            actions=_USE,
            resources=("*",),
            conditions={"ArnLike": {"kms:EncryptionContext:aws:logs:arn": groups}},
        ),
    )


def _notifications(account: Account) -> tuple[Statement, ...]:
    topics = f"arn:{account.partition}:sns:{account.region}:{account.id}:*"  # any topic of this account
    return (
        Statement(
            sid="AlarmsPublish",
            principal={"Service": PUBLISHERS},
            actions=("kms:Decrypt", "kms:GenerateDataKey*"),  # SNS developer guide, "Encrypted topics"
            resources=("*",),
            conditions={"ArnLike": {"kms:EncryptionContext:aws:sns:topicArn": topics}},
        ),
    )
