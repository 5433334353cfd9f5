"""Room for work: quotas, queues, nodes that come and go, what scales them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from components.platform.observability.rules.facts import SiteFacts
from components.platform.observability.rules.model import HOUR, MINUTE, NOW, Alert, Group
from components.platform.observability.rules.promql import by_team

_NEARLY: Final = 0.9
_GPU: Final = "nvidia.com/gpu"
_SPOT_LOSSES: Final = 3


def groups(facts: SiteFacts) -> Iterator[Group]:
    """Rules about capacity."""
    settings = facts.settings
    yield Group(name="scheduling.quotas", rules=[_QUOTA, _UNSCHEDULABLE])
    if settings.scheduling.enabled:
        yield Group(name="scheduling.queues", rules=[_GANG, _QUEUE])
    yield Group(name="scheduling.nodes", rules=[_CANNOT_GROW, *_spot(facts.spot_pools)])
    if settings.autoscaling.enabled:
        yield Group(name="scheduling.autoscaling", rules=[_SCALER])


_QUOTA: Final = Alert(
    name="QuotaNearlyUsed",
    expression=by_team(
        'kube_resourcequota{type="used",resource!~"services.+|pods"} / ignoring(type) '
        f'(kube_resourcequota{{type="hard"}} > 0) > {_NEARLY:g}'
    ),
    lasting=15 * MINUTE,
    severity="warning",
    summary="{{ $labels.namespace }} has nearly used its {{ $labels.resource }}",
    description="{{ $value | humanizePercentage }} of the quota are in use. What asks for more is refused.",
    page="scheduling",
    dashboard="platform",
)

_UNSCHEDULABLE: Final = Alert(
    name="PodUnschedulable",
    expression=by_team("max by (namespace, pod) (kube_pod_status_unschedulable) == 1"),
    # A node is there within minutes; after this it does not come by itself.
    lasting=20 * MINUTE,
    severity="warning",
    summary="{{ $labels.namespace }}/{{ $labels.pod }} finds no node",
    description="For 20 minutes no node has had room for it, and none was added.",
    page="scheduling",
    dashboard="platform",
)

_GANG: Final = Alert(
    name="GangWaiting",
    expression=(
        "max by (queue_name) (volcano_queue_pod_group_pending_count)"
        " + max by (queue_name) (volcano_queue_pod_group_inqueue_count) > 0"
    ),
    lasting=HOUR,
    severity="warning",
    summary="Jobs wait in the queue {{ $labels.queue_name }}",
    description="For an hour {{ $value }} jobs have not had all of their pods placed together.",
    page="scheduling",
    dashboard="training",
)

_QUEUE: Final = Alert(
    name="QueueNearlyFull",
    expression=(
        f'max by (queue_name) (volcano_queue_allocated_scalar_resources{{resource="{_GPU}"}}) / '
        f'max by (queue_name) (volcano_queue_capacity_scalar_resources{{resource="{_GPU}"}} > 0) > {_NEARLY:g}'
    ),
    lasting=HOUR,
    severity="warning",
    summary="The queue {{ $labels.queue_name }} has nearly used its GPUs",
    description="{{ $value | humanizePercentage }} of its GPUs are held by jobs; the next one waits.",
    page="scheduling",
    dashboard="training",
)

_CANNOT_GROW: Final = Alert(
    name="NodesCannotBeAdded",
    expression="sum by (reason) (increase(cluster_autoscaler_failed_scale_ups_total[15m])) > 0",
    lasting=5 * MINUTE,
    severity="warning",
    summary="The cluster asks for nodes and gets none",
    description="Reason: {{ $labels.reason }}. The cloud has none of the type, or the account's quota is used.",
    page="scheduling",
    dashboard="platform",
)

_SCALER: Final = Alert(
    name="ScalingFailing",
    expression=by_team("sum by (namespace, scaledObject) (rate(keda_scaled_object_errors_total[5m])) > 0"),
    lasting=15 * MINUTE,
    severity="warning",
    summary="{{ $labels.namespace }}/{{ $labels.scaledObject }} is not scaled",
    description="KEDA cannot read what it scales by. The number of servers stays where it is.",
    page="scheduling",
    dashboard="models",
)


def _spot(pools: Sequence[Mapping[str, str]]) -> Iterator[Alert]:
    """A spot node that is emptied although the autoscaler does not want it gone: the cloud takes it back."""
    if not pools:
        return
    of_spot = " or ".join(f"kube_node_labels{{{_selector(labels)}}}" for labels in pools)
    taken = (
        f"(kube_node_spec_unschedulable == 1) and on(node) ({of_spot})"
        ' unless on(node) kube_node_spec_taint{key="ToBeDeletedByClusterAutoscaler"}'
    )
    yield Alert(
        name="SpotNodeTaken",
        expression=taken,
        lasting=NOW,
        severity="info",
        summary="The cloud takes {{ $labels.node }} back",
        description="Its pods have at most two minutes. Training goes on from its last checkpoint on another node.",
        page="scheduling",
        dashboard="gpus",
    )
    yield Alert(
        name="SpotNodesScarce",
        expression=f"count(max by (node) (max_over_time(({taken})[1h:1m]))) > {_SPOT_LOSSES}",
        lasting=NOW,
        severity="warning",
        summary="The cloud took {{ $value }} spot nodes back within an hour",
        description="The instance types of the group are scarce just now: jobs lose more than they compute.",
        page="scheduling",
        dashboard="gpus",
    )


def _selector(labels: Mapping[str, str]) -> str:
    """As kube-state-metrics writes the labels of nodes: what no name of a label can have becomes an underscore."""
    return ",".join(f'label_{re.sub(r"[^a-zA-Z0-9_]", "_", key)}="{value}"' for key, value in sorted(labels.items()))
