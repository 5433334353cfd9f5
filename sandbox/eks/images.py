"""EKS-optimized machine images: which type an instance needs, and where AWS publishes the newest."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sandbox.eks.inputs import ComponentError

DEFAULT_SYSTEM = "AL2023"

# Family, generation, processor (g is Graviton), capabilities, size: g5.xlarge, m7g.large, u-6tb1.metal is none.
_INSTANCE_TYPE = re.compile(r"[a-z]+[0-9]+(?P<processor>[a-z])?-?[a-z]*\.[a-zA-Z0-9-]+")


@dataclass(frozen=True)
class Image:
    """One AMI type of the EKS API.

    Attributes:
        system: Operating system, as the ``operatingSystem`` argument names it.
        gpu: With the NVIDIA driver.
        architecture: ``x86_64`` or ``arm64``.
        parameter: SSM parameter that holds the newest AMI's identifier; ``{}`` stands for the Kubernetes version.
    """

    system: str
    gpu: bool
    architecture: str
    parameter: str


def _eks(path: str) -> str:
    return f"/aws/service/eks/optimized-ami/{{}}/{path}/recommended/image_id"


def _bottlerocket(variant: str, architecture: str) -> str:
    return f"/aws/service/bottlerocket/aws-k8s-{{}}{variant}/{architecture}/latest/image_id"


# EKS user guide, "Retrieve recommended AMI IDs"; the types that pulumi-eks knows, in its order of preference.
IMAGES = {
    "AL2_x86_64": Image("AL2", False, "x86_64", _eks("amazon-linux-2")),
    "AL2_x86_64_GPU": Image("AL2", True, "x86_64", _eks("amazon-linux-2-gpu")),
    "AL2_ARM_64": Image("AL2", False, "arm64", _eks("amazon-linux-2-arm64")),
    "AL2023_x86_64_STANDARD": Image("AL2023", False, "x86_64", _eks("amazon-linux-2023/x86_64/standard")),
    "AL2023_ARM_64_STANDARD": Image("AL2023", False, "arm64", _eks("amazon-linux-2023/arm64/standard")),
    "AL2023_x86_64_NVIDIA": Image("AL2023", True, "x86_64", _eks("amazon-linux-2023/x86_64/nvidia")),
    "BOTTLEROCKET_ARM_64": Image("Bottlerocket", False, "arm64", _bottlerocket("", "arm64")),
    "BOTTLEROCKET_x86_64": Image("Bottlerocket", False, "x86_64", _bottlerocket("", "x86_64")),
    "BOTTLEROCKET_ARM_64_NVIDIA": Image("Bottlerocket", True, "arm64", _bottlerocket("-nvidia", "arm64")),
    "BOTTLEROCKET_x86_64_NVIDIA": Image("Bottlerocket", True, "x86_64", _bottlerocket("-nvidia", "x86_64")),
}


def operating_system(ami_type: str | None, system: str | None) -> str:
    """Return the operating system of the nodes; the two arguments must agree."""
    if not ami_type:
        return system or DEFAULT_SYSTEM
    image = image_of(ami_type)
    if system and system != image.system:
        raise ComponentError(f"operatingSystem: {system} is not the system of amiType {ami_type}, {image.system}")
    return image.system


def image_of(ami_type: str) -> Image:
    """Return the image of an AMI type."""
    if ami_type not in IMAGES:
        raise ComponentError(f"amiType: {ami_type} is not one whose system is known: {', '.join(IMAGES)}")
    return IMAGES[ami_type]


def ami_type_for(system: str, instance_types: Sequence[str], *, gpu: bool) -> str:
    """Return the AMI type for an operating system on these instances."""
    architecture = _architecture(instance_types)
    for ami_type, image in IMAGES.items():
        if (image.system, image.gpu, image.architecture) == (system, gpu, architecture):
            return ami_type
    raise ComponentError(f"there is no AMI type for {system} on {architecture} {'with' if gpu else 'without'} GPU")


def _architecture(instance_types: Sequence[str]) -> str:
    found: set[str] = set()
    for instance_type in instance_types:
        if not (match := _INSTANCE_TYPE.match(instance_type)):
            raise ComponentError(f"instanceTypes: {instance_type} is not an EC2 instance type")
        found.add("arm64" if match["processor"] == "g" else "x86_64")
    if len(found) > 1:
        raise ComponentError(f"instanceTypes: {', '.join(instance_types)} mix x86_64 and arm64")
    return found.pop() if found else "x86_64"
