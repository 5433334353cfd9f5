"""What the account's node groups look like from inside the cluster."""

from __future__ import annotations

from typing import Any, Final

from components.capacity.ec2 import CATALOGUE, shape_of
from sandbox.kubernetes.nodes import NodeGroupSpec
from sandbox.node_resources import resources_of
from sandbox.store import Record, Store
from sandbox.values import Properties

_NODE_GROUP: Final = "aws:eks/nodeGroup:NodeGroup"
_DEFAULT_ROOT_VOLUME_GIB: Final = 20  # EKS user guide, "diskSize"
_EFFECTS: Final = {
    "NO_SCHEDULE": "NoSchedule",
    "NO_EXECUTE": "NoExecute",
    "PREFER_NO_SCHEDULE": "PreferNoSchedule",
}


def node_groups(store: Store) -> list[NodeGroupSpec]:
    """Return every EKS node group of the account; types that the capacity catalogue lacks are left out."""
    return [_spec(store, record) for record in store.records(_NODE_GROUP) if _types(record)]


def _types(record: Record) -> list[str]:
    given: list[str] = record.inputs.get("instanceTypes") or ["t3.medium"]  # EKS's own default
    return [kind for kind in given if kind in CATALOGUE]


def _spec(store: Store, record: Record) -> NodeGroupSpec:
    inputs, types = record.inputs, _types(record)
    scaling: dict[str, int] = record.outputs.get("scalingConfig") or inputs["scalingConfig"]
    shape = shape_of(types[0], _root_volume_gib(store, record))
    return NodeGroupSpec(
        name=inputs["nodeGroupName"],
        instance_types=types,
        min_size=int(scaling["minSize"]),
        desired=int(scaling["desiredSize"]),
        max_size=int(scaling["maxSize"]),
        labels={
            **(inputs.get("labels") or {}),
            "eks.amazonaws.com/nodegroup": inputs["nodeGroupName"],
            "eks.amazonaws.com/capacityType": inputs.get("capacityType") or "ON_DEMAND",
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": shape.architecture,
        },
        taints=[
            {"key": taint["key"], "value": taint.get("value") or "", "effect": _EFFECTS[taint["effect"]]}
            for taint in inputs.get("taints") or ()
        ],
        allocatable=resources_of(shape),
        capacity=resources_of(shape),
        zones=_zones(store, inputs.get("subnetIds") or ()),
        region=record.region,
    )


def _root_volume_gib(store: Store, group: Record) -> int:
    reference: Properties = group.inputs.get("launchTemplate") or {}
    template_id = reference.get("id")
    if template_id is None:
        return int(group.inputs.get("diskSize") or _DEFAULT_ROOT_VOLUME_GIB)
    template = store.find("aws:ec2/launchTemplate:LaunchTemplate", template_id)
    mappings: list[dict[str, Any]] = (template.inputs.get("blockDeviceMappings") if template else None) or []
    volumes: list[Properties] = [mapping["ebs"] for mapping in mappings if mapping.get("ebs")]
    sizes = [int(volume["volumeSize"]) for volume in volumes if volume.get("volumeSize")]
    return sizes[0] if sizes else _DEFAULT_ROOT_VOLUME_GIB


def _zones(store: Store, subnet_ids: list[str] | tuple[()]) -> list[str]:
    found = [store.find("aws:ec2/subnet:Subnet", subnet_id) for subnet_id in subnet_ids]
    return [str(subnet.outputs["availabilityZone"]) for subnet in found if subnet is not None]
