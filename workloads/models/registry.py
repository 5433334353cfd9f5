"""Every backend by its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from components.settings.models import BackendName
from workloads.managed.backends import SageMaker, VertexAi
from workloads.models.backends import ModelBackend
from workloads.models.hosted import HostedModel
from workloads.models.vllm import Vllm
from workloads.triton.backend import Triton

BACKENDS: Final[Mapping[BackendName, ModelBackend]] = {
    "vllm": Vllm(),
    "triton": Triton(),
    "sagemaker": SageMaker(),
    "vertex": VertexAi(),
    "hosted": HostedModel(),
}
