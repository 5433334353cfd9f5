"""Object storage in the cluster, by SeaweedFS: the twin of ``Objects`` (docs/decisions/0015)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi
from pulumi_kubernetes import core, policy
from pulumi_kubernetes.meta import v1 as meta

from components.buckets import ROLES
from components.charts import release
from components.contract import Bucket, BucketRole, StorePods
from components.onprem import watched
from components.onprem.authority import Authority
from components.onprem.names import OBJECTS_HOST, OBJECTS_PORT, STORES
from components.onprem.rooms import Rooms

_VERSIONED: Final[frozenset[BucketRole]] = frozenset({"data", "models", "mlflow", "pipelines"})
_RELEASE: Final = "objects"
_SERVICE: Final = "objects"
_TLS_SECRET: Final = "objects-tls"
_IDENTITIES_SECRET: Final = "objects-identities"
_IDENTITIES_KEY: Final = "seaweedfs_s3_config"  # what the chart looks for
_CERTIFICATES: Final = "/etc/llmops-tls"
_USER: Final = 1000  # `seaweed` of the image
_LABELS: Final = {"app.kubernetes.io/name": "seaweedfs", "app.kubernetes.io/instance": _RELEASE}
# A line of the masters' default scripts, which neither image nor chart brings; the leader runs it every 17 minutes.
_MAINTENANCE: Final = "volume.fix.replication -apply"
_VOLUME_MIB: Final = 1024  # a bucket takes several volumes when it is first written to: small ones waste less


@dataclass(frozen=True, kw_only=True)
class Backup:
    """Where a store of the foundation puts its backups.

    Attributes:
        url: ``s3://<bucket>/<prefix>``.
        endpoint: Host of the object store.
        access_key: Key that may write there.
        secret_key: Its secret.
        ca: Certificates that sign the host's (PEM).
        ready: What must exist before it answers.
    """

    url: pulumi.Input[str]
    endpoint: str
    access_key: pulumi.Input[str]
    secret_key: pulumi.Input[str]
    ca: pulumi.Input[str]
    ready: tuple[pulumi.Resource, ...]


@dataclass(frozen=True, kw_only=True)
class ObjectsArgs:
    """What an object store needs from its surroundings.

    Attributes:
        rooms: Namespaces.
        authority: Signs the server's certificate.
        prefix: What names of buckets begin with.
        identities: Who may do what, as SeaweedFS reads it; JSON, secret.
        servers: One, or three and more with two copies of everything.
        disk_gib: Disk of each server in GiB.
        storage_class: Class of these disks.
        cpu_millicores: CPU that each server requests.
        memory_mib: Memory of each server: request and limit.
        node_selector: Nodes of the servers.
        restricted_ids: The cluster chooses user ids itself, as OpenShift does.
    """

    rooms: Rooms
    authority: Authority
    prefix: str
    identities: pulumi.Input[str]
    servers: int
    disk_gib: int
    storage_class: str
    cpu_millicores: int
    memory_mib: int
    node_selector: Mapping[str, str]
    restricted_ids: bool


class Objects(pulumi.ComponentResource):
    """The store, its buckets, and the identities that it knows."""

    buckets: Mapping[BucketRole, Bucket]
    ready: tuple[pulumi.Resource, ...]
    pods: tuple[StorePods, ...]

    def __init__(self, name: str, args: ObjectsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:onprem:Objects", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        namespace = args.rooms.names[STORES]
        certificate = args.authority.issue(
            name,
            namespace=namespace,
            secret_name=_TLS_SECRET,
            hosts=[OBJECTS_HOST, f"{OBJECTS_HOST}.cluster.local", f"{_SERVICE}.{STORES}"],
            parent=self,
        )
        identities = core.v1.Secret(
            f"{name}-identities",
            metadata=meta.ObjectMetaArgs(name=_IDENTITIES_SECRET, namespace=namespace),
            string_data={_IDENTITIES_KEY: pulumi.Output.secret(args.identities)},
            opts=child,
        )
        # Identities and certificate are read when the gateway starts: another version is another pod.
        versions = pulumi.Output.all(
            *(one.metadata.apply(lambda known: str(known.resource_version or "")) for one in (certificate, identities))
        ).apply(lambda known: ",".join(map(str, known)))
        self.pods = watched.of_objects(_RELEASE, servers=args.servers)
        server = release(
            f"{name}-release",
            "seaweedfs",
            release_name=_RELEASE,
            namespace=STORES,
            values=values(args, versions),
            parent=self,
            after=(*args.rooms.ready[STORES], certificate, identities),
            timeout_seconds=900,
        )
        service = core.v1.Service(
            f"{name}-service",
            metadata=meta.ObjectMetaArgs(name=_SERVICE, namespace=namespace),
            spec=core.v1.ServiceSpecArgs(
                selector={**_LABELS, "app.kubernetes.io/component": "s3" if several(args) else "seaweedfs-all-in-one"},
                ports=[core.v1.ServicePortArgs(name="https", port=443, target_port=OBJECTS_PORT)],
            ),
            # A service is ready when pods answer for it, and these come with the release.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[server]),
        )
        self.buckets = {role: bucket(f"{args.prefix}-{role}", after=server.id) for role in ROLES}
        # The chart has none. The one server, and the one index of names, would hold up every drain.
        for part in self.pods:
            if part.servers > 1:
                policy.v1.PodDisruptionBudget(
                    f"{name}-{part.part}",
                    metadata=meta.ObjectMetaArgs(name=f"{_SERVICE}-{part.part}", namespace=namespace),
                    spec=policy.v1.PodDisruptionBudgetSpecArgs(
                        max_unavailable=1, selector=meta.LabelSelectorArgs(match_labels=part.labels)
                    ),
                    opts=child,
                )
        self.ready = (server, service)
        self.register_outputs({"buckets": {role: found.name for role, found in self.buckets.items()}})


def bucket(name: str, *, after: pulumi.Output[str] | None = None) -> Bucket:
    """A bucket of that name; whoever knows its name waits for ``after``."""
    known = pulumi.Output.from_input(name) if after is None else after.apply(lambda _: name)
    return Bucket(name=known, url=pulumi.Output.concat("s3://", known))


def several(args: ObjectsArgs) -> bool:
    """Whether the parts of the store are servers of their own."""
    return args.servers > 1


def values(args: ObjectsArgs, versions: pulumi.Input[str]) -> dict[str, Any]:
    """Values of the chart, which takes parts of pods as texts.

    Traffic between the servers is not encrypted: none leaves the namespace, whose policies let nobody else in.
    """
    small = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}
    memory = f"{args.memory_mib}Mi"
    sized = {"requests": {"cpu": f"{args.cpu_millicores}m", "memory": memory}, "limits": {"memory": memory}}
    secured = {
        "podSecurityContext": {"enabled": True, **_pod_security(restricted_ids=args.restricted_ids)},
        "containerSecurityContext": {
            "enabled": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        "nodeSelector": _text(args.node_selector),
    }
    gateway: dict[str, Any] = {
        "enabled": True,
        "enableAuth": True,
        "existingConfigSecret": _IDENTITIES_SECRET,
        "createBuckets": [
            {"name": f"{args.prefix}-{role}", **({"versioning": "Enabled"} if role in _VERSIONED else {})}
            for role in ROLES
        ],
        "createBucketsHook": {"resources": small},
    }
    certificates: dict[str, Any] = {
        "podAnnotations": {"llmops/secrets": versions},
        "extraVolumes": _text([{"name": "tls", "secret": {"secretName": _TLS_SECRET, "defaultMode": 0o440}}]),
        "extraVolumeMounts": _text([{"name": "tls", "mountPath": _CERTIFICATES, "readOnly": True}]),
    }
    disk = {"type": "persistentVolumeClaim", "storageClass": args.storage_class}
    chosen: dict[str, Any] = {
        "global": {"seaweedfs": {"createClusterRole": False, "automountServiceAccountToken": False}},
        # The job that makes the buckets takes its confinement from here.
        "filer": {"enabled": several(args), **secured},
        "master": {"enabled": several(args), "volumeSizeLimitMB": _VOLUME_MIB},
        "volume": {"enabled": several(args), "resizeHook": {"enabled": False}},
    }
    if not several(args):
        chosen["allInOne"] = {
            "enabled": True,
            "s3": gateway,
            "data": {**disk, "size": f"{args.disk_gib}Gi"},
            "extraArgs": _tls_arguments("s3."),
            "resources": sized,
            **secured,
            **certificates,
        }
        return chosen
    chosen["global"]["seaweedfs"] |= {"enableReplication": True, "replicationPlacement": "001"}
    chosen["master"] |= {
        "replicas": 3,
        "data": {**disk, "size": "5Gi"},
        "logs": {},
        "resources": small,
        # What lay on a server that is lost has one copy left; without this nobody makes the second one again.
        "extraEnvironmentVars": {"WEED_MASTER_MAINTENANCE_SCRIPTS": _MAINTENANCE},
        **secured,
    }
    chosen["volume"] |= {
        "replicas": args.servers,
        "dataDirs": [{"name": "data", **disk, "size": f"{args.disk_gib}Gi", "maxVolumes": 0}],
        "resources": sized,
        **secured,
    }
    # One: its index of names is its own. It comes back on another node with its disk.
    chosen["filer"] |= {"replicas": 1, "data": {**disk, "size": "25Gi"}, "logs": {}, "resources": sized}
    chosen["s3"] = {
        **gateway,
        "replicas": 2,
        "logs": {"type": "emptyDir"},
        "extraArgs": _tls_arguments(""),
        "resources": small,
        **secured,
        **certificates,
    }
    return chosen


def _tls_arguments(prefix: str) -> list[str]:
    return [
        f"-{prefix}port.https={OBJECTS_PORT}",
        f"-{prefix}cert.file={_CERTIFICATES}/tls.crt",
        f"-{prefix}key.file={_CERTIFICATES}/tls.key",
    ]


def _pod_security(*, restricted_ids: bool) -> dict[str, Any]:
    common: dict[str, Any] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    return common if restricted_ids else {**common, "runAsUser": _USER, "runAsGroup": _USER, "fsGroup": _USER}


def _text(part: Mapping[str, Any] | Sequence[Any]) -> str:
    return json.dumps(part, sort_keys=True)  # JSON is YAML, on one line however it is indented
