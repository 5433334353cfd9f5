"""Controllers beside the cluster: nodes on demand, load balancers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from components.settings.base import Section


class ClusterAutoscalerSettings(Section):
    """Nodes on demand: groups grow for pods that fit nowhere, and shrink when nodes are idle.

    Attributes:
        enabled: Install it. Without it every group keeps the size that it has.
        expander: Which group grows where several could: the one that wastes the least CPU and memory, or any.
        scale_down_unneeded_minutes: How long a node must be idle before it goes.
        scale_down_delay_minutes: How long nothing goes after a node came; a GPU node needs minutes to load a model.
        scale_down_utilization_percent: A node is idle below this share of its CPU and memory, or of its GPUs.
        max_node_provision_minutes: When a node that did not come is given up, and another group is tried.
    """

    enabled: bool = True
    expander: Literal["least-waste", "random"] = "least-waste"
    scale_down_unneeded_minutes: Annotated[int, Field(ge=1, le=1440)] = 10
    scale_down_delay_minutes: Annotated[int, Field(ge=1, le=1440)] = 10
    scale_down_utilization_percent: Annotated[int, Field(ge=1, le=99)] = 50
    max_node_provision_minutes: Annotated[int, Field(ge=5, le=60)] = 15


class LoadBalancerControllerSettings(Section):
    """What makes the cloud's load balancers for services.

    Attributes:
        enabled: Install it. Without it something else must answer for services of type LoadBalancer.
    """

    enabled: bool = True


class ControllerSettings(Section):
    """Controllers beside the cluster, where the cloud does not bring them.

    Attributes:
        cluster_autoscaler: Nodes on demand.
        load_balancer_controller: Load balancers.
    """

    cluster_autoscaler: ClusterAutoscalerSettings = ClusterAutoscalerSettings()
    load_balancer_controller: LoadBalancerControllerSettings = LoadBalancerControllerSettings()
