"""IAM policy documents as data: statements are built by pure functions and rendered once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pulumi


@dataclass(frozen=True, kw_only=True)
class Account:
    """The account and region that a component stands in; plain, so that ARNs are known at preview.

    Attributes:
        id: Twelve digits.
        partition: ``aws``, ``aws-us-gov`` or ``aws-cn``.
        region: Such as ``us-east-1``.
    """

    id: str
    partition: str
    region: str

    @property
    def root_arn(self) -> str:
        """Principal that stands for every identity of the account that IAM allows."""
        return f"arn:{self.partition}:iam::{self.id}:root"


Condition = Mapping[str, Mapping[str, pulumi.Input[str] | Sequence[pulumi.Input[str]]]]
"""Operator to condition key to values: ``{"StringEquals": {"aws:SourceAccount": "123456789012"}}``."""

ANYONE: Mapping[str, str] = {"AWS": "*"}
"""Every principal; only in a Deny, or where a condition says who."""


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One statement of a policy.

    Attributes:
        sid: Name, unique in its document; letters and digits.
        actions: Such as ``s3:GetObject``.
        resources: ARNs; ``*`` in a key or resource policy means the resource that it is attached to.
        principal: Who, in resource policies; None in identity policies.
        effect: Allow, or Deny.
        conditions: All of them must hold.
    """

    sid: str
    actions: Sequence[str]
    resources: Sequence[pulumi.Input[str]]
    principal: Mapping[str, str | Sequence[str]] | None = None
    effect: Literal["Allow", "Deny"] = "Allow"
    conditions: Condition = field(default_factory=dict[str, Any])

    def as_json(self) -> dict[str, Any]:
        """The statement as IAM spells it; values may still be outputs."""
        return {
            "Sid": self.sid,
            "Effect": self.effect,
            **({"Principal": self.principal} if self.principal else {}),
            "Action": list(self.actions),
            "Resource": list(self.resources),
            **({"Condition": self.conditions} if self.conditions else {}),
        }


def render(statements: Sequence[Statement]) -> pulumi.Output[str]:
    """The policy document; known at preview when every value in it is."""
    return pulumi.Output.json_dumps(
        {"Version": "2012-10-17", "Statement": [statement.as_json() for statement in statements]}
    )


def service_trust(service: str) -> pulumi.Output[str]:
    """Trust policy of a role that an AWS service assumes, such as ``s3.amazonaws.com``."""
    return pulumi.Output.json_dumps(
        {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}],
        }
    )
