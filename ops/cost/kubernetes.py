"""What objects in the cluster make the cloud charge for: load balancers and volumes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from ops.cost import gcp
from ops.cost.aws import Pricer, balancer
from ops.cost.items import Bill
from ops.cost.model import Resource, at

_SCHEME: Final = "service.beta.kubernetes.io/aws-load-balancer-scheme"
_QUANTITY: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(Mi|Gi|Ti|M|G|T)?")
_BYTES: Final = {"": 1, "M": 10**6, "G": 10**9, "T": 10**12, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
# Charts whose service is a load balancer unless their values say otherwise (their own values.yaml).
_BALANCED_CHARTS: Final = ("gateway",)
_PERSISTENT: Final = re.compile(r"persist|volumeClaim|pvc", re.IGNORECASE)


def gib(quantity: Any) -> float | None:
    """A Kubernetes quantity of bytes in GiB; None where it is none, or not known yet."""
    if isinstance(quantity, (int, float)) and not isinstance(quantity, bool):
        return quantity / 2**30
    found = _QUANTITY.fullmatch(quantity.strip()) if isinstance(quantity, str) else None
    return float(found[1]) * _BYTES[found[2] or ""] / 2**30 if found else None


def _zones(bill: Bill) -> int:
    """Zones that the cluster's nodes are in, as many as the widest node group has subnets."""
    groups = [one for one in bill.resources.values() if one.type == "aws:eks/nodeGroup:NodeGroup"]
    return max((len(group.items("subnetIds")) for group in groups), default=2)


def _is_google(bill: Bill) -> bool:
    return any(one.type.startswith("gcp:") for one in bill.resources.values())


def _disk(bill: Bill) -> str:
    """What a claim gets where it names no storage class: the foundations' own default."""
    return "gcp/pd-balanced" if _is_google(bill) else "ebs/gp3"


def _balance(resource: Resource, bill: Bill, annotations: Any, kind: str) -> None:
    if _is_google(bill):
        gcp.balancer(resource, bill)
        return
    public = at(annotations, _SCHEME) == "internet-facing" or at(annotations, "alb.ingress.kubernetes.io/scheme") == (
        "internet-facing"
    )
    balancer(resource, bill, kind, _zones(bill) if public else 0)


def _service(resource: Resource, bill: Bill) -> None:
    if resource.text("spec", "type") == "LoadBalancer":
        _balance(resource, bill, resource.get("metadata", "annotations"), "nlb")


def _ingress(resource: Resource, bill: Bill) -> None:
    if resource.text("spec", "ingressClassName") == "alb":
        _balance(resource, bill, resource.get("metadata", "annotations"), "alb")


def _claim(resource: Resource, bill: Bill) -> None:
    _volume(resource, bill, resource.get("spec"), 1)


def _stateful_set(resource: Resource, bill: Bill) -> None:
    replicas = resource.number("spec", "replicas")
    for template in resource.items("spec", "volumeClaimTemplates"):
        _volume(resource, bill, at(template, "spec"), 1 if replicas is None else replicas)


def _volume(resource: Resource, bill: Bill, spec: Any, count: float) -> None:
    if "ReadWriteMany" in (at(spec, "accessModes") or []):
        return  # the shared file system, which is a line of its own
    size = gib(at(spec, "resources", "requests", "storage"))
    if size is None:
        bill.skip(resource, "a volume whose size is not plain")
    else:
        bill.add(resource, "volume", _disk(bill), count * size)


def _release(resource: Resource, bill: Bill) -> None:
    """A chart is seen through its values: load balancers and volumes that they name, and no others."""
    values = resource.get("values")
    chart = resource.text("chart").rpartition("/")[2]
    services = list(_named(values, "service"))
    asked = [one for one in services if at(one, "type") == "LoadBalancer"]
    if not asked and chart in _BALANCED_CHARTS and at(values, "service", "type") is None:
        asked = [at(values, "service")]
    for service in asked:
        _balance(resource, bill, at(service, "annotations"), "nlb")
    for path, size in _sizes(values):
        bill.add(resource, f"volume ({'.'.join(path)})", _disk(bill), size)


def _named(values: Any, name: str) -> Iterator[Any]:
    if isinstance(values, Mapping):
        for key, value in cast("Mapping[str, Any]", values).items():
            if key == name:
                yield value
            yield from _named(value, name)


def _sizes(values: Any, path: tuple[str, ...] = (), replicas: int = 1) -> Iterator[tuple[tuple[str, ...], float]]:
    """Sizes of volumes in a chart's values: a quantity below a key that speaks of persistence, unless that is off.

    As many as the replicas that the values name beside them or, further out, nearest to them.
    """
    if not isinstance(values, Mapping):
        return
    mapping = cast("Mapping[str, Any]", values)
    if at(mapping, "enabled") is False:
        return
    named = [mapping[key] for key in ("replicas", "replicaCount") if isinstance(mapping.get(key), (int, float))]
    replicas = int(named[0]) if named else replicas
    for key, value in mapping.items():
        here = (*path, key)
        if key in ("size", "storage") and any(_PERSISTENT.search(part) for part in path):
            if (size := gib(value)) is not None:
                yield here, size * replicas
        else:
            yield from _sizes(value, here, replicas)


PRICERS: Final[Mapping[str, Pricer]] = {
    "kubernetes:apps/v1:StatefulSet": _stateful_set,
    "kubernetes:core/v1:PersistentVolumeClaim": _claim,
    "kubernetes:core/v1:Service": _service,
    "kubernetes:helm.sh/v3:Release": _release,
    "kubernetes:networking.k8s.io/v1:Ingress": _ingress,
}
