"""Storage classes that the cluster component declares."""

from __future__ import annotations

from typing import Any

import pulumi
from pulumi_kubernetes import storage

from sandbox.eks.inputs import Inputs, given, truthy

# Argument and the parameter it becomes.
_PARAMETERS = ("iopsPerGb", "encrypted", "kmsKeyId")


def storage_classes(name: str, wanted: Any, opts: pulumi.ResourceOptions) -> dict[str, storage.v1.StorageClass]:
    """Declare the classes; a bare volume type stands for one class of that type, the default one."""
    classes: Inputs = {wanted: {"type": wanted, "default": True}} if isinstance(wanted, str) else wanted or {}
    return {key: _storage_class(f"{name.lower()}-{key}", value, opts) for key, value in classes.items()}


def _storage_class(name: str, wanted: Inputs, opts: pulumi.ResourceOptions) -> storage.v1.StorageClass:
    parameters: Inputs = {"type": wanted["type"]}
    if truthy(wanted.get("zones")):
        parameters["zones"] = pulumi.Output.from_input(wanted["zones"]).apply(", ".join)
    for parameter in _PARAMETERS:
        if truthy(wanted.get(parameter)):
            parameters[parameter] = pulumi.Output.from_input(wanted[parameter]).apply(_text)
    metadata: Any = pulumi.Output.all(given(wanted, "metadata", {}), wanted.get("default")).apply(
        lambda known: _metadata(known[0], is_default=bool(known[1]))
    )
    return storage.v1.StorageClass(
        name,
        metadata=metadata,
        provisioner="kubernetes.io/aws-ebs",
        parameters=parameters,
        allow_volume_expansion=wanted.get("allowVolumeExpansion"),
        mount_options=wanted.get("mountOptions"),
        reclaim_policy=wanted.get("reclaimPolicy"),
        volume_binding_mode=wanted.get("volumeBindingMode"),
        opts=opts,
    )


def _metadata(metadata: Inputs, *, is_default: bool) -> Inputs:
    if not is_default:
        return metadata
    marked = {**metadata.get("annotations", {}), "storageclass.kubernetes.io/is-default-class": "true"}
    return {**metadata, "annotations": marked}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
