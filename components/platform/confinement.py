"""How the platform's own pods are confined, and how they get their files and variables.

The restricted level of Kubernetes' pod security, and a root file system that nothing writes to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pulumi
from pulumi_kubernetes import core

CONTAINER_SECURITY: Final[Mapping[str, Any]] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
}
"""The least that the restricted level asks of a container, as values of charts and manifests have it."""


def pod_security(user: int, *, reads_mounts: bool = True, large_volume: bool = False) -> core.v1.PodSecurityContextArgs:
    """The restricted level, as ``user`` and the group of the same number.

    Args:
        user: A user that the image knows, or any where it needs none.
        reads_mounts: Mounted Secrets, volumes and the identity's token belong to the group.
        large_volume: A mounted volume is left as it is where its root belongs to the group already.
    """
    return core.v1.PodSecurityContextArgs(
        run_as_non_root=True,
        run_as_user=user,
        run_as_group=user,
        fs_group=user if reads_mounts else None,
        fs_group_change_policy="OnRootMismatch" if large_volume else None,
        seccomp_profile=core.v1.SeccompProfileArgs(type="RuntimeDefault"),
    )


def container_security() -> core.v1.SecurityContextArgs:
    """Nothing can be written but what is mounted for it."""
    return core.v1.SecurityContextArgs(
        allow_privilege_escalation=False,
        read_only_root_filesystem=True,
        capabilities=core.v1.CapabilitiesArgs(drop=["ALL"]),
    )


def resources(cpu: str, memory: str, memory_limit: str) -> core.v1.ResourceRequirementsArgs:
    """Requests, and a limit of memory."""
    return core.v1.ResourceRequirementsArgs(requests={"cpu": cpu, "memory": memory}, limits={"memory": memory_limit})


def plain(values: Mapping[str, pulumi.Input[str]]) -> list[core.v1.EnvVarArgs]:
    """Variables that are no secret."""
    return [core.v1.EnvVarArgs(name=key, value=value) for key, value in values.items()]


def from_secret(variable: str, secret: str, key: str) -> core.v1.EnvVarArgs:
    """A variable that is read from a Secret."""
    reference = core.v1.SecretKeySelectorArgs(name=secret, key=key)
    return core.v1.EnvVarArgs(name=variable, value_from=core.v1.EnvVarSourceArgs(secret_key_ref=reference))


def mount(name: str, path: str, *, read_only: bool = False) -> core.v1.VolumeMountArgs:
    """A volume in a container."""
    return core.v1.VolumeMountArgs(name=name, mount_path=path, read_only=read_only)


def scratch(name: str, size: str) -> core.v1.VolumeArgs:
    """Room that goes with the pod."""
    return core.v1.VolumeArgs(name=name, empty_dir=core.v1.EmptyDirVolumeSourceArgs(size_limit=size))


def secret_files(name: str, secret: str) -> core.v1.VolumeArgs:
    """A Secret as files; the kubelet holds the pod back until it is there."""
    return core.v1.VolumeArgs(name=name, secret=core.v1.SecretVolumeSourceArgs(secret_name=secret, default_mode=0o440))


def config_files(name: str, config_map: pulumi.Input[str]) -> core.v1.VolumeArgs:
    """A ConfigMap as files."""
    return core.v1.VolumeArgs(name=name, config_map=core.v1.ConfigMapVolumeSourceArgs(name=config_map))
