"""Pods that an operator makes of a chart's objects: Prometheus and Alertmanager.

After the operator's own documents: one StatefulSet for each, its program beside a container that reloads it. What the
operator is told of that container stands in its arguments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# Labels that the operator gives to pods, besides those of the object: its name under this one.
_NAMED = {"Alertmanager": "alertmanager", "Prometheus": "operator.prometheus.io/name"}
_PLACED = (
    "nodeSelector",
    "tolerations",
    "topologySpreadConstraints",
    "priorityClassName",
    "securityContext",
    "serviceAccountName",
)
_RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def operated(documents: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """StatefulSets of the objects among ``documents`` that an operator among them looks after."""
    told = _told(documents)
    for one in documents:
        if one["kind"] in _NAMED and one["apiVersion"].startswith("monitoring.coreos.com/"):
            yield _stateful_set(one, told)


def _told(documents: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What operators are told about the container that reloads."""
    arguments = [
        argument
        for one in documents
        if one["kind"] == "Deployment"
        for container in one["spec"]["template"]["spec"]["containers"]
        for argument in container.get("args") or ()
    ]
    pairs = (argument.lstrip("-").split("=", 1) for argument in arguments if "config-reloader" in argument)
    return {pair[0]: pair[1] for pair in pairs if len(pair) > 1}


def _amounts(told: Mapping[str, str], side: str) -> dict[str, str]:
    found = {what: told[f"config-reloader-{what}-{side}"] for what in ("cpu", "memory")}
    return {what: amount for what, amount in found.items() if amount != "0"}  # how the operator says none


def _stateful_set(one: Mapping[str, Any], told: Mapping[str, str]) -> dict[str, Any]:
    kind, name, spec = one["kind"], one["metadata"]["name"], one["spec"]
    labels = {"app.kubernetes.io/name": kind.lower(), _NAMED[kind]: name}
    reloader = {
        "name": "config-reloader",
        "image": told["prometheus-config-reloader"],
        "resources": {"requests": _amounts(told, "request"), "limits": _amounts(told, "limit")},
        "securityContext": _RESTRICTED,
    }
    program = {
        "name": kind.lower(),
        "image": spec["image"],
        "resources": spec["resources"],
        "securityContext": _RESTRICTED,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {**one["metadata"], "name": f"{kind.lower()}-{name}"},
        "spec": {
            "replicas": spec["replicas"],
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    **{key: spec[key] for key in _PLACED if key in spec},
                    "initContainers": [{**reloader, "name": "init-config-reloader"}],
                    "containers": [program, reloader],
                },
            },
        },
    }
