"""The gateway: who reaches it, how it is left, and how requests get to a backend."""

from __future__ import annotations

import pulumi
import pytest
from aws_stack import run
from conftest import Recorder
from platform_site import options, site
from pydantic import ValidationError

from components.platform.certificates import CertManager, CertManagerArgs
from components.platform.gateway import Gateway, GatewayArgs, entry_of, values
from components.platform.mesh import Mesh, MeshArgs
from components.platform.openings import GATEWAY
from components.platform.routes import Backend, Rule, destination_of, route, virtual_service_of
from components.settings import SettingsError, parse
from components.settings.platform.gateway import GatewaySettings

pytestmark = pytest.mark.unit

RELEASE = "kubernetes:helm.sh/v3:Release"
MODELS = Backend(namespace="mlops-serving", service="litellm", port=4000, timeout_seconds=600)


def install(settings=None):
    place = site(settings or {})
    mesh = Mesh("mesh", MeshArgs(site=place), options(place))
    certificates = CertManager("certificates", CertManagerArgs(site=place), options(place))
    args = GatewayArgs(site=place, mesh=mesh, certificates=certificates)
    return place, Gateway("gateway", args, options(place))


def test_the_load_balancer_is_internal_until_the_settings_say_whom_else_it_admits(recorded: Recorder):
    run(install)
    service = recorded.one(RELEASE, "gateway-release").inputs["values"]["service"]
    assert service["annotations"] == {"test/scheme": "internal"}


def test_an_internet_facing_load_balancer_admits_whom_the_settings_name(recorded: Recorder):
    run(lambda: install({"gateway": {"exposure": "internet-facing", "sourceRanges": ["203.0.113.0/24"]}}))
    service = recorded.one(RELEASE, "gateway-release").inputs["values"]["service"]
    assert service["annotations"] == {"test/scheme": "public"}
    assert service["loadBalancerSourceRanges"] == ["203.0.113.0/24"]


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"exposure": "internet-facing"}, r"needs sourceRanges; \[0.0.0.0/0\] admits everybody"),
        (
            {"exposure": "internet-facing", "sourceRanges": ["0.0.0.0/0"], "authentication": {"mode": "none"}},
            "other than none",
        ),
        ({"authentication": {"mode": "jwt"}}, "needs the section jwt"),
        ({"authentication": {"exemptHosts": ["argocd.elsewhere.com"]}}, "one label below llm.internal"),
        ({"rateLimits": {"requestsPerSecond": 500}}, "burst must be requestsPerSecond"),
    ],
)
def test_settings_that_would_leave_it_open_or_useless_are_refused(settings, complaint):
    with pytest.raises(ValidationError, match=complaint):
        GatewaySettings.model_validate(settings)


@pytest.mark.parametrize("missing", ["mesh", "certificates"])
def test_it_is_refused_without_what_it_stands_on(missing):
    with pytest.raises(SettingsError, match=rf"platform.gateway.enabled: needs platform.{missing}.enabled"):
        parse({"owner": "ml", "costCenter": "ml", "platform": {missing: {"enabled": False}}})


def test_plain_http_is_redirected_and_old_tls_refused():
    https, http = entry_of("llm.internal")["servers"]
    assert http["tls"] == {"httpsRedirect": True}
    assert https["tls"]["minProtocolVersion"] == "TLSV1_2"


def test_only_routes_of_its_own_namespace_bind_hosts_so_that_no_team_takes_anothers():
    for server in entry_of("llm.internal")["servers"]:
        assert all(host.startswith("./") for host in server["hosts"])


def test_the_certificate_holds_every_host_that_a_route_may_have(recorded: Recorder):
    run(install)
    certificate = recorded.one("kubernetes:cert-manager.io/v1:Certificate", "gateway-certificate").inputs
    assert certificate["metadata"]["namespace"] == "istio-ingress"
    assert set(certificate["spec"]["dnsNames"]) == {"*.llm.internal", "llm.internal"}
    entry = recorded.one("kubernetes:networking.istio.io/v1:Gateway").inputs["spec"]
    assert entry["servers"][0]["tls"]["credentialName"] == certificate["spec"]["secretName"]


def test_policies_select_the_pods_that_the_chart_makes(recorded: Recorder):
    """The chart makes the label ``istio`` of the release's name without ``istio-``."""
    run(install)
    release = recorded.one(RELEASE, "gateway-release").inputs
    assert GATEWAY.labels == {"istio": release["name"].removeprefix("istio-")}
    assert release["namespace"] == GATEWAY.namespace


def test_a_pod_that_must_go_waits_longer_for_its_answers_than_for_the_load_balancer(recorded: Recorder):
    def program():
        found = values(site())
        assert found["env"]["EXIT_ON_ZERO_ACTIVE_CONNECTIONS"] == "true"
        assert int(found["env"]["MINIMUM_DRAIN_DURATION"].rstrip("s")) < found["terminationGracePeriodSeconds"]

    run(program)


def test_the_status_port_is_not_published(recorded: Recorder):
    def program():
        assert {port["port"] for port in values(site())["service"]["ports"]} == {80, 443}

    run(program)


@pytest.mark.parametrize("several", [True, False])
def test_replicas_and_budget_follow_the_platforms_availability(several, recorded: Recorder):
    def program():
        found = values(site({"highlyAvailable": several}))
        assert found["autoscaling"]["enabled"] is several
        assert found["replicaCount"] == (2 if several else 1)
        assert bool(found["podDisruptionBudget"]) is several

    run(program)


DEFAULT = (Rule(backend=MODELS),)


def publish(host="api.llm.internal", rules=DEFAULT):
    place, gateway = install()
    route("api", host=host, rules=rules, site=place, parent=gateway, after=gateway.ready)


def test_a_route_waits_for_the_gateway_and_lives_in_its_namespace(recorded: Recorder):
    run(publish)
    made = recorded.one("kubernetes:networking.istio.io/v1:VirtualService")
    assert made.inputs["metadata"]["namespace"] == "istio-ingress"
    assert made.inputs["spec"]["gateways"] == ["public"]
    assert {"gateway-release", "gateway-entry"} <= made.depends_on


@pytest.mark.parametrize("host", ["api.elsewhere.com", "a.b.llm.internal", "llm.internal"])
def test_a_host_that_the_certificate_does_not_hold_is_refused(host, recorded: Recorder):
    def program():
        with pytest.raises(pulumi.RunError, match=r"one label below llm\.internal"):
            publish(host)

    run(program)


def test_two_rules_for_one_prefix_are_refused(recorded: Recorder):
    def program():
        with pytest.raises(pulumi.RunError, match="each prefix may stand once"):
            publish(rules=[Rule(backend=MODELS), Rule(backend=MODELS)])

    run(program)


def test_the_longest_prefix_wins_and_ends_at_a_segment():
    other = Backend(namespace="mlops-system", service="mlflow", port=80)
    found = virtual_service_of("a.b.c", [Rule(backend=MODELS), Rule(backend=other, prefix="/v1/")], 0)["http"]
    assert found[0]["match"] == [{"uri": {"exact": "/v1"}}, {"uri": {"prefix": "/v1/"}}]
    assert found[1]["match"] == [{"uri": {"prefix": "/"}}]


def test_a_request_that_a_model_may_have_begun_with_is_not_sent_again():
    (found,) = virtual_service_of("a.b.c", [Rule(backend=MODELS)], 0)["http"]
    retried = set(found["retries"]["retryOn"].split(","))
    assert not retried & {"5xx", "gateway-error", "reset", "retriable-4xx", "500", "502", "504"}
    assert found["timeout"] == "600s"


def test_retries_and_timeouts_can_be_switched_off_for_streams():
    stream = Backend(namespace="a", service="b", port=1, timeout_seconds=0, retries=0)
    (found,) = virtual_service_of("a.b.c", [Rule(backend=stream)], 0)["http"]
    assert "timeout" not in found
    assert found["retries"] == {"attempts": 0}


def test_browsers_are_told_to_insist_on_https_unless_the_setting_is_zero():
    (told,) = virtual_service_of("a.b.c", [Rule(backend=MODELS)], 365)["http"]
    assert told["headers"]["response"]["set"] == {"strict-transport-security": "max-age=31536000"}
    (silent,) = virtual_service_of("a.b.c", [Rule(backend=MODELS)], 0)["http"]
    assert "headers" not in silent


def test_a_pod_is_set_aside_for_gateway_errors_and_not_for_the_applications_own():
    found = destination_of(MODELS)["trafficPolicy"]["outlierDetection"]
    assert found["consecutive5xxErrors"] == 0
    assert found["consecutiveGatewayErrors"] > 0
    assert found["maxEjectionPercent"] < 100


def test_rules_for_a_backend_bind_the_gateway_alone():
    assert destination_of(MODELS)["exportTo"] == ["."]
