"""Shared files on Filestore: the GCP twin of ``Files``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import pulumi
from pulumi_gcp import filestore

from components.gcp.project import Project

CSI_DRIVER: Final = "filestore.csi.storage.gke.io"
SHARE: Final = "models"
"""Name of the one share: at most 16 characters, letters, digits and ``_`` (Filestore API, ``fileShares``)."""


@dataclass(frozen=True, kw_only=True)
class FilesArgs:
    """What shared files need from their surroundings.

    Attributes:
        prefix: ``<project>-<stack>``; begins the instance's name.
        project: Where the instance lives.
        zone: Its zone, where the tier has one.
        network_id: The network, peered with that of Google's services.
        allocated_range: Name of the addresses that it takes some of.
        client_cidrs: Addresses that may mount: the nodes'.
        kms_key: Key of all files.
        tier: ``ZONAL`` or ``REGIONAL``, the tiers with a key of ours (Filestore, "Customer-managed encryption keys").
        capacity_gib: Size.
        access_points: What to offer: one, because an instance of these tiers has one share.
        protect: Refuse deletion.
    """

    prefix: str
    project: Project
    zone: str
    network_id: pulumi.Input[str]
    allocated_range: pulumi.Input[str]
    client_cidrs: Sequence[str]
    kms_key: pulumi.Input[str]
    tier: Literal["ZONAL", "REGIONAL"]
    capacity_gib: int
    access_points: Sequence[str]
    protect: bool


class Files(pulumi.ComponentResource):
    """One Filestore instance that the nodes mount over the private network."""

    file_system_id: pulumi.Output[str]
    volumes: Mapping[str, pulumi.Output[str]]
    attributes: Mapping[str, Mapping[str, pulumi.Output[str]]]
    """What the driver wants besides the handle, by access point."""

    def __init__(self, name: str, args: FilesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:gcp:Files", name, None, opts)
        location = args.zone if args.tier == "ZONAL" else args.project.region
        instance = filestore.Instance(
            f"{name}-instance",
            name=f"{args.prefix}-files",
            location=location,
            tier=args.tier,
            kms_key_name=args.kms_key,
            file_shares={
                "name": SHARE,
                "capacity_gb": args.capacity_gib,
                "nfs_export_options": [
                    # No root squash: the driver, as root of a node, gives directories to the group of a pod.
                    {
                        "ip_ranges": list(args.client_cidrs),
                        "access_mode": "READ_WRITE",
                        "squash_mode": "NO_ROOT_SQUASH",
                    }
                ],
            },
            networks=[
                {
                    "network": args.network_id,
                    "modes": ["MODE_IPV4"],
                    "connect_mode": "PRIVATE_SERVICE_ACCESS",
                    "reserved_ip_range": args.allocated_range,
                }
            ],
            deletion_protection_enabled=args.protect,
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect),
        )
        address = instance.networks.apply(lambda networks: (networks[0].ip_addresses or [""])[0])
        self.file_system_id = instance.id
        # modeInstance/<location>/<instance>/<share>: how the driver names an instance that was there before it.
        self.volumes = {
            point: pulumi.Output.concat("modeInstance/", location, "/", instance.name, "/", SHARE)
            for point in args.access_points
        }
        self.attributes = {
            point: {"ip": address, "volume": pulumi.Output.from_input(SHARE)} for point in args.access_points
        }
        self.register_outputs({"fileSystemId": self.file_system_id, "volumes": dict(self.volumes)})
