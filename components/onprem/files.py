"""Shared files on NFS or on Spectrum Scale (GPFS): the twin of ``Files``.

Both are there; a volume is a directory of them. Directories are made by whoever runs the file server, as are rights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import pulumi

from components.charts import release
from components.contract import SharedFiles
from components.settings.onprem import OnPremFileSettings

NFS_DRIVER: Final = "nfs.csi.k8s.io"
SCALE_DRIVER: Final = "spectrumscale.csi.ibm.com"


@dataclass(frozen=True, kw_only=True)
class FilesArgs:
    """What shared files need from their surroundings.

    Attributes:
        settings: Which file server.
        access_points: Names of directories to offer.
        node_selector: Nodes of the driver's controller.
    """

    settings: OnPremFileSettings
    access_points: tuple[str, ...]
    node_selector: Mapping[str, str]


class Files(pulumi.ComponentResource):
    """The driver, and a handle for each directory."""

    volumes: Mapping[str, pulumi.Output[str]]
    result: SharedFiles
    ready: tuple[pulumi.Resource, ...] = ()

    def __init__(self, name: str, args: FilesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:onprem:Files", name, None, opts)
        settings = args.settings
        if settings.kind == "nfs" and settings.installs_driver:
            driver = release(
                f"{name}-driver",
                "csi-driver-nfs",
                release_name="csi-driver-nfs",
                # Drivers of storage are part of the cluster, and need what restricted namespaces refuse.
                namespace="kube-system",
                values=driver_values(args),
                parent=self,
            )
            self.ready = (driver,)
        known = handles(settings, args.access_points)
        after = self.ready[0].urn if self.ready else pulumi.Output.from_input("")
        self.volumes = {point: after.apply(lambda _, found=found: found) for point, found in known.items()}
        driver_name = SCALE_DRIVER if settings.kind == "spectrum-scale" else NFS_DRIVER
        self.result = SharedFiles(
            csi_driver=driver_name, volumes=self.volumes, attributes=attributes(settings, args.access_points)
        )
        self.register_outputs({"volumes": self.volumes})


def handles(settings: OnPremFileSettings, access_points: tuple[str, ...]) -> dict[str, str]:
    """Handle of each directory, as its driver writes it; none where there are no shared files.

    NFS: server, directory and a name, between ``#`` (csi-driver-nfs, "PersistentVolume usage"). Spectrum Scale: a
    directory that is no fileset is type 0 without a consistency group: ``0;0;cluster;file system;;;path`` (IBM Storage
    Scale CSI, "Static provisioning").
    """
    if settings.kind == "none":
        return {}
    if settings.kind == "nfs":
        share = settings.path.strip("/")
        return {point: f"{settings.server}#{share}#{point}#{point}#" for point in access_points}
    return {
        point: f"0;0;{settings.cluster_id};{settings.file_system_id};;;{settings.path.rstrip('/')}/{point}"
        for point in access_points
    }


def attributes(
    settings: OnPremFileSettings, access_points: tuple[str, ...]
) -> dict[str, Mapping[str, pulumi.Output[str]]]:
    """What the driver must be told besides the handle: where to mount from."""
    if settings.kind != "nfs":
        return {}
    known = pulumi.Output.from_input
    return {
        point: {"server": known(settings.server), "share": known(f"{settings.path.rstrip('/')}/{point}")}
        for point in access_points
    }


def driver_values(args: FilesArgs) -> dict[str, Any]:
    """Values of csi-driver-nfs: its nodes' part everywhere, GPU nodes too; limits are the chart's."""
    return {
        "controller": {"nodeSelector": dict(args.node_selector), "replicas": 1},
        "node": {"tolerations": [{"operator": "Exists"}]},
    }
