"""What an upgrade does to a stack, and what speaks against it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from components.versions import KUBERNETES_SUPPORTED
from ops.cost.read import State
from ops.plan.preview import Change, Preview
from ops.upgrade import matrix
from ops.upgrade.minors import minor, name, path, path_problem, skew_problems
from ops.upgrade.removed import Use, in_state, until
from ops.upgrade.restarts import Restart, restarts
from ops.upgrade.stack_versions import Moved, StackVersions, moved, read


@dataclass(frozen=True, kw_only=True)
class Plan:
    """An upgrade, planned.

    Attributes:
        stack: Name of the stack.
        cloud: Where it is: ``aws``, ``gcp`` or ``onprem``; empty where its state does not say.
        current: Minor of its control plane.
        target: Minor that it is to have; the same for an upgrade of other versions.
        objections: What speaks against it; empty for nothing.
        accepted: Objections that the operator accepted.
        limited: Charts that do not support the target, accepted or not.
        moved: Versions that change.
        replaced: What is replaced or deleted; what holds data is among the objections too.
        restarts: Whose pods or servers start anew.
        updated: What is updated in place and restarts nothing.
        removed: API versions in use that the target no longer serves.
        ending: API versions in use that a later minor no longer serves.
        previewed: Whether a preview was read; without one, nothing is known of replacements and restarts.
        cluster_asked: Whether the live cluster was asked for its use of API versions.
        stand_ins: Versions that the preview was made with and somebody has to look up.
    """

    stack: str
    cloud: str
    current: int
    target: int
    objections: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()
    limited: tuple[str, ...] = ()
    moved: tuple[Moved, ...] = ()
    replaced: tuple[Change, ...] = ()
    restarts: tuple[Restart, ...] = ()
    updated: tuple[Change, ...] = ()
    removed: tuple[Use, ...] = ()
    ending: tuple[Use, ...] = ()
    previewed: bool = False
    cluster_asked: bool = False
    stand_ins: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def way(self) -> tuple[int, ...]:
        """The minors to go through."""
        return path(self.current, self.target)


def build(
    states: Sequence[State],
    *,
    target: str = "",
    preview: Preview | None = None,
    after: Sequence[State] | None = None,
    live: Iterable[Use] | None = None,
    accept: Iterable[str] = (),
    stand_ins: Mapping[str, str] | None = None,
) -> Plan:
    """Plan an upgrade.

    Args:
        states: The stack as it is.
        target: Minor of Kubernetes to go to; without it, the one of ``after``, or the present one.
        preview: What the program would change.
        after: The stack as the preview leaves it.
        live: Ending API versions that the cluster itself knows to be used; None where it was not asked.
        accept: Names of charts whose publisher's limit is knowingly passed.
        stand_ins: Versions that the preview was made with and somebody has to look up.

    Raises:
        VersionError: The state, or ``target``, names no version of Kubernetes.
    """
    now = read(states)
    then = read(after) if after is not None else now
    current = minor(now.kubernetes)
    wanted = minor(target) if target else minor(then.kubernetes)
    removed, ending = until([*in_state(states), *in_state(after or ()), *(live or ())], wanted)
    limits = _limits(now, wanted)
    known = set(accept)
    return Plan(
        stack=now.stack,
        cloud=now.cloud,
        current=current,
        target=wanted,
        objections=(
            *filter(None, [path_problem(current, wanted, KUBERNETES_SUPPORTED)]),
            *_skew(now, wanted),
            *_failed(preview),
            *_at_risk(preview),
            *(text for chart, text in limits.items() if chart not in known),
            *(use.sentence() for use in removed),
        ),
        accepted=tuple(text for chart, text in limits.items() if chart in known),
        limited=tuple(limits),
        moved=tuple(moved(now, then)),
        replaced=tuple(one for one in _changes(preview) if one.action in ("replace", "delete")),
        restarts=tuple(restarts(_changes(preview), states)),
        updated=tuple(_quiet(preview, states)),
        removed=tuple(removed),
        ending=tuple(ending),
        previewed=preview is not None,
        cluster_asked=live is not None,
        stand_ins=stand_ins or {},
    )


def _changes(preview: Preview | None) -> tuple[Change, ...]:
    return preview.changes if preview else ()


def _failed(preview: Preview | None) -> list[str]:
    return [f"the preview failed: {error}" for error in (preview.errors if preview else ())]


def _at_risk(preview: Preview | None) -> list[str]:
    """What holds data and would be replaced or deleted: no upgrade does that."""
    return [
        f"{change.name} ({change.type}) would be {'deleted' if change.action == 'delete' else 'replaced'}, "
        f"and with it {change.loses}{_because(change)}"
        for change in _changes(preview)
        if change.loses
    ]


def _because(change: Change) -> str:
    forcing = [one.path for one in change.differences if one.replaces]
    return f": {', '.join(forcing)}" if forcing else ""


def _quiet(preview: Preview | None, states: Sequence[State]) -> list[Change]:
    changes = _changes(preview)
    loud = {one.urn for one in restarts(changes, states)}
    return [one for one in changes if one.action == "update" and one.urn not in loud]


def _skew(now: StackVersions, wanted: int) -> list[str]:
    """Nodes and kube-proxy against the control plane that is to be, at the moment when only that is new."""
    return skew_problems(wanted, now.beside)


def _limits(now: StackVersions, wanted: int) -> dict[str, str]:
    """What the stack's charts have against the minor; of a state without releases, what all charts have."""
    every = [row for row in matrix.rows() if not now.charts or row.name in now.charts]
    return {chart: f"{chart}: {text}" for chart, text in matrix.problems(every, wanted).items()}


_CONTROL_PLANES: Final = {
    "aws": "EKS upgrades the control plane; pods keep running, the API server answers throughout",
    "gcp": "GKE upgrades the control plane; pods keep running, and a zonal one does not answer meanwhile",
    "onprem": "Whoever runs the cluster upgrades its control plane and nodes by its own procedure",
}
_NODES: Final = {
    "aws": "Node groups follow, each node drained and replaced, at most a third at a time; pods restart",
    "gcp": "Node pools follow in their maintenance window, by surge; pods restart",
    "onprem": "Nodes follow, drained one by one; pods restart",
}


def steps(plan: Plan) -> list[str]:
    """What to do, in this order."""
    found = [
        "Back up: a Velero backup and a snapshot of the database, not older than this day (docs/runbooks/recovery.md)"
    ]
    if plan.removed:
        found.append("Move what uses API versions that end, and plan again; nothing of it may be left")
    charts = [one for one in plan.moved if one.kind == "chart"]
    if not plan.way:
        found.append("Merge the change of versions; one `pulumi up` brings it")
        if charts:
            found.append(f"Releases roll: {', '.join(one.name for one in charts)}; then `python -m ops drift`")
        return found
    target = name(plan.way[0])
    if plan.limited:
        charts_first = ", ".join(plan.limited)
        found.append(f"Move first, in an update of their own: {charts_first}; each to a version that supports {target}")
    if plan.cloud == "onprem":
        found += [
            _CONTROL_PLANES["onprem"],
            _NODES["onprem"],
            f"Set cluster.kubernetesVersion to {target} afterwards, and `pulumi up`: the program only checks it",
        ]
    else:
        proxy = " and cluster.addonVersions.kube-proxy to its version of that minor" if plan.cloud == "aws" else ""
        found += [
            f"Set cluster.kubernetesVersion to {target}{proxy}; `python -m ops plan` shows the rest",
            "One `pulumi up` does what follows, in this order",
            _CONTROL_PLANES.get(plan.cloud, "The control plane is upgraded"),
        ]
        if plan.cloud == "aws":
            found.append("Add-ons that go with it: kube-proxy of the same minor; the others serve several")
        found.append(_NODES.get(plan.cloud, "Nodes follow"))
        if plan.cloud == "aws":
            found.append("The cluster autoscaler moves to the version of that minor, last")
    found.append("`python -m ops drift`, and the alerts for an hour; then the next minor, if there is one")
    return found


def way_back(plan: Plan) -> list[str]:
    """How to undo it."""
    found: list[str] = []
    if plan.way:
        found.append(
            "The control plane does not go down. Until nodes have followed, old nodes go on serving; after that the "
            "way back is a new cluster of the old minor and Velero's backup in it (docs/runbooks/recovery.md)"
        )
    found += [
        "Releases, add-ons and images: revert the commit and `pulumi up`; a release that did not become ready was "
        "rolled back by Helm already",
        "Definitions of custom resources stay new: Helm does not take them back, and newer ones read older objects",
    ]
    if any(one.kind == "database" for one in plan.moved):
        found.append(
            "A database's engine does not go down: restore the snapshot beside it, then point the platform at it"
        )
    return found


def as_json(plan: Plan) -> dict[str, Any]:
    """The plan for programs."""
    return {
        "stack": plan.stack,
        "kubernetes": {
            "current": name(plan.current),
            "target": name(plan.target),
            "way": [name(number) for number in plan.way],
        },
        "objections": list(plan.objections),
        "accepted": list(plan.accepted),
        "previewed": plan.previewed,
        "clusterAsked": plan.cluster_asked,
        "versions": [
            {"kind": one.kind, "name": one.name, "before": one.before, "after": one.after} for one in plan.moved
        ],
        "standIns": dict(plan.stand_ins),
        "replaces": [
            {"resource": one.name, "type": one.type, "action": one.action, "loses": one.loses, "urn": one.urn}
            for one in plan.replaced
        ],
        "restarts": [
            {"what": one.what, "because": one.because, "workloads": list(one.workloads), "urn": one.urn}
            for one in plan.restarts
        ],
        "updates": [{"resource": one.name, "type": one.type, "urn": one.urn} for one in plan.updated],
        "removedApis": [_use(one) for one in plan.removed],
        "endingApis": [_use(one) for one in plan.ending],
        "steps": steps(plan),
        "wayBack": way_back(plan),
    }


def _use(one: Use) -> dict[str, str]:
    return {"api": one.api, "what": one.what, "where": one.where, "removed": name(one.removed), "instead": one.instead}
