"""The cluster as kubectl tells it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final, cast

from ops.stack import StackError, kubectl

_SECONDS: Final = 30  # for one answer of the API server
_NAMES: Final = ("app.kubernetes.io/name", "app", "control-plane", "k8s-app", "component")
_NOT_SERVED: Final = ("the server doesn't have a resource type", "could not find the requested resource")
_HASH: Final = re.compile(r"-[a-z0-9]{5,10}$")  # what a Deployment adds to its ReplicaSets' names

BUILT_IN: Final = frozenset(
    {
        "daemonsets.apps",
        "deployments.apps",
        "ingresses.networking.k8s.io",
        "jobs.batch",
        "persistentvolumeclaims",
        "persistentvolumes",
        "pods",
        "replicasets.apps",
        "services",
        "statefulsets.apps",
    }
)
"""What of Kubernetes' own is looked at."""


@dataclass(frozen=True)
class Object:
    """An object of the cluster.

    Attributes:
        manifest: As the API server told it.
    """

    manifest: Mapping[str, Any] = field(repr=False)

    @property
    def kind(self) -> str:
        """Its kind."""
        return str(self.manifest["kind"])

    @property
    def reference(self) -> str:
        """Kind with version and group, as kubectl wants it where two groups have a kind of one name."""
        group, _, version = str(self.manifest["apiVersion"]).rpartition("/")
        return f"{self.kind}.{version}.{group}" if group else self.kind

    @cached_property
    def metadata(self) -> Mapping[str, Any]:
        """Its metadata."""
        return cast("Mapping[str, Any]", self.manifest["metadata"])

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.metadata["name"])

    @property
    def namespace(self) -> str:
        """Its namespace; empty for what has none."""
        return str(self.metadata.get("namespace") or "")

    @property
    def uid(self) -> str:
        """Its identity."""
        return str(self.metadata.get("uid") or "")

    @property
    def title(self) -> str:
        """As people say it."""
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"

    @property
    def key(self) -> tuple[str, str, str]:
        """Kind, namespace, name."""
        return self.kind, self.namespace, self.name

    @property
    def finalizers(self) -> list[str]:
        """Who must let it go."""
        return list(self.metadata.get("finalizers") or ())

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels."""
        return self.metadata.get("labels") or {}

    @property
    def annotations(self) -> Mapping[str, str]:
        """Its annotations."""
        return self.metadata.get("annotations") or {}

    @property
    def spec(self) -> Mapping[str, Any]:
        """What is wanted."""
        return self.manifest.get("spec") or {}

    @property
    def status(self) -> Mapping[str, Any]:
        """What is."""
        return self.manifest.get("status") or {}

    def part(self, *path: str) -> Mapping[str, Any]:
        """A mapping inside it; an empty one where there is none."""
        found: Any = self.manifest
        for step in path:
            found = cast("Mapping[str, Any]", found).get(step) or {}
        return cast("Mapping[str, Any]", found)

    @property
    def owner(self) -> Mapping[str, Any] | None:
        """The owner that controls it, or the only one."""
        owners = cast("list[Mapping[str, Any]]", self.metadata.get("ownerReferences") or [])
        return next((one for one in owners if one.get("controller")), owners[0] if owners else None)

    @property
    def deleting(self) -> bool:
        """Whether its deletion was asked for."""
        return bool(self.metadata.get("deletionTimestamp"))

    def deleting_seconds(self, now: datetime | None = None) -> float:
        """Seconds since its deletion was asked for; 0 where it was not."""
        told = self.metadata.get("deletionTimestamp")
        if not told:
            return 0.0
        asked = datetime.fromisoformat(str(told).replace("Z", "+00:00"))
        grace = float(self.metadata.get("deletionGracePeriodSeconds") or 0)  # the time told is the end of it
        return max(0.0, ((now or datetime.now(UTC)) - asked).total_seconds() + grace)

    def command(self, verb: str) -> str:
        """A kubectl command about it, for people."""
        place = f" --namespace {self.namespace}" if self.namespace else ""
        return f"kubectl {verb}{place} {self.reference}/{self.name}"


class Cluster:
    """One cluster, by its kubeconfig."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self._served: frozenset[str] | None = None

    def served(self, *, again: bool = False) -> frozenset[str]:
        """Kinds that are served, such as ``services`` or ``applications.argoproj.io``.

        The list of definitions says so; kubectl's own list fails as soon as one API behind the API server is down, and
        in a destroy one is.

        Raises:
            StackError: The cluster does not answer.
        """
        if self._served is None or again:
            names = "--output=jsonpath={.items[*].metadata.name}"
            self._served = BUILT_IN | frozenset(self._ask(["get", "customresourcedefinitions", names]).split())
        return self._served

    def objects(self, kinds: Iterable[str]) -> list[Object]:
        """All objects of those kinds that are served.

        Raises:
            StackError: The cluster does not answer, or refuses.
        """
        wanted = [kind for kind in kinds if kind in self.served()]
        if not wanted:
            return []
        try:
            answer = self._ask(["get", ",".join(wanted), "--all-namespaces", "--output=json"])
        except StackError as error:
            if not any(text in str(error) for text in _NOT_SERVED):
                raise
            before, now = self.served(), self.served(again=True)  # a definition went just now
            if before == now:
                raise
            return self.objects(wanted)
        items = cast("list[dict[str, Any]]", json.loads(answer).get("items") or [])
        return [Object(one) for one in items]

    def delete(self, one: Object) -> None:
        """Ask for its deletion, and do not wait."""
        self._ask(["delete", f"{one.reference}/{one.name}", *_place(one), "--ignore-not-found", "--wait=false"])

    def patch(self, one: Object, change: Mapping[str, Any]) -> None:
        """Change it; what is gone meanwhile is no error."""
        try:
            self._ask(
                ["patch", f"{one.reference}/{one.name}", *_place(one), "--type=merge", f"--patch={json.dumps(change)}"]
            )
        except StackError as error:
            if "NotFound" not in str(error):
                raise

    def create(self, manifest: Mapping[str, Any]) -> None:
        """Make an object; one that is there is left as it is."""
        try:
            kubectl(self.kubeconfig, ["create", "--filename=-"], given=json.dumps(manifest))
        except StackError as error:
            if "AlreadyExists" not in str(error):
                raise

    def controllers(self) -> frozenset[str]:
        """Names by which controllers are known that have a ready pod: labels, and names of what made the pods."""
        names: set[str] = set()
        for pod in self.objects(["pods"]):
            conditions = cast("Sequence[Mapping[str, Any]]", pod.status.get("conditions") or ())
            if pod.deleting or not any(one["type"] == "Ready" and one["status"] == "True" for one in conditions):
                continue
            names |= {pod.labels[label] for label in _NAMES if label in pod.labels}
            if owner := pod.owner:
                made = str(owner["name"])
                names |= {made, _HASH.sub("", made)}
        return frozenset(names)

    def _ask(self, arguments: Sequence[str]) -> str:
        return kubectl(self.kubeconfig, [*arguments, f"--request-timeout={_SECONDS}s"])


def _place(one: Object) -> list[str]:
    return [f"--namespace={one.namespace}"] if one.namespace else []
