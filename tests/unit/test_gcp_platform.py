"""What the platform does otherwise where the foundation says so: on GKE above all."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pulumi
import pytest
from conftest import Recorder
from gcp_stack import settings
from platform_site import NETWORKS, options, site

from components.contract import DnsZone, SecretStore, ServingPods
from components.platform.certificates import acme_issuer
from components.platform.mesh import cni_values
from components.platform.model_gateway import gateway
from components.platform.network_policies import network_policies
from components.platform.openings import LITELLM, Opening, Pods
from components.platform.rate_limits import RateLimitArgs, RateLimits
from components.platform.rate_limits import openings as counting
from components.platform.secrets import provider_of
from components.platform.site import Site
from components.settings.platform.certificates import AcmeSettings
from workloads.models.facts import facts_of

pytestmark = pytest.mark.unit
DEPLOYMENT = "kubernetes:apps/v1:Deployment"
CERTIFICATE = "-----BEGIN CERTIFICATE-----"


def private_cache(place: Site) -> Site:
    """The site with a cache like Memorystore's: another port, an authority of its own."""
    cache = dataclasses.replace(
        place.foundation.cache, ca_certificates=pulumi.Output.from_input(CERTIFICATE), tcp_port=6378
    )
    return dataclasses.replace(place, foundation=dataclasses.replace(place.foundation, cache=cache))


def counted(recorded: Recorder, *, private: bool) -> tuple[Mapping[str, Any], Recorder]:
    def program() -> None:
        place = site({"gateway": {"rateLimits": {"counting": "global"}}})
        place = private_cache(place) if private else place
        RateLimits("limits", RateLimitArgs(site=place, secrets_ready=()), options(place))

    recorded.run(program)
    return recorded.one(DEPLOYMENT).inputs["spec"]["template"]["spec"], recorded


def test_a_client_of_a_private_cache_is_given_its_authority(recorded: Recorder):
    pod, _ = counted(recorded, private=True)
    container = pod["containers"][0]
    path = next(one["value"] for one in container["env"] if one["name"] == "REDIS_TLS_CACERT")
    mounted = next(one for one in container["volumeMounts"] if path.startswith(one["mountPath"]))
    volume = next(one for one in pod["volumes"] if one["name"] == mounted["name"])
    kept = next(
        one.inputs
        for one in recorded.of("kubernetes:core/v1:ConfigMap").values()
        if one.inputs["metadata"]["name"] == volume["configMap"]["name"]
    )
    assert kept["data"] == {path.removeprefix(f"{mounted['mountPath']}/"): CERTIFICATE}


def test_where_a_public_authority_signs_nothing_is_mounted(recorded: Recorder):
    pod, found = counted(recorded, private=False)
    assert not [one for one in pod["containers"][0]["env"] if one["name"] == "REDIS_TLS_CACERT"]
    assert not [name for name in found.of("kubernetes:core/v1:ConfigMap") if "cache-ca" in name]


def test_policies_open_the_port_on_which_the_cache_listens(recorded: Recorder):
    found: list[Opening] = []

    def program() -> None:
        place = private_cache(site({"gateway": {"rateLimits": {"counting": "global"}}}))
        found.extend((*counting(place), *gateway.openings(place)))

    recorded.run(program)
    ports = {port for one in found if one.target == "stores" for port in one.ports}
    assert 6378 in ports
    assert 6379 not in ports


def policy_of(*ways: Opening, **networks: Any) -> Mapping[str, Any]:
    found = network_policies(ways, dataclasses.replace(NETWORKS, **networks), ["mlops-serving"], [])
    return {one.name: one.spec for one in found["mlops-serving"]}


def test_dns_is_answered_by_the_cache_of_the_node_too():
    selected = policy_of(dns_caches=("node-local-dns",))
    rule = selected["every-pod"]["egress"][0]
    labels = [peer["podSelector"]["matchLabels"]["k8s-app"] for peer in rule["to"]]
    assert labels == ["kube-dns", "node-local-dns"]


def test_webhooks_are_called_through_pods_where_the_control_plane_does_so():
    webhook = Pods(namespace="mlops-serving", labels={"app": "webhook"})
    way = Opening(source="control-plane", target=webhook, ports=(9443,), why="It is asked.")
    selected = policy_of(way, control_plane_pods=(ServingPods(namespace="kube-system"),))
    peers = selected["webhook"]["ingress"][0]["from"]
    assert {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}} in peers


def test_a_pod_that_asks_the_cloud_may_get_its_token_and_nothing_else_from_the_node():
    from components.gcp.addresses import networks
    from components.gcp.network import plan

    way = Opening(source=LITELLM, target="cloud-apis", ports=(443,), why="Models.")
    google = networks(plan("10.0.0.0/16"), "172.20.0.0/16")
    found = network_policies([way], google, ["mlops-serving"], [])["mlops-serving"]
    egress = next(one.spec for one in found if one.name == "litellm")["egress"]
    by_port = {rule["ports"][0]["port"]: [peer["ipBlock"]["cidr"] for peer in rule["to"]] for rule in egress}
    assert by_port == {80: ["169.254.169.254/32"], 443: ["0.0.0.0/0"]}


def test_the_operator_is_told_which_project_holds_the_secrets():
    store = SecretStore(kind="gcp-secret-manager", region="us-central1", entries={}, account="llmops-example")
    assert provider_of(store)["gcpsm"]["projectID"] == "llmops-example"


def test_a_zone_of_cloud_dns_is_named_with_its_project():
    zone = DnsZone(kind="cloud-dns", id="projects/llmops-example/managedZones/llm", region="us-central1")
    issuer = acme_issuer(AcmeSettings(email="a@example.com"), zone, "llm.example.com")
    assert issuer["acme"]["solvers"][0]["dns01"] == {"cloudDNS": {"project": "llmops-example", "hostedZoneName": "llm"}}


def test_the_mesh_finds_the_network_s_plugins_where_gke_keeps_them(recorded: Recorder):
    found: list[Any] = []

    def program() -> None:
        place = site()
        cluster = dataclasses.replace(place.foundation.cluster, node_layout="gke")
        foundation = dataclasses.replace(place.foundation, cluster=cluster)
        found.extend([cni_values(place), cni_values(dataclasses.replace(place, foundation=foundation))])

    recorded.run(program)
    assert "platform" not in found[0]["global"]
    assert found[1]["global"]["platform"] == "gke"


def test_models_are_planned_on_the_machines_of_the_stack_s_cloud():
    facts = facts_of(settings())
    assert facts.objects == "gcs"
    assert facts.region == "us-central1"
    assert {shape.instance_type for group in facts.groups for shape in group.shapes} == {"g2-standard-12"}
    assert all(shape.instance_type.partition("-")[0] in ("g2", "n2", "n2d", "e2") for shape in facts.offered)


def test_what_gke_has_built_in_is_off_and_cannot_be_switched_on():
    from components.settings import SettingsError

    assert settings().platform.controllers.cluster_autoscaler.enabled is False
    with pytest.raises(SettingsError, match=r"clusterAutoscaler\.enabled: must be false: GKE has its own"):
        settings({"platform": {"controllers": {"clusterAutoscaler": {"enabled": True}}}})
