"""Simulated nodes: made from node groups, scaled as pods need them, judged by the real scheduler."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sandbox.kubernetes.api import ApiError, Client, Manifest, ResourceType
from sandbox.values import Properties

GROUP_LABEL = "sandbox/node-group"
_KWOK_ANNOTATION = {"kwok.x-k8s.io/node": "fake"}  # kwok keeps the heartbeat of nodes that carry it

# On a node on trial: pods that fit elsewhere go elsewhere, so that only those in need of it prove its use.
_TRIAL = {"key": "sandbox/on-trial", "effect": "PreferNoSchedule"}

_CONFIG_MAP = ResourceType("v1", "ConfigMap", "configmaps", namespaced=True)
_MEMORY = ("kube-system", "sandbox-node-groups")

_PLACED_WITHIN_SECONDS = 4.0  # the scheduler retries a pod within 1 s of a new node (see cluster.py)
_READY_WITHIN_SECONDS = 10.0
_POLL_SECONDS = 0.2
_IDLE_SECONDS = 20.0  # before an empty node goes; real autoscalers take 10 minutes


@dataclass(frozen=True, kw_only=True)
class NodeGroupSpec:
    """One autoscaled group.

    Attributes:
        name: Unique in the cluster.
        instance_types: The first is what nodes of the group are labelled with.
        min_size: Nodes that always exist.
        desired: Nodes at first, and again whenever this number changes.
        max_size: Nodes at most.
        labels: Labels of every node.
        taints: Taints as in a Node's ``spec.taints``: ``key``, ``value``, ``effect``.
        allocatable: What pods may use of one node, such as ``{"cpu": "3920m", "nvidia.com/gpu": "1"}``.
        capacity: What one node has.
        zones: Availability zones, used in turn.
        region: Region that the zones are in.
    """

    name: str
    instance_types: Sequence[str]
    min_size: int
    desired: int
    max_size: int
    labels: Mapping[str, str]
    taints: Sequence[Mapping[str, str]]
    allocatable: Mapping[str, str]
    capacity: Mapping[str, str]
    zones: Sequence[str] = ()
    region: str = ""


class Nodes:
    """The nodes of one cluster.

    No code here decides whether a pod fits: a node is added on trial, and stays if the scheduler puts a pod there.
    """

    def __init__(self, client: Client) -> None:
        """Manage the nodes behind ``client``."""
        self._client = client
        self._lock = threading.Lock()
        self._refused: dict[tuple[str, str], NodeGroupSpec] = {}  # (what the pod belongs to, group) → tried in vain
        self._idle_since: dict[str, float] = {}

    def reconcile(self, groups: Sequence[NodeGroupSpec]) -> None:
        """Bring the nodes into line with ``groups``: between minimum and maximum, at ``desired`` where that is new."""
        with self._lock:
            asked = self._asked()
            by_group = self._by_group()
            for name, nodes in by_group.items():
                if name not in {group.name for group in groups}:
                    self._remove(nodes)
            for group in groups:
                nodes = by_group.get(group.name, [])
                size = len(nodes) if asked.get(group.name) == group.desired else group.desired
                size = max(group.min_size, min(group.max_size, size))
                self._remove(nodes[size:])
                taken = {str(node["metadata"]["name"]) for node in nodes[:size]}
                for _ in range(size - len(taken)):
                    taken.add(self._add(group, taken))
            memory = {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": _MEMORY[1], "namespace": _MEMORY[0]},
                "data": {group.name: str(group.desired) for group in groups},
            }
            self._client.apply(_CONFIG_MAP, memory, manager="sandbox-nodes", force=True)

    def autoscale(self, groups: Sequence[NodeGroupSpec]) -> Sequence[str]:
        """Add nodes for pods that the scheduler cannot place, remove idle ones; return what was done, in words."""
        with self._lock:
            done: list[str] = []
            by_group = self._by_group()
            for pod in self.unschedulable():
                done += self._scale_up(pod, groups, by_group)
            return [*done, *self._scale_down(groups, by_group)]

    def unschedulable(self) -> list[Manifest]:
        """Pods that the scheduler looked at and could not place."""
        pods = self._client.items("/api/v1/pods", fieldSelector="status.phase=Pending,spec.nodeName=")
        return [pod for pod in pods if scheduler_message(pod)]

    def explain(self, groups: Sequence[NodeGroupSpec]) -> Sequence[str]:
        """Say for each pod without a node why, in the scheduler's words, and which groups are at their maximum."""
        sizes = {name: len(nodes) for name, nodes in self._by_group().items()}
        full = [f"{g.name} ({g.max_size})" for g in groups if sizes.get(g.name, 0) >= g.max_size]
        limit = f"; groups at their maximum: {', '.join(full)}" if full else ""
        return [f"{_name(pod)}: {scheduler_message(pod)}{limit}" for pod in self.unschedulable()]

    def _asked(self) -> Mapping[str, int]:
        """Return the desired sizes of the last time; kept in the cluster, so that they go with it."""
        memory = self._client.get(_CONFIG_MAP, *_MEMORY) or {}
        sizes: Mapping[str, str] = memory.get("data") or {}
        return {name: int(size) for name, size in sizes.items()}

    def _scale_up(
        self, pod: Manifest, groups: Sequence[NodeGroupSpec], by_group: dict[str, list[Manifest]]
    ) -> Sequence[str]:
        if not self._waits(pod):
            return ()  # an earlier node of this round took it
        for group in groups:
            nodes = by_group.setdefault(group.name, [])
            if len(nodes) >= group.max_size or self._refused.get((_owner(pod), group.name)) == group:
                continue
            added = self._add(group, {str(node["metadata"]["name"]) for node in nodes}, _TRIAL)
            if self._used_in_time(added, pod):
                self._end_trial(added)
                nodes.append({"metadata": {"name": added}})
                return (f"added node {added} for {_name(pod)}",)
            self._remove([{"metadata": {"name": added}}])
            self._refused[_owner(pod), group.name] = group
        return ()

    def _scale_down(self, groups: Sequence[NodeGroupSpec], by_group: Mapping[str, list[Manifest]]) -> Sequence[str]:
        now = time.monotonic()
        busy = {
            str(pod["spec"].get("nodeName"))
            for pod in self._client.items("/api/v1/pods")
            if not _belongs_to_daemon_set(pod) and pod["status"].get("phase") not in ("Succeeded", "Failed")
        }
        done: list[str] = []
        for group in groups:
            names = [str(node["metadata"]["name"]) for node in by_group.get(group.name, ())]
            spare = len(names) - max(group.min_size, 0)
            for name in names:
                if name in busy:
                    self._idle_since.pop(name, None)
                elif now - self._idle_since.setdefault(name, now) > _IDLE_SECONDS and spare > 0:
                    self._remove([{"metadata": {"name": name}}])
                    spare -= 1
                    done.append(f"removed idle node {name}")
        return done

    def _used_in_time(self, node: str, pod: Manifest) -> bool:
        """Whether the scheduler places a pod (of no DaemonSet) on ``node`` soon after it is ready."""
        deadline = time.monotonic() + _READY_WITHIN_SECONDS
        while not self._ready(node) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        deadline = time.monotonic() + _PLACED_WITHIN_SECONDS
        while time.monotonic() < deadline:
            there = self._client.items("/api/v1/pods", fieldSelector=f"spec.nodeName={node}")
            if any(not _belongs_to_daemon_set(other) for other in there):
                return True
            if not self._waits(pod):
                return False  # placed elsewhere, or gone
            time.sleep(_POLL_SECONDS)
        return False

    def _ready(self, node: str) -> bool:
        live = self._client.request("GET", f"/api/v1/nodes/{node}")
        tainted = any(taint["key"] == "node.kubernetes.io/not-ready" for taint in live["spec"].get("taints") or ())
        return not tainted and condition(live, "Ready").get("status") == "True"

    def _waits(self, pod: Manifest) -> bool:
        metadata = pod["metadata"]
        try:
            live = self._client.request("GET", f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}")
        except ApiError:
            return False
        return not live["spec"].get("nodeName") and "deletionTimestamp" not in live["metadata"]

    def _by_group(self) -> dict[str, list[Manifest]]:
        by_group: dict[str, list[Manifest]] = {}
        for node in self._client.items("/api/v1/nodes", labelSelector=GROUP_LABEL):
            by_group.setdefault(str(node["metadata"]["labels"][GROUP_LABEL]), []).append(node)
        return by_group

    def _end_trial(self, name: str) -> None:
        while True:
            live = self._client.request("GET", f"/api/v1/nodes/{name}")
            taints = [taint for taint in live["spec"].get("taints") or () if taint["key"] != _TRIAL["key"]]
            patch = {"metadata": {"resourceVersion": live["metadata"]["resourceVersion"]}, "spec": {"taints": taints}}
            try:
                self._client.request("PATCH", f"/api/v1/nodes/{name}", body=patch, patch="merge")
            except ApiError as error:
                if error.reason != "Conflict":  # a controller changed the node in between: look again
                    raise
            else:
                return

    def _add(self, group: NodeGroupSpec, taken: set[str], *taints: Mapping[str, str]) -> str:
        index = next(i for i in range(len(taken) + 1) if f"{group.name}-{i}" not in taken)
        node = _node(group, index)
        node["spec"]["taints"] += taints
        self._client.request("POST", "/api/v1/nodes", body=node)
        return str(node["metadata"]["name"])

    def _remove(self, nodes: Sequence[Manifest]) -> None:
        for node in nodes:
            name = str(node["metadata"]["name"])
            self._idle_since.pop(name, None)
            try:
                self._client.request("DELETE", f"/api/v1/nodes/{name}")
            except ApiError as error:
                if error.reason != "NotFound":
                    raise


def condition(live: Manifest, kind: str) -> Mapping[str, Any]:
    """Return one of an object's status conditions; empty where it has none of that type."""
    conditions: Sequence[Mapping[str, Any]] = live.get("status", {}).get("conditions") or ()
    empty: Mapping[str, Any] = {}
    return next((entry for entry in conditions if entry.get("type") == kind), empty)


def scheduler_message(pod: Manifest) -> str:
    """Return why the scheduler cannot place a pod, in its own words; empty where it can or has not tried."""
    scheduled = condition(pod, "PodScheduled")
    unplaced = scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
    return str(scheduled.get("message") or "") if unplaced else ""


def _node(group: NodeGroupSpec, index: int) -> Properties:
    name = f"{group.name}-{index}"
    labels = {
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/os": "linux",
        "kubernetes.io/hostname": name,
        GROUP_LABEL: group.name,
    }
    if group.instance_types:
        labels["node.kubernetes.io/instance-type"] = group.instance_types[0]
    if group.zones:
        labels["topology.kubernetes.io/zone"] = group.zones[index % len(group.zones)]
    if group.region:
        labels["topology.kubernetes.io/region"] = group.region
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {**labels, **group.labels}, "annotations": _KWOK_ANNOTATION},
        "spec": {"taints": [dict(taint) for taint in group.taints]},
        "status": {"allocatable": dict(group.allocatable), "capacity": dict(group.capacity)},
    }


def _owner(pod: Manifest) -> str:
    """Return what pods of one shape have in common; a new template is a new owner for Deployments and Jobs."""
    owners = pod["metadata"].get("ownerReferences") or ()
    return str(owners[0]["uid"]) if owners else str(pod["metadata"]["uid"])


def _belongs_to_daemon_set(pod: Manifest) -> bool:
    return any(owner["kind"] == "DaemonSet" for owner in pod["metadata"].get("ownerReferences") or ())


def _name(pod: Manifest) -> str:
    return f"pod {pod['metadata']['namespace']}/{pod['metadata']['name']}"
