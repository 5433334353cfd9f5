"""The machine-learning systems of the platform, wired together: data, experiments, pipelines, training, models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pulumi

from components.platform import (
    experiments,
    model_gateway,
    pipelines,
    pipelines_database,
    ray,
    serving,
    training,
    vectors,
    workflows,
)
from components.platform.activation import Activation, ActivationArgs
from components.platform.experiments import Experiments, ExperimentsArgs
from components.platform.installed import Installed, Ready
from components.platform.model_gateway import GatewayModel, ModelGateway, ModelGatewayArgs
from components.platform.openings import Namespace, Opening, team_namespace
from components.platform.pipelines import Pipelines, PipelinesArgs
from components.platform.quotas import Allowance
from components.platform.ray import Ray, RayArgs
from components.platform.routes import Backend, Rule, route
from components.platform.serving import Serving, ServingArgs
from components.platform.site import Site
from components.platform.training import Training, TrainingArgs
from components.platform.vectors import Vectors, VectorsArgs
from components.platform.workflows import Workflows, WorkflowsArgs
from components.settings.platform import PlatformSettings


@dataclass(frozen=True, kw_only=True)
class MlSystemsArgs:
    """What the machine-learning systems are built from.

    Attributes:
        site: Where they are installed.
        models: What the model gateway offers.
        team_namespaces: By team.
        there: The systems that they build on; theirs are added.
    """

    site: Site
    models: Sequence[GatewayModel]
    team_namespaces: Mapping[str, Ready]
    there: Installed


class MlSystems(pulumi.ComponentResource):
    """Side by side; each waits only for what it needs."""

    ready: tuple[pulumi.Resource, ...]

    def __init__(self, name: str, args: MlSystemsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:platform:MlSystems", name, None, opts)
        self.ready = (*self._data(name, args), *self._jobs(name, args), *self._models(name, args))
        self.register_outputs({})

    def _data(self, name: str, args: MlSystemsArgs) -> Iterator[pulumi.Resource]:
        site, child = args.site, pulumi.ResourceOptions(parent=self)
        if site.settings.ray.enabled:
            spaces = [one for made in args.team_namespaces.values() for one in made]
            wanted = RayArgs(site=site, scheduling_ready=args.there.scheduling, team_namespaces=spaces)
            args.there.ray = Ray(f"{name}-ray", wanted, child).ready
            yield from args.there.ray
        if site.settings.vectors.enabled:
            store = VectorsArgs(site=site, secrets_ready=args.there.secrets, mesh_ready=args.there.mesh)
            args.there.vectors = Vectors(f"{name}-vectors", store, child).ready
            yield from args.there.vectors

    def _jobs(self, name: str, args: MlSystemsArgs) -> Iterator[pulumi.Resource]:
        site, child = args.site, pulumi.ResourceOptions(parent=self)
        settings = site.settings
        team_namespaces = {team_namespace(team): made for team, made in args.team_namespaces.items()}
        if settings.workflows.enabled:
            args.there.workflows = Workflows(
                f"{name}-workflows",
                WorkflowsArgs(site=site, databases=args.there.databases, team_namespaces=team_namespaces),
                child,
            ).ready
            yield from args.there.workflows
            if settings.workflows.host:
                server = Rule(backend=Backend(namespace="argo", service=workflows.SERVER, port=2746, timeout_seconds=0))
                yield from self._publish("workflows", settings.workflows.host, server, args, args.there.workflows)
        if settings.pipelines.enabled:
            kubeflow = PipelinesArgs(
                site=site,
                secrets=args.there.secrets,
                gitops=args.there.delivery,
                workflows=args.there.workflows,
                team_namespaces=team_namespaces,
            )
            applied = Pipelines(f"{name}-pipelines", kubeflow, child).ready
            yield from applied
            if settings.pipelines.host:
                rule = pipelines.published(settings.pipelines)
                yield from self._publish("pipelines", settings.pipelines.host, rule, args, applied)
        if settings.training.enabled:
            operators = TrainingArgs(site=site, scheduling=args.there.scheduling, gitops=args.there.delivery)
            args.there.training = Training(f"{name}-training", operators, child).ready
            yield from args.there.training

    def _publish(
        self, name: str, host: str, rule: Rule, args: MlSystemsArgs, ready: Ready
    ) -> Sequence[pulumi.Resource]:
        """Publish a user interface or an API; without a gateway it is reached by port-forward."""
        if args.there.edge is None:
            return ()
        return route(name, host=host, rules=[rule], site=args.site, parent=self, after=[*args.there.edge, *ready])

    def _models(self, name: str, args: MlSystemsArgs) -> Iterator[pulumi.Resource]:
        site, child = args.site, pulumi.ResourceOptions(parent=self)
        settings = site.settings
        if settings.experiments.enabled:
            tracking = ExperimentsArgs(
                site=site,
                secrets_ready=args.there.secrets,
                databases_ready=args.there.databases,
                edge_ready=args.there.edge,
            )
            args.there.experiments = Experiments(f"{name}-experiments", tracking, child).ready
            yield from args.there.experiments
        if settings.serving.enabled:
            serving_args = ServingArgs(site=site, certificates=args.there.certificates)
            ready = Serving(f"{name}-serving", serving_args, child).ready
            if settings.serving.activation.enabled:
                woken = ActivationArgs(site=site, autoscaling=args.there.autoscaling, mesh=args.there.mesh)
                ready = (*ready, *Activation(f"{name}-activation", woken, child).ready)
            args.there.serving = ready
            yield from ready
        if settings.model_gateway.enabled:
            gateway = ModelGatewayArgs(
                site=site,
                models=args.models,
                secrets_ready=args.there.secrets,
                databases_ready=args.there.databases,
                edge_ready=args.there.edge or (),
            )
            args.there.model_gateway = ModelGateway(f"{name}-models", gateway, child).ready
            yield from args.there.model_gateway


def wanted(settings: PlatformSettings) -> bool:
    """Whether any of the systems is installed."""
    return any(
        section.enabled
        for section in (
            settings.ray,
            settings.vectors,
            settings.experiments,
            settings.workflows,
            settings.pipelines,
            settings.training,
            settings.model_gateway,
            settings.serving,
        )
    )


def openings(site: Site) -> Iterator[Opening]:
    """Ways that the systems need which the settings switch on."""
    settings = site.settings
    if settings.ray.enabled:
        yield from ray.openings(site)
    if settings.vectors.enabled:
        yield from vectors.OPENINGS
    if settings.workflows.enabled:
        yield from workflows.OPENINGS
    if settings.pipelines.enabled:
        yield from pipelines.openings(site)
    if settings.training.enabled:
        yield from training.openings(site)
    if settings.experiments.enabled:
        yield from experiments.openings(site)
    if settings.serving.enabled:
        yield from serving.openings(site)
    if settings.model_gateway.enabled:
        yield from model_gateway.openings(site)


def secret_entries(settings: PlatformSettings) -> Iterator[str]:
    """Entries of the secret store that the systems read."""
    if settings.vectors.enabled:
        yield from vectors.ENTRIES
    if settings.workflows.enabled:
        yield workflows.ENTRY
    if settings.pipelines.enabled:
        yield pipelines_database.ENTRY
    if settings.experiments.enabled:
        yield from experiments.ENTRIES
    if settings.model_gateway.enabled:
        yield from model_gateway.entries()


def allowances(settings: PlatformSettings) -> dict[Namespace, Allowance]:
    """What the systems may ask for besides their namespaces' shares."""
    return {"kubeflow": pipelines.allowance(settings.pipelines)} if settings.pipelines.enabled else {}


def own_sign_in(settings: PlatformSettings) -> tuple[str, ...]:
    """Hosts whose systems check their own users."""
    return (
        *((settings.workflows.host,) if settings.workflows.enabled and settings.workflows.host else ()),
        *(pipelines.own_sign_in(settings.pipelines) if settings.pipelines.enabled else ()),
        *(experiments.own_sign_in(settings) if settings.experiments.enabled else ()),
        *(model_gateway.own_sign_in(settings) if settings.model_gateway.enabled else ()),
    )
