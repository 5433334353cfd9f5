"""EKS add-ons that need nodes: DNS, metrics, volumes, snapshots; and the default storage class."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi
import pulumi_kubernetes as kubernetes
from pulumi_aws import eks, iam
from pulumi_kubernetes.storage import v1 as storage

from components.aws.identity import ClusterIssuer, WorkloadIdentity, WorkloadIdentityArgs
from components.aws.policy import Statement
from components.versions import AddonName

STORAGE_CLASS: Final = "gp3"
_BLOCK_DRIVER: Final = "ebs.csi.aws.com"


def addon(
    name: str,
    kind: AddonName,
    *,
    cluster_name: pulumi.Input[str],
    versions: Mapping[AddonName, str],
    role_arn: pulumi.Input[str] | None = None,
    configuration: Mapping[str, Any] | None = None,
    opts: pulumi.ResourceOptions,
) -> eks.Addon:
    """One pinned add-on; the program owns its configuration, so what was changed by hand is set back."""
    return eks.Addon(
        name,
        cluster_name=cluster_name,
        addon_name=kind,
        addon_version=versions[kind],
        service_account_role_arn=role_arn,
        configuration_values=json.dumps(configuration, sort_keys=True) if configuration else None,
        resolve_conflicts_on_create="OVERWRITE",
        resolve_conflicts_on_update="OVERWRITE",
        opts=opts,
    )


@dataclass(frozen=True, kw_only=True)
class AddonsArgs:
    """What the add-ons need.

    Attributes:
        cluster_name: Name of the cluster.
        provider: Applies objects to it.
        issuer: Who signs its pods' tokens.
        versions: Version of every add-on.
        system_node_labels: Where the controllers run.
        storage_key_arn: Key of the volumes.
        volume_tags: Tags of the volumes, which the driver makes and default tags do not reach.
        mounted_bucket_arns: Buckets that pods may mount, to read.
        objects_key_arn: Key of these buckets.
        nodes: Groups that must be up first: an add-on with a controller is only ready on a node.
    """

    cluster_name: pulumi.Input[str]
    provider: kubernetes.Provider
    issuer: ClusterIssuer
    versions: Mapping[AddonName, str]
    system_node_labels: Mapping[str, str]
    storage_key_arn: pulumi.Input[str]
    volume_tags: Mapping[str, str]
    mounted_bucket_arns: Sequence[pulumi.Input[str]]
    objects_key_arn: pulumi.Input[str]
    nodes: Sequence[pulumi.Resource]


class Addons(pulumi.ComponentResource):
    """DNS, metrics and storage; they come up side by side."""

    default_storage_class: str
    snapshot_driver: str
    """Driver of the default class; the snapshot controller works with it."""
    ready: tuple[pulumi.Resource, ...]
    """What pods need: DNS, volume drivers, the default storage class; for ``depends_on``. Metrics too: a namespace does
    not go away while an aggregated API does not answer, so their server outlives the namespaces."""
    dns: pulumi.Resource
    """DNS alone, for what needs no volumes."""

    def __init__(self, name: str, args: AddonsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:aws:Addons", name, None, opts)
        self._name, self._args = name, args
        on_system = {"nodeSelector": dict(args.system_node_labels)}

        dns = self._addon("coredns", configuration=on_system)
        metrics = self._addon("metrics-server", configuration=on_system)
        snapshots = self._addon("snapshot-controller", configuration=on_system)
        block = self._addon(
            "aws-ebs-csi-driver",
            identity=self._identity(
                "ebs-csi",
                "ebs-csi-controller-sa",
                policy="service-role/AmazonEBSCSIDriverPolicy",
                statements=use_volume_key(args.storage_key_arn),
            ),
            configuration={"controller": {**on_system, "extraVolumeTags": dict(args.volume_tags)}},
        )
        files = self._addon(
            "aws-efs-csi-driver",
            identity=self._identity("efs-csi", "efs-csi-controller-sa", policy="service-role/AmazonEFSCSIDriverPolicy"),
            configuration={"controller": on_system},
        )
        # Of the node plugins only this one does not tolerate taints by itself, and models are read on GPU nodes.
        objects = self._addon(
            "aws-mountpoint-s3-csi-driver",
            identity=self._identity(
                "s3-csi",
                "s3-csi-driver-sa",
                statements=read_buckets(args.mounted_bucket_arns, args.objects_key_arn),
            ),
            configuration={"node": {"tolerateAllTaints": True}},
        )
        # EKS' own gp2 class is no default.
        default = storage.StorageClass(
            f"{name}-{STORAGE_CLASS}",
            metadata={"name": STORAGE_CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
            provisioner=_BLOCK_DRIVER,
            parameters={"type": "gp3", "encrypted": "true", "kmsKeyId": args.storage_key_arn},
            volume_binding_mode="WaitForFirstConsumer",  # the volume follows the pod into its zone
            allow_volume_expansion=True,
            reclaim_policy="Delete",
            opts=pulumi.ResourceOptions(parent=self, provider=args.provider),
        )
        self.default_storage_class = STORAGE_CLASS
        self.snapshot_driver = _BLOCK_DRIVER
        self.dns = dns
        self.ready = (dns, metrics, snapshots, block, files, objects, default)
        self.register_outputs({"defaultStorageClass": self.default_storage_class})

    def _addon(
        self, kind: AddonName, *, configuration: Mapping[str, Any], identity: WorkloadIdentity | None = None
    ) -> eks.Addon:
        waits = [*self._args.nodes, *(identity.ready if identity else ())]
        return addon(
            f"{self._name}-{kind}",
            kind,
            cluster_name=self._args.cluster_name,
            versions=self._args.versions,
            role_arn=identity.role_arn if identity else None,
            configuration=configuration,
            opts=pulumi.ResourceOptions(parent=self, depends_on=waits),
        )

    def _identity(
        self, kind: str, service_account: str, *, policy: str | None = None, statements: Sequence[Statement] = ()
    ) -> WorkloadIdentity:
        """The role of one driver: AWS' own policy for it where there is one, and what the keys and data need."""
        identity = WorkloadIdentity(
            f"{self._name}-{kind}",
            WorkloadIdentityArgs(
                issuer=self._args.issuer,
                namespace="kube-system",
                service_account=service_account,
                statements=statements,
            ),
            pulumi.ResourceOptions(parent=self),
        )
        if policy:
            attachment = iam.RolePolicyAttachment(
                f"{self._name}-{kind}",
                role=identity.role_name,
                policy_arn=f"arn:aws:iam::aws:policy/{policy}",
                opts=pulumi.ResourceOptions(parent=identity),
            )
            identity.ready = (*identity.ready, attachment)
        return identity


def use_volume_key(key_arn: pulumi.Input[str]) -> tuple[Statement, ...]:
    """What the EBS driver needs beside its own policy to make and attach encrypted volumes."""
    return (
        Statement(
            sid="UseVolumeKey",
            # Wildcards: the variants with and without plaintext, and from and to.
            actions=("kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"),
            resources=[key_arn],
        ),
        Statement(
            sid="LendVolumeKey",
            actions=("kms:CreateGrant",),
            resources=[key_arn],
            conditions={"Bool": {"kms:GrantIsForAWSResource": "true"}},  # to EC2 for a volume, to nobody else
        ),
    )


def read_buckets(bucket_arns: Sequence[pulumi.Input[str]], key_arn: pulumi.Input[str]) -> tuple[Statement, ...]:
    """What the S3 driver needs to mount buckets for reading; nothing when there are none."""
    if not bucket_arns:
        return ()
    return (
        Statement(sid="ListMounted", actions=("s3:ListBucket",), resources=list(bucket_arns)),
        Statement(
            sid="ReadMounted",
            actions=("s3:GetObject",),
            resources=[pulumi.Output.concat(arn, "/*") for arn in bucket_arns],  # every object of these buckets
        ),
        Statement(sid="DecryptMounted", actions=("kms:Decrypt",), resources=[key_arn]),
    )
