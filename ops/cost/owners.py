"""Whose a resource is: team and model, from tags, labels and namespaces; and which GPUs pods ask for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ops.cost.model import SHARED, Range, Resource, at

TEAM_KEYS: Final = ("llmops/team", "team")
MODEL_KEYS: Final = ("llmops/model", "model")
_TEAM_NAMESPACE: Final = "team-"
_GPU: Final = "nvidia.com/gpu"
_KEDA: Final = "ScaledObject"


@dataclass(frozen=True, kw_only=True)
class Owner:
    """Who has something, and for which model."""

    team: str = SHARED
    model: str = SHARED


@dataclass(frozen=True, kw_only=True)
class Claim:
    """GPUs that pods of one workload hold.

    Attributes:
        owner: Whose pods they are.
        gpus: GPUs of each pod.
        replicas: Pods, at least and at most.
        selector: Labels of the nodes that they may run on.
    """

    owner: Owner
    gpus: float
    replicas: tuple[float, float]
    selector: Mapping[str, str]

    def suits(self, labels: Mapping[str, Any]) -> bool:
        """Whether nodes with these labels take the pods."""
        return all(labels.get(key) == value for key, value in self.selector.items())

    def held(self, share: float) -> float:
        """GPUs held when the workload stands at a share of its range."""
        least, most = self.replicas
        return self.gpus * (least + share * (most - least))


def owners_of(resources: Mapping[str, Resource]) -> dict[str, Owner]:
    """Team and model by URN; what a resource does not say, the nearest parent that does says for it."""
    found: dict[str, Owner] = {}

    def owner(urn: str) -> Owner:
        if urn in found:
            return found[urn]
        resource = resources.get(urn)
        if resource is None:
            return Owner()
        found[urn] = Owner()  # ends a chain of parents that runs in a circle
        above = owner(resource.parent) if resource.parent else Owner()
        found[urn] = Owner(
            team=_first(resource, TEAM_KEYS) or _namespace_team(resource) or above.team,
            model=_first(resource, MODEL_KEYS) or above.model,
        )
        return found[urn]

    for urn in resources:
        owner(urn)
    return found


def _first(resource: Resource, keys: tuple[str, ...]) -> str:
    for where in (("tags",), ("labels",), ("metadata", "labels")):
        for key in keys:
            value = resource.get(*where, key)
            if isinstance(value, str) and value:
                return value
    return ""


def _namespace_team(resource: Resource) -> str:
    namespace = resource.text("metadata", "namespace") or resource.text("namespace")
    return namespace.removeprefix(_TEAM_NAMESPACE) if namespace.startswith(_TEAM_NAMESPACE) else ""


def claims_of(resources: Iterable[Resource], owners: Mapping[str, Owner]) -> list[Claim]:
    """GPUs that the stack's own workloads ask for; pods that charts or jobs bring are not seen."""
    every = list(resources)
    scaled = {
        (one.text("metadata", "namespace"), one.text("spec", "scaleTargetRef", "name")): one
        for one in every
        if one.text("kind") == _KEDA or one.type.endswith(f":{_KEDA}")
    }
    claims: list[Claim] = []
    for one in every:
        gpus = sum(_gpus(container) for container in one.items("spec", "template", "spec", "containers"))
        if not gpus:
            continue
        fixed = one.number("spec", "replicas")
        least = most = 1.0 if fixed is None else fixed
        if scaler := scaled.get((one.text("metadata", "namespace"), one.text("metadata", "name"))):
            least = scaler.number("spec", "minReplicaCount") or 0.0
            most = scaler.number("spec", "maxReplicaCount") or 100.0  # KEDA's default
        owner = owners.get(one.urn) or Owner()
        labels = one.table("spec", "template", "metadata", "labels")
        claims.append(
            Claim(
                owner=Owner(
                    team=owner.team if owner.team != SHARED else _label(labels, TEAM_KEYS),
                    model=owner.model if owner.model != SHARED else _label(labels, MODEL_KEYS),
                ),
                gpus=gpus,
                replicas=(least, most),
                selector=one.table("spec", "template", "spec", "nodeSelector"),
            )
        )
    return claims


def _label(labels: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    return next((str(labels[key]) for key in keys if labels.get(key)), SHARED)


def _gpus(container: Any) -> float:
    for kind in ("limits", "requests"):
        value = at(container, "resources", kind, _GPU)
        if isinstance(value, (int, float, str)) and str(value).isdigit():
            return float(value)
    return 0.0


def split(count: Range, gpus_a_node: float, share: float, claims: Iterable[Claim]) -> list[tuple[Owner, Range]]:
    """Nodes of a group, divided among those whose pods hold its GPUs; what nobody holds is shared.

    Where more GPUs are asked for than there are, each gets in proportion.
    """
    held: dict[Owner, Range] = {}
    for claim in claims:
        more = Range(low=claim.held(0), expected=claim.held(share), high=claim.held(1))
        held[claim.owner] = Range.total((held.get(claim.owner, Range.of(0)), more))
    asked = Range.total(held.values())

    def part(mine: float, everybody: float, nodes: float) -> float:
        there = nodes * gpus_a_node
        return nodes * mine / max(everybody, there) if there else 0.0

    parts = [
        (
            owner,
            Range(
                low=part(mine.low, asked.low, count.low),
                expected=part(mine.expected, asked.expected, count.expected),
                high=part(mine.high, asked.high, count.high),
            ),
        )
        for owner, mine in held.items()
    ]
    rest = count.minus(Range.total(nodes for _, nodes in parts))
    return [*parts, (Owner(), Range(low=max(rest.low, 0), expected=max(rest.expected, 0), high=max(rest.high, 0)))]
