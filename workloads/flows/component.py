"""Datasets, fine-tunes and releases of a stack. Retrievals have a component of their own: nothing here needs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi

from components.platform.site import Site
from components.settings.models import ModelSettings
from workloads.flows import judge_key
from workloads.flows.assembly import release_of
from workloads.flows.stack import StackFlows
from workloads.preprocess.component import Datasets, DatasetsArgs
from workloads.release.component import Releases, ReleasesArgs
from workloads.training.component import FineTunes, FineTunesArgs


@dataclass(frozen=True, kw_only=True)
class FlowsArgs:
    """What they need; each of these is what to wait for, and empty where it is not installed.

    Attributes:
        site: Where they run.
        declared: The datasets, fine-tunes and releases.
        models: The stack's models: releases are tried with the questions of those that will serve them.
        ray: ``Ray.ready``.
        workflows: ``Workflows.ready``.
        training: ``Training.ready``.
        secrets: ``SecretSync.ready``.
        gateway: The model gateway.
        rules: What brings the definition of a PrometheusRule.
        team_namespaces: What must exist before something runs in a team's namespace, by team.
    """

    site: Site
    declared: StackFlows
    models: Sequence[ModelSettings]
    ray: Sequence[pulumi.Resource]
    workflows: Sequence[pulumi.Resource]
    training: Sequence[pulumi.Resource]
    secrets: Sequence[pulumi.Resource]
    gateway: Sequence[pulumi.Resource]
    rules: Sequence[pulumi.Resource] = ()
    team_namespaces: Mapping[str, Sequence[pulumi.Resource]] = field(
        default_factory=dict[str, Sequence[pulumi.Resource]]
    )


class Flows(pulumi.ComponentResource):
    """From raw data to released models."""

    outputs: Mapping[str, Any]
    """What people want to know of each."""
    ready: tuple[pulumi.Resource, ...]

    def __init__(self, name: str, args: FlowsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        provider = args.site.foundation.cluster.provider
        with_provider = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(providers=[provider]))
        super().__init__("llmops:workloads:Flows", name, None, with_provider)
        site, declared, child = args.site, args.declared, pulumi.ResourceOptions(parent=self)
        datasets = Datasets(
            "datasets",
            DatasetsArgs(
                site=site, datasets=declared.datasets, ray=args.ray, workflows=args.workflows, rules=args.rules
            ),
            child,
        )
        fine_tunes = FineTunes(
            "fine-tunes",
            FineTunesArgs(
                site=site,
                fine_tunes=declared.fine_tunes,
                plans=declared.plans,
                team_namespaces=args.team_namespaces,
            ),
            child,
        )
        key = judge_key.declare(
            "evaluation", declared.fine_tunes, site=site, parent=self, secrets=args.secrets, gateway=args.gateway
        )
        releases = Releases(
            "releases",
            ReleasesArgs(
                site=site,
                releases=[
                    release_of(
                        one,
                        one.release,
                        declared.plans[one.name],
                        datasets=declared.datasets,
                        models=args.models,
                        site=site,
                    )
                    for one in declared.fine_tunes
                    if one.release
                ],
                workflows=args.workflows,
                after=[*args.ray, *args.training, *datasets.ready, *fine_tunes.ready, *key],
                rules=args.rules,
                team_namespaces=args.team_namespaces,
            ),
            child,
        )
        self.ready = (*datasets.ready, *fine_tunes.ready, *key, *releases.ready)
        self.outputs = {
            "datasets": datasets.outputs,
            "fineTunes": fine_tunes.outputs,
            "releases": releases.outputs,
        }
        self.register_outputs(dict(self.outputs))
