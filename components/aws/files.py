"""Shared files on EFS: the AWS twin of ``Files``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import pulumi
from pulumi_aws import efs

from components.aws.access import store_security_group
from components.aws.alarms import absence_alarm
from components.aws.policy import ANYONE, Account, Statement, render

NFS_PORT: Final = 2049
CSI_DRIVER: Final = "efs.csi.aws.com"


@dataclass(frozen=True, kw_only=True)
class AccessPoint:
    """A directory that pods mount as if it were the whole file system.

    Attributes:
        name: Name of the access point and of its directory.
        user_id: Whatever user a pod runs as, files belong to this one.
        group_id: Likewise the group.
        permissions: Octal mode of the directory.
    """

    name: str
    user_id: int = 1000
    group_id: int = 1000
    permissions: str = "0775"


@dataclass(frozen=True, kw_only=True)
class FilesArgs:
    """What shared files need from their surroundings.

    Attributes:
        account: Where the file system lives.
        vpc_id: Network of the subnets.
        subnet_ids: Private subnets, one in each zone; a list of known length.
        client_security_group_ids: Groups that may mount, by a short name; plain keys, so that the rules are known.
        kms_key_arn: Key of all files.
        throughput_mode: ``elastic`` is paid by the GB moved, ``bursting`` comes with the GB stored.
        access_points: Directories to offer.
        backups: Daily backups by AWS Backup, kept 35 days; they stay in its vault when the file system is destroyed.
        protect: Refuse deletion.
        alarm_topic_arn: Where a missed backup is reported.
    """

    account: Account
    vpc_id: pulumi.Input[str]
    subnet_ids: Sequence[pulumi.Input[str]]
    client_security_group_ids: Mapping[str, pulumi.Input[str]]
    kms_key_arn: pulumi.Input[str]
    throughput_mode: Literal["elastic", "bursting"]
    access_points: Sequence[AccessPoint]
    backups: bool
    protect: bool
    alarm_topic_arn: pulumi.Input[str]


class Files(pulumi.ComponentResource):
    """One elastic file system, mounted with TLS, and only through its access points."""

    file_system_id: pulumi.Output[str]
    volumes: Mapping[str, pulumi.Output[str]]

    def __init__(self, name: str, args: FilesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:aws:Files", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        system = efs.FileSystem(
            f"{name}-system",
            encrypted=True,
            kms_key_id=args.kms_key_arn,
            performance_mode="generalPurpose",
            throughput_mode=args.throughput_mode,
            lifecycle_policies=[
                {"transition_to_ia": "AFTER_30_DAYS"},
                {"transition_to_primary_storage_class": "AFTER_1_ACCESS"},
            ],
            tags={"Name": name},  # what the EFS console shows
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect),
        )
        efs.FileSystemPolicy(
            f"{name}-policy",
            file_system_id=system.id,
            policy=render(file_system_policy(system.arn, args.account)),
            opts=child,
        )
        efs.BackupPolicy(
            f"{name}-backups",
            file_system_id=system.id,
            backup_policy={"status": "ENABLED" if args.backups else "DISABLED"},
            opts=child,
        )
        if args.backups:
            absence_alarm(
                f"{name}-backups",
                description="Shared files have had no backup for two days; new ones ring until their first. "
                "docs/recovery.md#filebackupmissed",
                event={
                    "source": ["aws.backup"],
                    "detail-type": ["Backup Job State Change"],
                    "detail": {"state": ["COMPLETED"], "resourceArn": [system.arn]},
                },
                hours=48,  # daily, and a job may begin up to 8 hours late (AWS Backup, default plan of EFS)
                topic_arn=args.alarm_topic_arn,
                opts=child,
            )
        admission = store_security_group(
            f"{name}-clients",
            description="NFS, from nodes of the cluster",
            vpc_id=args.vpc_id,
            port=NFS_PORT,
            clients=args.client_security_group_ids,
            opts=child,
        )
        targets = [
            efs.MountTarget(
                f"{name}-{number}",
                file_system_id=system.id,
                subnet_id=subnet_id,
                security_groups=[admission.id],
                opts=child,
            )
            for number, subnet_id in enumerate(args.subnet_ids)
        ]
        points = {
            point.name: efs.AccessPoint(
                f"{name}-{point.name}",
                file_system_id=system.id,
                posix_user={"uid": point.user_id, "gid": point.group_id},
                root_directory={
                    "path": f"/{point.name}",
                    "creation_info": {
                        "owner_uid": point.user_id,
                        "owner_gid": point.group_id,
                        "permissions": point.permissions,
                    },
                },
                tags={"Name": f"{name}-{point.name}"},
                opts=child,
            )
            for point in args.access_points
        }
        self.file_system_id = system.id
        # A volume can be mounted once every zone has its target, so its handle is known only then.
        mountable = pulumi.Output.all(system.id, *(target.id for target in targets)).apply(lambda ids: str(ids[0]))
        self.volumes = {name: pulumi.Output.concat(mountable, "::", point.id) for name, point in points.items()}
        self.register_outputs({"fileSystemId": self.file_system_id, "volumes": dict(self.volumes)})


def file_system_policy(arn: pulumi.Input[str], account: Account) -> tuple[Statement, ...]:
    """Read and write through an access point from inside the network, with TLS; nothing else.

    Without an Allow, mounts without IAM credentials, as the CSI driver makes them, would be refused.
    """
    points = f"arn:{account.partition}:elasticfilesystem:{account.region}:{account.id}:access-point/*"
    return (
        Statement(
            sid="MountThroughAccessPoints",
            principal=ANYONE,  # who reaches a mount target is decided by its security group
            actions=("elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"),
            resources=(arn,),
            conditions={
                "Bool": {"elasticfilesystem:AccessedViaMountTarget": "true"},
                "ArnLike": {"elasticfilesystem:AccessPointArn": points},  # any of this file system
            },
        ),
        Statement(
            sid="OnlyWithTls",
            effect="Deny",
            principal=ANYONE,
            actions=("*",),  # a Deny: everything without TLS
            resources=(arn,),
            conditions={"Bool": {"aws:SecureTransport": "false"}},
        ),
    )
