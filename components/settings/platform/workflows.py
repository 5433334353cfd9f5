"""Workflows."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from components.settings.base import Section
from components.settings.platform.delivery import HostName


class WorkflowSettings(Section):
    """Workflows (Argo Workflows): those that people write, and those that pipelines become.

    Attributes:
        enabled: Install it. Pipelines need it.
        host: Name under which the gateway serves its user interface and API; empty: by port-forward only. People sign
            in with their token of the cluster, and may do what that token may.
        parallelism: Workflows at most at one time; others wait.
        namespace_parallelism: The same in one namespace.
        keep_hours: How long the Kubernetes objects of a finished workflow stay.
        archive_days: How long a finished workflow stays in the archive, in the database. Logs are in the object store.
    """

    enabled: bool = True
    host: HostName | Literal[""] = ""
    parallelism: Annotated[int, Field(ge=1)] = 50
    namespace_parallelism: Annotated[int, Field(ge=1)] = 20
    keep_hours: Annotated[int, Field(ge=1, le=720)] = 24
    archive_days: Annotated[int, Field(ge=1, le=3650)] = 90

    @model_validator(mode="after")
    def _a_namespace_is_a_part(self) -> WorkflowSettings:
        if self.namespace_parallelism > self.parallelism:
            raise ValueError(
                f"namespaceParallelism must be at most parallelism {self.parallelism}; got {self.namespace_parallelism}"
            )
        return self
