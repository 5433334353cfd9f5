"""Groups of nodes as every cloud declares them from the same settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from components.capacity import NodeShape
from components.contract import GPU_MODEL_LABEL, GPU_TAINT, ROLE_LABEL, NodePool
from components.settings.nodes import NodeGroupSettings

GROUP_LABEL: Final = "llmops/node-group"


def node_pool(
    settings: NodeGroupSettings,
    shapes: tuple[NodeShape, ...],
    *,
    gpu_model: str,
    gpu_labels: Mapping[str, str] | None = None,
) -> NodePool:
    """What the layers above see of a group; all of it known at preview.

    Args:
        settings: The group.
        shapes: What one node of each of its types offers to pods.
        gpu_model: Model of the GPUs; empty without.
        gpu_labels: Further labels of nodes with GPUs.
    """
    return NodePool(
        name=settings.name,
        role=settings.role,
        shapes=shapes,
        min_size=settings.min_size,
        max_size=settings.max_size,
        spot=settings.capacity == "spot",
        labels={
            ROLE_LABEL: settings.role,
            GROUP_LABEL: settings.name,
            **({GPU_MODEL_LABEL: gpu_model, **(gpu_labels or {})} if gpu_model else {}),
        },
        taints=(GPU_TAINT,) if gpu_model else (),
    )
