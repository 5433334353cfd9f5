"""What a stack tells its users: names and addresses; no credential."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi

from components.contract import Foundation


def export(foundation: Foundation, workloads: Mapping[str, Any]) -> None:
    """Export the stack's outputs; ``workloads`` is what people want to know of each, by kind and name."""
    cluster = foundation.cluster
    pulumi.export("cloud", foundation.cloud)
    pulumi.export("region", foundation.region)
    pulumi.export("clusterName", cluster.name)
    pulumi.export("kubernetesVersion", cluster.kubernetes_version)
    pulumi.export("clusterEndpoint", cluster.endpoint)
    # No secret, but pages long: `pulumi stack output kubeconfig --show-secrets` prints it when it is wanted.
    pulumi.export("kubeconfig", pulumi.Output.secret(cluster.kubeconfig))
    pulumi.export(
        "nodeGroups",
        {
            pool.name: {
                "role": pool.role,
                "instanceTypes": [shape.instance_type for shape in pool.shapes],
                "nodes": f"{pool.min_size}-{pool.max_size}",
                "capacity": "spot" if pool.spot else "on-demand",
            }
            for pool in cluster.pools
        },
    )
    pulumi.export("buckets", {role: bucket.url for role, bucket in foundation.objects.buckets.items()})
    if foundation.objects.link_signer is not None:
        pulumi.export("artifactLinks", foundation.objects.link_signer)
    pulumi.export("databaseHost", foundation.database.host)
    pulumi.export("cacheHost", foundation.cache.host)
    pulumi.export("secrets", {purpose: ref.key for purpose, ref in foundation.secrets.entries.items()})
    pulumi.export("registry", foundation.registry.host)
    pulumi.export("modelVolumes", dict(foundation.files.volumes))
    for kind, known in workloads.items():
        pulumi.export(kind, dict(known))
