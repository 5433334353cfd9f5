"""Quotas: the capacity table, shared out so that what was promised fits and nobody takes more."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from generated_section import assert_current

from components.aws.nodes import pool_of
from components.capacity import DAEMONSETS
from components.contract import NodePool
from components.platform import quotas
from components.platform.namespaces import ROOMS
from components.platform.openings import Namespace
from components.platform.quotas import Allowance, allowances, limit_range_spec, quota_specs
from components.settings import Settings, SettingsError, parse
from components.settings.platform.isolation import ContainerSettings
from components.settings.teams import TeamSettings

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]


def settings(stack: str, **changed: Any) -> Settings:
    document = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())
    given = {key.removeprefix("llmops:"): value for key, value in document["config"].items()}
    return parse({**given, "teams": [], **changed})


def pools(of: Settings) -> list[NodePool]:
    return [pool_of(group) for group in of.node_groups]


def of_stack(stack: str, **changed: Any) -> dict[str, Allowance]:
    chosen = settings(stack, **changed)
    return allowances(chosen.workloads, pools(chosen), chosen.teams)


def without_nodes(stack: str) -> dict[str, Allowance]:
    """What is left when there are no nodes: no agents on them, no GPUs."""
    chosen = settings(stack)
    return allowances(chosen.workloads, [], chosen.teams)


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_the_shares_of_the_platform_are_the_row_of_the_capacity_table_and_no_more(stack: str):
    shares = [one for name, one in without_nodes(stack).items() if name != "mlops-data"]

    def whole(field: str) -> int:
        return sum(getattr(one, field) or 0 for one in shares)

    aside = quotas.SET_ASIDE
    assert whole("cpu_millicores") + aside.cpu_millicores == 16_000
    assert whole("memory_mib") + aside.memory_mib == 32 * 1024
    assert whole("disk_gib") + aside.ephemeral_storage_gib == 100
    assert whole("volumes_gib") == whole("disk_gib")


def test_a_smaller_row_is_shared_out_in_the_same_proportions():
    row = {"name": "platform", "role": "system", "vcpu": 8, "memoryGib": 16, "storageGib": 50}
    halved = settings("dev", workloads=[row])
    small, table = allowances(halved.workloads, [], ()), without_nodes("dev")
    assert small["argocd"].cpu_millicores == (table["argocd"].cpu_millicores or 0) / 2
    assert small["monitoring"].volumes_gib == (table["monitoring"].volumes_gib or 0) / 2


def test_every_namespace_has_an_allowance():
    assert set(of_stack("prod")) == set(get_args(Namespace))


def test_data_processing_has_its_row():
    data = of_stack("prod")["mlops-data"]
    assert (data.cpu_millicores, data.memory_mib, data.disk_gib) == (32_000, 128 * 1024, 500)
    assert data.gpus == 0


@pytest.mark.parametrize(("stack", "training", "serving"), [("dev", 1, 1), ("prod", 16, 8)])
def test_training_and_serving_get_for_every_gpu_of_their_role_what_the_table_gives_to_one(
    stack: str, training: int, serving: int
):
    found = of_stack(stack)
    trains, serves = found["mlops-training"], found["mlops-serving"]
    gateway = quotas.SHARES["mlops-serving"]
    assert (trains.gpus, serves.gpus) == (training, serving)
    assert (trains.cpu_millicores, trains.memory_mib) == (8_000 * training, 32 * 1024 * training)
    assert serves.cpu_millicores == 4_000 * serving + gateway.cpu_millicores
    assert serves.memory_mib == 24 * 1024 * serving + gateway.memory_mib


def test_of_several_rows_of_a_role_the_one_that_gives_most_to_a_gpu_counts():
    rows = [
        {"name": "small", "role": "gpu-training", "vcpu": 3, "memoryGib": 12, "gpus": 1},
        {"name": "wide", "role": "gpu-training", "vcpu": 40, "memoryGib": 160, "gpus": 4},
    ]
    four = {
        "name": "training",
        "role": "gpu-training",
        "instanceTypes": ["g5.12xlarge"],
        "maxSize": 2,
    }
    system = {"name": "system", "role": "system", "instanceTypes": ["m6i.xlarge"], "minSize": 2, "maxSize": 6}
    training = of_stack("dev", workloads=rows, nodeGroups=[system, four])["mlops-training"]
    assert training.gpus == 8
    assert (training.cpu_millicores, training.memory_mib) == (8 * 10_000, 8 * 40 * 1024)


def test_agents_on_every_node_fit_beside_the_share_when_all_groups_are_full_and_being_replaced():
    chosen = settings("prod")
    nodes = sum(group.max_size for group in chosen.node_groups)
    gpu_nodes = sum(group.max_size for group in chosen.node_groups if group.role.startswith("gpu"))
    found = of_stack("prod")
    for name, one, count in (
        ("istio-system", quotas.PER_NODE["istio-system"], nodes),
        ("monitoring", quotas.PER_NODE["monitoring"], nodes),
        ("velero", quotas.PER_NODE["velero"], nodes),
        ("gpu-system", quotas.PER_GPU_NODE["gpu-system"], gpu_nodes),
    ):
        least = quotas.SHARES[name].cpu_millicores + one.cpu_millicores * (count + 6)
        assert (found[name].cpu_millicores or 0) >= least, name


def test_agents_stay_within_what_the_node_table_keeps_for_them():
    """The cluster's own agents take 210 millicores and about 200 MiB of it."""
    agents = [*quotas.PER_NODE.values(), *quotas.PER_GPU_NODE.values()]
    assert sum(one.cpu_millicores for one in agents) + 210 <= DAEMONSETS.cpu_millicores
    assert sum(one.memory_mib for one in agents) + 200 <= DAEMONSETS.memory_mib


def test_a_teams_namespace_has_the_teams_numbers():
    team = {"name": "nlp", "gpus": 1, "vcpu": 12, "memoryGib": 48, "storageGib": 0}
    nlp = of_stack("dev", teams=[team])["team-nlp"]
    hard = quota_specs(nlp)["capacity"]["hard"]
    assert hard["requests.nvidia.com/gpu"] == "1"
    assert (hard["requests.cpu"], hard["requests.memory"], hard["requests.storage"]) == ("12", "48Gi", "0")
    assert "requests.ephemeral-storage" not in hard  # a team declares none


def test_gpus_are_closed_where_none_belong_and_only_the_gateway_gets_a_load_balancer():
    hard = {name: quota_specs(one)["capacity"]["hard"] for name, one in of_stack("prod").items()}
    with_gpus = {name for name, one in hard.items() if one["requests.nvidia.com/gpu"] != "0"}
    assert with_gpus == {"mlops-training", "mlops-serving"}
    assert {name for name, one in hard.items() if one["services.loadbalancers"] != "0"} == {"istio-ingress"}
    assert {one["services.nodeports"] for one in hard.values()} == {"0"}


def test_without_a_row_nothing_is_counted_but_gpus_and_ways_in():
    hard = quota_specs(of_stack("dev", workloads=[])["argocd"])["capacity"]["hard"]
    assert sorted(hard) == ["requests.nvidia.com/gpu", "services.loadbalancers", "services.nodeports"]


def test_workloads_and_teams_cannot_take_the_platforms_priority():
    found = of_stack("prod", teams=[{"name": "nlp"}])
    closed = {name for name, one in found.items() if "reserved-priorities" in quota_specs(one)}
    assert closed == {"mlops-data", "mlops-training", "mlops-serving", "team-nlp"}
    quota = quota_specs(found["team-nlp"])["reserved-priorities"]
    assert quota["hard"] == {"pods": "0"}
    assert "system-node-critical" in quota["scopeSelector"]["matchExpressions"][0]["values"]


@pytest.mark.parametrize(
    ("millicores", "mib", "cpu", "memory"),
    [(1500, 1536, "1500m", "1536Mi"), (4000, 2048, "4", "2Gi"), (128_000, 1024 * 1024, "128", "1Ti")],
)
def test_amounts_are_written_as_the_api_server_writes_them(millicores: int, mib: int, cpu: str, memory: str):
    hard = quota_specs(Allowance(cpu_millicores=millicores, memory_mib=mib))["capacity"]["hard"]
    assert (hard["requests.cpu"], hard["requests.memory"]) == (cpu, memory)


def test_a_container_without_resources_gets_some_and_never_a_gpu():
    (limits,) = limit_range_spec(ContainerSettings())["limits"]
    assert "max" not in limits  # a maximum is a default too
    assert set(limits["defaultRequest"]) == {"cpu", "memory"}
    assert set(limits["default"]) == {"memory"}


def test_default_limits_below_the_request_are_refused():
    with pytest.raises(ValueError, match="must be at least memoryRequestMib 1024; got 512"):
        ContainerSettings.model_validate({"memoryRequestMib": 1024, "memoryLimitMib": 512})


def test_teams_have_names_of_their_own():
    with pytest.raises(SettingsError, match=r"teams\[0\].name: must be unique; 2 teams are named nlp"):
        settings("dev", teams=[{"name": "nlp"}, {"name": "nlp"}])


def test_teams_cannot_be_promised_gpus_that_no_node_group_has():
    teams = [{"name": "nlp", "gpus": 2}, {"name": "search", "gpus": 1}]
    with pytest.raises(SettingsError) as refusal:
        settings("dev", teams=teams)
    (problem,) = refusal.value.problems
    assert problem.path == "teams"
    assert "ask for 3 GPUs (nlp 2, search 1), the node groups at their maximum have 2" in problem.message
    assert settings("prod", teams=teams).teams[0] == TeamSettings(name="nlp", gpus=2)


def table() -> str:
    """Every namespace with what it is for and what production gives it."""
    found = of_stack("prod")
    lines = [
        "| namespace | for | Pod Security | mesh | vCPU | memory, GiB | GPUs |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, room in ROOMS.items():
        one = found[name]
        level = room.security.level if room.security else "restricted"
        cpu, memory = (one.cpu_millicores or 0) / 1000, (one.memory_mib or 0) / 1024
        meshed = "yes" if room.mesh else ""
        lines.append(f"| `{name}` | {room.purpose} | {level} | {meshed} | {cpu:g} | {memory:.1f} | {one.gpus or ''} |")
    return "\n".join(lines)


def test_the_document_has_the_table_of_namespaces(request: pytest.FixtureRequest):
    assert_current(ROOT / "docs" / "isolation.md", "namespaces", table(), request)
