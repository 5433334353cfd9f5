"""The mesh: nothing in it is spoken to in the open, except what is opened by name."""

from __future__ import annotations

import json

import pulumi
import pytest
from aws_stack import run
from conftest import Recorder
from platform_site import options, site

from components.platform import telemetry
from components.platform.mesh import (
    Mesh,
    MeshArgs,
    istiod_values,
    mesh_config,
    openings,
    plaintext_port,
    telemetry_of,
)
from components.platform.openings import Pods
from components.settings.platform.mesh import MeshSettings

pytestmark = pytest.mark.unit

RELEASE = "kubernetes:helm.sh/v3:Release"
PEERS = "kubernetes:security.istio.io/v1:PeerAuthentication"
JWT = {
    "mode": "jwt",
    "jwt": {"issuer": "https://idp.test", "jwksUri": "https://idp.test/keys", "audiences": ["llm"]},
}


def install(settings=None):
    place = site(settings or {})
    return place, Mesh("mesh", MeshArgs(site=place), options(place))


def test_every_pod_of_the_mesh_is_strict(recorded: Recorder):
    run(install)
    strict = recorded.one(PEERS).inputs
    assert strict["metadata"]["namespace"] == "istio-system"
    assert strict["spec"] == {"mtls": {"mode": "STRICT"}}


def test_an_upgrade_goes_in_the_order_that_istio_supports(recorded: Recorder):
    """Definitions, control plane, node agents, node proxies: none may be newer than the one before it."""
    run(install)
    waits = {name: made.depends_on - {"mesh"} for name, made in recorded.of(RELEASE).items()}
    assert waits == {
        "mesh-base": frozenset(),
        "mesh-istiod": {"mesh-base"},
        "mesh-cni": {"mesh-istiod"},
        "mesh-ztunnel": {"mesh-cni"},
    }


def test_all_parts_are_of_one_version(recorded: Recorder):
    run(install)
    assert len({made.inputs["version"] for made in recorded.of(RELEASE).values()}) == 1


@pytest.mark.parametrize("several", [True, False])
def test_the_control_plane_is_small_where_it_may_be(several, recorded: Recorder):
    run(lambda: checked(several))


def checked(several: bool) -> None:
    found = istiod_values(site({"highlyAvailable": several}))
    assert found["autoscaleEnabled"] is several
    assert found["autoscaleMin"] == found["replicaCount"] == (2 if several else 1)
    assert bool(found["topologySpreadConstraints"]) is several


def test_a_webhook_is_opened_by_port_and_the_rest_of_its_pods_stays_strict(recorded: Recorder):
    def program():
        _, mesh = install()
        plaintext_port(
            "hook", namespace="mlops-serving", labels={"app": "hook"}, ports=[9443], parent=mesh, after=mesh.ready
        )

    run(program)
    made = recorded.one(PEERS, "hook")
    assert made.inputs["spec"] == {
        "selector": {"matchLabels": {"app": "hook"}},
        "mtls": {"mode": "STRICT"},
        "portLevelMtls": {"9443": {"mode": "PERMISSIVE"}},
    }
    assert "mesh-istiod" in made.depends_on


@pytest.mark.parametrize(("namespace", "labels"), [("istio-system", {"app": "a"}), ("mlops-serving", {})])
def test_what_istio_would_ignore_in_ambient_mode_is_refused(namespace, labels, recorded: Recorder):
    def program():
        _, mesh = install()
        with pytest.raises(pulumi.RunError, match="Istio ignores others"):
            plaintext_port("hook", namespace=namespace, labels=labels, ports=[1], parent=mesh, after=[])

    run(program)


def test_the_gateway_reports_every_request_to_the_collector_which_decides():
    (provider,) = mesh_config(traced=True)["extensionProviders"]
    (tracing,) = telemetry_of(MeshSettings(), traced=True)["tracing"]
    assert tracing["providers"] == [{"name": provider["name"]}]
    assert provider["opentelemetry"] == {"service": telemetry.HOST, "port": telemetry.GRPC_PORT}
    assert tracing["randomSamplingPercentage"] == 100, "whether it failed or was slow is known at its end"


def test_nothing_is_reported_where_nothing_is_traced():
    assert "extensionProviders" not in mesh_config(traced=False)
    assert telemetry_of(MeshSettings(), traced=False)["tracing"] == [{"disableSpanReporting": True}]


def test_the_gateway_may_reach_the_collector_only_where_requests_are_traced(recorded: Recorder):
    def reaches(settings) -> bool:
        return any(way.target == telemetry.COLLECTOR for way in openings(site(settings)))

    def program():
        assert reaches({})
        assert not reaches({"traces": {"enabled": False}})

    run(program)


def test_a_line_of_the_access_log_leads_to_its_trace():
    fields = json.loads(mesh_config(traced=True)["accessLogFormat"])
    assert fields["trace_id"] == "%TRACE_ID%"


def test_access_logs_are_on_and_can_be_switched_off():
    def logged(settings: MeshSettings):
        return telemetry_of(settings, traced=False)["accessLogging"]

    assert logged(MeshSettings()) == [{"providers": [{"name": "envoy"}]}]
    assert logged(MeshSettings.model_validate({"accessLogs": False})) == [{"disabled": True}]


def test_the_control_plane_reaches_the_internet_only_to_fetch_the_token_issuers_keys(recorded: Recorder):
    istiod = Pods(namespace="istio-system", labels={"app": "istiod"})

    def internet(settings) -> bool:
        return any(way.source == istiod and way.target == "internet" for way in openings(site(settings)))

    def program():
        assert internet({"gateway": {"authentication": JWT}})
        assert not internet({})
        assert not internet({"gateway": {"enabled": False, "authentication": JWT}})

    run(program)


def test_waypoints_are_understood_and_configured_only_where_they_are_wanted(recorded: Recorder):
    """Without the definitions istiod never looks for a waypoint; without a way to it a waypoint starts with nothing."""

    def proxies(settings: dict[str, object]) -> bool:
        ways = [way.source for way in openings(site(settings)) if isinstance(way.source, Pods)]
        return any("istio-waypoint" in pods.labels.values() for pods in ways)

    def program() -> None:
        install({"mesh": {"waypoints": True}})
        assert proxies({"mesh": {"waypoints": True}})
        assert not proxies({})

    run(program)
    assert "mesh-gateway-api" in recorded.of(RELEASE)["mesh-istiod"].depends_on
