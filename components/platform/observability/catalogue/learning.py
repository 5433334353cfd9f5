"""Metrics of work: Volcano, Ray, operators of jobs, Argo Workflows, Kubeflow Pipelines, MLflow, Milvus."""

from __future__ import annotations

from typing import Final

from components.platform.observability.catalogue.model import Source, metrics

_VOLCANO: Final = Source(
    component="Volcano",
    version="1.15.1",
    documents="https://github.com/volcano-sh/volcano/tree/v1.15.1/pkg/scheduler/metrics",
)
_VOLCANO_CONTROLLERS: Final = Source(
    component="Volcano",
    version="1.15.1",
    documents="https://github.com/volcano-sh/volcano/tree/v1.15.1/pkg/controllers/metrics",
)
_TRAINING_OPERATOR: Final = Source(
    component="Training Operator",
    version="1.9.4",
    documents="https://github.com/kubeflow/trainer/blob/v1.9.4/pkg/common/metrics.go",
)
# Kubeflow Trainer has no metrics of jobs of its own: it makes JobSets.
_JOBSET: Final = Source(
    component="JobSet",
    version="0.12.0",
    documents="https://github.com/kubernetes-sigs/jobset/blob/v0.12.0/pkg/metrics/metrics.go",
)
_KUBERAY: Final = Source(
    component="KubeRay",
    version="1.7.0",
    documents="https://github.com/ray-project/kuberay/tree/v1.7.0/ray-operator/controllers/ray/metrics",
)
_RAY: Final = Source(
    component="Ray",
    version="2.58.0",
    documents="https://docs.ray.io/en/releases-2.58.0/ray-observability/reference/system-metrics.html",
)
_ARGO_WORKFLOWS: Final = Source(
    component="Argo Workflows",
    version="4.0.6",
    documents="https://github.com/argoproj/argo-workflows/blob/v4.0.6/docs/metrics.md",
)
_KUBEFLOW_PIPELINES: Final = Source(
    component="Kubeflow Pipelines",
    version="2.17.0",
    documents="https://github.com/kubeflow/pipelines/tree/2.17.0/backend/src/apiserver",
)
_MLFLOW: Final = Source(
    component="MLflow",
    version="3.17.2",
    documents="https://github.com/mlflow/mlflow/blob/v3.17.2/mlflow/server/prometheus_exporter.py",
    seen=True,
)
_MILVUS: Final = Source(
    component="Milvus",
    version="2.6.15",
    documents="https://github.com/milvus-io/milvus/blob/v2.6.15/pkg/metrics/proxy_metrics.go",
)
# What training code of this platform exports on port 9100 of its pods.
_TRAINING_RUN: Final = Source(
    component="training runs",
    version="1",
    documents="docs/observability.md",
)
# What our own service exports that answers from documents; its monitor adds the retrieval's name.
_RETRIEVAL: Final = Source(component="retrieval", version="1", documents="docs/retrieval.md")

_QUEUE: Final = "queue_name"
_QUEUE_RESOURCE: Final = "queue_name resource"
_RAY_CLUSTER: Final = "ray_io_cluster SessionName Version"
_NODE: Final = f"{_RAY_CLUSTER} ip NodeAddress RayNodeType"
_RUN: Final = "job_name run_id"

METRICS: Final = (
    *metrics(
        _RETRIEVAL,
        "counter",
        {
            "llmops_retrieval_requests_total": "outcome retrieval",
            "llmops_retrieval_failures_total": "stage retrieval",
            "llmops_retrieval_invented_citations_total": "retrieval",
        },
    ),
    *metrics(
        _RETRIEVAL,
        "histogram",
        {
            "llmops_retrieval_stage_seconds": "stage retrieval",
            "llmops_retrieval_passages": "retrieval",
            "llmops_retrieval_best_score": "retrieval",
        },
    ),
    *metrics(
        _VOLCANO,
        "gauge",
        {
            "volcano_queue_allocated_milli_cpu": _QUEUE,
            "volcano_queue_allocated_memory_bytes": _QUEUE,
            "volcano_queue_allocated_scalar_resources": _QUEUE_RESOURCE,
            "volcano_queue_request_scalar_resources": _QUEUE_RESOURCE,
            "volcano_queue_deserved_scalar_resources": _QUEUE_RESOURCE,
            "volcano_queue_capacity_scalar_resources": _QUEUE_RESOURCE,
            "volcano_queue_share": _QUEUE,
            "volcano_queue_overused": _QUEUE,
            "volcano_unschedule_job_count": "",
            "volcano_unschedule_task_count": "job_id",
        },
    ),
    *metrics(
        _VOLCANO,
        "histogram",
        {
            "volcano_e2e_scheduling_latency_milliseconds": "",
            "volcano_e2e_job_scheduling_latency_milliseconds": "",
        },
    ),
    *metrics(_VOLCANO, "counter", {"volcano_schedule_attempts_total": "result"}),
    *metrics(
        _VOLCANO_CONTROLLERS,
        "gauge",
        {
            "volcano_queue_pod_group_pending_count": _QUEUE,
            "volcano_queue_pod_group_inqueue_count": _QUEUE,
            "volcano_queue_pod_group_running_count": _QUEUE,
            "volcano_queue_pod_group_completed_count": _QUEUE,
        },
    ),
    *metrics(
        _VOLCANO_CONTROLLERS,
        "counter",
        {
            "volcano_job_completed_phase_count": "job_name queue_name",
            "volcano_job_failed_phase_count": "job_name queue_name",
        },
    ),
    *metrics(
        _TRAINING_OPERATOR,
        "counter",
        {
            f"training_operator_jobs_{what}_total": "job_namespace framework"
            for what in ("created", "deleted", "successful", "failed", "restarted")
        },
    ),
    *metrics(
        _JOBSET,
        "counter",
        {"jobset_failed_total": "jobset_name namespace", "jobset_completed_total": "jobset_name namespace"},
    ),
    *metrics(
        _KUBERAY,
        "gauge",
        {
            "kuberay_cluster_info": "name namespace uid owner_kind",
            "kuberay_cluster_condition_provisioned": "name namespace uid condition",
            "kuberay_job_info": "name namespace uid",
            "kuberay_job_deployment_status": "name namespace uid deployment_status",
            "kuberay_job_execution_duration_seconds": "name namespace uid job_deployment_status retry_count",
        },
    ),
    *metrics(
        _RAY,
        "gauge",
        {
            "ray_cluster_active_nodes": f"{_RAY_CLUSTER} node_type",
            "ray_cluster_failed_nodes": f"{_RAY_CLUSTER} node_type",
            "ray_cluster_pending_nodes": f"{_RAY_CLUSTER} node_type",
            "ray_node_cpu_utilization": _NODE,
            "ray_node_cpu_count": _NODE,
            "ray_node_mem_used": _NODE,
            "ray_node_mem_total": _NODE,
            "ray_node_disk_usage": _NODE,
            "ray_node_disk_free": _NODE,
            "ray_node_gpus_utilization": f"{_NODE} GpuIndex GpuDeviceName",
            "ray_object_store_memory": f"{_NODE} Location ObjectState",
            "ray_tasks": f"{_RAY_CLUSTER} State Name IsRetry JobId",
            "ray_actors": f"{_RAY_CLUSTER} State Name JobId",
            "ray_resources": f"{_NODE} Name State",
        },
    ),
    *metrics(_RAY, "counter", {"ray_node_manager_unexpected_worker_failure_total": _NODE}),
    *metrics(
        _ARGO_WORKFLOWS,
        "counter",
        {
            "argo_workflows_total_count": "phase namespace",
            "argo_workflows_error_count": "cause",
            "argo_workflows_cronworkflows_triggered_total": "name namespace",
            "argo_workflows_pods_total_count": "phase namespace",
            "argo_workflows_pod_missing": "node_phase recently_started",
            "argo_workflows_queue_adds_count": "queue_name",
        },
    ),
    *metrics(
        _ARGO_WORKFLOWS,
        "gauge",
        {
            "argo_workflows_gauge": "phase",
            "argo_workflows_pods_gauge": "phase",
            "argo_workflows_queue_depth_gauge": "queue_name",
            "argo_workflows_is_leader": "",
            "argo_workflows_workers_busy_count": "worker_type",
            "argo_workflows_llmops_flow_created_seconds": "flow status",  # templates of releases declare it
        },
    ),
    *metrics(
        _ARGO_WORKFLOWS,
        "histogram",
        {
            "argo_workflows_operation_duration_seconds": "",
            "argo_workflows_queue_latency": "queue_name",
            "argo_workflows_queue_duration": "queue_name",
            "argo_workflows_workflowtemplate_runtime": "name namespace cluster_scope",
        },
    ),
    *metrics(
        _KUBEFLOW_PIPELINES,
        "counter",
        {
            "resource_manager_workflow_runs_success": "",
            "resource_manager_workflow_runs_failed": "",
        },
    ),
    *metrics(
        _KUBEFLOW_PIPELINES,
        "gauge",
        {"run_server_run_count": "", "job_server_job_count": "", "resource_manager_recurring_run_report_gap": ""},
    ),
    *metrics(_MLFLOW, "counter", {"mlflow_http_request_total": "method status"}),
    *metrics(_MLFLOW, "histogram", {"mlflow_http_request_duration_seconds": "method status mlflow_version"}),
    *metrics(
        _MILVUS,
        "counter",
        {
            "milvus_proxy_req_count": "node_id function_name status db_name collection_name",
            "milvus_proxy_search_vectors_count": "node_id db_name collection_name",
            "milvus_proxy_insert_vectors_count": "node_id db_name collection_name",
            "milvus_proxy_rate_limit_req_count": "node_id msg_type status",
        },
    ),
    *metrics(
        _MILVUS,
        "histogram",
        {
            "milvus_proxy_sq_latency": "node_id query_type db_name collection_name",
            "milvus_proxy_mutation_latency": "node_id msg_type db_name collection_name",
            "milvus_proxy_req_latency": "node_id function_name",
        },
    ),
    *metrics(
        _TRAINING_RUN,
        "gauge",
        {
            "llmops_training_loss": _RUN,
            "llmops_training_learning_rate": _RUN,
            "llmops_training_tokens_per_second": _RUN,
        },
    ),
)
"""Every metric of this part."""
