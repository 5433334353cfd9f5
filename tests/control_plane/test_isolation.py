"""Isolation as the real API server enforces it: quotas, Pod Security, defaults, and what each role may do."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from components.platform.openings import team_namespace
from sandbox.kubernetes.api import ApiError, Client
from sandbox.kubernetes.cluster import Cluster
from sandbox.toolchain.control_plane import ControlPlaneBinaries
from tests.control_plane.declared import may
from tests.control_plane.isolation_program import TEAMS, declared

pytestmark = pytest.mark.control_plane

_PATIENCE_SECONDS = 60
SECURE = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
NLP = team_namespace("nlp")


@pytest.fixture(scope="module")
def objects() -> list[dict[str, Any]]:
    return declared()


@pytest.fixture(scope="module")
def client(
    binaries: ControlPlaneBinaries, objects: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Client]:
    """A cluster with all of it, applied strictly, with quotas that count and roles that are known."""
    cluster = Cluster(tmp_path_factory.mktemp("isolation"), binaries)
    try:
        client = cluster.up(print)
        for one in sorted(objects, key=lambda one: one["kind"] != "Namespace"):
            kind = client.kind(one["apiVersion"], one["kind"])
            assert kind is not None, one["kind"]
            client.apply(kind, one, manager="test")
        _await(lambda: all(_counted(quota) for quota in client.items("/api/v1/resourcequotas")))
        yield client
    finally:
        cluster.down()


def _counted(quota: Mapping[str, Any]) -> bool:
    return quota["spec"]["hard"].keys() == (quota.get("status", {}).get("hard") or {}).keys()


def _await(ready: Any) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not ready():
        assert time.monotonic() < deadline, "the control plane's controllers are late"
        time.sleep(0.2)


def pod(resources: Mapping[str, Any] | None = None, *, security: Any = SECURE, **spec: Any) -> dict[str, Any]:
    container = {"name": "main", "image": "example", "securityContext": security}
    if resources:
        container["resources"] = {"requests": resources, "limits": resources}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "test-"},
        "spec": {"containers": [container], **spec},
    }


def service(**spec: Any) -> dict[str, Any]:
    ports = {"ports": [{"port": 443}], "selector": {"app": "test"}}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"generateName": "test-"}, "spec": {**ports, **spec}}


def admit(client: Client, namespace: str, manifest: dict[str, Any]) -> dict[str, Any]:
    """What the server would store."""
    path = f"/api/v1/namespaces/{namespace}/{manifest['kind'].lower()}s"
    return client.request("POST", path, query={"dryRun": "All", "fieldValidation": "Strict"}, body=manifest)


def refusal(client: Client, namespace: str, manifest: dict[str, Any]) -> str:
    with pytest.raises(ApiError) as refused:
        admit(client, namespace, manifest)
    assert refused.value.code == 403
    return str(refused.value)


def test_every_object_is_stored_as_it_was_declared(client: Client, objects: list[dict[str, Any]]):
    """What reads back otherwise than it was written would be a change in every refresh."""
    for one in objects:
        kind = client.kind(one["apiVersion"], one["kind"])
        assert kind is not None
        live = client.get(kind, one["metadata"].get("namespace"), one["metadata"]["name"])
        assert live is not None
        differing = {key for key in one.keys() - {"metadata"} if live.get(key) != one[key]}
        assert not differing, (one["kind"], one["metadata"], {key: (one[key], live.get(key)) for key in differing})


def test_a_pod_within_the_teams_quota_is_admitted_and_one_above_it_refused(client: Client):
    admit(client, NLP, pod({"cpu": "8", "memory": "32Gi", "nvidia.com/gpu": "1"}))
    assert "exceeded quota: capacity" in refusal(client, NLP, pod({"cpu": "9", "memory": "1Gi"}))
    assert "requests.memory" in refusal(client, NLP, pod({"cpu": "1", "memory": "33Gi"}))


def test_gpus_are_counted_and_closed_where_none_belong(client: Client):
    two = pod({"cpu": "1", "memory": "1Gi", "nvidia.com/gpu": "2"})
    assert "requests.nvidia.com/gpu" in refusal(client, NLP, two)
    one = pod({"cpu": "1", "memory": "1Gi", "nvidia.com/gpu": "1"})
    for namespace in ("argocd", "mlops-data", "monitoring", team_namespace("search")):
        assert "requests.nvidia.com/gpu" in refusal(client, namespace, one), namespace
    admit(client, "mlops-training", one)
    admit(client, "mlops-serving", one)


def test_claims_beyond_the_volumes_of_a_team_are_refused(client: Client):
    def claim(size: str) -> dict[str, Any]:
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
        metadata = {"generateName": "test-"}
        return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}

    admit(client, NLP, claim("100Gi"))
    assert "requests.storage" in refusal(client, NLP, claim("101Gi"))


PRIVILEGED = {"privileged": True}
HOST_PATH = {"volumes": [{"name": "node", "hostPath": {"path": "/"}}]}


@pytest.mark.parametrize("namespace", [NLP, "mlops-training", "mlops-serving", "mlops-data", "argocd", "velero"])
def test_pods_that_reach_for_their_node_are_refused(client: Client, namespace: str):
    for manifest in (pod(security=PRIVILEGED), pod(**HOST_PATH), pod(hostNetwork=True), pod(security={})):
        assert 'violates PodSecurity "restricted:v1.35"' in refusal(client, namespace, manifest)
    admit(client, namespace, pod())


@pytest.mark.parametrize("namespace", ["istio-system", "gpu-system", "monitoring"])
def test_agents_of_nodes_are_admitted_where_they_run(client: Client, namespace: str):
    admit(client, namespace, pod(security=PRIVILEGED, hostNetwork=True, **HOST_PATH))


def test_a_container_without_resources_gets_the_defaults_and_no_gpu(client: Client):
    for namespace in (NLP, "mlops-training", "argocd"):
        (container,) = admit(client, namespace, pod())["spec"]["containers"]
        assert container["resources"] == {
            "requests": {"cpu": "100m", "memory": "128Mi"},
            "limits": {"memory": "512Mi"},
        }


def test_a_pod_without_an_account_of_its_own_gets_no_token(client: Client):
    spec = admit(client, NLP, pod())["spec"]
    assert spec["serviceAccountName"] == "default"
    assert "volumes" not in spec


@pytest.mark.parametrize("name", ["platform-critical", "system-cluster-critical", "system-node-critical"])
def test_workloads_cannot_push_the_platform_aside(client: Client, name: str):
    for namespace in (NLP, "mlops-training", "mlops-serving", "mlops-data"):
        assert "exceeded quota: reserved-priorities" in refusal(client, namespace, pod(priorityClassName=name))
    admit(client, "istio-system", pod(priorityClassName=name))


def test_a_class_of_workloads_is_open_to_them(client: Client):
    admitted = admit(client, NLP, pod(priorityClassName="training"))["spec"]
    assert (admitted["priority"], admitted["preemptionPolicy"]) == (10_000, "PreemptLowerPriority")


def test_only_the_gateway_has_a_load_balancer_and_nobody_a_port_of_the_nodes(client: Client):
    balanced = service(type="LoadBalancer", allocateLoadBalancerNodePorts=False)
    admit(client, "istio-ingress", balanced)
    assert "services.nodeports" in refusal(client, "istio-ingress", service(type="LoadBalancer"))
    assert "services.loadbalancers" in refusal(client, NLP, balanced)
    assert "services.nodeports" in refusal(client, NLP, service(type="NodePort"))
    admit(client, NLP, service())


ROLES = {
    "admin": "llmops:platform-admins",
    "engineer": "llmops:ml-engineers",
    "viewer": "llmops:viewers",
    "nlp": "llmops:team-nlp",
    "nobody": "llmops:others",
}
# Verb, resource (with its group), namespace: who may. The platform admin may everything and is in no row.
MAY: tuple[tuple[str, str, str, str], ...] = (
    ("create", "jobs.batch", "mlops-training", "engineer"),
    ("create", "jobs.batch", "mlops-data", "engineer"),
    ("create", "jobs.batch", "mlops-serving", ""),
    ("create", "jobs.batch", NLP, "nlp"),
    ("create", "jobs.batch", team_namespace("search"), ""),
    ("create", "jobs.batch", "argocd", ""),
    ("create", "jobs.batch", "kube-system", ""),
    ("create", "pytorchjobs.kubeflow.org", "mlops-training", "engineer"),
    ("create", "trainjobs.trainer.kubeflow.org", NLP, "nlp"),
    ("create", "rayjobs.ray.io", "mlops-data", "engineer"),
    ("create", "workflows.argoproj.io", "mlops-training", "engineer"),
    ("create", "inferenceservices.serving.kserve.io", "mlops-serving", "engineer"),
    ("create", "inferenceservices.serving.kserve.io", NLP, "nlp"),
    ("create", "applications.argoproj.io", "argocd", ""),
    ("create", "pods", "mlops-training", ""),
    ("delete", "pods", "mlops-training", "engineer"),
    ("get", "pods/log", "mlops-training", "engineer viewer"),
    ("get", "pods/log", "mlops-serving", "engineer viewer"),
    ("get", "pods/log", "argocd", "viewer"),
    ("create", "pods/exec", "mlops-training", "engineer"),
    ("create", "pods/exec", "mlops-serving", ""),
    ("create", "pods/exec", NLP, "nlp"),
    ("create", "pods/portforward", "mlops-serving", ""),
    ("list", "pods", "mlops-serving", "engineer viewer"),
    ("list", "pods", NLP, "nlp viewer"),
    ("list", "pods", team_namespace("search"), "viewer"),
    ("get", "secrets", "mlops-training", ""),
    ("list", "secrets", NLP, ""),
    ("list", "secrets", "", ""),
    ("create", "externalsecrets.external-secrets.io", NLP, ""),
    ("create", "serviceaccounts/token", NLP, ""),
    ("create", "rolebindings.rbac.authorization.k8s.io", NLP, ""),
    ("update", "resourcequotas", NLP, ""),
    ("get", "resourcequotas", NLP, "nlp viewer"),
    ("update", "limitranges", "mlops-training", ""),
    ("delete", "networkpolicies.networking.k8s.io", NLP, ""),
    ("get", "networkpolicies.networking.k8s.io", NLP, "nlp viewer"),
    ("update", "namespaces", NLP, ""),
    ("list", "nodes", "", "viewer"),
    ("update", "nodes", "", ""),
    ("get", "nodes/proxy", "", ""),
    ("list", "priorityclasses.scheduling.k8s.io", "", "engineer nlp viewer"),
    ("list", "queues.scheduling.volcano.sh", "", "engineer nlp viewer"),
    ("update", "queues.scheduling.volcano.sh", "", ""),
    ("impersonate", "users", "", ""),
    ("list", "applications.argoproj.io", "argocd", "viewer"),
)


@pytest.mark.parametrize(("verb", "resource", "namespace", "who"), MAY, ids=lambda value: value or "-")
def test_each_role_may_this_and_no_other(client: Client, verb: str, resource: str, namespace: str, who: str):
    allowed = {role for role, group in ROLES.items() if can_i(client, group, verb, resource, namespace)}
    assert allowed == {"admin", *who.split()}


def can_i(client: Client, group: str, verb: str, resource: str, namespace: str) -> bool:
    return may(client, "somebody", verb, resource, namespace, groups=[group])


def test_there_are_two_teams_or_the_table_above_proves_less_than_it_says():
    assert [team.name for team in TEAMS] == ["nlp", "search"]
