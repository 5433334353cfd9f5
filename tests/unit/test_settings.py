"""Settings: what is accepted, and how refusals read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml

from components.settings import Settings, SettingsError, load_settings, parse, reference

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
LEAST: dict[str, Any] = {"owner": "ml-platform", "costCenter": "ml"}


def configure(values: dict[str, Any]) -> None:
    """Hand settings over as the engine does: scalars as text, the rest as JSON."""
    text = {k: v if isinstance(v, str) else json.dumps(v) for k, v in values.items()}
    pulumi.runtime.set_all_config({f"llmops:{k}": v for k, v in text.items()})


def of_stack(stack: str) -> dict[str, Any]:
    document = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())
    return {key.removeprefix("llmops:"): value for key, value in document["config"].items()}


def refused(**values: Any) -> list[str]:
    """The lines of the refusal, without its heading."""
    with pytest.raises(SettingsError) as refusal:
        parse({**LEAST, **values})
    return [line.strip() for line in str(refusal.value).splitlines()[1:]]


def group(**values: Any) -> dict[str, Any]:
    return {"name": "system", "role": "system", "instanceTypes": ["m6i.xlarge"], "minSize": 2, "maxSize": 6, **values}


def gpu(role: str, *types: str, **values: Any) -> dict[str, Any]:
    return {"name": role, "role": role, "instanceTypes": list(types), "maxSize": 4, **values}


ADMIN = {"principalArn": "arn:aws:iam::123456789012:role/admin", "policy": "admin"}
CPU = {"name": "cpu", "role": "cpu", "instanceTypes": ["m6i.2xlarge"], "maxSize": 10}


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_the_shipped_stacks_are_valid_and_keep_the_four_roles(stack: str):
    configure(of_stack(stack))
    settings = load_settings()
    assert {g.role for g in settings.node_groups} == {"system", "cpu", "gpu-training", "gpu-inference"}


def test_production_follows_the_architectures_node_table():
    groups = {g.name: g for g in parse(of_stack("prod")).node_groups}
    table = {
        "system": ("m6i.xlarge", 2, 6, "on-demand"),
        "cpu": ("m6i.2xlarge", 2, 10, "on-demand"),
        "gpu-training": ("g5.xlarge", 0, 8, "spot"),
        "gpu-inference": ("g5.xlarge", 1, 4, "on-demand"),
    }
    for name, row in table.items():
        found = groups[name]
        assert (found.instance_types[0], found.min_size, found.max_size, found.capacity) == row


def test_everything_but_the_owner_and_the_cost_center_has_a_default():
    settings = parse(LEAST)
    assert settings.zones == ("us-east-1a", "us-east-1b", "us-east-1c")
    assert settings.protect is True


def test_settings_cannot_be_changed_after_they_were_judged():
    with pytest.raises(ValueError, match="frozen"):
        parse(LEAST).owner = "somebody"  # type: ignore[misc]


def test_scalars_arrive_from_the_engine_as_text():
    configure({**LEAST, "costCenter": "0042", "protect": "false"})
    settings = load_settings()
    assert settings.cost_center == "0042"
    assert settings.protect is False


def test_an_account_number_keeps_its_leading_zero_when_yaml_read_a_number():
    assert parse({**LEAST, "aws": {"accountId": 12345678901}}).aws.account_id == "012345678901"


def test_settings_of_other_namespaces_are_left_alone():
    configure(LEAST)
    pulumi.runtime.set_config("aws:region", "eu-west-1")
    assert load_settings().aws.region == "us-east-1"


def test_every_problem_is_reported_at_once_with_its_path():
    allowed = ", ".join(field.alias or "" for field in Settings.model_fields.values())
    lines = refused(
        cloud="azure",
        nodeGroups=[group(minSize=3, maxSize=1, spot=True)],
        database={"storageGib": 1},
        aws={"drRegion": "us-east-1"},
        alarms={"emails": ["nobody"]},
        owned="typo",
    )
    assert lines == [
        "cloud: must be aws, gcp or onprem; got azure",
        "nodeGroups[0].maxSize: must be at least minSize 3; got 1",
        "nodeGroups[0].spot: unknown setting; allowed: name, role, capacity, instanceTypes, minSize, maxSize, "
        "desiredSize, rootVolumeGib, zones",
        "database.storageGib: must be at least 20; got 1",
        "alarms.emails[0]: must be an e-mail address; got nobody",
        f"owned: unknown setting; did you mean owner? allowed: {allowed}",
        "aws.drRegion: must differ from aws.region; got us-east-1",
    ]


def test_a_list_is_not_called_too_short_for_what_is_wrong_with_its_entries():
    dataset = {"name": "a", "tokenizer": {"source": "hf://a/b", "revision": "1" * 40}}
    assert refused(datasets=[{**dataset, "sources": ["elsewhere"]}]) == [
        "datasets[0].sources[0]: must be a path below raw/ in the bucket data, such as raw/corpus/; got elsewhere"
    ]
    assert refused(datasets=[{**dataset, "sources": []}]) == ["datasets[0].sources: must hold at least 1; got 0"]


def test_a_refusal_is_one_that_pulumi_prints_without_a_traceback():
    assert issubclass(SettingsError, pulumi.RunError)


def test_what_is_missing_is_named():
    with pytest.raises(SettingsError, match=r"owner: must be set\n  costCenter: must be set"):
        parse({})


def test_secrets_are_refused_without_showing_them():
    pulumi.runtime.set_all_config({"llmops:owner": "hunter2"}, ["llmops:owner"])
    with pytest.raises(SettingsError, match="owner: must not be a secret") as refusal:
        load_settings()
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"protect": "maybe"}, "protect: must be true or false; got maybe"),
        (
            {"network": "10.0.0.0/16"},
            "network: input should be a valid dictionary or instance of NetworkSettings; got 10.0.0.0/16",
        ),
        ({"aws": {"region": "mars-1"}}, "aws.region: must be one of af-south-1"),
        ({"network": {"zones": ["us-east-1a"]}}, "network.zones: must name two or three zones"),
        (
            {"network": {"zones": ["us-east-1a", "us-east-1a"]}},
            "network.zones: must name each zone once; us-east-1a comes",
        ),
        (
            {"network": {"zones": ["us-east-1a", "eu-west-1b"]}},
            "network.zones[1]: must be one of us-east-1a, us-east-1b",
        ),
        ({"network": {"cidr": "10.0.0.1/16"}}, "network.cidr: must be an IPv4 network such as 10.0.0.0/16"),
        ({"network": {"cidr": "10.0.0.0/24"}}, "network.cidr: must be a /16 to /20"),
        ({"network": {"cidr": "8.8.0.0/16"}}, "network.cidr: must lie in 10.0.0.0/8"),
        ({"network": {"natGateways": "two"}}, "network.natGateways: must be single or per-zone; got two"),
        ({"network": {"flowLogsRetentionDays": 10}}, "network.flowLogsRetentionDays: must be one of 1, 3, 5"),
        ({"cluster": {"kubernetesVersion": 1.30}}, "cluster.kubernetesVersion: must be in quotes"),
        ({"cluster": {"kubernetesVersion": "1.31"}}, "cluster.kubernetesVersion: must be one of 1.32"),
        (
            {"cluster": {"kubernetesVersion": "1.34"}},
            "cluster.addonVersions.kube-proxy: must be set to a version for Kub",
        ),
        (
            {"cluster": {"serviceCidr": "10.0.64.0/20"}},
            "cluster.serviceCidr: must not overlap network.cidr 10.0.0.0/16",
        ),
        (
            {"cluster": {"publicAccessCidrs": ["0.0.0.0/0"]}},
            "cluster.publicAccessCidrs: must name networks of your own",
        ),
        (
            {"cluster": {"addonVersions": {"vpc-cni": "latest"}}},
            "cluster.addonVersions: must be versions such as v1.2.3",
        ),
        (
            {"cluster": {"access": [{**ADMIN, "policy": "viewer", "namespaces": ["serving"]}]}},
            "cluster.access[0].namespaces: must be empty with policy viewer; only admin, edit, view can be confined",
        ),
        (
            {"cluster": {"access": [{"principalArn": ADMIN["principalArn"]}]}},
            "cluster.access[0].teams: must name a team where there is no policy, or the entry lets nobody do anything",
        ),
        (
            {"cluster": {"access": [{**ADMIN, "teams": ["search"]}]}},
            "cluster.access[0].teams[0]: must be a team, and the stack has none; got search",
        ),
        (
            {"cluster": {"access": [{**ADMIN, "teams": ["serch"]}]}, "teams": [{"name": "search"}]},
            "cluster.access[0].teams[0]: must be one of the stack's teams search; got serch",
        ),
        (
            {"aws": {"hostedZoneId": "/hostedzone/Z0123456789ABC"}},
            "aws.hostedZoneId: must match ^(Z[A-Z0-9]{1,31})?$; got /hostedzone/Z0123456789ABC",
        ),
        (
            {"cluster": {"access": [{"principalArn": "me", "policy": "view"}]}},
            "cluster.access[0].principalArn: must match",
        ),
        ({"objects": {"replicate": True}}, "objects.replicate: needs aws.drRegion"),
        ({"database": {"replicateBackups": True}}, "database.replicateBackups: needs aws.drRegion"),
        ({"registry": {"upstreams": {"docker.io": ""}}}, "registry.upstreams: docker.io needs the ARN of a secret"),
        ({"registry": {"upstreams": {"quay.io": "x"}}}, "registry.upstreams: quay.io takes no credentials"),
        ({"keyDeletionDays": "3"}, "keyDeletionDays: must be at least 7; got 3"),
        ({"tags": {"owner": "me"}}, "tags: must not be aws:* or project, stack, owner"),
        ({"nodeGroups": []}, "nodeGroups: must hold a group of role system"),
        ({"nodeGroups": [group(capacity="spot")]}, "nodeGroups[0].capacity: must be on-demand for role system"),
        (
            {"nodeGroups": [group(instanceTypes=["t3.large"])]},
            "nodeGroups[0].instanceTypes: must be sizes of g5, g6, g6e",
        ),
        (
            {"nodeGroups": [group(instanceTypes=["g5.xlarge"])]},
            "nodeGroups[0].instanceTypes: must be types without a GPU",
        ),
        ({"nodeGroups": [gpu("gpu-training", "m6i.large")]}, "nodeGroups[0].instanceTypes: must be types with a GPU"),
        (
            {"nodeGroups": [gpu("gpu-training", "g5.xlarge", "g6.xlarge")]},
            "nodeGroups[0].instanceTypes: must all have the same",
        ),
        (
            {"nodeGroups": [gpu("gpu-training", "g5.8xlarge", "g5.4xlarge")]},
            "nodeGroups[0].instanceTypes: must start with the",
        ),
        (
            {"nodeGroups": [gpu("gpu-training", "g5.xlarge", capacity="spot")]},
            "nodeGroups[0].instanceTypes: must name several",
        ),
        (
            {"nodeGroups": [group(desiredSize=1)]},
            "nodeGroups[0].desiredSize: must be from minSize 2 to maxSize 6; got 1",
        ),
        (
            {"nodeGroups": [group(desiredSize=7)]},
            "nodeGroups[0].desiredSize: must be from minSize 2 to maxSize 6; got 7",
        ),
        ({"nodeGroups": [group(name="a" * 39)]}, "nodeGroups[0].name: string should have at most 38 characters"),
        ({"tags": {"team": "Größe"}}, "tags.team: must match"),
        (
            {"cluster": {"publicAccessCidrs": ["203.0.113.0/24", "10.8.0.0/16"]}},
            "cluster.publicAccessCidrs: must be public addresses, as the internet sees yours; got 10.8.0.0/16",
        ),
        (
            {"cluster": {"access": [ADMIN, {**ADMIN, "policy": "view"}]}},
            f"cluster.access: must name each principal once, as EKS does; {ADMIN['principalArn']} comes twice",
        ),
        ({"budget": {"alertPercent": [10, 20, 30, 40, 50]}}, "budget.alertPercent: tuple should have at most 4 items"),
        ({"budget": {"alertPercent": [80, 80]}}, "budget.alertPercent: must name each share once"),
        ({"database": {"engineVersion": "17.4"}}, "database.engineVersion: must be a major version of PostgreSQL"),
        ({"nodeGroups": [group(), group()]}, "nodeGroups[0].name: must be unique; 2 groups are named system"),
        ({"nodeGroups": [group(zones=["us-east-1f"])]}, "nodeGroups[0].zones[0]: must be one of the network's zones"),
        (
            {"aws": {"region": "eu-west-1"}, "nodeGroups": [gpu("gpu-training", "g6.xlarge")]},
            "nodeGroups[0].instanceTypes[0]: must",
        ),
        (
            {"workloads": [{"name": "x", "role": "cpu", "vcpu": 1, "memoryGib": 1, "gpus": 1}]},
            "workloads[0].gpus: must be 0",
        ),
        (
            {"workloads": [{"name": "x", "role": "gpu-training", "vcpu": 1, "memoryGib": 1}]},
            "workloads[0].gpus: must be at least 1",
        ),
    ],
)
def test_a_bad_value_is_refused_with_what_is_allowed(values: dict[str, Any], line: str):
    assert any(found.startswith(line) for found in refused(**values)), refused(**values)


def test_a_network_too_small_for_the_pods_of_all_nodes_is_refused_with_the_numbers():
    (line,) = refused(network={"cidr": "10.0.0.0/20"})
    assert line.startswith("network.cidr: too small: the node groups at their maximum take ")
    assert "the private subnets of 10.0.0.0/20 hold 3072" in line


def test_the_architectures_own_nodes_are_refused_for_7b_models_with_the_type_that_would_do():
    """The node table's g5.xlarge cannot take the capacity table's rows; a pod would stay Pending for ever."""
    training, serving = refused(
        nodeGroups=[group(), CPU, gpu("gpu-training", "g5.xlarge"), gpu("gpu-inference", "g5.xlarge")]
    )
    assert training.startswith("workloads[2]: training-7b (8 vCPU, 32 GiB memory, 100 GiB disk, 1 a10g) fits no node")
    assert "gpu-training has g5.xlarge (3.92 vCPU, 13.3 GiB memory, 208 GiB disk, 1 a10g) lacks" in training
    assert training.endswith("add a node group with role gpu-training and instanceTypes [g5.4xlarge]")
    assert serving.endswith("add a node group with role gpu-inference and instanceTypes [g5.2xlarge]")


def test_a_larger_type_in_a_mixed_group_does_not_help_a_pod_that_the_smaller_cannot_take():
    """An Auto Scaling group may start any of its types, so each must fit."""
    (line,) = refused(
        nodeGroups=[group(), CPU, gpu("gpu-training", "g5.xlarge", "g5.4xlarge"), gpu("gpu-inference", "g5.2xlarge")]
    )
    assert "gpu-training has g5.xlarge" in line


def test_a_second_group_of_the_role_that_fits_is_enough():
    small = gpu("gpu-training", "g5.xlarge")
    large = {**gpu("gpu-training", "g5.4xlarge"), "name": "gpu-training-7b"}
    parse({**LEAST, "nodeGroups": [group(), CPU, small, large, gpu("gpu-inference", "g5.2xlarge")]})


def test_a_row_without_a_group_of_its_role_is_refused():
    lines = refused(nodeGroups=[group(), CPU, gpu("gpu-training", "g5.4xlarge")])
    assert any("serving-7b" in line and "there is no group with role gpu-inference" in line for line in lines)


def test_rows_without_gpus_must_fit_on_the_groups_together():
    (line,) = refused(
        nodeGroups=[group(maxSize=2), CPU, gpu("gpu-training", "g5.4xlarge"), gpu("gpu-inference", "g5.2xlarge")]
    )
    assert line.startswith("workloads[0]: platform (16 vCPU, 32 GiB memory, 100 GiB disk) does not fit on all nodes")
    assert "system has at most 2 x m6i.xlarge" in line


def test_a_request_that_no_type_takes_is_told_so():
    row = {"name": "huge", "role": "gpu-training", "vcpu": 8, "memoryGib": 9000, "gpus": 1}
    (line,) = refused(workloads=[row])
    assert line.endswith("no type in us-east-1 takes it; lower the request")


def test_the_reference_page_is_what_the_models_say():
    assert reference.PAGE.read_text() == reference.render(), "run: python -m components.settings.reference"


def test_a_stale_reference_page_fails_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stale = tmp_path / "settings.md"
    monkeypatch.setattr(reference, "PAGE", stale)
    assert reference.main(["--check"]) == 1
    assert reference.main([]) == 0
    assert reference.main(["--check"]) == 0
