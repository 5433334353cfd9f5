"""Who reads a credential, from what the cluster has and not from a list: Secrets that are kept, pods that name them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from ops.stack import kubectl

Document = dict[str, Any]

_WORKLOADS: Final = "deployments.apps,statefulsets.apps,daemonsets.apps"
_JOBS: Final = "jobs.batch"
_SECRETS: Final = "externalsecrets.external-secrets.io"


@dataclass(frozen=True, order=True)
class Synced:
    """A Secret that External Secrets keeps.

    Attributes:
        namespace: Where it is.
        name: Its name.
        source: Name of the ExternalSecret.
        properties: A property of the entry, and the key that holds it.
        templated: Keys of the Secret are made of the properties, and are not these.
    """

    namespace: str
    name: str
    source: str
    properties: tuple[tuple[str, str], ...] = ()
    templated: bool = False


@dataclass(frozen=True, order=True)
class Workload:
    """Pods that start anew when they are told to.

    Attributes:
        namespace: Where they are.
        kind: ``deployment``, ``statefulset`` or ``daemonset``.
        name: Its name.
    """

    namespace: str
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.kind}/{self.name}"


@dataclass(frozen=True)
class Cluster:
    """What the cluster has, read once."""

    secrets: tuple[Document, ...]
    workloads: tuple[Document, ...]
    jobs: tuple[Document, ...]

    @staticmethod
    def read(kubeconfig: Path) -> Cluster:
        """Ask the API server.

        Raises:
            StackError: It does not answer, or has no External Secrets.
        """

        def every(kinds: str) -> tuple[Document, ...]:
            return tuple(json.loads(kubectl(kubeconfig, ["get", kinds, "-A", "-o", "json"]))["items"])

        return Cluster(every(_SECRETS), every(_WORKLOADS), every(_JOBS))

    def synced(self, key: str) -> list[Synced]:
        """Secrets that hold something of an entry.

        Args:
            key: The entry's name in the store.
        """
        found: list[Synced] = []
        for one in self.secrets:
            data = cast("list[Document]", one["spec"].get("data") or [])
            read = [item for item in data if item["remoteRef"]["key"] == key]
            held = tuple((str(item["remoteRef"].get("property", "")), str(item["secretKey"])) for item in read)
            whole = cast("list[Document]", one["spec"].get("dataFrom") or [])
            extracted = any(cast("Document", item.get("extract") or {}).get("key") == key for item in whole)
            if held or extracted:
                metadata, target = one["metadata"], cast("Document", one["spec"].get("target") or {})
                templated = bool(cast("Document", target.get("template") or {}).get("data"))
                # Of an entry as a whole no property can be compared.
                made = templated or extracted or any(not named for named, _ in held)
                name = str(target.get("name") or metadata["name"])
                found.append(Synced(metadata["namespace"], name, metadata["name"], held, made))
        return sorted(found)

    def readers(self, secrets: Iterable[Synced]) -> list[Workload]:
        """Workloads whose pods name one of the Secrets."""
        names = {(one.namespace, one.name) for one in secrets}
        return sorted(
            Workload(one["metadata"]["namespace"], str(one["kind"]).lower(), one["metadata"]["name"])
            for one in self.workloads
            if {(one["metadata"]["namespace"], name) for name in named(one["spec"]["template"])} & names
        )

    def errands(self, secrets: Iterable[Synced], labels: Iterable[str]) -> list[Document]:
        """The last Job of each kind that names one of the Secrets and has one of the labels."""
        names, wanted = {(one.namespace, one.name) for one in secrets}, set(labels)
        newest: dict[tuple[str, str], Document] = {}
        for one in sorted(self.jobs, key=lambda job: str(job["metadata"].get("creationTimestamp", ""))):
            namespace, template = one["metadata"]["namespace"], one["spec"]["template"]
            labels = cast("dict[str, str]", template["metadata"].get("labels") or {})
            label = labels.get("app.kubernetes.io/name", "")
            held = sorted({name for name in named(template) if (namespace, name) in names})
            if label in wanted and held:
                newest[label, f"{namespace}/{held}"] = one
        return list(newest.values())


def named(template: Mapping[str, Any]) -> set[str]:
    """Names of all Secrets in a pod's specification: variables, volumes, those of several sources too."""
    return set(_named(template.get("spec") or {}))


def _named(found: Any) -> Iterator[str]:
    if isinstance(found, list):
        for one in cast("list[Any]", found):
            yield from _named(one)
    elif isinstance(found, dict):
        for key, value in cast("dict[str, Any]", found).items():
            if key in ("secretKeyRef", "secretRef", "secret") and isinstance(value, dict):
                told = cast("dict[str, Any]", value)
                if name := told.get("name") or told.get("secretName"):
                    yield str(name)
            yield from _named(value)


def again(job: Mapping[str, Any]) -> Document:
    """A Job like one that has run: the same pods, without what the API server had written into it."""
    template = cast("Document", json.loads(json.dumps(job["spec"]["template"])))
    labels = _own(template["metadata"].get("labels") or {})
    template["metadata"] = {"labels": labels, "annotations": template["metadata"].get("annotations") or {}}
    kept = {name: job["spec"][name] for name in ("backoffLimit", "activeDeadlineSeconds") if name in job["spec"]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "generateName": f"{labels.get('app.kubernetes.io/name', 'job')}-again-",
            "namespace": job["metadata"]["namespace"],
            "labels": _own(job["metadata"].get("labels") or {}),
        },
        # It is nobody's: the stack does not know it, so it goes by itself.
        "spec": {**kept, "ttlSecondsAfterFinished": 3600, "template": template},
    }


def _own(labels: Mapping[str, str]) -> dict[str, str]:
    theirs = ("controller-uid", "job-name", "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name")
    return {name: value for name, value in labels.items() if name not in theirs}
