"""What cannot work of the fine-tunes together, found when the settings are read. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from components.settings.fine_tunes import FineTuneSettings, repeated_names
from components.settings.teams import TeamSettings
from workloads.models.plan import Finding, Group
from workloads.training.plan import Plan, Refusal, plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from components.settings.datasets import DatasetSettings
    from components.settings.root import Settings  # its rules import this module


def training_groups(settings: Settings) -> tuple[Group, ...]:
    """Node groups that trainings run on."""
    return tuple(
        Group(
            name=group.name,
            shapes=settings.shapes(group),
            max_size=group.max_size,
        )
        for group in settings.node_groups
        if group.role == "gpu-training"
    )


def plans(settings: Settings, fine_tunes: Sequence[FineTuneSettings]) -> dict[str, Plan | Refusal]:
    """The plan of each fine-tune, by name."""
    groups, shared = training_groups(settings), settings.platform.training.shared_memory_gib
    return {one.name: plan(one, groups, shared_memory_gib=shared) for one in fine_tunes}


def problems(
    settings: Settings, fine_tunes: Sequence[FineTuneSettings], datasets: Sequence[DatasetSettings]
) -> Iterator[Finding]:
    """Paths and messages: everything that cannot work of the stack's fine-tunes.

    Args:
        settings: All settings of the stack.
        fine_tunes: Its fine-tunes.
        datasets: Its datasets.
    """
    if not fine_tunes:
        return
    yield from _systems(settings, fine_tunes)
    for index, message in repeated_names(fine_tunes):
        yield f"fineTunes[{index}]", message
    found = plans(settings, fine_tunes)
    teams = {team.name: team for team in settings.teams}
    names = [one.name for one in datasets]
    for index, one in enumerate(fine_tunes):
        planned = found[one.name]
        if isinstance(planned, Refusal):
            for path, message in planned.findings:
                yield f"fineTunes[{index}].{path}", message
        elif one.team in teams:
            yield from _over_quota(f"fineTunes[{index}]", one, planned, teams[one.team])
        if one.team and one.team not in teams:
            known = f"one of the stack's teams {', '.join(teams)}" if teams else "a team, and the stack has none"
            yield f"fineTunes[{index}].team", f"must be {known}; got {one.team}"
        if one.dataset and one.dataset not in names:
            known = f"one of the stack's datasets {', '.join(names)}" if names else "a dataset, and the stack has none"
            yield f"fineTunes[{index}].dataset", f"must be {known}; got {one.dataset}"
        # Without a way outside, a mirror takes the hub's place.
        reachable = settings.platform.isolation.internet or settings.air_gap.enabled
        if one.base.source.startswith("hf:") and not reachable:
            yield (
                f"fineTunes[{index}].base.source",
                "the hub is outside, and platform.isolation.internet is false; copy the model to the bucket models",
            )


def _systems(settings: Settings, fine_tunes: Sequence[FineTuneSettings]) -> Iterator[Finding]:
    platform = settings.platform
    if not platform.training.enabled:
        yield "fineTunes", "need platform.training.enabled, which runs them"
    if not platform.scheduling.enabled:
        yield "fineTunes", "need platform.scheduling.enabled, which starts all pods of a job or none"
    if not platform.experiments.enabled:
        yield "fineTunes", "need platform.experiments.enabled, which they log to and register models with"
    if "training" not in settings.registry.repositories:
        yield "registry.repositories", "must hold training, whose image fine-tunes run with"
    for index, one in enumerate(fine_tunes):
        if one.job == "pytorch-job" and platform.training.enabled and not platform.training.pytorch_jobs:
            yield f"fineTunes[{index}].job", "pytorch-job needs platform.training.pytorchJobs; or take train-job"


def _over_quota(path: str, one: FineTuneSettings, planned: Plan, team: TeamSettings) -> Iterator[Finding]:
    """A run that the team's quota never lets start."""
    needed = planned.request
    for what, wanted, may, unit in (
        ("gpus", needed.gpus * one.nodes, team.gpus, "GPUs"),
        ("vcpu", needed.cpu_millicores * one.nodes / 1000, team.vcpu, "vCPU"),
        ("memoryGib", needed.memory_mib * one.nodes / 1024, team.memory_gib, "GiB memory"),
    ):
        if wanted > may:
            yield (
                f"{path}.team",
                f"a run asks for {wanted:g} {unit}, and team {team.name} may have {may:g}; raise {what} of the team, "
                "or make it smaller",
            )
