"""Every chart, image, add-on and engine version: one line each."""

from __future__ import annotations

from typing import Final, Literal

# Newest minor that every chart we install supports: Volcano 1.15 and Velero 1.18 stop at 1.35 (their support matrices).
KUBERNETES: Final = "1.35"
KUBERNETES_SUPPORTED: Final = ("1.29", "1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36")

AddonName = Literal[
    "vpc-cni",
    "kube-proxy",
    "coredns",
    "eks-pod-identity-agent",
    "aws-ebs-csi-driver",
    "aws-efs-csi-driver",
    "aws-mountpoint-s3-csi-driver",
    "snapshot-controller",
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
}
