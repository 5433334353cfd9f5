"""What a foundation gives to the layers above it, whatever cloud it stands on.

The platform and the workloads read these types and nothing else: no module above the foundation names a cloud. Plain
values are known at preview (policies, capacity and cost read them); ``pulumi.Output`` values come from resources.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol, runtime_checkable

import pulumi
import pulumi_kubernetes as kubernetes

from components.capacity import NodeShape

BucketRole = Literal["data", "models", "mlflow", "pipelines", "vectors", "logs", "backups"]
"""What a bucket is for: raw and processed data; registry artifacts and the Triton repository; MLflow artifacts;
pipeline artifacts; vectors; logs and traces; cluster and vector-store backups, under a key of their own."""

NodeRole = Literal["system", "cpu", "gpu-training", "gpu-inference"]
"""Rows of the architecture's node table."""

Access = Literal["read", "read-write"]

AccessRole = Literal["platform-admin", "ml-engineer", "viewer"]
"""Who people are to the platform; the cloud's sign-in puts them into a Kubernetes group for each."""

Exposure = Literal["internal", "internet-facing"]
"""From where a load balancer can be reached."""


@dataclass(frozen=True, kw_only=True)
class Taint:
    """A Kubernetes taint as pods see it.

    Attributes:
        key: Such as ``nvidia.com/gpu``.
        value: Such as ``present``.
        effect: What happens to pods that do not tolerate it.
    """

    key: str
    value: str
    effect: Literal["NoSchedule", "NoExecute", "PreferNoSchedule"]


ROLE_LABEL: Final = "llmops/role"
"""Label of every node: its :data:`NodeRole`."""

GPU_MODEL_LABEL: Final = "llmops/gpu-model"
"""Label of every node with GPUs: their lower-case model, such as ``a10g``."""

# The taint that NVIDIA's own charts tolerate out of the box, and the one that GKE sets by itself.
GPU_TAINT: Final = Taint(key="nvidia.com/gpu", value="present", effect="NoSchedule")


@dataclass(frozen=True, kw_only=True)
class AddressRange:
    """Addresses as network policies name them; plain.

    Attributes:
        cidr: Such as ``10.0.0.0/16``.
        excluding: Parts of it that are left out.
        https_port: Port that answers there instead of 443; policies see the port behind a service's address.
    """

    cidr: str
    excluding: tuple[str, ...] = ()
    https_port: int = 443


@dataclass(frozen=True, kw_only=True)
class ServingPods:
    """Pods that stand in for a service of a cloud; policies cannot name pods by address. Everything here is plain.

    Attributes:
        namespace: Where they run.
        https_port: Port of theirs that answers for 443.
    """

    namespace: str
    https_port: int = 443


@dataclass(frozen=True, kw_only=True)
class DnsPods:
    """Pods that answer for cluster DNS. Everything here is plain.

    Attributes:
        namespace: Where they run.
        labels: What selects them there.
        port: Port that they listen on.
    """

    namespace: str = "kube-system"
    labels: tuple[tuple[str, str], ...] = (("k8s-app", "kube-dns"),)
    port: int = 53


@dataclass(frozen=True, kw_only=True)
class Networks:
    """Addresses of what is no pod: network policies open the way to and from them. Everything here is plain.

    Attributes:
        api_server: The Kubernetes API as pods address it, and as the network sees it.
        control_plane: Where the API server calls webhooks and aggregated APIs from.
        nodes: Nodes; kubelet probes come from there.
        load_balancers: Where requests and health checks of load balancers come from.
        stores: The database and the cache; shared files are mounted by nodes, not by pods.
        cloud_apis: Object store, secret store, token service and the cloud's other APIs.
        internet: Everything outside.
        store_pods: Pods that are database and cache, where these run in the cluster.
        cloud_api_pods: Pods that answer for the cloud's APIs, such as an object store in the cluster.
        dns: Pods of cluster DNS.
        control_plane_pods: Pods through which the control plane calls, where it does not call itself.
        dns_caches: Values of the label ``k8s-app`` of pods in ``kube-system`` that answer DNS before the cluster's own.
    """

    api_server: tuple[AddressRange, ...]
    control_plane: tuple[AddressRange, ...]
    nodes: tuple[AddressRange, ...]
    load_balancers: tuple[AddressRange, ...]
    stores: tuple[AddressRange, ...]
    cloud_apis: tuple[AddressRange, ...]
    internet: tuple[AddressRange, ...]
    store_pods: tuple[ServingPods, ...] = ()
    cloud_api_pods: tuple[ServingPods, ...] = ()
    dns: DnsPods = DnsPods()
    control_plane_pods: tuple[ServingPods, ...] = ()
    dns_caches: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class NodePool:
    """One autoscaled group of nodes, as the scheduler and the quota rules see it. Everything here is plain.

    Attributes:
        name: Name of the group, unique in the cluster.
        role: Row of the architecture's node table that it belongs to.
        shapes: What one node of each instance type offers to pods, in order of preference.
        min_size: Nodes kept when idle.
        max_size: Nodes at most.
        spot: Nodes may leave with two minutes' notice.
        labels: Node labels; select nodes by them.
        taints: Pods must tolerate these.
    """

    name: str
    role: NodeRole
    shapes: tuple[NodeShape, ...]
    min_size: int
    max_size: int
    spot: bool
    labels: Mapping[str, str]
    taints: tuple[Taint, ...]


@dataclass(frozen=True, kw_only=True)
class AuditLog:
    """Where the record of calls of the Kubernetes API is kept. Everything here is plain.

    Attributes:
        kind: Which reader fits.
        place: The log group.
        prefix: What its streams' names begin with.
        region: Region of the place.
    """

    kind: Literal["cloudwatch"]
    place: str
    prefix: str
    region: str


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """The Kubernetes cluster.

    Attributes:
        name: Its name at the cloud.
        kubernetes_version: Minor version such as ``1.35``; plain.
        endpoint: URL of the API server.
        kubeconfig: Kubeconfig without a credential in it (it runs the cloud's token helper); JSON.
        provider: Applies objects to this cluster.
        pools: Node groups, plain.
        default_storage_class: Encrypted block storage.
        snapshot_driver: CSI driver that can snapshot volumes of the default class.
        gpu_software: Who brings the NVIDIA driver and container toolkit: the node image, or the GPU Operator;
            ``provided`` is for an operator that the foundation installs, device plugin and metrics included.
        access_groups: Kubernetes group of everybody with a role; plain.
        team_groups: Kubernetes group of every team, by team; plain.
        networks: Addresses around the pods.
        audit_log: Where calls of the API are recorded; none where pods cannot read it.
        node_layout: Whose nodes these are, for software that works on the node itself and must know where its network's
            plugins lie; empty for the usual places.
        ready: Resources that must exist before pods can run (nodes, DNS, network plugin); for ``depends_on``.
    """

    name: pulumi.Output[str]
    kubernetes_version: str
    endpoint: pulumi.Output[str]
    kubeconfig: pulumi.Output[str]
    provider: kubernetes.Provider
    pools: tuple[NodePool, ...]
    default_storage_class: str
    snapshot_driver: str
    gpu_software: Literal["node-image", "operator", "provided"]
    access_groups: Mapping[AccessRole, str]
    team_groups: Mapping[str, str]
    networks: Networks
    audit_log: AuditLog | None = None
    node_layout: Literal["", "gke", "openshift"] = ""
    ready: tuple[pulumi.Resource, ...]


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """One object-store bucket.

    Attributes:
        name: Bucket name.
        url: URL with the scheme that clients understand: ``s3://…`` or ``gs://…``.
    """

    name: pulumi.Output[str]
    url: pulumi.Output[str]


@dataclass(frozen=True, kw_only=True)
class ObjectStore:
    """Object storage.

    Attributes:
        protocol: What clients speak.
        endpoint: Host without a scheme, such as ``s3.us-east-1.amazonaws.com``.
        region: Region of the buckets; plain.
        buckets: One bucket a role.
        signing: What clients sign with: the identity of their pod, or keys in the file that
            ``AWS_SHARED_CREDENTIALS_FILE`` names, which every pod with a grant finds without being told.
        path_style: A bucket is named in the path and not in the host.
    """

    protocol: Literal["s3", "gcs"]
    endpoint: str
    region: str
    buckets: Mapping[BucketRole, Bucket]
    signing: Literal["identity", "keys"] = "identity"
    path_style: bool = False


def object_keys_secret(service_account: str) -> str:
    """Secret beside a service account with its keys of an object store whose clients sign with keys."""
    return f"{service_account}-objects"


@dataclass(frozen=True, kw_only=True)
class SecretRef:
    """Where a credential is kept; its value never passes through the program.

    Attributes:
        key: Name in the secret store (an ARN on AWS).
        properties: Fields of the JSON document that is stored there, such as ``username`` and ``password``.
    """

    key: pulumi.Output[str]
    properties: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Database:
    """The PostgreSQL server.

    Attributes:
        host: DNS name.
        port: TCP port.
        admin: Credentials of the administrator; jobs create databases and users with them.
        ca_bundle_url: Where clients find the certificates that sign the server's; empty where ``ca_certificates`` are.
        ca_certificates: These certificates themselves (PEM), where no address has them.
    """

    host: pulumi.Output[str]
    port: pulumi.Output[int]
    admin: SecretRef
    ca_bundle_url: str
    ca_certificates: pulumi.Output[str] | None = None


@dataclass(frozen=True, kw_only=True)
class Cache:
    """The Redis-protocol cache; TLS always.

    Attributes:
        host: DNS name of the primary.
        port: TCP port.
        auth: Property ``token`` holds the password.
        ca_certificates: Certificates that sign the server's (PEM), where no public authority does.
        tcp_port: The same port, plain: network policies open it.
    """

    host: pulumi.Output[str]
    port: pulumi.Output[int]
    auth: SecretRef
    ca_certificates: pulumi.Output[str] | None = None
    tcp_port: int = 6379


@dataclass(frozen=True, kw_only=True)
class SharedFiles:
    """A file system that many nodes mount at once, for a shared model repository.

    Attributes:
        csi_driver: Name of the CSI driver.
        volumes: Volume handles by access point name, for static PersistentVolumes.
        attributes: What the driver wants of a volume besides its handle, by access point name.
    """

    csi_driver: str
    volumes: Mapping[str, pulumi.Output[str]]
    attributes: Mapping[str, Mapping[str, pulumi.Output[str]]] = field(
        default_factory=dict[str, Mapping[str, pulumi.Output[str]]]
    )


SecretStoreKind = Literal["aws-secrets-manager", "gcp-secret-manager", "in-cluster"]


@dataclass(frozen=True, kw_only=True)
class SecretStore:
    """The store that External Secrets reads.

    Attributes:
        kind: Which provider of External Secrets fits.
        region: Region or location; in a cluster the namespace that holds them; plain.
        entries: Credentials that the platform needs, by purpose (``litellm-master-key``, ``grafana-admin`` …).
        account: Account or project that holds them, where the kind must be told; plain.
    """

    kind: SecretStoreKind
    region: str
    entries: Mapping[str, SecretRef]
    account: str = ""


@dataclass(frozen=True, kw_only=True)
class ObjectGrant:
    """Access to a bucket, with the key that encrypts it.

    Attributes:
        bucket: Which bucket.
        access: Read, or read and write.
        prefix: Only keys below this prefix; empty for the whole bucket.
        lists_bucket: Whether names of objects outside of the prefix may be listed too: some tools look for the bucket
            by listing it from its root. What is in those objects stays closed.
    """

    bucket: BucketRole
    access: Access
    prefix: str = ""
    lists_bucket: bool = False


@dataclass(frozen=True, kw_only=True)
class SecretGrant:
    """Read access to entries of the secret store, with the key that encrypts them.

    Attributes:
        entries: Names of :attr:`SecretStore.entries`; ``database-admin`` and ``cache-auth`` are always there.
    """

    entries: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class DnsGrant:
    """Writing TXT records of the stack's DNS zone, to prove to a certificate authority that the domain is ours."""


@dataclass(frozen=True, kw_only=True)
class HostedModelGrant:
    """Asking models that the cloud hosts; nothing else of that service.

    Attributes:
        models: Identifiers as the cloud's service takes them, such as ``anthropic.claude-3-haiku-20240307-v1:0``; the
            cloud's profiles over several regions too.
        region: Region of the endpoint that is asked; plain.
    """

    models: Sequence[str]
    region: str


@dataclass(frozen=True, kw_only=True)
class EndpointGrant:
    """Asking models on endpoints that a cloud manages for this stack; changing nothing about them.

    Attributes:
        service: Whose endpoints they are.
        endpoints: Their names.
        components: Names of the parts of those endpoints that are asked by a name of their own.
        region: Region of the endpoints; plain.
    """

    service: Literal["sagemaker", "vertex"]
    endpoints: Sequence[str]
    components: Sequence[str] = ()
    region: str


@dataclass(frozen=True, kw_only=True)
class AuditLogGrant:
    """Reading the record of calls of the Kubernetes API.

    Attributes:
        log: The record, as the cluster names it.
    """

    log: AuditLog


Grant = ObjectGrant | SecretGrant | DnsGrant | HostedModelGrant | EndpointGrant | AuditLogGrant


@dataclass(frozen=True, kw_only=True)
class ServiceIdentity:
    """What a pod needs to act as its cloud identity.

    Attributes:
        annotations: Annotations of its Kubernetes service account.
        ready: Resources that must exist before the pod starts; for ``depends_on``.
    """

    annotations: Mapping[str, pulumi.Input[str]]
    ready: tuple[pulumi.Resource, ...]


class Identity(Protocol):
    """Gives one Kubernetes service account one least-privilege identity."""

    def grant(
        self, name: str, *, namespace: str, service_account: str, grants: Sequence[Grant], parent: pulumi.Resource
    ) -> ServiceIdentity:
        """Create the identity of ``namespace/service_account``; it can do what ``grants`` say and no more."""
        ...


@runtime_checkable
class NamespacedIdentity(Identity, Protocol):
    """An identity that puts objects beside the service account, and so needs the namespace first."""

    def within(self, namespaces: Mapping[str, Sequence[pulumi.Resource]], parent: pulumi.Resource) -> Identity:
        """The same, for service accounts of ``namespaces``: for each what must exist before something is put there."""
        ...


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
