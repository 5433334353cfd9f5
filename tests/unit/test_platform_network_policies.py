"""Network policies: what is declared is open, nothing else is, and the document says so."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pulumi
import pytest
from generated_section import assert_current
from platform_openings import HOSTS, NETWORKS, PLATFORM, POD_ADDRESS, TEAMS, emitted, everything, pods_of, title
from platform_site import site

from components.platform.namespaces import ROOMS
from components.platform.network_policies import CLOSED, HBONE, network_policies, ranges
from components.platform.openings import GATEWAY, LITELLM, MLFLOW, SCRAPER, Opening, Pods
from components.platform.reach import EVERYTHING, Endpoint, Pod, PortRange, Way, allowed, reach

pytestmark = pytest.mark.unit

PAGE = Path(__file__).parents[2] / "docs" / "isolation.md"


def all_openings() -> list[Opening]:
    """The openings of production; a site needs a running program."""
    found: list[Opening] = []
    pulumi.runtime.test(lambda: found.extend(everything(site(PLATFORM))))()
    return found


@pytest.fixture(scope="module")
def openings() -> list[Opening]:
    from conftest import Recorder

    pulumi.runtime.set_mocks(Recorder(), project="llmops", stack="test", preview=False)
    return all_openings()


@pytest.fixture(scope="module")
def policies(openings: list[Opening]) -> list[dict[str, Any]]:
    return emitted(openings)


@pytest.fixture(scope="module")
def endpoints(openings: list[Opening]) -> dict[str, Endpoint]:
    return {**pods_of(openings), **HOSTS}


@pytest.fixture(scope="module")
def ways(policies: list[dict[str, Any]], endpoints: dict[str, Endpoint]) -> dict[tuple[str, str], Way]:
    return {(way.source, way.target): way for way in reach(policies, endpoints)}


def opens(policies: list[dict[str, Any]], source: Endpoint, target: Endpoint, port: int, protocol: str = "TCP") -> bool:
    found = reach(policies, {"source": source, "target": target})
    ports = [way.ports for way in found if (way.source, way.target) == ("source", "target")]
    return any(kind == protocol and first <= port <= last for one in ports for kind, first, last in one)


def test_every_namespace_is_closed_in_both_directions_for_all_its_pods(policies: list[dict[str, Any]]):
    closed = {p["metadata"]["namespace"]: p["spec"] for p in policies if p["metadata"]["name"] == CLOSED}
    assert set(closed) == {*ROOMS, *(f"team-{team}" for team in TEAMS)}
    assert all(spec == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} for spec in closed.values())


def test_every_pod_can_ask_dns(policies: list[dict[str, Any]]):
    dns = Pod(namespace="kube-system", labels={"k8s-app": "kube-dns"})
    for namespace in {policy["metadata"]["namespace"] for policy in policies}:
        pod = Pod(namespace=namespace, labels={"app": "anything"})
        assert opens(policies, pod, dns, 53, "UDP"), namespace
        assert opens(policies, pod, dns, 53), namespace


def test_whatever_a_system_declares_is_open(openings: list[Opening], ways: dict[tuple[str, str], Way]):
    for opening in openings:
        if not (isinstance(opening.source, Pods) and isinstance(opening.target, Pods)):
            continue
        way = ways[title(opening.source), title(opening.target)]
        for port in opening.ports or (1, 65535):
            assert any(kind == "TCP" and first <= port <= last for kind, first, last in way.ports), opening


def test_nothing_is_open_between_pods_that_nobody_declares(
    openings: list[Opening], ways: dict[tuple[str, str], Way], endpoints: dict[str, Endpoint]
):
    """Held against the declarations one by one, not against how policies are made of them."""
    for (source, target), way in ways.items():
        one, other = endpoints[source], endpoints[target]
        if not (isinstance(one, Pod) and isinstance(other, Pod)) or "kube-system" in (one.namespace, other.namespace):
            continue
        fitting = [o for o in openings if _covers(o.source, one) and _covers(o.target, other)]
        ports = {port for opening in fitting for port in opening.ports}
        if any(not opening.ports for opening in fitting):
            continue
        extra = {(kind, first, last) for kind, first, last in way.ports} - {("TCP", port, port) for port in ports}
        assert extra <= {("TCP", HBONE, HBONE)}, (source, target, extra)
        assert fitting, (source, target)


def _covers(end: Any, pod: Pod) -> bool:
    return (
        isinstance(end, Pods)
        and end.namespace == pod.namespace
        and all(pod.labels.get(key) == value for key, value in end.labels.items())
    )


def test_the_tunnel_is_open_only_between_pods_that_the_mesh_carries(ways: dict[tuple[str, str], Way]):
    meshed = {name for name, room in ROOMS.items() if room.mesh} | {f"team-{team}" for team in TEAMS}
    through = {
        (source.split("/")[0], target.split("/")[0])
        for (source, target), way in ways.items()
        if ("TCP", HBONE, HBONE) in way.ports
    }
    assert through
    assert {target for _, target in through} <= meshed
    assert {source for source, _ in through} <= meshed | {"istio-ingress"}
    assert ("istio-ingress", "mlops-serving") in through  # the gateway speaks the tunnel's protocol itself
    assert ("monitoring", "keda") not in through


def test_probes_reach_pods_of_the_mesh_from_the_meshs_own_address_and_from_nowhere_else(
    policies: list[dict[str, Any]], ways: dict[tuple[str, str], Way]
):
    everywhere = {
        target.split("/")[0]
        for (source, target), way in ways.items()
        if source == "kubelet's probes" and frozenset(way.ports) == EVERYTHING
    }
    probed = everywhere - {"kube-system"}  # which is not closed
    assert probed == {name for name, room in ROOMS.items() if room.mesh} | {f"team-{team}" for team in TEAMS}
    neighbour = Pod(namespace="", address="169.254.7.126")
    for namespace in probed:
        assert allowed(policies, Pod(namespace=namespace), neighbour, "ingress") == frozenset(), namespace


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("team-nlp", "team-search"),
        ("team-nlp", "mlops-training"),
        ("team-nlp", "mlops-data"),
        ("team-nlp", "argocd"),
        ("mlops-training", "monitoring"),
        ("mlops-serving", "mlops-training"),
        ("istio-ingress", "mlops-training"),
    ],
)
def test_these_namespaces_do_not_reach_each_other(
    policies: list[dict[str, Any]], endpoints: dict[str, Endpoint], source: str, target: str
):
    between = {
        name: pod for name, pod in endpoints.items() if isinstance(pod, Pod) and pod.namespace in (source, target)
    }
    crossing = [
        way
        for way in reach(policies, between)
        if way.source.startswith(f"{source}/") and way.target.startswith(f"{target}/")
    ]
    assert crossing == []


def test_jobs_reach_models_through_the_model_gateway_only(policies: list[dict[str, Any]]):
    job = Pod(namespace="mlops-training", labels={"app": "job"})
    assert opens(policies, job, Pod(namespace="mlops-serving", labels=dict(LITELLM.labels)), 4000)
    assert not opens(policies, job, Pod(namespace="mlops-serving", labels={"app": "isvc.llama-predictor"}), 8000)


@pytest.mark.parametrize("namespace", ["mlops-training", "mlops-serving", "mlops-data", "team-nlp"])
def test_from_outside_nothing_reaches_workloads_but_through_the_gateway(
    ways: dict[tuple[str, str], Way], namespace: str
):
    outside = {name for name in HOSTS if name != "kubelet's probes"}
    assert [pair for pair in ways if pair[0] in outside and pair[1].startswith(f"{namespace}/")] == []


def test_training_reaches_its_data_its_tracking_and_the_internet_over_https(policies: list[dict[str, Any]]):
    job = Pod(namespace="mlops-training", labels={"app": "job"})
    assert opens(policies, job, Pod(namespace="mlops-system", labels=MLFLOW.labels), 5000)
    assert opens(policies, job, HOSTS["internet"], 443)
    assert not opens(policies, job, HOSTS["internet"], 22)
    assert not opens(policies, job, HOSTS["stores' subnet"], 5432)
    assert opens(policies, job, Pod(namespace="mlops-training", labels={"app": "other"}), 31337)  # NCCL


def test_an_opening_into_a_namespace_that_nobody_creates_is_a_mistake():
    typo = Opening(source=SCRAPER, target=Pods(namespace="mlops-srving"), ports=(1,), why="typo")
    with pytest.raises(ValueError, match="mlops-srving, which nobody creates"):
        network_policies([typo], NETWORKS, ["monitoring"], [])


def test_an_opening_needs_pods_at_one_end():
    with pytest.raises(ValueError, match="both outside"):
        network_policies([Opening(source="internet", target="stores", ports=(1,), why="")], NETWORKS, [], [])


def test_the_clusters_own_namespace_is_never_closed(policies: list[dict[str, Any]]):
    way = Opening(source=Pods(namespace="kube-system"), target=SCRAPER, ports=(9090,), why="test")
    found = network_policies([way], NETWORKS, ["monitoring"], [])
    assert set(found) == {"monitoring"}
    assert "kube-system" not in {policy["metadata"]["namespace"] for policy in policies}


def test_policies_do_not_depend_on_the_order_of_the_openings(openings: list[Opening], policies: list[dict[str, Any]]):
    shuffled = list(openings)
    random.Random(7).shuffle(shuffled)
    assert emitted(shuffled) == policies


def test_policies_are_few_and_each_name_stands_once_in_its_namespace(
    openings: list[Opening], policies: list[dict[str, Any]]
):
    names = [(policy["metadata"]["namespace"], policy["metadata"]["name"]) for policy in policies]
    assert len(set(names)) == len(names)
    selectors = {(title(end)) for o in openings for end in (o.source, o.target) if isinstance(end, Pods)}
    assert len(policies) <= len(selectors) + 2 * (len(ROOMS) + len(TEAMS))


def test_two_selectors_with_the_same_values_get_two_names():
    same = [Pods(namespace="monitoring", labels={key: "collector"}) for key in ("app", "name")]
    ways = [Opening(source=pods, target="internet", ports=(443,), why="test") for pods in same]
    names = [policy.name for policy in network_policies(ways, NETWORKS, ["monitoring"], [])["monitoring"]]
    assert len(set(names)) == len(names) == 4


def test_no_pod_has_more_ports_for_one_address_than_the_vpc_cni_takes(
    policies: list[dict[str, Any]], endpoints: dict[str, Endpoint]
):
    """24 combinations of port and protocol for one address range over all policies (EKS user guide)."""
    for pod in endpoints.values():
        if not isinstance(pod, Pod) or pod.namespace == "kube-system":
            continue
        for peer in endpoints.values():
            for direction in ("ingress", "egress"):
                assert len(allowed(policies, pod, peer, direction)) <= 24


def test_where_addresses_of_pods_lie_among_the_nodes_only_ways_to_webhooks_and_the_gateway_are_added(
    policies: list[dict[str, Any]], endpoints: dict[str, Endpoint], ways: dict[tuple[str, str], Way]
):
    """On AWS the API server calls from the subnets of pods. So a pod that may call out on such a port may also call a
    webhook on it; it is the one thing that addresses open and names do not."""
    with_addresses: dict[str, Endpoint] = {
        name: Pod(namespace=pod.namespace, labels=pod.labels, address=POD_ADDRESS)
        for name, pod in endpoints.items()
        if isinstance(pod, Pod) and pod.namespace != "kube-system"
    }
    added: set[tuple[str, PortRange]] = set()
    for way in reach(policies, with_addresses):
        before = ways.get((way.source, way.target))
        added |= {(way.target.split("/")[0], port) for port in set(way.ports) - set(before.ports if before else ())}
    assert {port for _, port in added} <= {("TCP", port, port) for port in (443, 10250)}, sorted(added)


def test_a_range_leaves_out_what_it_says():
    assert ranges("anywhere", NETWORKS)[0].cidr == "0.0.0.0/0"
    way = Opening(source=GATEWAY, target="internet", ports=(443,), why="test")
    found = network_policies([way], NETWORKS, ["istio-ingress"], [])["istio-ingress"]
    blocks = [
        peer["ipBlock"]
        for policy in found
        for rule in policy.spec.get("egress", [])
        for peer in rule["to"]
        if "ipBlock" in peer
    ]
    (block,) = blocks
    assert block["cidr"] == "0.0.0.0/0"
    assert "10.0.0.0/8" in block["except"]


# How policies are judged ---------------------------------------------------------------------------------------------


def policy(spec: dict[str, Any], namespace: str = "here") -> dict[str, Any]:
    return {"metadata": {"name": "test", "namespace": namespace}, "spec": spec}


HERE, THERE = Pod(namespace="here", labels={"app": "web"}), Pod(namespace="there", labels={"app": "db"})


def test_a_pod_that_no_policy_selects_is_open():
    assert allowed([], HERE, THERE, "ingress") == EVERYTHING
    other = policy({"podSelector": {"matchLabels": {"app": "api"}}, "policyTypes": ["Ingress"]})
    assert allowed([other], HERE, THERE, "ingress") == EVERYTHING


def test_a_policy_without_types_closes_the_ways_in_and_those_out_only_when_it_names_some():
    assert allowed([policy({"podSelector": {}})], HERE, THERE, "ingress") == frozenset()
    assert allowed([policy({"podSelector": {}})], HERE, THERE, "egress") == EVERYTHING
    outward = policy({"podSelector": {}, "egress": [{}]})
    assert allowed([outward], HERE, THERE, "egress") == EVERYTHING
    assert allowed([outward], HERE, THERE, "ingress") == frozenset()


def test_a_peer_without_a_namespace_is_in_the_policys_own():
    spec = {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": [{"podSelector": {}}]}]}
    assert allowed([policy(spec)], HERE, Pod(namespace="here"), "ingress") == EVERYTHING
    assert allowed([policy(spec)], HERE, THERE, "ingress") == frozenset()


def test_namespace_and_pod_of_one_peer_must_both_fit():
    both = {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "db"}}}
    spec = {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": [both]}]}
    assert allowed([policy(spec)], HERE, THERE, "ingress") == EVERYTHING
    assert allowed([policy(spec)], HERE, Pod(namespace="there"), "ingress") == frozenset()


@pytest.mark.parametrize(
    ("operator", "values", "fits"),
    [
        ("In", ["web"], True),
        ("In", ["api"], False),
        ("NotIn", ["api"], True),
        ("Exists", None, True),
        ("DoesNotExist", None, False),
    ],
)
def test_expressions_of_selectors_are_understood(operator: str, values: list[str] | None, fits: bool):
    expression = {"key": "app", "operator": operator, **({"values": values} if values else {})}
    spec = {"podSelector": {"matchExpressions": [expression]}, "policyTypes": ["Ingress"]}
    assert (allowed([policy(spec)], HERE, THERE, "ingress") == frozenset()) is fits


def test_a_way_needs_both_ends_and_ports_that_both_have():
    out = policy({"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"ports": [{"port": 80, "endPort": 90}]}]})
    into = policy(
        {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"ports": [{"port": 85}, {"port": 99}]}]}, "there"
    )
    found = {(way.source, way.target): way.ports for way in reach([out, into], {"web": HERE, "db": THERE})}
    assert found["web", "db"] == (("TCP", 85, 85),)


def test_named_ports_are_not_guessed():
    spec = {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"ports": [{"port": "http"}]}]}
    with pytest.raises(ValueError, match="named port"):
        allowed([policy(spec)], HERE, THERE, "ingress")


# The document --------------------------------------------------------------------------------------------------------


def table(ways: dict[tuple[str, str], Way]) -> str:
    """One row for each target and set of ports, with everybody who has it."""
    rows: dict[tuple[str, str], list[str]] = {}
    for (source, target), way in sorted(ways.items()):
        # Said in words, because it is the same for all.
        if "kube-system/kube-dns" in (source, target) or "kubelet's probes" in (source, target):
            continue
        words = way.words.replace(str(HBONE), "tunnel")
        rows.setdefault((target, words), []).append(source)
    # A pod that nothing says more of than of every pod of its namespace is not named.
    named = {key: [one for one in who if _any_of(one) == one or _any_of(one) not in who] for key, who in rows.items()}
    lines = ["| target | ports | who may reach it |", "| --- | --- | --- |"]
    for (target, ports), who in sorted(named.items()):
        if _any_of(target) == target or named.get((_any_of(target), ports)) != who:
            lines.append(f"| {target} | {ports} | {', '.join(who)} |")
    return "\n".join(lines)


def _any_of(title: str) -> str:
    """Every pod of the same namespace; for what is no pod, itself."""
    namespace, slash, _ = title.partition("/")
    return f"{namespace}/*" if slash else title


def test_the_document_has_the_table_of_the_emitted_policies(
    ways: dict[tuple[str, str], Way], request: pytest.FixtureRequest
):
    assert_current(PAGE, "ways", table(ways), request)
