"""Every chart, image, add-on and engine version: one line each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

# Newest minor that every chart we install supports: Volcano 1.15 and Velero 1.18 stop at 1.35 (their support matrices).
KUBERNETES: Final = "1.35"
# From what Istio 1.30 needs (`ops/upgrade/support.py`).
KUBERNETES_SUPPORTED: Final = ("1.32", "1.33", "1.34", "1.35", "1.36")

AddonName = Literal[
    "vpc-cni",
    "kube-proxy",
    "coredns",
    "eks-pod-identity-agent",
    "aws-ebs-csi-driver",
    "aws-efs-csi-driver",
    "aws-mountpoint-s3-csi-driver",
    "snapshot-controller",
    "metrics-server",
]

# EKS add-ons for Kubernetes 1.35, as published together in August 2026. Another minor needs its own kube-proxy
# (`cluster.addonVersions`); the others serve several minors. `aws eks describe-addon-versions` lists what there is.
EKS_ADDONS: Final[dict[AddonName, str]] = {
    "vpc-cni": "v1.23.0-eksbuild.1",
    "kube-proxy": "v1.35.3-eksbuild.18",
    "coredns": "v1.14.3-eksbuild.3",
    "eks-pod-identity-agent": "v1.4.0-eksbuild.1",
    "aws-ebs-csi-driver": "v1.63.1-eksbuild.1",
    "aws-efs-csi-driver": "v3.4.1-eksbuild.1",
    "aws-mountpoint-s3-csi-driver": "v2.7.0-eksbuild.1",
    "snapshot-controller": "v8.6.0-eksbuild.4",
    "metrics-server": "v0.9.0-eksbuild.5",
}

# Cluster-autoscaler simulates the scheduler of one minor version: the newest patch of each in its repository's tags.
CLUSTER_AUTOSCALER: Final[dict[str, str]] = {
    "1.32": "v1.32.7",
    "1.33": "v1.33.6",
    "1.34": "v1.34.5",
    "1.35": "v1.35.2",
    "1.36": "v1.36.1",
}


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One Helm chart at one version.

    Attributes:
        repository: Where it is published: ``https://…`` or ``oci://…`` without the chart's own name.
        name: Name in the repository.
        version: Chart version.
    """

    repository: str
    name: str
    version: str


_ISTIO: Final = "https://istio-release.storage.googleapis.com/charts"
# One version for all of Istio's charts: they are released, and must be upgraded, together.
# renovate: datasource=helm depName=istiod registryUrl=https://istio-release.storage.googleapis.com/charts
ISTIO: Final = "1.30.3"

# Where the community keeps the charts of Loki and Tempo since March 2026.
_GRAFANA: Final = "oci://ghcr.io/grafana-community/helm-charts"

_KSERVE: Final = "oci://ghcr.io/kserve/charts"
# One version for KServe's definitions and its controller: they are released together.
# renovate: datasource=docker depName=kserve packageName=ghcr.io/kserve/charts/kserve-resources
KSERVE: Final = "v0.20.0"

ChartName = Literal[
    "alloy",
    "argo-cd",
    "argo-workflows",
    "aws-load-balancer-controller",
    "cert-manager",
    "cloudnative-pg",
    "cluster-autoscaler",
    "csi-driver-nfs",
    "dcgm-exporter",
    "external-secrets",
    "gateway-crds",
    "gpu-operator",
    "istio-base",
    "istio-cni",
    "istio-gateway",
    "istiod",
    "jobset",
    "keda",
    "keda-add-ons-http",
    "kserve-crd",
    "kserve-resources",
    "kube-prometheus-stack",
    "kubeflow-trainer",
    "kuberay-operator",
    "kyverno",
    "loki",
    "metallb",
    "metrics-server",
    "milvus",
    "nvidia-device-plugin",
    "opentelemetry-collector",
    "seaweedfs",
    "tempo",
    "velero",
    "volcano",
    "ztunnel",
]


def _chart(repository: str, name: str, version: str) -> Chart:
    return Chart(repository=repository, name=name, version=version)


# The comment above each line tells Renovate where newer versions are announced.
CHARTS: Final[dict[ChartName, Chart]] = {
    # renovate: datasource=helm depName=alloy registryUrl=https://grafana.github.io/helm-charts
    "alloy": _chart("https://grafana.github.io/helm-charts", "alloy", version="1.11.1"),
    # renovate: datasource=helm depName=argo-cd registryUrl=https://argoproj.github.io/argo-helm
    "argo-cd": _chart("https://argoproj.github.io/argo-helm", "argo-cd", version="10.1.1"),
    # renovate: datasource=helm depName=argo-workflows registryUrl=https://argoproj.github.io/argo-helm
    "argo-workflows": _chart("https://argoproj.github.io/argo-helm", "argo-workflows", version="1.0.18"),
    # renovate: datasource=helm depName=aws-load-balancer-controller registryUrl=https://aws.github.io/eks-charts
    "aws-load-balancer-controller": _chart(
        "https://aws.github.io/eks-charts", "aws-load-balancer-controller", version="3.5.0"
    ),
    # renovate: datasource=docker depName=cert-manager packageName=quay.io/jetstack/charts/cert-manager
    "cert-manager": _chart("oci://quay.io/jetstack/charts", "cert-manager", version="v1.21.1"),
    # 0.29 is the operator's 1.30, the last with Barman inside (docs/decisions/0017-stores-in-the-cluster.md).
    # renovate: datasource=helm depName=cloudnative-pg registryUrl=https://cloudnative-pg.github.io/charts
    "cloudnative-pg": _chart("https://cloudnative-pg.github.io/charts", "cloudnative-pg", version="0.29.0"),
    # renovate: datasource=helm depName=cluster-autoscaler registryUrl=https://kubernetes.github.io/autoscaler
    "cluster-autoscaler": _chart("https://kubernetes.github.io/autoscaler", "cluster-autoscaler", version="9.59.0"),
    # renovate: datasource=helm depName=csi-driver-nfs registryUrl=https://raw.githubusercontent.com/kubernetes-csi/csi-driver-nfs/master/charts
    "csi-driver-nfs": _chart(
        "https://raw.githubusercontent.com/kubernetes-csi/csi-driver-nfs/master/charts",
        "csi-driver-nfs",
        version="4.13.4",
    ),
    # renovate: datasource=helm depName=dcgm-exporter registryUrl=https://nvidia.github.io/dcgm-exporter/helm-charts
    "dcgm-exporter": _chart("https://nvidia.github.io/dcgm-exporter/helm-charts", "dcgm-exporter", version="4.8.2"),
    # renovate: datasource=helm depName=external-secrets registryUrl=https://charts.external-secrets.io
    "external-secrets": _chart("https://charts.external-secrets.io", "external-secrets", version="2.9.0"),
    # renovate: datasource=docker depName=gateway-crds-helm packageName=docker.io/envoyproxy/gateway-crds-helm
    "gateway-crds": _chart("oci://docker.io/envoyproxy", "gateway-crds-helm", version="v1.9.0"),
    # renovate: datasource=helm depName=gpu-operator registryUrl=https://helm.ngc.nvidia.com/nvidia
    "gpu-operator": _chart("https://helm.ngc.nvidia.com/nvidia", "gpu-operator", version="v26.7.0"),
    "istio-base": _chart(_ISTIO, "base", ISTIO),
    "istio-cni": _chart(_ISTIO, "cni", ISTIO),
    "istio-gateway": _chart(_ISTIO, "gateway", ISTIO),
    "istiod": _chart(_ISTIO, "istiod", ISTIO),
    # renovate: datasource=docker depName=jobset packageName=registry.k8s.io/jobset/charts/jobset
    "jobset": _chart("oci://registry.k8s.io/jobset/charts", "jobset", version="0.12.0"),
    # renovate: datasource=helm depName=keda registryUrl=https://kedacore.github.io/charts
    "keda": _chart("https://kedacore.github.io/charts", "keda", version="2.20.2"),
    # renovate: datasource=helm depName=keda-add-ons-http registryUrl=https://kedacore.github.io/charts
    "keda-add-ons-http": _chart("https://kedacore.github.io/charts", "keda-add-ons-http", version="0.15.0"),
    "kserve-crd": _chart(_KSERVE, "kserve-crd", KSERVE),
    "kserve-resources": _chart(_KSERVE, "kserve-resources", KSERVE),
    # renovate: datasource=helm depName=kube-prometheus-stack registryUrl=https://prometheus-community.github.io/helm-charts
    "kube-prometheus-stack": _chart(
        "https://prometheus-community.github.io/helm-charts", "kube-prometheus-stack", version="88.5.3"
    ),
    # renovate: datasource=docker depName=kubeflow-trainer packageName=ghcr.io/kubeflow/charts/kubeflow-trainer
    "kubeflow-trainer": _chart("oci://ghcr.io/kubeflow/charts", "kubeflow-trainer", version="2.3.0"),
    # renovate: datasource=helm depName=kuberay-operator registryUrl=https://ray-project.github.io/kuberay-helm
    "kuberay-operator": _chart("https://ray-project.github.io/kuberay-helm", "kuberay-operator", version="1.7.0"),
    # renovate: datasource=helm depName=kyverno registryUrl=https://kyverno.github.io/kyverno
    "kyverno": _chart("https://kyverno.github.io/kyverno", "kyverno", version="3.9.0"),
    # renovate: datasource=docker depName=loki packageName=ghcr.io/grafana-community/helm-charts/loki
    "loki": _chart(_GRAFANA, "loki", version="18.11.0"),
    # renovate: datasource=helm depName=metallb registryUrl=https://metallb.github.io/metallb
    "metallb": _chart("https://metallb.github.io/metallb", "metallb", version="0.16.1"),
    # renovate: datasource=helm depName=metrics-server registryUrl=https://kubernetes-sigs.github.io/metrics-server
    "metrics-server": _chart("https://kubernetes-sigs.github.io/metrics-server", "metrics-server", version="3.13.1"),
    # renovate: datasource=helm depName=milvus registryUrl=https://zilliztech.github.io/milvus-helm
    "milvus": _chart("https://zilliztech.github.io/milvus-helm", "milvus", version="5.0.19"),
    # renovate: datasource=helm depName=nvidia-device-plugin registryUrl=https://nvidia.github.io/k8s-device-plugin
    "nvidia-device-plugin": _chart(
        "https://nvidia.github.io/k8s-device-plugin", "nvidia-device-plugin", version="0.20.0"
    ),
    # renovate: datasource=helm depName=opentelemetry-collector registryUrl=https://open-telemetry.github.io/opentelemetry-helm-charts
    "opentelemetry-collector": _chart(
        "https://open-telemetry.github.io/opentelemetry-helm-charts", "opentelemetry-collector", version="0.170.0"
    ),
    # renovate: datasource=helm depName=seaweedfs registryUrl=https://seaweedfs.github.io/seaweedfs/helm
    "seaweedfs": _chart("https://seaweedfs.github.io/seaweedfs/helm", "seaweedfs", version="4.44.0"),
    # The single process: tempo-distributed wants Kafka since 3.0.
    # renovate: datasource=docker depName=tempo packageName=ghcr.io/grafana-community/helm-charts/tempo
    "tempo": _chart(_GRAFANA, "tempo", version="2.2.4"),
    # renovate: datasource=helm depName=velero registryUrl=https://vmware-tanzu.github.io/helm-charts
    "velero": _chart("https://vmware-tanzu.github.io/helm-charts", "velero", version="12.1.0"),
    # renovate: datasource=helm depName=volcano registryUrl=https://volcano-sh.github.io/helm-charts
    "volcano": _chart("https://volcano-sh.github.io/helm-charts", "volcano", version="1.15.1"),
    "ztunnel": _chart(_ISTIO, "ztunnel", ISTIO),
}

# Plugins of Velero for object stores: both are released together, 1.14 for Velero 1.18 (their compatibility tables).
# renovate: datasource=docker depName=velero/velero-plugin-for-aws
VELERO_PLUGINS: Final = "v1.14.2"

# Envoy's rate-limit service publishes commits and no versions; this one was released with Envoy Gateway 1.7.
RATELIMIT_IMAGE: Final = "docker.io/envoyproxy/ratelimit:05c08d03"

ImageName = Literal[
    "alpine",
    "deepspeed",
    "jobset",
    "kserve-storage",
    "litellm",
    "milvus-backup",
    "mlflow",
    "mysql",
    "postgres-client",
    "postgresql",
    "pytorch",
    "ray",
    "redis-exporter",
    "triton",
    "valkey",
    "vllm",
]


def _image(repository: str, *, version: str) -> str:
    return f"{repository}:{version}"


# Images that no chart names; the comment above each line tells Renovate where newer ones are announced.
IMAGES: Final[dict[ImageName, str]] = {
    # renovate: datasource=docker depName=docker.io/library/alpine versioning=docker
    "alpine": _image("docker.io/library/alpine", version="3.23"),
    # The image that runs without root, with the database client and its engines inside. 1.108 is a line with long-term
    # support. tests/data_plane/requirements-litellm.txt has the same version.
    # renovate: datasource=docker depName=ghcr.io/berriai/litellm-non_root versioning=docker
    "litellm": _image("ghcr.io/berriai/litellm-non_root", version="v1.108.7"),
    # 0.5 reads Milvus 2.2 and later.
    # renovate: datasource=docker depName=docker.io/milvusdb/milvus-backup versioning=docker
    "milvus-backup": _image("docker.io/milvusdb/milvus-backup", version="v0.5.16"),
    # `full` holds the drivers of databases and object stores, and what accounts and metrics need.
    # renovate: datasource=docker depName=ghcr.io/mlflow/mlflow versioning=docker
    "mlflow": _image("ghcr.io/mlflow/mlflow", version="v3.17.2-full"),
    # With DeepSpeed; for runs whose code brings no image of its own. Released together with the chart kubeflow-trainer.
    # renovate: datasource=docker depName=ghcr.io/kubeflow/trainer/deepspeed-runtime
    "deepspeed": _image("ghcr.io/kubeflow/trainer/deepspeed-runtime", version="v2.3.0"),
    # Released together with the chart jobset, which leaves it to its values.
    # renovate: datasource=docker depName=registry.k8s.io/jobset/jobset
    "jobset": _image("registry.k8s.io/jobset/jobset", version="v0.12.0"),
    # What reads object stores for KServe; its Python, for loaders of ours. Released together with KServe's charts.
    "kserve-storage": _image("docker.io/kserve/storage-initializer", version=KSERVE),
    # The branch that Kubeflow Pipelines is tested with; 9.0 has lost the sign-in that its metadata store uses.
    # renovate: datasource=docker depName=docker.io/library/mysql versioning=docker
    "mysql": _image("docker.io/library/mysql", version="8.4.7"),
    # For training runs whose code brings no image of its own.
    # renovate: datasource=docker depName=docker.io/pytorch/pytorch versioning=docker
    "pytorch": _image("docker.io/pytorch/pytorch", version="2.13.0-cuda13.0-cudnn9-runtime"),
    # A client of the server's own major version (database.engineVersion).
    # renovate: datasource=docker depName=docker.io/library/postgres versioning=docker
    "postgres-client": _image("docker.io/library/postgres", version="17.10-alpine"),
    # The variant with Barman's tools, which back the server up. Its major version is database.engineVersion.
    # renovate: datasource=docker depName=ghcr.io/cloudnative-pg/postgresql versioning=docker
    "postgresql": _image("ghcr.io/cloudnative-pg/postgresql", version="17.10-system-trixie"),
    # Ray and its Python: drivers and workers must have the same of both. The newest that samples of KubeRay 1.7 run.
    # tests/data_plane/requirements-ray.txt has the same version.
    # renovate: datasource=docker depName=docker.io/rayproject/ray versioning=docker
    "ray": _image("docker.io/rayproject/ray", version="2.58.0-py312"),
    # Metrics of Valkey, which has none of its own; an image without a shell or anything else.
    # renovate: datasource=docker depName=ghcr.io/oliver006/redis_exporter versioning=docker
    "redis-exporter": _image("ghcr.io/oliver006/redis_exporter", version="v1.88.0"),
    # The variant with the TensorRT-LLM backend.
    # renovate: datasource=docker depName=nvcr.io/nvidia/tritonserver versioning=docker
    "triton": _image("nvcr.io/nvidia/tritonserver", version="26.07-trtllm-python-py3"),
    # renovate: datasource=docker depName=docker.io/valkey/valkey versioning=docker
    "valkey": _image("docker.io/valkey/valkey", version="8.1.8-alpine"),
    # Its image has a user that is not root (2000), and it finishes its answers when told to stop (since 0.18).
    # renovate: datasource=docker depName=docker.io/vllm/vllm-openai
    "vllm": _image("docker.io/vllm/vllm-openai", version="v0.28.0"),
}


@dataclass(frozen=True, kw_only=True)
class Tree:
    """A Git repository with Kustomize files, at one commit.

    Attributes:
        repository: Where it is cloned from.
        version: The release; for people and for Renovate.
        commit: What is deployed: the commit that carried that tag when it was pinned. A tag can be moved.
    """

    repository: str
    version: str
    commit: str


TreeName = Literal["kubeflow-pipelines", "training-operator"]

# What is published as Kustomize files and not as a chart. A new version may move what our patches refer to: it is
# rendered, and looked at, before it is taken (docs/pipelines.md).
TREES: Final[dict[TreeName, Tree]] = {
    # renovate: datasource=github-tags depName=kubeflow/pipelines
    "kubeflow-pipelines": Tree(
        repository="https://github.com/kubeflow/pipelines.git",
        version="2.17.0",
        commit="4a3592cb2dd0a91a4652ab93893ec8beda1f3158",
    ),
    # renovate: datasource=github-tags depName=kubeflow/trainer
    "training-operator": Tree(
        repository="https://github.com/kubeflow/trainer.git",
        version="v1.9.4",
        commit="4445c12aa62e4345b0c2c6ac9b215a70eca46ed7",
    ),
}
