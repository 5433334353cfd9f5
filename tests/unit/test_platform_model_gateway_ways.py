"""Ways of the model gateway: what it may ask in the cloud, what is published of it."""

from __future__ import annotations

from typing import Any

import pytest
from aws_stack import HERE, rendered, run
from conftest import ACCOUNT, Recorder
from model_gateway_site import (
    BASE,
    LLAMA,
    MODELS,
    install,
    pod,
)
from platform_site import Identities

from components.aws.identity import hosted_model_statements
from components.contract import HostedModelGrant
from components.platform.model_gateway import (
    GatewayModel,
    entries,
    longest_answer_seconds,
    own_sign_in,
)
from components.platform.model_gateway.models import grants
from components.platform.openings import LITELLM
from components.settings import parse

pytestmark = pytest.mark.unit


class TestIdentity:
    def test_the_gateway_may_ask_the_hosted_models_and_nothing_else(self, recorded: Recorder):
        asked = Identities()
        run(lambda: install(identities=asked))
        (granted,) = asked.granted
        assert granted.grants == grants(MODELS)
        account = recorded.one("kubernetes:core/v1:ServiceAccount").inputs["metadata"]
        assert (granted.namespace, granted.service_account) == (account["namespace"], account["name"])
        assert account["annotations"] == {"test/identity": "models"}
        assert pod(recorded)["serviceAccountName"] == account["name"]

    def test_without_hosted_models_it_has_no_cloud_identity(self, recorded: Recorder):
        asked = Identities()
        run(lambda: install(models=(GatewayModel(name="own", backends=LLAMA.backends),), identities=asked))
        assert asked.granted == []

    def test_a_model_of_bedrock_is_asked_and_nothing_else_is_done_with_it(self, recorded: Recorder):
        grant = HostedModelGrant(models=("amazon.nova-lite-v1:0",), region="us-west-2")
        (statement,) = rendered(hosted_model_statements(grant, HERE, 0)).values()
        assert statement["Action"] == ["bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream"]
        assert statement["Resource"] == ["arn:aws:bedrock:us-west-2::foundation-model/amazon.nova-lite-v1:0"]

    def test_a_profile_of_bedrock_opens_its_models_in_other_regions_only_through_itself(self, recorded: Recorder):
        grant = HostedModelGrant(models=("us.anthropic.claude-x-v1:0",), region="us-east-1")
        found = rendered(hosted_model_statements(grant, HERE, 0))
        profile = f"arn:aws:bedrock:us-east-1:{ACCOUNT}:inference-profile/us.anthropic.claude-x-v1:0"
        assert found["ModelProfiles0"]["Resource"] == [profile]
        assert "arn:aws:bedrock:*::foundation-model/anthropic.claude-x-v1:0" in found["ProfiledModels0"]["Resource"]
        assert found["ProfiledModels0"]["Condition"] == {"StringEquals": {"bedrock:InferenceProfileArn": [profile]}}

    def test_its_secrets_are_granted_to_external_secrets(self):
        assert {
            "litellm-master-key",
            "litellm-salt-key",
            "litellm-smoke-key",
            "litellm-ui",
            "litellm-database",
            "cache-auth",
        } == set(entries())


class TestRoutes:
    def api(self, recorded: Recorder, name: str = "api-route") -> dict[str, Any]:
        return recorded.of("kubernetes:networking.istio.io/v1:VirtualService")[name].inputs["spec"]

    def test_administration_is_not_published_with_the_api(self, recorded: Recorder):
        run(install)
        spec = self.api(recorded)
        assert spec["hosts"] == ["api.llm.internal"]
        prefixes = {
            match["uri"]["prefix"] for rule in spec["http"] for match in rule["match"] if "prefix" in match["uri"]
        }
        assert "/v1/" in prefixes
        assert not prefixes & {"/", "/key/", "/team/", "/ui/"}

    def test_the_gateway_in_front_waits_longer_than_any_model_may_take(self, recorded: Recorder):
        run(install)
        for rule in self.api(recorded)["http"]:
            assert float(rule["timeout"].rstrip("s")) > longest_answer_seconds(MODELS)

    def test_a_failing_model_does_not_set_replicas_aside(self, recorded: Recorder):
        run(install)
        destination = recorded.one("kubernetes:networking.istio.io/v1:DestinationRule").inputs["spec"]
        assert "outlierDetection" not in destination["trafficPolicy"]

    def test_an_admin_host_is_published_where_it_is_asked_for_and_checks_its_own_users(self, recorded: Recorder):
        run(lambda: install({"modelGateway": {"adminHost": "models.llm.internal"}}))
        assert self.api(recorded, "models-admin-route")["hosts"] == ["models.llm.internal"]
        given = parse({**BASE, "platform": {"modelGateway": {"adminHost": "models.llm.internal"}}})
        assert own_sign_in(given.platform) == ("models.llm.internal",)

    def test_without_the_gateway_nothing_is_published(self, recorded: Recorder):
        run(lambda: install(published=False))
        assert not recorded.of("kubernetes:networking.istio.io/v1:VirtualService")

    def test_service_and_openings_lead_to_the_same_pods(self, recorded: Recorder):
        run(install)
        assert recorded.one("kubernetes:core/v1:Service").inputs["spec"]["selector"] == dict(LITELLM.labels)
        deployment = recorded.one("kubernetes:apps/v1:Deployment").inputs
        assert deployment["metadata"]["namespace"] == LITELLM.namespace
