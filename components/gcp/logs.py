"""The control plane's logs, the record of API calls among them, kept as long as the settings say."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_gcp import logging

from components.gcp.project import Project, unique


@dataclass(frozen=True, kw_only=True)
class ClusterLogsArgs:
    """What the logs need.

    Attributes:
        prefix: ``<project>-<stack>``; the cluster's name, and the beginning of the log bucket's.
        project: Where they are kept.
        retention_days: How long; what Google keeps by itself is gone after 30.
    """

    prefix: str
    project: Project
    retention_days: int


class ClusterLogs(pulumi.ComponentResource):
    """A log bucket in the stack's region, and what goes there.

    Google's own key encrypts it: which account would use ours, only the project's logging settings say.
    """

    bucket_name: pulumi.Output[str]

    def __init__(self, name: str, args: ClusterLogsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:gcp:ClusterLogs", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        bucket = logging.ProjectBucketConfig(
            f"{name}-bucket",
            project=args.project.id,
            location=args.project.region,
            bucket_id=unique(f"{name}-bucket", f"{args.prefix}-cluster", self),
            description="Control plane and audit of the Kubernetes API",
            retention_days=args.retention_days,
            opts=child,
        )
        logging.ProjectSink(
            f"{name}-sink",
            name=f"{args.prefix}-cluster",
            destination=pulumi.Output.concat("logging.googleapis.com/", bucket.id),
            filter=selected(args.prefix),
            unique_writer_identity=True,  # a bucket of the same project lets it in
            opts=child,
        )
        self.bucket_name = bucket.id
        self.register_outputs({"bucketName": self.bucket_name})


def selected(cluster: str) -> str:
    """Logs of the control plane and of who called it; those of nodes and pods are not of type ``k8s_cluster``."""
    return (
        f'resource.labels.cluster_name="{cluster}" AND '
        'resource.type=("k8s_cluster" OR "k8s_control_plane_component" OR "gke_cluster")'
    )
