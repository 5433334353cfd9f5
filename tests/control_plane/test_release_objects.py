"""Releases on a real API server: everything is admitted, strictly; accounts may what their steps do, and no more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from components.aws.nodes import pool_of
from components.settings.nodes import table
from tests.control_plane.conftest import Stack
from tests.control_plane.declared import Declared, comes_to_be_allowed, definitions, furnishing, may, objects_of
from tests.unit import release_stack
from tests.unit.conftest import Recorder
from tests.unit.conftest import recorded as recorded  # noqa: PLC0414 a fixture, for this module too
from tests.unit.platform_site import options, site
from workloads.release.component import Releases, ReleasesArgs
from workloads.release.releases import BUILDER, GRANTS, NAMESPACE, PLANNER, PROMOTER, STARTER

pytestmark = pytest.mark.control_plane

PLACES = (NAMESPACE, "mlops-data", "monitoring")
SETTINGS = {"engine": release_stack.ENGINE, "promote": "automatic", "schedule": "0 1 * * 0", "watchAlias": "go"}
WORKFLOWS = f"/apis/argoproj.io/v1alpha1/namespaces/{NAMESPACE}"


@pytest.fixture(scope="module")
def furnished(stack: Stack) -> Iterator[Stack]:
    definitions("argo-workflows")
    with furnishing(stack, PLACES, priorities={"batch": 1000}):
        yield stack


def declared(recorded: Recorder) -> list[tuple[str, dict[str, Any]]]:
    """Type and inputs of every object, in the order of the program."""

    def program() -> None:
        where = site(pools=[pool_of(group) for group in table()], teams=[release_stack.TEAM])
        one = release_stack.release(where, settings=SETTINGS)
        Releases("releases", ReleasesArgs(site=where, releases=[one], workflows=()), options(where))

    return objects_of(recorded, program)


@pytest.fixture
def made(furnished: Stack, recorded: Recorder) -> Iterator[Stack]:
    objects = [Declared(furnished, token, inputs).create() for token, inputs in declared(recorded)]
    yield furnished
    for one in reversed(objects):
        one.delete()


def user(account: str) -> str:
    return f"system:serviceaccount:{NAMESPACE}:{account}"


JOB = "pytorchjobs.kubeflow.org"
WAYS = [
    ("create", JOB, NAMESPACE, {STARTER}),
    ("get", JOB, NAMESPACE, {STARTER}),
    ("delete", JOB, NAMESPACE, {STARTER}),
    ("list", JOB, NAMESPACE, set[str]()),
    ("patch", JOB, NAMESPACE, set[str]()),
    ("create", JOB, "mlops-data", set[str]()),
    ("create", "trainjobs.trainer.kubeflow.org", NAMESPACE, set[str]()),
    ("create", "rayjobs.ray.io", "mlops-data", {STARTER}),
    ("create", "rayjobs.ray.io", NAMESPACE, set[str]()),
    ("create", "workflowtaskresults.argoproj.io", NAMESPACE, {*GRANTS}),
    ("create", "workflows.argoproj.io", NAMESPACE, set[str]()),
    ("create", "pods", NAMESPACE, set[str]()),
    ("get", "secrets", NAMESPACE, set[str]()),
    ("update", "configmaps", "mlops-serving", set[str]()),
    ("patch", "inferenceservices.serving.kserve.io", "mlops-serving", set[str]()),
]


def test_everything_is_admitted_and_accounts_may_what_their_steps_do(made: Stack):
    templates = made.client.items(f"{WORKFLOWS}/workflowtemplates")
    assert [one["metadata"]["name"] for one in templates] == ["release-support"]
    crons = made.client.items(f"{WORKFLOWS}/cronworkflows")
    assert {one["metadata"]["name"] for one in crons} == {"release-support-schedule", "release-support-watch"}
    for verb, resource, namespace, who in WAYS:
        assert all(comes_to_be_allowed(made.client, user(one), verb, resource, namespace) for one in who)
        allowed = {account for account in GRANTS if may(made.client, user(account), verb, resource, namespace)}
        assert allowed == who, f"{verb} {resource} in {namespace}"


def test_the_pods_of_steps_are_admitted_where_only_restricted_ones_are(made: Stack, recorded: Recorder):
    (template,) = (inputs for token, inputs in declared(recorded) if token.endswith(":WorkflowTemplate"))
    steps = {one["name"]: one for one in template["spec"]["templates"] if "container" in one}
    whole = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}  # as the controller
    for name, account in (("look", PLANNER), ("train", STARTER), ("build", BUILDER), ("register", PROMOTER)):
        one = steps[name]
        assert one["serviceAccountName"] == account
        spec = {
            "restartPolicy": "Never",
            "securityContext": whole,
            "serviceAccountName": account,
            "nodeSelector": one["nodeSelector"],
            "tolerations": one.get("tolerations", []),
            "volumes": one["volumes"],
            "containers": [{"name": "main", **one["container"]}],
        }
        pod = {"metadata": {"name": f"try-{name}", "namespace": NAMESPACE}, "spec": spec}
        Declared(made, "core/v1:Pod", pod).preview()
