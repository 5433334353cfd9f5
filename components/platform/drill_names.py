"""Names that drills in the cluster and the operator's commands share."""

from __future__ import annotations

from typing import Final

RECORDS_NAMESPACE: Final = "mlops-system"
RECORDS: Final = "recovery-drills"
"""ConfigMap with what the last drill of each kind found, one key ``<drill>.json`` for each; metrics are made of it."""

OBJECTIVES: Final = "llmops/recovery-objectives"
"""Annotation of that ConfigMap: seconds that the drill of the cluster may take and lose, as JSON."""

DATABASE: Final = "registry_drill"
"""Database that registries are restored into, and the user that owns it. It is empty between drills."""

SUFFIX: Final = "_recovery_drill"
"""End of the names of collections that a drill restores, and removes. No collection of anybody else may have it."""

REGISTRY: Final = "registry-drill"
"""CronJob of the registry's drill."""

VECTORS: Final = "vectors-drill"
"""CronJob of the vector database's drill."""

JOBS: Final = {"registry": (RECORDS_NAMESPACE, REGISTRY), "vectors": ("mlops-data", VECTORS)}
"""Namespace and name of the CronJob of each drill that runs in the cluster."""
