"""The charts of a stack, rendered with its values, on a control plane that holds what the stack puts around them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property, partial
from pathlib import Path

from components.capacity import Request
from components.contract import ROLE_LABEL
from ops.access_matrix import RELEASE, Resource
from sandbox.aws.node_groups import node_groups
from sandbox.kubernetes.api import ApiError, Client, Manifest
from sandbox.kubernetes.helm import NotAtHandError, Releases
from sandbox.kubernetes.nodes import NodeGroupSpec, Nodes
from sandbox.kubernetes.objects import LiveObjects, lives_in_a_cluster
from sandbox.provider import ProviderError
from sandbox.store import Record, Store
from tests.rendering.operated import operated

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob")
_MANAGER = "rendering"
# What the stack puts around its charts' pods, in the order in which it is applied.
_AROUND = ("Namespace", "PriorityClass", "ResourceQuota", "LimitRange", "ServiceAccount")
_FIRST = ("CustomResourceDefinition", "Namespace", "PriorityClass", "ServiceAccount")
_OF_NODES = ("aws:eks/nodeGroup:NodeGroup", "aws:ec2/launchTemplate:LaunchTemplate", "aws:ec2/subnet:Subnet")
_PATIENCE_SECONDS = 180.0  # what has not come by then never will, however busy the machine
_SETTLED_SECONDS = 60.0  # the controller knows every node by then
_UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "m": Decimal("0.001"), "k": 10**3, "M": 10**6, "G": 10**9}


_EVERYWHERE: Manifest = {
    "apiVersion": "apps/v1",
    "kind": "DaemonSet",
    "metadata": {"name": "everywhere", "namespace": "default"},
    "spec": {
        "selector": {"matchLabels": {"app": "everywhere"}},
        "template": {
            "metadata": {"labels": {"app": "everywhere"}},
            "spec": {
                "containers": [{"name": "main", "image": "registry.k8s.io/pause:3.10"}],
                "tolerations": [{"operator": "Exists"}],
            },
        },
    },
}


@dataclass(frozen=True)
class Workload:
    """Pods of one kind that a chart makes.

    Attributes:
        release: Name of the release in the program.
        chart: Name of the chart.
        kind: Deployment, DaemonSet and so on.
        namespace: Where its pods run.
        name: Its name.
        pods: How many at most; 0 where nodes decide.
        template: Metadata and specification of its pods.
    """

    release: str
    chart: str
    kind: str
    namespace: str
    name: str
    pods: int
    template: Manifest

    def __str__(self) -> str:
        return f"{self.release}: {self.kind} {self.namespace}/{self.name}"

    @property
    def nodes(self) -> str:
        """Role of the nodes that its pods insist on; empty for any."""
        return (self.template["spec"].get("nodeSelector") or {}).get(ROLE_LABEL, "")

    @property
    def containers(self) -> list[Manifest]:
        """Containers, those that run first among them."""
        spec = self.template["spec"]
        return [*(spec.get("initContainers") or ()), *spec["containers"]]


@dataclass(frozen=True)
class Rendered:
    """One release, rendered.

    Attributes:
        release: Name of the release in the program.
        chart: Name of the chart.
        namespace: Where it is installed.
        documents: Its objects, each with its namespace where it has one of its own.
    """

    release: str
    chart: str
    namespace: str
    documents: Sequence[Manifest]

    @cached_property
    def workloads(self) -> list[Workload]:
        """Its pods; as many as its autoscaler may make of them."""
        scaled = {
            (target["kind"], target["name"]): int(document["spec"]["maxReplicas"])
            for document in self.documents
            if document["kind"] == "HorizontalPodAutoscaler"
            for target in [document["spec"]["scaleTargetRef"]]
        }
        everything = [*self.documents, *operated(self.documents)]
        return [self._workload(one, scaled) for one in everything if one["kind"] in WORKLOADS]

    def _workload(self, document: Manifest, scaled: Mapping[tuple[str, str], int]) -> Workload:
        kind, metadata, spec = document["kind"], document["metadata"], document["spec"]
        replicas = scaled.get((kind, metadata["name"]), int(spec.get("replicas", 1)))
        if kind == "CronJob":
            spec = spec["jobTemplate"]["spec"]
        template: Manifest = spec["template"]
        if claims := spec.get("volumeClaimTemplates"):  # the controller of stateful sets adds their volumes to pods
            volumes = [
                {"name": claim, "persistentVolumeClaim": {"claimName": f"{claim}-{metadata['name']}-0"}}
                for claim in (one["metadata"]["name"] for one in claims)
            ]
            pod: Manifest = template["spec"]
            template = {**template, "spec": {**pod, "volumes": [*(pod.get("volumes") or ()), *volumes]}}
        return Workload(
            release=self.release,
            chart=self.chart,
            kind=kind,
            namespace=metadata.get("namespace") or self.namespace,
            name=metadata["name"],
            pods=0 if kind == "DaemonSet" else replicas,
            template=template,
        )


@dataclass
class Ground:
    """A control plane for one stack's charts; nothing of the charts runs on it.

    Attributes:
        state: The stack's resources.
        client: Its API server.
        objects: The same, with definitions loaded on demand.
        releases: Helm.
        folder: For what the stack's account would hold.
        missing: Releases that cannot be rendered here, and why.
        unplaced: DaemonSets that are not on every node that they are for, and why.
    """

    state: Sequence[Resource]
    client: Client
    objects: LiveObjects
    releases: Releases
    folder: Path
    missing: dict[str, str] = field(default_factory=dict[str, str])
    unplaced: list[str] = field(default_factory=list[str])

    @cached_property
    def rendered(self) -> list[Rendered]:
        """Every release whose chart is at hand."""
        (version,) = [one.inputs["version"] for one in self.state if one.type == "aws:eks/cluster:Cluster"]
        found: list[Rendered] = []
        for one in (one for one in self.state if one.type == RELEASE):
            try:
                documents = self.releases.render(one.inputs, kubernetes_version=f"{version}.0")
            except NotAtHandError as why:
                self.missing[one.name] = str(why)
                continue
            chart = str(one.inputs["chart"]).rsplit("/", 1)[-1]
            found.append(Rendered(one.name, chart, one.inputs["namespace"], list(self._placed(one, documents))))
        return found

    @staticmethod
    def _placed(release: Resource, documents: Sequence[Manifest]) -> Iterator[Manifest]:
        """Objects with the namespace of their release where they name none; cluster-wide kinds do not mind."""
        for document in documents:
            metadata = {"namespace": release.inputs["namespace"], **document["metadata"]}
            yield {**document, "metadata": metadata}

    @property
    def workloads(self) -> list[Workload]:
        return [workload for one in self.rendered for workload in one.workloads]

    @cached_property
    def groups(self) -> list[NodeGroupSpec]:
        """Node groups as the account of this stack has them."""
        store = Store(self.folder / "account.sqlite")
        region = next(one.inputs["region"] for one in self.state if one.type == "pulumi:providers:aws")
        for one in self.state:
            if one.type in _OF_NODES:
                store.insert(
                    Record(
                        one.type, one.id, f"urn:pulumi:s::p::{one.type}::{one.name}", region, one.inputs, one.outputs
                    )
                )
        return node_groups(store)

    @cached_property
    def refused(self) -> list[str]:
        """Objects that the API server does not take, in its words; all but the workloads are stored."""
        self.prepare()
        lines: list[str] = []
        everything = [(one, document) for one in self.rendered for document in one.documents]
        everything.sort(key=lambda pair: _rank(pair[1]))
        definitions = [pair for pair in everything if pair[1]["kind"] == "CustomResourceDefinition"]
        for pairs in (definitions, everything[len(definitions) :]):
            stored: list[Manifest] = []
            for one, document in pairs:
                try:
                    if document["kind"] in WORKLOADS or not lives_in_a_cluster(document):
                        self.objects.judge(document, _MANAGER, force=True)
                    else:
                        stored.append(self.objects.apply(document, _MANAGER, force=True))
                except ProviderError as error:
                    lines.append(f"{one.release}: {error}")
            for live in stored if pairs is definitions else ():
                self.objects.wait(live, _PATIENCE_SECONDS)
        return lines

    def prepare(self) -> None:
        """Apply what the stack puts around the pods, and wait until the API server enforces it."""
        around = [one for one in self.state if one.type.startswith("kubernetes:") and one.inputs.get("kind") in _AROUND]
        for one in sorted(around, key=lambda one: _AROUND.index(one.inputs["kind"])):
            self.objects.apply(one.inputs, _MANAGER, force=True)
        namespaces = {one["metadata"]["name"] for one in self.client.items("/api/v1/namespaces")}
        self.until(
            lambda: all(quota.get("status", {}).get("hard") for quota in self.client.items("/api/v1/resourcequotas"))
        )
        self.until(
            lambda: namespaces <= {one["metadata"]["namespace"] for one in self.client.items("/api/v1/serviceaccounts")}
        )

    @cached_property
    def landed(self) -> dict[str, list[str]]:
        """Node groups that every DaemonSet has pods on, decided by its controller and the scheduler."""
        assert self.refused is not None
        Nodes(self.client).reconcile([replace(group, min_size=1, desired=1, max_size=1) for group in self.groups])
        # Once one that tolerates everything is everywhere, the controller knows all nodes.
        everywhere = _EVERYWHERE["metadata"]
        self.objects.apply(_EVERYWHERE, _MANAGER)
        self.until(lambda: len(self._groups_of(everywhere["namespace"], everywhere["name"])) == len(self.groups))
        stored: set[tuple[str, str]] = set()
        for one in self.rendered:
            for document in one.documents:
                if document["kind"] == "DaemonSet":
                    with suppress(ProviderError):  # which is among what is refused
                        self.objects.apply(document, _MANAGER, force=True)
                        stored.add((document["metadata"]["namespace"], document["metadata"]["name"]))
        landed: dict[str, list[str]] = {}
        for workload in (workload for workload in self.workloads if workload.kind == "DaemonSet"):
            if (workload.namespace, workload.name) in stored:
                try:
                    self.until(partial(self._settled, workload), seconds=_SETTLED_SECONDS)
                except AssertionError:  # told once, by the test that is about it, with the API server's reason
                    self.unplaced.append(f"{workload}: not on every node that it is for: {self._warnings(workload)}")
            landed[str(workload)] = self._groups_of(workload.namespace, workload.name)
        return landed

    def _settled(self, workload: Workload) -> bool:
        path = f"/apis/apps/v1/namespaces/{workload.namespace}/daemonsets/{workload.name}"
        status: Manifest = self.client.request("GET", path).get("status") or {}
        placed = len(self._groups_of(workload.namespace, workload.name))
        return status.get("observedGeneration", 0) > 0 and status.get("desiredNumberScheduled") == placed

    def _warnings(self, workload: Workload) -> str:
        path = f"/api/v1/namespaces/{workload.namespace}/events"
        events = self.client.items(path, fieldSelector=f"involvedObject.name={workload.name},type=Warning")
        return "; ".join(sorted({str(event.get("message")) for event in events})) or "no warning"

    def _groups_of(self, namespace: str, name: str) -> list[str]:
        """Node groups of the pods of a DaemonSet that have a node."""
        names = {f"{group.name}-0": group.name for group in self.groups}
        pods = [
            pod
            for pod in self.client.items(f"/api/v1/namespaces/{namespace}/pods")
            for owner in pod["metadata"].get("ownerReferences") or ()
            if (owner["kind"], owner["name"]) == ("DaemonSet", name)
        ]
        return sorted(names[pod["spec"]["nodeName"]] for pod in pods if pod["spec"].get("nodeName"))

    @cached_property
    def at_most(self) -> list[tuple[Workload, int]]:
        """How many pods of everything but DaemonSets there can be at a time.

        Every autoscaler stands at its maximum, and in every namespace the largest Deployment is rolled out, which makes
        one pod more.
        """
        rolling = {
            namespace: max(found, key=lambda one: cpu_and_memory(one.template["spec"]).cpu_millicores).name
            for namespace, found in _by_namespace(self.workloads, "Deployment").items()
        }
        return [
            (one, one.pods + (one.kind == "Deployment" and rolling[one.namespace] == one.name))
            for one in self.workloads
            if one.kind != "DaemonSet"
        ]

    @cached_property
    def refused_pods(self) -> list[str]:
        """Pods that their namespace does not admit together with all others, in the API server's words.

        Those of DaemonSets are there for every node that there can be. All are held back from the scheduler.
        """
        landed = self.landed
        sizes = {group.name: group.max_size for group in self.groups}
        everywhere = [
            (one, sum(sizes[group] for group in landed[str(one)]) - len(landed[str(one)]))  # the landed ones exist
            for one in self.workloads
            if one.kind == "DaemonSet"
        ]
        refused: Counter[str] = Counter()
        for workload, wanted in [*self.at_most, *everywhere]:
            for number in range(wanted):
                try:
                    self._hold(workload, number)
                except ApiError as error:
                    refused[f"{workload}: {error}"] += 1
        return [f"{count} of {line}" for line, count in refused.items()]

    def _hold(self, workload: Workload, number: int) -> Manifest:
        metadata = {**(workload.template.get("metadata") or {}), "name": f"{workload.name}-held-{number}"}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": metadata,
            "spec": {**workload.template["spec"], "schedulingGates": [{"name": "rendering/held"}]},
        }
        path = f"/api/v1/namespaces/{workload.namespace}/pods"
        return self.client.request("POST", path, query={"fieldValidation": "Strict"}, body=pod)

    @staticmethod
    def until(done: Callable[[], bool], seconds: float = _PATIENCE_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < deadline, "what the test waits for never comes"
            time.sleep(0.2)


def cpu_and_memory(spec: Manifest) -> Request:
    """What the scheduler counts for a pod: its containers, or the largest that runs before them."""

    def asked(container: Manifest, what: str) -> Decimal:
        resources: Manifest = container.get("resources") or {}
        limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
        return quantity(requests.get(what, limits.get(what, 0)))

    def total(what: str) -> Decimal:
        first: list[Manifest] = spec.get("initContainers") or []
        beside = sum(asked(one, what) for one in first if one.get("restartPolicy") == "Always")
        running = sum(asked(one, what) for one in spec["containers"]) + beside
        return max([running, *(asked(one, what) for one in first)])

    return Request(cpu_millicores=int(total("cpu") * 1000), memory_mib=int(total("memory") / 2**20))


def quantity(text: str | int | float) -> Decimal:
    """A Kubernetes quantity in cores or bytes."""
    text = str(text)
    unit = next((unit for unit in _UNITS if text.endswith(unit)), "")
    return Decimal(text.removesuffix(unit)) * _UNITS.get(unit, 1)


def _by_namespace(workloads: Sequence[Workload], kind: str) -> dict[str, list[Workload]]:
    found: dict[str, list[Workload]] = {}
    for workload in workloads:
        if workload.kind == kind:
            found.setdefault(workload.namespace, []).append(workload)
    return found


def _rank(document: Manifest) -> int:
    return _FIRST.index(document["kind"]) if document["kind"] in _FIRST else len(_FIRST)
