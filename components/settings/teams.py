"""Teams: who uses the platform, and how much of it each may use."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from components.settings.base import Name, Section


class TeamSettings(Section):
    """One team. Its numbers are the one declaration of its quota.

    The policy pack holds them against the stack's quotas, the cluster enforces them in the team's namespace
    ``team-<name>`` and its training queue, and the gateway enforces its budget and rates.

    Attributes:
        name: Unique; its namespace is ``team-<name>``.
        gpus: GPUs that its jobs and models may hold together.
        vcpu: CPU cores that its pods may request together.
        memory_gib: Memory in GiB that its pods may request together.
        storage_gib: Volumes in GiB that it may claim together.
        monthly_usd: What its calls of models may cost a month at the gateway; 0 for no calls.
        requests_per_minute: Calls of models a minute, over all its keys.
        tokens_per_minute: Tokens a minute, over all its keys.
        repositories: Git repositories that Argo CD may deploy from for this team, such as
            ``https://github.com/acme/models.git``.
    """

    name: Annotated[Name, Field(max_length=30)]
    gpus: Annotated[int, Field(ge=0)] = 0
    vcpu: Annotated[int, Field(ge=1)] = 8
    memory_gib: Annotated[int, Field(ge=1)] = 32
    storage_gib: Annotated[int, Field(ge=0)] = 100
    monthly_usd: Annotated[int, Field(ge=0)] = 100
    requests_per_minute: Annotated[int, Field(ge=1)] = 120
    tokens_per_minute: Annotated[int, Field(ge=1)] = 100_000
    repositories: tuple[Annotated[str, Field(pattern=r"^(https://|git@|ssh://)\S+$")], ...] = ()
