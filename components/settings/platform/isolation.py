"""What separates namespaces."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from components.settings.base import Section


class ContainerSettings(Section):
    """What a container gets that says nothing about its resources.

    GPUs have no default: a container gets them only by asking.

    Attributes:
        cpu_millicores: CPU request in thousandths of a core. There is no CPU limit: it would slow a container down
            while the node is idle.
        memory_request_mib: Memory request in MiB.
        memory_limit_mib: Memory limit in MiB; above it the container is killed.
    """

    cpu_millicores: Annotated[int, Field(ge=1)] = 100
    memory_request_mib: Annotated[int, Field(ge=4)] = 128
    memory_limit_mib: Annotated[int, Field(ge=4)] = 512

    @field_validator("memory_limit_mib")
    @classmethod
    def _limit_holds_the_request(cls, value: int, info: ValidationInfo) -> int:
        if value < (request := info.data.get("memory_request_mib", 0)):
            raise ValueError(f"must be at least memoryRequestMib {request}; got {value}")
        return value


class IsolationSettings(Section):
    """What separates namespaces.

    Attributes:
        network_policies: Close every namespace in both directions but for the ways that its systems need. Only for a
            cluster whose network plugin enforces no policies is there a reason to leave them out.
        internet: Pods of data processing, training and teams may fetch over HTTPS from anywhere outside: base models,
            data sets, packages. Where the cloud's own APIs have public addresses, these stay open without it.
        container_defaults: Resources of a container that names none.
    """

    network_policies: bool = True
    internet: bool = True
    container_defaults: ContainerSettings = ContainerSettings()
