"""Whose pods or servers start anew when a preview becomes an update."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from ops.cost.read import State
from ops.plan.preview import Change
from ops.upgrade.removed import installed

_RELEASE: Final = "kubernetes:helm.sh/v3:Release"
_ROLLING: Final = ("Deployment", "StatefulSet", "DaemonSet")
_PODS: Final = tuple(f"kubernetes:apps/v1:{kind}" for kind in _ROLLING)

# Properties whose change restarts a server or moves pods, with what happens. From AWS's pages on modifying a DB
# instance ("downtime occurs"), ElastiCache's on scaling and on engine versions, EKS's on managed node group updates,
# and Google's on Cloud SQL instance settings, Memorystore versions and node upgrades.
_ROLLED: Final = "its nodes are replaced, and pods on them restart"
_OUTAGE: Final = "the server restarts; with a standby it fails over, 60-120 s"
_SWITCH: Final = "nodes are replaced; clients reconnect within seconds where there is a replica"
RESTARTING: Final[Mapping[str, Mapping[str, str]]] = {
    "aws:eks/nodeGroup:NodeGroup": dict.fromkeys(("version", "releaseVersion", "launchTemplate"), _ROLLED),
    "gcp:container/nodePool:NodePool": dict.fromkeys(("version", "nodeConfig"), _ROLLED),
    "aws:rds/instance:Instance": dict.fromkeys(
        ("engineVersion", "instanceClass", "multiAz", "parameterGroupName"), _OUTAGE
    ),
    "gcp:sql/databaseInstance:DatabaseInstance": dict.fromkeys(("databaseVersion", "settings"), _OUTAGE),
    "aws:elasticache/replicationGroup:ReplicationGroup": dict.fromkeys(("engineVersion", "nodeType"), _SWITCH),
    "gcp:redis/instance:Instance": dict.fromkeys(("redisVersion", "memorySizeGb"), _SWITCH),
}


@dataclass(frozen=True, kw_only=True)
class Restart:
    """Something that starts anew.

    Attributes:
        urn: What changes.
        what: What starts anew, for people.
        because: What changes in it.
        workloads: Deployments, StatefulSets and DaemonSets, as ``Deployment namespace/name``; empty where the state
            does not name them.
    """

    urn: str
    what: str
    because: str
    workloads: tuple[str, ...] = ()


def restarts(changes: Iterable[Change], states: Sequence[State]) -> list[Restart]:
    """Restarts that changes bring.

    Args:
        changes: Of a preview.
        states: The stack before them: a release's state names what it installed.
    """
    by_urn = {str(state.get("urn")): state for state in states}
    return [one for change in changes if change.action == "update" for one in _of(change, by_urn.get(change.urn, {}))]


def _of(change: Change, state: State) -> Iterator[Restart]:
    paths = [one.path for one in change.differences]
    if change.type == _RELEASE:
        outputs = cast("Mapping[str, Any]", state.get("outputs") or {})
        workloads = tuple(f"{kind} {one}" for _, kind, names in installed(outputs) if kind in _ROLLING for one in names)
        changed = sorted({path.replace("[", ".").split(".", 1)[0] for path in paths})
        because = f"{', '.join(changed) or 'values'} of the release {'change' if len(changed) != 1 else 'changes'}"
        yield Restart(urn=change.urn, what=f"pods of release {change.name}", because=because, workloads=workloads)
    elif change.type in _PODS:
        if template := [path for path in paths if path.startswith("spec.template")]:
            kind = change.type.rsplit(":", 1)[-1]
            yield Restart(urn=change.urn, what=f"pods of {kind} {change.name}", because=", ".join(template[:3]))
    elif rules := RESTARTING.get(change.type):
        hits = {path: rules[top] for path in paths if (top := path.replace("[", ".").split(".", 1)[0]) in rules}
        if hits:
            what = next(iter(hits.values()))
            yield Restart(urn=change.urn, what=f"{change.name}: {what}", because=", ".join(hits))
