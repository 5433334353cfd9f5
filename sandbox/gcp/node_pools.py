"""What the account's GKE node pools look like from inside the cluster."""

from __future__ import annotations

from typing import Final

from components.capacity.gce import CATALOGUE, shape_of
from sandbox.gcp.identifiers import last
from sandbox.kubernetes.nodes import NodeGroupSpec
from sandbox.node_resources import resources_of
from sandbox.store import Record, Store
from sandbox.values import Properties, is_object

_NODE_POOL: Final = "gcp:container/nodePool:NodePool"
_DEFAULT_MACHINE: Final = "e2-medium"  # GKE's own, as is the size of the boot disk
_DEFAULT_DISK_GIB: Final = 100
_EFFECTS: Final = {
    "NO_SCHEDULE": "NoSchedule",
    "NO_EXECUTE": "NoExecute",
    "PREFER_NO_SCHEDULE": "PreferNoSchedule",
}


def node_pools(store: Store) -> list[NodeGroupSpec]:
    """Return every node pool of the account; machine types that the capacity catalogue lacks are left out."""
    return [_spec(record) for record in store.records(_NODE_POOL) if _machine(record) in CATALOGUE]


def _node_config(record: Record) -> Properties:
    config = record.inputs.get("nodeConfig")
    return config if is_object(config) else {}


def _machine(record: Record) -> str:
    return str(_node_config(record).get("machineType") or _DEFAULT_MACHINE)


def _spec(record: Record) -> NodeGroupSpec:
    inputs, config = record.inputs, _node_config(record)
    name, machine = str(inputs["name"]), _machine(record)
    shape = shape_of(machine, _disk_gib(config))
    zones: list[str] = inputs.get("nodeLocations") or record.outputs.get("nodeLocations") or []
    least, first, most = _sizes(inputs, max(1, len(zones)))
    spot = "spot" if config.get("spot") else "preemptible" if config.get("preemptible") else ""
    gpu = {"cloud.google.com/gke-accelerator": _accelerator(config)} if shape.gpus else {}
    return NodeGroupSpec(
        name=name,
        instance_types=[machine],
        min_size=least,
        desired=first,
        max_size=most,
        labels={
            **(config.get("labels") or {}),
            "cloud.google.com/gke-nodepool": name,
            "cloud.google.com/machine-family": machine.partition("-")[0],
            **({f"cloud.google.com/gke-{spot}": "true"} if spot else {}),
            **gpu,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": shape.architecture,
        },
        taints=[
            {"key": taint["key"], "value": taint.get("value") or "", "effect": _EFFECTS[taint["effect"]]}
            for taint in config.get("taints") or ()
        ],
        allocatable=resources_of(shape),
        capacity=resources_of(shape),
        zones=zones,
        region=_region(record),
    )


def _disk_gib(config: Properties) -> int:
    boot = config.get("bootDisk")
    given = boot.get("sizeGb") if is_object(boot) else None
    return int(given or config.get("diskSizeGb") or _DEFAULT_DISK_GIB)


def _accelerator(config: Properties) -> str:
    given: list[Properties] = config.get("guestAccelerators") or []
    return str(given[0]["type"]) if given else "nvidia-l4"


def _sizes(inputs: Properties, zones: int) -> tuple[int, int, int]:
    """Fewest nodes, nodes at first, most nodes; sizes that are given for each zone count in every zone."""
    scaling = inputs.get("autoscaling")
    given = inputs.get("initialNodeCount", inputs.get("nodeCount"))
    first = (0 if given is None else int(given)) * zones
    if not is_object(scaling):
        fixed = first if given is not None else zones
        return fixed, fixed, fixed
    if "totalMaxNodeCount" in scaling:
        least, most = int(scaling.get("totalMinNodeCount") or 0), int(scaling["totalMaxNodeCount"])
    else:
        least = int(scaling.get("minNodeCount") or 0) * zones
        most = int(scaling.get("maxNodeCount") or 0) * zones
    return least, min(most, max(least, first)), most


def _region(record: Record) -> str:
    location = str(record.inputs.get("location") or record.outputs.get("location") or "")
    parts = location.split("-")
    return "-".join(parts[:2]) if parts[0] else last(record.region)
