"""What cannot work of a model: rules for all backends, and each backend's own. Pure; every finding says what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, get_args

from components.settings.hosted_models import CloudProvider
from components.settings.models import BackendName
from workloads.cost import HOURS_PER_MONTH
from workloads.managed import planning as managed_rules
from workloads.models import vllm_arguments
from workloads.models.plan import Facts, Finding, Plan, Refusal
from workloads.models.spec import WEIGHT_BUCKETS, ModelSpec, location
from workloads.triton import rules as triton_rules


@dataclass(frozen=True, kw_only=True)
class Case:
    """One model to judge.

    Attributes:
        spec: The model.
        plan: Its plan, or why there is none.
        facts: The stack.
    """

    spec: ModelSpec
    plan: Plan | Refusal
    facts: Facts


Rule = Callable[[Case], Iterator[Finding]]
"""Finds what cannot work."""


def _sources(case: Case) -> Iterator[tuple[str, str]]:
    """Every source of a declaration with its path."""
    settings = case.spec.settings
    yield "source", settings.source
    if settings.canary:
        yield "canary.source", settings.canary.source
    for index, variant in enumerate(settings.ab.variants):
        yield f"ab.variants[{index}].source", variant.source


def sources(case: Case) -> Iterator[Finding]:
    """Sources that the backend or the stack does not have."""
    own = "gs" if case.facts.objects == "gcs" else "s3"
    hosted = case.spec.backend == "hosted"
    for path, source in _sources(case):
        found = location(source)
        if hosted != (found.scheme == "hosted"):
            remedy = (
                f"must be hosted://{get_args(CloudProvider)[0]}/<model> for backend hosted"
                if hosted
                else "is for backend hosted; set backend: hosted, or a source of weights"
            )
            yield path, f"{remedy}; got {source}"
        elif hosted and found.place not in get_args(CloudProvider):
            yield path, f"must be hosted by {' or '.join(get_args(CloudProvider))}; got {found.place}"
        elif case.spec.backend == "vertex" and found.scheme == "gs":
            continue  # a bucket by its real name: the stack may stand on another cloud
        elif found.scheme in ("s3", "gs") and case.spec.backend != "vertex" and found.place not in WEIGHT_BUCKETS:
            # Buckets are named by their role: which protocol the store speaks, the declaration need not know.
            yield (
                path,
                f"must lie in one of the stack's buckets {', '.join(WEIGHT_BUCKETS)}, which stand for their real "
                f"names; copy the weights to {own}://models/{found.path}; got {found.place}",
            )


def shape(case: Case) -> Iterator[Finding]:
    """Parts of the declaration that do not go together."""
    settings = case.spec.settings
    if settings.backend == "hosted":
        for path, given in (
            ("gpu", settings.gpu),
            ("architecture", settings.architecture),
            ("config", settings.config),
        ):
            if given:
                yield path, "is not for backend hosted, whose servers are the cloud's; leave it out"
    elif settings.architecture and settings.config:
        yield "architecture", "set architecture, a name of the catalogue (docs/sizing.md), or config, and not both"
    for path, given, backends in (
        ("arguments", settings.arguments, ("vllm",)),
        ("triton", settings.triton, ("triton",)),
        ("managed", settings.managed, ("sagemaker", "vertex")),
        ("quantizeOnLoad", settings.quantize_on_load, ("vllm",)),
    ):
        if given and settings.backend not in backends:
            yield (
                path,
                f"is only for backend {' and '.join(backends)}; leave it out, or set backend; got {settings.backend}",
            )
    if settings.quantize_on_load and settings.quantization != "fp8":
        yield "quantizeOnLoad", f"needs quantization fp8; got {settings.quantization}"


def traffic(case: Case) -> Iterator[Finding]:
    """Canaries and A/B tests that cannot be run."""
    settings = case.spec.settings
    if settings.canary is not None:
        if settings.canary.baseline is None:
            yield "canary.baseline", "must be set, if only as {}: without it nobody says when the canary must go"
        if settings.ab.variants:
            yield "canary", "cannot run beside an A/B test: their shares would mix; leave out canary or ab.variants"
        if settings.canary.source == settings.source and settings.canary.state != "promoted":
            yield "canary.source", f"must differ from the model's own source; got {settings.canary.source}"
    known = [settings.source]
    for index, variant in enumerate(settings.ab.variants):
        if variant.source in known:
            yield f"ab.variants[{index}].source", f"must differ from the others' sources; got {variant.source}"
        known.append(variant.source)


def replicas(case: Case) -> Iterator[Finding]:
    """Numbers of servers that cannot be."""
    settings = case.spec.settings
    on_cluster = settings.backend in ("vllm", "triton")
    if on_cluster and not settings.replicas.min and not case.facts.activation:
        yield (
            "replicas.min",
            "0 needs platform.serving.activation.enabled, which holds requests until there is a server; set that, or 1",
        )
    for version in case.spec.versions:
        if on_cluster and not case.facts.metrics and 0 < version.fewest < version.most:
            yield (
                "replicas",
                f"{version.role} has {version.fewest} to {version.most} servers, which follow their own queue: set "
                "platform.metrics.enabled or platform.serving.prometheusUrl, or min and max alike",
            )


def budget(case: Case) -> Iterator[Finding]:
    """A budget that the servers at their most would exceed."""
    limit = case.spec.settings.budget.monthly_usd
    if limit is None or isinstance(case.plan, Refusal):
        return
    if case.spec.backend == "hosted":
        yield (
            "budget.monthlyUsd",
            "is for servers; calls of hosted models are limited by the team's monthlyUsd; leave it out",
        )
        return
    cost = case.plan.cost
    if (monthly := cost.monthly_usd) is not None and monthly > limit:
        server = cost.server_hourly_usd or 0
        fits = int(limit / (server * HOURS_PER_MONTH)) if server else 0
        remedy = f"lower replicas.max to {fits}" if fits else "take a smaller GPU or a smaller model"
        yield (
            "budget.monthlyUsd",
            f"all servers at their most cost {monthly:,.0f} USD a month at list prices ({case.plan.instance_type}); "
            f"raise it, or {remedy}; got {limit:g}",
        )


def _vllm(case: Case) -> Iterator[Finding]:
    yield from vllm_arguments.problems(case.spec.settings.arguments)


def _triton(case: Case) -> Iterator[Finding]:
    yield from triton_rules.problems(case.spec, case.plan)


def _managed(case: Case) -> Iterator[Finding]:
    yield from managed_rules.problems(case.spec, case.plan)


COMMON: Final[tuple[Rule, ...]] = (shape, sources, traffic, replicas, budget)
"""Rules for every backend."""

OWN: Final[Mapping[BackendName, Rule]] = {"vllm": _vllm, "triton": _triton, "sagemaker": _managed, "vertex": _managed}
"""Rules of one backend."""


def findings(case: Case) -> Iterator[Finding]:
    """Everything that cannot work of one model."""
    if isinstance(case.plan, Refusal):
        yield from case.plan.findings
    for rule in COMMON:
        yield from rule(case)
    if own := OWN.get(case.spec.backend):
        yield from own(case)
