"""Metrics of the cluster itself: objects, nodes, containers, volumes, its autoscalers."""

from __future__ import annotations

from typing import Final

from components.platform.observability.catalogue.model import Source, metrics

_OBJECTS: Final = Source(
    component="kube-state-metrics",
    version="2.20.0",
    documents="https://github.com/kubernetes/kube-state-metrics/tree/v2.20.0/docs/metrics",
)
_NODES: Final = Source(
    component="node exporter",
    version="1.12.1",
    documents="https://github.com/prometheus/node_exporter#enabled-by-default",
    seen=True,
)
_KUBELET: Final = Source(
    component="kubelet",
    version="1.35",
    documents="https://kubernetes.io/docs/reference/instrumentation/metrics/",
)
_CADVISOR: Final = Source(
    component="kubelet, cAdvisor",
    version="1.35",
    documents="https://github.com/google/cadvisor/blob/master/docs/storage/prometheus.md",
)
_API_SERVER: Final = Source(
    component="Kubernetes API server",
    version="1.35",
    documents="https://kubernetes.io/docs/reference/instrumentation/metrics/",
)
_AUTOSCALER: Final = Source(
    component="cluster autoscaler",
    version="1.35.2",
    documents="https://github.com/kubernetes/autoscaler/blob/cluster-autoscaler-1.35.2/cluster-autoscaler/metrics/metrics.go",
)
_LOAD_BALANCERS: Final = Source(
    component="AWS load balancer controller",
    version="3.5.0",
    documents="https://github.com/kubernetes-sigs/aws-load-balancer-controller/tree/v3.5.0/pkg/metrics",
)
_KEDA: Final = Source(
    component="KEDA",
    version="2.20.2",
    documents="https://github.com/kedacore/keda/blob/v2.20.2/pkg/metricscollector/prommetrics.go",
)

_POD: Final = "namespace pod uid"
_CONTAINER: Final = f"{_POD} container"
_DEPLOYMENT: Final = "namespace deployment"
_STATEFUL_SET: Final = "namespace statefulset"
_DAEMON_SET: Final = "namespace daemonset"
_JOB: Final = "namespace job_name"
_CRON_JOB: Final = "namespace cronjob"
_CLAIM: Final = "namespace persistentvolumeclaim"
_DISK: Final = "device fstype mountpoint"
_SCALER: Final = "namespace metric scaledObject scaler triggerIndex type"
_SCALE: Final = "namespace horizontalpodautoscaler"

METRICS: Final = (
    *metrics(
        _OBJECTS,
        "gauge",
        {
            "kube_pod_info": f"{_POD} host_ip pod_ip node created_by_kind created_by_name priority_class",
            "kube_pod_labels": _POD,
            "kube_pod_owner": f"{_POD} owner_kind owner_name owner_is_controller",
            "kube_pod_created": _POD,
            "kube_pod_start_time": _POD,
            "kube_pod_completion_time": _POD,
            "kube_pod_status_phase": f"{_POD} phase",
            "kube_pod_status_ready": f"{_POD} condition",
            "kube_pod_status_ready_time": _POD,
            "kube_pod_status_scheduled_time": _POD,
            "kube_pod_status_unschedulable": _POD,
            "kube_pod_status_reason": f"{_POD} reason",
            "kube_pod_container_status_waiting_reason": f"{_CONTAINER} reason",
            "kube_pod_container_status_last_terminated_reason": f"{_CONTAINER} reason",
            "kube_pod_container_resource_requests": f"{_CONTAINER} node resource unit",
            "kube_pod_container_resource_limits": f"{_CONTAINER} node resource unit",
            "kube_deployment_created": _DEPLOYMENT,
            "kube_deployment_spec_replicas": _DEPLOYMENT,
            "kube_deployment_status_replicas": _DEPLOYMENT,
            "kube_deployment_status_replicas_ready": _DEPLOYMENT,
            "kube_deployment_status_replicas_available": _DEPLOYMENT,
            "kube_deployment_labels": _DEPLOYMENT,
            "kube_statefulset_replicas": _STATEFUL_SET,
            "kube_statefulset_status_replicas_ready": _STATEFUL_SET,
            "kube_daemonset_status_desired_number_scheduled": _DAEMON_SET,
            "kube_daemonset_status_number_ready": _DAEMON_SET,
            "kube_job_status_failed": f"{_JOB} reason",
            "kube_job_status_active": _JOB,
            "kube_job_status_succeeded": _JOB,
            "kube_job_failed": f"{_JOB} condition",
            "kube_job_complete": f"{_JOB} condition",
            "kube_job_owner": f"{_JOB} owner_kind owner_name owner_is_controller",
            "kube_cronjob_created": _CRON_JOB,
            "kube_cronjob_spec_suspend": _CRON_JOB,
            "kube_cronjob_status_last_schedule_time": _CRON_JOB,
            "kube_cronjob_status_last_successful_time": _CRON_JOB,
            "kube_resourcequota": "namespace resourcequota resource type",
            "kube_namespace_labels": "namespace",
            "kube_namespace_status_phase": "namespace phase",
            "kube_persistentvolumeclaim_info": f"{_CLAIM} storageclass volumename volumemode",
            "kube_persistentvolumeclaim_resource_requests_storage_bytes": _CLAIM,
            "kube_horizontalpodautoscaler_spec_max_replicas": _SCALE,
            "kube_horizontalpodautoscaler_spec_min_replicas": _SCALE,
            "kube_horizontalpodautoscaler_status_current_replicas": _SCALE,
            "kube_horizontalpodautoscaler_status_desired_replicas": _SCALE,
            "kube_node_info": "node kernel_version os_image container_runtime_version kubelet_version provider_id",
            "kube_node_labels": "node",
            "kube_node_created": "node",
            "kube_node_spec_unschedulable": "node",
            "kube_node_spec_taint": "node key value effect",
            "kube_node_status_condition": "node condition status",
            "kube_node_status_capacity": "node resource unit",
            "kube_node_status_allocatable": "node resource unit",
        },
    ),
    *metrics(
        _OBJECTS,
        "counter",
        {
            "kube_pod_container_status_restarts_total": _CONTAINER,
            "kube_state_metrics_list_total": "resource result",
            "kube_state_metrics_watch_total": "resource result",
        },
    ),
    *metrics(
        _NODES,
        "gauge",
        {
            "node_filesystem_avail_bytes": _DISK,
            "node_filesystem_size_bytes": _DISK,
            "node_filesystem_files_free": _DISK,
            "node_filesystem_files": _DISK,
            "node_memory_MemAvailable_bytes": "",
            "node_memory_MemTotal_bytes": "",
            "node_load1": "",
            "node_uname_info": "nodename sysname release version machine domainname",
        },
    ),
    *metrics(
        _NODES,
        "counter",
        {
            "node_cpu_seconds_total": "cpu mode",
            "node_network_receive_bytes_total": "device",
            "node_network_transmit_bytes_total": "device",
            "node_disk_read_bytes_total": "device",
            "node_disk_written_bytes_total": "device",
            "node_vmstat_oom_kill": "",
        },
    ),
    *metrics(
        _KUBELET,
        "gauge",
        {
            "kubelet_volume_stats_available_bytes": "namespace persistentvolumeclaim",
            "kubelet_volume_stats_capacity_bytes": "namespace persistentvolumeclaim",
            "kubelet_volume_stats_used_bytes": "namespace persistentvolumeclaim",
            "kubelet_volume_stats_inodes_free": "namespace persistentvolumeclaim",
            "kubelet_volume_stats_inodes": "namespace persistentvolumeclaim",
        },
    ),
    *metrics(
        _CADVISOR,
        "counter",
        {
            "container_cpu_usage_seconds_total": "namespace pod container image cpu",
            "container_cpu_cfs_throttled_periods_total": "namespace pod container image",
            "container_cpu_cfs_periods_total": "namespace pod container image",
            "container_network_receive_bytes_total": "namespace pod interface",
            "container_network_transmit_bytes_total": "namespace pod interface",
        },
    ),
    *metrics(
        _CADVISOR,
        "gauge",
        {
            "container_memory_working_set_bytes": "namespace pod container image",
            "container_fs_usage_bytes": "namespace pod container image device",
        },
    ),
    *metrics(
        _API_SERVER,
        "counter",
        {"apiserver_request_total": "verb resource subresource group version scope component code dry_run"},
    ),
    *metrics(
        _API_SERVER,
        "histogram",
        {"apiserver_request_duration_seconds": "verb resource subresource group version scope component dry_run"},
    ),
    *metrics(
        _AUTOSCALER,
        "gauge",
        {
            "cluster_autoscaler_cluster_safe_to_autoscale": "",
            "cluster_autoscaler_nodes_count": "state",
            "cluster_autoscaler_max_nodes_count": "",
            "cluster_autoscaler_unschedulable_pods_count": "type",
            "cluster_autoscaler_unneeded_nodes_count": "",
        },
    ),
    *metrics(
        _AUTOSCALER,
        "counter",
        {
            "cluster_autoscaler_errors_total": "type",
            "cluster_autoscaler_failed_scale_ups_total": "reason",
            "cluster_autoscaler_scaled_up_nodes_total": "",
            "cluster_autoscaler_scaled_down_nodes_total": "reason",
        },
    ),
    *metrics(
        _LOAD_BALANCERS,
        "counter",
        {
            "awslbc_controller_reconcile_errors_total": "controller error_category",
            "aws_api_call_permission_errors_total": "service operation status_code error_code",
        },
    ),
    *metrics(
        _KEDA,
        "gauge",
        {
            "keda_scaler_metrics_value": _SCALER,
            "keda_scaler_active": _SCALER,
            "keda_scaler_metrics_latency_seconds": _SCALER,
            "keda_scaled_object_paused": "namespace scaledObject",
        },
    ),
    *metrics(
        _KEDA,
        "counter",
        {
            "keda_scaler_detail_errors_total": _SCALER,
            "keda_scaled_object_errors_total": "namespace scaledObject",
        },
    ),
)
"""Every metric of this part."""
