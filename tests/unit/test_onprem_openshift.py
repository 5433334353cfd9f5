"""OpenShift: which pods it admits and why, its own way to GPUs, and how the gateway is published."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import onprem_stack
import platform_site
import pytest
from conftest import Recorder
from pulumi_kubernetes import core

from components import contract
from components.onprem.openshift import NEEDS
from components.platform.mesh import cni_values, istiod_values, ztunnel_values
from components.platform.namespaces import ROOMS
from components.platform.network_policies import network_policies

pytestmark = pytest.mark.unit

_BINDING = "kubernetes:rbac.authorization.k8s.io/v1:RoleBinding"


@pytest.fixture
def site(recorded: Recorder) -> Recorder:
    recorded.outputs.update({"tls:index/selfSignedCert:SelfSignedCert": {"certPem": "AUTHORITY"}})
    recorded.outputs.update({"tls:index/locallySignedCert:LocallySignedCert": {"certPem": "SERVER"}})
    recorded.outputs.update({"tls:index/privateKey:PrivateKey": {"privateKeyPem": "KEY"}})
    recorded.outputs.update({"tls:index/certRequest:CertRequest": {"certRequestPem": "REQUEST"}})
    return recorded


def program(*, routes: bool = False) -> contract.Foundation:
    """OpenShift with the platform's namespaces and one of a team."""
    settings = onprem_stack.settings(openshift=True, openshiftOptions={"routes": routes})
    foundation = onprem_stack.build(settings)
    there = {name: (core.v1.Namespace(name),) for name in (*ROOMS, "team-research")}
    identity = foundation.result.identity
    assert isinstance(identity, contract.NamespacedIdentity)
    identity.within(there, parent=foundation)
    return foundation.result


def test_only_what_touches_its_node_is_privileged_and_by_the_name_of_its_account(site: Recorder):
    site.run(program)
    privileged = [
        one.inputs for one in site.of(_BINDING).values() if one.inputs["roleRef"]["name"].endswith(":privileged")
    ]
    assert {one["metadata"]["namespace"] for one in privileged} == {
        "istio-system",
        "monitoring",
        "velero",
        "metallb-system",
    }
    assert {subject["kind"] for one in privileged for subject in one["subjects"]} == {"ServiceAccount"}


def test_every_namespace_that_is_privileged_elsewhere_has_an_answer_here(site: Recorder):
    open_elsewhere = {name for name, room in ROOMS.items() if room.security and room.security.level == "privileged"}
    answered = {need.namespace for need in NEEDS if need.constraint == "privileged"}
    # GPU devices are the business of NVIDIA's operator, which brings constraints of its own.
    assert open_elsewhere - answered == {"gpu-system"}


def test_a_constraint_holds_in_one_namespace_and_is_never_bound_cluster_wide(site: Recorder):
    site.run(program)
    cluster_wide = site.of("kubernetes:rbac.authorization.k8s.io/v1:ClusterRoleBinding").values()
    assert not [one.name for one in cluster_wide if "scc" in one.inputs["roleRef"]["name"]]


def test_a_team_may_run_images_with_a_user_of_their_own_but_not_as_root(site: Recorder):
    site.run(program)
    names = {
        one.inputs["roleRef"]["name"]
        for one in site.of(_BINDING).values()
        if one.inputs["metadata"]["namespace"] == "team-research"
    }
    assert names == {"system:openshift:scc:nonroot-v2"}


def test_the_gpu_operator_comes_by_subscription_and_the_platform_installs_none(site: Recorder):
    found: list[contract.Foundation] = []
    site.run(lambda: found.append(program()))
    subscriptions = site.of("kubernetes:operators.coreos.com/v1alpha1:Subscription").values()
    assert {one.inputs["spec"]["name"] for one in subscriptions} == {"nfd", "gpu-operator-certified"}
    assert found[0].cluster.gpu_software == "provided"
    assert site.one("kubernetes:nvidia.com/v1:ClusterPolicy").inputs["spec"]["driver"] == {"enabled": True}


def test_the_mesh_is_told_of_openshift_and_trusts_the_ztunnel_that_is_there(site: Recorder):
    """The charts' own values for OpenShift look for ztunnel in kube-system."""
    found: list[dict[str, Any]] = []

    def values() -> None:
        for openshift in (True, False):
            foundation = onprem_stack.build(onprem_stack.settings(openshift=openshift)).result
            place = replace(platform_site.site(), foundation=foundation)
            found.extend([istiod_values(place), cni_values(place), ztunnel_values(place)])

    site.run(values)
    assert [one.get("global", {}).get("platform") for one in found] == ["openshift"] * 3 + [None] * 3
    assert [found[0]["trustedZtunnelNamespace"], found[3].get("trustedZtunnelNamespace")] == ["istio-system", None]


def test_pods_ask_openshifts_own_dns(site: Recorder):
    found: list[contract.Foundation] = []
    site.run(lambda: found.append(program()))
    (policies,) = network_policies([], found[0].cluster.networks, ["argo"], []).values()
    rules = [rule for policy in policies for rule in policy.spec.get("egress", [])]
    assert [port["port"] for rule in rules for port in rule["ports"]] == [5353, 5353]


def test_the_router_passes_every_host_of_the_domain_on_without_ending_tls_where_the_setting_says_so(site: Recorder):
    site.run(lambda: program(routes=True))
    spec = site.one("kubernetes:route.openshift.io/v1:Route").inputs["spec"]
    assert (spec["host"], spec["wildcardPolicy"]) == ("wildcard.llm.dc1.internal", "Subdomain")
    assert spec["tls"]["termination"] == "passthrough"


def test_without_the_setting_there_is_no_route(site: Recorder):
    site.run(program)
    assert not site.of("kubernetes:route.openshift.io/v1:Route")


def test_no_store_insists_on_a_user_that_openshift_has_not_chosen(site: Recorder):
    site.run(program)
    values = site.one("kubernetes:helm.sh/v3:Release", "foundation-objects-release").inputs["values"]
    assert "runAsUser" not in values["volume"]["podSecurityContext"]
    operator = site.one("kubernetes:helm.sh/v3:Release", "foundation-database-operator").inputs["values"]
    assert operator["containerSecurityContext"].get("runAsUser") is None
