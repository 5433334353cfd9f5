"""The model gateway's objects on a real API server, with the level of pod security that its namespace has."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pulumi_kubernetes.core.v1 import ConfigMap

from components.platform.databases import Databases, DatabasesArgs
from components.platform.model_gateway import Backend, GatewayModel, Hosted, ModelGateway, ModelGatewayArgs, Served
from components.settings.teams import TeamSettings
from sandbox.provider import ProviderError
from tests.control_plane.conftest import Stack
from tests.control_plane.test_kubernetes_provider import Declared
from tests.unit.conftest import Recorder
from tests.unit.conftest import recorded as recorded  # noqa: PLC0414 a fixture, for this module too
from tests.unit.platform_site import options, site

pytestmark = pytest.mark.control_plane

GROUPS = ("external-secrets", "istio")
VARIANTS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "small": {"highlyAvailable": False, "modelGateway": {"cache": {"enabled": False}}},
    "everything": {"modelGateway": {"adminHost": "models.llm.internal", "routing": {"strategy": "least-busy"}}},
}
MODELS = (
    GatewayModel(
        name="llama",
        backends=(Backend(name="a", target=Served(url="http://a:8080", model="llama"), timeout_seconds=600),),
        fallbacks=("claude",),
    ),
    GatewayModel(
        name="claude",
        backends=(
            Backend(
                name="bedrock",
                target=Hosted(provider="bedrock", model="anthropic.claude-x-v1:0", region="us-east-1"),
                timeout_seconds=120,
            ),
        ),
    ),
)
TEAMS = (TeamSettings(name="research"),)
# They would wait for nodes of the platform's own, which this cluster has none of.
WAITING = ("apps/v1:Deployment", "core/v1:Service", "batch/v1:Job")


@pytest.fixture(scope="module")
def furnished(stack: Stack) -> Iterator[Stack]:
    folder = Path(os.environ.get("SANDBOX_CRDS", ""))
    if missing := [group for group in GROUPS if not (folder / group).is_dir()]:
        pytest.skip(f"no definitions of {', '.join(missing)}: SANDBOX_CRDS does not name a folder that has them")
    strict = {"pod-security.kubernetes.io/enforce": "restricted"}
    made = [
        Declared(stack, "core/v1:Namespace", {"metadata": {"name": name, "labels": strict}}).create()
        for name in ("mlops-serving", "mlops-system", "istio-ingress")
    ]
    made.append(
        Declared(
            stack, "scheduling.k8s.io/v1:PriorityClass", {"metadata": {"name": "serving"}, "value": 100_000}
        ).create()
    )
    yield stack
    for one in made:
        one.delete()


def objects(recorded: Recorder, settings: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Type and inputs of everything that the gateway declares, in order."""

    def program() -> None:
        place = site(settings, teams=TEAMS)
        opts = options(place)
        shared = Databases("databases", DatabasesArgs(site=place, secrets_ready=()), opts)
        edge = ConfigMap("edge", metadata={"name": "edge", "namespace": "istio-ingress"}, opts=opts)
        args = ModelGatewayArgs(
            site=place, models=MODELS, secrets_ready=(), databases_ready=shared.ready, edge_ready=(edge,)
        )
        ModelGateway("models", args, opts)

    recorded.run(program)
    return [
        # Jobs have no name of ours: the provider gives each version another.
        (one.type.removeprefix("kubernetes:"), {**one.inputs, "metadata": {"name": one.name, **one.inputs["metadata"]}})
        for one in recorded.resources
        if one.type.startswith("kubernetes:")
    ]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_object_is_admitted_and_goes_again(variant: str, furnished: Stack, recorded: Recorder):
    made: list[Declared] = []
    try:
        for token, inputs in objects(recorded, VARIANTS[variant]):
            declared = Declared(furnished, token, inputs)
            if token in WAITING:
                declared.preview()
            else:
                made.append(declared.create())
                live = declared.read()
                assert live is not None
                assert live[0] == declared.inputs, "what is read back would be shown as a change"
    finally:
        for one in reversed(made):
            one.delete()


def test_every_pod_keeps_to_the_restricted_level(furnished: Stack, recorded: Recorder):
    found = objects(recorded, {})
    templates = [one["spec"]["template"] for token, one in found if token in ("apps/v1:Deployment", "batch/v1:Job")]
    templates += [one["spec"]["jobTemplate"]["spec"]["template"] for token, one in found if token == "batch/v1:CronJob"]
    assert len(templates) == 5, "the server, the database, the tables, the teams, and the teams by the hour"
    (account,) = (Declared(furnished, *one).create() for one in found if one[0] == "core/v1:ServiceAccount")
    try:
        for template in templates:
            pod = {"metadata": {"name": "one", "namespace": "mlops-serving"}, "spec": template["spec"]}
            Declared(furnished, "core/v1:Pod", pod).preview()
            loose = {**pod, "spec": {**template["spec"], "securityContext": {}}}
            with pytest.raises(ProviderError, match="violates PodSecurity"):
                Declared(furnished, "core/v1:Pod", loose).preview()
    finally:
        account.delete()
