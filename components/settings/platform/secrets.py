"""Secrets from the cloud's store in the cluster."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from components.settings.base import Section


class SecretSyncSettings(Section):
    """Secrets from the cloud's store in the cluster (External Secrets Operator).

    Attributes:
        enabled: Install it. Systems that read a credential cannot be installed without it.
        refresh_minutes: How long a value that changed in the store may stay unnoticed. Each refresh of each secret is
            one call of the store's API.
    """

    enabled: bool = True
    refresh_minutes: Annotated[int, Field(ge=1, le=1440)] = 60
