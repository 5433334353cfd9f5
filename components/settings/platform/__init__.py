"""The platform: one section for each system."""

from __future__ import annotations

from components.settings.base import Section
from components.settings.platform.alerting import AlertingSettings
from components.settings.platform.autoscaling import AutoscalingSettings
from components.settings.platform.backups import BackupSettings
from components.settings.platform.certificates import CertificateSettings
from components.settings.platform.controllers import ControllerSettings
from components.settings.platform.delivery import DeliverySettings
from components.settings.platform.drills import DrillSettings
from components.settings.platform.experiments import ExperimentSettings
from components.settings.platform.gateway import GatewaySettings
from components.settings.platform.gpus import GpuSettings
from components.settings.platform.grafana import GrafanaSettings
from components.settings.platform.isolation import IsolationSettings
from components.settings.platform.logs import LogSettings
from components.settings.platform.mesh import MeshSettings
from components.settings.platform.metrics import PROMETHEUS_URL, MetricsSettings
from components.settings.platform.model_gateway import ModelGatewaySettings
from components.settings.platform.pipelines import PipelineSettings
from components.settings.platform.ray import RaySettings
from components.settings.platform.scheduling import SchedulingSettings
from components.settings.platform.secrets import SecretSyncSettings
from components.settings.platform.serving import ServingSettings
from components.settings.platform.traces import TraceSettings
from components.settings.platform.training import TrainingSettings
from components.settings.platform.vectors import VectorSettings
from components.settings.platform.workflows import WorkflowSettings


class PlatformSettings(Section):
    """What runs on the cluster besides workloads.

    Attributes:
        highly_available: Every controller that can has replicas on different nodes, and a disruption budget.
        isolation: Namespaces, quotas and network policies.
        controllers: Nodes on demand, load balancers.
        certificates: cert-manager and its issuers.
        mesh: Istio.
        gateway: The way in.
        secrets: External Secrets Operator.
        delivery: Argo CD.
        scheduling: Volcano.
        gpus: Device plugin, GPU metrics.
        autoscaling: KEDA.
        backups: Velero.
        drills: Rehearsals of restores.
        ray: Ray.
        vectors: Milvus.
        experiments: MLflow.
        workflows: Argo Workflows.
        pipelines: Kubeflow Pipelines.
        training: Kubeflow Trainer, Training Operator.
        model_gateway: LiteLLM.
        serving: KServe, scale to zero.
        metrics: Prometheus.
        alerting: Who is told of alerts.
        grafana: Dashboards.
        logs: Loki, and what it collects.
        traces: OpenTelemetry collector, Tempo.
    """

    highly_available: bool = True
    isolation: IsolationSettings = IsolationSettings()
    controllers: ControllerSettings = ControllerSettings()
    certificates: CertificateSettings = CertificateSettings()
    mesh: MeshSettings = MeshSettings()
    gateway: GatewaySettings = GatewaySettings()
    secrets: SecretSyncSettings = SecretSyncSettings()
    delivery: DeliverySettings = DeliverySettings()
    scheduling: SchedulingSettings = SchedulingSettings()
    gpus: GpuSettings = GpuSettings()
    autoscaling: AutoscalingSettings = AutoscalingSettings()
    backups: BackupSettings = BackupSettings()
    drills: DrillSettings = DrillSettings()
    ray: RaySettings = RaySettings()
    vectors: VectorSettings = VectorSettings()
    experiments: ExperimentSettings = ExperimentSettings()
    workflows: WorkflowSettings = WorkflowSettings()
    pipelines: PipelineSettings = PipelineSettings()
    training: TrainingSettings = TrainingSettings()
    model_gateway: ModelGatewaySettings = ModelGatewaySettings()
    serving: ServingSettings = ServingSettings()
    metrics: MetricsSettings = MetricsSettings()
    alerting: AlertingSettings = AlertingSettings()
    grafana: GrafanaSettings = GrafanaSettings()
    logs: LogSettings = LogSettings()
    traces: TraceSettings = TraceSettings()

    @property
    def prometheus_url(self) -> str:
        """Where metrics can be asked for; empty where nobody collects them."""
        return self.serving.prometheus_url or (PROMETHEUS_URL if self.metrics.enabled else "")
