"""The control plane's logs, the record of API calls among them, kept as long as the settings say."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_gcp import kms, logging

from components.gcp.project import Project, unique


@dataclass(frozen=True, kw_only=True)
class ClusterLogsArgs:
    """What the logs need.

    Attributes:
        prefix: ``<project>-<stack>``; the cluster's name, and the beginning of the log bucket's.
        project: Where they are kept.
        kms_key: Key that encrypts them, in the project's region.
        retention_days: How long; what Google keeps by itself is gone after 30.
    """

    prefix: str
    project: Project
    kms_key: pulumi.Input[str]
    retention_days: int


class ClusterLogs(pulumi.ComponentResource):
    """A log bucket in the stack's region, and what goes there."""

    bucket_name: pulumi.Output[str]

    def __init__(self, name: str, args: ClusterLogsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:gcp:ClusterLogs", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        kms_key = pulumi.Output.from_input(args.kms_key)
        # Cloud Logging's account has no name that follows from the project's number: the project's settings say it.
        # They are asked once the key is there, and so the project's APIs.
        settings = logging.get_project_cmek_settings_output(
            project=kms_key.apply(lambda _: args.project.id), opts=pulumi.InvokeOutputOptions(parent=self)
        )
        grant = kms.CryptoKeyIAMMember(
            f"{name}-key",
            crypto_key_id=kms_key,
            role="roles/cloudkms.cryptoKeyEncrypterDecrypter",
            member=pulumi.Output.concat("serviceAccount:", settings.service_account_id),
            opts=child,
        )
        bucket = logging.ProjectBucketConfig(
            f"{name}-bucket",
            project=args.project.id,
            location=args.project.region,
            bucket_id=unique(f"{name}-bucket", f"{args.prefix}-cluster", self),
            description="Control plane and audit of the Kubernetes API",
            retention_days=args.retention_days,
            # The key is of use once the service may use it: its name is taken from the grant.
            cmek_settings={"kms_key_name": grant.crypto_key_id},
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
