"""Training: jobs start whole, in their queue, on training nodes, as nobody in particular; operators may do little."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import yaml
from aws_stack import run
from conftest import Recorder
from platform_site import Identities, options, site

from components.aws.nodes import pool_of
from components.contract import GPU_MODEL_LABEL, GPU_TAINT, ROLE_LABEL, NodePool, ObjectGrant, Taint
from components.platform.kustomize import KustomizedArgs, application_spec
from components.platform.openings import Pods
from components.platform.quotas import SHARES
from components.platform.scheduling import QUEUE_ANNOTATION
from components.platform.training import (
    OPERATOR_RIGHTS,
    Training,
    TrainingArgs,
    jobset_values,
    openings,
    operator_source,
    trainer_values,
    waiting_container,
)
from components.platform.training_jobs import (
    ACCOUNT,
    GRACE_SECONDS,
    TrainingJob,
    pytorch_job,
    runtime_name,
    tolerations,
    train_job,
    training_runtime,
)
from components.settings.nodes import table

pytestmark = pytest.mark.unit

POOLS: tuple[NodePool, ...] = tuple(pool_of(group) for group in table())
JOB = TrainingJob(
    name="tune-8b",
    image="registry.test/tune:1",
    command=("torchrun", "tune.py"),
    nodes=4,
    gpus=2,
    cpu_millicores=6500,
    memory_mib=24 * 1024,
    gpu_model="a10g",
    environment={"EPOCHS": "3"},
    secrets={"HF_TOKEN": ("huggingface", "token")},
    labels={"llmops/team": "nlp"},
)
RUNTIME = "kubernetes:trainer.kubeflow.org/v1alpha1:ClusterTrainingRuntime"


def installed(recorded: Recorder, settings: Mapping[str, Any] | None = None) -> Identities:
    identities = Identities()

    def program() -> None:
        here = site(settings, identities=identities, pools=POOLS)
        Training("training", TrainingArgs(site=here, scheduling=(), gitops=()), options(here))

    recorded.run(program)
    return identities


def pod_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    if manifest["kind"] == "PyTorchJob":
        return manifest["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]
    (node,) = manifest["spec"]["template"]["spec"]["replicatedJobs"]
    return node["template"]["spec"]["template"]["spec"]


def runtime(**more: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {"image": "torch:1", "pools": POOLS, "shared_memory_gib": 4, **more}
    return training_runtime("torch", "training", **arguments)


PODS = (pod_of(runtime()), pod_of(pytorch_job(JOB, pools=POOLS)))


class TestPods:
    @pytest.mark.parametrize("pod", PODS)
    def test_they_are_placed_by_the_scheduler_that_knows_gangs_and_queues(self, pod: Mapping[str, Any]):
        assert pod["schedulerName"] == "volcano"

    @pytest.mark.parametrize("pod", PODS)
    def test_they_run_on_training_nodes_and_tolerate_what_keeps_others_away(self, pod: Mapping[str, Any]):
        assert pod["nodeSelector"][ROLE_LABEL] == "gpu-training"
        assert {one["key"] for one in pod["tolerations"]} == {GPU_TAINT.key}

    @pytest.mark.parametrize("pod", PODS)
    def test_they_satisfy_the_restricted_level(self, pod: Mapping[str, Any]):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert not [one for one in pod["volumes"] if set(one) - {"name", "emptyDir"}]

    @pytest.mark.parametrize("pod", PODS)
    def test_a_leaving_spot_node_gives_them_time_to_write_a_checkpoint(self, pod: Mapping[str, Any]):
        """A node leaves 120 seconds after its notice, whoever is still writing."""
        assert 60 <= pod["terminationGracePeriodSeconds"] == GRACE_SECONDS < 120

    @pytest.mark.parametrize("pod", PODS)
    def test_they_have_a_home_that_user_1000_can_write_to_and_enough_shared_memory(self, pod: Mapping[str, Any]):
        (container,) = pod["containers"]
        mounts = {one["mountPath"] for one in container["volumeMounts"]}
        (home,) = [one["value"] for one in container["env"] if one["name"] == "HOME"]
        assert {home, "/dev/shm"} <= mounts

    def test_taints_of_other_nodes_are_not_tolerated(self):
        odd = replace(POOLS[0], role="cpu", taints=(Taint(key="odd", value="yes", effect="NoSchedule"),))
        assert tolerations([odd]) == []

    def test_a_taint_of_a_training_group_is_tolerated_although_nobody_named_it(self):
        spot = replace(POOLS[0], role="gpu-training", taints=(Taint(key="spot", value="yes", effect="NoExecute"),))
        assert tolerations([spot]) == [{"key": "spot", "operator": "Exists", "effect": "NoExecute"}]


class TestTrainJobs:
    def test_its_priority_is_that_of_its_runtime(self):
        """A TrainJob has no field for it."""
        preemptible = train_job(replace(JOB, priority="training-preemptible"))
        named = preemptible["spec"]["runtimeRef"]["name"]
        assert named == runtime_name("torch", "training-preemptible")
        made = training_runtime("torch", "training-preemptible", image="i", pools=POOLS, shared_memory_gib=1)
        assert made["metadata"]["name"] == named
        assert pod_of(made)["priorityClassName"] == "training-preemptible"

    def test_every_runtime_that_a_job_can_name_is_there(self, recorded: Recorder):
        installed(recorded)
        there = {one.inputs["metadata"]["name"] for one in recorded.of(RUNTIME).values()}
        wanted = {
            train_job(replace(JOB, framework=framework, priority=priority))["spec"]["runtimeRef"]["name"]
            for framework in ("torch", "deepspeed")
            for priority in ("training", "training-preemptible")
        }
        assert there == wanted

    def test_no_runtime_waits_for_a_pod_that_its_gang_does_not_have_yet(self, recorded: Recorder):
        """Under gang scheduling nothing starts before all members are there: one that depends on others would hang."""
        installed(recorded)
        for one in recorded.of(RUNTIME).values():
            jobs = one.inputs["spec"]["template"]["spec"]["replicatedJobs"]
            assert len(jobs) == 1
            assert not [job for job in jobs if "dependsOn" in job]
            assert one.inputs["spec"]["podGroupPolicy"] == {"volcano": {}}

    def test_a_job_that_fails_starts_again_whole(self):
        (job,) = runtime()["spec"]["template"]["spec"]["replicatedJobs"]
        assert job["template"]["spec"]["backoffLimit"] == 0  # else one node would start again, and the others not
        assert runtime()["spec"]["template"]["spec"]["failurePolicy"]["maxRestarts"] > 0

    def test_it_names_its_nodes_its_processes_and_its_model_of_gpu(self):
        spec = train_job(JOB)["spec"]
        (patch,) = spec["runtimePatches"]
        (node,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
        assert spec["trainer"]["numNodes"] == 4
        assert spec["trainer"]["numProcPerNode"] == 2
        assert spec["trainer"]["resourcesPerNode"]["limits"]["nvidia.com/gpu"] == "2"
        assert node["template"]["spec"]["template"]["spec"]["nodeSelector"][GPU_MODEL_LABEL] == "a10g"

    def test_the_queue_is_the_namespaces_unless_it_says_so(self):
        def queue(job: TrainingJob) -> Any:
            (patch,) = train_job(job)["spec"]["runtimePatches"]
            metadata = patch["trainingRuntimeSpec"]["template"].get("metadata", {})
            return metadata.get("annotations", {}).get(QUEUE_ANNOTATION)

        assert queue(JOB) is None
        assert queue(replace(JOB, queue="team-nlp")) == "team-nlp"


class TestPyTorchJobs:
    def test_all_workers_start_together_or_none(self):
        spec = pytorch_job(JOB, pools=POOLS)["spec"]
        assert spec["runPolicy"]["schedulingPolicy"]["minAvailable"] == 4
        assert spec["pytorchReplicaSpecs"]["Worker"]["replicas"] == 4
        assert (spec["elasticPolicy"]["minReplicas"], spec["elasticPolicy"]["maxReplicas"]) == (4, 4)

    def test_it_has_the_container_that_the_operator_looks_for(self):
        (container,) = pod_of(pytorch_job(JOB, pools=POOLS))["containers"]
        assert container["name"] == "pytorch"
        assert container["resources"]["requests"]["cpu"] == "6500m"
        assert container["resources"]["limits"]["nvidia.com/gpu"] == "2"

    def test_gang_and_pods_have_the_same_priority(self):
        made = pytorch_job(replace(JOB, priority="training-preemptible"), pools=POOLS)
        assert made["spec"]["runPolicy"]["schedulingPolicy"]["priorityClass"] == "training-preemptible"
        assert pod_of(made)["priorityClassName"] == "training-preemptible"

    def test_a_token_is_named_and_not_written(self):
        (container,) = pod_of(pytorch_job(JOB, pools=POOLS))["containers"]
        token = {one["name"]: one for one in container["env"]}["HF_TOKEN"]
        assert token == {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "huggingface", "key": "token"}}}

    def test_a_job_without_gpus_asks_for_none(self):
        (container,) = pod_of(pytorch_job(replace(JOB, gpus=0), pools=POOLS))["containers"]
        assert "nvidia.com/gpu" not in container["resources"]["limits"]

    def test_two_jobs_do_not_share_what_one_of_them_changes(self):
        first, second = (pytorch_job(JOB, pools=POOLS) for _ in range(2))
        pod_of(first)["containers"][0]["env"].clear()
        assert pod_of(second)["containers"][0]["env"]


class TestOperator:
    def spec(self) -> dict[str, Any]:
        found: list[dict[str, Any]] = []

        def program() -> None:
            here = site({})
            arguments = KustomizedArgs(
                site=here,
                tree="training-operator",
                namespace="kubeflow",
                sources=(operator_source(here),),
                kinds=(),
                definitions=(),
                after=(),
            )
            found.append(application_spec(arguments))

        run(program)
        return found[0]

    def deployment(self) -> dict[str, Any]:
        (source,) = self.spec()["sources"]
        (body,) = [
            yaml.safe_load(patch["patch"])
            for patch in source["kustomize"]["patches"]
            if patch["target"]["kind"] == "Deployment"
        ]
        return body["spec"]["template"]

    def test_it_makes_gangs_and_knows_one_kind_of_job(self):
        (container,) = self.deployment()["spec"]["containers"]
        assert set(container["args"]) == {"--gang-scheduler-name=volcano", "--enable-scheme=pytorchjob"}

    def test_it_is_outside_the_mesh_because_the_api_server_calls_it(self):
        assert self.deployment()["metadata"]["labels"] == {"istio.io/dataplane-mode": "none"}
        ways: list[Any] = []
        run(lambda: ways.extend(openings(site({}))))
        assert [
            way.target.labels for way in ways if way.source == "control-plane" and way.target.namespace == "kubeflow"
        ] == [{"control-plane": "kubeflow-training-operator"}]

    def test_it_reads_secrets_only_where_its_certificate_is(self, recorded: Recorder):
        installed(recorded)
        assert not [rule for rule in OPERATOR_RIGHTS if "secrets" in list(_plain(rule.resources))]
        role = recorded.one("kubernetes:rbac.authorization.k8s.io/v1:Role", "training-operator").inputs
        assert role["metadata"]["namespace"] == "kubeflow"

    def test_it_changes_no_webhook_but_its_own(self):
        changing = [
            rule
            for rule in OPERATOR_RIGHTS
            if "validatingwebhookconfigurations" in list(_plain(rule.resources))
            and "update" in list(_plain(rule.verbs))
        ]
        assert [list(_plain(rule.resource_names)) for rule in changing] == [
            ["validator.training-operator.kubeflow.org"]
        ]

    def test_it_may_start_nothing_but_pods_and_change_no_rights(self):
        reached = {one for rule in OPERATOR_RIGHTS for one in _plain(rule.resources)}
        assert not reached & {"roles", "rolebindings", "serviceaccounts", "pods/exec", "deployments"}

    def test_its_webhook_is_the_service_that_comes_with_it(self, recorded: Recorder):
        installed(recorded)
        (webhook,) = recorded.one("kubernetes:admissionregistration.k8s.io/v1:ValidatingWebhookConfiguration").inputs[
            "webhooks"
        ]
        assert webhook["clientConfig"]["service"]["name"] == "training-operator"
        assert "caBundle" not in webhook["clientConfig"]  # the operator's to fill in, and never ours to take away

    def test_what_it_adds_to_pods_satisfies_the_restricted_level(self):
        """Its own container does not: workers of a job with a master would never be admitted."""
        (container,) = yaml.safe_load(waiting_container())
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert "{{.MasterAddr}}" in container["command"][-1]

    def test_it_is_left_out_where_nobody_wants_it(self, recorded: Recorder):
        installed(recorded, {"training": {"pytorchJobs": False}})
        assert not recorded.of("kubernetes:argoproj.io/v1alpha1:Application")
        assert recorded.of(RUNTIME)


def _plain(value: Any) -> Iterable[str]:
    return value or ()


def test_training_pods_may_read_data_and_write_models_and_artifacts(recorded: Recorder):
    granted = {one.service_account: one for one in installed(recorded).granted}
    access = {grant.bucket: grant.access for grant in granted[ACCOUNT].grants if isinstance(grant, ObjectGrant)}
    assert access == {"data": "read", "models": "read-write", "mlflow": "read-write"}
    assert granted[ACCOUNT].namespace == "mlops-training"


def test_runtimes_come_after_the_webhook_that_judges_them(recorded: Recorder):
    installed(recorded)
    for one in recorded.of(RUNTIME).values():
        assert "training-trainer" in one.depends_on


def test_a_highly_available_operator_and_its_roll_out_fit_the_namespaces_share():
    share = SHARES["kubeflow-system"]

    def ask(values: dict[str, Any]) -> tuple[int, int]:
        part = values.get("manager") or values["controller"]
        requests = part["resources"]["requests"]
        pods = part["replicas"] + 1
        return pods * int(requests["cpu"].removesuffix("m")), pods * int(requests["memory"].removesuffix("Mi"))

    found: list[tuple[int, int]] = []
    run(lambda: found.extend(ask(values(site({}))) for values in (jobset_values, trainer_values)))
    assert sum(cpu for cpu, _ in found) <= share.cpu_millicores
    assert sum(memory for _, memory in found) <= share.memory_mib


def test_operators_outside_the_mesh_answer_the_api_server_and_the_scraper():
    ways: list[Any] = []
    run(lambda: ways.extend(openings(site({"training": {"pytorchJobs": False}}))))
    targets = [way.target for way in ways if way.source == "control-plane"]
    assert all(isinstance(target, Pods) and target.namespace == "kubeflow-system" for target in targets)
    assert len(targets) == 2
