"""Metrics of the mesh and of the public gateway: Istio's control plane, its proxies, rate limits."""

from __future__ import annotations

from typing import Final

from components.platform.observability.catalogue.model import Source, metrics

_GATEWAY: Final = Source(
    component="Istio gateway",
    version="1.30.3",
    documents="https://istio.io/v1.30/docs/reference/config/metrics/",
)
# ztunnel sees connections only; requests are counted where something reads HTTP.
_ZTUNNEL: Final = Source(
    component="ztunnel",
    version="1.30.3",
    documents="https://istio.io/v1.30/docs/reference/config/metrics/",
)
_ISTIOD: Final = Source(
    component="istiod",
    version="1.30.3",
    documents="https://istio.io/v1.30/docs/reference/commands/pilot-discovery/#metrics",
)
_CNI: Final = Source(
    component="Istio CNI",
    version="1.30.3",
    documents="https://github.com/istio/istio/tree/1.30.3/cni/pkg",
)
_RATE_LIMITS: Final = Source(
    component="rate limit service",
    version="05c08d03",
    documents="https://github.com/envoyproxy/ratelimit/blob/main/src/stats/prom/default_mapper.yaml",
)

_ENDS: Final = (
    "reporter source_workload source_workload_namespace source_principal source_app destination_workload "
    "destination_workload_namespace destination_principal destination_app destination_service "
    "destination_service_name destination_service_namespace request_protocol response_flags "
    "connection_security_policy"
)
_REQUEST: Final = f"{_ENDS} response_code"
_LIMIT: Final = "domain key1 key2"

METRICS: Final = (
    *metrics(_GATEWAY, "counter", {"istio_requests_total": _REQUEST}),
    *metrics(
        _GATEWAY,
        "histogram",
        {
            "istio_request_duration_milliseconds": _REQUEST,
            "istio_request_bytes": _REQUEST,
            "istio_response_bytes": _REQUEST,
        },
    ),
    *metrics(
        _ZTUNNEL,
        "counter",
        {
            "istio_tcp_connections_opened_total": _ENDS,
            "istio_tcp_connections_closed_total": _ENDS,
            "istio_tcp_sent_bytes_total": _ENDS,
            "istio_tcp_received_bytes_total": _ENDS,
        },
    ),
    *metrics(
        _ISTIOD,
        "counter",
        {
            "pilot_total_xds_rejects": "type",
            "pilot_total_xds_internal_errors": "",
            "pilot_xds_pushes": "type",
            "galley_validation_failed": "group version resource reason",
        },
    ),
    *metrics(
        _ISTIOD,
        "gauge",
        {"pilot_xds": "version", "citadel_server_root_cert_expiry_timestamp": "", "pilot_info": "version"},
    ),
    *metrics(_ISTIOD, "histogram", {"pilot_proxy_convergence_time": ""}),
    *metrics(_CNI, "gauge", {"istio_cni_install_ready": "", "ztunnel_connected": ""}),
    *metrics(
        _RATE_LIMITS,
        "counter",
        {
            "ratelimit_service_rate_limit_total_hits": _LIMIT,
            "ratelimit_service_rate_limit_over_limit": _LIMIT,
            "ratelimit_service_rate_limit_near_limit": _LIMIT,
            "ratelimit_service_rate_limit_within_limit": _LIMIT,
            "ratelimit_service_should_rate_limit_error": "err_type",
            "ratelimit_service_config_load_error": "",
            "ratelimit_service_total_requests": "grpc_method",
        },
    ),
    *metrics(_RATE_LIMITS, "histogram", {"ratelimit_service_response_time_seconds": "grpc_method"}),
)
"""Every metric of this part."""
