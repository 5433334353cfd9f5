"""Pipelines."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from components.settings.base import Section
from components.settings.platform.delivery import HostName


class StepSettings(Section):
    """What the steps of all pipelines may request together; GPU work is a job of its own, started by a step.

    Attributes:
        vcpu: vCPUs. The driver of each step takes a tenth for some seconds.
        memory_gib: Memory in GiB.
        storage_gib: Volumes that steps claim, in GiB.
    """

    vcpu: Annotated[int, Field(ge=1)] = 8
    memory_gib: Annotated[int, Field(ge=1)] = 32
    storage_gib: Annotated[int, Field(ge=0)] = 50


class PipelineSettings(Section):
    """Pipelines (Kubeflow Pipelines). They need Argo Workflows, delivery from Git and the object store's S3 protocol.

    Attributes:
        enabled: Install it.
        multi_user: Whether each team works in its own namespace and cannot see the others' pipelines and runs. People
            and programs sign in with tokens of the service account ``pipelines-user`` there; there is no user
            interface then. Otherwise whoever reaches the API may do everything.
        host: Name under which the gateway serves its user interface and API, or with ``multiUser`` its API alone;
            empty: by port-forward only. For a single user it has no sign-in of its own, so it needs
            ``gateway.authentication.mode: jwt``.
        steps: What the steps of all pipelines may request together.
        database_storage_gib: Volume of its database in GiB; it can grow and cannot shrink.
        keep_hours: How long the Kubernetes objects of a finished run stay; the run itself stays in the database.
    """

    enabled: bool = True
    multi_user: bool = False
    host: HostName | Literal[""] = ""
    steps: StepSettings = StepSettings()
    database_storage_gib: Annotated[int, Field(ge=5)] = 10
    keep_hours: Annotated[int, Field(ge=1, le=720)] = 24
