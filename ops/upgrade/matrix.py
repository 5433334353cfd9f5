"""The version matrix: what is pinned, what Kubernetes it takes, what was tried with what."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from components import versions
from ops.upgrade import support
from ops.upgrade.minors import Range, common, minor, name
from ops.upgrade.support import Support

ROOT: Final = Path(__file__).resolve().parents[2]
_GRAPHS: Final = ROOT / "tests" / "golden"
_TOOLS: Final = (
    ("pulumi", "Pulumi SDK"),
    ("pulumi-aws", "provider of AWS"),
    ("pulumi-eks", "components of EKS"),
    ("pulumi-gcp", "provider of Google Cloud"),
    ("pulumi-kubernetes", "provider of Kubernetes"),
    ("pulumi-policy", "policy SDK"),
    ("pulumi-random", "provider of random values"),
    ("pulumi-tls", "provider of keys and certificates"),
)


@dataclass(frozen=True)
class Row:
    """A chart or a tree of manifests.

    Attributes:
        name: What the program calls it.
        version: Pinned version.
        support: What it says of Kubernetes.
    """

    name: str
    version: str
    support: Support

    @property
    def is_stale(self) -> bool:
        """Whether the pin has moved since its support was read."""
        return self.version != self.support.read_at


def rows() -> list[Row]:
    """Charts and trees, by name."""
    charts = [Row(one, chart.version, support.CHARTS[one]) for one, chart in versions.CHARTS.items()]
    trees = [Row(one, tree.version, support.TREES[one]) for one, tree in versions.TREES.items()]
    return sorted([*charts, *trees], key=lambda row: row.name)


def needed(every: Iterable[Row]) -> Range:
    """Minors that nothing refuses."""
    return common(row.support.needs for row in every)


def supported(every: Iterable[Row]) -> Range:
    """Minors that every publisher supports, as far as it says so."""
    return common(each for row in every for each in (row.support.needs, row.support.supported))


def problems(every: Iterable[Row], number: int) -> dict[str, str]:
    """What stands against a minor version, by chart."""
    return {row.name: problem for row in every if (problem := row.support.problem(number))}


def tools() -> dict[str, str]:
    """Pinned versions of the engine's SDKs, by package."""
    wanted = {package for package, _ in _TOOLS}
    pins = re.findall(r"^([a-z0-9-]+)==([^\s\\;]+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    return {package: version for package, version in pins if package in wanted}


def custom_apis() -> list[tuple[str, str, list[str]]]:
    """API groups and versions of custom resources that the shipped stacks declare, with their kinds.

    From the recorded graphs of the stacks; Kubernetes' own kinds are left out.
    """
    found: dict[tuple[str, str], set[str]] = {}
    for graph in sorted(_GRAPHS.glob("*.yaml")):
        for group, version, kind in re.findall(
            r"^kubernetes:([a-z0-9.-]+)/(v\w+):(\w+) ", graph.read_text(), re.MULTILINE
        ):
            if _is_custom(group):
                found.setdefault((group, version), set()).add(kind)
    return [(group, version, sorted(kinds)) for (group, version), kinds in sorted(found.items())]


# Kubernetes' own groups with a dot; `helm.sh` is the SDK's name for releases.
_OWN: Final = re.compile(
    r"(admissionregistration|apiextensions|apiregistration|discovery|networking|node|rbac\.authorization|scheduling"
    r"|storage|certificates|coordination|events|flowcontrol\.apiserver|resource)\.k8s\.io|helm\.sh"
)


def _is_custom(group: str) -> bool:
    return "." in group and _OWN.fullmatch(group) is None


def as_json(sandbox_kubernetes: str) -> dict[str, Any]:
    """The matrix for programs."""
    every = rows()
    return {
        "kubernetes": {
            "pinned": versions.KUBERNETES,
            "known": list(versions.KUBERNETES_SUPPORTED),
            "notRefused": str(needed(every)),
            "supportedByAll": str(supported(every)),
            "outside": {known: problems(every, minor(known)) for known in versions.KUBERNETES_SUPPORTED},
        },
        "charts": [
            {
                "name": row.name,
                "version": row.version,
                "needs": str(row.support.needs),
                "needsSource": row.support.needs_source,
                "supported": str(row.support.supported),
                "supportedSource": row.support.supported_source,
                "readAt": row.support.read_at,
            }
            for row in every
        ],
        "addons": dict(versions.EKS_ADDONS),
        "clusterAutoscaler": dict(versions.CLUSTER_AUTOSCALER),
        "images": dict(versions.IMAGES),
        "tools": tools(),
        "customResources": [
            {"group": group, "version": version, "kinds": kinds} for group, version, kinds in custom_apis()
        ],
        "tried": [
            {
                "what": one.what,
                "with": one.beside.format(kubernetes=sandbox_kubernetes),
                "how": one.how,
                "test": one.test,
            }
            for one in support.TRIALS
        ],
    }


def markdown(sandbox_kubernetes: str) -> str:
    """The matrix as ``docs/versions.md``."""
    every = rows()
    parts = [
        "# Versions",
        "Written by `python -m ops upgrade matrix --markdown`; do not edit. Pins are in `components/versions.py`, what "
        "charts say of Kubernetes in `ops/upgrade/support.py`. [upgrades.md](upgrades.md) says how to move them.",
        "## Kubernetes",
        *_kubernetes(every),
        "## Tried with what",
        _table(
            ("What", "With", "How far", "Test"),
            [
                (
                    one.what,
                    one.beside.format(kubernetes=sandbox_kubernetes),
                    one.how,
                    ", ".join(f"`{part}`" for part in one.test.split(", ") if part),
                )
                for one in support.TRIALS
            ],
        ),
        "## Charts and manifests",
        "*Needs*: below it, Helm or the program itself refuses. *Supported*: what the publisher supports or tests. "
        "Empty: it says nothing.",
        _table(
            ("Name", "Version", "Needs", "Supported", "Source"),
            [(row.name, row.version, *_says(row.support)) for row in every],
        ),
        "## Add-ons of EKS",
        f"For Kubernetes {versions.KUBERNETES}; another minor needs its own kube-proxy.",
        _table(("Add-on", "Version"), versions.EKS_ADDONS.items()),
        "Cluster autoscaler, one version for each minor:",
        _table(("Kubernetes", "Cluster autoscaler"), versions.CLUSTER_AUTOSCALER.items()),
        "## Images and engines",
        "Beside those of the charts.",
        _table(
            ("Name", "Image"),
            [(one, f"`{image}`") for one, image in sorted(versions.IMAGES.items())],
        ),
        "## Pulumi",
        _table(
            ("Package", "Version", "What it is"),
            [(package, tools()[package], what) for package, what in _TOOLS if package in tools()],
        ),
        "## API versions of custom resources",
        "What the shipped stacks declare; a chart that stops serving one of these is an upgrade of the program too.",
        _table(
            ("Group", "Version", "Kinds"),
            [(group, version, ", ".join(kinds)) for group, version, kinds in custom_apis()],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _kubernetes(every: Sequence[Row]) -> list[str]:
    oldest, newest = versions.KUBERNETES_SUPPORTED[0], versions.KUBERNETES_SUPPORTED[-1]
    lines = [
        f"- Pinned: **{versions.KUBERNETES}**; `cluster.kubernetesVersion` overrides it, from {oldest} to {newest}.",
        f"- Supported by every publisher that names minors: **{supported(every)}**.",
        f"- Refused by nothing: {needed(every)}.",
    ]
    table = [(known, "; ".join(_against(every, minor(known))) or "nothing") for known in versions.KUBERNETES_SUPPORTED]
    return ["\n".join(lines), _table(("Kubernetes", "What stands against it"), table)]


def _against(every: Sequence[Row], number: int) -> list[str]:
    """What stands against a minor version, one text for all that say the same."""
    found: dict[str, list[str]] = {}
    for row in every:
        if number not in row.support.needs:
            found.setdefault(f"needed {row.support.needs}", []).append(row.name)
        elif number not in row.support.supported:
            found.setdefault(f"supported {row.support.supported}", []).append(row.name)
    return [f"{what}: {', '.join(names)}" for what, names in sorted(found.items())]


def _says(one: Support) -> tuple[str, str, str]:
    sources = "; ".join(dict.fromkeys(filter(None, (one.needs_source, one.supported_source))))
    return (_range(one.needs), _range(one.supported), sources)


def _range(one: Range) -> str:
    return "" if one == Range() else str(one)


def _table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in body)])


def pins() -> Mapping[str, str]:
    """Every pinned version by its name in the matrix: charts, trees, add-ons."""
    return {**{row.name: row.version for row in rows()}, **versions.EKS_ADDONS}


def pinned() -> str:
    """The minor of Kubernetes that new stacks get, as text."""
    return name(minor(versions.KUBERNETES))
