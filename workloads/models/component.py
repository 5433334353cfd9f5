"""The models of a stack: each with its versions, its volumes, its smoke test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pulumi

from components.platform.site import Site
from workloads.models import alerts
from workloads.models.backends import Deployed, VersionArgs
from workloads.models.plan import Plan
from workloads.models.registry import BACKENDS
from workloads.models.smoke import Probe, smoke_test
from workloads.models.spec import SERVING, ModelSpec, Version
from workloads.models.weights import weights_of


@dataclass(frozen=True, kw_only=True)
class ModelsArgs:
    """What models need.

    Attributes:
        site: Where they run.
        specs: The models.
        plans: By name of the model.
        after: The platform, as far as servers need it: KServe, scale to zero, namespaces.
        gateway: The model gateway: the smoke tests call it. Empty where it is not installed: then nothing is tested.
        rules: What brings the definition of a PrometheusRule; empty where that is not there: then no canary is judged.
        team_namespaces: What must exist before something runs in a team's namespace, by team.
    """

    site: Site
    specs: Sequence[ModelSpec]
    plans: Mapping[str, Plan]
    after: Sequence[pulumi.Resource]
    gateway: Sequence[pulumi.Resource] = ()
    rules: Sequence[pulumi.Resource] = ()
    team_namespaces: Mapping[str, Sequence[pulumi.Resource]] = field(
        default_factory=dict[str, Sequence[pulumi.Resource]]
    )


class Models(pulumi.ComponentResource):
    """Side by side; none waits for another."""

    outputs: Mapping[str, pulumi.Output[Any]]
    """What people want to know of each model."""
    ready: tuple[pulumi.Resource, ...]

    def __init__(self, name: str, args: ModelsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        provider = args.site.foundation.cluster.provider
        with_provider = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(providers=[provider]))
        super().__init__("llmops:workloads:Models", name, None, with_provider)
        child = pulumi.ResourceOptions(parent=self)
        made = {spec.name: Model(f"model-{spec.name}", spec, args.plans[spec.name], args, child) for spec in args.specs}
        self.outputs = {key: pulumi.Output.from_input(model.outputs) for key, model in made.items()}
        judged = alerts.declare(name, args.specs, site=args.site, parent=self, after=args.rules) if args.rules else ()
        self.ready = (*(one for model in made.values() for one in model.ready), *judged)
        self.register_outputs({"models": self.outputs})


class Model(pulumi.ComponentResource):
    """One model."""

    outputs: dict[str, Any]
    ready: tuple[pulumi.Resource, ...]

    def __init__(
        self, name: str, spec: ModelSpec, plan: Plan, args: ModelsArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("llmops:workloads:Model", name, None, opts)
        site = args.site
        room = args.team_namespaces.get(spec.settings.team, ()) if spec.settings.team else site.namespaces[SERVING]
        after = [*args.after, *room]
        deployed = {
            version.role: self._declare(spec, version, plan, site=site, after=after) for version in spec.versions
        }
        servers = tuple(one for version in deployed.values() for one in version.ready)
        tested: Sequence[pulumi.Resource] = ()
        if args.gateway and wants_smoke_test(spec):
            probes = [Probe(name=version.name, url=deployed[version.role].url) for version in spec.versions]
            tested = smoke_test(
                name,
                spec=spec,
                plan=plan,
                probes=[probe for probe in probes if probe.url],
                site=site,
                parent=self,
                after=[*servers, *args.gateway],
            )
        self.ready = (*servers, *tested)
        self.outputs = {
            **summary(spec, plan),
            "versions": {
                role: {"source": version.source, "weight": version.weight, **deployed[role].outputs}
                for role, version in ((one.role, one) for one in spec.versions)
            },
        }
        self.register_outputs(self.outputs)

    def _declare(
        self, spec: ModelSpec, version: Version, plan: Plan, *, site: Site, after: Sequence[pulumi.Resource]
    ) -> Deployed:
        name = f"model-{version.name}"
        weights = weights_of(name, spec=spec, version=version, site=site, parent=self)
        deployed = BACKENDS[spec.backend].declare(
            VersionArgs(
                name=name, spec=spec, version=version, plan=plan, weights=weights, site=site, parent=self, after=after
            )
        )
        if weights.version is None:
            return deployed
        return replace(deployed, outputs={**deployed.outputs, "registryVersion": weights.version})


def wants_smoke_test(spec: ModelSpec) -> bool:
    """Whether a real request is sent: to a model that may have no server only where that is wanted."""
    smoke = spec.settings.smoke
    always = all(version.fewest for version in spec.versions) or spec.backend == "hosted"
    return smoke.enabled and (always or smoke.wakes)


def summary(spec: ModelSpec, plan: Plan) -> dict[str, Any]:
    """What the outputs say of a model: plain, so that a preview shows it before anything is created."""
    cost = plan.cost
    found: dict[str, Any] = {
        "backend": spec.backend,
        "team": spec.settings.team or "platform",
        "fallbacks": list(spec.settings.fallbacks),
        "coldStartSeconds": plan.cold_start.total_seconds if plan.gpus else 0,
        "tokensPerSecond": cost.tokens_per_second,
        "usdPerHourMinimum": cost.minimum_hourly_usd,
        "usdPerHourMaximum": cost.maximum_hourly_usd,
        "usdPerMillionTokens": cost.million_tokens_usd,
    }
    if plan.fit is not None:
        found |= {
            "machine": plan.instance_type,
            "gpus": f"{plan.gpus} x {plan.gpu_model}",
            "weightsGib": plan.fit.weights_gib,
            "kvTokens": plan.fit.kv_tokens,
        }
    return {
        key: round(value, 4) if isinstance(value, float) else value for key, value in found.items() if value is not None
    }
