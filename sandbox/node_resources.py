"""A node's resources in the words of Kubernetes."""

from __future__ import annotations

from components.capacity import NodeShape


def resources_of(shape: NodeShape) -> dict[str, str]:
    """Return what a node of this shape has, such as ``{"cpu": "3920m", "nvidia.com/gpu": "1"}``."""
    gpus = {"nvidia.com/gpu": str(shape.gpus)} if shape.gpus else {}
    return {
        "cpu": f"{shape.cpu_millicores}m",
        "memory": f"{shape.memory_mib}Mi",
        "ephemeral-storage": f"{shape.ephemeral_storage_gib}Gi",
        "pods": str(shape.max_pods),
        **gpus,
    }
