"""``ops restore cluster``: Kubernetes objects and volumes from a backup of Velero."""

from __future__ import annotations

import gzip
import json
import time
import urllib.request
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Final, cast

import typer

from ops import console
from ops.jobs import Cluster, named
from ops.progress import PatienceError, Progress, until
from ops.refusals import RefusedError, explained
from ops.stack import Confirmed, InSandbox, Stack, StackName

NAMESPACE: Final = "velero"
API: Final = "velero.io/v1"
LOCATION: Final = "default"

# By their full names: other systems have kinds of the same plural.
BACKUPS: Final = "backups.velero.io"
RESTORES: Final = "restores.velero.io"
LOCATIONS: Final = "backupstoragelocations.velero.io"
DOWNLOADS: Final = "downloadrequests.velero.io"

PATIENCE_SECONDS: Final = 6 * 3600.0
_RESULTS_SECONDS: Final = 120.0
_ENDS: Final = ("Completed", "PartiallyFailed", "Failed", "FailedValidation")
_SHOWN: Final = 40


@dataclass(frozen=True, kw_only=True)
class RestoreRequest:
    """A Restore of Velero.

    Attributes:
        name: Its name.
        backup: What is restored from.
        namespaces: Namespaces that are restored; empty for all that the backup has.
        renamed: Other names of namespaces.
        resources: Kinds that are restored; empty for all that Velero restores.
        volumes: Whether volumes are restored from their snapshots.
    """

    name: str
    backup: str
    namespaces: Sequence[str] = ()
    renamed: Mapping[str, str] = field(default_factory=dict[str, str])
    resources: Sequence[str] = ()
    volumes: bool = True

    @property
    def manifest(self) -> dict[str, Any]:
        """The object. What exists is left as it is: Velero's own default, said here because everything hangs on it."""
        spec: dict[str, Any] = {
            "backupName": self.backup,
            "includedNamespaces": list(self.namespaces) or ["*"],
            "existingResourcePolicy": "none",
            "restorePVs": self.volumes,
        }
        if self.renamed:
            spec["namespaceMapping"] = dict(self.renamed)
        if self.resources:
            spec["includedResources"] = list(self.resources)
            spec["includeClusterResources"] = False
        return {
            "apiVersion": API,
            "kind": "Restore",
            "metadata": {"name": self.name, "namespace": NAMESPACE, "labels": {"app.kubernetes.io/managed-by": "ops"}},
            "spec": spec,
        }


@dataclass(frozen=True, kw_only=True)
class Backup:
    """A backup of Velero.

    Attributes:
        name: Its name.
        phase: ``Completed``, ``PartiallyFailed`` and others.
        schedule: Schedule that it is of; empty where somebody made it.
        started: When it was begun; none where it never was.
        namespaces: What it has.
    """

    name: str
    phase: str
    schedule: str
    started: datetime | None
    namespaces: tuple[str, ...]

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Backup:
        """A backup as the cluster holds it."""
        metadata = found["metadata"]
        status: dict[str, str] = found.get("status") or {}
        began = status.get("startTimestamp")
        return cls(
            name=metadata["name"],
            phase=status.get("phase", "New"),
            schedule=metadata.get("labels", {}).get("velero.io/schedule-name", ""),
            started=datetime.fromisoformat(began.replace("Z", "+00:00")) if began else None,
            namespaces=tuple(found["spec"].get("includedNamespaces") or ()),
        )


def cluster_command(
    stack: StackName = "",
    backup: Annotated[
        str, typer.Option(help="The backup, or `latest`, the last complete one. Without it backups are listed.")
    ] = "",
    namespace: Annotated[
        list[str] | None, typer.Option("--namespace", "-n", help="Only this namespace. Repeat for more.")
    ] = None,
    as_: Annotated[
        list[str] | None, typer.Option("--as", help="Other name of the namespace, in the order of --namespace.")
    ] = None,
    sandbox: InSandbox = False,
    yes: Confirmed = False,
) -> None:
    """Restore objects and volumes from a backup of Velero; what exists is left as it is.

    The place of the backups is read-only meanwhile, so that nothing in it is deleted or overwritten.
    """
    with explained("restore cluster"):
        spaces, others = tuple(namespace or ()), tuple(as_ or ())
        if others and len(others) != len(spaces):
            raise RefusedError("--as: one for each --namespace, in the same order")
        with Stack.read(stack, sandbox=sandbox).kubeconfig() as path:
            cluster = Cluster(path)
            known = backups(cluster)
            if not backup:
                _list(known)
                return
            chosen = chosen_of(known, backup, spaces)
            renamed = {old: new for old, new in zip(spaces, others, strict=False) if old != new}
            request = RestoreRequest(
                name=named(f"ops-{chosen.name}"), backup=chosen.name, namespaces=spaces, renamed=renamed
            )
            what = ", ".join(f"{one} as {renamed[one]}" if one in renamed else one for one in spaces)
            if not yes:
                told = f"would restore {what or 'every namespace'} of {chosen.name}; what exists stays; --yes does it"
                console.output().print(told, markup=False)
                return
            progress = Progress()
            with read_only(cluster):
                phase = run(cluster, request, progress)
                results = results_of(cluster, request.name)
            tell(phase, results)
            if phase != "Completed":
                raise RefusedError(
                    f"restore {request.name} ended as {phase}; `velero restore describe {request.name} --details` and "
                    f"`velero restore logs {request.name}` say more"
                )
            console.output().print(f"{request.name}: {phase} in {progress.seconds:.0f} s", markup=False)


def backups(cluster: Cluster) -> list[Backup]:
    """Every backup, the newest first."""
    found = [Backup.of(one) for one in cluster.all(NAMESPACE, BACKUPS)]
    return sorted(found, key=lambda one: one.started.timestamp() if one.started else 0.0, reverse=True)


def chosen_of(known: Sequence[Backup], name: str, namespaces: Sequence[str]) -> Backup:
    """The backup of a name, or the last complete one.

    Raises:
        RefusedError: There is none that can be restored from, or it lacks a namespace.
    """
    if name == "latest":
        found = next((one for one in known if one.phase == "Completed" and one.started), None)
        if found is None:
            raise RefusedError("there is no complete backup; without --backup they are listed")
    else:
        found = next((one for one in known if one.name == name), None)
        if found is None:
            raise RefusedError(f"there is no backup {name}; without --backup they are listed")
        if found.phase not in ("Completed", "PartiallyFailed"):
            raise RefusedError(f"backup {name} is {found.phase}: there is nothing to restore from")
    everything = not found.namespaces or "*" in found.namespaces
    if missing := [one for one in namespaces if not everything and one not in found.namespaces]:
        raise RefusedError(f"backup {found.name} has no {', '.join(missing)}; it has {', '.join(found.namespaces)}")
    return found


@contextmanager
def read_only(cluster: Cluster) -> Generator[None]:
    """The place of the backups can only be read; afterwards it is as it was."""
    was = cluster.get(NAMESPACE, LOCATIONS, LOCATION)["spec"].get("accessMode", "ReadWrite")
    cluster.patch(NAMESPACE, LOCATIONS, LOCATION, {"spec": {"accessMode": "ReadOnly"}})
    try:
        yield
    finally:
        cluster.patch(NAMESPACE, LOCATIONS, LOCATION, {"spec": {"accessMode": was}})


def run(
    cluster: Cluster,
    request: RestoreRequest,
    progress: Progress,
    *,
    patience_seconds: float = PATIENCE_SECONDS,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Make the Restore and wait for its end; returns its phase.

    Raises:
        PatienceError: It is still going on.
    """
    cluster.create(request.manifest)

    def look() -> str | None:
        status = cast("dict[str, Any]", cluster.get(NAMESPACE, RESTORES, request.name).get("status") or {})
        phase = status.get("phase", "New")
        done = cast("dict[str, int]", status.get("progress") or {})
        progress.say(
            f"{request.name}: {phase}, {done.get('itemsRestored', 0)} of {done.get('totalItems', '?')} objects"
        )
        for problem in status.get("validationErrors") or ():
            progress.say(problem)
        return phase if phase in _ENDS else None

    return until(
        look,
        what=f"restore {request.name}",
        patience_seconds=patience_seconds,
        pause_seconds=cluster.pause_seconds,
        sleep=sleep,
    )


def results_of(cluster: Cluster, restore: str) -> dict[str, Any]:
    """Warnings and errors of a restore; Velero keeps them in the object store and signs an address for them."""
    name = f"{restore}-results"
    target = {"kind": "RestoreResults", "name": restore}
    manifest = {
        "apiVersion": API,
        "kind": "DownloadRequest",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"target": target},
    }
    try:
        cluster.create(manifest)

        def look() -> str | None:
            status: dict[str, str] = cluster.get(NAMESPACE, DOWNLOADS, name).get("status") or {}
            return status.get("downloadURL") or None

        url = until(
            look,
            what=f"results of {restore}",
            patience_seconds=_RESULTS_SECONDS,
            pause_seconds=min(cluster.pause_seconds, 1.0),
        )
        with urllib.request.urlopen(url, timeout=60) as answer:  # of the object store, and signed
            return json.loads(gzip.decompress(answer.read()))
    except (OSError, ValueError, PatienceError) as error:
        console.complain(f"warnings could not be read: {error}")
        return {}
    finally:
        cluster.delete(NAMESPACE, DOWNLOADS, name, wait=False)


def lines(results: Mapping[str, Any], kind: str) -> list[str]:
    """One line for each warning or error: of Velero, of the cluster, of each namespace."""
    found = cast("dict[str, Any]", results.get(kind) or {})
    told = [f"{part}: {text}" for part in ("velero", "cluster") for text in found.get(part) or ()]
    spaces: dict[str, list[str]] = found.get("namespaces") or {}
    for space, some in sorted(spaces.items()):
        told += [f"{space}: {text}" for text in some]
    return told


def tell(phase: str, results: Mapping[str, Any]) -> None:
    """Print warnings and errors."""
    for kind in ("errors", "warnings"):
        told = lines(results, kind)
        for line in told[:_SHOWN]:
            console.output().print(f"{kind[:-1]}: {line}", markup=False)
        if len(told) > _SHOWN:
            console.output().print(f"and {len(told) - _SHOWN} more {kind}; the restore is {phase}", markup=False)


def _list(known: Sequence[Backup]) -> None:
    if not known:
        raise RefusedError("there is no backup; Velero finds those of a bucket within a minute of its start")
    for one in known:
        began = one.started.isoformat(timespec="minutes") if one.started else "-"
        console.output().print(f"{one.name}  {began}  {one.phase}  {', '.join(one.namespaces)}", markup=False)
