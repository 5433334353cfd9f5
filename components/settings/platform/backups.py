"""Backups of the cluster."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from components.settings.base import Section

Cron = Annotated[str, Field(pattern=r"^[0-9*,/-]+( [0-9*,/A-Za-z-]+){4}$")]
"""Five fields: minute, hour, day of the month, month, day of the week."""

Namespaced = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
"""Name of a namespace."""


class BackupSettings(Section):
    """Backups of Kubernetes objects and volumes (Velero).

    Attributes:
        enabled: Install it.
        schedule: When, in UTC: minute, hour, day of the month, month, day of the week.
        retention_days: How long a backup, with its snapshots, is kept.
        volumes: Snapshots of the volumes too.
        move_volume_data: Copy what is in the snapshots to the bucket, so that it does not depend on the storage that
            it was taken from. Puts an agent on every node, and takes hours instead of minutes for large volumes.
        more_namespaces: Namespaces to back up besides the platform's and the teams'.
    """

    enabled: bool = True
    schedule: Cron = "0 3 * * *"
    retention_days: Annotated[int, Field(ge=1, le=365)] = 14
    volumes: bool = True
    move_volume_data: bool = False
    more_namespaces: tuple[Namespaced, ...] = ()
