"""PostgreSQL in the cluster, by CloudNativePG: the twin of ``Database``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import pulumi
from pulumi_kubernetes import core
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.meta import v1 as meta

from components.charts import release
from components.contract import SecretRef, StorePods
from components.credentials import Credential, Generated
from components.onprem import watched
from components.onprem.authority import Authority
from components.onprem.names import DATABASE_PORT, OPERATORS, STORES
from components.onprem.objects import Backup
from components.onprem.rooms import Rooms
from components.onprem.secrets import Secrets
from components.settings.onprem_stores import ArchiveSettings
from components.versions import IMAGES

_API: Final = "postgresql.cnpg.io/v1"
_CLUSTER: Final = "database"
_ORIGIN: Final = "origin"
_TLS_SECRET: Final = "database-tls"
_OWNER_SECRET: Final = "database-owner"
_KEYS_SECRET: Final = "database-backup-keys"
# Of the operator: a Secret with it is looked at again when it changes.
_WATCHED: Final = {"cnpg.io/reload": "true"}

CREDENTIAL: Final = Credential(
    purpose="database-admin",
    description="Administrator of PostgreSQL; jobs create databases and users with it.",
    fixed={"username": "platform"},
    generated={"password": Generated()},
)


@dataclass(frozen=True, kw_only=True)
class DatabaseArgs:
    """What a database needs from its surroundings.

    Attributes:
        rooms: Namespaces.
        authority: Signs the server's certificate.
        secrets: Keeps the administrator's credentials.
        backup: Where backups go.
        archive: Which folder there is its own, and which one it begins with.
        storage_class: Class of its disks.
        engine_version: Major version of PostgreSQL.
        storage_gib: Disk of each server in GiB.
        cpu_millicores: CPU that each server requests.
        memory_mib: Memory of each server: request and limit.
        highly_available: Three servers on three nodes, of which one more than the leader has every commit.
        backup_retention_days: Days into which the server can be brought back (point in time).
        node_selector: Nodes of the servers and of the operator.
        restricted_ids: The cluster chooses user ids itself, as OpenShift does.
        protect: Refuse deletion.
    """

    rooms: Rooms
    authority: Authority
    secrets: Secrets
    backup: Backup
    archive: ArchiveSettings
    storage_class: str
    engine_version: str
    storage_gib: int
    cpu_millicores: int
    memory_mib: int
    highly_available: bool
    backup_retention_days: int
    node_selector: Mapping[str, str]
    restricted_ids: bool
    protect: bool


class Database(pulumi.ComponentResource):
    """One PostgreSQL cluster with its operator; TLS, backups every night and of every minute between."""

    host: pulumi.Output[str]
    port: pulumi.Output[int]
    admin: SecretRef
    ca_certificates: pulumi.Output[str]
    pods: tuple[StorePods, ...]

    def __init__(self, name: str, args: DatabaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:onprem:Database", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        operator = release(
            f"{name}-operator",
            "cloudnative-pg",
            release_name="cloudnative-pg",
            namespace=OPERATORS,
            values=operator_values(args),
            parent=self,
            after=args.rooms.ready[OPERATORS],
        )
        kept = args.secrets.keep(CREDENTIAL)
        owner = core.v1.Secret(
            f"{name}-owner",
            metadata=meta.ObjectMetaArgs(name=_OWNER_SECRET, namespace=args.rooms.names[STORES], labels=_WATCHED),
            type="kubernetes.io/basic-auth",
            string_data=kept.values,
            opts=child,
        )
        keys = core.v1.Secret(
            f"{name}-backup-keys",
            metadata=meta.ObjectMetaArgs(name=_KEYS_SECRET, namespace=args.rooms.names[STORES], labels=_WATCHED),
            string_data={
                "accessKey": args.backup.access_key,
                "secretKey": args.backup.secret_key,
                "ca.crt": args.backup.ca,
            },
            opts=child,
        )
        certificate = args.authority.issue(
            name,
            namespace=args.rooms.names[STORES],
            secret_name=_TLS_SECRET,
            hosts=hosts(),
            labels=_WATCHED,
            parent=self,
        )
        cluster = CustomResource(
            f"{name}-cluster",
            api_version=_API,
            kind="Cluster",
            metadata=meta.ObjectMetaArgs(name=_CLUSTER, namespace=args.rooms.names[STORES]),
            spec=cluster_spec(args),
            opts=pulumi.ResourceOptions(
                parent=self,
                protect=args.protect,
                # The definition and its webhook; Secrets that the specification names; the store that it archives to.
                depends_on=[operator, owner, keys, certificate, *args.backup.ready, *args.rooms.ready[STORES]],
            ),
        )
        CustomResource(
            f"{name}-backups",
            api_version=_API,
            kind="ScheduledBackup",
            metadata=meta.ObjectMetaArgs(name="nightly", namespace=args.rooms.names[STORES]),
            spec={
                "schedule": "0 30 2 * * *",  # with seconds; UTC
                "immediate": True,  # without a first one there is nothing that logs could be added to
                "backupOwnerReference": "none",  # what is backed up outlives the schedule
                "cluster": {"name": _CLUSTER},
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[cluster]),
        )
        self.host = cluster.id.apply(lambda _: hosts()[0])  # whoever knows the host waits for the server
        self.port = cluster.id.apply(lambda _: DATABASE_PORT)
        self.admin = kept.ref
        self.ca_certificates = args.authority.certificate
        self.pods = watched.of_database(_CLUSTER, servers=servers(args))
        self.register_outputs({"host": self.host, "port": self.port, "admin": self.admin.key})


def servers(args: DatabaseArgs) -> int:
    """How many there are: one, or the leader and two that follow."""
    return 3 if args.highly_available else 1


def hosts() -> list[str]:
    """Names of the server: of the leader first, then of the others, in full and short."""
    services = (f"{_CLUSTER}-rw", f"{_CLUSTER}-ro", f"{_CLUSTER}-r")
    endings = (f".{STORES}.svc", f".{STORES}.svc.cluster.local", f".{STORES}", "")
    return [service + ending for ending in endings for service in services]


def cluster_spec(args: DatabaseArgs) -> dict[str, Any]:
    """Specification of the Cluster.

    Memory: a quarter of it is the server's own cache, as PostgreSQL's manual advises.
    """
    memory = f"{args.memory_mib}Mi"
    spec: dict[str, Any] = {
        "instances": servers(args),
        "imageName": image(args.engine_version),
        "enableSuperuserAccess": False,
        "enablePDB": args.highly_available,  # of a single server it would hold up every drain
        "primaryUpdateStrategy": "unsupervised",
        "bootstrap": bootstrap(args.archive),
        # No superuser: what the administrator of a managed server may do, and no more.
        "managed": {
            "roles": [
                {
                    "name": "platform",
                    "ensure": "present",
                    "login": True,
                    "createdb": True,
                    "createrole": True,
                    "passwordSecret": {"name": _OWNER_SECRET},
                }
            ]
        },
        "certificates": {"serverTLSSecret": _TLS_SECRET, "serverCASecret": _TLS_SECRET},
        "postgresql": {
            "parameters": {
                "max_connections": "200",
                "shared_buffers": f"{args.memory_mib // 4}MB",
                "effective_cache_size": f"{args.memory_mib // 2}MB",
                "log_min_duration_statement": "1000",  # milliseconds
            },
            "pg_hba": ["hostnossl all all all reject"],
        },
        "storage": {"size": f"{args.storage_gib}Gi", "storageClass": args.storage_class},
        # A disk of its own: a full log stops the server, and is not to take the data with it.
        "walStorage": {"size": f"{max(5, args.storage_gib // 4)}Gi", "storageClass": args.storage_class},
        "resources": {
            "requests": {"cpu": f"{args.cpu_millicores}m", "memory": memory},
            "limits": {"memory": memory},
        },
        "affinity": {
            "nodeSelector": dict(args.node_selector),
            "enablePodAntiAffinity": True,
            "podAntiAffinityType": "required" if args.highly_available else "preferred",
        },
        "backup": {
            "target": "prefer-standby",
            "retentionPolicy": f"{args.backup_retention_days}d",
            "barmanObjectStore": object_store(args, args.archive.name),
        },
    }
    if args.archive.recover_from:
        spec["externalClusters"] = [
            {"name": _ORIGIN, "barmanObjectStore": object_store(args, args.archive.recover_from)}
        ]
    if args.highly_available:
        # A commit waits for one of the two others; with both away it does not wait, and the server goes on.
        spec["postgresql"]["synchronous"] = {"method": "any", "number": 1, "dataDurability": "preferred"}
    return spec


def object_store(args: DatabaseArgs, archive: str) -> dict[str, Any]:
    """The place of one server's base backups and log."""
    return {
        "destinationPath": args.backup.url,
        "endpointURL": f"https://{args.backup.endpoint}",
        "endpointCA": {"name": _KEYS_SECRET, "key": "ca.crt"},
        "s3Credentials": {
            "accessKeyId": {"name": _KEYS_SECRET, "key": "accessKey"},
            "secretAccessKey": {"name": _KEYS_SECRET, "key": "secretKey"},
        },
        "wal": {"compression": "gzip"},
        "data": {"compression": "gzip"},
        "serverName": archive,
    }


def bootstrap(archive: ArchiveSettings) -> dict[str, Any]:
    """How the server begins: empty, or with what an earlier one left. Read once, when the Cluster is made."""
    owner = {"database": "platform", "owner": "platform", "secret": {"name": _OWNER_SECRET}}
    if not archive.recover_from:
        return {"initdb": owner}
    target = {"recoveryTarget": {"targetTime": archive.recover_to}} if archive.recover_to else {}
    return {"recovery": {"source": _ORIGIN, **owner, **target}}


def image(engine_version: str) -> str:
    """Image of the server; refused where the setting names another major version than the pinned one.

    Raises:
        pulumi.RunError: At preview.
    """
    pinned = IMAGES["postgresql"]
    major = pinned.rsplit(":", 1)[1].partition(".")[0]
    if major != engine_version:
        raise pulumi.RunError(
            f"database.engineVersion: must be {major}, the major version of {pinned} (components/versions.py); "
            f"got {engine_version}"
        )
    return pinned


def operator_values(args: DatabaseArgs) -> dict[str, Any]:
    """Values of the operator's chart; it watches the one namespace that has a server.

    Its rights are for the whole cluster all the same: the chart narrows them to the operator's own namespace or not at
    all, and servers are not to stand beside it.
    """
    values: dict[str, Any] = {
        "replicaCount": 2 if args.highly_available else 1,
        "nodeSelector": dict(args.node_selector),
        "config": {"data": {"WATCH_NAMESPACE": STORES}},
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
    }
    if args.restricted_ids:
        values["containerSecurityContext"] = {"runAsUser": None, "runAsGroup": None}
    return values
