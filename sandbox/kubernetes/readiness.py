"""When an object counts as ready, by the rules of Pulumi's Kubernetes provider."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sandbox.kubernetes.api import Client, Manifest
from sandbox.kubernetes.nodes import condition, scheduler_message

SKIP = "pulumi.com/skipAwait"
TIMEOUT = "pulumi.com/timeoutSeconds"
WAIT_FOR = "pulumi.com/waitFor"

_REASONS_AT_MOST = 5


class Failed(Exception):  # noqa: N818 reads as what it says
    """The object cannot become ready any more; the message says why."""


def waiting_for(live: Manifest, client: Client) -> str:
    """Return what an object still waits for, in words; empty when it is ready.

    Raises:
        Failed: It never will be.
    """
    annotations: Mapping[str, str] = live["metadata"].get("annotations") or {}
    if annotations.get(SKIP) == "true":
        return ""
    if WAIT_FOR in annotations:
        return _custom(live, annotations[WAIT_FOR])
    rule = _RULES.get((live["apiVersion"].rpartition("/")[0], live["kind"]))
    return rule(live, client) if rule else ""


def _deployment(live: Manifest, client: Client) -> str:
    status, wanted = _observed(live), int(live["spec"].get("replicas", 1))
    if status is None:
        return "the controller has not seen it yet"
    if int(status.get("updatedReplicas", 0)) >= wanted and int(status.get("replicas", 0)) <= wanted:
        available = int(status.get("availableReplicas", 0))
        if available >= wanted:
            return ""
        return _with_pods(f"{available} of {wanted} replicas available", live, client)
    failure = condition(live, "ReplicaFailure").get("message", "")
    return _with_pods(f"{status.get('updatedReplicas', 0)} of {wanted} replicas updated", live, client, str(failure))


def _stateful_set(live: Manifest, client: Client) -> str:
    status, wanted = _observed(live), int(live["spec"].get("replicas", 1))
    if status is None:
        return "the controller has not seen it yet"
    current = status.get("updateRevision") == status.get("currentRevision")
    partition = live["spec"].get("updateStrategy", {}).get("rollingUpdate", {}).get("partition", 0)
    ready = int(status.get("readyReplicas", 0))
    if ready >= wanted and (current or partition or int(status.get("updatedReplicas", 0)) >= wanted):
        return ""
    return _with_pods(f"{ready} of {wanted} replicas ready", live, client)


def _daemon_set(live: Manifest, client: Client) -> str:
    status = _observed(live)
    if status is None:
        return "the controller has not seen it yet"
    wanted = int(status.get("desiredNumberScheduled", 0))
    ready = min(int(status.get("numberReady", 0)), int(status.get("updatedNumberScheduled", 0)))
    return "" if ready >= wanted else _with_pods(f"{ready} of {wanted} pods ready", live, client)


def _job(live: Manifest, client: Client) -> str:
    if condition(live, "Complete").get("status") == "True" or live["spec"].get("suspend"):
        return ""
    if (failure := condition(live, "Failed")).get("status") == "True":
        raise Failed(f"the job failed: {failure.get('reason')}: {failure.get('message')}")
    done, wanted = live.get("status", {}).get("succeeded", 0), live["spec"].get("completions", 1)
    return _with_pods(f"{done} of {wanted} pods completed", live, client)


def _pod(live: Manifest, _client: Client) -> str:
    phase = live.get("status", {}).get("phase")
    if phase == "Succeeded" or condition(live, "Ready").get("status") == "True":
        return ""
    if phase == "Failed":
        raise Failed(f"the pod failed: {live['status'].get('message') or live['status'].get('reason')}")
    return _pod_reason(live) or f"phase {phase}"


def _claim(live: Manifest, client: Client) -> str:
    if live.get("status", {}).get("phase") == "Bound":
        return ""
    storage_class = live["spec"].get("storageClassName")
    kind = client.kind("storage.k8s.io/v1", "StorageClass")
    if storage_class and kind and (found := client.get(kind, None, storage_class)):
        if found.get("volumeBindingMode") == "WaitForFirstConsumer":
            return ""  # bound when a pod uses it; waiting would wait for a resource that comes later
        return f"phase {live.get('status', {}).get('phase')}"
    return f"no StorageClass {storage_class!r}" if storage_class else "no StorageClass named, and no default one"


def _service(live: Manifest, client: Client) -> str:
    spec = live["spec"]
    if spec.get("type") == "LoadBalancer" and not live.get("status", {}).get("loadBalancer", {}).get("ingress"):
        return "no address of the load balancer yet"
    if spec.get("type") == "ExternalName" or not spec.get("selector") or spec.get("clusterIP") == "None":
        return ""
    metadata = live["metadata"]
    slices = client.items(
        f"/apis/discovery.k8s.io/v1/namespaces/{metadata['namespace']}/endpointslices",
        labelSelector=f"kubernetes.io/service-name={metadata['name']}",
    )
    endpoints = [endpoint for item in slices for endpoint in item.get("endpoints") or ()]
    if any(endpoint.get("conditions", {}).get("ready", True) for endpoint in endpoints):
        return ""
    selector = ",".join(f"{key}={value}" for key, value in spec["selector"].items())
    return f"no ready pod matches its selector {selector}"


def _ingress(live: Manifest, _client: Client) -> str:
    ready = live.get("status", {}).get("loadBalancer", {}).get("ingress")
    return "" if ready else "no address of the load balancer yet"


def _namespace(live: Manifest, _client: Client) -> str:
    phase = live.get("status", {}).get("phase")
    return "" if phase == "Active" else f"phase {phase}"


def _definition(live: Manifest, _client: Client) -> str:
    names = condition(live, "NamesAccepted")
    if names.get("status") == "False":
        raise Failed(f"its names are taken: {names.get('message')}")
    return "" if condition(live, "Established").get("status") == "True" else "not established yet"


_RULES: Mapping[tuple[str, str], Callable[[Manifest, Client], str]] = {
    ("apps", "Deployment"): _deployment,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("batch", "Job"): _job,
    ("", "Pod"): _pod,
    ("", "PersistentVolumeClaim"): _claim,
    ("", "Service"): _service,
    ("", "Namespace"): _namespace,
    ("networking.k8s.io", "Ingress"): _ingress,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
}


def _observed(live: Manifest) -> Mapping[str, Any] | None:
    """Return the status if the controller has seen this generation."""
    status: Mapping[str, Any] = live.get("status") or {}
    return status if status.get("observedGeneration", 0) >= live["metadata"].get("generation", 0) else None


def _with_pods(summary: str, live: Manifest, client: Client, *more: str) -> str:
    """Add what the object's pods wait for, or why there are none."""
    namespace = live["metadata"]["namespace"]
    labels: Mapping[str, str] = live["spec"].get("selector", {}).get("matchLabels") or {}
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    pods = client.items(f"/api/v1/namespaces/{namespace}/pods", labelSelector=selector) if selector else []
    reasons = [f"pod {pod['metadata']['name']}: {reason}" for pod in pods if (reason := _pod_reason(pod))]
    if not pods:
        reasons += _events(live, client)
    unique = list(dict.fromkeys([reason for reason in (*more, *reasons) if reason]))
    return "; ".join([summary, *unique[:_REASONS_AT_MOST]])


def _pod_reason(pod: Manifest) -> str:
    if unplaced := scheduler_message(pod):
        return unplaced
    statuses: Sequence[Mapping[str, Any]] = pod.get("status", {}).get("containerStatuses") or ()
    for status in statuses:
        if waiting := status.get("state", {}).get("waiting"):
            return f"container {status['name']}: {waiting.get('reason')} {waiting.get('message', '')}".strip()
    return ""


def _events(live: Manifest, client: Client) -> Sequence[str]:
    """Return warnings about an object: why its controller makes no pods."""
    metadata = live["metadata"]
    events = client.items(
        f"/api/v1/namespaces/{metadata['namespace']}/events",
        fieldSelector=f"involvedObject.uid={metadata['uid']},type=Warning",
    )
    return [str(event.get("message")) for event in events]


def _custom(live: Manifest, wanted: str) -> str:
    """Judge the ``waitFor`` annotation: ``condition=Type[=Status]``, ``jsonpath={.a.b}[=value]``, or a list of them."""
    expressions: Sequence[str] = json.loads(wanted) if wanted.lstrip().startswith("[") else [wanted]
    missing = [expression for expression in expressions if not _holds(live, expression)]
    return f"waits for {', '.join(missing)}" if missing else ""


def _holds(live: Manifest, expression: str) -> bool:
    kind, _, rest = expression.partition("=")
    if kind == "condition":
        name, _, status = rest.partition("=")
        return str(condition(live, name).get("status", "")).lower() == (status or "True").lower()
    match = re.fullmatch(r"\{\.?([^}]+)\}(?:=(.*))?", rest)
    if kind != "jsonpath" or match is None:
        raise Failed(f"{WAIT_FOR}: {expression!r} is neither condition=Type[=Status] nor jsonpath={{.path}}[=value]")
    value: Any = live
    for part in re.findall(r"[^.\[\]]+", match[1]):
        if isinstance(value, list) and part.isdigit():
            items: list[Any] = value  # pyright: ignore[reportUnknownVariableType] a JSON array of any shape
            value = items[int(part)] if int(part) < len(items) else None
        else:
            fields: dict[str, Any] = value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType] a JSON object of any shape
            value = fields.get(part)
    return value is not None and (match[2] is None or str(value) == match[2].strip("'\""))
