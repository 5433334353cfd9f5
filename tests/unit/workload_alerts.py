"""Every alert that comes with a workload: one group for each module that makes some."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from components.platform.observability.rules import Group
from tests.unit.conftest import Recorder
from tests.unit.release_stack import place, release
from tests.unit.stack_models import CANARY, chat, planned
from workloads.models.alerts import canaries
from workloads.preprocess import alerts as datasets
from workloads.release import alerts as releases
from workloads.retrieval import alerts as retrievals

WORKLOADS = Path(__file__).resolve().parents[2] / "workloads"
LATE_HOURS = 26


def modules() -> list[str]:
    """Every module of workloads that makes alerts."""
    return sorted(
        ".".join(found.relative_to(WORKLOADS.parent).with_suffix("").parts) for found in WORKLOADS.rglob("alerts.py")
    )


def groups(recorded: Recorder) -> dict[str, Group]:
    """The groups of every such module, for workloads that have everything that can be alerted on."""
    made: list[Group] = []

    def program() -> None:
        scheduled = {"schedule": "0 2 * * *", "lateHours": LATE_HOURS}
        made.append(releases.group([release(place(), settings=scheduled)]))

    recorded.run(program)
    # The canary of the tests may fail one percentage point more often, and be 1.5 times as slow, over 10 minutes and at
    # least 50 requests.
    described = chat(canary={**CANARY, "baseline": {}})
    return {
        "workloads.models.alerts": canaries(planned(described).specs),
        "workloads.preprocess.alerts": datasets.group(),
        "workloads.release.alerts": made[0],
        "workloads.retrieval.alerts": retrievals.group(),
    }


def constants(module: str) -> set[str]:
    """Names of alerts that a module of workloads says it has."""
    found: Any = importlib.import_module(module)
    named = [getattr(found, name) for name in ("ALERT", "FAILED", "LATE") if hasattr(found, name)]
    return {*named, *getattr(found, "NAMES", ())}
