"""Everything below the platform, with the registry, the load balancers, the zone and the service for endpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import pulumi

from components.contract.cluster import Cluster
from components.contract.identity import Identity
from components.contract.stores import Cache, Database, ObjectStore, SecretStore, SharedFiles, StorePods

Exposure = Literal["internal", "internet-facing"]
"""From where a load balancer can be reached."""


@dataclass(frozen=True, kw_only=True)
class Registry:
    """The container registry.

    Attributes:
        host: Host that images are pulled from.
        repositories: Repository URLs of our own images, by short name.
        mirrors: Prefix that stands for an upstream registry: ``{"docker.io": "…/docker-hub"}``.
    """

    host: pulumi.Output[str]
    repositories: Mapping[str, pulumi.Output[str]]
    mirrors: Mapping[str, pulumi.Output[str]]


@dataclass(frozen=True, kw_only=True)
class LoadBalancers:
    """How a Kubernetes service of type LoadBalancer gets its load balancer.

    Attributes:
        annotations: Annotations of the service, by who may reach it.
        ready: The controller that makes load balancers, and removes them; for ``depends_on``, so that on destroy it
            outlives the services.
    """

    annotations: Mapping[Exposure, Mapping[str, str]]
    ready: tuple[pulumi.Resource, ...]


@dataclass(frozen=True, kw_only=True)
class DnsZone:
    """The public DNS zone in which certificates are proven. Everything here is plain.

    Attributes:
        kind: Which DNS-01 solver of cert-manager fits.
        id: The zone's id at the cloud; of Cloud DNS ``projects/<project>/managedZones/<zone>``.
        region: Region that the solver's API calls are signed for.
    """

    kind: Literal["route53", "cloud-dns"]
    id: str
    region: str


ModelService = Literal["sagemaker", "vertex"]


class ModelHosting(Protocol):
    """The cloud's own service for model endpoints, as far as the foundation prepares it.

    What an endpoint needs differs from cloud to cloud: the adapter of a service takes its own foundation's kind.
    """

    @property
    def service(self) -> ModelService:
        """Which service it is."""
        ...


@dataclass(frozen=True, kw_only=True)
class Foundation:
    """Everything below the platform.

    Attributes:
        cloud: Which foundation this is; for messages and outputs, not for decisions.
        region: Region or site; plain.
        dns: The DNS zone; none where the settings name none.
        model_hosting: The cloud's own service for model endpoints; none where there is none.
        store_pods: Stores that run in the cluster, to be watched; empty where the cloud runs and watches them.
    """

    cloud: Literal["aws", "gcp", "onprem"]
    region: str
    cluster: Cluster
    objects: ObjectStore
    database: Database
    cache: Cache
    files: SharedFiles
    secrets: SecretStore
    identity: Identity
    registry: Registry
    load_balancers: LoadBalancers
    dns: DnsZone | None
    model_hosting: ModelHosting | None = None
    store_pods: tuple[StorePods, ...] = ()
