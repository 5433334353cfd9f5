"""Manifests as data: names, differences, replacements, drift. Nothing here talks to a server."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sandbox.provider import ChangeKind, Difference
from sandbox.values import UNKNOWN, Properties, Secret, Unknown, has_unknown, plain

AUTONAMED = "pulumi.com/autonamed"
PLACEHOLDER = "known-after-the-update"

_SERVERS_OWN = ("managedFields", "resourceVersion", "selfLink")  # differ at every read without meaning a change

# Fields that the API server never lets change, by API group and kind; the list of Pulumi's provider, for kinds that a
# platform uses. What is not here and still immutable is found by a dry run.
_REPLACING: Mapping[tuple[str, str], Sequence[str]] = {
    ("", "ConfigMap"): ("immutable",),
    ("", "Secret"): ("type", "immutable"),
    ("", "PersistentVolume"): ("spec.csi", "spec.nfs", "spec.storageClassName", "spec.volumeMode"),
    ("", "PersistentVolumeClaim"): (
        "spec.accessModes",
        "spec.dataSource",
        "spec.selector",
        "spec.storageClassName",
        "spec.volumeMode",
        "spec.volumeName",
    ),
    ("", "Pod"): ("spec.nodeName", "spec.nodeSelector", "spec.serviceAccountName", "spec.volumes"),
    ("", "Service"): ("spec.clusterIP",),
    ("apps", "DaemonSet"): ("spec.selector",),
    ("apps", "Deployment"): ("spec.selector",),
    ("apps", "ReplicaSet"): ("spec.selector",),
    ("apps", "StatefulSet"): (
        "spec.podManagementPolicy",
        "spec.selector",
        "spec.serviceName",
        "spec.volumeClaimTemplates",
    ),
    ("batch", "Job"): ("spec.completionMode", "spec.completions", "spec.selector", "spec.template"),
    ("networking.k8s.io", "IngressClass"): ("spec.controller",),
    ("node.k8s.io", "RuntimeClass"): ("handler",),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): ("roleRef",),
    ("rbac.authorization.k8s.io", "RoleBinding"): ("roleRef",),
    ("scheduling.k8s.io", "PriorityClass"): ("value", "preemptionPolicy"),
    ("storage.k8s.io", "CSIDriver"): ("spec.attachRequired", "spec.fsGroupPolicy"),
    ("storage.k8s.io", "StorageClass"): ("parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): ("spec.group", "spec.names.plural", "spec.scope"),
}
_REPLACING_ALWAYS = ("kind", "metadata.name", "metadata.namespace")


def group_of(manifest: Properties) -> str:
    """Return the API group; empty for the core one."""
    return str(manifest.get("apiVersion", "")).rpartition("/")[0]


def identify(token: str) -> tuple[str, str]:
    """Return (apiVersion, kind) of a type token: ``kubernetes:apps/v1:DeploymentPatch`` is of kind Deployment."""
    _, version, kind = token.split(":")
    return version.removeprefix("core/"), kind.removesuffix("Patch") if is_patch(token) else kind


def is_patch(token: str) -> bool:
    """Whether the type changes an object that others own."""
    return token.endswith("Patch")


def named(inputs: Properties, old: Properties, token: str, logical_name: str, seed: bytes) -> Properties:
    """Complete inputs: version, kind, and a unique name where none is given; the name of an earlier check is kept."""
    version, kind = identify(token)
    metadata: Properties = dict(inputs.get("metadata") or {})
    if not metadata.get("name") and not is_patch(token):
        if is_autonamed(old):
            metadata["name"] = old["metadata"]["name"]
        else:
            digest = hashlib.sha256(seed + logical_name.encode()).hexdigest()
            metadata["name"] = f"{logical_name}-{digest[:7]}"
        metadata["annotations"] = {**(metadata.get("annotations") or {}), AUTONAMED: "true"}
    return {
        **inputs,
        "apiVersion": inputs.get("apiVersion", version),
        "kind": inputs.get("kind", kind),
        "metadata": metadata,
    }


def is_autonamed(inputs: Properties) -> bool:
    """Whether the name was made here, so that a replacement may live beside what it replaces."""
    return annotations_of(inputs).get(AUTONAMED) == "true"


def annotations_of(manifest: Properties) -> Mapping[str, Any]:
    """Return the annotations; none where there are none, or where they are unknown as a whole."""
    metadata: Properties = manifest.get("metadata") or {}
    annotations: Any = plain(metadata.get("annotations"))
    found: Properties = {}
    if isinstance(annotations, dict):
        found = annotations  # pyright: ignore[reportUnknownVariableType] a JSON object
    return found


def differences(old: Properties, new: Properties) -> list[Difference]:
    """Compare two manifests; paths are Pulumi's, and what replaces is marked."""
    fields = (*_REPLACING_ALWAYS, *_REPLACING.get((group_of(new), str(new.get("kind"))), ()))
    moved = group_of(old) != group_of(new)
    found = [
        Difference(path, kind, replaces=(moved and path == "apiVersion") or any(below(path, field) for field in fields))
        for path, kind in _compare(plain(old), plain(new), "")
    ]
    if old.get("immutable") is True:  # a ConfigMap or Secret that said so
        found = [
            Difference(d.path, d.kind, d.replaces or below(d.path, "data", "binaryData", "stringData")) for d in found
        ]
    return found


def below(path: str, *fields: str) -> bool:
    """Whether ``path`` is one of ``fields``, or lies inside it."""
    return any(path == field or path.startswith((f"{field}.", f"{field}[")) for field in fields)


def _compare(old: Any, new: Any, path: str) -> Iterator[tuple[str, ChangeKind]]:
    if isinstance(old, dict) and isinstance(new, dict):
        olds: Properties = old  # pyright: ignore[reportUnknownVariableType] a JSON object
        news: Properties = new  # pyright: ignore[reportUnknownVariableType] a JSON object
        for key in sorted(olds.keys() | news.keys()):
            inner = _member(path, key)
            if news.get(key) is None and olds.get(key) is not None:
                yield inner, "delete"
            elif olds.get(key) is None and news.get(key) is not None:
                yield inner, "add"
            else:
                yield from _compare(olds.get(key), news.get(key), inner)
    elif isinstance(old, list) and isinstance(new, list):
        before: list[Any] = old  # pyright: ignore[reportUnknownVariableType] a JSON array
        after: list[Any] = new  # pyright: ignore[reportUnknownVariableType] a JSON array
        for index in range(max(len(before), len(after))):
            inner = f"{path}[{index}]"
            if index >= len(after):
                yield inner, "delete"
            elif index >= len(before):
                yield inner, "add"
            else:
                yield from _compare(before[index], after[index], inner)
    elif isinstance(new, Unknown) or old != new:
        yield path, "update"


def _member(path: str, key: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_$-]+", key):
        return f'{path}["{key}"]'
    return f"{path}.{key}" if path else key


def with_placeholders(value: Any, path: str = "") -> tuple[Any, list[str]]:
    """Replace unknowns by a text, so that the rest can be judged; return the paths where they were."""
    if isinstance(value, Unknown):
        return PLACEHOLDER, [path]
    if isinstance(value, Secret):
        return with_placeholders(value.value, path)
    paths: list[str] = []
    if isinstance(value, dict):
        fields: Properties = {}
        for key, item in value.items():  # pyright: ignore[reportUnknownVariableType] a JSON object
            fields[str(key)], inner = with_placeholders(item, f"{path}.{key}" if path else str(key))  # pyright: ignore[reportUnknownArgumentType] a JSON object
            paths += inner
        return fields, paths
    if isinstance(value, list):
        items: list[Any] = []
        for index, item in enumerate(value):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] a JSON array
            kept, inner = with_placeholders(item, f"{path}[{index}]")
            items.append(kept)
            paths += inner
        return items, paths
    return value, paths


def observed(live: Properties, manager: str) -> Properties:
    """Return the outputs for a live object: all of it, without what changes at every read; Secrets stay secret."""
    metadata = {key: value for key, value in live["metadata"].items() if key not in _SERVERS_OWN}
    outputs = {**live, "metadata": metadata, "__fieldManager": manager, "__initialApiVersion": live["apiVersion"]}
    return guarded(outputs)


def expected(inputs: Properties, manager: str) -> Properties:
    """Return the outputs that a preview can know: the inputs, and that there will be more."""
    metadata = {**inputs["metadata"], "uid": UNKNOWN, "creationTimestamp": UNKNOWN}
    outputs = {**inputs, "metadata": metadata, "status": UNKNOWN, "__fieldManager": manager}
    if inputs["kind"] == "Service" and isinstance(inputs.get("spec"), dict):
        outputs["spec"] = {"clusterIP": UNKNOWN, **inputs["spec"]}
    return guarded(outputs)


def guarded(properties: Properties) -> Properties:
    """Mark the content of a Secret as secret."""
    if properties.get("kind") != "Secret" or properties.get("apiVersion") != "v1":
        return properties
    fields = [key for key in ("data", "stringData") if properties.get(key) and not isinstance(properties[key], Secret)]
    return {**properties, **{key: Secret(properties[key]) for key in fields}}


def imported(live: Properties) -> Properties:
    """Return inputs that would declare a live object as it is."""
    metadata = {
        key: value for key, value in live["metadata"].items() if key in ("name", "namespace", "labels", "annotations")
    }
    return {**{key: value for key, value in live.items() if key != "status"}, "metadata": metadata}


def drifted(inputs: Any, declared: Any, live: Any) -> Any:
    """Return inputs with what changed in the live object.

    Args:
        inputs: What the program said last.
        declared: What the server would make of that now (a dry run): defaulted and normalised.
        live: What there is.
    """
    if declared == live:
        return inputs
    if isinstance(inputs, dict) and isinstance(live, dict):
        fields: Properties = inputs  # pyright: ignore[reportUnknownVariableType] a JSON object
        there: Properties = live  # pyright: ignore[reportUnknownVariableType] a JSON object
        wanted: Properties = declared if isinstance(declared, dict) else {}  # pyright: ignore[reportUnknownVariableType] a JSON object
        result = {key: drifted(value, wanted.get(key), there.get(key)) for key, value in fields.items()}
        return {key: value for key, value in result.items() if value is not None}
    if isinstance(inputs, list) and isinstance(live, list) and isinstance(declared, list):
        asked: list[Any] = inputs  # pyright: ignore[reportUnknownVariableType] a JSON array
        have: list[Any] = live  # pyright: ignore[reportUnknownVariableType] a JSON array
        want: list[Any] = declared  # pyright: ignore[reportUnknownVariableType] a JSON array
        if len(asked) == len(have) == len(want):
            return [drifted(*entries) for entries in zip(asked, want, have, strict=True)]
    return live  # pyright: ignore[reportUnknownVariableType] JSON of any shape


def judged_fields(manifest: Properties) -> Properties:
    """Return what counts when a dry run is compared with the live object."""
    metadata: Properties = manifest["metadata"]
    content = {key: value for key, value in manifest.items() if key not in ("metadata", "status")}
    named = {"name": metadata["name"], "namespace": metadata.get("namespace")}
    marked: Properties = {key: metadata.get(key, {}) for key in ("labels", "annotations")}
    return {**content, "metadata": {**named, **marked}}


def locatable(inputs: Properties) -> bool:
    """Whether the object's identity is known."""
    metadata = inputs["metadata"]
    return not has_unknown(
        [inputs.get("apiVersion"), inputs.get("kind"), metadata.get("name"), metadata.get("namespace")]
    )
