"""A stack without a way to the internet: where its images, charts, sources and models come from instead."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from components.settings.base import Section


class AirGapSettings(Section):
    """Mirrors; all four, or none where the stack may reach the internet.

    An image keeps its whole name behind the mirror's: ``quay.io/argoproj/argocd`` is
    ``registry.internal/mirror/quay.io/argoproj/argocd``. ``python -m ops mirror`` fills them.

    Attributes:
        registry: Where images are: host and prefix, such as ``registry.internal/mirror``.
        charts: Where Helm charts are: ``oci://`` with host and prefix; a chart lies there under its own name.
        git: Where Git repositories are, such as ``https://git.internal/mirror``; each lies there by its host and path.
        models: Where weights and data sets of a public hub are: a folder of a bucket, such as ``s3://models/hub``; each
            lies there under organisation, name and revision.
    """

    registry: Annotated[str, Field(pattern=r"^([a-z0-9.-]+(:\d+)?(/[a-z0-9._/-]*[a-z0-9])?)?$")] = ""
    charts: Annotated[str, Field(pattern=r"^(oci://[a-z0-9.-]+(:\d+)?(/[a-z0-9._/-]*[a-z0-9])?)?$")] = ""
    git: Annotated[str, Field(pattern=r"^((https|ssh)://[^\s]*[^\s/])?$")] = ""
    models: Annotated[str, Field(pattern=r"^((s3|gs)://[^\s]*[^\s/])?$")] = ""

    @model_validator(mode="after")
    def _all_or_none(self) -> AirGapSettings:
        given = {"registry": self.registry, "charts": self.charts, "git": self.git, "models": self.models}
        if any(given.values()) and (missing := [name for name, value in given.items() if not value]):
            raise ValueError(f"must name every mirror or none; {', '.join(missing)} missing")
        return self

    @property
    def enabled(self) -> bool:
        """Whether the stack stands alone."""
        return bool(self.registry)
