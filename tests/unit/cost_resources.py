"""Resources that tests of the cost model make, and how sums are compared."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ops.cost import Estimate, Range, Resource

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests" / "plan" / "fixtures"


def resource(kind: str, name: str = "one", component: str = "llmops:aws:Foundation", **properties: Any) -> Resource:
    urn = f"urn:pulumi:dev::llmops::{component}${kind}::{name}"
    return Resource(urn=urn, type=kind, properties=properties, region="us-east-1")


def group(name: str = "group", **properties: Any) -> Resource:
    given = {
        "instanceTypes": ["g5.xlarge"],
        "capacityType": "ON_DEMAND",
        "scalingConfig": {"minSize": 1, "maxSize": 4},
        "labels": {"llmops/role": "gpu-inference"},
        "diskSize": 100,
        **properties,
    }
    return resource("aws:eks/nodeGroup:NodeGroup", name, **given)


def deployment(name: str, gpus: int, replicas: int, **labels: str) -> Resource:
    container = {"name": "server", "resources": {"limits": {"nvidia.com/gpu": str(gpus)}}}
    spec = {"containers": [container], "nodeSelector": {"llmops/role": "gpu-inference"}}
    return resource(
        "kubernetes:apps/v1:Deployment",
        name,
        "llmops:workloads:Model",
        metadata={"name": name, "namespace": "mlops-serving", "labels": labels},
        spec={"replicas": replicas, "template": {"spec": spec}},
    )


def usd(found: Estimate, item: str = "") -> Range:
    return Range.total(line.usd for line in found.lines if item in line.item)


def same(one: Range, other: Range) -> bool:
    return all(
        math.isclose(getattr(one, bound), getattr(other, bound), abs_tol=1e-6) for bound in ("low", "expected", "high")
    )
