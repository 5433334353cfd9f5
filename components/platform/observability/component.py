"""Observability as a whole: metrics, alerts, logs, traces and dashboards, wired together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pulumi

from components.platform.installed import Installed, Ready
from components.platform.observability import grafana, logs, metrics, rules, traces
from components.platform.observability.grafana import Dashboards, DashboardsArgs
from components.platform.observability.links import links
from components.platform.observability.logs import Logs, LogsArgs
from components.platform.observability.metrics import Metrics, MetricsArgs
from components.platform.observability.rules import ModelObjective
from components.platform.observability.traces import Traces, TracesArgs
from components.platform.openings import Namespace, Opening
from components.platform.quotas import Allowance
from components.platform.site import Site
from components.settings.platform import PlatformSettings


@dataclass(frozen=True, kw_only=True)
class ObservabilityArgs:
    """What watching the platform is built from.

    Attributes:
        site: Where it is installed.
        there: The systems that it builds on (Grafana keeps users in a database); what rules need is added.
        models: What is promised of models.
    """

    site: Site
    there: Installed
    models: Sequence[ModelObjective] = ()


class Observability(pulumi.ComponentResource):
    """Logs and traces beside metrics; rules and Grafana's permissions after them."""

    ready: tuple[pulumi.Resource, ...]

    def __init__(self, name: str, args: ObservabilityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:platform:Observability", name, None, opts)
        site, settings = args.site, args.site.settings
        child = pulumi.ResourceOptions(parent=self)
        ready: list[pulumi.Resource] = []
        if settings.logs.enabled:
            ready += Logs(f"{name}-logs", LogsArgs(site=site), child).ready
        if settings.traces.enabled:
            ready += Traces(f"{name}-traces", TracesArgs(site=site), child).ready
        if settings.metrics.enabled:
            ready += self._metrics(name, args)
        self.ready = tuple(ready)
        self.register_outputs({})

    def _metrics(self, name: str, args: ObservabilityArgs) -> Iterator[pulumi.Resource]:
        site, child = args.site, pulumi.ResourceOptions(parent=self)
        with_grafana = site.settings.grafana.enabled
        mounted: Ready = ()
        if with_grafana:
            wanted = DashboardsArgs(site=site, secrets_ready=args.there.secrets, databases_ready=args.there.databases)
            mounted = Dashboards(f"{name}-dashboards", wanted, child).ready
        stack = Metrics(
            f"{name}-metrics",
            MetricsArgs(
                site=site,
                grafana=grafana.values(site),
                secrets_ready=args.there.secrets,
                mesh_ready=args.there.mesh,
                certificates=args.there.certificates,
                after=mounted,
            ),
            child,
        )
        args.there.rules = stack.ready
        yield from stack.ready
        yield from rules.declare(
            f"{name}-rules",
            site=site,
            objectives=args.models,
            parent=self,
            after=stack.ready,
            grafana_url=links(site).grafana,
        )
        if with_grafana:
            yield from grafana.publish(
                f"{name}-grafana", site, parent=self, running=stack.ready, edge_ready=args.there.edge
            )


def openings(site: Site) -> Iterator[Opening]:
    """Ways that the systems need which the settings switch on."""
    settings = site.settings
    if settings.metrics.enabled:
        yield from metrics.openings(site)
        yield from grafana.openings(site)
    if settings.logs.enabled:
        yield from logs.openings(site)
    if settings.traces.enabled:
        yield from traces.openings(site)


def secret_entries(settings: PlatformSettings) -> Iterator[str]:
    """Entries of the secret store that the systems read."""
    if settings.metrics.enabled:
        yield from settings.alerting.supplied
        yield from grafana.secret_entries(settings)


def own_sign_in(settings: PlatformSettings) -> tuple[str, ...]:
    """Hosts whose systems check their own users."""
    return grafana.own_sign_in(settings) if settings.metrics.enabled else ()


def wanted(settings: PlatformSettings) -> bool:
    """Whether any of the systems is installed."""
    return settings.metrics.enabled or settings.logs.enabled or settings.traces.enabled


def allowances(settings: PlatformSettings) -> dict[Namespace, Allowance]:
    """What the systems may ask for besides their namespace's share."""
    return {"monitoring": metrics.allowance(settings)} if settings.metrics.enabled else {}
