"""What Prometheus reads: that it may reach it, and that nothing is thrown away which a rule asks for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from aws_stack import run
from platform_openings import HOSTS, TEAMS, emitted, everything
from platform_site import site

from components.platform.namespaces import ROOMS
from components.platform.network_policies import HBONE
from components.platform.observability import component
from components.platform.observability.catalogue import METRICS, honours_labels
from components.platform.observability.monitors import Monitor, monitors
from components.platform.observability.monitors.servers import API_SERVER, KUBELET
from components.platform.openings import SCRAPER
from components.platform.reach import Host, Pod, allowed
from components.platform.runtimes import RUNTIMES
from components.platform.site import Site
from components.settings.teams import TeamSettings

pytestmark = pytest.mark.unit

OFF = {"enabled": False}
READER = Pod(namespace=SCRAPER.namespace, labels=SCRAPER.labels)
# Jobs of components whose series name a namespace or a pod of their own.
JOBS: Mapping[str, Sequence[str]] = {
    "AWS load balancer controller": ["load-balancer-controller"],
    "Argo CD": ["argocd-application-controller"],
    "Argo Workflows": ["argo-workflows"],
    "DCGM exporter": ["dcgm-exporter"],
    "External Secrets": ["external-secrets"],
    "JobSet": ["jobset"],
    "KEDA": ["keda-operator"],
    "KubeRay": ["kuberay-operator"],
    "cert-manager": ["cert-manager"],
    "kube-state-metrics": ["kube-state-metrics"],
}


def of(**settings: Any) -> tuple[Monitor, ...]:
    found: list[Monitor] = []
    run(lambda: found.extend(monitors(place(settings))))
    return tuple(found)


def place(settings: Mapping[str, Any] | None = None) -> Site:
    return site(settings or {}, teams=[TeamSettings(name=team) for team in TEAMS])


@pytest.fixture(scope="module")
def policies() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    def program() -> None:
        here = place()
        found.extend(emitted([*everything(here), *component.openings(here)]))

    run(program)
    return found


def ports_of(monitor: Monitor) -> set[int]:
    return {monitor.port} if monitor.port else {runtime.metrics_port for runtime in RUNTIMES.values()}


def meshed(monitor: Monitor, namespace: str) -> bool:
    if namespace.startswith("team-"):
        return True
    return namespace in ROOMS and ROOMS[namespace].mesh and monitor.name != "prometheus-operator"  # type: ignore[index] a namespace of the platform


ALL = of()
NAMES = [monitor.name for monitor in ALL]


@pytest.mark.parametrize("monitor", ALL, ids=NAMES)
def test_the_reader_reaches_every_pod_that_it_shall_read(monitor: Monitor, policies: list[dict[str, Any]]):
    for namespace in monitor.namespaces:
        pod = Pod(namespace=namespace, labels=monitor.labels)
        target: Pod | Host = HOSTS["private subnet"] if monitor.on_host else pod
        tunnelled = meshed(monitor, namespace) and not monitor.on_host
        needed = {*ports_of(monitor), *((HBONE,) if tunnelled else ())}
        out = allowed(policies, READER, target, "egress")
        into = allowed(policies, pod, READER, "ingress") if namespace in ROOMS and not monitor.on_host else out
        for port in needed:
            assert holds(out, port), f"{namespace}: {port} is closed on the reader's side"
            assert holds(into, port), f"{namespace}: {port} is closed on the pod's side"


def holds(ranges: frozenset[tuple[str, int, int]], port: int) -> bool:
    return any(protocol == "TCP" and first <= port <= last for protocol, first, last in ranges)


def test_names_are_unique_because_they_are_jobs():
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize(
    ("section", "names"),
    [
        ("mesh", {"istiod", "istio-cni", "ztunnel"}),
        ("gateway", {"gateway"}),
        ("certificates", {"cert-manager"}),
        ("secrets", {"external-secrets"}),
        ("delivery", {"argocd-server"}),
        ("scheduling", {"volcano-scheduler"}),
        ("gpus", {"dcgm-exporter"}),
        ("autoscaling", {"keda-operator"}),
        ("backups", {"velero"}),
        ("ray", {"ray", "kuberay-operator"}),
        ("vectors", {"milvus"}),
        ("experiments", {"mlflow"}),
        ("workflows", {"argo-workflows"}),
        ("pipelines", {"pipelines"}),
        ("training", {"jobset", "kubeflow-trainer", "training-operator", "training-runs"}),
        ("serving", {"models", "kserve", "activator"}),
        ("modelGateway", {"litellm"}),
        ("grafana", {"grafana"}),
        ("logs", {"loki", "alloy"}),
        ("traces", {"tempo", "otel-collector"}),
    ],
)
def test_what_is_switched_off_is_not_read(section: str, names: set[str]):
    assert names <= set(NAMES)
    assert not names & {monitor.name for monitor in of(**{section: OFF})}


def test_every_team_s_models_and_runs_are_read_where_they_run():
    teams = {f"team-{team}" for team in TEAMS}
    for name in ("models", "training-runs", "ray"):
        (monitor,) = (one for one in ALL if one.name == name)
        assert teams <= set(monitor.namespaces)


def test_series_of_others_keep_the_names_of_those_others():
    """Else the label ``namespace`` of a GPU's pod would be called ``exported_namespace``, and no rule would find it."""
    honoured = {monitor.name for monitor in ALL if monitor.honor_labels} | {
        "kubelet" for endpoint in KUBELET["endpoints"] if endpoint["honorLabels"]
    }
    jobs = {**JOBS, "kubelet": ["kubelet"], "kubelet, cAdvisor": ["kubelet"]}
    for name in honours_labels():
        assert set(jobs[name]) <= honoured, name


def test_code_of_people_cannot_pass_its_series_off_as_another_s():
    for monitor in ALL:
        if any(namespace.startswith(("team-", "mlops-training")) for namespace in monitor.namespaces):
            assert not monitor.honor_labels, monitor.name


def series(*components: str) -> Iterator[str]:
    yield from (name for name, metric in METRICS.items() if metric.source.component in components)


def test_nothing_is_dropped_that_the_catalogue_knows():
    """But of the API server, whose library others use too: what they show of themselves is not meant there."""
    dropped = [(one.name, re.compile("|".join(one.drop))) for one in ALL if one.drop]
    known = METRICS.keys() - set(series("Kubernetes API server"))
    assert [(name, found) for name, pattern in dropped for found in known if pattern.fullmatch(found)] == []


@pytest.mark.parametrize(
    ("endpoints", "components"),
    [
        (KUBELET["endpoints"], ("kubelet", "kubelet, cAdvisor")),
        (API_SERVER["endpoints"], ("Kubernetes API server",)),
    ],
    ids=["kubelet", "apiserver"],
)
def test_of_the_cluster_s_servers_everything_is_kept_that_the_catalogue_knows(
    endpoints: Sequence[Mapping[str, Any]], components: tuple[str, ...]
):
    kept = re.compile(
        "|".join(
            rule["regex"]
            for endpoint in endpoints
            for rule in endpoint["metricRelabelings"]
            if rule["action"] == "keep" and rule["sourceLabels"] == ["__name__"]
        )
    )
    known = list(series(*components))
    assert known
    assert [name for name in known if not kept.fullmatch(name)] == []


def test_a_histogram_of_the_api_server_keeps_its_total():
    """Without the bound +Inf a quantile is not a number."""
    (rule,) = (
        rule for rule in API_SERVER["endpoints"][0]["metricRelabelings"] if rule["sourceLabels"] == ["__name__", "le"]
    )
    kept = re.compile(rule["regex"])
    assert kept.fullmatch("apiserver_request_duration_seconds_bucket;+Inf")
    assert kept.fullmatch("apiserver_request_total;")
    assert not kept.fullmatch("apiserver_request_duration_seconds_bucket;0.15")


def test_a_port_that_differs_by_runtime_is_taken_from_the_annotation_of_the_runtime():
    """As Prometheus does it: source labels are joined, and a pattern that does not fit the whole changes nothing."""
    (models,) = (one for one in ALL if one.name == "models")
    (endpoint,) = models.spec["podMetricsEndpoints"]
    (rule,) = (one for one in endpoint["relabelings"] if one.get("targetLabel") == "__address__")
    assert rule["sourceLabels"][1] == "__meta_kubernetes_pod_annotation_prometheus_kserve_io_port"
    for runtime in RUNTIMES.values():
        joined = rule["separator"].join(["10.0.1.2", str(runtime.metrics_port)])
        found = re.fullmatch(str(rule["regex"]), joined)
        assert found
        assert found[1] == f"10.0.1.2:{runtime.metrics_port}"
    assert not re.fullmatch(rule["regex"], rule["separator"].join(["10.0.1.2", ""]))


def test_a_row_without_a_port_is_refused():
    with pytest.raises(ValueError, match="needs a port"):
        Monitor(name="none", namespaces=["argo"], labels={}, why="")
