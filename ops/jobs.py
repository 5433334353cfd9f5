"""Jobs that the commands make from CronJobs of the cluster, and what they come to."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

from ops.progress import Progress, until
from ops.refusals import RefusedError
from ops.stack import StackError, kubectl

PAUSE_SECONDS: Final = 5.0
"""Between two looks at the cluster."""

_KEPT_SECONDS: Final = 7 * 24 * 3600


@dataclass(frozen=True)
class Cluster:
    """A cluster, as the commands ask it.

    Attributes:
        kubeconfig: Who asks, and where.
        pause_seconds: Between two looks.
    """

    kubeconfig: Path
    pause_seconds: float = PAUSE_SECONDS

    def get(self, namespace: str, kind: str, name: str) -> dict[str, Any]:
        """One object.

        Raises:
            StackError: There is none, or it may not be read.
        """
        return json.loads(kubectl(self.kubeconfig, ["-n", namespace, "get", kind, name, "-o", "json"]))

    def all(self, namespace: str, kind: str) -> list[dict[str, Any]]:
        """Every object of a kind."""
        asked = ["-n", namespace, "get", kind, "-o", "json", "--show-managed-fields"]
        return json.loads(kubectl(self.kubeconfig, asked))["items"]

    def create(self, manifest: Mapping[str, Any]) -> None:
        """Make an object; unknown fields are refused."""
        kubectl(self.kubeconfig, ["create", "--validate=strict", "-f", "-"], given=json.dumps(manifest))

    def patch(self, namespace: str, kind: str, name: str, change: Mapping[str, Any]) -> None:
        """Merge a change into an object."""
        patch = ["-n", namespace, "patch", kind, name, "--type=merge", "-p", json.dumps(change)]
        kubectl(self.kubeconfig, patch)

    def delete(self, namespace: str, kind: str, name: str, *, wait: bool = True) -> None:
        """Delete an object and what belongs to it; one that is not there is deleted."""
        arguments = ["delete", kind, name, "--ignore-not-found", "--cascade=foreground", f"--wait={str(wait).lower()}"]
        kubectl(self.kubeconfig, [*(["-n", namespace] if namespace else []), *arguments])

    def logs(self, namespace: str, job: str, container: str = "") -> str:
        """What the pod of a Job said; empty where it has not begun."""
        which = ["-c", container] if container else ["--all-containers"]
        try:
            return kubectl(self.kubeconfig, ["-n", namespace, "logs", f"job/{job}", *which, "--tail=-1"])
        except StackError:
            return ""


def job_of(
    cronjob: Mapping[str, Any],
    name: str,
    environment: Mapping[str, str],
    *,
    without: Sequence[str] = (),
) -> dict[str, Any]:
    """A Job as a CronJob would make it, told something else.

    Args:
        cronjob: As the cluster holds it.
        name: Of the Job.
        environment: Values of variables; each must be one that a container has.
        without: Init containers that are left out.

    Raises:
        RefusedError: No container has such a variable: the stack is of another version than this command.
    """
    template = copy.deepcopy(cronjob["spec"]["jobTemplate"])
    pod = template["spec"]["template"]["spec"]
    pod["initContainers"] = [one for one in pod.get("initContainers", ()) if one["name"] not in without]
    if not pod["initContainers"]:
        del pod["initContainers"]
    missing = set(environment)
    for container in (*pod.get("initContainers", ()), *pod["containers"]):
        for variable in container.get("env", ()):
            # What cleans up before the restore goes on doing so.
            if variable["name"] in environment and container["name"] != "clean":
                variable.pop("valueFrom", None)
                variable["value"] = environment[variable["name"]]
                missing.discard(variable["name"])
    if missing:
        raise RefusedError(
            f"{cronjob['metadata']['name']} knows nothing of {', '.join(sorted(missing))}; `pulumi up` of this version "
            "of the program first"
        )
    template["spec"]["ttlSecondsAfterFinished"] = _KEPT_SECONDS
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": cronjob["metadata"]["namespace"],
            "labels": dict(template.get("metadata", {}).get("labels", {})),
            # As `kubectl create job --from` has it.
            "annotations": {"cronjob.kubernetes.io/instantiate": "manual"},
        },
        "spec": template["spec"],
    }


def named(prefix: str, now: datetime | None = None) -> str:
    """A name that no other run has."""
    return f"{prefix}-{(now or datetime.now(UTC)).strftime('%Y%m%d-%H%M%S')}"


def outcome(job: Mapping[str, Any]) -> str | None:
    """``Complete``, ``Failed``, or none while it runs."""
    conditions = cast("list[dict[str, str]]", job.get("status", {}).get("conditions") or [])
    return next((one["type"] for one in conditions if one["status"] == "True" and one["type"] in _ENDS), None)


_ENDS: Final = ("Complete", "Failed")


def finished(
    cluster: Cluster,
    namespace: str,
    name: str,
    *,
    patience_seconds: float,
    progress: Progress,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Wait for the end of a Job; what its pod says last is told meanwhile.

    Raises:
        PatienceError: It is still running.
    """

    def look() -> str | None:
        if end := outcome(cluster.get(namespace, "job", name)):
            return end
        said = cluster.logs(namespace, name).strip().splitlines()
        progress.say(f"{name}: {said[-1][:140] if said else 'waits for its pod'}")
        return None

    return until(
        look,
        what=f"job {namespace}/{name}",
        patience_seconds=patience_seconds,
        pause_seconds=cluster.pause_seconds,
        sleep=sleep,
    )
