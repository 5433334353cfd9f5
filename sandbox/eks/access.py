"""Who may use a cluster: access entries, and the ``aws-auth`` map of the older mode."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pulumi
import yaml
from pulumi_aws import eks

from sandbox.eks.inputs import Inputs, given, section, truthy
from sandbox.provider import CheckFailure


def uses_config_map(mode: str | None) -> bool:
    """Whether the mode reads ``aws-auth``; without a mode EKS does."""
    return mode in (None, "CONFIG_MAP", "API_AND_CONFIG_MAP")


def uses_entries(mode: str | None) -> bool:
    """Whether the mode reads access entries."""
    return mode in ("API", "API_AND_CONFIG_MAP")


def failures(inputs: Mapping[str, Any]) -> Iterator[CheckFailure]:
    """Refuse arguments that the authentication mode has no use for."""
    mode = inputs.get("authenticationMode")
    if not uses_config_map(mode):
        for name in ("roleMappings", "userMappings", "instanceRoles"):
            if inputs.get(name) not in (None, []):
                yield CheckFailure(name, f"must be empty when authenticationMode is {mode}; use accessEntries")
    if not uses_entries(mode) and truthy(inputs.get("accessEntries")):
        yield CheckFailure("accessEntries", "needs authenticationMode API or API_AND_CONFIG_MAP")


def access_entries(
    name: str, cluster_name: pulumi.Output[str], entries: Inputs, opts: pulumi.ResourceOptions
) -> list[eks.AccessEntry]:
    """Declare the access entries of a cluster, each with the policies associated with it."""
    created: list[eks.AccessEntry] = []
    for key, entry in entries.items():
        resource = eks.AccessEntry(
            f"{name}-{key}",
            cluster_name=cluster_name,
            principal_arn=entry["principalArn"],
            kubernetes_groups=entry.get("kubernetesGroups"),
            tags=entry.get("tags"),
            type=entry.get("type"),
            user_name=entry.get("username"),
            opts=opts,
        )
        created.append(resource)
        for association, policy in section(entry, "accessPolicies").items():
            late = pulumi.Output.from_input(policy)
            eks.AccessPolicyAssociation(
                f"{name}-{key}-{association}",
                access_scope=late["accessScope"],
                policy_arn=late["policyArn"],
                principal_arn=entry["principalArn"],
                cluster_name=cluster_name,
                opts=pulumi.ResourceOptions(parent=resource, depends_on=[resource]),
            )
    return created


def aws_auth(instance_roles: pulumi.Output[list[Any]], inputs: Inputs) -> dict[str, pulumi.Output[str]]:
    """Return the data of the ``aws-auth`` ConfigMap: the nodes' roles, and the mappings that the program gives."""
    nodes = instance_roles.apply(lambda roles: pulumi.Output.all(*(role.arn for role in roles)))
    roles = pulumi.Output.all(given(inputs, "roleMappings", []), nodes).apply(
        lambda known: _yaml("rolearn", "roleArn", [*known[0], *map(_node_mapping, known[1])])
    )
    data = {"mapRoles": roles}
    if truthy(inputs.get("userMappings")):
        users = pulumi.Output.from_input(inputs["userMappings"])
        data["mapUsers"] = users.apply(lambda known: _yaml("userarn", "userArn", known))
    return data


def _node_mapping(arn: str) -> Inputs:
    return {
        "roleArn": arn,
        "username": "system:node:{{EC2PrivateDNSName}}",
        "groups": ["system:bootstrappers", "system:nodes"],
    }


def _yaml(field: str, source: str, mappings: list[Inputs]) -> str:
    rows = [{field: m[source], "username": m["username"], "groups": list(m["groups"])} for m in mappings]
    return yaml.safe_dump(rows, sort_keys=False)
