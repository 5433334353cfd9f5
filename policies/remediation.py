"""Remediation: what is missing and can be added without harm, tags and labels, is added and said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pulumi_policy import EnforcementLevel, Severity
from pydantic import Field

from policies.objects import NAMESPACE
from policies.registry import Context, PolicyConfig, Rule
from policies.view import UNKNOWN, Resource, at, document, mapping

# Types that can carry tags, of those that cost money or hold data.
TAGGED: Final = (
    "aws:ec2/eip:Eip",
    "aws:ec2/natGateway:NatGateway",
    "aws:ec2/vpc:Vpc",
    "aws:ec2/vpcEndpoint:VpcEndpoint",
    "aws:ec2/launchTemplate:LaunchTemplate",
    "aws:ecr/repository:Repository",
    "aws:efs/fileSystem:FileSystem",
    "aws:eks/cluster:Cluster",
    "aws:eks/nodeGroup:NodeGroup",
    "aws:elasticache/replicationGroup:ReplicationGroup",
    "aws:kms/key:Key",
    "aws:rds/instance:Instance",
    "aws:s3/bucket:Bucket",
    "aws:secretsmanager/secret:Secret",
    "aws:sns/topic:Topic",
)


class TagConfig(PolicyConfig):
    """Tags.

    Attributes:
        required: Keys that must be there, on the resource or in its provider's default tags.
    """

    required: tuple[str, ...] = Field(default=("owner", "cost-center"))


def _values(context: Context) -> dict[str, str]:
    return {"owner": context.settings.owner, "cost-center": context.settings.cost_center}


def _missing(resource: Resource, context: Context) -> list[str]:
    tags, defaults = resource.get("tags"), document(resource.provider.get("defaultTags"))
    if UNKNOWN in (tags, defaults) or at(defaults, "tags") is UNKNOWN:
        return []  # judged during the update
    present = mapping(defaults, "tags") | mapping(tags)
    return [key for key in context.config.required if not present.get(key)]


def _tags(resource: Resource, context: Context) -> Iterator[str]:
    if missing := _missing(resource, context):
        yield f"lacks the tags {', '.join(missing)}: give its provider the stack's default tags"


def _add_tags(resource: Resource, context: Context) -> Mapping[tuple[str, ...], Any]:
    added = {key: value for key, value in _values(context).items() if key in _missing(resource, context)}
    return _into(resource, ("tags",), added)


def _into(resource: Resource, path: tuple[str, ...], added: Mapping[str, str]) -> Mapping[tuple[str, ...], Any]:
    """What to set so that an object at ``path`` holds ``added`` too: key by key, so that the others stay untouched."""
    if resource.get(*path) is None:
        return {path: dict(added)}
    return {(*path, key): value for key, value in added.items()}


class LabelConfig(PolicyConfig):
    """Labels of namespaces, by which costs are told apart.

    Attributes:
        required: Keys that must be there.
    """

    required: tuple[str, ...] = Field(default=("llmops/owner", "llmops/cost-center"))


def _unlabelled(resource: Resource, context: Context) -> list[str]:
    labels = resource.get("metadata", "labels")
    if labels is UNKNOWN:
        return []
    return [key for key in context.config.required if not at(labels, key) and at(labels, key) is not UNKNOWN]


def _labels(resource: Resource, context: Context) -> Iterator[str]:
    if missing := _unlabelled(resource, context):
        yield f"lacks the labels {', '.join(missing)}"


def _add_labels(resource: Resource, context: Context) -> Mapping[tuple[str, ...], Any]:
    known = {f"llmops/{key}": value for key, value in _values(context).items()}
    added = {key: known[key] for key in _unlabelled(resource, context) if key in known}
    return _into(resource, ("metadata", "labels"), added)


RULES: Final = (
    Rule(
        name="tags", group="remediation", severity=Severity.LOW, types=TAGGED, resource=_tags, remedy=_add_tags,
        config=TagConfig, level=EnforcementLevel.REMEDIATE,
        description="What costs money carries the tags by which costs are told apart.",
    ),
    Rule(
        name="labels", group="remediation", severity=Severity.LOW, types=(NAMESPACE,), resource=_labels,
        remedy=_add_labels, config=LabelConfig, level=EnforcementLevel.REMEDIATE,
        description="Namespaces carry the labels by which costs are told apart.",
    ),
)  # fmt: skip
