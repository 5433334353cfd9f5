"""The model gateway's objects on a real API server, with the level of pod security that its namespace has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pulumi_kubernetes.core.v1 import ConfigMap

from components.platform.databases import Databases, DatabasesArgs
from components.platform.model_gateway import Backend, GatewayModel, Hosted, ModelGateway, ModelGatewayArgs, Served
from components.settings.teams import TeamSettings
from sandbox.provider import ProviderError
from tests.control_plane.conftest import Stack
from tests.control_plane.declared import Declared, admit, definitions, furnishing, objects_of
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
    definitions(*GROUPS)
    with furnishing(stack, ("mlops-serving", "mlops-system", "istio-ingress"), priorities={"serving": 100_000}):
        yield stack


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

    return objects_of(recorded, program)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_object_is_admitted_and_goes_again(variant: str, furnished: Stack, recorded: Recorder):
    admit(furnished, objects(recorded, VARIANTS[variant]), waiting=WAITING)


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
