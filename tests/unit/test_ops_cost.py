"""The cost model: what a stack costs, and that nothing is left out in silence."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from components.capacity.prices import SHIPPED, PriceError, load, parse
from ops.cost import Range, Resource, estimate
from ops.cost.assumptions import ASSUMPTIONS, AssumptionError, with_settings
from ops.cost.estimation import PRICERS
from ops.cost.free import ADDON, FREE
from ops.cost.model import layer_of
from ops.cost.read import InputError, states_after
from ops.cost.read import resources as of_states
from tests.unit.cost_resources import FIXTURES, ROOT, deployment, group, resource, same, usd

pytestmark = pytest.mark.unit

# Nodes


def test_a_group_costs_its_minimum_when_idle_and_its_maximum_at_most():
    nodes = usd(estimate([group()]), "nodes")
    assert nodes.low == pytest.approx(730 * 1.006)
    assert nodes.high == pytest.approx(4 * 730 * 1.006)


def test_a_group_of_several_types_may_start_the_dearest_and_prefers_the_first():
    nodes = usd(estimate([group(instanceTypes=["g5.xlarge", "g5.2xlarge"])]), "nodes")
    share = ASSUMPTIONS["nodes.gpu-inference"].value.expected
    assert nodes.expected == pytest.approx((1 + 3 * share) * 730 * 1.006)
    assert nodes.high == pytest.approx(4 * 730 * 1.212)


def test_spot_is_cheaper_as_expected_and_never_dearer_than_on_demand():
    spot, plain = usd(estimate([group(capacityType="SPOT")]), "nodes"), usd(estimate([group()]), "nodes")
    assert spot.expected < plain.expected
    assert spot.high == plain.high


def test_root_volumes_are_those_of_the_launch_template_however_it_is_found():
    disk = {"deviceName": "/dev/xvda", "ebs": {"volumeSize": 50, "volumeType": "gp3"}}
    template = replace(
        resource("aws:ec2/launchTemplate:LaunchTemplate", blockDeviceMappings=[disk]), parent="urn:component"
    )
    other = replace(template, urn=template.urn + "-other", parent="urn:elsewhere", properties={})
    named = replace(group(launchTemplate={"id": "unknown"}), dependencies=(template.urn,))
    beside = replace(group(launchTemplate={"id": "unknown"}), parent="urn:component")
    for found in (estimate([named, template, other]), estimate([beside, template, other])):
        assert usd(found, "root volumes").low == pytest.approx(50 * 0.08)


def test_a_group_whose_size_is_not_known_is_reported_and_not_counted_as_nothing():
    (missing,) = estimate([group(scalingConfig={"minSize": 1})]).unpriced
    assert "not plain" in missing.reason


def test_a_type_without_a_price_is_reported_and_not_counted_as_nothing():
    (missing,) = estimate([group(instanceTypes=["p9.huge"])]).unpriced
    assert "p9.huge" in missing.reason


# Whose it is


def test_gpus_that_a_models_pods_hold_are_that_models_and_the_rest_is_shared():
    llama = deployment("llama", 1, 1, **{"llmops/team": "search", "llmops/model": "llama"})
    found = estimate([group(), llama])
    at_least = usd(found, "nodes").low
    assert found.by_model["llama"].low == pytest.approx(at_least)
    assert found.by_team["search"].high == pytest.approx(usd(found, "nodes").high / 4)
    assert same(Range.total(found.by_model.values()), found.total)


def test_more_pods_than_gpus_share_them_in_proportion():
    big, small = (
        deployment("big", 3, 1, **{"llmops/model": "big"}),
        deployment("small", 1, 1, **{"llmops/model": "small"}),
    )
    found = estimate([group(), big, small])
    assert found.by_model["big"].low == pytest.approx(3 * found.by_model["small"].low)
    nodes = usd(found, "nodes")
    assert nodes.low == pytest.approx(730 * 1.006)


def test_a_scaled_model_holds_its_range():
    scaler = resource(
        "kubernetes:keda.sh/v1alpha1:ScaledObject",
        "scaler",
        metadata={"namespace": "mlops-serving"},
        spec={"scaleTargetRef": {"name": "llama"}, "minReplicaCount": 0, "maxReplicaCount": 2},
    )
    found = estimate([group(), deployment("llama", 1, 1, **{"llmops/model": "llama"}), scaler])
    assert found.by_model["llama"].low == 0
    assert found.by_model["llama"].high == pytest.approx(usd(found, "nodes").high / 2)


def test_what_says_nothing_belongs_to_whom_its_parent_names():
    parent = replace(resource("llmops:workloads:Model", "model", tags={"llmops/team": "search"}), custom=False)
    secret = replace(resource("aws:secretsmanager/secret:Secret"), parent=parent.urn)
    assert list(estimate([parent, secret]).by_team) == ["search"]


def test_the_outermost_component_tells_the_layer():
    def urn(types: str) -> str:
        return f"urn:pulumi:dev::llmops::{types}::x"

    assert layer_of(urn("llmops:platform:Platform$llmops:aws:Identity$aws:iam/role:Role")) == "platform"
    assert layer_of(urn("llmops:workloads:Model$kubernetes:apps/v1:Deployment")) == "workloads"
    assert layer_of(urn("llmops:aws:Foundation$aws:s3/bucket:Bucket")) == "foundation"
    assert layer_of(urn("kubernetes:core/v1:Service")) == "platform"


# Other resources


def test_a_standby_doubles_server_and_storage():
    given = {"engine": "postgres", "instanceClass": "db.m7g.large", "storageType": "gp3", "allocatedStorage": 100}
    one = estimate([resource("aws:rds/instance:Instance", **given)])
    two = estimate([resource("aws:rds/instance:Instance", **given, multiAz=True)])
    assert usd(two, "standby").low == pytest.approx(2 * (usd(one, "db.").low + usd(one, "storage").low))


def test_copied_backups_are_paid_for_by_the_size_of_their_server_and_moved():
    server = resource("aws:rds/instance:Instance", "server", allocatedStorage=100, maxAllocatedStorage=200)
    kind = "aws:rds/instanceAutomatedBackupsReplication:InstanceAutomatedBackupsReplication"
    copies = replace(resource(kind, "copies", retentionPeriod=7), region="us-west-2")
    found = estimate([server, copies])
    kept, moved = ASSUMPTIONS["database.copied"].value, ASSUMPTIONS["database.moved"].value
    assert usd(found, "copied backups").expected == pytest.approx(100 * kept.expected * 0.095)
    assert usd(found, "copied backups").high == pytest.approx(200 * kept.high * 0.095)
    assert usd(found, "backups to another region").expected == pytest.approx(100 * moved.expected * 0.02)
    (alone,) = estimate([copies]).unpriced
    assert "not in the stack" in alone.reason


def test_a_version_past_standard_support_costs_six_times_as_much_only_where_it_may_stay():
    def control_plane(version: str, support: str, today: date) -> float:
        cluster = resource("aws:eks/cluster:Cluster", version=version, upgradePolicy={"supportType": support})
        return usd(estimate([cluster], today=today), "control plane").low

    assert control_plane("1.34", "EXTENDED", date(2026, 12, 1)) == pytest.approx(73)
    assert control_plane("1.34", "EXTENDED", date(2026, 12, 2)) == pytest.approx(438)
    assert control_plane("1.34", "STANDARD", date(2026, 12, 2)) == pytest.approx(73)


def test_gateway_endpoints_are_free_and_interface_endpoints_cost_by_zone():
    gateway = resource("aws:ec2/vpcEndpoint:VpcEndpoint", vpcEndpointType="Gateway")
    interface = resource("aws:ec2/vpcEndpoint:VpcEndpoint", vpcEndpointType="Interface", subnetIds=["a", "b", "c"])
    assert estimate([gateway]).total.high == 0
    assert usd(estimate([interface]), "zones").low == pytest.approx(3 * 730 * 0.01)


@pytest.mark.parametrize(
    ("kind", "properties", "balancers"),
    [
        ("kubernetes:core/v1:Service", {"spec": {"type": "LoadBalancer"}}, 1),
        ("kubernetes:core/v1:Service", {"spec": {"type": "ClusterIP"}}, 0),
        ("kubernetes:networking.k8s.io/v1:Ingress", {"spec": {"ingressClassName": "alb"}}, 1),
        ("kubernetes:helm.sh/v3:Release", {"chart": "gateway", "values": {}}, 1),
        ("kubernetes:helm.sh/v3:Release", {"chart": "gateway", "values": {"service": {"type": "ClusterIP"}}}, 0),
        (
            "kubernetes:helm.sh/v3:Release",
            {"chart": "argo-cd", "values": {"server": {"service": {"type": "LoadBalancer"}}}},
            1,
        ),
        ("aws:lb/loadBalancer:LoadBalancer", {"loadBalancerType": "network", "internal": True}, 1),
    ],
)
def test_load_balancers_are_found_wherever_they_are_asked_for(kind: str, properties: dict[str, Any], balancers: int):
    assert usd(estimate([resource(kind, **properties)]), "load balancer").low == pytest.approx(balancers * 730 * 0.0225)


def test_a_load_balancer_for_the_internet_has_an_address_in_every_zone():
    annotations = {"service.beta.kubernetes.io/aws-load-balancer-scheme": "internet-facing"}
    service = resource(
        "kubernetes:core/v1:Service", metadata={"annotations": annotations}, spec={"type": "LoadBalancer"}
    )
    nodes = group(subnetIds=["a", "b", "c"])
    assert usd(estimate([service, nodes]), "IPv4").low == pytest.approx(3 * 730 * 0.005)


def test_volumes_are_found_in_claims_stateful_sets_and_values_of_charts():
    claim = {"resources": {"requests": {"storage": "10Gi"}}}
    stateful = {"replicas": 3, "volumeClaimTemplates": [{"spec": claim}]}
    values = {"persistence": {"size": "20Gi"}, "other": {"persistence": {"enabled": False, "size": "99Gi"}}}
    for one, size in (
        (resource("kubernetes:core/v1:PersistentVolumeClaim", spec=claim), 10),
        (resource("kubernetes:apps/v1:StatefulSet", spec=stateful), 30),
        (resource("kubernetes:helm.sh/v3:Release", chart="x", values=values), 20),
    ):
        assert estimate([one]).total.high == pytest.approx(size * 0.08)


# Nothing in silence


def test_an_unknown_type_is_reported_and_a_component_costs_nothing_itself():
    known, unknown = resource("aws:sagemaker/endpoint:Endpoint"), resource("llmops:aws:Foundation")
    found = estimate([known, replace(unknown, custom=False)])
    assert [one.type for one in found.unpriced] == ["aws:sagemaker/endpoint:Endpoint"]
    assert found.total.high == 0


def test_an_add_on_that_sends_metrics_is_not_free():
    paid, free = (resource(ADDON, name, addonName=name) for name in ("amazon-cloudwatch-observability", "coredns"))
    found = estimate([paid, free])
    assert [one.name for one in found.unpriced] == ["amazon-cloudwatch-observability"]


def test_no_type_is_both_free_and_priced():
    assert not FREE.keys() & PRICERS.keys()


def test_a_region_without_prices_is_reported_and_one_with_a_factor_is_scaled_and_says_so():
    address = resource("aws:ec2/eip:Eip")
    here, scaled = estimate([address]), estimate([replace(address, region="eu-central-1")])
    assert scaled.total.low == pytest.approx(1.251 * here.total.low)
    assert any("eu-central-1" in note for note in scaled.notes)
    nowhere = estimate([replace(address, region="mx-central-1")])
    assert nowhere.lines == ()
    assert "mx-central-1" in nowhere.unpriced[0].reason


def test_every_price_of_the_shipped_table_has_a_source_and_is_above_zero():
    table = load()
    assert all(price.usd > 0 and table.sources[price.source] for price in table.items.values())
    raw = json.loads(SHIPPED.read_text())
    raw["items"]["nat/data"]["source"] = "nobody"
    with pytest.raises(PriceError, match="nat/data"):
        parse(raw, "table")


def test_every_instance_type_that_node_groups_may_use_has_a_price():
    from components.capacity.ec2 import CATALOGUE

    assert not [kind for kind in CATALOGUE if f"ec2/{kind}" not in load().items]


# Assumptions and files


@pytest.mark.parametrize(
    "text", ["nodes.cpu", "nodes.cpu=x", "nodes.cpu=1:2", "nodes.cpu=3:2:1", "nodes.cpu=-1", "no=1"]
)
def test_an_assumption_that_is_no_range_is_refused(text: str):
    with pytest.raises(AssumptionError):
        with_settings([text])


def test_an_assumption_that_is_set_moves_the_sum():
    address = resource("aws:ec2/natGateway:NatGateway")
    more = estimate([address], assumptions=with_settings(["nat.data=0:1000:2000"]))
    assert usd(more, "data").expected == pytest.approx(45)
    assert usd(more, "data").high == pytest.approx(90)


def test_a_preview_that_leaves_out_what_stays_is_refused_without_the_state():
    with pytest.raises(InputError, match="--show-sames"):
        states_after(json.loads((FIXTURES / "new-node-group.json").read_text()))


def step(op: str, name: str, **state: Any) -> dict[str, Any]:
    urn = f"urn:pulumi:dev::p::aws:s3/bucket:Bucket::{name}"
    side = "oldState" if op.startswith("delete") else "newState"
    return {"op": op, "urn": urn, side: {"urn": urn, "type": "aws:s3/bucket:Bucket", "custom": True, **state}}


def names(states: Iterable[Any]) -> list[str]:
    return sorted(one.name for one in of_states(states))


def test_what_is_deleted_is_gone_and_what_is_replaced_is_there_once():
    steps = [step("create-replacement", "a"), step("replace", "a"), step("delete-replaced", "a"), step("delete", "b")]
    before = [step("create", name)["newState"] for name in "abc"]
    assert names(states_after({"steps": steps, "changeSummary": {"same": 1}}, before)) == ["a", "c"]


def test_the_cost_model_imports_neither_pulumi_nor_a_cloud_sdk():
    program = "import sys, ops.cost, ops.cost.read; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert not {name.split(".")[0] for name in loaded.split()} & {"pulumi", "pulumi_aws", "boto3", "botocore", "typer"}


def test_disks_and_addresses_of_ones_own_data_centre_are_not_priced():
    """The same objects cost something in a cloud."""
    balanced = resource("kubernetes:core/v1:Service", spec={"type": "LoadBalancer"})
    own = Resource(
        urn="urn:pulumi:dc::llmops::llmops:onprem:Foundation::f", type="llmops:onprem:Foundation", custom=False
    )
    assert estimate([balanced]).lines
    found = estimate([balanced, own])
    assert (found.lines, found.unpriced) == ((), ())
    assert found.free["kubernetes:core/v1:Service"]
