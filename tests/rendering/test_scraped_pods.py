"""Every row of the table of monitors finds a pod, with the port that it names, in what charts and trees become."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from components.aws.nodes import pool_of
from components.platform.observability.monitors import Monitor, monitors
from components.platform.platform import Platform, PlatformArgs
from components.platform.runtimes import CONTAINER, RUNTIMES, runtime_of
from components.settings import parse
from components.settings.nodes import table
from components.versions import CHARTS, KUBERNETES, ChartName
from sandbox import paths
from sandbox.kubernetes.helm import NotAtHandError, Releases
from sandbox.store import Store
from sandbox.toolchain import clients
from tests.rendering.operated import operated
from tests.trees import rendered
from tests.unit.conftest import Recorder, recording
from tests.unit.platform_site import site

pytestmark = pytest.mark.rendering

TEAM = "nlp"
SETTINGS = parse({"owner": "ml-platform", "costCenter": "ml", "teams": [{"name": TEAM}]})
POOLS = tuple(pool_of(group) for group in table())
WORKLOADS = ("DaemonSet", "Deployment", "StatefulSet")
# Made by the foundation; only what their pods are called matters here.
OF_THE_FOUNDATION: Mapping[ChartName, Mapping[str, Any]] = {
    "aws-load-balancer-controller": {"clusterName": "test"},
    "cluster-autoscaler": {"autoDiscovery": {"clusterName": "test"}},
}
# Ports of what the operator makes pods of; it leaves them as the programs have them.
SERVED = {"alertmanager": 9093, "prometheus": 9090}
# Pods that nothing here renders: an add-on of the cluster, and runs that people start.
ELSEWHERE = {"coredns", "training-runs"}


@dataclass(frozen=True)
class Found:
    """A pod, as a chart, a tree or an operator makes it.

    Attributes:
        ports: Declared ports by container; a container without any is there too.
    """

    namespace: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    ports: Mapping[str, frozenset[int]]

    @classmethod
    def of(cls, namespace: str, template: Mapping[str, Any]) -> Found:
        metadata: Mapping[str, Any] = template.get("metadata") or {}
        return cls(
            namespace,
            metadata.get("labels") or {},
            metadata.get("annotations") or {},
            {
                one["name"]: frozenset(int(port["containerPort"]) for port in one.get("ports") or ())
                for one in template["spec"]["containers"]
            },
        )

    def fits(self, monitor: Monitor) -> bool:
        return self.namespace in monitor.namespaces and monitor.labels.items() <= self.labels.items()

    def answers(self, monitor: Monitor) -> bool:
        if monitor.port_annotation:
            return monitor.container in self.ports and self.annotations.get(monitor.port_annotation, "").isdigit()
        if monitor.container:
            return monitor.container in self.ports and not any(monitor.port in ports for ports in self.ports.values())
        return any(monitor.port in ports for ports in self.ports.values())


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    with recording() as recorder:
        yield recorder


@pytest.fixture(scope="module")
def table_of_monitors(recorder: Recorder) -> tuple[Monitor, ...]:
    """The table of a platform with everything; the platform itself is in ``recorder`` afterwards."""
    found: list[Monitor] = []

    def program() -> None:
        here = site(teams=SETTINGS.teams, pools=POOLS)
        Platform("platform", PlatformArgs(foundation=here.foundation, settings=SETTINGS))
        found.extend(monitors(here))

    recorder.run(program)
    return tuple(found)


@pytest.fixture(scope="module")
def pods(
    recorder: Recorder, table_of_monitors: tuple[Monitor, ...], tmp_path_factory: pytest.TempPathFactory
) -> list[Found]:
    assert table_of_monitors
    folder = tmp_path_factory.mktemp("scraped")
    helm = clients.find_or_get("helm", paths.cache_dir(), print)
    if not isinstance(helm, Path):
        pytest.skip(helm.reason)
    releases = Releases(helm, "", folder / "no-cluster", Store(folder / "recorded.sqlite"))
    found = [*_of_operators(), *_of_trees(recorder, folder)]
    for inputs in (*_releases(recorder), *_foundation()):
        try:
            documents = releases.render(inputs, kubernetes_version=f"{KUBERNETES}.0")
        except NotAtHandError as missing:
            pytest.skip(f"{inputs['chart']}: {missing}")
        found += _of_documents(documents, inputs["namespace"])
    found += [
        Found.of(one.inputs["metadata"]["namespace"], one.inputs["spec"]["template"])
        for one in recorder.resources
        if one.type in {f"kubernetes:apps/v1:{kind}" for kind in WORKLOADS}
    ]
    found += [pod for one in recorder.resources if one.type.endswith(":RayCluster") for pod in _of_ray(one.inputs)]
    return found


def _releases(recorder: Recorder) -> list[dict[str, Any]]:
    return [one.inputs for one in recorder.resources if one.type == "kubernetes:helm.sh/v3:Release"]


def _foundation() -> Iterator[dict[str, Any]]:
    for name, values in OF_THE_FOUNDATION.items():
        chart = CHARTS[name]
        yield {
            "name": name,
            "chart": chart.name,
            "version": chart.version,
            "namespace": "kube-system",
            "repositoryOpts": {"repo": chart.repository},
            "values": dict(values),
        }


def _of_documents(documents: Sequence[Mapping[str, Any]], namespace: str) -> Iterator[Found]:
    for one in documents:
        place = one["metadata"].get("namespace") or namespace
        if one["kind"] in WORKLOADS:
            yield Found.of(place, one["spec"]["template"])
    for one in operated(documents):
        name = one["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"]  # its container has it too
        yield Found(namespace, {"app.kubernetes.io/name": name}, {}, {name: frozenset({SERVED[name]})})


def _of_operators() -> Iterator[Found]:
    """Servers of models: KServe gives their pods the annotations of the runtime and a label of its own."""
    for runtime in RUNTIMES.values():
        made = runtime_of(runtime)
        template = {
            "metadata": {"labels": {"component": "predictor"}, "annotations": made["annotations"]},
            "spec": {"containers": made["containers"]},
        }
        for namespace in ("mlops-serving", f"team-{TEAM}"):
            yield Found.of(namespace, template)


def _of_ray(cluster: Mapping[str, Any]) -> Iterator[Found]:
    """KubeRay adds its own labels to every pod of a cluster."""
    spec = cluster["spec"]
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        pod = Found.of(cluster["metadata"]["namespace"], group["template"])
        yield Found(pod.namespace, {**pod.labels, "ray.io/is-ray-node": "yes"}, pod.annotations, pod.ports)


def _of_trees(recorder: Recorder, folder: Path) -> Iterator[Found]:
    """What Argo CD renders; skipped where nobody has put the trees."""
    applications = [one for one in recorder.resources if one.type.endswith(":Application")]
    for number, one in enumerate(applications):
        if "sources" not in one.inputs["spec"]:
            continue
        work = folder / str(number)
        work.mkdir()
        for document in rendered(one.inputs["spec"], work):
            if document["kind"] in WORKLOADS:
                yield Found.of(document["metadata"]["namespace"], document["spec"]["template"])


def test_every_monitor_finds_a_pod_and_every_pod_that_it_finds_has_the_port(
    table_of_monitors: tuple[Monitor, ...], pods: list[Found]
):
    """A pod without the port would be left out in silence, or show as down for ever."""
    wrong: list[str] = []
    for monitor in table_of_monitors:
        if monitor.name in ELSEWHERE:
            continue
        fitting = [pod for pod in pods if pod.fits(monitor)]
        if not fitting:
            wrong.append(f"{monitor.name}: no pod in {', '.join(monitor.namespaces)} has {dict(monitor.labels)}")
        wrong += [f"{monitor.name}: {pod} has no port {monitor.port}" for pod in fitting if not pod.answers(monitor)]
    assert wrong == []


def test_a_container_that_is_named_is_the_only_one_that_would_be_read(
    table_of_monitors: tuple[Monitor, ...], pods: list[Found]
):
    """Its address is written over that of every container that is kept: two of them would be counted twice."""
    for monitor in table_of_monitors:
        if monitor.container and monitor.container != CONTAINER:
            for pod in pods:
                if pod.fits(monitor):
                    assert list(pod.ports).count(monitor.container) == 1
