"""Pipelines, workflows and training on a real API server: what is declared, what comes from Git, and the jobs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, get_args

import pulumi
import pytest
import requests

from components.aws.nodes import pool_of
from components.platform.gitops import CONTROLLER_ACCOUNT
from components.platform.kustomize import KustomizedArgs, application_spec
from components.platform.pipelines import Pipelines, PipelinesArgs, allowance
from components.platform.pipelines_manifests import DEFINITIONS, KINDS, sources
from components.platform.priorities import PRIORITIES
from components.platform.quotas import SHARES, Allowance, limit_range_spec, quota_specs
from components.platform.site import Site
from components.platform.training import Training, TrainingArgs, operator_source
from components.platform.training_jobs import TrainingJob, TrainingPriority, pytorch_job, train_job
from components.platform.workflows import Workflows, WorkflowsArgs
from components.settings.nodes import table
from components.settings.platform.isolation import ContainerSettings
from components.settings.platform.pipelines import PipelineSettings
from components.settings.teams import TeamSettings
from sandbox.kubernetes.api import ApiError, Client
from sandbox.provider import ProviderError
from tests.control_plane.conftest import Stack
from tests.control_plane.declared import Declared, definitions, furnishing, objects_of
from tests.trees import rendered
from tests.unit.conftest import Recorder
from tests.unit.conftest import recorded as recorded  # noqa: PLC0414 a fixture, for this module too
from tests.unit.platform_site import options, site

pytestmark = pytest.mark.control_plane

NAMESPACES: Final = ("argo", "argocd", "kubeflow", "kubeflow-system", "mlops-data", "mlops-system", "mlops-training")
SYSTEMS: Final = ("argo-cd", "argo-workflows", "external-secrets", "kubeflow-pipelines", "trainer", "training-operator")
TEAMS: Final = (TeamSettings(name="nlp"),)
POOLS: Final = tuple(pool_of(group) for group in table())
_PATIENCE_SECONDS: Final = 60.0


@pytest.fixture(scope="module")
def furnished(stack: Stack) -> Iterator[Stack]:
    """Namespaces at the level that they have on the platform; skipped where definitions are missing."""
    definitions(*SYSTEMS)
    training = {name: priority.value for name, priority in PRIORITIES.items() if name.startswith("training")}
    with furnishing(stack, (*NAMESPACES, "team-nlp"), priorities=training):
        yield stack


def objects(recorded: Recorder, component: Callable[[Site, pulumi.ResourceOptions], Any]) -> list[tuple[str, Any]]:
    """Type and inputs of every object that is declared; what a chart brings is not among them."""

    def program() -> None:
        here = site(teams=TEAMS, pools=POOLS)
        component(here, options(here))

    return objects_of(recorded, program)


def workflows(place: Site, opts: pulumi.ResourceOptions) -> None:
    Workflows("workflows", WorkflowsArgs(site=place, databases=(), team_namespaces={"team-nlp": ()}), opts)


def pipelines(place: Site, opts: pulumi.ResourceOptions) -> None:
    Pipelines("pipelines", PipelinesArgs(site=place, secrets=(), gitops=(), workflows=()), opts)


def training(place: Site, opts: pulumi.ResourceOptions) -> None:
    Training("training", TrainingArgs(site=place, scheduling=(), gitops=()), opts)


@pytest.mark.parametrize("component", [workflows, pipelines, training])
def test_every_object_is_admitted(
    furnished: Stack, recorded: Recorder, component: Callable[[Site, pulumi.ResourceOptions], Any]
):
    declared = objects(recorded, component)
    assert len(declared) > 10
    for token, inputs in declared:
        if "name" in inputs["metadata"]:
            Declared(furnished, token, inputs).preview()


def test_the_definitions_judge(furnished: Stack, recorded: Recorder):
    """Otherwise the test above would prove nothing."""
    (inputs,) = [inputs for token, inputs in objects(recorded, pipelines) if token.endswith(":Application")]
    inputs["spec"]["sources"][0]["kustomize"]["patches"][0]["targets"] = {}
    with pytest.raises(ProviderError, match="targets"):
        Declared(furnished, "argoproj.io/v1alpha1:Application", inputs).preview()


def test_an_application_is_waited_for(furnished: Stack, recorded: Recorder):
    """Here the sandbox answers instead of Argo CD; what is proven is that the answer is asked for, and understood."""
    (inputs,) = [inputs for token, inputs in objects(recorded, pipelines) if token.endswith(":Application")]
    application = Declared(furnished, "argoproj.io/v1alpha1:Application", inputs).create()
    live = furnished.client.request(
        "GET", "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/kubeflow-pipelines"
    )
    assert live["status"]["health"]["status"] == "Healthy"
    application.delete()


def application(tree: Any, of: Callable[[Site], Any]) -> dict[str, Any]:
    """Specification of an application, as the program declares it."""
    found: list[dict[str, Any]] = []

    def program() -> None:
        here = site(pools=POOLS)
        found.append(
            application_spec(
                KustomizedArgs(
                    site=here,
                    tree=tree,
                    namespace="kubeflow",
                    sources=of(here),
                    kinds=(),
                    definitions=(),
                    after=(),
                )
            )
        )

    recorder = Recorder()
    pulumi.runtime.set_mocks(recorder, project="llmops", stack="test", preview=False)
    recorder.run(program)
    return found[0]


@pytest.fixture(scope="module")
def from_git(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Every object that Argo CD gets from the two repositories at their pinned commits."""
    folder = tmp_path_factory.mktemp("trees")
    return [
        *rendered(application("kubeflow-pipelines", sources), folder),
        *rendered(application("training-operator", lambda place: (operator_source(place),)), folder),
    ]


def dry_run(client: Client, manifest: Mapping[str, Any]) -> None:
    kind = client.kind(manifest["apiVersion"], manifest["kind"])
    assert kind is not None
    client.apply(kind, dict(manifest), manager="argocd-controller", dry_run=True, force=True)


def test_what_comes_from_git_is_admitted(furnished: Stack, from_git: list[dict[str, Any]]):
    assert len(from_git) >= 15
    for manifest in from_git:
        dry_run(furnished.client, manifest)


def test_what_comes_from_git_is_only_what_the_projects_let_through(from_git: list[dict[str, Any]]):
    kinds = {(one["apiVersion"].rpartition("/")[0], one["kind"]) for one in from_git}
    assert kinds - {("apiextensions.k8s.io", "CustomResourceDefinition")} <= set(KINDS)
    definitions = {one["metadata"]["name"] for one in from_git if one["kind"] == "CustomResourceDefinition"}
    assert definitions == {*DEFINITIONS, "pytorchjobs.kubeflow.org"}


def test_what_comes_from_git_reads_only_what_is_there(from_git: list[dict[str, Any]], recorded: Recorder):
    """Accounts, Secrets and configuration of its pods are the program's, or come along."""
    declared = [*objects(recorded, pipelines), *objects(recorded, training)]
    there = {
        (token.rpartition(":")[2].replace("ExternalSecret", "Secret"), inputs["metadata"]["name"])
        for token, inputs in declared
    } | {(one["kind"], one["metadata"]["name"]) for one in from_git}

    def missing(kind: str, reference: Mapping[str, Any] | None, key: str = "name") -> bool:
        return bool(reference) and not reference.get("optional") and (kind, reference[key]) not in there

    for one in (one for one in from_git if one["kind"] == "Deployment"):
        pod = one["spec"]["template"]["spec"]
        title = one["metadata"]["name"]
        assert ("ServiceAccount", pod.get("serviceAccountName", "default")) in {*there, ("ServiceAccount", "default")}
        for volume in pod.get("volumes", ()):
            assert not missing("ConfigMap", volume.get("configMap")), title
            assert not missing("Secret", volume.get("secret"), key="secretName"), title
        for container in (*pod.get("initContainers", ()), *pod["containers"]):
            for variable in container.get("env", ()):
                read: Mapping[str, Any] = variable.get("valueFrom") or {}
                assert not missing("ConfigMap", read.get("configMapKeyRef")), (title, variable["name"])
                assert not missing("Secret", read.get("secretKeyRef")), (title, variable["name"])
            for source in container.get("envFrom", ()):
                assert not missing("ConfigMap", source.get("configMapRef")), title


def test_every_key_that_is_read_of_our_configuration_is_in_it(from_git: list[dict[str, Any]], recorded: Recorder):
    ours: dict[str, set[str]] = {
        inputs["metadata"]["name"]: set(inputs["data"])
        for token, inputs in objects(recorded, pipelines)
        if token.endswith(":ConfigMap")
    }
    wanted = [
        (str(one["name"]), str(one["key"]))
        for one in configuration_reads(from_git)
        if one["name"] in ours and not one.get("optional")
    ]
    assert wanted
    assert not [(name, key) for name, key in wanted if key not in ours[name]]


def configuration_reads(manifests: list[dict[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Every variable of a pod that comes from a ConfigMap."""
    for one in (one for one in manifests if one["kind"] == "Deployment"):
        pod = one["spec"]["template"]["spec"]
        for container in (*pod.get("initContainers", ()), *pod["containers"]):
            for variable in container.get("env", ()):
                if reference := variable.get("valueFrom", {}).get("configMapKeyRef"):
                    yield reference


def test_no_container_is_without_requests_and_a_memory_limit(from_git: list[dict[str, Any]]):
    for one in (one for one in from_git if one["kind"] == "Deployment"):
        pod = one["spec"]["template"]["spec"]
        for container in (*pod.get("initContainers", ()), *pod["containers"]):
            title = f"{one['metadata']['name']}/{container['name']}"
            assert set(container["resources"]["requests"]) >= {"cpu", "memory"}, title
            assert "memory" in container["resources"]["limits"], title


def test_all_pods_are_admitted_at_the_restricted_level_within_the_namespaces_share(
    furnished: Stack, from_git: list[dict[str, Any]], recorded: Recorder
):
    """Real controllers make them; nothing of them runs."""
    client = furnished.client
    share, volumes = SHARES["kubeflow"], allowance(PipelineSettings()).volumes_gib
    # Nothing of what is for steps, but the volume of the database.
    (quota,) = quota_specs(
        Allowance(cpu_millicores=share.cpu_millicores, memory_mib=share.memory_mib, volumes_gib=volumes)
    ).values()
    bounds = [
        ("core/v1:ResourceQuota", {"metadata": {"name": "capacity", "namespace": "kubeflow"}, "spec": quota}),
        (
            "core/v1:LimitRange",
            {
                "metadata": {"name": "defaults", "namespace": "kubeflow"},
                "spec": limit_range_spec(ContainerSettings()),
            },
        ),
    ]
    declared = [*objects(recorded, pipelines), *objects(recorded, training)]
    accounts = [one for one in declared if one[0] == "core/v1:ServiceAccount"]
    made = [Declared(furnished, token, inputs).create() for token, inputs in (*bounds, *accounts)]
    (server,) = [inputs for token, inputs in declared if token == "apps/v1:StatefulSet"]
    running = [one for one in from_git if one["kind"] == "Deployment"]
    running.append({**server, "apiVersion": "apps/v1", "kind": "StatefulSet"})
    for one in running:
        kind = client.kind("apps/v1", one["kind"])
        assert kind is not None
        client.apply(kind, one, manager="argocd-controller", force=True)
    wanted = sum(one["spec"]["replicas"] for one in running)
    try:
        _until(lambda: len(client.items("/api/v1/namespaces/kubeflow/pods")) >= wanted, lambda: _refused(client))
    finally:
        for one in running:
            kind = client.kind("apps/v1", one["kind"])
            assert kind is not None
            client.delete(kind, "kubeflow", one["metadata"]["name"])
        for one in reversed(made):
            one.delete()


def _until(done: Callable[[], bool], why: Callable[[], str]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not done():
        assert time.monotonic() < deadline, why()
        time.sleep(0.5)


def _refused(client: Client) -> str:
    """Why pods are missing; that those which are there have no node is no matter here."""
    events = client.items("/api/v1/namespaces/kubeflow/events", fieldSelector="type=Warning,reason=FailedCreate")
    return "\n".join(sorted({f"{event['involvedObject']['name']}: {event['message']}" for event in events}))


def test_argo_cd_writes_the_definitions_that_it_may_and_no_others(
    furnished: Stack, from_git: list[dict[str, Any]], recorded: Recorder
):
    """With its own token, as it applies: on the server's side."""
    rights = [
        (token, inputs)
        for token, inputs in objects(recorded, pipelines)
        if token.endswith((":ClusterRole", ":ClusterRoleBinding"))
    ]
    account = {"metadata": {"name": CONTROLLER_ACCOUNT, "namespace": "argocd"}}
    made = [
        Declared(furnished, token, inputs).create() for token, inputs in (("core/v1:ServiceAccount", account), *rights)
    ]
    (allowed,) = [one for one in from_git if one["metadata"]["name"] in DEFINITIONS]
    (other,) = [one for one in from_git if one["metadata"]["name"] == "pytorchjobs.kubeflow.org"]
    try:
        assert _applied_by_argo_cd(furnished.client, allowed) == requests.codes.created
        assert _applied_by_argo_cd(furnished.client, other) == requests.codes.forbidden
    finally:
        kind = furnished.client.kind(allowed["apiVersion"], allowed["kind"])
        assert kind is not None
        furnished.client.delete(kind, None, allowed["metadata"]["name"])
        for one in reversed(made):
            one.delete()


def _applied_by_argo_cd(client: Client, manifest: Mapping[str, Any]) -> int:
    """Status of the API server's answer."""
    path = f"/api/v1/namespaces/argocd/serviceaccounts/{CONTROLLER_ACCOUNT}/token"
    request: dict[str, Any] = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = client.request("POST", path, body=request)["status"]["token"]
    server, authority = client._server, client._authority  # pyright: ignore[reportPrivateUsage] the same server, another caller
    answer = requests.patch(
        f"{server}/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{manifest['metadata']['name']}",
        params={"fieldManager": "argocd-controller", "force": "true"},
        json=dict(manifest),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/apply-patch+yaml"},
        verify=authority,
        timeout=30,
    )
    return answer.status_code


def jobs() -> list[dict[str, Any]]:
    """A job of each kind and priority, with everything that a job can say."""
    found: list[dict[str, Any]] = []
    for priority in get_args(TrainingPriority):
        job = TrainingJob(
            name=f"tune-{priority}",
            image="registry.test/tune:1",
            command=("torchrun", "tune.py", "--epochs=3"),
            nodes=2,
            cpu_millicores=6500,
            memory_mib=24 * 1024,
            priority=priority,
            gpu_model="a10g",
            queue="training",
            environment={"EPOCHS": "3"},
            secrets={"HF_TOKEN": ("huggingface", "token")},
            deadline_hours=12,
            labels={"llmops/team": "nlp"},
        )
        found += [train_job(job), pytorch_job(job, pools=POOLS)]
    return found


@pytest.mark.parametrize("manifest", jobs(), ids=lambda one: f"{one['kind']}-{one['metadata']['name']}")
def test_a_training_job_is_admitted_field_by_field(furnished: Stack, manifest: dict[str, Any]):
    token = f"{manifest['apiVersion']}:{manifest['kind']}"
    inputs = {"metadata": manifest["metadata"], "spec": manifest["spec"]}
    Declared(furnished, token, inputs).preview()

    inputs["spec"]["nonsense"] = True
    with pytest.raises(ProviderError, match="nonsense"):
        Declared(furnished, token, inputs).preview()


def test_pods_of_training_jobs_are_admitted_at_the_restricted_level(furnished: Stack, recorded: Recorder):
    account = [one for one in objects(recorded, training) if one[0] == "core/v1:ServiceAccount"]
    made = [Declared(furnished, token, inputs).create() for token, inputs in account]
    (job,) = [one for one in jobs() if one["kind"] == "PyTorchJob" and one["metadata"]["name"] == "tune-training"]
    (runtime, *_) = [inputs for token, inputs in objects(recorded, training) if token.endswith("TrainingRuntime")]
    (node,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    pods = {
        "worker": job["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["spec"],
        "node": node["template"]["spec"]["template"]["spec"],
    }
    kind = furnished.client.kind("v1", "Pod")
    assert kind is not None
    try:
        for name, spec in pods.items():
            manifest = {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": "mlops-training"},
                "spec": spec,
            }
            furnished.client.apply(kind, manifest, manager="test", dry_run=True)
            manifest["spec"] = {**spec, "hostNetwork": True}
            with pytest.raises(ApiError, match="restricted"):
                furnished.client.apply(kind, manifest, manager="test", dry_run=True)
    finally:
        for one in reversed(made):
            one.delete()
