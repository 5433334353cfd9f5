"""Fine-tunes on a real API server and scheduler: jobs are admitted, and their pods fit where the preview put them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pulumi
import pytest

from components.aws.nodes import pool_of
from components.platform.openings import team_namespace
from components.platform.priorities import PRIORITIES
from components.settings.fine_tunes import FineTuneSettings
from components.settings.nodes import table
from sandbox.provider import ProviderError
from tests.control_plane.conftest import Stack
from tests.control_plane.test_capacity_table import client as client  # noqa: PLC0414 a fixture, for this module too
from tests.control_plane.test_capacity_table import settle, spec_of
from tests.control_plane.test_kubernetes_provider import Declared
from tests.unit.conftest import Recorder
from tests.unit.conftest import recorded as recorded  # noqa: PLC0414 a fixture, for this module too
from tests.unit.platform_site import options, site
from workloads.models.plan import Group
from workloads.training.component import FineTunes, FineTunesArgs
from workloads.training.jobs import Addresses, fine_tune_config, fine_tune_job
from workloads.training.plan import Plan, plan

pytestmark = pytest.mark.control_plane

RESTRICTED: Final = {"pod-security.kubernetes.io/enforce": "restricted"}
POOLS: Final = tuple(pool_of(group) for group in table())
GROUPS: Final = tuple(
    Group(name=pool.name, shapes=pool.shapes, max_size=pool.max_size) for pool in POOLS if pool.role == "gpu-training"
)
SHARED_MEMORY_GIB: Final = 4


def tune(**changes: Any) -> FineTuneSettings:
    return FineTuneSettings.model_validate(
        {
            "name": "support",
            "base": {"source": "s3://models/llama", "architecture": "meta-llama/Llama-3.1-8B-Instruct"},
            "dataset": "support",
            "gpu": {"type": "a10g", "count": 1},
            **changes,
        }
    )


def planned(settings: FineTuneSettings) -> Plan:
    found = plan(settings, GROUPS, shared_memory_gib=SHARED_MEMORY_GIB)
    assert isinstance(found, Plan), found
    return found


def job(settings: FineTuneSettings) -> dict[str, Any]:
    buckets = Addresses(data="s3://data", models="s3://models", mlflow="s3://mlflow")
    return fine_tune_job(
        settings,
        planned(settings),
        fine_tune_config(settings, buckets, image_tag="0123456789ab"),
        image="registry.test/training:0123456789ab",
        owner="ml-platform",
        shared_memory_gib=SHARED_MEMORY_GIB,
        pools=POOLS,
        name="fine-tune-support-1",
    )


@pytest.fixture(scope="module")
def furnished(stack: Stack) -> Iterator[Stack]:
    folder = Path(os.environ.get("SANDBOX_CRDS", ""))
    for system in ("trainer", "training-operator"):
        if not (folder / system).is_dir():
            pytest.skip(f"no definitions of {system}: SANDBOX_CRDS does not name a folder that has them")
    made = [
        Declared(stack, "core/v1:Namespace", {"metadata": {"name": name, "labels": RESTRICTED}}).create()
        for name in ("mlops-training", team_namespace("nlp"))
    ]
    made += [
        Declared(
            stack, "scheduling.k8s.io/v1:PriorityClass", {"metadata": {"name": name}, "value": priority.value}
        ).create()
        for name, priority in PRIORITIES.items()
        if name.startswith("training")
    ]
    yield stack
    for one in reversed(made):
        one.delete()


SHARED: Final = {"method": "full", "nodes": 8, "zero": {"stage": 3, "offload": "optimizer"}}


@pytest.mark.parametrize("kind", ["pytorch-job", "train-job"])
@pytest.mark.parametrize("changes", [{}, {"team": "nlp", "nodes": 2}, SHARED], ids=["one", "team", "zero"])
def test_a_job_is_admitted_field_by_field_and_starts_whole(furnished: Stack, kind: str, changes: dict[str, Any]):
    settings = tune(job=kind, **changes)
    manifest = job(settings)
    token = f"{manifest['apiVersion']}:{manifest['kind']}"
    inputs = {"metadata": manifest["metadata"], "spec": manifest["spec"]}
    Declared(furnished, token, inputs).preview()
    if kind == "pytorch-job":
        assert inputs["spec"]["runPolicy"]["schedulingPolicy"]["minAvailable"] == settings.nodes
        assert inputs["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]["schedulerName"] == "volcano"
    else:
        # The gang is the runtime's: as many as it has nodes.
        assert inputs["spec"]["trainer"]["numNodes"] == settings.nodes
    inputs["spec"]["nonsense"] = True
    with pytest.raises(ProviderError, match="nonsense"):
        Declared(furnished, token, inputs).preview()


def test_what_is_declared_is_admitted_and_its_job_can_be_created(furnished: Stack, recorded: Recorder):
    settings = tune(team="nlp")

    def program() -> None:
        here = site(pools=POOLS)
        repositories = {"training": pulumi.Output.from_input("registry.test/training")}
        registry = replace(here.foundation.registry, repositories=repositories)
        here = replace(here, foundation=replace(here.foundation, registry=registry))
        plans = {settings.name: planned(settings)}
        FineTunes("fine-tunes", FineTunesArgs(site=here, fine_tunes=[settings], plans=plans), options(here))

    recorded.run(program)
    declared = [one for one in recorded.resources if one.type.startswith("kubernetes:core")]
    assert len(declared) == 2
    for one in declared:
        Declared(furnished, one.type.removeprefix("kubernetes:"), one.inputs).preview()
    (template,) = [one for one in declared if one.type.endswith("ConfigMap")]
    manifest = json.loads(template.inputs["data"]["job.json"])
    # As `kubectl create -f -` sends it: the API server makes up the name.
    kind = furnished.client.kind(manifest["apiVersion"], manifest["kind"])
    assert kind is not None
    group, _, version = manifest["apiVersion"].partition("/")
    path = f"/apis/{group}/{version}/namespaces/team-nlp/pytorchjobs?dryRun=All&fieldValidation=Strict"
    made = furnished.client.request("POST", path, body=manifest)
    assert made["metadata"]["name"].startswith("fine-tune-support-")


@pytest.mark.parametrize("changes", [{}, {"method": "qlora"}, SHARED], ids=["lora", "qlora", "zero"])
def test_a_pod_fits_the_node_that_the_preview_chose(client: Any, changes: dict[str, Any]):
    settings = tune(**changes)
    spec = job(settings)["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]
    # The same pod for the scheduler that runs here; Volcano counts the same requests.
    pod = {
        key: one for key, one in spec.items() if key not in ("schedulerName", "priorityClassName", "serviceAccountName")
    }
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "fine-tune", "namespace": "default"},
        "spec": pod,
    }
    chosen = [pool for pool in POOLS if pool.name == planned(settings).group]
    node, words = settle(client, [spec_of(pool) for pool in chosen], manifest)
    assert node, f"the scheduler says: {words}"

    (container,) = pod["containers"]
    more = {**container["resources"]["requests"], "memory": f"{chosen[0].shapes[0].memory_mib + 1}Mi"}
    container["resources"] = {"requests": more, "limits": more}
    node, words = settle(client, [spec_of(pool) for pool in chosen], manifest)
    assert not node
    assert "Insufficient memory" in words
