"""Milvus as its chart takes it: parts, sizes, settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import pulumi

from components.capacity import Request
from components.contract import ROLE_LABEL, ObjectStore, object_keys_secret
from components.platform.confinement import CONTAINER_SECURITY
from components.platform.placement import spread
from components.platform.site import Site
from components.settings.platform.vectors import VectorSettings

RELEASE: Final = "milvus"
"""Name of the release, of the service, and of the label ``app.kubernetes.io/instance``."""

ACCOUNT: Final = "milvus"
"""Service account of every part of Milvus."""

METADATA_ACCOUNT: Final = "milvus-etcd"
"""Service account of the metadata servers."""

ROOT_SECRET: Final = "milvus-root"
"""Secret with ``username`` and ``password`` of the administrator."""

ROOT_PATH: Final = "milvus"
"""Prefix of Milvus' objects in the bucket ``vectors``."""

# Milvus' own user, and the root group: executables of its image belong to one or the other, depending on the version.
POD_SECURITY: Final[Mapping[str, Any]] = {
    "runAsNonRoot": True,
    "runAsUser": 999,
    "runAsGroup": 0,
    "supplementalGroups": [999],
    "fsGroup": 999,
    "seccompProfile": {"type": "RuntimeDefault"},
}

# Compactions, index builds and loaded indexes are written there; the chart has such a place for some parts only.
_LOCAL: Final = "/milvus/local"
_LOCAL_GIB: Final = 20
_METADATA_SERVERS: Final = 3


@dataclass(frozen=True, kw_only=True)
class Part:
    """One Deployment of Milvus.

    Attributes:
        key: Its values.
        component: Its label ``component``.
        replicas: How many.
        size: Requests of one.
    """

    key: str
    component: str
    replicas: int
    size: Request


def mode(site: Site) -> str:
    """``standalone`` or ``cluster``."""
    return site.settings.vectors.mode or ("cluster" if site.highly_available else "standalone")


def parts(settings: VectorSettings, *, cluster: bool, highly_available: bool) -> tuple[Part, ...]:
    """Milvus' Deployments.

    Sizes: the sizing guide's for some ten million vectors of 768 dimensions, with the coordinators and proxies at what
    they use when idle; CPU has no limit.
    """
    several = 2 if highly_available else 1
    memory = settings.query_memory_gib * 1024
    if not cluster:
        return (Part(key="standalone", component="standalone", replicas=1, size=_size(1000, memory, _LOCAL_GIB)),)
    return (
        Part(key="proxy", component="proxy", replicas=several, size=_size(250, 1024, 1)),
        Part(key="mixCoordinator", component="mixcoord", replicas=several, size=_size(500, 1024, 1)),
        Part(
            key="queryNode", component="querynode", replicas=settings.query_nodes, size=_size(1500, memory, _LOCAL_GIB)
        ),
        Part(key="streamingNode", component="streamingnode", replicas=several, size=_size(750, 3072, 5)),
        Part(key="dataNode", component="datanode", replicas=several, size=_size(1000, 4096, _LOCAL_GIB)),
    )


def _size(cpu_millicores: int, memory_mib: int, disk_gib: int) -> Request:
    return Request(cpu_millicores=cpu_millicores, memory_mib=memory_mib, ephemeral_storage_gib=disk_gib)


def metadata_servers(*, cluster: bool) -> tuple[int, Request]:
    """How many metadata servers, and what one requests."""
    if cluster:
        return _METADATA_SERVERS, Request(cpu_millicores=200, memory_mib=768)
    return 1, Request(cpu_millicores=100, memory_mib=384)


def requests(settings: VectorSettings, *, cluster: bool, highly_available: bool) -> tuple[Request, ...]:
    """What every pod takes of the namespace's row."""
    if not settings.enabled:
        return ()
    servers, size = metadata_servers(cluster=cluster)
    deployed = parts(settings, cluster=cluster, highly_available=highly_available)
    return (*(part.size for part in deployed for _ in range(part.replicas)), *(size for _ in range(servers)))


def values(site: Site, annotations: Mapping[str, pulumi.Input[str]]) -> dict[str, Any]:
    """Values of the chart: no Pulsar, no MinIO; the log of changes is Woodpecker inside Milvus, on the object store."""
    settings = site.settings.vectors
    cluster = mode(site) == "cluster"
    deployed = parts(settings, cluster=cluster, highly_available=site.highly_available)
    chosen: dict[str, Any] = {
        "cluster": {"enabled": cluster},
        "pulsarv3": {"enabled": False},
        "minio": {"enabled": False},
        "externalS3": object_store(site.foundation.objects),
        "serviceAccount": {"create": True, "name": ACCOUNT, "annotations": dict(annotations)},
        "extraConfigFiles": {"user.yaml": json.dumps(configuration(), indent=2)},
        "log": {"format": "json"},
        "nodeSelector": {ROLE_LABEL: "cpu"},
        "securityContext": dict(POD_SECURITY),
        "containerSecurityContext": dict(CONTAINER_SECURITY),
        "volumes": [{"name": "local", "emptyDir": {}}],  # bounded by the containers' ephemeral storage
        "volumeMounts": [{"name": "local", "mountPath": _LOCAL}],
        "etcd": metadata_values(site, cluster=cluster),
    }
    for part in deployed:
        chosen[part.key] = _part_values(part)
    # The administrator is created with this password when the metadata is empty; later it is not looked at any more.
    founder = "mixCoordinator" if cluster else "standalone"
    chosen[founder]["extraEnv"] = [
        {
            "name": "COMMON_SECURITY_DEFAULTROOTPASSWORD",
            "valueFrom": {"secretKeyRef": {"name": ROOT_SECRET, "key": "password"}},
        }
    ]
    if site.foundation.objects.signing == "keys":
        for part in deployed:
            chosen[part.key]["extraEnv"] = [*chosen[part.key].get("extraEnv", ()), *_object_keys()]
    if cluster:
        chosen["mixCoordinator"]["activeStandby"] = {"enabled": chosen["mixCoordinator"]["replicas"] > 1}
    else:
        # Everything that must survive is in the object store and with the metadata servers.
        chosen["standalone"]["persistence"] = {"enabled": False}
    return chosen


def _object_keys() -> list[dict[str, Any]]:
    """Milvus' own names of a pair of keys: it reads those of AWS' clients only together with an identity."""
    secret = object_keys_secret(ACCOUNT)
    names = {"MINIO_ACCESS_KEY_ID": "AWS_ACCESS_KEY_ID", "MINIO_SECRET_ACCESS_KEY": "AWS_SECRET_ACCESS_KEY"}
    return [{"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}} for name, key in names.items()]


def _part_values(part: Part) -> dict[str, Any]:
    """Memory requests equal limits: Milvus reckons how much it may load by the limit."""
    memory, disk = f"{part.size.memory_mib}Mi", f"{part.size.ephemeral_storage_gib}Gi"
    chosen: dict[str, Any] = {
        "replicas": part.replicas,
        "resources": {
            "requests": {"cpu": f"{part.size.cpu_millicores}m", "memory": memory, "ephemeral-storage": disk},
            "limits": {"memory": memory, "ephemeral-storage": disk},
        },
    }
    if part.replicas > 1:
        chosen["topologySpreadConstraints"] = spread(part_labels(part))
    if part.key in ("queryNode", "standalone"):
        chosen["disk"] = {"size": {"enabled": True}}  # how much it may keep on disk: its limit
    return chosen


def part_labels(part: Part) -> dict[str, str]:
    """Labels that select the pods of a part."""
    return {
        "app.kubernetes.io/name": "milvus",
        "app.kubernetes.io/instance": RELEASE,
        "component": part.component,
    }


def object_store(store: ObjectStore) -> dict[str, Any]:
    """Where vectors are kept; the pods' identity is the credential."""
    return {
        "enabled": True,
        "host": store.endpoint,
        "port": "443",
        "useSSL": True,
        "bucketName": store.buckets["vectors"].name,
        "rootPath": ROOT_PATH,
        "useIAM": store.signing == "identity",
        "cloudProvider": "aws" if store.protocol == "s3" else "gcp",
        "region": store.region,
    }


def configuration() -> dict[str, Any]:
    """Milvus' own settings, where they differ from its defaults; JSON is YAML."""
    return {
        "common": {"security": {"authorizationEnabled": True}},
        "localStorage": {"path": _LOCAL},
    }


def metadata_values(site: Site, *, cluster: bool) -> dict[str, Any]:
    """Values of etcd. It has no users: the mesh lets nobody but Milvus speak to it."""
    servers, size = metadata_servers(cluster=cluster)
    memory = f"{size.memory_mib}Mi"
    return {
        "replicaCount": servers,
        "serviceAccount": {"create": True, "name": METADATA_ACCOUNT, "automountServiceAccountToken": False},
        "persistence": {
            "storageClass": site.foundation.cluster.default_storage_class,
            "size": f"{site.settings.vectors.metadata_gib}Gi",
        },
        "pdb": {"create": servers > 1},
        "podAntiAffinityPreset": "hard" if servers > 1 else "soft",
        "nodeSelector": {ROLE_LABEL: "cpu"},
        "resources": {
            "requests": {"cpu": f"{size.cpu_millicores}m", "memory": memory},
            "limits": {"memory": f"{2 * size.memory_mib}Mi"},
        },
        "podSecurityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "containerSecurityContext": {"capabilities": {"drop": ["ALL"]}},
    }
