"""Where each chart's values name its images: what no value of ours says, the chart's defaults do.

Read from the values of the pinned versions. ``tests/rendering`` renders the charts; an image of another host in what
comes out means that a row is missing here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from components.versions import TREES, ChartName, TreeName

Form = Literal["whole", "split", "text", "prefix"]


@dataclass(frozen=True, kw_only=True)
class ImageValue:
    """One image among the values of a chart.

    Attributes:
        path: Keys that lead to it.
        image: Its name with the registry's host, without a tag; for ``prefix`` only the beginning.
        form: ``whole``: ``path.repository`` holds all of it. ``split``: ``path.registry`` holds the host and
            ``path.repository`` the rest. ``text``: the path itself holds it. ``prefix``: the path itself holds the
            beginning, and the chart adds the rest.
    """

    path: tuple[str, ...]
    image: str
    form: Form


def _of(form: Form, rows: Mapping[str, str]) -> tuple[ImageValue, ...]:
    return tuple(ImageValue(path=tuple(path.split(".")), image=image, form=form) for path, image in rows.items())


_NFD: Final = "registry.k8s.io/nfd/node-feature-discovery"
_NVIDIA: Final = "nvcr.io/nvidia"
_ISTIO: Final = "registry.istio.io/release"

CHART_IMAGES: Final[Mapping[ChartName, tuple[ImageValue, ...]]] = {
    "alloy": _of(
        "split",
        {
            "image": "docker.io/grafana/alloy",
            "configReloader.image": "quay.io/prometheus-operator/prometheus-config-reloader",
        },
    ),
    "argo-cd": _of(
        "whole",
        {
            "global.image": "quay.io/argoproj/argocd",
            "dex.image": "ghcr.io/dexidp/dex",
            "redis.image": "ecr-public.aws.com/docker/library/redis",
            "redis.exporter.image": "ghcr.io/oliver006/redis_exporter",
            "server.extensions.image": "quay.io/argoprojlabs/argocd-extension-installer",
            "redis-ha.image": "ecr-public.aws.com/docker/library/redis",
            "redis-ha.haproxy.image": "ecr-public.aws.com/docker/library/haproxy",
        },
    ),
    "argo-workflows": (
        *_of(
            "split",
            {
                "controller.image": "quay.io/argoproj/workflow-controller",
                "executor.image": "quay.io/argoproj/argoexec",
                "server.image": "quay.io/argoproj/argocli",
            },
        ),
        *_of("whole", {"crds.upgradeJob.image": "registry.k8s.io/kubectl"}),
    ),
    "aws-load-balancer-controller": _of("whole", {"image": "public.ecr.aws/eks/aws-load-balancer-controller"}),
    "cert-manager": _of("prefix", {"imageRegistry": "quay.io"}),
    "cloudnative-pg": _of("whole", {"image": "ghcr.io/cloudnative-pg/cloudnative-pg"}),
    "cluster-autoscaler": _of("whole", {"image": "registry.k8s.io/autoscaling/cluster-autoscaler"}),
    "csi-driver-nfs": (
        *_of("prefix", {"image.baseRepo": "registry.k8s.io"}),
        *_of("whole", {"image.nfs": "registry.k8s.io/sig-storage/nfsplugin"}),
    ),
    "dcgm-exporter": _of("whole", {"image": "nvcr.io/nvidia/k8s/dcgm-exporter"}),
    "external-secrets": _of(
        "whole",
        dict.fromkeys(("image", "webhook.image", "certController.image"), "ghcr.io/external-secrets/external-secrets"),
    ),
    "gateway-crds": (),
    "gpu-operator": (
        *_of(
            "prefix",
            {
                "validator.repository": _NVIDIA,
                "operator.repository": _NVIDIA,
                "driver.repository": _NVIDIA,
                "driver.manager.repository": f"{_NVIDIA}/cloud-native",
                "toolkit.repository": f"{_NVIDIA}/k8s",
                "devicePlugin.repository": _NVIDIA,
                "dcgm.repository": f"{_NVIDIA}/cloud-native",
                "dcgmExporter.repository": f"{_NVIDIA}/k8s",
                "gfd.repository": _NVIDIA,
                "migManager.repository": f"{_NVIDIA}/cloud-native",
                "nodeStatusExporter.repository": _NVIDIA,
                "gds.repository": f"{_NVIDIA}/cloud-native",
                "gdrcopy.repository": f"{_NVIDIA}/cloud-native",
                "vgpuManager.driverManager.repository": f"{_NVIDIA}/cloud-native",
                "vgpuDeviceManager.repository": f"{_NVIDIA}/cloud-native",
                "vfioManager.repository": f"{_NVIDIA}/cloud-native",
                "vfioManager.driverManager.repository": f"{_NVIDIA}/cloud-native",
                "sandboxDevicePlugin.repository": _NVIDIA,
                "kataSandboxDevicePlugin.repository": f"{_NVIDIA}/cloud-native",
                "ccManager.repository": f"{_NVIDIA}/cloud-native",
                "draDriver.repository": _NVIDIA,
            },
        ),
        *_of("whole", {"node-feature-discovery.image": _NFD}),
    ),
    "istio-base": (),
    "istio-cni": _of("prefix", {"global.hub": _ISTIO}),
    "istio-gateway": (),  # its pods say `auto`: istiod fills the image in
    "istiod": _of("prefix", {"global.hub": _ISTIO}),
    "jobset": _of("whole", {"image": "registry.k8s.io/jobset/jobset"}),
    "keda": _of(
        "split",
        {
            "image.keda": "ghcr.io/kedacore/keda",
            "image.metricsApiServer": "ghcr.io/kedacore/keda-metrics-apiserver",
            "image.webhooks": "ghcr.io/kedacore/keda-admission-webhooks",
        },
    ),
    "keda-add-ons-http": _of(
        "text",
        {f"images.{part}": f"ghcr.io/kedacore/http-add-on-{part}" for part in ("operator", "scaler", "interceptor")},
    ),
    "kserve-crd": (),
    "kserve-resources": _of(
        "text",
        {
            "kserve.controller.image": "docker.io/kserve/kserve-controller",
            "kserve.agent.image": "docker.io/kserve/agent",
            "kserve.router.image": "docker.io/kserve/router",
            "kserve.storage.image": "docker.io/kserve/storage-initializer",
            "kserve.servingruntime.art.image": "docker.io/kserve/art-explainer",
            "kserve.localmodel.controller.image": "docker.io/kserve/kserve-localmodel-controller",
            "kserve.localmodel.agent.image": "docker.io/kserve/kserve-localmodelnode-agent",
        },
    ),
    "kube-prometheus-stack": _of(
        "split",
        {
            "prometheusOperator.image": "quay.io/prometheus-operator/prometheus-operator",
            "prometheusOperator.prometheusConfigReloader.image": (
                "quay.io/prometheus-operator/prometheus-config-reloader"
            ),
            "prometheusOperator.admissionWebhooks.patch.image": "ghcr.io/jkroepke/kube-webhook-certgen",
            "prometheusOperator.admissionWebhooks.deployment.image": "quay.io/prometheus-operator/admission-webhook",
            "prometheusOperator.thanosImage": "quay.io/thanos/thanos",
            "prometheus.prometheusSpec.image": "quay.io/prometheus/prometheus",
            "alertmanager.alertmanagerSpec.image": "quay.io/prometheus/alertmanager",
            "thanosRuler.thanosRulerSpec.image": "quay.io/thanos/thanos",
            "crds.upgradeJob.image.busybox": "docker.io/library/busybox",
            "crds.upgradeJob.image.kubectl": "registry.k8s.io/kubectl",
            "kube-state-metrics.image": "registry.k8s.io/kube-state-metrics/kube-state-metrics",
            "prometheus-node-exporter.image": "quay.io/prometheus/node-exporter",
            "grafana.image": "docker.io/grafana/grafana",
            "grafana.sidecar.image": "quay.io/kiwigrid/k8s-sidecar",
            "grafana.initChownData.image": "docker.io/library/busybox",
            "grafana.downloadDashboardsImage": "docker.io/curlimages/curl",
        },
    ),
    "kubeflow-trainer": _of(
        "split",
        {
            "image": "ghcr.io/kubeflow/trainer/trainer-controller-manager",
            "dataCache.cacheImage": "ghcr.io/kubeflow/trainer/data-cache",
        },
    ),
    "kuberay-operator": _of("whole", {"image": "quay.io/kuberay/operator"}),
    "kyverno": _of(
        "split",
        {
            "admissionController.initContainer.image": "reg.kyverno.io/kyverno/kyvernopre",
            "admissionController.container.image": "reg.kyverno.io/kyverno/kyverno",
            "crds.migration.image": "reg.kyverno.io/kyverno/kyverno-cli",
            "webhooksCleanup.image": "ghcr.io/kyverno/readiness-checker",
            "test.image": "ghcr.io/kyverno/readiness-checker",
        },
    ),
    "loki": _of(
        "split",
        {
            "loki.image": "docker.io/grafana/loki",
            "defaults.statefulSetRecreateJob.image": "registry.k8s.io/kubectl",
            "test.image": "docker.io/grafana/loki-helm-test",
            "lokiCanary.image": "docker.io/grafana/loki-canary",
            "gateway.image": "docker.io/nginxinc/nginx-unprivileged",
            "gateway.metrics.image": "ghcr.io/jkroepke/access-log-exporter",
            "memcached.image": "docker.io/library/memcached",
            "memcachedExporter.image": "docker.io/prom/memcached-exporter",
            "sidecar.image": "docker.io/kiwigrid/k8s-sidecar",
        },
    ),
    "metallb": _of(
        "whole",
        {
            "controller.image": "quay.io/metallb/controller",
            "speaker.image": "quay.io/metallb/speaker",
            "speaker.frr.image": "quay.io/frrouting/frr",
        },
    ),
    "metrics-server": _of("whole", {"image": "registry.k8s.io/metrics-server/metrics-server"}),
    "milvus": _of(
        "whole",
        {
            "image.all": "docker.io/milvusdb/milvus",
            "etcd.image": "docker.io/milvusdb/etcd",
            "heaptrack.image": "docker.io/milvusdb/heaptrack",
            "attu.image": "docker.io/zilliz/attu",
        },
    ),
    "nvidia-device-plugin": _of("whole", {"image": "nvcr.io/nvidia/k8s-device-plugin", "nfd.image": _NFD}),
    "opentelemetry-collector": _of(
        "whole",
        {"image": "ghcr.io/open-telemetry/opentelemetry-collector-releases/opentelemetry-collector-k8s"},
    ),
    "seaweedfs": _of("prefix", {"image.registry": "docker.io"}),
    "tempo": _of("split", {"tempo": "docker.io/grafana/tempo"}),
    "velero": _of("whole", {"image": "docker.io/velero/velero", "kubectl.image": "registry.k8s.io/kubectl"}),
    "volcano": _of("prefix", {"basic.image_registry": "docker.io"}),
    "ztunnel": _of("prefix", {"hub": _ISTIO}),
}
"""What each chart would pull; empty for charts of definitions alone."""


_KFP: Final = (
    "api-server",
    "cache-deployer",
    "cache-server",
    "frontend",
    "metadata-envoy",
    "metadata-writer",
    "persistence-agent",
    "scheduled-workflow-controller",
    "viewer-crd-controller",
    "visualization-server",
)

TREE_IMAGES: Final[Mapping[TreeName, Mapping[str, str]]] = {
    "kubeflow-pipelines": {
        **{f"ghcr.io/kubeflow/kfp-{part}": TREES["kubeflow-pipelines"].version for part in _KFP},
        "docker.io/alpine": "3.23",  # its pods wait for one another in it
        "gcr.io/tfx-oss-public/ml_metadata_store_server": "1.14.0",
        "ghcr.io/metacontroller/metacontroller": "v4.16.2",
    },
    "training-operator": {"ghcr.io/kubeflow/training-v1/training-operator": ""},
}
"""Images that the Kustomize files of each tree name, with their tags at its commit; empty where it is not known. Those
that our patches name with their tags are not among them."""
