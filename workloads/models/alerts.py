"""What models promise, as the rules of the platform know it, and the alert that ends a canary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final

import pulumi

from components.platform.observability.links import links
from components.platform.observability.rules import Alert, Group, ModelObjective, rule
from components.platform.site import Site
from components.settings.models import BaselineSettings
from workloads.models.plan import Plan
from workloads.models.spec import ModelSpec

ALERT: Final = "ModelCanaryWorse"

_TOTAL: Final = "litellm_deployment_total_requests_total"
_FAILED: Final = "litellm_deployment_failure_responses_total"
_SECONDS: Final = "litellm_llm_api_latency_metric_bucket"


def objective(model: ModelSpec, plan: Plan) -> ModelObjective:
    """What is promised of one model."""
    settings, backend = model.settings, model.backend
    served = backend in ("vllm", "triton")
    stable = model.versions[0]
    return ModelObjective(
        name=model.name,
        namespace=model.namespace if served else "",
        team=settings.team or "platform",
        backend=backend if backend in ("vllm", "triton") else "hosted",
        p99_seconds=settings.objective.p99_seconds,
        error_ratio=settings.objective.error_percent / 100,
        cold_start_seconds=plan.cold_start.total_seconds if served and not stable.fewest else 0,
        always_on=bool(stable.fewest) or not served,
        reserves_gpu_memory=backend == "vllm",
    )


def canaries(models: Sequence[ModelSpec]) -> Group:
    """The alerts of all canaries that run; none where there is none."""
    return Group(name="models.canaries", rules=[rule for model in models for rule in _worse(model)])


def _worse(model: ModelSpec) -> Iterator[Alert]:
    """Two rules of one name: more failures, and slower answers, than those of the model itself.

    Both are measured where requests are shared out: at the model gateway, whose backends are the versions. There the
    canary's failures are counted too when clients get the stable version's answer instead.
    """
    canary = model.settings.canary
    if canary is None or canary.state != "running" or canary.baseline is None:
        return
    baseline = canary.baseline
    for what, expression, how in (
        ("errors", _more_failures(model.name, baseline), f"fails {baseline.error_points:g} points more often than"),
        ("latency", _slower(model.name, baseline), f"is {baseline.latency_factor:g} times as slow as"),
    ):
        yield Alert(
            name=ALERT,
            expression=expression,
            lasting=timedelta(minutes=baseline.minutes),
            severity="critical",
            summary=f"The canary of {model.name} {how} the model itself",
            description=(
                f"Of at least {baseline.requests} requests in {baseline.minutes} minutes. "
                f"`python -m ops models rollback {model.name} --yes`: the next up takes its share and its server away."
            ),
            page="models",
            dashboard="models",
            labels={"model": model.name, "comparison": what},
        )


def _of(metric: str, model: str, role: str) -> str:
    return f'{metric}{{model_id="{model}/{role}"}}'


def _requests(model: str, baseline: BaselineSettings) -> str:
    enough = f"sum(increase({_of(_TOTAL, model, 'canary')}[{baseline.minutes}m]))"
    return f"({enough} >= {baseline.requests})"


def _failures(model: str, role: str, minutes: int) -> str:
    total = f"sum(increase({_of(_TOTAL, model, role)}[{minutes}m]))"
    # Nothing is counted of what never failed.
    return f"((sum(increase({_of(_FAILED, model, role)}[{minutes}m])) or {total} * 0) / {total})"


def _more_failures(model: str, baseline: BaselineSettings) -> str:
    canary, stable = (_failures(model, role, baseline.minutes) for role in ("canary", "stable"))
    return f"({canary} - {stable} > {baseline.error_points / 100:g}) and {_requests(model, baseline)}"


def _slower(model: str, baseline: BaselineSettings) -> str:
    canary, stable = (
        f"histogram_quantile(0.99, sum by (le) (rate({_of(_SECONDS, model, role)}[{baseline.minutes}m])))"
        for role in ("canary", "stable")
    )
    return f"({canary} > {baseline.latency_factor:g} * {stable}) and {_requests(model, baseline)}"


def declare(
    name: str,
    models: Sequence[ModelSpec],
    *,
    site: Site,
    parent: pulumi.Resource,
    after: Sequence[pulumi.Resource],
) -> tuple[pulumi.Resource, ...]:
    """Declare the rules of the canaries; nothing where none runs.

    Args:
        name: Prefix of the Pulumi resources.
        models: All models.
        site: Where they are evaluated.
        parent: The component.
        after: What brings the definition of a PrometheusRule.
    """
    group = canaries(models)
    if not group.rules:
        return ()
    return (rule(f"{name}-canaries", [group], title="llmops-canaries", links=links(site), parent=parent, after=after),)
