"""Leftovers in IAM, which has no regions, and whatever else carries the stack's tag."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ops.leftovers.aws.look import UNKNOWN_MAKER, Look
from ops.leftovers.model import Leftover
from ops.preflight.aws.account import AwsError

# Resources that other finders ask the service itself for. The index of tags is minutes to hours behind it.
_ASKED: Final = (
    "autoscaling:",
    "ec2:elastic-ip",
    "ec2:instance",
    "ec2:network-interface",
    "ec2:security-group",
    "ec2:snapshot",
    "ec2:volume",
    "ecr:repository",
    "elasticloadbalancing:",
    "kms:key",
    "logs:log-group",
    "rds:auto-backup",
    "rds:snapshot",
    "s3:",
    "secretsmanager:secret",
)


def roles(look: Look) -> Iterator[Leftover]:
    """Roles of pods, nodes and services."""
    if not look.home:
        return
    for one in look.pages("iam", "list_roles", "Roles"):
        name = str(one["RoleName"])
        if name not in look.record.ids and not name.startswith(f"{look.record.prefix}-"):
            continue  # the list has no tags; to ask for those of every role of an account would take minutes
        try:
            tags = look.call("iam", "list_role_tags", RoleName=name)["Tags"]
        except AwsError as error:
            if error.code != "NoSuchEntity":
                raise
            continue
        made_by = look.maker(tags, name)
        command = f"aws iam delete-role --role-name {name}"
        if made_by:
            yield _everywhere("role", name, made_by, f"{command} (detach its policies first)", safe=True)
        elif not any(tag["Key"] == "stack" for tag in tags):
            yield _everywhere("role", name, UNKNOWN_MAKER, command, safe=False)


def identity_providers(look: Look) -> Iterator[Leftover]:
    """The cluster as a provider of identities."""
    if not look.home:
        return
    for one in look.call("iam", "list_open_id_connect_providers")["OpenIDConnectProviderList"]:
        arn = str(one["Arn"])
        tags = look.call("iam", "list_open_id_connect_provider_tags", OpenIDConnectProviderArn=arn)["Tags"]
        if made_by := look.maker(tags, arn):
            command = f"aws iam delete-open-id-connect-provider --open-id-connect-provider-arn {arn}"
            yield _everywhere("identity provider", arn, made_by, command, safe=True)


def tagged(look: Look) -> Iterator[Leftover]:
    """Everything else with the stack's tag, whatever it is."""
    wanted = [{"Key": "stack", "Values": [look.record.prefix]}]
    for one in look.pages("resourcegroupstaggingapi", "get_resources", "ResourceTagMappingList", TagFilters=wanted):
        arn = str(one["ResourceARN"])
        kind = _kind(arn)
        if not kind.startswith(_ASKED):
            note = "AWS's index of tags can be an hour behind: look whether it is still there"
            command = "see the service's own page; it has the tag stack. aws resourcegroupstaggingapi get-resources"
            yield look.found(kind, arn, "this stack, by its tag", command, fate="by hand", note=note)


def _everywhere(kind: str, name: str, made_by: str, command: str, *, safe: bool) -> Leftover:
    fate = "safe" if safe else "by hand"
    return Leftover(kind=kind, name=name, region="", made_by=made_by, command=command, fate=fate)


def _kind(arn: str) -> str:
    """Service and type in an ARN: ``ec2:subnet``."""
    parts = arn.split(":", 5)
    resource = parts[5] if len(parts) == 6 else ""
    return f"{parts[2] if len(parts) > 2 else arn}:{resource.replace('/', ':').split(':')[0]}"
