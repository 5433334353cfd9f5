"""Objects that nothing judges: kept as they were declared, where there is no control plane."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

from sandbox.kubernetes.api import Manifest
from sandbox.kubernetes.simulation import load_balancer_host
from sandbox.store import Record, Store
from sandbox.values import Properties, plain


class RecordedObjects:
    """Objects in the stack's store; what is declared is what there is."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def apply(self, inputs: Properties, urn: str) -> Manifest:
        """Keep an object; its uid and age survive updates."""
        declared: Manifest = plain(inputs)
        earlier = self._record(declared)
        metadata: Properties = earlier.outputs["metadata"] if earlier else {}
        kept = {
            "uid": metadata.get("uid") or str(uuid.uuid4()),
            "creationTimestamp": metadata.get("creationTimestamp") or datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        live = {"status": _status(declared), **declared, "metadata": {**declared["metadata"], **kept}}
        record = Record(_type(declared), _id(declared), earlier.urn if earlier else urn, "", declared, live)
        if earlier:
            self._store.update(record)
        else:
            self._store.insert(record)
        return live

    def find(self, api_version: str, kind: str, namespace: str | None, name: str) -> Manifest | None:
        """Return the object, or None."""
        identity = {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": namespace}}
        record = self._record(identity)
        return record.outputs if record else None

    def remove(self, outputs: Properties) -> None:
        """Forget an object."""
        self._store.delete(_type(outputs), _id(outputs))

    def _record(self, manifest: Properties) -> Record | None:
        return self._store.find(_type(manifest), _id(manifest))


def _status(manifest: Properties) -> Properties:
    """Return as much status as programs read: the address of a load balancer."""
    spec: Properties = manifest.get("spec") or {}
    balanced = manifest["kind"] == "Ingress" or spec.get("type") == "LoadBalancer"
    metadata = manifest["metadata"]
    host = load_balancer_host(metadata.get("namespace") or "default", metadata["name"])
    return {"loadBalancer": {"ingress": [{"hostname": host}]}} if balanced else {}


def _type(manifest: Properties) -> str:
    return f"{manifest['apiVersion']}/{manifest['kind']}"


def _id(manifest: Properties) -> str:
    metadata = manifest["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}" if metadata.get("namespace") else str(metadata["name"])
