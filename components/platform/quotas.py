"""How much each namespace may ask for: the capacity table, shared out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from components.capacity import Request
from components.contract import NodePool, NodeRole
from components.platform.openings import Namespace, team_namespace
from components.platform.priorities import RESERVED
from components.settings.platform.isolation import ContainerSettings
from components.settings.teams import TeamSettings
from components.settings.workloads import WorkloadSettings

GPU: Final = "nvidia.com/gpu"


def _share(cpu_millicores: int, memory_gib: float, storage_gib: int) -> Request:
    return Request(
        cpu_millicores=cpu_millicores, memory_mib=round(memory_gib * 1024), ephemeral_storage_gib=storage_gib
    )


# How the row `platform` (16 vCPU, 32 GiB, 100 GiB) is shared out: millicores, GiB of memory, GiB of volumes. Each share
# holds the replicas of a highly available stack and one more pod of the largest Deployment, for a rolling update.
SHARES: Final[Mapping[Namespace, Request]] = {
    "argo": _share(400, 0.75, 1),
    "argocd": _share(1750, 3.5, 5),
    "cert-manager": _share(500, 0.75, 1),
    "external-secrets": _share(500, 0.75, 1),
    "gpu-system": _share(250, 0.25, 1),
    "istio-ingress": _share(1500, 1.5, 2),
    "istio-system": _share(1250, 2.5, 2),
    "keda": _share(500, 0.75, 1),
    "kserve": _share(300, 0.5, 1),
    "kubeflow": _share(1000, 2.25, 2),
    "kubeflow-system": _share(200, 0.5, 1),
    "mlops-serving": _share(2000, 6, 10),  # the model gateway; models have the rows of their role
    "mlops-system": _share(850, 1.5, 5),
    "monitoring": _share(2250, 6, 58),
    "velero": _share(500, 0.5, 3),
    "volcano-system": _share(750, 1, 2),
}

# The same row's part for `kube-system`: DNS, storage drivers, metrics-server, load balancer controller, autoscaler. It
# is set aside and not enforced: a quota there could keep the cluster's own parts from starting.
SET_ASIDE: Final = _share(1500, 3, 4)

# Requests of the pods that a namespace has on every node: together with the 210 millicores and 200 MiB of the network
# plugin, kube-proxy and the storage drivers no more than components.capacity.DAEMONSETS, which the node table keeps.
PER_NODE: Final[Mapping[Namespace, Request]] = {
    "istio-system": Request(cpu_millicores=90, memory_mib=224),  # ztunnel, mesh CNI
    "monitoring": Request(cpu_millicores=80, memory_mib=256),  # log collector, node exporter
    "velero": Request(cpu_millicores=20, memory_mib=64),  # the agent that copies volumes, where a setting asks for it
}
PER_GPU_NODE: Final[Mapping[Namespace, Request]] = {
    "gpu-system": Request(cpu_millicores=100, memory_mib=280),  # device plugin, feature discovery, DCGM exporter
}

# Nodes of a group above its maximum while they are replaced: EKS adds two for each zone (EKS user guide, "managed node
# update behavior"), for up to three zones. A node without its share of the mesh would start no pod at all.
SURGE_NODES: Final = 6

WORKLOAD_ROLES: Final[Mapping[Namespace, NodeRole]] = {
    "mlops-training": "gpu-training",
    "mlops-serving": "gpu-inference",
}
"""Namespaces that hold what runs on the GPU nodes of a role."""

_PLATFORM_ROW: Final = "platform"
_DATA_ROW: Final = "data-processing"
_GATEWAY_NAMESPACE: Final = "istio-ingress"


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What the pods of a namespace may request together.

    Attributes:
        cpu_millicores: CPU; none where nothing is declared.
        memory_mib: Memory; none where nothing is declared.
        disk_gib: Ephemeral disk that is asked for by name; none where nothing is declared.
        volumes_gib: Volumes that are claimed; none where nothing is declared.
        gpus: GPUs.
        load_balancers: Services with a load balancer of their own.
        reserved_priorities: Whether its pods may have the priority classes of the platform and of the cluster.
    """

    cpu_millicores: int | None = None
    memory_mib: int | None = None
    disk_gib: int | None = None
    volumes_gib: int | None = None
    gpus: int = 0
    load_balancers: int = 0
    reserved_priorities: bool = True


def allowances(
    capacity: Sequence[WorkloadSettings], pools: Sequence[NodePool], teams: Sequence[TeamSettings]
) -> dict[str, Allowance]:
    """The allowance of every namespace.

    ``platform`` is shared out by :data:`SHARES`, and what runs on every node is added for all nodes that there can be;
    ``data-processing`` is that of ``mlops-data``; training and serving may use all GPUs of their role, each with what
    the rows of the role give to one GPU. Teams have their own numbers.

    Args:
        capacity: Rows of the capacity table.
        pools: Node groups.
        teams: Who uses the platform.
    """
    rows = {row.name: row.request for row in capacity}
    found = {name: _platform(name, rows.get(_PLATFORM_ROW), pools) for name in SHARES}
    found["mlops-data"] = _of(rows.get(_DATA_ROW), reserved_priorities=False)
    for name, role in WORKLOAD_ROLES.items():
        on_gpus = _on_gpus([row.request for row in capacity if row.role == role and row.gpus], pools, role)
        found[name] = together(on_gpus, found.get(name))
    for team in teams:
        found[team_namespace(team.name)] = Allowance(
            cpu_millicores=team.vcpu * 1000,
            memory_mib=team.memory_gib * 1024,
            volumes_gib=team.storage_gib,
            gpus=team.gpus,
            reserved_priorities=False,
        )
    return found


def nodes_at_most(pools: Iterable[NodePool], *, gpus_only: bool = False) -> int:
    """Nodes when every group stands at its maximum and is being replaced."""
    return sum(pool.max_size + SURGE_NODES for pool in pools if not gpus_only or pool.shapes[0].gpus)


def _platform(name: Namespace, row: Request | None, pools: Sequence[NodePool]) -> Allowance:
    share = None if row is None else _part(SHARES[name], row)
    load_balancers = int(name == _GATEWAY_NAMESPACE)
    if share is None:
        return Allowance(load_balancers=load_balancers)
    cpu, memory = share.cpu_millicores, share.memory_mib
    for table, nodes in ((PER_NODE, nodes_at_most(pools)), (PER_GPU_NODE, nodes_at_most(pools, gpus_only=True))):
        if name in table:
            cpu += table[name].cpu_millicores * nodes
            memory += table[name].memory_mib * nodes
    return Allowance(
        cpu_millicores=cpu,
        memory_mib=memory,
        disk_gib=share.ephemeral_storage_gib,
        volumes_gib=share.ephemeral_storage_gib,
        load_balancers=load_balancers,
    )


def _part(share: Request, row: Request) -> Request:
    """A share of a row that is larger or smaller than the one that the shares were cut from."""
    whole = [*SHARES.values(), SET_ASIDE]
    return Request(
        cpu_millicores=share.cpu_millicores * row.cpu_millicores // sum(one.cpu_millicores for one in whole),
        memory_mib=share.memory_mib * row.memory_mib // sum(one.memory_mib for one in whole),
        ephemeral_storage_gib=(
            share.ephemeral_storage_gib * row.ephemeral_storage_gib // sum(one.ephemeral_storage_gib for one in whole)
        ),
    )


def _of(row: Request | None, *, reserved_priorities: bool) -> Allowance:
    if row is None:
        return Allowance(reserved_priorities=reserved_priorities)
    return Allowance(
        cpu_millicores=row.cpu_millicores,
        memory_mib=row.memory_mib,
        disk_gib=row.ephemeral_storage_gib,
        volumes_gib=row.ephemeral_storage_gib,
        reserved_priorities=reserved_priorities,
    )


def _on_gpus(rows: Sequence[Request], pools: Sequence[NodePool], role: NodeRole) -> Allowance:
    """All GPUs of a role, and for each of them the most that any row of the role gives to one GPU."""
    gpus = sum(pool.max_size * max(shape.gpus for shape in pool.shapes) for pool in pools if pool.role == role)
    if not rows:
        return Allowance(gpus=gpus, reserved_priorities=False)
    disk = gpus * max(math.ceil(row.ephemeral_storage_gib / row.gpus) for row in rows)
    return Allowance(
        cpu_millicores=gpus * max(math.ceil(row.cpu_millicores / row.gpus) for row in rows),
        memory_mib=gpus * max(math.ceil(row.memory_mib / row.gpus) for row in rows),
        disk_gib=disk,
        volumes_gib=disk,
        gpus=gpus,
        reserved_priorities=False,
    )


def together(one: Allowance, other: Allowance | None) -> Allowance:
    """Both allowances for one namespace; what only one of them declares stays undeclared."""
    if other is None:
        return one

    def both(a: int | None, b: int | None) -> int | None:
        return None if a is None or b is None else a + b

    return Allowance(
        cpu_millicores=both(one.cpu_millicores, other.cpu_millicores),
        memory_mib=both(one.memory_mib, other.memory_mib),
        disk_gib=both(one.disk_gib, other.disk_gib),
        volumes_gib=both(one.volumes_gib, other.volumes_gib),
        gpus=one.gpus + other.gpus,
        load_balancers=one.load_balancers + other.load_balancers,
        reserved_priorities=one.reserved_priorities and other.reserved_priorities,
    )


def combined(*some: Mapping[Namespace, Allowance]) -> dict[Namespace, Allowance]:
    """All allowances, added up by namespace."""
    found: dict[Namespace, Allowance] = {}
    for allowances in some:
        for namespace, one in allowances.items():
            found[namespace] = together(one, found.get(namespace))
    return found


def quota_specs(allowance: Allowance) -> dict[str, dict[str, Any]]:
    """Specifications of the ResourceQuotas of a namespace, by name.

    Requests are counted and limits are not: a request takes capacity away from others, a limit does not.
    """
    hard = {
        f"requests.{GPU}": str(allowance.gpus),
        "services.loadbalancers": str(allowance.load_balancers),
        # Nothing is reached through a port of the nodes. A service with a load balancer must not allocate any either.
        "services.nodeports": "0",
    }
    if allowance.cpu_millicores is not None:
        hard["requests.cpu"] = _cores(allowance.cpu_millicores)
    if allowance.memory_mib is not None:
        hard["requests.memory"] = _binary(allowance.memory_mib, "Mi")
    if allowance.disk_gib is not None:
        hard["requests.ephemeral-storage"] = _binary(allowance.disk_gib, "Gi")
    if allowance.volumes_gib is not None:
        hard["requests.storage"] = _binary(allowance.volumes_gib, "Gi")
    specs: dict[str, dict[str, Any]] = {"capacity": {"hard": hard}}
    if not allowance.reserved_priorities:
        of_reserved = {"scopeName": "PriorityClass", "operator": "In", "values": list(RESERVED)}
        specs["reserved-priorities"] = {"hard": {"pods": "0"}, "scopeSelector": {"matchExpressions": [of_reserved]}}
    return specs


def limit_range_spec(defaults: ContainerSettings) -> dict[str, Any]:
    """Specification of the LimitRange of a namespace.

    It names no GPU: a maximum would also be a default, and every pod would then ask for GPUs.
    """
    return {
        "limits": [
            {
                "type": "Container",
                "defaultRequest": {
                    "cpu": _cores(defaults.cpu_millicores),
                    "memory": _binary(defaults.memory_request_mib, "Mi"),
                },
                "default": {"memory": _binary(defaults.memory_limit_mib, "Mi")},
            }
        ]
    }


_BINARY: Final = ("Mi", "Gi", "Ti", "Pi")


def _cores(millicores: int) -> str:
    """As the API server writes it, so that what is read back equals what was declared."""
    return str(millicores // 1000) if millicores % 1000 == 0 else f"{millicores}m"


def _binary(amount: int, unit: str) -> str:
    """As the API server writes it: in the largest unit that is exact."""
    place = _BINARY.index(unit)
    while amount and amount % 1024 == 0 and place + 1 < len(_BINARY):
        amount, place = amount // 1024, place + 1
    return f"{amount}{_BINARY[place]}" if amount else "0"
