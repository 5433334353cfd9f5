"""Kubernetes objects as rules read them: pod templates wherever they are, namespaces, quantities."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, cast

from policies.view import UNKNOWN, Resource, at, listed

NAMESPACE: Final = "kubernetes:core/v1:Namespace"
RELEASE: Final = "kubernetes:helm.sh/v3:Release"

# Kubernetes API concepts, "Quantity".
_UNITS: Final = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
}
_QUANTITY: Final = re.compile(r"([0-9.]+)(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?")


def quantity(value: Any) -> Decimal | None:
    """A quantity such as ``500m`` or ``4Gi`` in its base unit; None where it is none."""
    match = _QUANTITY.fullmatch(str(value))
    return Decimal(match[1]) * _UNITS[match[2] or ""] if match else None


@dataclass(frozen=True)
class Container:
    """One container.

    Attributes:
        name: Its name.
        spec: The container as Kubernetes has it.
        starts_first: It is an init container without ``restartPolicy: Always``: it ends before the others start.
    """

    name: str
    spec: dict[str, Any]
    starts_first: bool


@dataclass(frozen=True)
class Pod:
    """A pod, or the template of pods.

    Attributes:
        spec: Its specification.
        labels: Labels of the template.
        where: Path to it, for messages; empty where the object has only one.
    """

    spec: dict[str, Any]
    labels: dict[str, Any]
    where: str

    @property
    def containers(self) -> Iterator[Container]:
        """All containers whose specification is known."""
        for kind in ("initContainers", "containers"):
            for spec in listed(self.spec, kind):
                if isinstance(spec, dict):
                    known = cast("dict[str, Any]", spec)
                    first = kind == "initContainers" and known.get("restartPolicy") != "Always"
                    yield Container(str(known.get("name")), known, first)


def completed_elsewhere(resource: Resource) -> bool:
    """Whether its pods lack what each model, or each training run, adds of its own: resources, and who they run as."""
    return resource.type.rpartition(":")[2] in _RUNTIMES


def pods(resource: Resource) -> list[Pod]:
    """Every pod template in an object, of a built-in kind or of a custom resource.

    A model (InferenceService) or a training run (TrainJob) is the other half of a runtime's template: what it adds to
    the template's container stands here as a container without an image.
    """
    if not resource.type.startswith("kubernetes:") or resource.type == RELEASE:
        return []
    if (path := _COMPLETING.get(resource.type.rpartition(":")[2])) is not None:
        return _completing(resource, path)
    return list(_search(resource.get("spec"), {}, "spec")) if not resource.type.endswith(":Pod") else _bare(resource)


_RUNTIMES: Final = frozenset({"ClusterServingRuntime", "ServingRuntime", "ClusterTrainingRuntime", "TrainingRuntime"})

# By kind: where its pods are specified, and which part of that is the container.
_COMPLETING: Final = {"InferenceService": ("predictor", "model"), "TrainJob": ("trainer", "")}


def _completing(resource: Resource, path: tuple[str, str]) -> list[Pod]:
    part, inner = path
    spec = resource.get("spec", part)
    if not isinstance(spec, dict):
        return []
    known = cast("dict[str, Any]", spec)
    if "containers" in known:
        return [Pod(known, {}, f"spec.{part}")]
    own = known.get(inner) if inner else {"resources": known.get("resourcesPerNode")}
    container = {"name": inner or part, **(cast("dict[str, Any]", own) if isinstance(own, dict) else {})}
    return [Pod({**known, "containers": [container]}, {}, f"spec.{part}")]


def _bare(resource: Resource) -> list[Pod]:
    spec = resource.get("spec")
    return [Pod(cast("dict[str, Any]", spec), _labels(resource.properties), "")] if isinstance(spec, dict) else []


def _search(value: Any, holder: dict[str, Any], where: str) -> Iterator[Pod]:
    """Anything with a list of containers that have images is a pod's specification."""
    if isinstance(value, list):
        for index, item in enumerate(cast("list[Any]", value)):
            yield from _search(item, {}, f"{where}[{index}]")
    if not isinstance(value, dict):
        return
    spec = cast("dict[str, Any]", value)
    containers = spec.get("containers")
    if isinstance(containers, list) and any(at(one, "image") is not None for one in cast("list[Any]", containers)):
        yield Pod(spec, _labels(holder), where)
        return
    for key, item in spec.items():
        yield from _search(item, spec, f"{where}.{key}")


def _labels(holder: Any) -> dict[str, Any]:
    found = at(holder, "metadata", "labels")
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def label(resource: Resource, key: str) -> Any:
    """A label of an object."""
    return resource.get("metadata", "labels", key)


def object_name(resource: Resource) -> Any:
    """Its name in the cluster."""
    return resource.get("metadata", "name")


class Namespaces:
    """The namespaces that a stack makes, and which of them an object is in."""

    def __init__(self, resources: Sequence[Resource]) -> None:
        self.all = [resource for resource in resources if resource.type == NAMESPACE]
        self._by_urn = {one.urn: object_name(one) for one in self.all}

    def exists(self, name: str) -> bool:
        """Whether the stack makes a namespace of this name."""
        return name in self._by_urn.values()

    def of(self, resource: Resource) -> list[str]:
        """The namespace of an object: by name, or by the resource that the name comes from."""
        name = resource.get("namespace") if resource.type == RELEASE else resource.get("metadata", "namespace")
        if isinstance(name, str):
            return [name]
        sources = resource.sources.get("namespace" if resource.type == RELEASE else "metadata", ())
        return [str(self._by_urn[urn]) for urn in sources if urn in self._by_urn]


def namespaced_name(resource: Resource) -> str:
    """``namespace/name`` as lists in configuration have it."""
    namespace, name = resource.get("metadata", "namespace"), object_name(resource)
    return f"{namespace if isinstance(namespace, str) else '*'}/{name if isinstance(name, str) else resource.name}"


def volume_claims_gib(resource: Resource) -> Any:
    """Volumes in GiB that an object claims; ``UNKNOWN`` where a size is unknown, 0 where it claims none."""
    if resource.type.endswith(":PersistentVolumeClaim"):
        claims, count = [resource.get("spec")], 1
    elif resource.type.endswith(":StatefulSet"):
        claims = [at(one, "spec") for one in resource.items("spec", "volumeClaimTemplates")]
        replicas = resource.get("spec", "replicas")
        count = 1 if replicas is None else replicas
    else:
        return 0
    sizes = [at(claim, "resources", "requests", "storage") for claim in claims]
    if claims and (count is UNKNOWN or UNKNOWN in sizes):
        return UNKNOWN
    total = sum((quantity(size) or Decimal(0)) for size in sizes) * (count if claims else 1)
    return int(-(-total // _UNITS["Gi"]))
