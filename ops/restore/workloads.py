"""``ops restore workloads``: what Argo CD delivers, applied again from Git."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final

import typer

from ops import console
from ops.jobs import Cluster
from ops.progress import PatienceError, Progress, until
from ops.refusals import RefusedError, explained
from ops.stack import Confirmed, InSandbox, Stack, StackName

NAMESPACE: Final = "argocd"
APPLICATIONS: Final = "applications.argoproj.io"
_PATIENCE_SECONDS: Final = 1800.0

REFRESH: Final[Mapping[str, Any]] = {"metadata": {"annotations": {"argocd.argoproj.io/refresh": "hard"}}}
"""Has Argo CD read Git and the cluster anew; it removes the annotation when it has."""

SYNC: Final[Mapping[str, Any]] = {
    "operation": {
        "initiatedBy": {"username": "ops restore workloads"},
        # Nothing is deleted: a restore brings back. What Git no longer has is Argo CD's own matter.
        "sync": {"prune": False, "syncStrategy": {"hook": {}}},
    }
}
"""Has it apply what Git has, with hooks and waves; it removes the field when it begins."""


def workloads_command(
    stack: StackName = "",
    application: Annotated[
        list[str] | None, typer.Option("--application", "-a", help="Only this application. Repeat for more.")
    ] = None,
    sandbox: InSandbox = False,
    yes: Confirmed = False,
) -> None:
    """Have Argo CD apply what Git has, and wait until everything runs; nothing is deleted."""
    with explained("restore workloads"), Stack.read(stack, sandbox=sandbox).kubeconfig() as path:
        cluster = Cluster(path)
        known = {one["metadata"]["name"]: one for one in cluster.all(NAMESPACE, APPLICATIONS)}
        if missing := [one for one in application or () if one not in known]:
            raise RefusedError(f"Argo CD has no {', '.join(missing)}; it has {', '.join(sorted(known)) or 'none'}")
        wanted = sorted(application or known)
        if not wanted:
            raise RefusedError("Argo CD has no applications; `pulumi up` declares them (platform.delivery)")
        if not yes:
            for name in wanted:
                console.output().print(f"would sync {name}: {state(known[name])}", markup=False)
            console.output().print("--yes does it", markup=False)
            return
        progress = Progress()
        late = synced(cluster, wanted, progress)
        for name, how in late.items():
            console.output().print(f"{name}: {how}", markup=False)
        if late:
            raise RefusedError(
                f"{len(late)} of {len(wanted)} applications are not as Git has them; "
                "docs/runbooks/delivery.md#applicationsyncfailed says how to go on"
            )
        console.output().print(
            f"{len(wanted)} applications synced and healthy in {progress.seconds:.0f} s", markup=False
        )


def state(application: Mapping[str, Any]) -> str:
    """Whether it is as Git has it, and whether it runs."""
    status: dict[str, dict[str, str]] = application.get("status") or {}
    sync, health = (status.get(what) or {} for what in ("sync", "health"))
    return f"{sync.get('status', 'Unknown')}, {health.get('status', 'Unknown')}"


def arrived(application: Mapping[str, Any]) -> bool | None:
    """Whether the sync that was asked for came to what it should; none while it goes on."""
    if "operation" in application:  # it has not begun
        return None
    status: dict[str, dict[str, str]] = application.get("status") or {}
    phase = (status.get("operationState") or {}).get("phase", "")
    if phase in ("Failed", "Error"):
        return False
    if phase == "Succeeded" and state(application) == "Synced, Healthy":
        return True
    return None


def synced(
    cluster: Cluster,
    names: Sequence[str],
    progress: Progress,
    *,
    patience_seconds: float = _PATIENCE_SECONDS,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, str]:
    """Sync applications and wait for them; returns the state of those that did not arrive."""
    for name in names:
        cluster.patch(NAMESPACE, APPLICATIONS, name, REFRESH)
        cluster.patch(NAMESPACE, APPLICATIONS, name, SYNC)
    waiting, late = set(names), dict[str, str]()

    def look() -> bool | None:
        for name in sorted(waiting):
            found = cluster.get(NAMESPACE, APPLICATIONS, name)
            if (end := arrived(found)) is None:
                continue
            waiting.discard(name)
            if not end:
                operation = found["status"]["operationState"]
                late[name] = f"{operation['phase']}: {operation.get('message', state(found))}"
        progress.say(
            f"{len(names) - len(waiting)} of {len(names)} applications: waiting for {', '.join(sorted(waiting))}"
        )
        return None if waiting else True

    try:
        until(
            look,
            what="applications",
            patience_seconds=patience_seconds,
            pause_seconds=cluster.pause_seconds,
            sleep=sleep,
        )
    except PatienceError:
        late.update({name: state(cluster.get(NAMESPACE, APPLICATIONS, name)) for name in sorted(waiting)})
    return late
