"""Alerts about releases: one that failed, and one that has not been made for too long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final

import pulumi

from components.platform.observability.links import links
from components.platform.observability.rules import Alert, Group, rule
from components.platform.observability.rules.model import NOW
from components.platform.site import Site
from workloads.release.argo import METRIC
from workloads.release.releases import Release

FAILED: Final = "ReleaseFailed"
LATE: Final = "ReleaseLate"

SERIES: Final = f"argo_workflows_{METRIC}"
"""The controller's name for it. It keeps it in memory: after a restart there is none until the next run has ended."""

_QUARTER: Final = timedelta(minutes=15)


def group(releases: Sequence[Release]) -> Group:
    """The alerts of all releases."""
    return Group(name="releases", rules=[_FAILED, *(one for release in releases for one in _late(release))])


def _last(status: str, flow: str = "release-.+") -> str:
    return f'max by (flow) ({SERIES}{{flow=~"{flow}",status=~"{status}"}})'


_FAILED: Final = Alert(
    name=FAILED,
    # Its last run: one that has succeeded since says that it was mended.
    expression=f"{_last('Failed|Error')} > ({_last('Succeeded')} or {_last('Failed|Error')} * 0)",
    lasting=NOW,
    severity="warning",  # what serves is as it was
    summary="The last run of {{ $labels.flow }} failed",
    description=(
        "Nothing serves anything else because of it: artifacts that were being made have no name yet, and no alias has "
        "moved after the step that failed."
    ),
    page="pipelines",
    dashboard="pipelines",
)


def _late(release: Release) -> Iterator[Alert]:
    """Only where there is a schedule: nothing else can be late."""
    if release.settings.schedule is None:
        return
    hours = release.settings.late_hours
    yield Alert(
        name=LATE,
        expression=f"time() - {_last('Succeeded', release.title)} > {hours * 3600}",
        lasting=_QUARTER,
        severity="warning",
        summary=f"{release.title} has had no successful run for {hours} hours",
        description="Its schedule is suspended, its runs fail, or they wait for room.",
        page="pipelines",
        dashboard="pipelines",
    )


def declare(
    name: str,
    releases: Sequence[Release],
    *,
    site: Site,
    parent: pulumi.Resource,
    after: Sequence[pulumi.Resource],
) -> tuple[pulumi.Resource, ...]:
    """Declare the rules.

    Args:
        name: Prefix of the Pulumi resources.
        releases: All releases.
        site: Where they are evaluated.
        parent: The component.
        after: What brings the definition of a PrometheusRule.
    """
    return (
        rule(
            f"{name}-rules", [group(releases)], title="llmops-releases", links=links(site), parent=parent, after=after
        ),
    )
