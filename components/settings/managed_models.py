"""Models on endpoints that a cloud manages: SageMaker and Vertex AI."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from components.settings.base import Section

_IMAGE = r"^[a-z0-9.-]+(:\d+)?(/[a-z0-9._-]+)+(:[\w.-]+|@sha256:[0-9a-f]{64})$"


class FederationSettings(Section):
    """How the model gateway signs in at Google Cloud from a cluster outside of it, without a key.

    Attributes:
        provider: Provider of a workload identity pool that trusts the gateway's own cloud role:
            ``projects/123456789012/locations/global/workloadIdentityPools/llmops/providers/aws``.
        service_account: Account that it acts as; empty where the pool's principals may call the endpoint themselves.
    """

    provider: Annotated[
        str, Field(pattern=r"^projects/\d+/locations/global/workloadIdentityPools/[a-z0-9-]+/providers/[a-z0-9-]+$")
    ]
    service_account: Annotated[str, Field(pattern=r"^$|^[a-z][a-z0-9-]+@[a-z0-9.-]+\.gserviceaccount\.com$")] = ""


class VertexSettings(Section):
    """Where Vertex AI serves a model.

    Attributes:
        project: Project id.
        project_number: Number of the same project; the address of an endpoint holds it.
        location: Region of the endpoint.
        service_account: Account that the container runs as; it reads the weights.
        private_service_connect: Projects from which the endpoint can be reached, over Private Service Connect and in no
            other way. Empty: it has a public address, which wants a token of Google's.
        address: Host that the gateway calls. With ``private_service_connect`` the name or address of the forwarding
            rule that leads to the endpoint, made by the network's owner. Without, it follows from the project's number;
            ``up`` says so where Google gave another one.
        federation: How the gateway signs in when the cluster is not on Google Cloud.
    """

    project: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{4,28}[a-z0-9]$")]
    project_number: Annotated[str, Field(pattern=r"^\d+$")]
    location: Annotated[str, Field(pattern=r"^[a-z]+-[a-z]+\d$")]
    service_account: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]+@[a-z0-9.-]+\.gserviceaccount\.com$")]
    private_service_connect: tuple[str, ...] = ()
    address: Annotated[str, Field(pattern=r"^$|^[a-z0-9.-]+$")] = ""
    federation: FederationSettings | None = None

    @model_validator(mode="after")
    def _a_private_endpoint_has_an_address(self) -> Self:
        if self.private_service_connect and not self.address:
            raise ValueError("privateServiceConnect needs address: the name or address of the forwarding rule")
        return self


class ManagedSettings(Section):
    """A model on an endpoint that the cloud manages; Triton serves it there too.

    Attributes:
        instance_type: The cloud's type of machine, such as ``ml.g5.2xlarge`` or ``g2-standard-12``; empty for the
            smallest that has the model's GPUs.
        image: The container (docs/managed-endpoints.md says how it is built), with a tag or digest: in ECR for
            SageMaker, in Artifact Registry for Vertex AI. Empty: ``managed-triton`` of the stack's registry, which
            SageMaker can use.
        update: How a new version takes over on SageMaker. ``blue-green``: as many machines again, then all requests at
            once; ``canary``: the same, after a tenth of the machines went well for ten minutes; ``rolling``: half of
            the machines at a time, with fewer machines.
        capture_percent: Share of requests and answers that SageMaker keeps in the bucket of logs; 0 for none. They hold
            what people wrote.
        vertex: Only for backend ``vertex``.
    """

    instance_type: Annotated[str, Field(pattern=r"^$|^(ml\.)?[a-z0-9]+[.-][a-z0-9.-]+$")] = ""
    image: Annotated[str, Field(pattern=rf"^$|{_IMAGE}")] = ""
    update: Literal["blue-green", "canary", "rolling"] = "blue-green"
    capture_percent: Annotated[int, Field(ge=0, le=100)] = 0
    vertex: VertexSettings | None = None
