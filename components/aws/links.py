"""Who signs links to artifacts: a role that reads them and can do nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import iam

from components.aws.policy import Account, Statement, render
from components.buckets import MAX_LINK_SECONDS


@dataclass(frozen=True, kw_only=True)
class ArtifactLinksArgs:
    """What the role needs.

    Attributes:
        account: Where the buckets live; its own policies say who may take the role.
        bucket_arns: Buckets that links are given to.
        kms_key_arn: Key of their objects.
    """

    account: Account
    bucket_arns: Sequence[pulumi.Input[str]]
    kms_key_arn: pulumi.Input[str]


class ArtifactLinks(pulumi.ComponentResource):
    """A role for ``ops artifacts link``: whoever may take it gives links away, and does not read by it otherwise."""

    role_arn: pulumi.Output[str]

    def __init__(self, name: str, args: ArtifactLinksArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:aws:ArtifactLinks", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        role = iam.Role(
            f"{name}-role",
            description="Signs links to artifacts",
            assume_role_policy=trust(args.account),
            max_session_duration=MAX_LINK_SECONDS,  # a link ends with the credentials that signed it
            opts=child,
        )
        permissions = iam.RolePolicy(
            f"{name}-permissions",
            role=role.name,
            policy=render(permissions_of(args.bucket_arns, args.kms_key_arn, args.account.region)),
            opts=child,
        )
        # Who takes the role needs its permissions, so its name is known only once both exist.
        self.role_arn = pulumi.Output.all(role.arn, permissions.id).apply(lambda values: str(values[0]))
        self.register_outputs({"roleArn": self.role_arn})


def trust(account: Account) -> pulumi.Output[str]:
    """The account's IAM decides: who takes the role must also be allowed ``sts:AssumeRole`` on it."""
    return pulumi.Output.json_dumps(
        {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Principal": {"AWS": account.root_arn}, "Action": "sts:AssumeRole"}],
        }
    )


def permissions_of(
    bucket_arns: Sequence[pulumi.Input[str]], kms_key_arn: pulumi.Input[str], region: str
) -> list[Statement]:
    """Reading objects whose name is known, and their key through S3; no listing, no versions."""
    objects = [pulumi.Output.concat(arn, "/*") for arn in bucket_arns]
    return [
        Statement(sid="ReadArtifacts", actions=("s3:GetObject",), resources=objects),
        Statement(
            sid="DecryptArtifacts",
            actions=("kms:Decrypt",),
            resources=(kms_key_arn,),
            conditions={
                "StringEquals": {"kms:ViaService": f"s3.{region}.amazonaws.com"},
                # The context is the bucket's ARN with bucket keys, and the object's ARN without.
                "StringLike": {"kms:EncryptionContext:aws:s3:arn": [*bucket_arns, *objects]},
            },
        ),
    ]
