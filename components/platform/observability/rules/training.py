"""Training: jobs that fail, start again or no longer learn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from components.platform.observability.rules.facts import SiteFacts
from components.platform.observability.rules.model import HOUR, MINUTE, NOW, Alert, Group, promql
from components.platform.observability.rules.promql import TEAM_OR_PLATFORM, by_team, raised

_SEEN: Final = HOUR
"""For how long a job that failed is told of: nothing ever says that it is well again."""

_RESTARTS: Final = 3

_RAY_FAILED: Final = 'kuberay_job_deployment_status{deployment_status="Failed"}'

TOLD_ELSEWHERE: Final = (
    'kuberay_job_deployment_status{deployment_status="Failed",namespace="mlops-data",name=~"(dataset|ingest)-.+"}'
)
"""Ray's jobs that are no training: those of datasets and of retrievals have alerts of their own, with those."""


def groups(facts: SiteFacts) -> Iterator[Group]:
    """Rules about training jobs, for each operator that there is."""
    settings = facts.settings
    failures: list[Alert] = []
    if settings.training.enabled:
        failures.append(
            _failed(
                "jobset",
                f"sum by (namespace, jobset_name) ({raised('jobset_failed_total', _SEEN)}) > 0",
                "{{ $labels.namespace }}/{{ $labels.jobset_name }}",
            )
        )
    if settings.training.enabled and settings.training.pytorch_jobs:
        # The operator counts by namespace and kind, not by job.
        counted = raised("training_operator_jobs_failed_total", _SEEN)
        failures.append(
            _failed(
                "training-operator",
                f"{_by_namespace(counted)} > 0",
                "A {{ $labels.framework }} job in {{ $labels.namespace }}",
            )
        )
    if settings.scheduling.enabled:
        failures.append(
            _failed(
                "volcano",
                f"sum by (queue_name, job_name) ({raised('volcano_job_failed_phase_count', _SEEN)}) > 0",
                "Volcano's job {{ $labels.job_name }} of queue {{ $labels.queue_name }}",
            )
        )
    if settings.ray.enabled:
        news = f"({_RAY_FAILED} == 1) unless ({_RAY_FAILED} offset {promql(_SEEN)} == 1) unless {TOLD_ELSEWHERE}"
        failures.append(
            _failed(
                "kuberay",
                f"max by (namespace, name) ({news}) > 0",
                "Ray's job {{ $labels.namespace }}/{{ $labels.name }}",
            )
        )
    yield Group(name="training.failures", rules=failures)
    if settings.training.enabled:
        restarting = [_RESTARTING] if settings.training.pytorch_jobs else []
        yield Group(name="training.progress", rules=[*restarting, _DIVERGED, _STALLED])


def _by_namespace(series: str) -> str:
    """The operator's sums by namespace and kind of job."""
    return f'sum by (namespace, framework) (label_replace({series}, "namespace", "$1", "job_namespace", "(.+)"))'


def _failed(operator: str, expression: str, job: str) -> Alert:
    return Alert(
        name="TrainingJobFailed",
        expression=by_team(expression),
        lasting=NOW,
        severity="critical",
        summary=f"{job} failed",
        description="A training job ended in failure, its own attempts included. This is told for an hour.",
        page="training",
        dashboard="training",
        labels={"operator": operator},
    )


_RESTARTING: Final = Alert(
    name="TrainingJobRestarting",
    expression=(
        "label_replace(sum by (job_namespace, framework) (increase(training_operator_jobs_restarted_total[1h])) > "
        f'{_RESTARTS}, "namespace", "$1", "job_namespace", "(.+)")'
    ),
    lasting=NOW,
    severity="warning",
    summary="{{ $labels.framework }} jobs in {{ $labels.namespace }} start again and again",
    description=f"{{{{ $value | humanize }}}} restarts within an hour; more than {_RESTARTS} are no accident.",
    page="training",
    dashboard="training",
)

_DIVERGED: Final = Alert(
    name="TrainingDiverged",
    # Only what is not a number differs from itself.
    expression=by_team("llmops_training_loss != llmops_training_loss or abs(llmops_training_loss) == Inf"),
    lasting=5 * MINUTE,
    severity="warning",
    summary="The loss of {{ $labels.namespace }}/{{ $labels.job_name }} is not a number",
    description="Run {{ $labels.run_id }} learns nothing any more, and holds its GPUs.",
    page="training",
    dashboard="training",
)

_STALLED: Final = Alert(
    name="TrainingStalled",
    expression=by_team(
        "max by (namespace, job_name, run_id) "
        f'(max_over_time(llmops_training_tokens_per_second{{namespace=~"{TEAM_OR_PLATFORM}"}}[15m])) == 0'
    ),
    lasting=15 * MINUTE,
    severity="warning",
    summary="{{ $labels.namespace }}/{{ $labels.job_name }} makes no progress",
    description="Run {{ $labels.run_id }} has processed nothing for half an hour: a worker hangs, or data is missing.",
    page="training",
    dashboard="training",
)
