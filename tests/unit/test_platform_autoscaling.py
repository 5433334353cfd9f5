"""KEDA: one owner of external metrics, with no more rights than its triggers need."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import Recorder
from platform_site import Identities, options, site
from pydantic import ValidationError

from components.platform.autoscaling import OPENINGS, Autoscaling, AutoscalingArgs
from components.platform.openings import Pods
from components.platform.quotas import SHARES
from components.settings.platform.autoscaling import AutoscalingSettings

pytestmark = pytest.mark.unit


def declared(recorded: Recorder, identities: Identities | None = None, **platform: Any) -> dict[str, Any]:
    def program() -> None:
        place = site(platform, identities=identities)
        Autoscaling("autoscaling", AutoscalingArgs(site=place), options(place))

    recorded.run(program)
    return recorded.one("kubernetes:helm.sh/v3:Release").inputs["values"]


def test_it_reads_no_secret_of_another_namespace_and_has_no_cloud_identity(recorded: Recorder):
    asked = Identities()
    chosen = declared(recorded, asked)

    assert chosen["permissions"]["operator"]["restrict"]["secret"] is True
    assert chosen["permissions"]["metricServer"]["restrict"]["secret"] is True
    assert asked.granted == []


def test_it_scales_deployments_and_stateful_sets_and_only_further_kinds_that_are_named(recorded: Recorder):
    assert declared(recorded)["rbac"] == {"enabledCustomScaledRefKinds": False}


def test_a_named_kind_is_split_into_plural_and_group(recorded: Recorder):
    rbac = declared(recorded, autoscaling={"scaledKinds": ["leaderworkersets.leaderworkerset.x-k8s.io"]})["rbac"]

    assert rbac["scaledRefKinds"] == [{"apiGroup": "leaderworkerset.x-k8s.io", "kind": "leaderworkersets"}]


@pytest.mark.parametrize("kind", ["*.*", "deployments", "LeaderWorkerSet.x-k8s.io", ""])
def test_a_kind_is_one_plural_of_one_group(kind: str):
    with pytest.raises(ValidationError):
        AutoscalingSettings.model_validate({"scaledKinds": [kind]})


@pytest.mark.parametrize(("available", "replicas"), [(True, 2), (False, 1)])
def test_each_part_has_a_second_replica_on_another_node_where_the_stack_is_highly_available(
    recorded: Recorder, available: bool, replicas: int
):
    chosen = declared(recorded, highlyAvailable=available)

    assert {chosen[part]["replicaCount"] for part in ("operator", "metricsServer", "webhooks")} == {replicas}
    assert bool(chosen["podDisruptionBudget"]) is available
    spread = chosen["topologySpreadConstraints"]
    assert set(spread) == ({"operator", "metricsServer", "webhooks"} if available else set())
    assert all(one["labelSelector"]["matchLabels"] for part in spread.values() for one in part)


def test_a_third_replica_of_each_part_fits_the_namespaces_share(recorded: Recorder):
    requests = [one["requests"] for one in declared(recorded)["resources"].values()]
    share = SHARES["keda"]

    assert 3 * sum(int(one["cpu"].removesuffix("m")) for one in requests) <= share.cpu_millicores
    assert 3 * sum(int(one["memory"].removesuffix("Mi")) for one in requests) <= share.memory_mib


def test_the_metrics_api_can_ask_the_operator():
    """Values go from operator to metrics API by gRPC; without the way every autoscaler reads nothing."""
    inside = [one for one in OPENINGS if isinstance(one.source, Pods) and isinstance(one.target, Pods)]

    assert any(
        one.source.labels == {"app": "keda-operator-metrics-apiserver"}
        and one.target.labels == {"app": "keda-operator"}
        and one.ports == (9666,)
        for one in inside
        if isinstance(one.source, Pods) and isinstance(one.target, Pods)
    )
