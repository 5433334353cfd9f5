"""The platform: every system of the cluster, wired together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pulumi

from components.contract import Foundation, NamespacedIdentity
from components.platform import (
    autoscaling,
    backups,
    certificates,
    databases,
    drills,
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
from components.platform.databases import Databases, DatabasesArgs
from components.platform.drills import Drills, DrillsArgs
from components.platform.edge import Edge, EdgeArgs
from components.platform.gateway import Gateway, GatewayArgs
from components.platform.gitops import NAMESPACE, SERVER, GitOps, GitOpsArgs
from components.platform.gpus import Gpus, GpusArgs
from components.platform.installed import Installed, Ready
from components.platform.mesh import Mesh, MeshArgs
from components.platform.ml_systems import MlSystems, MlSystemsArgs
from components.platform.model_gateway import GatewayModel, hosted_models
from components.platform.namespaces import Namespaces, NamespacesArgs
from components.platform.observability import component as observability
from components.platform.observability.component import Observability, ObservabilityArgs
from components.platform.observability.rules import ModelObjective
from components.platform.openings import Namespace, Opening, team_namespace
from components.platform.quotas import Allowance, combined
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
        models: What the model gateway offers of the stack's own models.
        openings: Ways that workloads need.
        objectives: What is promised of the stack's own models.
        entries: Entries of the secret store that workloads read.
        allowances: What workloads may ask for besides their namespaces' shares.
    """

    foundation: Foundation
    settings: Settings
    models: Sequence[GatewayModel] = ()
    openings: Sequence[Opening] = ()
    objectives: Sequence[ModelObjective] = ()
    entries: Sequence[str] = ()
    allowances: Mapping[Namespace, Allowance] = field(default_factory=dict[Namespace, Allowance])


class Platform(pulumi.ComponentResource):
    """Namespaces first; then the systems side by side, each waiting only for what it needs."""

    site: Site
    ready: tuple[pulumi.Resource, ...]
    installed: Installed
    """What its systems are waited for by."""
    team_namespaces: Mapping[str, Ready]
    """What must exist before something runs in a team's namespace, by team."""

    def __init__(self, name: str, args: PlatformArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        provider = args.foundation.cluster.provider
        with_provider = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(providers=[provider]))
        super().__init__("llmops:platform:Platform", name, None, with_provider)
        self._child = pulumi.ResourceOptions(parent=self)
        self.site, namespaces = self._furnish(name, args)
        self.team_namespaces = namespaces.team_resources
        self.installed = Installed()
        self.ready = tuple(self._install(name, args, namespaces))
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
                openings=[*openings(site), *args.openings],
                settings=settings.platform.isolation,
                kubernetes_minor=args.foundation.cluster.kubernetes_version,
                more=combined(
                    ml_systems.allowances(settings.platform),
                    drills.allowances(settings.platform),
                    observability.allowances(settings.platform),
                    args.allowances,
                ),
                exceptions=backups.pod_security(settings.platform.backups),
                annotations=scheduling.namespace_annotations(settings.teams),
            ),
            self._child,
        )
        # Pods start only where there are nodes, DNS and volumes: whoever waits for a namespace waits for these too.
        cluster = args.foundation.cluster.ready
        made = {title: (*some, *cluster) for title, some in namespaces.resources.items()}
        identity = args.foundation.identity
        if isinstance(identity, NamespacedIdentity):  # it puts credentials into namespaces, which must be there
            teams = {team_namespace(team): (*some, *cluster) for team, some in namespaces.team_resources.items()}
            identity = identity.within({**made, **teams}, parent=self)
        return replace(site, foundation=replace(site.foundation, identity=identity), namespaces=made), namespaces

    def _install(self, name: str, args: PlatformArgs, namespaces: Namespaces) -> Iterator[pulumi.Resource]:
        site, settings = self.site, self.site.settings
        there = self.installed
        yield from self._credentials(name, args.entries, there)
        yield from self._ways_in(name, there)
        yield from self._engines(name, there)
        if settings.delivery.enabled:
            yield from self._delivery(name, there)
        if ml_systems.wanted(settings):
            learning = MlSystemsArgs(
                site=site,
                models=(*hosted_models(args.settings.hosted_models, site.foundation.region), *args.models),
                team_namespaces=namespaces.team_resources,
                there=there,
            )
            yield from MlSystems(f"{name}-ml", learning, self._child).ready
        if settings.drills.enabled:
            rehearsed = DrillsArgs(
                site=site,
                databases_ready=there.databases,
                experiments_ready=there.experiments,
                vectors_ready=there.vectors,
            )
            yield from Drills(f"{name}-drills", rehearsed, self._child).ready
        if observability.wanted(settings):
            watching = ObservabilityArgs(site=site, there=there, models=args.objectives)
            yield from Observability(f"{name}-observability", watching, self._child).ready

    def _credentials(self, name: str, entries: Sequence[str], there: Installed) -> Iterator[pulumi.Resource]:
        site, settings = self.site, self.site.settings
        if settings.secrets.enabled:
            wanted = SecretSyncArgs(site=site, entries=[*secret_entries(site), *entries])
            there.secrets = SecretSync(f"{name}-secrets", wanted, self._child).ready
            yield from there.secrets
        if wants_databases(settings):
            stored = DatabasesArgs(site=site, secrets_ready=there.secrets)
            there.databases = Databases(f"{name}-databases", stored, self._child).ready
            yield from there.databases

    def _ways_in(self, name: str, there: Installed) -> Iterator[pulumi.Resource]:
        site, settings, child = self.site, self.site.settings, self._child
        issuers = (
            CertManager(f"{name}-certificates", CertManagerArgs(site=site), child)
            if settings.certificates.enabled
            else None
        )
        net = Mesh(f"{name}-mesh", MeshArgs(site=site), child) if settings.mesh.enabled else None
        there.certificates = issuers.ready if issuers else ()
        there.mesh = net.ready if net else ()
        yield from (*there.certificates, *there.mesh)
        if settings.gateway.enabled and issuers and net:  # the settings refuse a gateway without the two
            way_in = Gateway(f"{name}-gateway", GatewayArgs(site=site, mesh=net, certificates=issuers), child)
            there.edge = Edge(
                f"{name}-edge",
                EdgeArgs(site=site, gateway=way_in, secrets_ready=there.secrets, own_sign_in=own_sign_in(settings)),
                child,
            ).ready
            yield from there.edge

    def _engines(self, name: str, there: Installed) -> Iterator[pulumi.Resource]:
        site, settings, child = self.site, self.site.settings, self._child
        if settings.scheduling.enabled:
            there.scheduling = Scheduling(f"{name}-scheduling", SchedulingArgs(site=site), child).ready
            yield from there.scheduling
        if settings.gpus.enabled:
            yield from Gpus(f"{name}-gpus", GpusArgs(site=site), child).ready
        if settings.autoscaling.enabled:
            there.autoscaling = Autoscaling(f"{name}-autoscaling", AutoscalingArgs(site=site), child).ready
            yield from there.autoscaling
        if settings.backups.enabled:
            yield from Backups(f"{name}-backups", BackupsArgs(site=site), child).ready

    def _delivery(self, name: str, there: Installed) -> Iterator[pulumi.Resource]:
        site, settings = self.site, self.site.settings
        argo = GitOps(f"{name}-delivery", GitOpsArgs(site=site, secrets=there.secrets), self._child)
        there.delivery = argo.ready
        yield from argo.ready
        if there.edge is not None and settings.delivery.host:
            yield from route(
                "argocd",
                host=settings.delivery.host,
                # No limit: it streams logs and events, and a sync is watched for as long as it lasts.
                rules=[Rule(backend=Backend(namespace=NAMESPACE, service=SERVER, port=80, timeout_seconds=0))],
                site=site,
                parent=self,
                after=[*there.edge, *argo.ready],
            )


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
    if wants_databases(settings):
        yield from databases.OPENINGS
    yield from ml_systems.openings(site)
    yield from drills.openings(site)
    yield from observability.openings(site)


def secret_entries(site: Site) -> Iterator[str]:
    """Entries of the secret store that the systems read."""
    if site.settings.delivery.enabled:
        yield from gitops.entries(site.settings.delivery)
    if rate_limits.counts_globally(site):
        yield rate_limits.ENTRY
    if wants_databases(site.settings):
        yield databases.ADMIN_ENTRY
    yield from ml_systems.secret_entries(site.settings)
    yield from drills.entries(site.settings)
    yield from observability.secret_entries(site.settings)


def wants_databases(settings: PlatformSettings) -> bool:
    """Whether a system keeps something in the foundation's database."""
    return (
        settings.experiments.enabled
        or settings.model_gateway.enabled
        or settings.workflows.enabled
        or (settings.metrics.enabled and settings.grafana.enabled)
    )


def own_sign_in(settings: PlatformSettings) -> tuple[str, ...]:
    """Hosts whose systems check their own users: browsers send them no key of the model gateway."""
    argo = (settings.delivery.host,) if settings.delivery.enabled and settings.delivery.host else ()
    return (*argo, *ml_systems.own_sign_in(settings), *observability.own_sign_in(settings))
