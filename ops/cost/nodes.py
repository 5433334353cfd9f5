"""What node groups cost: machines and their root volumes, over the range of their autoscaling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.capacity.ec2 import CATALOGUE
from ops.cost.items import Bill
from ops.cost.model import Range, Resource
from ops.cost.owners import Owner, claims_of, split

ROLE_LABEL = "llmops/role"
TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
_ROLES = ("system", "cpu", "gpu-training", "gpu-inference")
_DEFAULT_DISK_GIB = 20  # EKS's own, for groups without a launch template and without diskSize


def node_group(resource: Resource, bill: Bill) -> None:
    """Machines and root volumes of a group."""
    least, most = resource.number("scalingConfig", "minSize"), resource.number("scalingConfig", "maxSize")
    kinds = [kind for kind in resource.items("instanceTypes") if isinstance(kind, str)]
    if least is None or most is None or not kinds:
        bill.skip(resource, "a node group whose size and instance types are not plain")
        return
    role = str(resource.get("labels", ROLE_LABEL) or "other")
    share = share_of(role, bill)
    nodes = Range(
        low=least + share.low * (most - least),
        expected=least + share.expected * (most - least),
        high=least + share.high * (most - least),
    )
    hourly = _hourly(resource, bill, kinds)
    gpus = CATALOGUE[kinds[0]].gpus if kinds[0] in CATALOGUE else 0
    parts = owned(resource, bill, nodes, gpus, share.expected, resource.table("labels"))
    for owner, count in parts:
        if hourly is not None and (count.high or not nodes.high):
            spot = ", spot" if _is_spot(resource) else ""
            bill.add(resource, f"nodes, {' or '.join(kinds)}{spot}", f"ec2/{kinds[0]}", count, rate=hourly, owner=owner)
    for disk, size in _root_volumes(resource, bill):
        bill.add(resource, "root volumes", f"ebs/{disk}", nodes.times(size))


def share_of(role: str, bill: Bill) -> Range:
    """How much of the room between minimum and maximum groups of a role use."""
    return bill.usage(f"nodes.{role}" if role in _ROLES else "nodes.other")


def _is_spot(resource: Resource) -> bool:
    return resource.text("capacityType", default="ON_DEMAND") == "SPOT"


def _hourly(resource: Resource, bill: Bill, kinds: list[str]) -> Range | None:
    """Dollars for an hour of one node: the cheapest type, the first, which is preferred, and the dearest."""
    rates = [rate for kind in kinds if (rate := bill.rate(resource, f"ec2/{kind}")) is not None]
    if len(rates) < len(kinds):
        return None
    hourly = Range(low=min(rates), expected=rates[0], high=max(rates))
    return hourly.times(bill.usage("spot.price")) if _is_spot(resource) else hourly


def owned(
    resource: Resource, bill: Bill, nodes: Range, gpus: int, share: float, labels: Mapping[str, Any]
) -> list[tuple[Owner, Range]]:
    """A group's nodes by owner: its own tags and labels first, else the pods that hold its GPUs.

    Args:
        resource: The group.
        bill: The bill.
        nodes: How many nodes it has.
        gpus: GPUs of one node.
        share: Expected part of the room between minimum and maximum.
        labels: Labels of its nodes.
    """
    mine = bill.owners.get(resource.urn) or Owner()
    if mine != Owner() or not gpus:
        return [(mine, nodes)]
    claims = claims_of(bill.resources.values(), bill.owners)
    takers = [claim for claim in claims if claim.suits(labels)]
    return split(nodes, gpus, share, takers)


def _root_volumes(resource: Resource, bill: Bill) -> list[tuple[str, float]]:
    """Type and GiB of a node's volumes, from the launch template of the group."""
    template = _template(resource, bill)
    if template is None:
        return [("gp2", resource.number("diskSize") or _DEFAULT_DISK_GIB)]
    found: list[tuple[str, float]] = []
    for index, _ in enumerate(template.items("blockDeviceMappings")):
        size = template.number("blockDeviceMappings", index, "ebs", "volumeSize")
        if size is None:
            bill.skip(resource, "a root volume whose size is not plain")
        else:
            found.append((template.text("blockDeviceMappings", index, "ebs", "volumeType", default="gp3"), size))
    return found


def _template(resource: Resource, bill: Bill) -> Resource | None:
    """The launch template: what the group depends on, or what stands beside it in the same component."""
    for urn in resource.dependencies:
        found = bill.resources.get(urn)
        if found is not None and found.type == TEMPLATE:
            return found
    if resource.get("launchTemplate") is None or not resource.parent:
        return None
    beside = [one for one in bill.resources.values() if one.type == TEMPLATE and one.parent == resource.parent]
    return beside[0] if len(beside) == 1 else None
