"""Volcano: who may hold which GPUs, and a scheduler that works with nodes that come and go."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import pytest
from conftest import Recorded, Recorder
from platform_site import options, site

from components.aws.nodes import pool_of
from components.capacity import Request
from components.contract import NodePool
from components.platform.openings import team_namespace
from components.platform.quotas import SHARES, allowances
from components.platform.scheduling import (
    QUEUE_ANNOTATION,
    Scheduling,
    SchedulingArgs,
    at_most,
    namespace_annotations,
    queues,
    scheduler_config,
    shares,
    values,
)
from components.settings.nodes import NodeGroupSettings, table
from components.settings.teams import TeamSettings
from components.settings.workloads import table as capacity_table

pytestmark = pytest.mark.unit

GPU = "nvidia.com/gpu"
POOLS: tuple[NodePool, ...] = tuple(pool_of(group) for group in table())  # 8 training GPUs
TEAMS = (TeamSettings(name="research", gpus=4), TeamSettings(name="search", gpus=2))
_UNITS = {"m": 0.001, "Mi": 2**20, "Gi": 2**30}


def amount(quantity: str) -> float:
    found = re.fullmatch(r"(\d+)(\D*)", quantity)
    assert found, quantity
    return int(found[1]) * _UNITS.get(found[2], 1)


def declared(recorded: Recorder, teams: Sequence[TeamSettings] = TEAMS, **settings: Any) -> None:
    def program() -> None:
        place = site({"scheduling": settings}, teams=teams, pools=POOLS)
        Scheduling("scheduling", SchedulingArgs(site=place), options(place))

    recorded.run(program)


def queue_objects(recorded: Recorder) -> dict[str, Recorded]:
    found = recorded.of("kubernetes:scheduling.volcano.sh/v1beta1:Queue").values()
    return {one.inputs["metadata"]["name"]: one for one in found}


def release_values(recorded: Recorder) -> dict[str, Any]:
    return recorded.one("kubernetes:helm.sh/v3:Release").inputs["values"]["custom"]


def plugins(config: str, tier: int) -> dict[str, dict[str, Any]]:
    return {plugin["name"]: plugin for plugin in json.loads(config)["tiers"][tier]["plugins"]}


@pytest.mark.parametrize(
    ("claims", "available", "expected"),
    [
        ({"a": 2, "b": 1}, 8, {"a": 2, "b": 1}),
        ({"a": 4, "b": 4}, 8, {"a": 4, "b": 4}),
        ({"a": 6, "b": 6}, 8, {"a": 4, "b": 4}),
        ({"a": 8, "b": 4, "c": 4}, 4, {"a": 2, "b": 1, "c": 1}),
        ({"a": 1, "b": 1, "c": 1}, 2, {"a": 1, "b": 1, "c": 0}),
        ({"a": 3, "b": 0}, 0, {"a": 0, "b": 0}),
        ({}, 5, {}),
    ],
)
def test_promises_are_cut_in_proportion_where_there_are_too_few_gpus(
    claims: dict[str, int], available: int, expected: dict[str, int]
):
    assert shares(claims, available) == expected


@pytest.mark.parametrize("promised", [(4, 2), (8, 8), (0, 0), (7, 5), (1, 30)])
@pytest.mark.parametrize("training", [None, 0, 3, 20])
def test_what_all_queues_are_owed_can_be_given_at_once_and_is_within_each_ones_limit(
    promised: tuple[int, int], training: int | None
):
    teams = [TeamSettings(name=f"team{number}", gpus=gpus) for number, gpus in enumerate(promised)]
    made = queues(POOLS, teams, training_gpus=training)

    owed = [queue.deserved_gpus or 0 for queue in made]
    assert sum(owed) <= 8
    assert all(gpus <= queue.capability.gpus for gpus, queue in zip(owed, made, strict=True))


def test_the_platforms_own_jobs_are_owed_what_no_team_is_promised_and_may_use_everything():
    training, data, *_ = queues(POOLS, TEAMS, training_gpus=None)

    assert (training.deserved_gpus, training.capability.gpus) == (2, 8)
    assert (data.deserved_gpus, data.capability.gpus) == (None, 0)


def test_a_ceiling_is_what_the_largest_type_of_each_group_leaves():
    groups = [
        {"name": "a", "role": "gpu-training", "instanceTypes": ["g5.4xlarge", "g5.8xlarge"], "maxSize": 2},
        {"name": "b", "role": "gpu-training", "instanceTypes": ["g5.2xlarge"], "maxSize": 1},
        {"name": "c", "role": "gpu-inference", "instanceTypes": ["g5.2xlarge"], "maxSize": 9},
    ]
    pools = [pool_of(NodeGroupSettings.model_validate(group)) for group in groups]
    g8, g2 = pools[0].shapes[1], pools[1].shapes[0]

    found = at_most(pools, "gpu-training")

    assert found.gpus == 3
    assert found.cpu_millicores == 2 * (g8.cpu_millicores - 500) + g2.cpu_millicores - 500
    assert at_most([], "gpu-training") == Request()


def test_a_teams_queue_admits_exactly_what_its_namespaces_quota_admits():
    """A job that the queue lets through and the quota refuses, or the other way round, would wait without a reason."""
    allowed = allowances(capacity_table(), POOLS, TEAMS)

    for queue in queues(POOLS, TEAMS, training_gpus=None)[2:]:
        quota = allowed[queue.namespace]
        assert quota.gpus == queue.capability.gpus
        assert quota.cpu_millicores == queue.capability.cpu_millicores
        assert quota.memory_mib == queue.capability.memory_mib


def test_only_gpus_are_owed_and_nothing_is_guaranteed(recorded: Recorder):
    declared(recorded)
    made = queue_objects(recorded)

    assert set(made) == {"training", "data", "team-research", "team-search"}
    assert all(set(one.inputs["spec"].get("deserved", {GPU: ""})) == {GPU} for one in made.values())
    assert "deserved" not in made["data"].inputs["spec"]
    assert not any("guarantee" in one.inputs["spec"] for one in made.values())
    assert all(one.inputs["spec"]["reclaimable"] for one in made.values())
    assert all({"cpu", "memory", GPU} == set(one.inputs["spec"]["capability"]) for one in made.values())


def test_queues_come_after_their_definition_and_go_before_it(recorded: Recorder):
    declared(recorded)

    assert all("scheduling-release" in one.depends_on for one in queue_objects(recorded).values())


def test_pods_of_a_job_exist_before_there_is_room_so_that_the_autoscaler_sees_them():
    """With ``enqueue`` a group that starts from zero would never start."""
    actions = json.loads(scheduler_config(preemption=True))["actions"].split(", ")

    assert "enqueue" not in actions
    assert actions.index("reclaim") < actions.index("preempt")
    assert "preempt" not in json.loads(scheduler_config(preemption=False))["actions"]


def test_shares_decide_who_gives_way_and_no_gang_is_exempt():
    first, second = (plugins(scheduler_config(preemption=True), tier) for tier in (0, 1))

    assert {"conformance", "capacity"} <= set(first)
    assert first["gang"]["enableReclaimable"] is False
    assert first["gang"]["enablePreemptable"] is False
    assert "proportion" not in {**first, **second}, "it and capacity exclude each other"


def test_gpus_are_filled_up_before_another_node_is_taken():
    second = plugins(scheduler_config(preemption=True), 1)

    packing, spreading = second["binpack"]["arguments"], second["nodeorder"]["arguments"]
    assert packing["binpack.resources"] == GPU
    assert packing[f"binpack.resources.{GPU}"] > 1
    assert spreading["leastrequested.weight"] == spreading["balancedresource.weight"] == 0


def test_a_dead_webhook_stops_no_pod_outside_of_the_namespaces_whose_jobs_it_schedules(recorded: Recorder):
    declared(recorded)
    chosen = release_values(recorded)

    (selector,) = chosen["webhooks_namespace_selector_expressions"]
    assert (selector["key"], selector["operator"]) == ("kubernetes.io/metadata.name", "In")
    assert selector["values"] == ["mlops-data", "mlops-training", "team-research", "team-search"]
    enabled = chosen["enabled_admissions"]
    assert "/pods/" not in enabled
    assert "/queues/" not in enabled, "queues are cluster-wide: no selector would spare them"


def test_a_job_without_a_queue_gets_that_of_its_namespace(recorded: Recorder):
    declared(recorded)

    assert "/podgroups/mutate" in release_values(recorded)["enabled_admissions"]
    said = {name: annotations[QUEUE_ANNOTATION] for name, annotations in namespace_annotations(TEAMS).items()}
    assert said == {queue.namespace: queue.name for queue in queues(POOLS, TEAMS, training_gpus=None)}


def test_every_replica_that_does_not_lead_waits(recorded: Recorder):
    declared(recorded)
    chosen = release_values(recorded)

    assert chosen["leader_elect_enable"] is True
    assert {chosen[f"{part}_replicas"] for part in ("admission", "controller", "scheduler")} == {2}
    budgets = recorded.of("kubernetes:policy/v1:PodDisruptionBudget").values()
    apps = {one.inputs["spec"]["selector"]["matchLabels"]["app"] for one in budgets}
    assert apps == {"volcano-admission", "volcano-controller", "volcano-scheduler"}


def test_a_small_stack_has_one_replica_and_no_budget_that_would_hold_up_a_drain(recorded: Recorder):
    def program() -> None:
        place = site({"highlyAvailable": False}, pools=POOLS)
        Scheduling("scheduling", SchedulingArgs(site=place), options(place))

    recorded.run(program)
    chosen = release_values(recorded)

    assert {chosen[f"{part}_replicas"] for part in ("admission", "controller", "scheduler")} == {1}
    assert not recorded.of("kubernetes:policy/v1:PodDisruptionBudget")
    assert not any(key.endswith("_affinity") for key in chosen)


def test_two_replicas_and_a_third_of_each_during_a_roll_out_fit_the_namespaces_share(recorded: Recorder):
    requests: list[dict[str, str]] = []

    def program() -> None:
        chosen = values(site(pools=POOLS), ["mlops-training"])["custom"]
        requests.extend(chosen[f"{part}_resources"]["requests"] for part in ("admission", "controller", "scheduler"))

    recorded.run(program)
    share = SHARES["volcano-system"]

    assert 3 * sum(amount(one["cpu"]) for one in requests) <= share.cpu_millicores / 1000
    assert 3 * sum(amount(one["memory"]) for one in requests) <= share.memory_mib * 2**20


def test_gangs_in_anothers_queue_are_refused_where_the_api_server_can(recorded: Recorder):
    declared(recorded)

    rule = recorded.one("kubernetes:admissionregistration.k8s.io/v1:ValidatingAdmissionPolicy").inputs["spec"]
    (selector,) = rule["matchConstraints"]["namespaceSelector"]["matchExpressions"]
    assert team_namespace("search") in selector["values"]
    assert '"team-search": "team-search"' in rule["validations"][0]["expression"]
    binding = recorded.one("kubernetes:admissionregistration.k8s.io/v1:ValidatingAdmissionPolicyBinding").inputs["spec"]
    assert binding["validationActions"] == ["Deny"]


def test_volcanos_own_monitoring_stays_out(recorded: Recorder):
    declared(recorded)

    assert not release_values(recorded).get("metrics_enable", False)
