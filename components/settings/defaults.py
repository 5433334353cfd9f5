"""Defaults that differ from cloud to cloud: what the settings leave out is filled in before it is judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

# Sizes of the same meaning as the defaults of the models, which are those of AWS.
_OF_CLOUD: Mapping[str, Mapping[str, Any]] = {
    "gcp": {
        "nodeGroups": [
            {"name": "system", "role": "system", "instanceTypes": ["n2-standard-4"], "minSize": 2, "maxSize": 6},
            # GKE keeps more than a third of a boot disk for itself, which the capacity table's disk must survive.
            {
                "name": "cpu",
                "role": "cpu",
                "instanceTypes": ["n2-standard-8"],
                "maxSize": 10,
                "rootVolumeGib": 150,
            },
            {
                "name": "gpu-training",
                "role": "gpu-training",
                "capacity": "spot",
                "instanceTypes": ["g2-standard-16"],
                "maxSize": 8,
            },
            {
                "name": "gpu-inference",
                "role": "gpu-inference",
                "instanceTypes": ["g2-standard-12"],
                "maxSize": 4,
            },
        ],
        "workloads": [
            {"name": "platform", "role": "system", "vcpu": 16, "memoryGib": 32, "storageGib": 100},
            {"name": "data-processing", "role": "cpu", "vcpu": 32, "memoryGib": 128, "storageGib": 500},
            {
                "name": "training-7b",
                "role": "gpu-training",
                "vcpu": 8,
                "memoryGib": 32,
                "storageGib": 100,
                "gpus": 1,
                "gpuModel": "l4",
            },
            {
                "name": "serving-7b",
                "role": "gpu-inference",
                "vcpu": 4,
                "memoryGib": 24,
                "storageGib": 50,
                "gpus": 1,
                "gpuModel": "l4",
            },
        ],
        "database": {"instanceClass": "db-custom-2-8192"},
        "platform": {
            # Its API server speaks S3 to the object store, with keys instead of an identity.
            "pipelines": {"enabled": False},
            # GKE has both built in.
            "controllers": {"clusterAutoscaler": {"enabled": False}, "loadBalancerController": {"enabled": False}},
        },
    },
    # The servers are there, and only the stack knows which: without them it is refused.
    "onprem": {"nodeGroups": ()},
}


def with_defaults(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as given, with what their cloud has other defaults for; lists are whole, sections are laid over."""
    return _laid_over(_OF_CLOUD.get(str(raw.get("cloud", "aws")), {}), raw)


def _laid_over(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    filled = {**defaults, **given}
    for key, default in defaults.items():
        if key in given and isinstance(default, Mapping) and isinstance(given[key], Mapping):
            filled[key] = _laid_over(cast("Mapping[str, Any]", default), cast("Mapping[str, Any]", given[key]))
    return filled
