"""The drill of the cluster: objects of one namespace, restored from the last backup into another, and compared."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, cast

from components.platform.pods.drill_report import Drill
from ops.jobs import Cluster
from ops.progress import PatienceError, Progress
from ops.refusals import RefusedError
from ops.restore.cluster import NAMESPACE as VELERO
from ops.restore.cluster import RESTORES, Backup, RestoreRequest, backups, chosen_of, read_only, run
from ops.stack import StackError

KINDS: Final = (
    "configmaps",
    "secrets",
    "serviceaccounts",
    "networkpolicies.networking.k8s.io",
    "resourcequotas",
    "limitranges",
)
"""What is restored: nothing that a controller would run, balance or give people rights by."""

_PATIENCE_SECONDS: Final = 1800.0
_MOMENT: Final = "%Y%m%d%H%M%S"
_TARGET: Final = re.compile(r"drill-.+-\d{14}")
_MADE_ANEW: Final = frozenset(
    {
        # Made in every namespace by the control plane and the mesh; Velero finds them there and leaves them.
        ("configmaps", "kube-root-ca.crt"),
        ("configmaps", "openshift-service-ca.crt"),
        ("configmaps", "istio-ca-root-cert"),
        ("serviceaccounts", "default"),
    }
)
_CONTENTS: Final = ("data", "binaryData", "type", "spec", "immutable", "automountServiceAccountToken")
_TOKEN: Final = "kubernetes.io/service-account-token"

Objects = Mapping[tuple[str, str], Mapping[str, Any]]
"""Objects by kind and name."""


@dataclass(frozen=True, kw_only=True)
class ClusterDrill:
    """What is rehearsed.

    Attributes:
        backup: What is restored from.
        namespace: What is restored.
        target: Namespace that it is restored into, and that goes afterwards.
    """

    backup: Backup
    namespace: str
    target: str

    @property
    def request(self) -> RestoreRequest:
        """The Restore: objects only, no volumes."""
        return RestoreRequest(
            name=self.target,
            backup=self.backup.name,
            namespaces=(self.namespace,),
            renamed={self.namespace: self.target},
            resources=KINDS,
            volumes=False,
        )


def planned(cluster: Cluster, backup: str, namespace: str, now: datetime) -> ClusterDrill:
    """The drill of a namespace, from a backup or the last complete one.

    Raises:
        RefusedError: There is no such backup, or the backup lacks the namespace.
    """
    chosen = chosen_of(backups(cluster), backup, (namespace,))
    # Names of namespaces have 63 characters at most.
    return ClusterDrill(backup=chosen, namespace=namespace, target=f"drill-{namespace[:40]}-{now.strftime(_MOMENT)}")


def leftovers(cluster: Cluster, now: datetime) -> list[str]:
    """Namespaces of drills that were killed: copies of a namespace's Secrets, which nobody would remove.

    Each is known by its Restore, which a drill removes last. One that may still be under way is none.
    """
    found: list[str] = []
    for one in cluster.all(VELERO, RESTORES):
        name: str = one["metadata"]["name"]
        mapped: Mapping[str, str] = one["spec"].get("namespaceMapping") or {}
        ours = _TARGET.fullmatch(name) and list(mapped.values()) == [name]
        if ours and (now - _time(one["metadata"]["creationTimestamp"])).total_seconds() > 2 * _PATIENCE_SECONDS:
            found.append(name)
    return found


def sweep(cluster: Cluster, names: Sequence[str], progress: Progress) -> None:
    """Remove what drills left that were killed."""
    for name in names:
        progress.say(f"removes {name}, which a drill left that was killed")
        cluster.delete("", "namespace", name)
        cluster.delete(VELERO, RESTORES, name)


def rehearse(
    cluster: Cluster,
    planned: ClusterDrill,
    drill: Drill,
    progress: Progress,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Restore, compare, and clean up whatever happens: an error and Ctrl-C too."""
    drill.source = planned.backup.name
    if planned.backup.started:
        # The clock of this machine and the cluster's may differ.
        drill.recovery_point_seconds = max(0.0, drill.started_at - planned.backup.started.timestamp())
    try:
        with read_only(cluster):
            with drill.step("restore"):
                phase = run(cluster, planned.request, progress, patience_seconds=_PATIENCE_SECONDS, sleep=sleep)
            drill.recovery_time_seconds = drill.steps["restore"]
        drill.check("the restore came to its end", phase, passed=phase == "Completed")
        with drill.step("compare"):
            living, restored = (objects(cluster, one) for one in (planned.namespace, planned.target))
            drill.amounts["objects"] = len(restored)
            compare(drill, living, restored, planned.backup.started or datetime.now(UTC))
    except (StackError, RefusedError, PatienceError) as error:
        drill.check("the drill came to its end", str(error), passed=False)
    finally:
        progress.say("cleans up")
        with drill.step("clean-up"):
            clean(cluster, planned, drill)


def clean(cluster: Cluster, planned: ClusterDrill, drill: Drill) -> None:
    """Remove what was restored; a drill that leaves something behind has failed."""
    for namespace, kind, name in (("", "namespace", planned.target), (VELERO, RESTORES, planned.target)):
        try:
            cluster.delete(namespace, kind, name)
        except StackError as error:
            drill.check("nothing is left behind", f"{kind} {name}: {error}", passed=False)


def objects(cluster: Cluster, namespace: str) -> dict[tuple[str, str], Mapping[str, Any]]:
    """Objects of the kinds that are compared."""
    return {(kind, one["metadata"]["name"]): one for kind in KINDS for one in cluster.all(namespace, kind)}


def compare(drill: Drill, living: Objects, restored: Objects, taken: datetime) -> None:
    """What was there when the backup was taken is there again; what was not changed since is the same."""
    missing: list[str] = []
    differing: list[str] = []
    changed = alike = 0
    for key, one in living.items():
        if key in _MADE_ANEW or one.get("type") == _TOKEN or _made(one) > taken:
            continue
        other = restored.get(key)
        label = f"{key[0]}/{key[1]}"
        if _changed(one) > taken:  # its content of that moment is nowhere to compare with
            changed += 1
            if other is None:
                missing.append(label)
        elif other is None:
            missing.append(label)
        elif digest(one) != digest(other):
            differing.append(label)
        else:
            alike += 1
    told = f"{alike} are the same, {changed} were changed since the backup"
    drill.check("every object is there", _some(missing) or f"{alike + changed}", passed=not missing)
    drill.check("contents are the same", _some(differing) or told, passed=not differing and bool(alike or changed))


def digest(one: Mapping[str, Any]) -> str:
    """Hash of what an object says; secrets leave no other trace."""
    contents = {key: one[key] for key in _CONTENTS if key in one}
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()


def _made(one: Mapping[str, Any]) -> datetime:
    return _time(one["metadata"]["creationTimestamp"])


def _changed(one: Mapping[str, Any]) -> datetime:
    """When it was last written, its status apart."""
    entries = cast("Sequence[Mapping[str, str]]", one["metadata"].get("managedFields") or ())
    times: Iterable[datetime] = (
        _time(entry["time"]) for entry in entries if "time" in entry and entry.get("subresource") != "status"
    )
    return max(times, default=_made(one))


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(sorted(names)[:5]) + more
