"""What nodes cost an hour, as expressions: their number from the cluster, their prices from the price table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from components.capacity.prices import load
from components.contract import NodePool
from components.platform.site import Site

INSTANCE_TYPE: Final = "label_node_kubernetes_io_instance_type"
"""Label of ``kube_node_labels`` with a node's instance type."""

GPUS: Final = 'resource="nvidia_com_gpu"'
"""Selector of GPUs among the resources that kube-state-metrics counts."""

RUNNING_GPUS: Final = (
    f"kube_pod_container_resource_requests{{{GPUS}}} * on (namespace, pod) group_left () "
    '(kube_pod_status_phase{phase="Running"} == 1)'
)
"""GPUs of every running container."""

WAITING_GPUS: Final = (
    f"kube_pod_container_resource_requests{{{GPUS}}} * on (namespace, pod) group_left () "
    '(kube_pod_status_phase{phase="Pending"} == 1)'
)
"""GPUs of every container that waits."""

_NODES: Final = "kube_node_labels"


def gpu_pools(site: Site) -> tuple[NodePool, ...]:
    """Node groups with GPUs."""
    return tuple(pool for pool in site.foundation.cluster.pools if pool.shapes and pool.shapes[0].gpus)


def prices(site: Site, pools: Iterable[NodePool]) -> dict[str, float]:
    """USD an hour for every instance type of the groups that has a price: the setting's, else the table's."""
    table, chosen = load(), site.settings.grafana.node_prices
    found: dict[str, float] = {}
    for kind in sorted({shape.instance_type for pool in pools for shape in pool.shapes}):
        usd = chosen.get(kind, table.node(kind, site.foundation.region))
        if usd is not None:
            found[kind] = usd
    return found


def nodes_usd(site: Site, pools: Sequence[NodePool], *, by_type: bool = False) -> str:
    """USD an hour of the nodes that are there; the sum, or by ``instance_type``."""
    terms = _terms(prices(site, pools))
    if by_type:
        return " or ".join(terms) or 'label_replace(vector(0), "instance_type", "none", "", "")'
    return f"sum({' or '.join(terms)}) or vector(0)" if terms else "vector(0)"


def idle_gpus_usd(site: Site, pools: Sequence[NodePool]) -> str:
    """USD an hour of GPUs that no running pod has: their share of their nodes' prices."""
    gpus = {shape.instance_type: shape.gpus for pool in pools for shape in pool.shapes if shape.gpus}
    terms = [_idle(kind, usd / gpus[kind]) for kind, usd in prices(site, pools).items() if kind in gpus]
    return " + ".join(terms) or "vector(0)"


def _idle(instance_type: str, usd: float) -> str:
    node = f'on (node) group_left () {_NODES}{{{INSTANCE_TYPE}="{instance_type}"}}'
    there = f"sum(kube_node_status_allocatable{{{GPUS}}} * {node})"
    taken = f"sum({RUNNING_GPUS} * {node})"
    return f"(({there} or vector(0)) - ({taken} or vector(0))) * {usd:.6g}"


def _terms(usd: Mapping[str, float]) -> list[str]:
    return [
        f'label_replace(count({_NODES}{{{INSTANCE_TYPE}="{kind}"}}) * {price:.6g}, "instance_type", "{kind}", "", "")'
        for kind, price in usd.items()
    ]
