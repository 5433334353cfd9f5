"""Series that fire the alerts of recovery drills, and series that do not."""

from __future__ import annotations

from collections.abc import Iterator

from tests.data_plane.alert_case import Case, level

DAY = 86400
OVERDUE = {"registry": 9, "vectors": 9, "cluster": 100}


def _cases() -> Iterator[Case]:
    passed = 'recovery_drill_passed{drill="registry",pod="p"}'
    yield Case(alert="DrillFailed", fires={passed: level(0)}, quiet={passed: level(1)})
    vectors = '{drill="vectors",objective="time"}'
    measured, allowed = f"recovery_drill_seconds{vectors}", f"recovery_drill_objective_seconds{vectors}"
    yield Case(
        alert="RecoveryObjectiveMissed",
        fires={measured: level(3601), allowed: level(3600)},
        # The other drill's objective is another.
        quiet={measured: level(3600), allowed: level(3600), measured.replace("vectors", "cluster"): level(3601)},
    )
    since = 'kube_deployment_created{namespace="mlops-system",deployment="recovery-drills"}'
    for drill, days in OVERDUE.items():
        last = f'recovery_drill_last_success_timestamp_seconds{{drill="{drill}"}}'
        # It is looked at after an hour, 3600 s after the beginning of time.
        yield Case(
            alert="DrillMissed",
            labels={"drill": drill},
            fires={last: level(3500 - days * DAY)},
            quiet={last: level(3700 - days * DAY), since: level(-1000 * DAY)},
        )


CASES = tuple(_cases())
