"""Metrics of model serving: the model gateway, vLLM, Triton, activation, GPUs."""

from __future__ import annotations

from typing import Final

from components.platform.observability.catalogue.model import Source, metrics

_LITELLM: Final = Source(
    component="LiteLLM",
    version="1.108.7",
    documents="https://docs.litellm.ai/docs/proxy/prometheus",
    seen=True,
)
_VLLM: Final = Source(
    component="vLLM",
    version="0.28.0",
    documents="https://docs.vllm.ai/en/v0.28.0/usage/metrics/",
)
# vLLM's HTTP layer counts requests with prometheus-fastapi-instrumentator.
_VLLM_HTTP: Final = Source(
    component="vLLM",
    version="0.28.0",
    documents="https://github.com/vllm-project/vllm/blob/v0.28.0/docs/design/metrics.md",
)
_TRITON: Final = Source(
    component="Triton",
    version="2.71.0",
    documents="https://github.com/triton-inference-server/server/blob/v2.71.0/docs/user_guide/metrics.md",
)
_TENSORRT_LLM: Final = Source(
    component="Triton",
    version="2.71.0",
    documents="https://github.com/triton-inference-server/tensorrtllm_backend#triton-metrics",
)
_HTTP_ADD_ON: Final = Source(
    component="KEDA HTTP add-on",
    version="0.15.0",
    documents="https://github.com/kedacore/http-add-on/blob/v0.15.0/interceptor/metrics/instruments.go",
)
_HTTP_ADD_ON_SCALER: Final = Source(
    component="KEDA HTTP add-on scaler",
    version="0.15.0",
    documents="https://github.com/kedacore/http-add-on/blob/v0.15.0/scaler/metrics/instruments.go",
)
_DCGM: Final = Source(
    component="DCGM exporter",
    version="4.5.3-4.8.2",
    documents="https://github.com/NVIDIA/dcgm-exporter/blob/4.5.3-4.8.2/etc/default-counters.csv",
)

_CALLER: Final = "end_user hashed_api_key api_key_alias requested_model team team_alias user model_id api_provider"
_CALL: Final = f"{_CALLER} model user_email"
_LATENCY: Final = f"{_CALLER} model_group model service_tier"
_CACHED: Final = "end_user hashed_api_key api_key_alias team team_alias user model model_id api_provider"
_CALLED: Final = "hashed_api_key api_key_alias team team_alias client_ip user_agent requested_model model_group"
_FALLBACK: Final = (
    "requested_model fallback_model hashed_api_key api_key_alias team team_alias exception_status exception_class "
    "model_id"
)
_DEPLOYMENT: Final = "litellm_model_name model_id api_base api_provider"
_TEAM: Final = "team team_alias"
_MODEL: Final = "model_name engine"
_TRITON_MODEL: Final = "model version"
_GPU: Final = "gpu UUID pci_bus_id device modelName Hostname namespace pod container"

METRICS: Final = (
    *metrics(
        _LITELLM,
        "counter",
        {
            "litellm_proxy_total_requests_metric_total": (
                f"{_CALLER} status_code user_email route client_ip user_agent"
            ),
            "litellm_proxy_failed_requests_metric_total": (
                f"{_CALLER} user_email exception_status exception_class route client_ip user_agent"
            ),
            "litellm_requests_metric_total": f"{_CALL} client_ip user_agent",
            "litellm_spend_metric_total": f"{_CALL} client_ip user_agent service_tier",
            "litellm_total_tokens_metric_total": _CALL,
            "litellm_input_tokens_metric_total": _CALL,
            "litellm_output_tokens_metric_total": _CALL,
            "litellm_input_cached_tokens_metric_total": _CALL,
            "litellm_cache_hits_metric_total": _CACHED,
            "litellm_cache_misses_metric_total": _CACHED,
            "litellm_cached_tokens_metric_total": _CACHED,
            "litellm_postgres_failed_requests_total": "postgres error_class function_name",
            "litellm_postgres_total_requests_total": "postgres",
            "litellm_redis_failed_requests_total": "redis error_class function_name",
            "litellm_redis_total_requests_total": "redis",
            "litellm_deployment_cooled_down_total": f"{_DEPLOYMENT} exception_status",
            "litellm_deployment_success_responses_total": f"{_DEPLOYMENT} {_CALLED}",
            "litellm_deployment_failure_responses_total": f"{_DEPLOYMENT} {_CALLED} exception_status exception_class",
            "litellm_deployment_total_requests_total": f"{_DEPLOYMENT} {_CALLED}",
            "litellm_deployment_successful_fallbacks_total": _FALLBACK,
            "litellm_deployment_failed_fallbacks_total": _FALLBACK,
        },
    ),
    *metrics(
        _LITELLM,
        "gauge",
        {
            "litellm_remaining_team_budget_metric": _TEAM,
            "litellm_team_max_budget_metric": _TEAM,
            "litellm_team_budget_remaining_hours_metric": _TEAM,
            "litellm_deployment_state": _DEPLOYMENT,
            "litellm_in_flight_requests": "",
        },
    ),
    *metrics(
        _LITELLM,
        "histogram",
        {
            "litellm_request_total_latency_metric": _LATENCY,
            "litellm_llm_api_latency_metric": _LATENCY,
            "litellm_llm_api_time_to_first_token_metric": _LATENCY,
            "litellm_request_queue_time_seconds": f"{_CALLER} model",
            "litellm_overhead_latency_metric": f"{_DEPLOYMENT} model_group hashed_api_key api_key_alias",
            "litellm_deployment_latency_per_output_token": (
                f"{_DEPLOYMENT} model_group hashed_api_key api_key_alias team team_alias"
            ),
        },
    ),
    *metrics(
        _VLLM,
        "gauge",
        {
            "vllm:num_requests_running": _MODEL,
            "vllm:num_requests_waiting": _MODEL,
            "vllm:kv_cache_usage_perc": _MODEL,
            "vllm:cache_config_info": "engine block_size num_gpu_blocks gpu_memory_utilization cache_dtype",
        },
    ),
    *metrics(
        _VLLM,
        "counter",
        {
            "vllm:num_preemptions_total": _MODEL,
            "vllm:prefix_cache_queries_total": _MODEL,
            "vllm:prefix_cache_hits_total": _MODEL,
            "vllm:prompt_tokens_total": _MODEL,
            "vllm:generation_tokens_total": _MODEL,
            "vllm:request_success_total": f"{_MODEL} finished_reason",
        },
    ),
    *metrics(
        _VLLM,
        "histogram",
        {
            "vllm:time_to_first_token_seconds": _MODEL,
            "vllm:inter_token_latency_seconds": _MODEL,
            "vllm:request_time_per_output_token_seconds": _MODEL,
            "vllm:e2e_request_latency_seconds": _MODEL,
            "vllm:request_queue_time_seconds": _MODEL,
            "vllm:request_inference_time_seconds": _MODEL,
            "vllm:request_prefill_time_seconds": _MODEL,
            "vllm:request_decode_time_seconds": _MODEL,
            "vllm:request_prompt_tokens": _MODEL,
            "vllm:request_generation_tokens": _MODEL,
            "vllm:iteration_tokens_total": _MODEL,
        },
    ),
    *metrics(_VLLM_HTTP, "counter", {"http_requests_total": "handler method status"}),
    *metrics(_VLLM_HTTP, "histogram", {"http_request_duration_seconds": "handler method"}),
    *metrics(
        _TRITON,
        "counter",
        {
            "nv_inference_request_success": _TRITON_MODEL,
            "nv_inference_request_failure": f"{_TRITON_MODEL} reason",
            "nv_inference_count": _TRITON_MODEL,
            "nv_inference_exec_count": _TRITON_MODEL,
            "nv_inference_request_duration_us": _TRITON_MODEL,
            "nv_inference_queue_duration_us": _TRITON_MODEL,
            "nv_inference_compute_input_duration_us": _TRITON_MODEL,
            "nv_inference_compute_infer_duration_us": _TRITON_MODEL,
            "nv_inference_compute_output_duration_us": _TRITON_MODEL,
        },
    ),
    *metrics(
        _TRITON,
        "gauge",
        {
            "nv_inference_pending_request_count": _TRITON_MODEL,
            "nv_gpu_utilization": "gpu_uuid",
            "nv_gpu_memory_total_bytes": "gpu_uuid",
            "nv_gpu_memory_used_bytes": "gpu_uuid",
        },
    ),
    *metrics(
        _TENSORRT_LLM,
        "gauge",
        {
            "nv_trt_llm_request_metrics": "model version request_type",
            "nv_trt_llm_runtime_memory_metrics": "model version memory_type",
            "nv_trt_llm_kv_cache_block_metrics": "model version kv_cache_block_type",
            "nv_trt_llm_inflight_batcher_metrics": "model version inflight_batcher_specific_metric",
            "nv_trt_llm_general_metrics": "model version general_type",
        },
    ),
    *metrics(
        _HTTP_ADD_ON,
        "counter",
        {"interceptor_request_count_total": "code method route_name route_namespace"},
    ),
    *metrics(_HTTP_ADD_ON, "gauge", {"interceptor_request_concurrency": "route_name route_namespace"}),
    *metrics(
        _HTTP_ADD_ON,
        "histogram",
        {"interceptor_request_duration_seconds": "code method route_name route_namespace"},
    ),
    *metrics(_HTTP_ADD_ON_SCALER, "gauge", {"scaler_pinger_unreachable_pods": "", "scaler_pinger_endpoints": ""}),
    *metrics(_HTTP_ADD_ON_SCALER, "counter", {"scaler_pinger_fetch_errors_total": ""}),
    *metrics(
        _DCGM,
        "gauge",
        {
            "DCGM_FI_DEV_SM_CLOCK": _GPU,
            "DCGM_FI_DEV_MEM_CLOCK": _GPU,
            "DCGM_FI_DEV_MEMORY_TEMP": _GPU,
            "DCGM_FI_DEV_GPU_TEMP": _GPU,
            "DCGM_FI_DEV_POWER_USAGE": _GPU,
            "DCGM_FI_DEV_GPU_UTIL": _GPU,
            "DCGM_FI_DEV_MEM_COPY_UTIL": _GPU,
            "DCGM_FI_DEV_XID_ERRORS": f"{_GPU} err_code err_msg",
            "DCGM_FI_DEV_FB_FREE": _GPU,
            "DCGM_FI_DEV_FB_USED": _GPU,
            "DCGM_FI_DEV_ROW_REMAP_FAILURE": _GPU,
            "DCGM_FI_PROF_GR_ENGINE_ACTIVE": _GPU,
            "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE": _GPU,
            "DCGM_FI_PROF_DRAM_ACTIVE": _GPU,
            "DCGM_FI_PROF_PCIE_TX_BYTES": _GPU,
            "DCGM_FI_PROF_PCIE_RX_BYTES": _GPU,
        },
    ),
    *metrics(
        _DCGM,
        "counter",
        {
            "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION": _GPU,
            "DCGM_FI_DEV_PCIE_REPLAY_COUNTER": _GPU,
            "DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL": _GPU,
            "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS": _GPU,
            "DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS": _GPU,
            "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL": _GPU,
            "DCGM_FI_DEV_POWER_VIOLATION": _GPU,
            "DCGM_FI_DEV_THERMAL_VIOLATION": _GPU,
        },
    ),
)
"""Every metric of this part."""
