"""Training jobs."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from components.settings.base import Section


class TrainingSettings(Section):
    """Training jobs: ``TrainJob`` with its runtimes (Kubeflow Trainer), ``PyTorchJob`` (Training Operator).

    Both need batch scheduling; the second is delivered from Git.

    Attributes:
        enabled: Install Kubeflow Trainer and its runtimes.
        pytorch_jobs: Install the Training Operator beside it, for ``PyTorchJob``.
        shared_memory_gib: Shared memory of a training pod in GiB, for data loaders and NCCL; it counts as memory.
    """

    enabled: bool = True
    pytorch_jobs: bool = True
    shared_memory_gib: Annotated[int, Field(ge=1)] = 4
