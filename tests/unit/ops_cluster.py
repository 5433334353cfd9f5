"""A cluster for the operator's commands: objects in a dictionary, and what controllers make of new ones."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ops.jobs import Cluster
from ops.stack import StackError

Key = tuple[str, str, str]
"""Namespace, kind as the commands write it, name."""

_PLURALS = {
    "Job": "job",
    "Restore": "restores.velero.io",
    "DownloadRequest": "downloadrequests.velero.io",
    "Cluster": "clusters.postgresql.cnpg.io",
}


def merged(old: Any, change: Any) -> Any:
    """A merge patch (RFC 7386)."""
    if not isinstance(change, dict):
        return change
    found = dict(old) if isinstance(old, dict) else {}
    for key, value in change.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = merged(found.get(key), value)
    return found


class FakeCluster:
    """Takes the place of kubectl.

    Attributes:
        objects: What there is.
        said: What pods of a job say, by the job's name or its beginning.
        done: Verb and object of every change, in order.
        reacts: Called with every new object; it may change it, or others.
    """

    def __init__(self) -> None:
        self.objects: dict[Key, dict[str, Any]] = {}
        self.said: dict[str, str] = {}
        self.done: list[str] = []
        self.reacts: Callable[[dict[str, Any]], None] = lambda _: None

    @property
    def cluster(self) -> Cluster:
        return Cluster(Path("/nowhere"), pause_seconds=0)

    def add(self, namespace: str, kind: str, name: str, **more: Any) -> dict[str, Any]:
        made = {"metadata": {"name": name, "namespace": namespace, **more.pop("metadata", {})}, **more}
        self.objects[namespace, kind, name] = made
        return made

    def __call__(self, kubeconfig: Path, arguments: Sequence[str], *, given: str | None = None) -> str:
        words = list(arguments)
        namespace = words[words.index("-n") + 1] if "-n" in words else ""
        if "-n" in words:
            del words[words.index("-n") : words.index("-n") + 2]
        verb, *rest = words
        plain = [word for word in rest if not word.startswith("-")]
        if verb == "create":
            made = json.loads(given or "")
            metadata = made["metadata"]
            metadata["creationTimestamp"] = "2026-11-22T20:00:00Z"
            key = (metadata["namespace"], _PLURALS[made["kind"]], metadata["name"])
            assert key not in self.objects, f"{key} is there already"
            self.objects[key] = made
            self.done.append(f"create {made['kind']} {metadata['name']}")
            self.reacts(made)
            return ""
        if verb == "logs":
            name = plain[0].removeprefix("job/")
            return next((text for start, text in self.said.items() if name.startswith(start)), "")
        kind, name = plain[0], plain[1] if len(plain) > 1 else ""
        if verb == "get" and name in ("json", ""):
            found = [one for (space, sort, _), one in self.objects.items() if (space, sort) == (namespace, kind)]
            return json.dumps({"items": found})
        key = (namespace, kind, name)
        if verb == "delete":
            self.done.append(f"delete {kind} {name}")
            self.objects.pop(key, None)
            return ""
        if key not in self.objects:
            raise StackError(f'Error from server (NotFound): {kind} "{name}" not found')
        if verb == "patch":
            change = json.loads(words[words.index("-p") + 1])
            self.objects[key] = merged(self.objects[key], change)
            self.done.append(f"patch {kind} {name} {json.dumps(change)}")
            return ""
        return json.dumps(copy.deepcopy(self.objects[key]))
