"""What is read of the cluster's own servers, which are no pods: every kubelet, and the API server."""

from __future__ import annotations

from typing import Any, Final

from components.platform.observability.monitors.model import WITH_TOKEN, metric_relabelings

KUBELET_SERVICE: Final = "kubelet"
"""Service in ``kube-system`` that the operator makes, with every node behind it."""

# A kubelet shows about 60 series for each container; these are what rules and dashboards read.
_CONTAINERS: Final = (
    "container_cpu_(cfs_periods_total|cfs_throttled_periods_total|usage_seconds_total)",
    "container_fs_(limit_bytes|usage_bytes|reads_bytes_total|writes_bytes_total)",
    "container_memory_(cache|rss|working_set_bytes)",
    "container_network_(receive|transmit)_(bytes|errors|packets_dropped)_total",
    "container_(oom_events_total|start_time_seconds)",
    "machine_(cpu_cores|memory_bytes)",
)
_KUBELET: Final = (
    "kubelet_(certificate_manager_.*|evictions|node_name|pleg_relist_duration_seconds_.*|running_(containers|pods))",
    "kubelet_(pod_start_duration_seconds|pod_worker_duration_seconds|image_pull_duration_seconds)_.*",
    "kubelet_(runtime_operations|runtime_operations_errors|started_pods_errors|started_containers_errors)_total",
    "kubelet_volume_stats_.*",
    "storage_operation_duration_seconds_count",
    "volume_manager_total_volumes",
    "process_(cpu_seconds_total|resident_memory_bytes|start_time_seconds|open_fds|max_fds)",
    "kubernetes_build_info",
)
# The API server shows some 100,000 series; these are what tells whether it answers, and who is refused.
_API_SERVER: Final = (
    "apiserver_(current_inflight_requests|request_total|request_terminations_total|storage_size_bytes)",
    "apiserver_(requested_deprecated_apis|dropped_requests_total|client_certificate_expiration_seconds_.*)",
    "apiserver_request_duration_seconds_(bucket|count|sum)",
    "apiserver_admission_webhook_(fail_open_count|rejection_count|request_total)",
    "apiserver_admission_webhook_admission_duration_seconds_(bucket|count|sum)",
    "aggregator_unavailable_apiservice(_total)?",
    "process_(cpu_seconds_total|resident_memory_bytes|start_time_seconds)",
    "kubernetes_build_info",
)
# What has no bounds, and of histograms the bounds that an objective could name.
_BOUNDS: Final = {
    "sourceLabels": ["__name__", "le"],
    "action": "keep",
    "regex": r".+;|.+_bucket;(0\.05|0\.1|0\.5|1|5|10|60|\+Inf)(\.0)?",
}

KUBELET: Final[dict[str, Any]] = {
    "namespaceSelector": {"matchNames": ["kube-system"]},
    "selector": {"matchLabels": {"app.kubernetes.io/name": "kubelet", "k8s-app": "kubelet"}},
    "scrapeClass": WITH_TOKEN,
    "endpoints": [
        {
            "port": "https-metrics",
            "scheme": "https",
            "path": path,
            "honorLabels": True,  # namespace, pod and container are those that it speaks of
            "honorTimestamps": timestamps,
            "relabelings": [
                {"targetLabel": "job", "replacement": "kubelet"},
                {"sourceLabels": ["__metrics_path__"], "targetLabel": "metrics_path"},
                {"sourceLabels": ["__meta_kubernetes_endpointslice_address_target_name"], "targetLabel": "node"},
            ],
            "metricRelabelings": [
                *metric_relabelings(keep, ()),
                # Sums over all containers of a node or a pod, and of what is no container.
                {"sourceLabels": ["id", "pod"], "action": "drop", "regex": ".+;"},
            ],
        }
        for path, keep, timestamps in (
            ("/metrics", _KUBELET, True),
            # With cAdvisor's own times a container's last values stay for five minutes after its end.
            ("/metrics/cadvisor", _CONTAINERS, False),
            ("/metrics/probes", ("prober_probe_total",), True),
        )
    ],
}
"""Specification of the ServiceMonitor of every kubelet."""

API_SERVER: Final[dict[str, Any]] = {
    "namespaceSelector": {"matchNames": ["default"]},
    "selector": {"matchLabels": {"component": "apiserver", "provider": "kubernetes"}},
    "scrapeClass": WITH_TOKEN,
    "endpoints": [
        {
            "port": "https",
            "scheme": "https",
            "path": "/metrics",
            "relabelings": [{"targetLabel": "job", "replacement": "apiserver"}],
            "metricRelabelings": [*metric_relabelings(_API_SERVER, ()), _BOUNDS],
        }
    ],
}
"""Specification of the ServiceMonitor of the API server."""
