"""What Kubernetes each chart asks for, and each publisher supports: data of 2026-11-22, with where it stands.

Versions are not here: ``components/versions.py`` has them, and ``ops/upgrade/matrix.py`` puts both together. Who moves
a chart looks at its row here; the test names the version that the row was read at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from components.versions import ChartName, TreeName
from ops.upgrade.minors import Range

CHART: Final = "kubeVersion in Chart.yaml"
ANY: Final = Range()


@dataclass(frozen=True, kw_only=True)
class Support:
    """What one chart says.

    Attributes:
        read_at: Version of the chart that it was read at.
        needs: What the chart or its program refuses to run below; Helm itself enforces ``kubeVersion``.
        needs_source: Where that stands; empty where it says nothing.
        supported: What the publisher supports or tests; only where it names minors.
        supported_source: Where that stands.
    """

    read_at: str
    needs: Range = ANY
    needs_source: str = ""
    supported: Range = ANY
    supported_source: str = ""

    def problem(self, number: int) -> str:
        """What stands against a minor version; empty for nothing."""
        if number not in self.needs:
            return f"needs Kubernetes {self.needs} ({self.needs_source})"
        if number not in self.supported:
            return f"its publisher supports {self.supported} ({self.supported_source})"
        return ""


_ISTIO: Final = Support(
    read_at="1.30.3",
    needs=Range(32),
    needs_source="MinK8SVersion in istioctl/pkg/install/k8sversion",
)
_KSERVE: Final = Support(read_at="v0.20.0")

CHARTS: Final[Mapping[ChartName, Support]] = {
    "alloy": Support(read_at="1.11.1"),
    "argo-cd": Support(read_at="10.1.1", needs=Range(25), needs_source=CHART),
    # Its page names 1.31 and 1.33, which it was tried on, and no limit.
    "argo-workflows": Support(read_at="1.0.18"),
    "aws-load-balancer-controller": Support(
        read_at="3.5.0", needs=Range(22), needs_source="installation guide, Kubernetes 1.22+"
    ),
    "cert-manager": Support(
        read_at="v1.21.1",
        needs=Range(22),
        needs_source=CHART,
        supported=Range(33, 36),
        supported_source="cert-manager.io/docs/releases",
    ),
    "cloudnative-pg": Support(read_at="0.29.0"),
    # Its image is one for each minor: CLUSTER_AUTOSCALER in components/versions.py.
    "cluster-autoscaler": Support(read_at="9.59.0"),
    "csi-driver-nfs": Support(read_at="4.13.4"),
    "dcgm-exporter": Support(read_at="4.8.2", needs=Range(19), needs_source=CHART),
    "external-secrets": Support(
        read_at="2.9.0",
        needs=Range(19),
        needs_source=CHART,
        supported=Range(35, 36),
        supported_source="stability-support.md",
    ),
    "gateway-crds": Support(read_at="v1.9.0"),
    "gpu-operator": Support(read_at="v26.7.0", needs=Range(16), needs_source=CHART),
    "istio-base": _ISTIO,
    "istio-cni": _ISTIO,
    "istio-gateway": _ISTIO,
    "istiod": _ISTIO,
    "jobset": Support(read_at="0.12.0"),
    "keda": Support(read_at="2.20.2", needs=Range(23), needs_source=CHART),
    "keda-add-ons-http": Support(read_at="0.15.0", needs=Range(23), needs_source=CHART),
    "kserve-crd": _KSERVE,
    "kserve-resources": _KSERVE,
    "kube-prometheus-stack": Support(read_at="88.5.3", needs=Range(25), needs_source=CHART),
    "kubeflow-trainer": Support(read_at="2.3.0", needs=Range(31), needs_source="README of the chart"),
    "kuberay-operator": Support(read_at="1.7.0"),
    "kyverno": Support(
        read_at="3.9.0",
        needs=Range(25),
        needs_source=f"{CHART} of 3.3, the newest that could be read",
        supported=Range(33, 35),
        supported_source="compatibility matrix of Kyverno 1.19, as endoflife.date quotes it",
    ),
    "loki": Support(read_at="18.11.0", needs=Range(25), needs_source=CHART),
    "metallb": Support(read_at="0.16.1"),
    "metrics-server": Support(read_at="3.13.1", needs=Range(31), needs_source="compatibility matrix of 0.8"),
    "milvus": Support(read_at="5.0.19", needs=Range(10), needs_source=CHART),
    "nvidia-device-plugin": Support(read_at="0.20.0", needs=Range(10), needs_source=CHART),
    "opentelemetry-collector": Support(read_at="0.170.0"),
    "seaweedfs": Support(read_at="4.44.0"),
    "tempo": Support(read_at="2.2.4"),
    "velero": Support(
        read_at="12.1.0",
        needs=Range(18),
        needs_source="compatibility matrix, 1.18-latest",
        supported=Range(33, 35),
        supported_source="compatibility matrix of Velero 1.18, tested",
    ),
    "volcano": Support(
        read_at="1.15.1",
        supported=Range(23, 35),
        supported_source="compatibility matrix in Volcano's README",
    ),
    "ztunnel": _ISTIO,
}

TREES: Final[Mapping[TreeName, Support]] = {
    "kubeflow-pipelines": Support(read_at="2.17.0"),
    "training-operator": Support(read_at="v1.9.4"),
}


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What was run with what.

    Attributes:
        what: Part of the matrix.
        beside: What it ran with; ``{kubernetes}`` is the version of the sandbox's control plane.
        how: How far the trial goes.
        test: What repeats it.
    """

    what: str
    beside: str
    how: str
    test: str


TRIALS: Final = (
    Trial(
        what="every object of the program",
        beside="API server {kubernetes}",
        how="applied with strict validation; pods scheduled on simulated nodes; no container runs",
        test="tests/engine, tests/control_plane",
    ),
    Trial(
        what="every chart of the shipped stacks that can be had",
        beside="helm, API server {kubernetes}",
        how="rendered with the program's values and applied with strict validation; no container runs",
        test="tests/rendering",
    ),
    Trial(
        what="the whole program, all shipped stacks",
        beside="the pinned Pulumi engine and SDKs; emulated clouds",
        how="up, up again, refresh, destroy",
        test="tests/engine",
    ),
    Trial(
        what="the state that each release recorded",
        beside="the present program, the pinned Pulumi engine",
        how="preview over it: nothing that holds data is replaced or deleted",
        test="tests/engine/test_upgrade.py",
    ),
    Trial(
        what="LiteLLM, MLflow, Ray, the code of our own images",
        beside="PostgreSQL, a server of the Redis protocol, an emulated S3",
        how="the programs themselves run and answer",
        test="tests/data_plane",
    ),
    Trial(
        what="vLLM, Triton, NVIDIA's drivers, EKS, GKE",
        beside="nothing",
        how="never run here: they need GPUs or an account",
        test="",
    ),
)
