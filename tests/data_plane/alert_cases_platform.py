"""Series for the alerts about the platform: capacity, traffic, delivery, backups, the cluster, the watchers."""

from __future__ import annotations

from collections.abc import Iterator

from tests.data_plane.alert_case import Case, grows, level
from tests.data_plane.alert_cases_work import late

SPOT = {"llmops/role": "gpu-training", "llmops/node-group": "gpu-training-spot"}
_SPOT = 'label_llmops_node_group="gpu-training-spot",label_llmops_role="gpu-training"'


def _scheduling() -> Iterator[Case]:
    quota = 'kube_resourcequota{namespace="team-research",resourcequota="capacity",resource="requests.cpu",type="%s"}'
    yield Case(
        alert="QuotaNearlyUsed",
        fires={quota % "hard": level(100), quota % "used": level(91)},
        quiet={quota % "hard": level(100), quota % "used": level(90)},
    )
    waits = 'kube_pod_status_unschedulable{namespace="mlops-data",pod="p"}'
    yield Case(alert="PodUnschedulable", fires={waits: level(1)}, quiet={waits: "_x45 1x20"})
    gangs = 'volcano_queue_pod_group_%s_count{queue_name="research"}'
    yield Case(
        alert="GangWaiting",
        minutes=90,
        fires={gangs % "pending": level(1, 95), gangs % "inqueue": level(0, 95)},
        quiet={gangs % "pending": level(0, 95), gangs % "inqueue": level(0, 95)},
    )
    held = 'volcano_queue_%s_scalar_resources{queue_name="research",resource="nvidia.com/gpu"}'
    yield Case(
        alert="QueueNearlyFull",
        minutes=90,
        fires={held % "allocated": level(10, 95), held % "capacity": level(10, 95)},
        quiet={held % "allocated": level(9, 95), held % "capacity": level(10, 95)},
    )
    failed = 'cluster_autoscaler_failed_scale_ups_total{reason="OutOfResource"}'
    yield Case(alert="NodesCannotBeAdded", fires={failed: grows(1)}, quiet={failed: level(3)})
    scaler = 'keda_scaled_object_errors_total{namespace="mlops-serving",scaledObject="m"}'
    yield Case(alert="ScalingFailing", fires={scaler: grows(1)}, quiet={scaler: level(3)})

    def cordoned(*nodes: str, own: bool = False) -> dict[str, str]:
        series: dict[str, str] = {}
        for node in nodes:
            series[f'kube_node_spec_unschedulable{{node="{node}"}}'] = level(1)
            series[f'kube_node_labels{{node="{node}",{_SPOT}}}'] = level(1)
            if own:
                taint = f'node="{node}",key="ToBeDeletedByClusterAutoscaler",effect="NoSchedule"'
                series[f"kube_node_spec_taint{{{taint}}}"] = level(1)
        return series

    yield Case(alert="SpotNodeTaken", fires=cordoned("a"), quiet=cordoned("a", own=True))
    yield Case(alert="SpotNodesScarce", fires=cordoned("a", "b", "c", "d"), quiet=cordoned("a", "b", "c"))


def _traffic() -> Iterator[Case]:
    requests = (
        'istio_requests_total{reporter="source",source_workload="istio-ingress",destination_service_name="litellm",'
        'response_code="%s"}'
    )
    yield Case(
        alert="GatewayErrors",
        fires={requests % "200": grows(94), requests % "503": grows(6)},
        quiet={requests % "200": grows(95), requests % "503": grows(5)},
    )
    yield Case(
        alert="GatewayRefusesRequests",
        fires={requests % "200": grows(79), requests % "429": grows(21)},
        quiet={requests % "200": grows(80), requests % "429": grows(20)},
    )
    uncounted = 'ratelimit_service_should_rate_limit_error{err_type="redis_error"}'
    yield Case(alert="RateLimitsFailing", fires={uncounted: grows(1)}, quiet={uncounted: level(2)})
    refused = 'pilot_total_xds_rejects{type="rds"}'
    yield Case(alert="MeshConfigurationRejected", fires={refused: grows(1)}, quiet={refused: level(4)})
    convergence = 'pilot_proxy_convergence_time{pod="istiod-1"}'
    yield Case(
        alert="MeshConfigurationSlow",
        fires=late(convergence, "30", "60", in_time=98),
        quiet=late(convergence, "30", "60", in_time=99),
    )
    root, month = "citadel_server_root_cert_expiry_timestamp", 30 * 86400
    yield Case(alert="MeshRootExpiring", fires={root: level(3500 + month)}, quiet={root: level(3600 + month)})
    ready = 'istio_cni_install_ready{node="a",pod="istio-cni-1"}'
    yield Case(alert="MeshNodeNotReady", fires={ready: level(0)}, quiet={ready: level(1)})


def _delivery() -> Iterator[Case]:
    app = 'argocd_app_info{name="litellm",project="platform",repo="https://git",sync_status="%s",health_status="%s"}'
    yield Case(
        alert="ApplicationOutOfSync",
        minutes=90,
        fires={app % ("OutOfSync", "Healthy"): level(1, 95)},
        quiet={app % ("Synced", "Healthy"): level(1, 95)},
    )
    yield Case(
        alert="ApplicationDegraded",
        fires={app % ("Synced", "Degraded"): level(1)},
        quiet={app % ("Synced", "Progressing"): level(1)},
    )
    syncs = 'argocd_app_sync_total{name="litellm",project="platform",phase="%s"}'
    yield Case(
        alert="ApplicationSyncFailed",
        fires={syncs % "Failed": "0x50 1x20"},
        quiet={syncs % "Succeeded": "0x50 1x20"},
    )
    name = 'namespace="istio-ingress",name="gateway",issuer_name="private",issuer_kind="ClusterIssuer"'
    ready = f'certmanager_certificate_ready_status{{{name},condition="True"}}'
    yield Case(alert="CertificateNotReady", fires={ready: level(0)}, quiet={ready: level(1)})
    # It is looked at after 600 minutes, 36 000 s; six hours are 21 600 s.
    renewal = f"certmanager_certificate_renewal_timestamp_seconds{{{name}}}"
    yield Case(
        alert="CertificateRenewalOverdue",
        minutes=600,
        every=10,
        fires={renewal: level(14_000, 610)},
        quiet={renewal: level(14_400, 610)},
    )
    end = f"certmanager_certificate_expiration_timestamp_seconds{{{name}}}"
    yield Case(
        alert="CertificateExpiring",
        fires={end: level(3600 + 3 * 86400 - 1)},
        quiet={end: level(3600 + 3 * 86400)},
    )
    issuer = 'certmanager_clusterissuer_ready_status{name="private",condition="True"}'
    yield Case(alert="IssuerNotReady", fires={issuer: level(0)}, quiet={issuer: level(1)})
    secret = 'externalsecret_status_condition{namespace="team-research",name="s",condition="Ready",status="False"}'
    yield Case(alert="SecretSyncFailing", fires={secret: level(1)}, quiet={secret: level(0)})
    store = 'clustersecretstore_status_condition{name="platform",condition="Ready",status="False"}'
    yield Case(alert="SecretStoreUnreachable", fires={store: level(1)}, quiet={store: level(0)})


def _recovery() -> Iterator[Case]:
    status, partial = (
        'velero_backup_last_status{schedule="daily"}',
        'velero_backup_partial_failure_total{schedule="daily"}',
    )
    yield Case(alert="BackupFailed", fires={status: level(0)}, quiet={status: level(1)})
    yield Case(alert="BackupIncomplete", fires={partial: "0x30 1x40"}, quiet={partial: level(1)})
    last = 'velero_backup_last_successful_timestamp{schedule="daily"}'
    # It is looked at after 1600 minutes, 96 000 s; 26 hours are 93 600 s.
    yield Case(
        alert="BackupMissed",
        minutes=1600,
        every=20,
        fires={last: level(2_000, 1610)},
        quiet={last: level(2_400, 1610)},
    )
    yield Case(
        alert="BackupMissed",
        labels={"schedule": "any"},
        minutes=1600,
        every=20,
        fires={"up": level(1, 1610)},
        quiet={last: level(1, 1610)},
    )
    location = 'velero_backup_location_status_gauge{backup_location_name="default"}'
    yield Case(alert="BackupLocationUnavailable", fires={location: level(0)}, quiet={location: level(1)})
    job = 'kube_job_failed{namespace="mlops-data",job_name="milvus-backup-1",condition="%s"}'
    yield Case(alert="VectorBackupFailed", fires={job % "true": level(1)}, quiet={job % "false": level(1)})
    cron = 'kube_cronjob_%s{namespace="mlops-data",cronjob="milvus-backup"}'
    yield Case(
        alert="VectorBackupMissed",
        minutes=1600,
        every=20,
        fires={cron % "created": level(2_000, 1610)},
        quiet={cron % "status_last_successful_time": level(2_400, 1610), cron % "created": level(0, 1610)},
    )


def _nodes_and_pods() -> Iterator[Case]:
    condition = 'kube_node_status_condition{node="a",condition="%s",status="true"}'
    cordon = 'kube_node_spec_unschedulable{node="a"}'
    yield Case(
        alert="NodeNotReady",
        fires={condition % "Ready": level(0), cordon: level(0)},
        quiet={condition % "Ready": level(0), cordon: level(1)},
    )
    yield Case(
        alert="NodeUnderPressure",
        fires={condition % "DiskPressure": level(1)},
        quiet={condition % "DiskPressure": level(0)},
    )
    disk = 'node_filesystem_%s_bytes{instance="a:9100",device="/dev/root",fstype="xfs",mountpoint="/"}'
    yield Case(
        alert="NodeDiskFilling",
        fires={disk % "avail": level(9), disk % "size": level(100)},
        quiet={disk % "avail": level(10), disk % "size": level(100)},
    )
    api = 'apiserver_request_total{verb="GET",code="%s"}'
    yield Case(
        alert="ApiServerErrors",
        fires={api % "200": grows(96), api % "500": grows(4)},
        quiet={api % "200": grows(98), api % "500": grows(2)},
    )
    container = '{namespace="mlops-system",pod="p",container="c"%s}'
    waiting = "kube_pod_container_status_waiting_reason" + container
    yield Case(
        alert="PodCrashLooping",
        fires={waiting % ',reason="CrashLoopBackOff"': level(1)},
        quiet={waiting % ',reason="ContainerCreating"': level(1)},
    )
    yield Case(
        alert="PodImageMissing",
        fires={waiting % ',reason="ImagePullBackOff"': level(1)},
        quiet={waiting % ',reason="ImagePullBackOff"': "1x20 0x50"},
    )
    restarts = "kube_pod_container_status_restarts_total" + container % ""
    ended = "kube_pod_container_status_last_terminated_reason" + container
    yield Case(
        alert="PodOutOfMemory",
        fires={restarts: "0x55 1x15", ended % ',reason="OOMKilled"': level(1)},
        quiet={restarts: "0x55 1x15", ended % ',reason="Completed"': level(1)},
    )
    job = 'kube_job_failed{namespace="%s",job_name="j",condition="true"}'
    yield Case(alert="JobFailed", fires={job % "mlops-system": level(1)}, quiet={job % "team-research": level(1)})


def _systems() -> Iterator[Case]:
    ready = 'kube_deployment_status_replicas_available{namespace="mlops-system",deployment="mlflow"}'
    wanted = 'kube_deployment_spec_replicas{namespace="mlops-system",deployment="mlflow"}'
    for alert, fires, quiet in (("SystemDown", 0, 1), ("SystemDegraded", 1, 2)):
        yield Case(
            alert=alert,
            labels={"kind": "deployment"},
            fires={wanted: level(2), ready: level(fires)},
            quiet={wanted: level(2), ready: level(quiet)},
        )
    members = 'kube_statefulset_%s{namespace="mlops-data",statefulset="milvus-etcd"}'
    yield Case(
        alert="SystemDown",
        labels={"kind": "statefulset"},
        fires={members % "replicas": level(3), members % "status_replicas_ready": level(0)},
        quiet={members % "replicas": level(3), members % "status_replicas_ready": level(1)},
    )
    agents = 'kube_daemonset_status_%s{namespace="istio-system",daemonset="ztunnel"}'
    yield Case(
        alert="SystemDegraded",
        labels={"kind": "daemonset"},
        fires={agents % "desired_number_scheduled": level(3), agents % "number_ready": level(2)},
        quiet={agents % "desired_number_scheduled": level(3), agents % "number_ready": level(3)},
    )
    volume = 'kubelet_volume_stats_%s_bytes{namespace="monitoring",persistentvolumeclaim="prometheus"}'
    yield Case(
        alert="VolumeNearlyFull",
        fires={volume % "available": level(9), volume % "capacity": level(100)},
        quiet={volume % "available": level(10), volume % "capacity": level(100)},
    )
    yield Case(
        alert="VolumeFillsSoon",
        minutes=480,
        every=10,
        fires={volume % "available": "29000-40x490", volume % "capacity": level(100_000, 490)},
        quiet={volume % "available": "29000-40x490", volume % "capacity": level(32_000, 490)},
    )


CASES = (
    *_scheduling(),
    *_traffic(),
    *_delivery(),
    *_recovery(),
    *_nodes_and_pods(),
    *_systems(),
)
