"""Helm releases: one resource for each chart, at the pinned version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
from pulumi_kubernetes.helm import v3 as helm

from components.versions import CHARTS, ChartName


def release(
    name: str,
    chart: ChartName,
    *,
    release_name: str,
    namespace: str,
    values: Mapping[str, Any],
    parent: pulumi.Resource,
    after: Sequence[pulumi.Resource] = (),
    timeout_seconds: int = 600,
) -> helm.Release:
    """Install a chart and wait until it is ready.

    Args:
        name: Name of the Pulumi resource.
        chart: Which chart; its version is in :mod:`components.versions`.
        release_name: Name of the release; chart objects are named after it, so a change renames, and replaces, them.
        namespace: An existing namespace.
        values: Values of the chart; what is not set keeps the chart's default.
        parent: The component; its Kubernetes provider is used.
        after: What no value flows from and must be there first: the namespace, roles, other systems' webhooks.
        timeout_seconds: How long it may take to become ready; on failure the release is rolled back.
    """
    pinned = CHARTS[chart]
    oci = pinned.repository.startswith("oci://")
    return helm.Release(
        name,
        name=release_name,
        chart=f"{pinned.repository}/{pinned.name}" if oci else pinned.name,
        version=pinned.version,
        repository_opts=None if oci else helm.RepositoryOptsArgs(repo=pinned.repository),
        namespace=namespace,
        create_namespace=False,
        values=values,
        atomic=True,
        timeout=timeout_seconds,
        opts=pulumi.ResourceOptions(parent=parent, depends_on=list(after)),
    )
