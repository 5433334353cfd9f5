"""Recovery drills: restores that do not work, that nobody rehearses, and that take or lose too much."""

from __future__ import annotations

from collections.abc import Iterator

from components.platform.drill_names import RECORDS, RECORDS_NAMESPACE
from components.platform.drills import rehearses_registry, rehearses_vectors
from components.platform.observability.rules.facts import SiteFacts
from components.platform.observability.rules.model import MINUTE, NOW, Alert, Group

# Where no drill has passed yet, time is counted from the day on which the metrics of drills were installed.
_SINCE = f'kube_deployment_created{{namespace="{RECORDS_NAMESPACE}",deployment="{RECORDS}"}}'
_DAY_SECONDS = 86400


def groups(facts: SiteFacts) -> Iterator[Group]:
    """Rules about drills."""
    settings = facts.settings
    if not settings.drills.enabled:
        return
    limits = {
        **({"registry": settings.drills.registry.overdue_days} if rehearses_registry(settings) else {}),
        **({"vectors": settings.drills.vectors.overdue_days} if rehearses_vectors(settings) else {}),
        **({"cluster": settings.drills.cluster.overdue_days} if settings.backups.enabled else {}),
    }
    yield Group(
        name="drills.results", rules=[_FAILED, _OBJECTIVE, *(_missed(name, days) for name, days in limits.items())]
    )


_FAILED = Alert(
    name="DrillFailed",
    expression="max by (drill) (recovery_drill_passed) == 0",
    lasting=NOW,
    severity="critical",
    summary="The rehearsed restore of the {{ $labels.drill }} failed",
    description="What would be restored is not what was saved, or could not be restored at all.",
    page="recovery",
    dashboard="platform",
)

_OBJECTIVE = Alert(
    name="RecoveryObjectiveMissed",
    expression=(
        "max by (drill, objective) (recovery_drill_seconds)"
        " > max by (drill, objective) (recovery_drill_objective_seconds)"
    ),
    lasting=MINUTE,  # both come of one record, and two scrapes may lie between an old and a new one
    severity="warning",
    summary="A recovery of the {{ $labels.drill }} misses its objective for {{ $labels.objective }}",
    description="The last drill measured {{ $value | humanizeDuration }}; platform.drills says what is promised.",
    page="recovery",
    dashboard="platform",
)


def _missed(drill: str, days: int) -> Alert:
    passed = f'max(recovery_drill_last_success_timestamp_seconds{{drill="{drill}"}})'
    return Alert(
        name="DrillMissed",
        expression=f"time() - ({passed} or max({_SINCE})) > {days * _DAY_SECONDS}",
        lasting=NOW,
        severity="warning",
        summary=f"No rehearsed restore of the {drill} has passed for {days} days",
        description="The last one that passed is {{ $value | humanizeDuration }} ago. Nobody knows whether it works.",
        page="recovery",
        dashboard="platform",
        labels={"drill": drill},
    )
