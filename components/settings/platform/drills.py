"""Rehearsals of restores, and what a recovery may take and lose."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from components.settings.base import Section
from components.settings.platform.backups import Cron

_DAY_MINUTES = 24 * 60

Minutes = Annotated[int, Field(ge=1, le=30 * _DAY_MINUTES)]
Days = Annotated[int, Field(ge=1, le=400)]


class RecoveryObjective(Section):
    """What a recovery may take and lose; a drill that measures more is told (``RecoveryObjectiveMissed``).

    Attributes:
        time_minutes: From the beginning of the restore until what was restored answers.
        point_minutes: Age of the state that is restored: what would be lost.
    """

    time_minutes: Minutes
    point_minutes: Minutes


def _objective(time_minutes: int, point_minutes: int) -> RecoveryObjective:
    return RecoveryObjective.model_validate({"timeMinutes": time_minutes, "pointMinutes": point_minutes})


class RegistryDrillSettings(Section):
    """The model registry: dumped and restored beside the living one.

    Attributes:
        enabled: Rehearse it.
        schedule: When, in UTC: minute, hour, day of the month, month, day of the week.
        overdue_days: Without a drill that passed for this long it is told (``DrillMissed``).
        models: Registered models with an alias whose files are read, at most.
        model_mib: What is read of the files of each in MiB; beyond it only names and sizes are compared.
        load_alias: Of the versions with this alias the newest is loaded: MLflow's description, configuration, tokenizer
            and every tensor. Where none has it, the newest that is ready and within ``load_gib``.
        load_gib: Up to which size in GiB that model is read through; of a larger one the headers and sizes of its
            weights alone.
        dump_gib: Room for the dump in GiB: compressed, about a fifth of the database.
        objective: What a recovery may take and lose. The point is that of the database service, whose log is saved
            every five minutes; no drill in the cluster sees it.
    """

    enabled: bool = True
    schedule: Cron = "30 4 * * 6"
    overdue_days: Days = 9
    models: Annotated[int, Field(ge=0, le=100)] = 3
    model_mib: Annotated[int, Field(ge=1, le=10_240)] = 512
    load_alias: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")] = "production"
    load_gib: Annotated[int, Field(ge=0, le=2000)] = 40
    dump_gib: Annotated[int, Field(ge=1, le=200)] = 5
    objective: RecoveryObjective = _objective(60, 5)


class VectorDrillSettings(Section):
    """The vector database: the last backup restored beside the living collections.

    Attributes:
        enabled: Rehearse it, where backups are taken.
        schedule: When, in UTC: minute, hour, day of the month, month, day of the week.
        overdue_days: Without a drill that passed for this long it is told (``DrillMissed``).
        collections: Those that are restored, as ``database.collection``; empty for all. One at a time is loaded, so
            query nodes need room for the largest of them once more.
        questions: Entities of each collection that are compared and asked for.
        least_overlap: Share of the ten nearest that living and restored collection must have in common. Below 1
            because an index of approximate neighbours is built anew, and two of them differ at their edges.
        drift_share: Share of entities that may have come, gone or changed since the backup.
        objective: What a recovery may take and lose: a day, and what the backup itself takes.
    """

    enabled: bool = True
    schedule: Cron = "30 5 * * 6"
    overdue_days: Days = 9
    collections: tuple[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\.[A-Za-z_][A-Za-z0-9_]*$")], ...] = ()
    questions: Annotated[int, Field(ge=1, le=1000)] = 20
    least_overlap: Annotated[float, Field(gt=0, le=1)] = 0.95
    drift_share: Annotated[float, Field(ge=0, lt=1)] = 0.2
    objective: RecoveryObjective = _objective(240, 26 * 60)


class ClusterDrillSettings(Section):
    """Objects of the cluster: restored into another namespace by ``ops drill cluster``.

    It has no schedule: it needs the right to read and make objects of every kind, which no pod should have for it.

    Attributes:
        overdue_days: Without a drill that passed for this long it is told (``DrillMissed``).
        objective: What a recovery may take and lose.
    """

    overdue_days: Days = 100
    objective: RecoveryObjective = _objective(60, 26 * 60)


class DrillSettings(Section):
    """Rehearsals of restores.

    Attributes:
        enabled: Install what rehearses on a schedule and what tells of it.
        registry: The model registry.
        vectors: The vector database.
        cluster: Objects of the cluster.
    """

    enabled: bool = True
    registry: RegistryDrillSettings = RegistryDrillSettings()
    vectors: VectorDrillSettings = VectorDrillSettings()
    cluster: ClusterDrillSettings = ClusterDrillSettings()
