"""The edge: who may pass, how often, and what happens when counting fails."""

from __future__ import annotations

import json

import pytest
from aws_stack import run
from conftest import Recorder
from platform_site import options, site

from components.platform import envoy, rate_limits
from components.platform.certificates import CertManager, CertManagerArgs
from components.platform.edge import Edge, EdgeArgs, admission, patches
from components.platform.gateway import Gateway, GatewayArgs
from components.platform.mesh import Mesh, MeshArgs
from components.settings.platform.gateway import AuthenticationSettings, GatewaySettings

pytestmark = pytest.mark.unit

POLICY = "kubernetes:security.istio.io/v1:AuthorizationPolicy"
TOKENS = "kubernetes:security.istio.io/v1:RequestAuthentication"
FILTERS = "kubernetes:networking.istio.io/v1alpha3:EnvoyFilter"
DEPLOYMENT = "kubernetes:apps/v1:Deployment"
JWT = {
    "mode": "jwt",
    "jwt": {
        "issuer": "https://idp.test",
        "jwksUri": "https://idp.test/keys",
        "audiences": ["llm"],
        "requiredClaims": {"groups": ["ml-engineers", "platform"]},
    },
}
GLOBAL = {"counting": "global"}


def install(gateway=None, *, several=True):
    place = site({"highlyAvailable": several, "gateway": gateway or {}})
    mesh = Mesh("mesh", MeshArgs(site=place), options(place))
    certificates = CertManager("certificates", CertManagerArgs(site=place), options(place))
    entry = Gateway("gateway", GatewayArgs(site=place, mesh=mesh, certificates=certificates), options(place))
    return Edge("edge", EdgeArgs(site=place, gateway=entry, secrets_ready=()), options(place))


def filters_of(settings: dict, replicas: int = 2) -> dict[str, dict]:
    found = patches(GatewaySettings.model_validate(settings), replicas)
    return {p["patch"]["value"]["name"]: p["patch"]["value"]["typed_config"] for p in found}


def policy_of(settings: dict) -> dict:
    return admission(AuthenticationSettings.model_validate(settings))


def test_what_nobody_thought_of_is_refused():
    """A list of what is allowed, and every rule of it asks for something."""
    for settings in ({}, JWT):
        policy = policy_of({**settings, "exemptHosts": ["argocd.llm.internal"]})
        assert policy["action"] == "ALLOW"
        assert all(rule.get("from") or rule.get("to") or rule.get("when") for rule in policy["rules"])


def test_a_request_without_a_key_of_the_right_form_is_refused_before_it_reaches_a_backend(recorded: Recorder):
    run(install)
    credential = recorded.one(POLICY).inputs["spec"]["rules"][0]
    (condition,) = credential["when"]
    assert condition["key"] == "request.headers[authorization]"
    assert all(form.lower() == "bearer sk-*" for form in condition["values"])
    assert recorded.of(TOKENS) == {}


def test_a_token_is_asked_for_and_not_only_judged_where_there_is_one(recorded: Recorder):
    """RequestAuthentication alone lets requests without a token pass."""
    run(lambda: install({"authentication": JWT}))
    (rule,) = recorded.one(TOKENS).inputs["spec"]["jwtRules"]
    assert rule["audiences"] == ["llm"]
    credential = recorded.one(POLICY).inputs["spec"]["rules"][0]
    assert credential["from"] == [{"source": {"requestPrincipals": ["https://idp.test/*"]}}]
    assert credential["when"] == [{"key": "request.auth.claims[groups]", "values": ["ml-engineers", "platform"]}]


def test_health_is_exempt_for_reading_only():
    _, health = policy_of({"exemptPaths": ["/health/readiness"]})["rules"]
    assert health == {"to": [{"operation": {"methods": ["GET", "HEAD"], "paths": ["/health/readiness"]}}]}


def test_a_host_with_a_sign_in_of_its_own_is_exempt_with_and_without_a_port():
    *_, host = policy_of({"exemptHosts": ["argocd.llm.internal"]})["rules"]
    assert host == {"to": [{"operation": {"hosts": ["argocd.llm.internal", "argocd.llm.internal:*"]}}]}


def test_nothing_is_asked_for_where_the_settings_say_so(recorded: Recorder):
    run(lambda: install({"authentication": {"mode": "none"}}))
    assert recorded.of(POLICY) == {}
    assert recorded.of(TOKENS) == {}


def test_limits_come_after_authentication_and_before_the_backend_is_chosen():
    for patch in patches(GatewaySettings.model_validate({"rateLimits": GLOBAL}), 2)[1:]:
        sub = patch["match"]["listener"]["filterChain"]["filter"]["subFilter"]["name"]
        assert (patch["patch"]["operation"], sub) == ("INSERT_BEFORE", "envoy.filters.http.router")


def test_the_client_is_known_before_its_requests_are_counted():
    names = list(filters_of({"rateLimits": GLOBAL}))
    assert names.index("edge.key_prefix") < names.index("envoy.filters.http.local_ratelimit")
    assert names.index("edge.key_prefix") < names.index("envoy.filters.http.ratelimit")


@pytest.mark.parametrize(
    ("replicas", "rate", "burst", "client"), [(1, 100, 200, 600), (2, 50, 100, 300), (3, 34, 67, 200)]
)
def test_each_replica_takes_its_share(replicas, rate, burst, client):
    found = filters_of({}, replicas)["envoy.filters.http.local_ratelimit"]
    assert found["token_bucket"] == {"max_tokens": burst, "tokens_per_fill": rate, "fill_interval": "1s"}
    (one,) = found["descriptors"]
    assert one["token_bucket"]["max_tokens"] == client


def test_clients_are_counted_in_one_place_only():
    here = filters_of({})
    assert "descriptors" in here["envoy.filters.http.local_ratelimit"]
    assert "envoy.filters.http.ratelimit" not in here
    there = filters_of({"rateLimits": GLOBAL})
    assert "descriptors" not in there["envoy.filters.http.local_ratelimit"]
    assert "envoy.filters.http.ratelimit" in there


@pytest.mark.parametrize(("on_failure", "denied"), [("allow", False), ("refuse", True)])
def test_the_setting_decides_what_happens_when_nothing_can_be_counted(on_failure, denied):
    found = filters_of({"rateLimits": {**GLOBAL, "onFailure": on_failure}})
    assert found["envoy.filters.http.ratelimit"]["failure_mode_deny"] is denied


def test_without_limits_there_is_no_filter_and_no_service(recorded: Recorder):
    run(lambda: install({"rateLimits": {"enabled": False, "counting": "global"}}))
    assert len(recorded.one(FILTERS).inputs["spec"]["configPatches"]) == 1
    assert recorded.of(DEPLOYMENT) == {}


@pytest.mark.parametrize("authentication", [{}, JWT, {"mode": "none"}])
def test_the_service_counts_the_descriptor_that_the_gateway_sends(authentication):
    settings = GatewaySettings.model_validate({"authentication": authentication, "rateLimits": GLOBAL})
    (action,) = filters_of(settings.model_dump(by_alias=True))["envoy.filters.http.ratelimit"]["rate_limits"][0][
        "actions"
    ]
    sent = action.get("metadata", {}).get("descriptor_key", "remote_address")
    configured = json.loads(rate_limits.limits_of(settings.rate_limits, settings.authentication))
    assert configured["domain"] == envoy.DOMAIN
    assert [one["key"] for one in configured["descriptors"]] == [sent]
    assert configured["descriptors"][0]["rate_limit"] == {"unit": "minute", "requests_per_unit": 600}


def test_a_client_is_named_by_the_verified_claim_and_not_by_a_header_that_it_could_set():
    action = envoy.client_of(AuthenticationSettings.model_validate(JWT))
    assert action["metadata"]["metadata_key"] == {
        "key": "envoy.filters.http.jwt_authn",
        "path": [{"key": "payload"}, {"key": "sub"}],
    }


def test_the_caches_password_comes_from_the_secret_store_and_stands_nowhere(recorded: Recorder):
    run(lambda: install({"rateLimits": GLOBAL}))
    secret = recorded.one("kubernetes:external-secrets.io/v1:ExternalSecret").inputs
    (container,) = recorded.one(DEPLOYMENT).inputs["spec"]["template"]["spec"]["containers"]
    (password,) = [one for one in container["env"] if one["name"] == "REDIS_AUTH"]
    reference = password["valueFrom"]["secretKeyRef"]
    assert reference["name"] == secret["spec"]["target"]["name"]
    assert reference["key"] == secret["spec"]["data"][0]["secretKey"]
    assert {one["name"]: one.get("value") for one in container["env"]}["REDIS_TLS"] == "true"


def test_the_service_starts_only_when_its_password_is_on_the_way(recorded: Recorder):
    run(lambda: install({"rateLimits": GLOBAL}))
    assert "edge-limits-password" in recorded.one(DEPLOYMENT).depends_on


def test_the_gateway_asks_the_service_under_the_name_that_it_has(recorded: Recorder):
    run(lambda: install({"rateLimits": GLOBAL}))
    service = recorded.one("kubernetes:core/v1:Service").inputs
    host = f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc.cluster.local"
    filters = filters_of({"rateLimits": GLOBAL})
    cluster = filters["envoy.filters.http.ratelimit"]["rate_limit_service"]["grpc_service"]["envoy_grpc"][
        "cluster_name"
    ]
    assert cluster == f"outbound|{int(service['spec']['ports'][0]['port'])}||{host}"


def test_new_limits_roll_the_service_out(recorded: Recorder):
    run(lambda: install({"rateLimits": GLOBAL}))
    template = recorded.one(DEPLOYMENT).inputs["spec"]["template"]["metadata"]["annotations"]
    recorded.resources.clear()
    run(lambda: install({"rateLimits": {**GLOBAL, "clientRequestsPerMinute": 5}}))
    assert recorded.one(DEPLOYMENT).inputs["spec"]["template"]["metadata"]["annotations"] != template


@pytest.mark.parametrize("several", [True, False])
def test_a_budget_guards_replicas_only_where_there_are_several(several, recorded: Recorder):
    run(lambda: install({"rateLimits": GLOBAL}, several=several))
    assert recorded.one(DEPLOYMENT).inputs["spec"]["replicas"] == (2 if several else 1)
    assert bool(recorded.of("kubernetes:policy/v1:PodDisruptionBudget")) is several


def test_the_way_to_the_cache_is_open_only_where_counts_are_kept_there(recorded: Recorder):
    def program():
        assert rate_limits.openings(site()) == ()
        assert any(way.target == "stores" for way in rate_limits.openings(site({"gateway": {"rateLimits": GLOBAL}})))

    run(program)
