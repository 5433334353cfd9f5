"""Versions that a stack has, from its state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

from components.versions import CHARTS
from ops.cost.model import at
from ops.cost.read import State

Kind = Literal["kubernetes", "node group", "add-on", "chart", "database", "cache"]

_CHART_NAMES: Final = {(chart.repository, chart.name): name for name, chart in CHARTS.items()}

# Which property of which resource is a version, and whose name people know it by.
_VERSIONED: Final[Mapping[str, tuple[Kind, str, str]]] = {
    "aws:eks/nodeGroup:NodeGroup": ("node group", "version", ""),
    "gcp:container/nodePool:NodePool": ("node group", "version", ""),
    "aws:eks/addon:Addon": ("add-on", "addonVersion", "addonName"),
    "aws:rds/instance:Instance": ("database", "engineVersion", ""),
    "aws:elasticache/replicationGroup:ReplicationGroup": ("cache", "engineVersion", ""),
    "gcp:sql/databaseInstance:DatabaseInstance": ("database", "databaseVersion", ""),
    "gcp:redis/instance:Instance": ("cache", "redisVersion", ""),
}
_CLUSTERS: Final[Mapping[str, tuple[str, str]]] = {
    "aws:eks/cluster:Cluster": ("aws", "version"),
    "gcp:container/cluster:Cluster": ("gcp", "minMasterVersion"),
}


@dataclass(frozen=True, kw_only=True)
class StackVersions:
    """What a stack runs.

    Attributes:
        stack: Its name.
        cloud: Where it is; empty where the state does not say.
        kubernetes: Version of the control plane.
        charts: Version of each chart, by the name that the program has for it.
        others: Everything else that has a version, by kind and name.
    """

    stack: str
    cloud: str
    kubernetes: str
    charts: Mapping[str, str] = field(default_factory=dict[str, str])
    others: Mapping[tuple[Kind, str], str] = field(default_factory=dict[tuple[Kind, str], str])

    @property
    def beside(self) -> dict[str, str]:
        """What must not be far from the control plane: kubelets and kube-proxy."""
        return {
            name if kind == "add-on" else f"node group {name}": version
            for (kind, name), version in self.others.items()
            if version and (kind == "node group" or name == "kube-proxy")
        }


@dataclass(frozen=True, kw_only=True)
class Moved:
    """A version that changes.

    Attributes:
        kind: What it is a version of.
        name: Of what.
        before: The version now; empty for something new.
        after: The version to be; empty for something that goes.
    """

    kind: Kind
    name: str
    before: str
    after: str


def read(states: Iterable[State]) -> StackVersions:
    """The versions of a state."""
    every = list(states)
    outputs: Mapping[str, Any] = {}
    stack, cloud, kubernetes = "", "", ""
    charts: dict[str, str] = {}
    others: dict[tuple[Kind, str], str] = {}
    for state in every:
        type_, inputs = str(state.get("type", "")), cast("Mapping[str, Any]", state.get("inputs") or {})
        resource = str(state.get("urn", "")).rsplit("::", 1)[-1]
        if type_ == "pulumi:pulumi:Stack":
            outputs = cast("Mapping[str, Any]", state.get("outputs") or {})
            stack = str(state["urn"]).split("::", 1)[0].rsplit(":", 1)[-1]
        elif type_ == "kubernetes:helm.sh/v3:Release":
            chart = chart_name(inputs)
            charts[chart] = str(inputs.get("version") or "")
        elif type_ in _CLUSTERS:
            cloud, key = _CLUSTERS[type_]
            kubernetes = str(inputs.get(key) or "")
        elif type_ in _VERSIONED:
            kind, key, named = _VERSIONED[type_]
            others[kind, str(inputs.get(named) or resource) if named else resource] = str(inputs.get(key) or "")
    return StackVersions(
        stack=stack,
        cloud=str(outputs.get("cloud") or cloud),
        # The program's own word is there for every cloud; a reduced state may have the cluster alone.
        kubernetes=kubernetes or str(outputs.get("kubernetesVersion") or ""),
        charts=charts,
        others=others,
    )


def chart_name(inputs: Mapping[str, Any]) -> str:
    """The program's name of a release's chart; one that it does not know keeps its own."""
    chart, repository = str(inputs.get("chart") or ""), str(at(inputs, "repositoryOpts", "repo") or "")
    if chart.startswith("oci://"):
        repository, _, chart = chart.rpartition("/")
    known = _CHART_NAMES.get((repository, chart))
    if known is None:  # behind an air gap the repository is a mirror's
        known = next((name for (_, own), name in _CHART_NAMES.items() if own == chart), chart)
    return known


def moved(before: StackVersions, after: StackVersions) -> Iterator[Moved]:
    """What differs, the control plane first, then in the order in which it is brought up."""
    if before.kubernetes != after.kubernetes:
        yield Moved(kind="kubernetes", name="control plane", before=before.kubernetes, after=after.kubernetes)
    for kind in ("add-on", "node group", "database", "cache"):
        names = sorted({name for of, name in (*before.others, *after.others) if of == kind})
        for name in names:
            old, new = before.others.get((kind, name), ""), after.others.get((kind, name), "")
            if old != new:
                yield Moved(kind=kind, name=name, before=old, after=new)
    for name in sorted({*before.charts, *after.charts}):
        old, new = before.charts.get(name, ""), after.charts.get(name, "")
        if old != new:
            yield Moved(kind="chart", name=name, before=old, after=new)
