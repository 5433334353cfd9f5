"""What the tests of the model gateway share: models, teams, and the gateway installed for them."""

from __future__ import annotations

from typing import Any

from conftest import Recorder
from platform_site import options, site
from pulumi_kubernetes.core.v1 import ConfigMap

from components.platform.databases import Databases, DatabasesArgs
from components.platform.model_gateway import (
    Backend,
    GatewayModel,
    Hosted,
    ModelGateway,
    ModelGatewayArgs,
    Served,
)
from components.platform.model_gateway.config import configuration
from components.settings.platform.model_gateway import ModelGatewaySettings
from components.settings.teams import TeamSettings

TEAMS = (
    TeamSettings.model_validate(
        {"name": "research", "monthlyUsd": 100, "requestsPerMinute": 60, "tokensPerMinute": 5000}
    ),
    TeamSettings.model_validate({"name": "guests", "monthlyUsd": 0}),
)
LLAMA = GatewayModel(
    name="llama",
    backends=(
        Backend(name="a", target=Served(url="http://a.models:8080", model="llama-8b"), timeout_seconds=300, weight=3),
        Backend(name="b", target=Served(url="http://b.models:8080/", model="llama-8b"), timeout_seconds=400),
        Backend(
            name="spare",
            target=Served(url="http://c.models:8000", model="llama_trt", api="triton"),
            timeout_seconds=60,
            order=2,
            requests_per_minute=30,
        ),
    ),
    fallbacks=("claude",),
    input_usd_per_million=0.5,
    output_usd_per_million=2,
)
CLAUDE = GatewayModel(
    name="claude",
    backends=(
        Backend(
            name="bedrock",
            target=Hosted(provider="bedrock", model="anthropic.claude-3-haiku-20240307-v1:0", region="us-east-1"),
            timeout_seconds=120,
        ),
    ),
)
MODELS = (LLAMA, CLAUDE)


def settings(**changes: Any) -> ModelGatewaySettings:
    return ModelGatewaySettings.model_validate(changes)


def deployments(models=MODELS) -> dict[str, dict[str, Any]]:
    return {one["model_info"]["id"]: one for one in configuration(models, settings())["model_list"]}


def install(given=None, models=MODELS, identities=None, published=True):
    place = site(given or {}, teams=TEAMS, identities=identities)
    shared = Databases("databases", DatabasesArgs(site=place, secrets_ready=()), options(place))
    edge = ConfigMap("edge", opts=options(place))
    return ModelGateway(
        "models",
        ModelGatewayArgs(
            site=place,
            models=models,
            secrets_ready=(),
            databases_ready=shared.ready,
            edge_ready=(edge,) if published else (),
        ),
        options(place),
    )


def pod(recorded: Recorder) -> dict[str, Any]:
    return recorded.one("kubernetes:apps/v1:Deployment").inputs["spec"]["template"]["spec"]


def process(recorded: Recorder) -> dict[str, Any]:
    (found,) = (one for one in pod(recorded)["containers"] if one["name"] == "model-gateway")
    return found


def variables(container: dict[str, Any]) -> dict[str, Any]:
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in container["env"]}


def every_pod(recorded: Recorder) -> list[dict[str, Any]]:
    found = [pod(recorded)]
    # The job that makes the database is another module's.
    found += [
        one.inputs["spec"]["template"]["spec"]
        for one in recorded.of("kubernetes:batch/v1:Job").values()
        if one.inputs["metadata"]["namespace"] == "mlops-serving"
    ]
    cron = recorded.one("kubernetes:batch/v1:CronJob").inputs["spec"]["jobTemplate"]["spec"]
    return [*found, cron["template"]["spec"]]


BASE = {"owner": "ml", "costCenter": "ml"}
