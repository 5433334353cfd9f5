"""Metrics of what keeps the platform in order: Argo CD, cert-manager, External Secrets, Velero."""

from __future__ import annotations

from typing import Final

from components.platform.observability.catalogue.model import Source, metrics

_ARGO_CD: Final = Source(
    component="Argo CD",
    version="3.4.4",
    documents="https://github.com/argoproj/argo-cd/blob/v3.4.4/docs/operator-manual/metrics.md",
)
_CERT_MANAGER: Final = Source(
    component="cert-manager",
    version="1.21.1",
    documents="https://github.com/cert-manager/cert-manager/tree/v1.21.1/internal/collectors",
)
_EXTERNAL_SECRETS: Final = Source(
    component="External Secrets",
    version="2.9.0",
    documents="https://github.com/external-secrets/external-secrets/blob/v2.9.0/docs/api/metrics.md",
)
_VELERO: Final = Source(
    component="Velero",
    version="1.18.1",
    documents="https://github.com/vmware-tanzu/velero/blob/v1.18.1/pkg/metrics/metrics.go",
)

_APPLICATION: Final = "name namespace project dest_server"
_CERTIFICATE: Final = "name namespace issuer_name issuer_kind issuer_group"

METRICS: Final = (
    *metrics(
        _ARGO_CD,
        "gauge",
        {
            "argocd_app_info": (
                f"{_APPLICATION} autosync_enabled repo dest_namespace sync_status health_status operation"
            ),
            "argocd_app_condition": f"{_APPLICATION} condition",
            "argocd_cluster_connection_status": "server k8s_version",
        },
    ),
    *metrics(
        _ARGO_CD,
        "counter",
        {
            "argocd_app_sync_total": f"{_APPLICATION} phase dry_run",
            "argocd_git_fetch_fail_total": "repo",
            "argocd_git_request_total": "repo request_type",
        },
    ),
    *metrics(_ARGO_CD, "histogram", {"argocd_app_reconcile": "namespace dest_server"}),
    *metrics(
        _CERT_MANAGER,
        "gauge",
        {
            "certmanager_certificate_ready_status": f"{_CERTIFICATE} condition",
            "certmanager_certificate_expiration_timestamp_seconds": _CERTIFICATE,
            "certmanager_certificate_renewal_timestamp_seconds": _CERTIFICATE,
            "certmanager_clusterissuer_ready_status": "name condition",
            "certmanager_issuer_ready_status": "name namespace condition",
        },
    ),
    *metrics(
        _EXTERNAL_SECRETS,
        "gauge",
        {
            "externalsecret_status_condition": "name namespace condition status",
            "clustersecretstore_status_condition": "name namespace condition status",
        },
    ),
    *metrics(
        _EXTERNAL_SECRETS,
        "counter",
        {
            "externalsecret_sync_calls_total": "name namespace",
            "externalsecret_sync_calls_error": "name namespace",
            "externalsecret_provider_api_calls_count": "provider call status",
        },
    ),
    *metrics(
        _VELERO,
        "gauge",
        {
            "velero_backup_last_status": "schedule",
            "velero_backup_last_successful_timestamp": "schedule",
            "velero_backup_location_status_gauge": "backup_location_name",
            "velero_backup_items_errors": "schedule",
        },
    ),
    *metrics(
        _VELERO,
        "counter",
        {
            "velero_backup_attempt_total": "schedule",
            "velero_backup_success_total": "schedule",
            "velero_backup_failure_total": "schedule",
            "velero_backup_partial_failure_total": "schedule",
            "velero_csi_snapshot_failure_total": "schedule backup_name",
        },
    ),
)
"""Every metric of this part."""
