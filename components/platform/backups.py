"""Velero: daily backups of Kubernetes objects and volumes; docs/backups.md says what it does not cover."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.meta import v1 as meta

from components.charts import release
from components.contract import ObjectGrant, ObjectStore
from components.platform.confinement import CONTAINER_SECURITY
from components.platform.namespaces import PodSecurity
from components.platform.openings import SCRAPER, Namespace, Opening, Pods, team_namespace
from components.platform.site import Site
from components.settings.platform.backups import BackupSettings
from components.settings.teams import TeamSettings
from components.versions import VELERO_PLUGINS

_NAMESPACE: Final[Namespace] = "velero"
_SERVICE_ACCOUNT: Final = "velero-server"
_LOCATION: Final = "default"
_PREFIX: Final = "velero"

OPENINGS: tuple[Opening, ...] = (
    Opening(
        source=Pods(namespace=_NAMESPACE),
        target="api-server",
        ports=(443,),
        why="Every object is read there, and written in a restore.",
    ),
    Opening(
        source=Pods(namespace=_NAMESPACE),
        target="cloud-apis",
        ports=(443,),
        why="Backups lie in the object store; its token comes from the token service.",
    ),
    Opening(
        source=SCRAPER,
        target=Pods(namespace=_NAMESPACE, labels={"app.kubernetes.io/name": "velero"}),
        ports=(8085,),
        why="Metrics: a backup that failed or did not run must be seen.",
    ),
)
"""What Velero needs to reach, and who reaches it."""

# Namespaces with something that neither the program nor Git brings back: volumes, what people and controllers made, the
# key of the private certificate authority, Argo CD's own state. The others hold controllers, which the program installs
# again, and monitoring holds what is looked at for some days and costs most to keep.
_KEPT: Final = ("argocd", "cert-manager", "mlops-data", "mlops-serving", "mlops-system", "mlops-training")

# What controllers make again from the rest; restored, it would be in their way.
_LEFT_OUT: Final = (
    "challenges.acme.cert-manager.io",  # these three: a restored one would ask for the certificate once more
    "orders.acme.cert-manager.io",
    "certificaterequests.cert-manager.io",
    "endpoints",
    "endpointslices.discovery.k8s.io",
    "events",
    "events.events.k8s.io",
    "leases.coordination.k8s.io",  # locks whose holders are gone
    "podgroups.scheduling.volcano.sh",  # they belong to jobs by an identity that a restored job does not have
)


@dataclass(frozen=True, kw_only=True)
class BackupsArgs:
    """What Velero needs.

    Attributes:
        site: Where it is installed.
    """

    site: Site


class Backups(pulumi.ComponentResource):
    """Velero with its place in the object store, its daily schedule and its way of taking snapshots."""

    ready: tuple[pulumi.Resource, ...]

    def __init__(self, name: str, args: BackupsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:platform:Backups", name, None, opts)
        site, settings = args.site, args.site.settings.backups
        cluster = site.foundation.cluster
        identity = site.foundation.identity.grant(
            name,
            namespace=_NAMESPACE,
            service_account=_SERVICE_ACCOUNT,
            # Nothing for volumes: snapshots are taken by the volume driver, with the driver's identity.
            grants=[ObjectGrant(bucket="backups", access="read-write", prefix=f"{_PREFIX}/")],
            parent=self,
        )
        velero = release(
            f"{name}-release",
            "velero",
            release_name="velero",
            namespace=_NAMESPACE,
            values=values(site, identity.annotations),
            parent=self,
            after=(*site.namespaces[_NAMESPACE], *identity.ready),
        )
        snapshots = VolumeSnapshotClass(
            f"{name}-snapshots",
            cluster.snapshot_driver,
            # The definition comes with the foundation's snapshot controller.
            pulumi.ResourceOptions(parent=self, depends_on=list(cluster.ready)),
        )
        schedule = CustomResource(
            f"{name}-daily",
            api_version="velero.io/v1",
            kind="Schedule",
            metadata=meta.ObjectMetaArgs(name="daily", namespace=_NAMESPACE),
            spec=schedule_spec(settings, namespaces(settings, site.teams)),
            # The definition comes with the release, and a backup without the class would leave the volumes out.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[velero, snapshots]),
        )
        self.ready = (velero, snapshots, schedule)
        self.register_outputs({})


class VolumeSnapshotClass(pulumi.CustomResource):
    """The class that Velero takes snapshots with; the SDK's own custom resources have no fields beside ``spec``."""

    def __init__(self, name: str, driver: str, opts: pulumi.ResourceOptions) -> None:
        api, kind = "snapshot.storage.k8s.io/v1", "VolumeSnapshotClass"
        super().__init__(
            f"kubernetes:{api}:{kind}",
            name,
            {
                "apiVersion": api,
                "kind": kind,
                "metadata": {"name": "velero", "labels": {"velero.io/csi-volumesnapshot-class": "true"}},
                "driver": driver,
                # A snapshot outlives its object, as when a namespace is deleted by mistake. Velero deletes it when the
                # backup expires.
                "deletionPolicy": "Retain",
            },
            opts,
        )


def pod_security(settings: BackupSettings) -> dict[Namespace, PodSecurity]:
    """Where Velero needs more than the restricted level: the agents run as root, for files of every owner."""
    if not moves_data(settings):
        return {}
    why = "agents that copy volumes run as root: they read and restore files of every owner"
    return {_NAMESPACE: PodSecurity(level="baseline", why=why)}


def moves_data(settings: BackupSettings) -> bool:
    """Whether what is in the snapshots is copied to the object store."""
    return settings.volumes and settings.move_volume_data


def namespaces(settings: BackupSettings, teams: Sequence[TeamSettings]) -> tuple[str, ...]:
    """Namespaces that are backed up."""
    return tuple(sorted({*_KEPT, *(team_namespace(team.name) for team in teams), *settings.more_namespaces}))


def schedule_spec(settings: BackupSettings, wanted: Sequence[str]) -> dict[str, Any]:
    """Specification of the daily Schedule."""
    return {
        "schedule": settings.schedule,
        "useOwnerReferencesInBackup": False,  # the backups stay when the schedule is deleted
        "template": {
            "ttl": f"{settings.retention_days * 24}h0m0s",
            "storageLocation": _LOCATION,
            "includedNamespaces": list(wanted),
            "excludedResources": list(_LEFT_OUT),
            # Of what belongs to no namespace only what belongs to these, such as the volumes of their claims.
            "snapshotVolumes": settings.volumes,
            "snapshotMoveData": moves_data(settings),
            "csiSnapshotTimeout": "10m0s",  # until a snapshot is taken; its upload may last longer
        },
    }


def location(store: ObjectStore) -> dict[str, Any]:
    """The BackupStorageLocation as the chart takes it; the bucket's own key encrypts what is written."""
    common = {"name": _LOCATION, "bucket": store.buckets["backups"].name, "prefix": _PREFIX, "default": True}
    match store.protocol:
        case "s3":
            # The endpoint too, so that a store of one's own is reached as the cloud's is.
            return {
                **common,
                "provider": "aws",
                "config": {
                    "region": store.region,
                    "s3Url": f"https://{store.endpoint}",
                    **({"s3ForcePathStyle": "true"} if store.path_style else {}),
                },
            }
        case "gcs":
            return {**common, "provider": "gcp"}


def values(site: Site, annotations: Mapping[str, pulumi.Input[str]]) -> dict[str, Any]:
    """Values of the chart.

    One replica, whatever the site: the server has no leader election, and a restart loses nothing but a running backup.
    The chart binds it to ``cluster-admin``: it reads and restores objects of every kind. Memory: it holds the objects
    of one kind at a time; 512 MiB is what upstream starts with, and clusters with many objects need more.
    """
    settings = site.settings.backups
    moves = moves_data(settings)
    plugin = "aws" if site.foundation.objects.protocol == "s3" else "gcp"
    return {
        "initContainers": [
            {
                "name": f"velero-plugin-for-{plugin}",
                "image": f"docker.io/velero/velero-plugin-for-{plugin}:{VELERO_PLUGINS}",
                "imagePullPolicy": "IfNotPresent",
                "volumeMounts": [{"mountPath": "/target", "name": "plugins"}],
                "securityContext": dict(CONTAINER_SECURITY),
                "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
            }
        ],
        "nodeSelector": site.system_nodes,
        "priorityClassName": "platform-critical",
        "podSecurityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1002,  # `cnb`, the user of the image, which it gives by name only
            "runAsGroup": 1000,
            "fsGroup": 1000,  # the identity's token is readable by this group
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containerSecurityContext": dict(CONTAINER_SECURITY),
        "resources": {"requests": {"cpu": "100m", "memory": "192Mi"}, "limits": {"memory": "1Gi"}},
        # Helm installs definitions once and never renews them; this job does so before each upgrade.
        "upgradeCRDs": True,
        "upgradeJobResources": {"requests": {"cpu": "25m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "serviceAccount": {"server": {"name": _SERVICE_ACCOUNT, "annotations": dict(annotations)}},
        "credentials": {"useSecret": False},  # the service account's identity is the credential
        "configuration": {
            "features": "EnableCSI",
            "backupStorageLocation": [location(site.foundation.objects)],
            "defaultBackupTTL": f"{settings.retention_days * 24}h0m0s",  # of backups that people make
            "logFormat": "json",
            "repositoryMaintenanceJob": {"repositoryConfigData": {"global": _MAINTENANCE}},
        },
        # Locations of the plugins' own way of taking snapshots, for which Velero would need rights on all volumes.
        "snapshotsEnabled": False,
        "deployNodeAgent": moves,
        **({"nodeAgent": _NODE_AGENT} if moves else {}),
    }


# Once a day for each namespace whose data was moved.
_MAINTENANCE: Final[Mapping[str, Any]] = {
    "keepLatestMaintenanceJobs": 1,
    "podResources": {"cpuRequest": "25m", "cpuLimit": "0", "memoryRequest": "64Mi", "memoryLimit": "512Mi"},
}

# On every node: a restored volume is filled on the node of the pod that waits for it. Snapshots are mounted as volumes,
# so that the agent needs no path of the node.
_NODE_AGENT: Final[Mapping[str, Any]] = {
    "disableHostPath": True,
    "priorityClassName": "platform-critical",
    "tolerations": [{"operator": "Exists"}],
    "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}},
}
