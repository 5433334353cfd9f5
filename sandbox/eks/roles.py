"""IAM roles that an AWS service assumes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import pulumi
from pulumi_aws import iam

from sandbox.eks.inputs import Inputs


class ServiceRole(pulumi.ComponentResource):
    """A role for one service with AWS's managed policies attached.

    Attributes:
        direct: The role as soon as it exists.
        resolved: The role once every policy is attached.
    """

    direct: iam.Role
    resolved: pulumi.Output[iam.Role]

    def __init__(
        self,
        name: str,
        *,
        service: str,
        partition: pulumi.Output[str],
        policies: Sequence[str],
        opts: pulumi.ResourceOptions,
        description: str | None = None,
        actions: Sequence[str] = ("sts:AssumeRole",),
        tags: Inputs | None = None,
    ) -> None:
        super().__init__("eks:index:ServiceRole", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        trust = {
            "Version": "2012-10-17",
            "Statement": [{"Action": list(actions), "Effect": "Allow", "Principal": {"Service": [service]}}],
        }
        role = iam.Role(
            f"{name}-role",
            description=description,
            assume_role_policy=json.dumps(trust, separators=(",", ":")),
            tags=tags,
            opts=child,
        )
        attachments = [
            iam.RolePolicyAttachment(
                f"{name}-{_short_hash(f'arn:aws:iam::aws:policy/{policy}')}",
                policy_arn=pulumi.Output.format("arn:{}:iam::aws:policy/{}", partition, policy),
                role=role.id,
                opts=child,
            )
            for policy in policies
        ]
        self.direct = role
        self.resolved = pulumi.Output.all(role.arn, *(attachment.id for attachment in attachments)).apply(
            lambda _: role
        )
        self.register_outputs({"resolvedRole": self.resolved, "directRole": self.direct})


def role_arn(role: Any) -> pulumi.Output[str]:
    """Return the ARN of a role that the program hands over, now or late."""
    return pulumi.Output.from_input(role).apply(lambda known: known.arn)


def _short_hash(text: str) -> str:
    """Names of attachments end with eight digits of the policy's hash; a name, not a matter of security."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:8]
