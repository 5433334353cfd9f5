"""Weights on a shared file system: a static volume for one version, mounted read-only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pulumi
from pulumi_kubernetes.core import v1 as core
from pulumi_kubernetes.meta import v1 as meta

from components.platform.names import name_of
from components.platform.site import Site

# Shared file systems have no size of their own; Kubernetes wants one, and quotas count it.
_NOMINAL = "1Gi"


def shared_volume(
    name: str,
    *,
    claim: str,
    namespace: str,
    handle: pulumi.Input[str],
    attributes: Mapping[str, pulumi.Input[str]],
    site: Site,
    parent: pulumi.Resource,
    after: Sequence[pulumi.Resource],
) -> tuple[pulumi.Resource, ...]:
    """Declare a volume and its claim.

    Args:
        name: Prefix of the Pulumi resources; unique in the stack, so also the volume's name.
        claim: Name of the claim.
        namespace: Its namespace.
        handle: The file system, as its CSI driver knows it.
        attributes: What the driver wants besides.
        site: Where it is installed.
        parent: The model's component.
        after: The namespace.
    """
    opts = pulumi.ResourceOptions(parent=parent, depends_on=list(after))
    volume = core.PersistentVolume(
        f"{name}-weights",
        metadata=meta.ObjectMetaArgs(name=f"{namespace}-{claim}"),
        spec=core.PersistentVolumeSpecArgs(
            capacity={"storage": _NOMINAL},
            access_modes=["ReadOnlyMany"],
            persistent_volume_reclaim_policy="Retain",  # the weights are not this volume's
            storage_class_name="",
            claim_ref=core.ObjectReferenceArgs(
                api_version="v1", kind="PersistentVolumeClaim", name=claim, namespace=namespace
            ),
            csi=core.CSIPersistentVolumeSourceArgs(
                driver=site.foundation.files.csi_driver,
                volume_handle=handle,
                volume_attributes=dict(attributes) or None,
                read_only=True,
            ),
        ),
        opts=opts,
    )
    claimed = core.PersistentVolumeClaim(
        f"{name}-weights",
        metadata=meta.ObjectMetaArgs(name=claim, namespace=namespace),
        spec=core.PersistentVolumeClaimSpecArgs(
            access_modes=["ReadOnlyMany"],
            storage_class_name="",
            volume_name=name_of(volume),
            resources=core.VolumeResourceRequirementsArgs(requests={"storage": _NOMINAL}),
        ),
        opts=opts,
    )
    return (volume, claimed)
