"""The cluster: nodes, pods, volumes, the platform's own deployments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from components.platform.observability.rules.facts import SiteFacts
from components.platform.observability.rules.model import DAY, HOUR, MINUTE, NOW, Alert, Group, promql
from components.platform.observability.rules.promql import by_team

_FULL: Final = 0.1
"""Share of a disk or volume that must be free."""

# Models are watched by their own rules: they may have no server.
_NO_MODEL: Final = 'deployment!~".+-predictor"'
_PLATFORM: Final = 'namespace!~"team-.+"'
_DISKS: Final = 'fstype!~"tmpfs|overlay|squashfs|erofs|ramfs",mountpoint!~"/(proc|sys|run|dev).*"'

_POD: Final = "{{ $labels.namespace }}/{{ $labels.pod }}"


def groups(facts: SiteFacts) -> Iterator[Group]:
    """Rules about the cluster; they need no system but the cluster's own."""
    del facts  # the same for every stack
    yield Group(name="kubernetes.nodes", rules=_NODES)
    yield Group(name="kubernetes.pods", rules=_PODS)
    yield Group(name="kubernetes.deployments", rules=_DEPLOYMENTS)
    yield Group(name="kubernetes.volumes", rules=_VOLUMES)


_NODES: Final = (
    Alert(
        name="NodeNotReady",
        # A node that is being removed is not ready either.
        expression=(
            'max by (node) (kube_node_status_condition{condition="Ready",status="true"}) == 0'
            " and on(node) kube_node_spec_unschedulable == 0"
        ),
        lasting=10 * MINUTE,
        severity="critical",
        summary="{{ $labels.node }} is not ready",
        description="Its kubelet does not answer. Pods on it are started elsewhere where there is room.",
        page="kubernetes",
        dashboard="platform",
    ),
    Alert(
        name="NodeUnderPressure",
        expression=(
            'max by (node, condition) (kube_node_status_condition{condition=~"(Disk|Memory|PID)Pressure",'
            'status="true"}) == 1'
        ),
        lasting=5 * MINUTE,
        severity="warning",
        summary="{{ $labels.node }} reports {{ $labels.condition }}",
        description="It takes no further pods and evicts some of those that it has.",
        page="kubernetes",
        dashboard="platform",
    ),
    Alert(
        name="NodeDiskFilling",
        expression=f"node_filesystem_avail_bytes{{{_DISKS}}} / node_filesystem_size_bytes{{{_DISKS}}} < {_FULL:g}",
        lasting=15 * MINUTE,
        severity="warning",
        summary="{{ $labels.mountpoint }} of {{ $labels.instance }} is nearly full",
        description="{{ $value | humanizePercentage }} are free. The kubelet removes images, and then pods.",
        page="kubernetes",
        dashboard="platform",
    ),
    Alert(
        name="ApiServerErrors",
        expression=(
            'sum(rate(apiserver_request_total{code=~"5.."}[5m])) / sum(rate(apiserver_request_total[5m])) > 0.03'
        ),
        lasting=10 * MINUTE,
        severity="warning",
        summary="The Kubernetes API answers with errors",
        description="{{ $value | humanizePercentage }} of its answers are 5xx: controllers and scaling stand still.",
        page="kubernetes",
        dashboard="platform",
    ),
)

_PODS: Final = (
    Alert(
        name="PodCrashLooping",
        expression=by_team(
            "max by (namespace, pod, container) (max_over_time("
            'kube_pod_container_status_waiting_reason{reason="CrashLoopBackOff"}[5m])) >= 1'
        ),
        lasting=15 * MINUTE,
        severity="warning",
        summary=f"{_POD} starts and ends, again and again",
        description="Container {{ $labels.container }}.",
        page="kubernetes",
        dashboard="platform",
    ),
    Alert(
        name="PodImageMissing",
        expression=by_team(
            "max by (namespace, pod, container) (kube_pod_container_status_waiting_reason{"
            'reason=~"ImagePullBackOff|ErrImagePull|InvalidImageName"}) == 1'
        ),
        lasting=15 * MINUTE,
        severity="warning",
        summary=f"{_POD} has no image",
        description="Container {{ $labels.container }}: it is not in the registry, or may not be pulled.",
        page="kubernetes",
        dashboard="platform",
    ),
    Alert(
        name="PodOutOfMemory",
        expression=by_team(
            "max by (namespace, pod, container) ("
            f"increase(kube_pod_container_status_restarts_total[{promql(10 * MINUTE)}]) > 0"
            " and on(namespace, pod, container) "
            'kube_pod_container_status_last_terminated_reason{reason="OOMKilled"} == 1)'
        ),
        lasting=NOW,
        severity="warning",
        summary=f"{_POD} was ended for its memory",
        description="Container {{ $labels.container }} reached its limit and was started anew.",
        page="kubernetes",
        dashboard="platform",
    ),
    Alert(
        name="JobFailed",
        # What Ray's operator submits by a job is told of by Ray's job.
        expression=(
            f'max by (namespace, job_name) (kube_job_failed{{{_PLATFORM},namespace!="mlops-training",'
            'job_name!~"milvus-backup-.+",condition="true"}) == 1'
            ' unless on(namespace, job_name) kube_job_owner{owner_kind="RayJob"}'
        ),
        lasting=NOW,
        severity="warning",
        summary="The job {{ $labels.namespace }}/{{ $labels.job_name }} failed",
        description="One of the platform's own jobs has used up its attempts. It is told of until the job is removed.",
        page="kubernetes",
        dashboard="platform",
    ),
)

_DEPLOYMENTS: Final = (
    Alert(
        name="SystemDown",
        expression=(
            f"kube_deployment_status_replicas_available{{{_PLATFORM},{_NO_MODEL}}} == 0 and on(namespace, deployment) "
            f"kube_deployment_spec_replicas{{{_PLATFORM},{_NO_MODEL}}} > 0"
        ),
        lasting=10 * MINUTE,
        severity="critical",
        summary="{{ $labels.namespace }}/{{ $labels.deployment }} is down",
        description="A part of the platform has no pod that answers.",
        page="kubernetes",
        dashboard="platform",
        labels={"kind": "deployment"},
    ),
    Alert(
        name="SystemDown",
        expression=(
            f"kube_statefulset_status_replicas_ready{{{_PLATFORM}}} == 0 and on(namespace, statefulset) "
            f"kube_statefulset_replicas{{{_PLATFORM}}} > 0"
        ),
        lasting=10 * MINUTE,
        severity="critical",
        summary="{{ $labels.namespace }}/{{ $labels.statefulset }} is down",
        description="A part of the platform has no pod that answers.",
        page="kubernetes",
        dashboard="platform",
        labels={"kind": "statefulset"},
    ),
    Alert(
        name="SystemDegraded",
        expression=(
            f"max by (namespace, deployment) (kube_deployment_spec_replicas{{{_PLATFORM},{_NO_MODEL}}})"
            " - max by (namespace, deployment) "
            f"(kube_deployment_status_replicas_available{{{_PLATFORM},{_NO_MODEL}}}) > 0"
        ),
        lasting=30 * MINUTE,
        severity="warning",
        summary="{{ $labels.namespace }}/{{ $labels.deployment }} lacks replicas",
        description="{{ $value }} pods are missing: the next node that goes may take the system with it.",
        page="kubernetes",
        dashboard="platform",
        labels={"kind": "deployment"},
    ),
    Alert(
        name="SystemDegraded",
        expression=(
            f"max by (namespace, daemonset) (kube_daemonset_status_desired_number_scheduled{{{_PLATFORM}}})"
            f" - max by (namespace, daemonset) (kube_daemonset_status_number_ready{{{_PLATFORM}}}) > 0"
        ),
        lasting=30 * MINUTE,
        severity="warning",
        summary="{{ $labels.namespace }}/{{ $labels.daemonset }} is missing on nodes",
        description="On {{ $value }} nodes its pod does not run.",
        page="kubernetes",
        dashboard="platform",
        labels={"kind": "daemonset"},
    ),
)

_FREE: Final = "kubelet_volume_stats_available_bytes / kubelet_volume_stats_capacity_bytes"

_VOLUMES: Final = (
    Alert(
        name="VolumeNearlyFull",
        expression=by_team(f"max by (namespace, persistentvolumeclaim) ({_FREE}) < {_FULL:g}"),
        lasting=15 * MINUTE,
        severity="warning",
        summary="The volume {{ $labels.namespace }}/{{ $labels.persistentvolumeclaim }} is nearly full",
        description="{{ $value | humanizePercentage }} are free.",
        page="kubernetes",
        dashboard="platform",
    ),
    Alert(
        name="VolumeFillsSoon",
        expression=by_team(
            f"max by (namespace, persistentvolumeclaim) ({_FREE}) < 0.3 and on(namespace, persistentvolumeclaim) "
            "max by (namespace, persistentvolumeclaim) "
            f"(predict_linear(kubelet_volume_stats_available_bytes[{promql(6 * HOUR)}], "
            f"{round(DAY.total_seconds())})) < 0"
        ),
        lasting=HOUR,
        severity="critical",
        summary="The volume {{ $labels.namespace }}/{{ $labels.persistentvolumeclaim }} is full within a day",
        description="{{ $value | humanizePercentage }} are free, and at the pace of the last six hours none tomorrow.",
        page="kubernetes",
        dashboard="platform",
    ),
)
