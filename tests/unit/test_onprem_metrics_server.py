"""Who serves ``metrics.k8s.io`` on premises: the stack's own metrics-server or the cluster's, and never both."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import onprem_stack
import pulumi
import pytest
from conftest import Recorder

from components.onprem import facts as asking
from components.onprem.checks import problems
from components.onprem.cluster import networks
from components.onprem.facts import MetricsApi
from components.onprem.metrics_server import kubelet_arguments
from components.onprem.names import OPERATORS
from components.onprem.rooms import RoomsArgs, policies_of
from components.platform.reach import Endpoint, Host, Pod, allowed
from components.settings import parse
from components.settings.onprem import MetricsServerSettings

pytestmark = pytest.mark.unit

RELEASE = "foundation-metrics-server-release"
SERVER = Pod(namespace=OPERATORS, labels={"app.kubernetes.io/name": "metrics-server"})
OTHER = Pod(namespace=OPERATORS, labels={"app.kubernetes.io/name": "cloudnative-pg"})
API_SERVER, NODE, STRANGER = Host(address="192.168.10.11"), Host(address="192.168.10.77"), Host(address="192.0.2.1")


@pytest.fixture
def site(recorded: Recorder) -> Recorder:
    recorded.outputs.update(
        {
            "tls:index/selfSignedCert:SelfSignedCert": {"certPem": "AUTHORITY"},
            "tls:index/locallySignedCert:LocallySignedCert": {"certPem": "SERVER"},
            "tls:index/privateKey:PrivateKey": {"privateKeyPem": "KEY"},
            "tls:index/certRequest:CertRequest": {"certRequestPem": "REQUEST"},
        }
    )
    return recorded


def values(site: Recorder, **metrics_server: Any) -> dict[str, Any]:
    site.run(lambda: onprem_stack.build(onprem_stack.settings(metricsServer=metrics_server)))
    return site.one("kubernetes:helm.sh/v3:Release", RELEASE).inputs["values"]


def test_the_api_server_knows_whom_it_asks(site: Recorder):
    """The name that the aggregator checks is the Service's, ``<name>.<namespace>.svc``."""
    found = values(site)
    assert found["apiService"] == {"insecureSkipTLSVerify": False, "caBundle": "AUTHORITY"}
    secret = onprem_stack.opened(site.one("kubernetes:core/v1:Secret", "foundation-metrics-server-tls").inputs)
    assert secret["metadata"]["name"] == found["tls"]["existingSecret"]["name"]
    request = site.one("tls:index/certRequest:CertRequest", "foundation-metrics-server-request").inputs
    release = site.one("kubernetes:helm.sh/v3:Release", RELEASE).inputs
    assert f"{release['name']}.{release['namespace']}.svc" in request["dnsNames"]


def test_a_kubelet_that_cannot_prove_itself_is_asked_only_where_a_setting_says_so(site: Recorder):
    assert values(site)["args"] == []
    assert kubelet_arguments(MetricsServerSettings.model_validate({"trustAnyKubelet": True})) == [
        "--kubelet-insecure-tls"
    ]


def test_kubelets_of_another_authority_are_known_by_a_file_that_is_mounted(site: Recorder):
    found = values(site, kubeletCa="KUBELETS")
    (mount,), (volume,) = found["extraVolumeMounts"], found["extraVolumes"]
    (argument,) = found["args"]
    path = argument.removeprefix("--kubelet-certificate-authority=")
    folder, _, file = path.rpartition("/")
    assert (folder, mount["name"]) == (mount["mountPath"], volume["name"])
    kept = site.one("kubernetes:core/v1:ConfigMap", "foundation-metrics-server-kubelet-ca").inputs
    assert (kept["metadata"]["name"], kept["data"]) == (volume["configMap"]["name"], {file: "KUBELETS"})


def test_both_ways_to_know_kubelets_at_once_are_refused():
    with pytest.raises(ValueError, match="exclude each other"):
        MetricsServerSettings.model_validate({"kubeletCa": "X", "trustAnyKubelet": True})


def test_with_replicas_a_drain_takes_one_of_them_and_without_it_is_not_held_up(site: Recorder):
    several = values(site)
    assert several["replicas"] == 2
    assert several["podDisruptionBudget"] == {"enabled": True, "maxUnavailable": 1}
    (spread,) = several["topologySpreadConstraints"]
    assert (
        spread["labelSelector"]["matchLabels"].items()
        <= {
            **SERVER.labels,
            "app.kubernetes.io/instance": "metrics-server",
        }.items()
    )


def test_one_server_has_no_budget_that_holds_a_drain_up(site: Recorder):
    stack = onprem_stack.raw()
    alone = parse({**stack, "platform": {**stack["platform"], "highlyAvailable": False}})
    site.run(lambda: onprem_stack.build(alone))
    found = site.one("kubernetes:helm.sh/v3:Release", RELEASE).inputs["values"]
    assert (found["replicas"], found["podDisruptionBudget"]["enabled"]) == (1, False)


@pytest.mark.parametrize("changed", [{"metricsServer": {"kind": "present"}}, {"openshift": True}])
def test_where_the_cluster_has_its_own_nothing_is_installed(site: Recorder, changed: dict[str, Any]):
    site.run(lambda: onprem_stack.build(onprem_stack.settings(**changed)))
    assert not [one.name for one in site.resources if "metrics-server" in one.name]


def test_openshift_is_not_given_a_second_one():
    with pytest.raises(pulumi.RunError, match=r"metricsServer\.kind: must be present on OpenShift"):
        onprem_stack.settings(openshift=True, metricsServer={"kind": "install"})


@pytest.mark.parametrize(
    ("kind", "there", "said"),
    [
        ("install", None, ""),
        ("install", MetricsApi(service=f"{OPERATORS}/metrics-server", available=True), ""),
        ("install", MetricsApi(service=f"{OPERATORS}/metrics-server", available=False), ""),  # `up` mends it
        ("install", MetricsApi(service="kube-system/metrics-server", available=True), "kube-system/metrics-server"),
        ("install", MetricsApi(service="", available=True), "set present"),
        ("present", MetricsApi(service="kube-system/metrics-server", available=True), ""),
        ("present", None, "set install"),
        ("present", MetricsApi(service="kube-system/metrics-server", available=False), "kubectl describe apiservice"),
    ],
)
def test_two_of_them_and_none_of_them_are_refused_before_anything_is_made(
    kind: str, there: MetricsApi | None, said: str
):
    settings = onprem_stack.settings(metricsServer={"kind": kind})
    found = problems(replace(onprem_stack.facts(settings), metrics_api=there), settings)
    assert len(found) == bool(said)
    if said:
        assert found[0].startswith("onprem.metricsServer.kind: ")
        assert said in found[0]


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        ({}, None),
        (
            {
                "spec": {"service": {"namespace": "kube-system", "name": "metrics-server"}},
                "status": {"conditions": [{"type": "Available", "status": "True"}]},
            },
            MetricsApi(service="kube-system/metrics-server", available=True),
        ),
        ({"spec": {"service": None}, "status": {}}, MetricsApi(service="", available=False)),
    ],
)
def test_who_serves_it_is_read_off_the_api_service(answer: dict[str, Any], seen: MetricsApi | None):
    assert asking.metrics_api(answer) == seen


def policies(*, metrics_server: bool) -> list[dict[str, Any]]:
    args = RoomsArgs(
        networks=networks(onprem_stack.settings().onprem),
        owner="x",
        cost_center="x",
        balancers=False,
        kubernetes_version="1.35",
        outside=(),
        metrics_server=metrics_server,
    )
    return [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": OPERATORS},
            "spec": spec,
        }
        for name, spec in policies_of(OPERATORS, args).items()
    ]


def reaches(pod: Pod, other: Endpoint, direction: Any, *, installed: bool = True) -> bool:
    ranges = allowed(policies(metrics_server=installed), pod, other, direction)
    return any(protocol == "TCP" and first <= 10250 <= last for protocol, first, last in ranges)


def test_the_control_plane_reaches_it_and_it_reaches_every_kubelet():
    assert reaches(SERVER, API_SERVER, "ingress")
    assert reaches(SERVER, NODE, "egress")
    assert reaches(SERVER, API_SERVER, "egress"), "servers of the control plane have a kubelet too"


def test_nobody_else_does():
    assert not reaches(SERVER, STRANGER, "ingress")
    assert not reaches(SERVER, STRANGER, "egress")
    assert not reaches(OTHER, NODE, "egress")
    assert not reaches(OTHER, API_SERVER, "ingress")
    assert not reaches(SERVER, NODE, "egress", installed=False)
