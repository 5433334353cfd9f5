"""Declared models on a real API server: everything is admitted, strictly, and pods where only restricted ones are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.platform.runtimes import RUNTIMES, runtime_of
from components.settings.teams import TeamSettings
from tests.control_plane.conftest import Stack
from tests.control_plane.declared import Declared, definitions, furnishing, objects_of
from tests.unit.conftest import Recorder
from tests.unit.conftest import recorded as recorded  # noqa: PLC0414 a fixture, for this module too
from tests.unit.platform_site import options, site
from tests.unit.stack_models import CANARY, LLAMA, TEAM, chat, planned
from workloads.models.component import Models, ModelsArgs

pytestmark = pytest.mark.control_plane

PLACES = ("mlops-serving", "team-research", "monitoring")
GROUPS = [
    {"name": "system", "role": "system", "instanceTypes": ["m6i.2xlarge"], "minSize": 2, "maxSize": 8},
    {"name": "inference", "role": "gpu-inference", "instanceTypes": ["g5.2xlarge"], "maxSize": 20},
]
MODELS = [
    chat(canary=CANARY),
    chat(name="ab", ab={"variants": [{"name": "b", "source": "s3://models/b"}]}, replicas={"min": 1, "max": 1}),
    chat(name="hub", source=f"hf://{LLAMA}", architecture=None, replicas={"max": 1}),
    chat(name="owned", team="research", replicas={"max": 1}),
]


@pytest.fixture(scope="module")
def furnished(stack: Stack) -> Iterator[Stack]:
    definitions("kserve", "keda", "keda-http")
    with furnishing(stack, PLACES, priorities={"serving": 100_000}):
        yield stack


def declared(recorded: Recorder, **platform: Any) -> list[tuple[str, dict[str, Any]]]:
    """Type and inputs of every object, in the order of the program."""
    found = planned(*MODELS, nodeGroups=GROUPS, workloads=[], platform=platform)

    def program() -> None:
        place = site(
            {"serving": found.settings.platform.serving.model_dump(by_alias=True)},
            teams=[TeamSettings.model_validate(TEAM)],
        )
        ready = [place.foundation.cluster.provider]
        args = ModelsArgs(site=place, specs=found.specs, plans=found.plans, after=(), gateway=ready, rules=ready)
        Models("models", args, options(place))

    return objects_of(recorded, program)


def test_everything_that_is_declared_for_models_is_admitted(furnished: Stack, recorded: Recorder):
    objects = declared(recorded, serving={"prometheusUrl": "http://prometheus-operated.monitoring:9090"})
    if not (Path(os.environ.get("SANDBOX_CRDS", "")) / "prometheus-operator").is_dir():
        objects = [one for one in objects if not one[0].endswith(":PrometheusRule")]
    jobs = [inputs for token, inputs in objects if token.endswith(":Job")]
    made = [Declared(furnished, token, inputs).create() for token, inputs in objects if not token.endswith(":Job")]
    assert len(jobs) == len(MODELS)
    for number, job in enumerate(jobs):  # the provider names them; nothing answers them here
        named = {**job, "metadata": {**job["metadata"], "name": f"smoke-{number}"}}
        Declared(furnished, "batch/v1:Job", named).preview()

    served = furnished.client.items("/apis/serving.kserve.io/v1beta1/namespaces/mlops-serving/inferenceservices")
    assert {one["metadata"]["name"] for one in served} == {"chat", "chat-canary", "ab", "ab-b", "hub"}
    assert furnished.client.request(
        "GET", "/apis/serving.kserve.io/v1beta1/namespaces/team-research/inferenceservices/owned"
    )
    for one in reversed(made):
        one.delete()


def test_a_server_s_pod_is_admitted_where_only_restricted_pods_are(furnished: Stack, recorded: Recorder):
    base = runtime_of(RUNTIMES["vllm"])["containers"][0]
    for token, inputs in declared(recorded):
        if not token.endswith(":InferenceService"):
            continue
        predictor = dict(inputs["spec"]["predictor"])
        model = predictor.pop("model")
        labels = predictor.pop("labels")
        for own in ("minReplicas", "maxReplicas", "deploymentStrategy"):
            predictor.pop(own)
        main = {**base, **{key: model[key] for key in ("resources", "startupProbe")}}
        main["args"] = [*base["args"], *model["args"]]
        place = inputs["metadata"]["namespace"]
        account = Declared(
            furnished,
            "core/v1:ServiceAccount",
            {"metadata": {"name": predictor["serviceAccountName"], "namespace": place}},
        ).create()
        pod = {
            "metadata": {"name": inputs["metadata"]["name"], "namespace": place, "labels": labels},
            "spec": {**predictor, "containers": [main]},
        }
        Declared(furnished, "core/v1:Pod", pod).preview()
        account.delete()
