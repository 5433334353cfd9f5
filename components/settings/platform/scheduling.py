"""Batch scheduling."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from components.settings.base import Section


class SchedulingSettings(Section):
    """Batch scheduling with Volcano: gangs, queues, shares of GPUs.

    Attributes:
        enabled: Install it.
        training_gpus: GPUs that the queue of ``mlops-training`` is owed before others may keep them. Unset, those that
            no team is promised.
        preemption: A job stops jobs of lower priority in its own queue when there is no room.
    """

    enabled: bool = True
    training_gpus: Annotated[int, Field(ge=0)] | None = None
    preemption: bool = True
