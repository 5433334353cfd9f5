"""What a client of the cache needs to trust it, where no public authority signs its certificate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pulumi
from pulumi_kubernetes import core
from pulumi_kubernetes.meta import v1 as meta

from components.platform.confinement import config_files, mount
from components.platform.openings import Namespace
from components.platform.site import Site

_NAME: Final = "cache-ca"
_FOLDER: Final = "/etc/cache-ca"
_FILE: Final = "ca.pem"

CA_PATH: Final = f"{_FOLDER}/{_FILE}"
"""Where the container finds the certificates to trust."""


def is_private(site: Site) -> bool:
    """Whether an authority signs that is not in every image's list."""
    return site.foundation.cache.ca_certificates is not None


def certificates(
    name: str, *, namespace: Namespace, site: Site, parent: pulumi.Resource
) -> tuple[pulumi.Resource, ...]:
    """The certificates in a namespace; nothing where a public authority signs. They are no secret."""
    known = site.foundation.cache.ca_certificates
    if known is None:
        return ()
    kept = core.v1.ConfigMap(
        f"{name}-cache-ca",
        metadata=meta.ObjectMetaArgs(name=_NAME, namespace=namespace),
        data={_FILE: known},
        opts=pulumi.ResourceOptions(parent=parent, depends_on=list(site.namespaces[namespace])),
    )
    return (kept,)


def volumes(site: Site) -> Sequence[core.v1.VolumeArgs]:
    """The volume of a pod; the kubelet holds the pod back until it is there."""
    return [config_files(_NAME, _NAME)] if is_private(site) else []


def mounts(site: Site) -> Sequence[core.v1.VolumeMountArgs]:
    """The mount of a container."""
    return [mount(_NAME, _FOLDER, read_only=True)] if is_private(site) else []
