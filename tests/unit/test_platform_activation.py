"""Scale to zero: requests are held in the mesh, and everybody who must reach whom can."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import Recorder
from platform_openings import emitted, everything
from platform_site import Identities, options, site

from components.platform.activation import (
    ACTIVATOR,
    NAMESPACE,
    PORT,
    Activation,
    ActivationArgs,
    hosts,
    openings,
    own_timeouts,
)
from components.platform.namespaces import ROOMS
from components.platform.openings import LITELLM, Pods
from components.platform.runtimes import RUNTIMES
from components.settings.teams import TeamSettings

pytestmark = pytest.mark.unit


def declared(recorded: Recorder, identities: Identities | None = None, **platform: Any) -> dict[str, Any]:
    def program() -> None:
        place = site(platform, identities=identities)
        Activation("activation", ActivationArgs(site=place, autoscaling=(), mesh=()), options(place))

    recorded.run(program)
    return recorded.one("kubernetes:helm.sh/v3:Release").inputs["values"]


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


def test_the_activator_is_in_the_mesh_as_the_models_are():
    """Models take connections of the mesh only; KEDA's namespace is outside of it."""
    assert ROOMS[NAMESPACE].mesh
    assert not ROOMS["keda"].mesh


def test_keda_reaches_the_scaler_without_an_identity_of_the_mesh_and_nothing_else_is_opened(recorded: Recorder):
    declared(recorded)

    spec = recorded.one("kubernetes:security.istio.io/v1:PeerAuthentication").inputs["spec"]
    assert spec["mtls"] == {"mode": "STRICT"}
    assert spec["portLevelMtls"] == {"9090": {"mode": "PERMISSIVE"}}
    assert spec["selector"]["matchLabels"]["app.kubernetes.io/component"] == "scaler"


def test_without_a_mesh_no_exception_from_it_is_declared(recorded: Recorder):
    declared(recorded, mesh={"enabled": False}, gateway={"enabled": False})

    assert not recorded.of("kubernetes:security.istio.io/v1:PeerAuthentication")


def test_a_proxy_that_must_go_has_time_for_what_it_holds(recorded: Recorder):
    chosen = declared(recorded, serving={"coldStart": {"weightsSeconds": 900}, "answerSeconds": 1200})["interceptor"]
    waits = own_timeouts(site({"serving": {"coldStart": {"weightsSeconds": 900}, "answerSeconds": 1200}}))

    leaving = seconds(chosen["shutdownDelay"]) + seconds(chosen["drainTimeout"])
    assert seconds(chosen["drainTimeout"]) >= waits.activation + 1200
    assert chosen["terminationGracePeriodSeconds"] >= leaving


def test_proxies_and_scalers_stand_apart_where_the_stack_is_highly_available(recorded: Recorder):
    chosen = declared(recorded)

    assert chosen["interceptor"]["replicas"]["min"] == chosen["scaler"]["replicas"] == 2
    for part in ("interceptor", "scaler"):
        spread = chosen[part]["topologySpreadConstraints"]
        selected = {one["labelSelector"]["matchLabels"]["app.kubernetes.io/component"] for one in spread}
        assert selected == {part}
    budget = recorded.one("kubernetes:policy/v1:PodDisruptionBudget").inputs["spec"]
    assert budget["selector"]["matchLabels"]["app.kubernetes.io/component"] == "scaler"


def test_a_small_stack_has_one_of_each_and_no_budget_that_would_keep_nodes(recorded: Recorder):
    chosen = declared(recorded, highlyAvailable=False)

    assert chosen["interceptor"]["replicas"]["min"] == chosen["scaler"]["replicas"] == 1
    assert chosen["interceptor"]["pdb"] == {"enabled": False}
    assert not recorded.of("kubernetes:policy/v1:PodDisruptionBudget")


def test_nothing_of_it_has_a_cloud_identity(recorded: Recorder):
    asked = Identities()
    declared(recorded, asked)

    assert asked.granted == []


def test_the_activator_reaches_every_server_whose_requests_it_holds_and_no_other_port_of_a_team():
    """It speaks to the service's port 80, which is the server's own behind it."""
    ways = [
        way
        for way in openings(site(teams=[TeamSettings(name="nlp"), TeamSettings(name="search")]))
        if way.source == ACTIVATOR and isinstance(way.target, Pods)
    ]

    assert {way.target.namespace for way in ways if isinstance(way.target, Pods)} == {
        "mlops-serving",
        "team-nlp",
        "team-search",
    }
    assert all({runtime.port for runtime in RUNTIMES.values()} <= set(way.ports) for way in ways)


def test_only_the_model_gateway_is_let_to_the_activator_from_other_systems():
    callers = [way.source for way in openings(site()) if way.target == ACTIVATOR and PORT in way.ports]

    assert callers == [LITELLM]


def test_switched_off_it_opens_nothing():
    assert openings(site({"serving": {"activation": {"enabled": False}}})) == ()


def test_its_openings_make_policies_in_namespaces_that_are_there():
    place = site(teams=[TeamSettings(name="nlp"), TeamSettings(name="search")])

    assert emitted([*everything(place), *openings(place)])


def test_a_model_is_known_by_the_name_that_is_given_out():
    first, *others = hosts("small", "team-nlp")

    assert first == "small.team-nlp.svc.cluster.local"
    assert all(first.startswith(f"{other}.") for other in others)
