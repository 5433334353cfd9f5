"""Metrics of recovery drills."""

from __future__ import annotations

from typing import Final

from components.platform.observability.catalogue.model import Source, metrics

_DRILLS: Final = Source(
    component="recovery drills",
    version="this program",
    documents="docs/recovery.md",
    seen=True,
)

METRICS: Final = metrics(
    _DRILLS,
    "gauge",
    {
        "recovery_drill_passed": "drill",
        "recovery_drill_last_run_timestamp_seconds": "drill",
        "recovery_drill_last_success_timestamp_seconds": "drill",
        "recovery_drill_seconds": "drill objective",
        "recovery_drill_objective_seconds": "drill objective",
        "recovery_drill_checks": "drill result",
        "recovery_drill_step_seconds": "drill step",
        "recovery_drill_amount": "drill of",
    },
)
"""Every metric of this part."""
