"""The mesh: nothing in it is spoken to in the open, except what is opened by name."""

from __future__ import annotations

import pulumi
import pytest
from aws_stack import run
from conftest import Recorder
from platform_site import options, site

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
TRACED = {"tracing": {"enabled": True, "collector": "collector.monitoring.svc", "samplingPercent": 5}}
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


def test_traces_are_off_until_a_collector_is_there():
    quiet = MeshSettings()
    assert "extensionProviders" not in mesh_config(quiet)
    assert telemetry_of(quiet)["tracing"] == [{"disableSpanReporting": True}]

    loud = MeshSettings.model_validate(TRACED)
    (provider,) = mesh_config(loud)["extensionProviders"]
    (tracing,) = telemetry_of(loud)["tracing"]
    assert tracing["providers"] == [{"name": provider["name"]}]
    assert provider["opentelemetry"] == {"service": "collector.monitoring.svc", "port": 4317}
    assert tracing["randomSamplingPercentage"] == 5


def test_access_logs_are_on_and_can_be_switched_off():
    assert telemetry_of(MeshSettings())["accessLogging"] == [{"providers": [{"name": "envoy"}]}]
    assert telemetry_of(MeshSettings.model_validate({"accessLogs": False}))["accessLogging"] == [{"disabled": True}]


def test_the_control_plane_reaches_the_internet_only_to_fetch_the_token_issuers_keys(recorded: Recorder):
    istiod = Pods(namespace="istio-system", labels={"app": "istiod"})

    def internet(settings) -> bool:
        return any(way.source == istiod and way.target == "internet" for way in openings(site(settings)))

    def program():
        assert internet({"gateway": {"authentication": JWT}})
        assert not internet({})
        assert not internet({"gateway": {"enabled": False, "authentication": JWT}})

    run(program)


def test_the_way_to_the_collector_is_open_only_where_traces_are_sent(recorded: Recorder):
    def ports(settings) -> set[int]:
        return {port for way in openings(site(settings)) for port in way.ports}

    def program():
        assert 4317 in ports({"mesh": TRACED})
        assert 4317 not in ports({})

    run(program)
