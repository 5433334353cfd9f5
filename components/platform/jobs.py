"""Jobs that run once for each change of what they do, and whose end ``up`` waits for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pulumi
from pulumi_kubernetes import batch, core
from pulumi_kubernetes.meta import v1 as meta

from components.platform.confinement import pod_security


def job_spec(
    pod: core.v1.PodSpecArgs,
    *,
    labels: Mapping[str, str],
    deadline_seconds: int,
    retries: int,
    annotations: Mapping[str, str] | None = None,
) -> batch.v1.JobSpecArgs:
    """Specification of a Job.

    Args:
        pod: What runs.
        labels: Labels of the pod.
        deadline_seconds: When the Job has failed at the latest.
        retries: Pods that may follow the first.
        annotations: Annotations of the pod: what is no part of the Job, and yet makes another Job of it.
    """
    return batch.v1.JobSpecArgs(
        backoff_limit=retries,
        active_deadline_seconds=deadline_seconds,
        template=core.v1.PodTemplateSpecArgs(
            metadata=meta.ObjectMetaArgs(labels=dict(labels), annotations=dict(annotations) if annotations else None),
            spec=pod,
        ),
    )


def errand(
    container: core.v1.ContainerArgs,
    *,
    user: int,
    nodes: Mapping[str, str],
    volumes: Sequence[core.v1.VolumeArgs] = (),
    service_account: pulumi.Input[str] | None = None,
) -> core.v1.PodSpecArgs:
    """A pod of one confined container that comes to an end, without a token of the Kubernetes API.

    Args:
        container: What runs.
        user: Who it runs as.
        nodes: Labels of the nodes to run on.
        volumes: Its volumes; their files belong to the user's group.
        service_account: Its identity; none for the namespace's own, which may do nothing.
    """
    return core.v1.PodSpecArgs(
        restart_policy="Never",  # a pod for each try, so that the log of each is there to read
        service_account_name=service_account,
        automount_service_account_token=False,
        enable_service_links=False,
        node_selector=dict(nodes),
        security_context=pod_security(user, reads_mounts=bool(volumes) or service_account is not None),
        containers=[container],
        volumes=list(volumes) or None,
    )


def awaited_job(
    name: str,
    spec: batch.v1.JobSpecArgs,
    *,
    namespace: str,
    labels: Mapping[str, str],
    deadline_seconds: int,
    opts: pulumi.ResourceOptions,
) -> batch.v1.Job:
    """Declare a Job; ``up`` waits for it a little longer than it may take."""
    patience = f"{deadline_seconds + 60}s"
    return batch.v1.Job(
        name,
        # Without a name of ours the provider gives each version of the job a new one. One that failed is made anew by
        # the next `up`, instead of being waited for.
        metadata=meta.ObjectMetaArgs(
            namespace=namespace, labels=dict(labels), annotations={"pulumi.com/replaceUnready": "true"}
        ),
        spec=spec,
        opts=pulumi.ResourceOptions.merge(
            opts,
            pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(create=patience, update=patience)),
        ),
    )
