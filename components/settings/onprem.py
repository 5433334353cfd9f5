"""An existing cluster in one's own data centre: how it is reached, what it has, what takes a cloud's place."""

from __future__ import annotations

import ipaddress
import math
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from components.capacity import NodeShape
from components.settings.base import Cidr, Name, Section
from components.settings.onprem_stores import ArchiveSettings, Host, OnPremObjectSettings, StoreSizeSettings, size

StorageClass = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]


class KubeconfigSettings(Section):
    """How the cluster is reached.

    By the stack's secret ``onprem:kubeconfig`` where there is one (``pulumi config set --secret onprem:kubeconfig <
    kubeconfig``), else by a file.

    Attributes:
        path: A file on the machine that runs Pulumi.
        environment: A variable that holds the path of such a file, where ``path`` is empty.
        context: Which context of it; empty for the current one.
    """

    path: str = ""
    environment: Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]*$")] = "KUBECONFIG"
    context: str = ""


class MachineSettings(Section):
    """One kind of server; node groups name it among their ``instanceTypes``.

    Attributes:
        name: Unique, such as ``dgx-h100``.
        vcpu: Hardware threads.
        memory_gib: Memory in GiB.
        disk_gib: Disk for images, logs and scratch in GiB: the kubelet's file system.
        gpus: GPUs.
        gpu_model: Lower-case model, such as ``h100``; empty without a GPU.
        gpu_memory_mib: Memory of each GPU in MiB, as ``nvidia-smi`` reports it.
        max_pods: Pods that the kubelet accepts.
    """

    name: Name
    vcpu: Annotated[int, Field(ge=2, le=1024)]
    memory_gib: Annotated[int, Field(ge=4, le=16384)]
    disk_gib: Annotated[int, Field(ge=50, le=262144)]
    gpus: Annotated[int, Field(ge=0, le=16)] = 0
    gpu_model: Annotated[str, Field(pattern=r"^([a-z0-9]+(-[a-z0-9]+)*)?$")] = ""
    gpu_memory_mib: Annotated[int, Field(ge=0)] = 0
    max_pods: Annotated[int, Field(ge=30, le=500)] = 110

    @model_validator(mode="after")
    def _gpus_are_whole(self) -> MachineSettings:
        if bool(self.gpus) != bool(self.gpu_model) or bool(self.gpus) != bool(self.gpu_memory_mib):
            raise ValueError("gpus, gpuModel and gpuMemoryMib belong together: set all three or none")
        return self

    @property
    def shape(self) -> NodeShape:
        """What a node of this kind leaves to pods.

        Kept back: what kubeadm's and OpenShift's defaults leave to the system and the kubelet, rounded up: half a core
        and 1 % of the rest; 1 GiB and 5 % of the memory; a tenth of the disk, where the kubelet starts to evict.
        """
        return NodeShape(
            instance_type=self.name,
            architecture="amd64",
            cpu_millicores=self.vcpu * 990 - 500,
            memory_mib=math.floor(self.memory_gib * 1024 * 0.95) - 1024,
            ephemeral_storage_gib=math.floor(self.disk_gib * 0.9),
            gpus=self.gpus,
            gpu_model=self.gpu_model,
            gpu_memory_mib=self.gpu_memory_mib,
            max_pods=self.max_pods,
        )


class OnPremNetworkSettings(Section):
    """Addresses that network policies name; they must be known before anything is created, so they are settings.

    Attributes:
        api_server: Addresses of the API servers, as ``kubectl get endpoints kubernetes`` shows them.
        api_server_port: Port that they listen on; policies see it, and not the service's 443.
        service_cidr: Addresses of services.
        pod_cidr: Addresses of pods.
        nodes: Addresses of nodes.
        load_balancers: Addresses from which the load balancer's requests come; empty for anywhere, which is right where
            it keeps the client's address, as MetalLB does.
    """

    api_server: Annotated[tuple[Cidr, ...], Field(min_length=1)] = ("192.168.0.0/16",)
    api_server_port: Annotated[int, Field(ge=1, le=65535)] = 6443
    service_cidr: Cidr = "10.96.0.0/12"
    pod_cidr: Cidr = "10.244.0.0/16"
    nodes: Annotated[tuple[Cidr, ...], Field(min_length=1)] = ("192.168.0.0/16",)
    load_balancers: tuple[Cidr, ...] = ()


class StorageSettings(Section):
    """Storage classes that the cluster has.

    Attributes:
        block_class: For databases, caches and queues; encryption at rest is the storage's own.
        snapshot_driver: CSI driver of that class that can snapshot its volumes; empty where it cannot.
        object_class: For the object store's disks in the cluster; empty for ``blockClass``. A class of local disks is
            enough, since the store keeps copies on several nodes.
    """

    block_class: StorageClass = "block"
    snapshot_driver: str = ""
    object_class: StorageClass | Literal[""] = ""


class OnPremFileSettings(Section):
    """Files that many nodes mount at once: the model repository.

    Attributes:
        kind: ``nfs`` through csi-driver-nfs, ``spectrum-scale`` (GPFS) through IBM's driver, or ``none``.
        server: Server of NFS.
        path: Directory that the access points lie in: exported by the NFS server, or a directory in the file system of
            Spectrum Scale.
        cluster_id: Spectrum Scale: ID of the cluster that owns the file system.
        file_system_id: Spectrum Scale: UID of the file system, as ``mmlsfs <name> --uid`` shows it.
        installs_driver: Install csi-driver-nfs. IBM's driver needs kernel modules on the nodes and comes with its own
            operator: it must be there.
    """

    kind: Literal["nfs", "spectrum-scale", "none"] = "none"
    server: str = ""
    path: Annotated[str, Field(pattern=r"^(/[^/\s]+)*$")] = ""
    cluster_id: str = ""
    file_system_id: str = ""
    installs_driver: bool = True

    @model_validator(mode="after")
    def _what_the_kind_needs_is_set(self) -> OnPremFileSettings:
        needed = {"nfs": ("server", "path"), "spectrum-scale": ("cluster_id", "file_system_id", "path"), "none": ()}
        names = {"cluster_id": "clusterId", "file_system_id": "fileSystemId"}
        if missing := [names.get(key, key) for key in needed[self.kind] if not getattr(self, key)]:
            raise ValueError(f"kind {self.kind} needs {', '.join(missing)}")
        return self


def _address_range(value: str) -> str:
    try:
        first, dash, last = value.partition("-")
        if not dash:
            return str(ipaddress.IPv4Network(value))
        low, high = ipaddress.IPv4Address(first), ipaddress.IPv4Address(last)
    except ValueError as error:
        raise ValueError(f"must be an IPv4 network or first-last ({error}); got {value}") from None
    if low > high:
        raise ValueError(f"must go from the lower to the higher address; got {value}")
    return value


class LoadBalancerSettings(Section):
    """How a service gets an address that the network knows.

    Attributes:
        kind: ``metallb`` installs MetalLB in its layer-2 mode; ``existing`` relies on what the cluster has.
        addresses: ``metallb``: free addresses of the nodes' own network, such as ``192.168.10.200-192.168.10.219``.
        internal_annotations: ``existing``: annotations of a service that is reached from inside.
        public_annotations: ``existing``: annotations of a service that is reached from the internet.
    """

    kind: Literal["existing", "metallb"] = "existing"
    addresses: tuple[Annotated[str, AfterValidator(_address_range)], ...] = ()
    internal_annotations: dict[str, str] = Field(default_factory=dict[str, str])
    public_annotations: dict[str, str] = Field(default_factory=dict[str, str])


class OnPremRegistrySettings(Section):
    """The registry for our own images. There is one in every data centre: none is installed.

    Attributes:
        host: Its host; empty on OpenShift for the internal one, ``image-registry.openshift-image-registry.svc:5000``.
        prefix: Project in it that our repositories lie in.
    """

    host: Host | Literal[""] = ""
    prefix: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._/-]*$")] = "llmops"


class MetricsServerSettings(Section):
    """Who serves ``metrics.k8s.io``, which HorizontalPodAutoscalers and ``kubectl top`` read.

    Attributes:
        kind: ``install`` installs metrics-server; ``present`` relies on what the cluster has, and the check looks for
            it. Unset: ``present`` on OpenShift, which brings its own, else ``install``.
        kubelet_ca: PEM certificates that sign kubelets' serving certificates; empty for the cluster's own authority,
            which signs them where kubelets have ``serverTLSBootstrap: true`` and their requests are approved.
        trust_any_kubelet: Take metrics from whoever answers at a node's address, without a look at its certificate.
            Only for clusters whose kubelets sign for themselves, which is kubeadm's default: somebody in the nodes'
            network could then make autoscalers see what they want. No credential is lost by it that pods have.
    """

    kind: Literal["install", "present"] | None = None
    kubelet_ca: str = ""
    trust_any_kubelet: bool = False

    @model_validator(mode="after")
    def _kubelets_are_known_in_one_way(self) -> MetricsServerSettings:
        if self.kubelet_ca and self.trust_any_kubelet:
            raise ValueError("kubeletCa and trustAnyKubelet exclude each other: set one of them")
        return self


class GroupSettings(Section):
    """Groups of the cluster's own sign-in (OpenID Connect, LDAP, OpenShift's OAuth).

    Attributes:
        platform_admins: Who runs the platform.
        ml_engineers: Who works with jobs and models.
        viewers: Who reads.
        team_prefix: With a team's name behind it: the group of that team.
    """

    platform_admins: str = "llmops:platform-admins"
    ml_engineers: str = "llmops:ml-engineers"
    viewers: str = "llmops:viewers"
    team_prefix: str = "llmops:team-"


class OpenShiftSettings(Section):
    """What OpenShift does its own way.

    Attributes:
        routes: Publish the gateway by a Route as well, through the cluster's router.
        gpu_operator_channel: Channel of NVIDIA's operator in OperatorHub.
    """

    routes: bool = False
    gpu_operator_channel: Annotated[str, Field(pattern=r"^(stable|v\d+\.\d+)$")] = "stable"


class OnPremSettings(Section):
    """An existing cluster, and what stands in for a cloud's services.

    Attributes:
        site: Name of the place; plays the part of a region.
        check: Ask the cluster, before anything is created, whether it has what the settings say.
        kubeconfig: How it is reached.
        machines: Kinds of servers, which node groups name.
        network: Addresses.
        storage: Storage classes.
        files: Shared files.
        database: What one PostgreSQL server may use; the rest is in ``database``.
        database_archive: Where it archives to, and what it is recovered from.
        cache: What one Valkey server may use; the rest is in ``cache``.
        objects: The object store.
        load_balancer: Addresses for services.
        registry: Where our own images are.
        metrics_server: Who serves ``metrics.k8s.io``.
        groups: Groups of the cluster's sign-in.
        openshift: The cluster is OpenShift.
        openshift_options: What OpenShift does its own way.
    """

    site: Name = "onprem"
    check: bool = True
    kubeconfig: KubeconfigSettings = KubeconfigSettings()
    machines: tuple[MachineSettings, ...] = ()
    network: OnPremNetworkSettings = OnPremNetworkSettings()
    storage: StorageSettings = StorageSettings()
    files: OnPremFileSettings = OnPremFileSettings()
    database: StoreSizeSettings = size(1000, 4096)
    database_archive: ArchiveSettings = ArchiveSettings()
    cache: StoreSizeSettings = size(250, 1024)
    objects: OnPremObjectSettings = OnPremObjectSettings()
    load_balancer: LoadBalancerSettings = LoadBalancerSettings()
    registry: OnPremRegistrySettings = OnPremRegistrySettings()
    metrics_server: MetricsServerSettings = MetricsServerSettings()
    groups: GroupSettings = GroupSettings()
    openshift: bool = False
    openshift_options: OpenShiftSettings = OpenShiftSettings()

    @field_validator("machines")
    @classmethod
    def _machines_are_named_once(cls, value: tuple[MachineSettings, ...]) -> tuple[MachineSettings, ...]:
        names = [machine.name for machine in value]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"must name each kind once; {', '.join(twice)} comes twice")
        return value

    @field_validator("load_balancer")
    @classmethod
    def _metallb_has_addresses(cls, value: LoadBalancerSettings) -> LoadBalancerSettings:
        if value.kind == "metallb" and not value.addresses:
            raise ValueError("addresses: must name free addresses for kind metallb")
        return value

    @model_validator(mode="after")
    def _openshift_keeps_its_own_metrics_server(self) -> OnPremSettings:
        if self.openshift and self.metrics_server.kind == "install":
            raise ValueError("metricsServer.kind: must be present on OpenShift, which serves metrics.k8s.io itself")
        return self

    @property
    def installs_metrics_server(self) -> bool:
        """Whether metrics-server comes with the stack."""
        return (self.metrics_server.kind or ("present" if self.openshift else "install")) == "install"

    @property
    def shapes(self) -> dict[str, NodeShape]:
        """What each kind of server leaves to pods, by its name."""
        return {machine.name: machine.shape for machine in self.machines}
