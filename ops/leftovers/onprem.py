"""Leftovers in a cluster that outlives the stack: namespaces, volumes, definitions, and what has no namespace."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, cast

from ops.leftovers.model import Leftover, Proof, Unseen, proof
from ops.leftovers.record import Record
from ops.stack import StackError, kubectl

_PART_OF: Final = "app.kubernetes.io/part-of"
_OURS: Final = ("llmops", "llmops-foundation")
_RELEASE_NAMESPACE: Final = "meta.helm.sh/release-namespace"
_KINDS: Final = (
    "namespaces",
    "persistentvolumes",
    "customresourcedefinitions",
    "clusterroles",
    "clusterrolebindings",
    "validatingwebhookconfigurations",
    "mutatingwebhookconfigurations",
    "priorityclasses",
)


def search(record: Record, kubeconfig: Path | None = None) -> Proof:
    """Ask the cluster of the current kubeconfig, or of the one that is named."""
    path = kubeconfig or Path(os.environ.get("KUBECONFIG") or Path.home() / ".kube" / "config")
    try:
        answer = json.loads(kubectl(path, ["get", ",".join(_KINDS), "--output=json", "--request-timeout=30s"]))
    except StackError as error:
        return proof((), [Unseen(what="the cluster", why=str(error))])
    return proof(list(_of(record, cast("list[dict[str, Any]]", answer.get("items") or []))), ())


def _of(record: Record, objects: list[dict[str, Any]]) -> Iterator[Leftover]:
    for one in objects:
        kind, metadata = str(one["kind"]), cast("Mapping[str, Any]", one["metadata"])
        name = str(metadata["name"])
        made_by = _maker(record, kind, one)
        if made_by:
            data = kind in ("Namespace", "PersistentVolume")
            # A definition takes every object of its kind with it, also those of other people's systems.
            fate = "by hand" if kind == "CustomResourceDefinition" else "data" if data else "safe"
            yield Leftover(
                kind=kind,
                name=name,
                region="",
                made_by=made_by,
                command=f"kubectl delete {kind.lower()} {name}",
                fate=fate,
                note="its objects go with it" if kind == "CustomResourceDefinition" else "",
            )


def _maker(record: Record, kind: str, one: Mapping[str, Any]) -> str:
    metadata = cast("Mapping[str, Any]", one["metadata"])
    labels: Mapping[str, str] = metadata.get("labels") or {}
    annotations: Mapping[str, str] = metadata.get("annotations") or {}
    if kind == "Namespace":
        if metadata["name"] in record.namespaces:
            return "the engine, which no longer knows it"
        return "this program, by its label" if labels.get(_PART_OF) in _OURS else ""
    if kind == "PersistentVolume":
        claim = cast("Mapping[str, Any]", cast("Mapping[str, Any]", one.get("spec") or {}).get("claimRef") or {})
        return "a claim in a namespace of the stack" if claim.get("namespace") in record.namespaces else ""
    if annotations.get(_RELEASE_NAMESPACE) in record.namespaces:
        return f"the chart {annotations.get('meta.helm.sh/release-name')}"
    return "this program, by its label" if labels.get(_PART_OF) in _OURS else ""
