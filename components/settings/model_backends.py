"""What only one kind of backend of a model needs."""

from __future__ import annotations

from typing import Literal

from components.settings.base import Section
from components.settings.managed_models import ManagedSettings

__all__ = ["ManagedSettings", "TritonSettings"]


class TritonSettings(Section):
    """A model that Triton serves with a TensorRT-LLM engine.

    Attributes:
        engine_manifest: JSON file beside the stack's settings that says, for each source, for which GPU, TensorRT-LLM
            version and degree of parallelism the engine was built, and what its files are
            (``python -m workloads.triton.manifest`` writes it). Empty where it is not known; then it is not checked.
        swap: How another release takes over. ``roll``: servers with the new one start before those with the old one
            leave, which needs a GPU more meanwhile. ``in-place``: each server loads the new one beside the old one,
            which needs a GPU with room for both, and one tokenizer for both.
        balance: What is shared out over several servers. ``connections``, by the mesh. ``requests``: a waypoint of the
            mesh gives each to a server with few under way; it needs ``platform.mesh.waypoints``.
    """

    engine_manifest: str = ""
    swap: Literal["roll", "in-place"] = "roll"
    balance: Literal["connections", "requests"] = "connections"
