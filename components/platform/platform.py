"""The platform: every system of the cluster, wired together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pulumi

from components.contract import Foundation
from components.platform import (
    autoscaling,
    backups,
    certificates,
    gateway,
    gitops,
    gpus,
    mesh,
    ml_systems,
    rate_limits,
    scheduling,
    secrets,
)
from components.platform.autoscaling import Autoscaling, AutoscalingArgs
from components.platform.backups import Backups, BackupsArgs
from components.platform.certificates import CertManager, CertManagerArgs
from components.platform.edge import Edge, EdgeArgs
from components.platform.gateway import Gateway, GatewayArgs
from components.platform.gitops import NAMESPACE, SERVER, GitOps, GitOpsArgs
from components.platform.gpus import Gpus, GpusArgs
from components.platform.mesh import Mesh, MeshArgs
from components.platform.ml_systems import MlSystems, MlSystemsArgs
from components.platform.namespaces import Namespaces, NamespacesArgs
from components.platform.openings import Opening
from components.platform.routes import Backend, Rule, route
from components.platform.scheduling import Scheduling, SchedulingArgs
from components.platform.secrets import SecretSync, SecretSyncArgs
from components.platform.site import Site
from components.settings import Settings
from components.settings.platform import PlatformSettings


@dataclass(frozen=True, kw_only=True)
class PlatformArgs:
    """What the platform is built from.

    Attributes:
        foundation: What it stands on.
        settings: The stack's settings.
    """

    foundation: Foundation
    settings: Settings


class Platform(pulumi.ComponentResource):
    """Namespaces first; then the systems side by side, each waiting only for what it needs."""

    site: Site
    ready: tuple[pulumi.Resource, ...]
    delivery_ready: tuple[pulumi.Resource, ...] = ()
    """What an application of Argo CD needs; empty where it is not installed."""

    def __init__(self, name: str, args: PlatformArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        provider = args.foundation.cluster.provider
        with_provider = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(providers=[provider]))
        super().__init__("llmops:platform:Platform", name, None, with_provider)
        self._child = pulumi.ResourceOptions(parent=self)
        self.site, namespaces = self._furnish(name, args)
        self.ready = tuple(self._install(name, args.settings, namespaces))
        self.register_outputs({"namespaces": sorted(self.site.namespaces)})

    def _furnish(self, name: str, args: PlatformArgs) -> tuple[Site, Namespaces]:
        """Create the namespaces; the ways between them are known before anything runs there."""
        settings = args.settings
        site = Site(
            foundation=args.foundation,
            settings=settings.platform,
            teams=settings.teams,
            owner=settings.owner,
            namespaces={},
        )
        namespaces = Namespaces(
            f"{name}-namespaces",
            NamespacesArgs(
                foundation=args.foundation,
                teams=settings.teams,
                capacity=settings.workloads,
                owner=settings.owner,
                cost_center=settings.cost_center,
                openings=list(openings(site)),
                settings=settings.platform.isolation,
                kubernetes_minor=args.foundation.cluster.kubernetes_version,
                more=ml_systems.allowances(settings.platform),
                exceptions=backups.pod_security(settings.platform.backups),
                annotations=scheduling.namespace_annotations(settings.teams),
            ),
            self._child,
        )
        # Pods start only where there are nodes, DNS and volumes: whoever waits for a namespace waits for these too.
        cluster = args.foundation.cluster.ready
        made = {title: (*some, *cluster) for title, some in namespaces.resources.items()}
        return replace(site, namespaces=made), namespaces

    def _install(self, name: str, root: Settings, namespaces: Namespaces) -> Iterator[pulumi.Resource]:
        site, child = self.site, self._child
        settings = site.settings
        gangs: tuple[pulumi.Resource, ...] = ()
        scalers: tuple[pulumi.Resource, ...] = ()
        secrets_ready: tuple[pulumi.Resource, ...] = ()
        if settings.secrets.enabled:
            synced = SecretSync(f"{name}-secrets", SecretSyncArgs(site=site, entries=list(secret_entries(site))), child)
            secrets_ready = synced.ready
            yield from synced.ready
        issuers = (
            CertManager(f"{name}-certificates", CertManagerArgs(site=site), child)
            if (settings.certificates.enabled)
            else None
        )
        net = Mesh(f"{name}-mesh", MeshArgs(site=site), child) if settings.mesh.enabled else None
        for part in (issuers, net):
            yield from part.ready if part else ()
        edge: Edge | None = None
        if settings.gateway.enabled and issuers and net:  # the settings refuse a gateway without the two
            way_in = Gateway(f"{name}-gateway", GatewayArgs(site=site, mesh=net, certificates=issuers), child)
            edge = Edge(
                f"{name}-edge",
                EdgeArgs(site=site, gateway=way_in, secrets_ready=secrets_ready, own_sign_in=own_sign_in(settings)),
                child,
            )
            yield from edge.ready
        if settings.scheduling.enabled:
            gangs = Scheduling(f"{name}-scheduling", SchedulingArgs(site=site), child).ready
            yield from gangs
        if settings.gpus.enabled:
            yield from Gpus(f"{name}-gpus", GpusArgs(site=site), child).ready
        if settings.autoscaling.enabled:
            scalers = Autoscaling(f"{name}-autoscaling", AutoscalingArgs(site=site), child).ready
            yield from scalers
        if settings.backups.enabled:
            yield from Backups(f"{name}-backups", BackupsArgs(site=site), child).ready
        if settings.delivery.enabled:
            argo = GitOps(f"{name}-delivery", GitOpsArgs(site=site, secrets=secrets_ready), child)
            self.delivery_ready = argo.ready
            yield from argo.ready
            if edge and settings.delivery.host:
                yield from route(
                    "argocd",
                    host=settings.delivery.host,
                    # No limit: it streams logs and events, and a sync is watched for as long as it lasts.
                    rules=[Rule(backend=Backend(namespace=NAMESPACE, service=SERVER, port=80, timeout_seconds=0))],
                    site=site,
                    parent=self,
                    after=[*edge.ready, *argo.ready],
                )

        if ml_systems.wanted(settings):
            learning = MlSystemsArgs(
                site=site,
                hosted_models=root.hosted_models,
                team_namespaces=namespaces.team_resources,
                secrets=secrets_ready,
                certificates=issuers.ready if issuers else (),
                mesh=net.ready if net else (),
                edge=edge.ready if edge else None,
                scheduling=gangs,
                autoscaling=scalers,
                delivery=self.delivery_ready,
            )
            yield from MlSystems(f"{name}-ml", learning, child).ready


def openings(site: Site) -> Iterator[Opening]:
    """Ways that the systems need which the settings switch on."""
    settings = site.settings
    if settings.secrets.enabled:
        yield from secrets.OPENINGS
    if settings.certificates.enabled:
        yield from certificates.OPENINGS
    if settings.mesh.enabled:
        yield from mesh.openings(site)
    if settings.gateway.enabled:
        yield from gateway.OPENINGS
        yield from rate_limits.openings(site)
    if settings.scheduling.enabled:
        yield from scheduling.OPENINGS
    if settings.gpus.enabled:
        yield from gpus.OPENINGS
    if settings.autoscaling.enabled:
        yield from autoscaling.OPENINGS
    if settings.backups.enabled:
        yield from backups.OPENINGS
    if settings.delivery.enabled:
        yield from gitops.openings(site)
    yield from ml_systems.openings(site)


def secret_entries(site: Site) -> Iterator[str]:
    """Entries of the secret store that the systems read."""
    if site.settings.delivery.enabled:
        yield from gitops.entries(site.settings.delivery)
    if rate_limits.counts_globally(site):
        yield rate_limits.ENTRY
    yield from ml_systems.secret_entries(site.settings)


def own_sign_in(settings: PlatformSettings) -> tuple[str, ...]:
    """Hosts whose systems check their own users: browsers send them no key of the model gateway."""
    argo = (settings.delivery.host,) if settings.delivery.enabled and settings.delivery.host else ()
    return (*argo, *ml_systems.own_sign_in(settings))
