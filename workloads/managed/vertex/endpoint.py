"""A model on a Vertex AI endpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
from pulumi.dynamic import Resource

from workloads.managed.machines import Machine
from workloads.managed.names import CONTAINER_PORT, with_content
from workloads.managed.vertex.providers import (
    DEPLOY_SECONDS,
    UPLOAD_SECONDS,
    DeploymentProvider,
    EndpointProvider,
    ModelProvider,
)

HEALTH_PATH = "/ping"

# Beyond the providers' own waits, so that they say what took too long.
_MARGIN_SECONDS = 600


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where Vertex AI serves.

    Attributes:
        project: Project id.
        project_number: Its number.
        location: Region.
    """

    project: str
    project_number: str
    location: str

    def host(self, endpoint: str) -> str:
        """Where an endpoint with an address of its own answers (Vertex AI guide, "Use dedicated public endpoints")."""
        return f"{endpoint}.{self.location}-{self.project_number}.prediction.vertexai.goog"

    def url(self, endpoint: str, address: str = "") -> str:
        """Root of the container's OpenAI API behind an endpoint."""
        path = f"v1/projects/{self.project}/locations/{self.location}/endpoints/{endpoint}/invoke/v1"
        return f"https://{address or self.host(endpoint)}/{path}"


@dataclass(frozen=True, kw_only=True)
class Share:
    """One version of the model on the endpoint.

    Attributes:
        name: Unique on the endpoint.
        artifact_uri: Triton's model repository, as ``gs://…``.
        percent: Its share of the requests; all together 100.
    """

    name: str
    artifact_uri: pulumi.Input[str]
    percent: int = 100


@dataclass(frozen=True, kw_only=True)
class VertexEndpointArgs:
    """What an endpoint needs.

    Attributes:
        place: Where it is.
        endpoint: Its id, plain: the gateway calls it.
        owner: Whose it is, as a label's value: lower-case letters, digits, hyphens.
        image: Container in Artifact Registry; speaks the OpenAI API.
        shares: Versions of the model.
        environment: Variables of the container; nothing secret.
        machine: What it runs on.
        fewest: Machines of each version at least; 1 or more, Vertex AI stops none.
        most: Machines of each version at most.
        service_account: Account that the container runs as.
        projects: Projects that reach it over Private Service Connect; empty for an address of its own.
        address: Host that the gateway calls; empty for the one that follows from the place.
    """

    place: Place
    endpoint: str
    owner: str
    image: pulumi.Input[str]
    shares: Sequence[Share]
    machine: Machine
    fewest: int
    most: int
    service_account: str
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    projects: Sequence[str] = ()
    address: str = ""


class _Model(Resource, module="vertex", name="Model"):
    name: pulumi.Output[str]

    def __init__(self, name: str, props: Mapping[str, Any], opts: pulumi.ResourceOptions) -> None:
        super().__init__(ModelProvider(), name, {**props, "name": None}, opts)


class _Endpoint(Resource, module="vertex", name="Endpoint"):
    name: pulumi.Output[str]
    host: pulumi.Output[str]

    def __init__(self, name: str, props: Mapping[str, Any], opts: pulumi.ResourceOptions) -> None:
        super().__init__(EndpointProvider(), name, {**props, "name": None, "host": None}, opts)


class _Deployment(Resource, module="vertex", name="Deployment"):
    endpoint: pulumi.Output[str]
    deployed: pulumi.Output[dict[str, str]]

    def __init__(self, name: str, props: Mapping[str, Any], opts: pulumi.ResourceOptions) -> None:
        super().__init__(DeploymentProvider(), name, {**props, "deployed": None}, opts)


class VertexEndpoint(pulumi.ComponentResource):
    """An endpoint, the models, and what is deployed of them."""

    endpoint_name: pulumi.Output[str]
    """Known when the models answer."""
    ready: tuple[pulumi.Resource, ...]

    def __init__(self, name: str, args: VertexEndpointArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:managed:VertexEndpoint", name, None, opts)
        where = {"project": args.place.project, "location": args.place.location, "owner": args.owner}

        endpoint = _Endpoint(
            f"{name}-endpoint",
            {**where, "endpointId": args.endpoint, "projects": list(args.projects)},
            self._options(UPLOAD_SECONDS),
        )
        models = {share.name: self._model(name, share, args, where) for share in args.shares}
        deployment = _Deployment(
            f"{name}-deployment",
            {
                "location": args.place.location,
                "endpoint": endpoint.name,
                "models": [
                    {"name": models[share.name].name, "percent": share.percent}
                    for share in sorted(args.shares, key=lambda one: one.name)
                ],
                "machineType": args.machine.name,
                "acceleratorType": f"NVIDIA_{args.machine.gpu.upper()}",
                "acceleratorCount": args.machine.gpus,
                "minReplicas": args.fewest,
                "maxReplicas": args.most,
                "serviceAccount": args.service_account,
                # Where the endpoint has no address of its own, nothing is compared.
                "host": "" if args.projects else args.address or args.place.host(args.endpoint),
            },
            self._options(2 * DEPLOY_SECONDS),
        )
        self.ready = (endpoint, *models.values(), deployment)
        self.endpoint_name = deployment.endpoint
        self.register_outputs({"endpointName": self.endpoint_name})

    def _model(self, name: str, share: Share, args: VertexEndpointArgs, where: Mapping[str, str]) -> _Model:
        environment = dict(args.environment)
        # A model cannot be changed, and answers until the next one does: what it is made of is in its name.
        identifier = pulumi.Output.all(args.image, share.artifact_uri).apply(
            lambda values: with_content(f"{args.endpoint}-{share.name}", {"of": values, "environment": environment})
        )
        return _Model(
            f"{name}-{share.name}",
            {
                **where,
                "modelId": identifier,
                "image": args.image,
                "artifactUri": share.artifact_uri,
                "environment": environment,
                "port": CONTAINER_PORT,
                "healthPath": HEALTH_PATH,
            },
            self._options(UPLOAD_SECONDS),
        )

    def _options(self, seconds: int) -> pulumi.ResourceOptions:
        longest = f"{seconds + _MARGIN_SECONDS}s"
        times = pulumi.CustomTimeouts(create=longest, update=longest, delete=longest)
        return pulumi.ResourceOptions(parent=self, custom_timeouts=times)
