"""MLflow: experiment tracking and the model registry."""

from __future__ import annotations

from components.platform.experiments.component import (
    ARTIFACTS,
    CLIENT_NAMESPACES,
    CLIENT_SECRET,
    ENTRIES,
    Experiments,
    ExperimentsArgs,
    openings,
    own_sign_in,
)
from components.platform.experiments.names import TRACKING_URI

__all__ = [
    "ARTIFACTS",
    "CLIENT_NAMESPACES",
    "CLIENT_SECRET",
    "ENTRIES",
    "TRACKING_URI",
    "Experiments",
    "ExperimentsArgs",
    "openings",
    "own_sign_in",
]
