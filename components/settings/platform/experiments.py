"""Experiment tracking and the model registry."""

from __future__ import annotations

from typing import Literal

from components.settings.base import Section
from components.settings.platform.gateway import DomainName


class ExperimentSettings(Section):
    """Experiment tracking and the model registry (MLflow).

    Attributes:
        enabled: Install it. It needs secrets; it is published where the gateway is there.
        host: Where it is published, one label below ``gateway.domain``; ``mlflow.<domain>`` where it is not set, and
            nowhere where it is empty: then by port-forward only. Browsers send no bearer token, so the edge lets
            everything to this host pass, and MLflow checks its own accounts.
        default_permission: What an account may do with what another one made and said nothing else about. Who makes
            something may do everything with it.
    """

    enabled: bool = True
    host: DomainName | Literal[""] | None = None
    default_permission: Literal["NO_PERMISSIONS", "READ", "EDIT", "MANAGE"] = "READ"

    def published_at(self, domain: str) -> str:
        """The host; empty where it is not published."""
        return f"mlflow.{domain}" if self.host is None else self.host
