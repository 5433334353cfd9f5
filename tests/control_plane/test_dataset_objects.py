"""Datasets on a real API server: their objects, and the RayJob that a run makes of the template."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.settings.datasets import DatasetSettings
from sandbox.provider import ProviderError
from tests.control_plane.conftest import Stack
from tests.control_plane.declared import Declared, comes_to_be_allowed, may
from tests.control_plane.test_data_systems import kept
from tests.unit.conftest import Recorder
from tests.unit.conftest import recorded as recorded  # noqa: PLC0414 a fixture, for this module too
from tests.unit.platform_site import options, site
from workloads.preprocess.component import Datasets, DatasetsArgs
from workloads.preprocess.workflow import RUNNER

pytestmark = pytest.mark.control_plane

NAMESPACE = "mlops-data"
NEEDED = ("kuberay", "argo-workflows", "prometheus-operator")
DATASET = DatasetSettings.model_validate(
    {
        "name": "wiki",
        "sources": ["raw/wiki"],
        "tokenizer": {"source": "hf://org/model", "revision": "0" * 40},
        "nearDuplicates": {"threshold": 0.8},
        "schedule": "0 4 * * 1",
    }
)


@pytest.fixture(scope="module")
def furnished(stack: Stack) -> Iterator[Stack]:
    folder = Path(os.environ.get("SANDBOX_CRDS", ""))
    if missing := [one for one in NEEDED if not (folder / one).is_dir()]:
        pytest.skip(f"no definitions of {', '.join(missing)}: SANDBOX_CRDS does not name a folder that has them")
    made = [
        Declared(stack, "core/v1:Namespace", {"metadata": {"name": name}}).create()
        for name in (NAMESPACE, "monitoring")
    ]
    yield stack
    for one in reversed(made):
        one.delete()


def objects(recorded: Recorder) -> list[tuple[str, dict[str, Any]]]:
    """In the order in which they are made."""

    def program() -> None:
        place = site()
        there = (place.foundation.cluster.provider,)
        args = DatasetsArgs(site=place, datasets=(DATASET,), ray=there, workflows=there, rules=there)
        Datasets("datasets", args, options(place))

    recorded.run(program)
    prefix = "kubernetes:"
    return [(one.type.removeprefix(prefix), one.inputs) for one in recorded.resources if one.type.startswith(prefix)]


def job(recorded: Recorder) -> dict[str, Any]:
    (template,) = [inputs for token, inputs in objects(recorded) if token.endswith(":WorkflowTemplate")]
    return json.loads(template["spec"]["templates"][0]["resource"]["manifest"])


def test_every_object_is_admitted_and_none_of_it_is_pruned(furnished: Stack, recorded: Recorder):
    wanted = objects(recorded)
    made = [Declared(furnished, token, inputs).create() for token, inputs in wanted]
    try:
        base = f"/apis/argoproj.io/v1alpha1/namespaces/{NAMESPACE}"
        for kind, plural in (("WorkflowTemplate", "workflowtemplates"), ("CronWorkflow", "cronworkflows")):
            (live,) = furnished.client.items(f"{base}/{plural}")
            (declared,) = [inputs for token, inputs in wanted if token.endswith(f":{kind}")]
            assert kept(declared["spec"], live["spec"]), kind
        rule = "/apis/monitoring.coreos.com/v1/namespaces/monitoring/prometheusrules"
        assert [one["metadata"]["name"] for one in furnished.client.items(rule)] == ["llmops-datasets"]
    finally:
        for one in reversed(made):
            one.delete()


def test_the_definitions_judge(furnished: Stack, recorded: Recorder):
    """Otherwise the test above would prove nothing."""
    (cron,) = [inputs for token, inputs in objects(recorded) if token.endswith(":CronWorkflow")]
    cron["spec"]["schedule_"] = cron["spec"].pop("schedules")
    with pytest.raises(ProviderError, match="schedule_"):
        Declared(furnished, "argoproj.io/v1alpha1:CronWorkflow", cron).preview()


def test_who_runs_the_workflow_may_make_the_job_and_look_at_it_and_nothing_more(furnished: Stack, recorded: Recorder):
    rights = [one for one in objects(recorded) if "rbac" in one[0] or one[1]["metadata"]["name"] == RUNNER]
    made = [Declared(furnished, token, inputs).create() for token, inputs in rights]

    client, user = furnished.client, f"system:serviceaccount:{NAMESPACE}:{RUNNER}"
    try:
        assert comes_to_be_allowed(client, user, "create", "rayjobs.ray.io", NAMESPACE)
        assert comes_to_be_allowed(client, user, "get", "rayjobs.ray.io", NAMESPACE)
        assert comes_to_be_allowed(client, user, "patch", "workflowtaskresults.argoproj.io", NAMESPACE)
        assert not may(client, user, "delete", "rayjobs.ray.io", NAMESPACE)
        assert not may(client, user, "create", "rayclusters.ray.io", NAMESPACE)
        assert not may(client, user, "get", "secrets", NAMESPACE)
        assert not may(client, user, "create", "rayjobs.ray.io", "mlops-training")
    finally:
        for one in reversed(made):
            one.delete()


def test_the_job_of_a_run_is_admitted_as_it_is_written(furnished: Stack, recorded: Recorder):
    manifest = job(recorded)
    metadata = manifest["metadata"]
    metadata["name"] = f"{metadata.pop('generateName')}x7k2p"  # as the API server would
    made = Declared(furnished, "ray.io/v1:RayJob", {"metadata": metadata, "spec": manifest["spec"]}).create()
    try:
        (live,) = furnished.client.items(f"/apis/ray.io/v1/namespaces/{NAMESPACE}/rayjobs")
        assert kept(manifest["spec"], live["spec"]), "nothing was pruned"
        assert live["metadata"]["labels"]["llmops/dataset"] == "wiki"
    finally:
        made.delete()
