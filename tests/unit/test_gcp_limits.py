"""What Google and its provider document of names, ranges, tiers and words, held over every resource of a stack.

The numbers are in `sandbox/gcp/rules.py`, `choices.py` and `together.py`, where the sandbox refuses by them too;
docs/gcp.md says of each where it was read. Held to them are the foundation as it is shipped, a large one, and the whole
reviewed graph.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

import pytest
import yaml

from components.capacity.gce import CATALOGUE
from components.settings import SettingsError, parse
from sandbox.gcp.choices import BOUNDS, CHOICES
from sandbox.gcp.rules import RULES, Rule, refused_inputs
from tests.unit import gcp_stack
from tests.unit.conftest import Recorded, Recorder, recording
from tests.unit.gcp_stack import PROJECT

pytestmark = pytest.mark.unit

ROOT: Final = Path(__file__).resolve().parents[2]
LARGE: Final[dict[str, Any]] = {
    "protect": True,
    "gcp": {
        "billingAccount": "012345-6789AB-CDEF01",
        "drRegion": "us-east1",
        "dnsZone": "platform",
        "securityGroup": "gke-security-groups@example.com",
        "cacheMemoryGib": 16,
        "filesTier": "REGIONAL",
        "filesCapacityGib": 12800,
    },
    "network": {"zones": ["us-central1-a", "us-central1-b", "us-central1-c"], "natGateways": "per-zone"},
    "cluster": {"publicAccessCidrs": [f"203.0.113.{number}/32" for number in range(48)], "logRetentionDays": 365},
    "database": {
        "instanceClass": "db-perf-optimized-N-16",
        "highlyAvailable": True,
        "storageGib": 500,
        "backupRetentionDays": 35,
    },
    "cache": {"replicas": 2, "snapshotRetentionDays": 7},
    "objects": {"replicate": True},
    "alarms": {"emails": [f"on-call-{number}@example.com" for number in range(7)]},
    "budget": {"emails": ["finance@example.com"], "alertPercent": [50, 80, 100]},
    "workloads": [{"name": "small", "role": "system", "vcpu": 1, "memoryGib": 1}],
    "nodeGroups": [
        {"name": "system", "role": "system", "instanceTypes": ["n2-standard-4"], "minSize": 3, "maxSize": 6},
        *(
            {"name": name, "role": "gpu-inference", "instanceTypes": [name], "maxSize": 4}
            for name, kind in CATALOGUE.items()
            if kind.gpus
        ),
    ],
}
"""Everything that settings switch on, and every machine with GPUs."""


@pytest.fixture(scope="module", params=[{}, LARGE], ids=["small", "large"])
def emitted(request: pytest.FixtureRequest) -> Iterator[Recorder]:
    """The foundation of a stack."""
    with recording() as recorder:
        gcp_stack.build(recorder, request.param)
        yield recorder


@cache
def reviewed() -> tuple[tuple[str, dict[str, Any]], ...]:
    """Name and inputs of everything on Google Cloud in the reviewed graph of the stack, with platform and models."""
    graph: dict[str, Any] = yaml.load((ROOT / "tests" / "golden" / "gcp.yaml").read_text(), yaml.CSafeLoader)
    known = re.compile(r"<[^<>]*>")  # what is not known before an update; six hex digits are as good as any
    return tuple(
        (name, json.loads(known.sub("0a1b2c", json.dumps(node.get("inputs") or {}))))
        for name, node in graph.items()
        if name.startswith("gcp:")
    )


def exact(value: Any) -> Any:
    """Whole numbers as the program gave them: the mocks answer with floats."""
    if isinstance(value, dict):
        return {key: exact(item) for key, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [exact(item) for item in cast("list[Any]", value)]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def of(emitted: Recorder, kind: str) -> list[Recorded]:
    found = [replace(one, inputs=exact(one.inputs)) for one in emitted.of(kind).values()]
    assert found, f"the foundation emits no {kind} any more"
    return found


def test_nothing_that_the_foundation_emits_is_refused(emitted: Recorder):
    judged = [one for one in emitted.resources if one.type.startswith("gcp:")]
    assert len(judged) > 100
    refused = {one.name: found for one in judged if (found := refused_inputs(one.type, exact(one.inputs)))}
    assert refused == {}


def test_nothing_of_the_whole_reviewed_graph_is_refused():
    assert len(reviewed()) > 200
    refused = {name: found for name, inputs in reviewed() if (found := refused_inputs(name.split(" ")[0], inputs))}
    assert refused == {}


def test_every_type_with_a_word_or_a_number_that_the_provider_judges_is_emitted(emitted: Recorder):
    types = {one.type.removeprefix("gcp:") for one in emitted.resources}
    optional = {"billing/budget:Budget"}
    assert {*CHOICES, *BOUNDS} - types <= optional


def _refused(rule: Rule) -> Any:
    """A value that a rule must refuse."""
    if rule.form:
        return "\n" if not re.fullmatch(rule.form, "\n") else "x" * 10_000
    if rule.choices:
        return "no-such-word"
    if rule.prefix is not None:
        return "10.0.0.1/24"
    return rule.least - 1 if rule.least is not None else (rule.most or 0) + 1


@pytest.mark.parametrize("rule", RULES, ids=[f"{rule.type}.{rule.path}" for rule in RULES])
def test_every_rule_refuses_something_and_says_where_it_was_read(rule: Rule):
    reason = rule.refuses(_refused(rule))
    assert reason is not None
    assert rule.source in reason or rule.prefix


def test_the_document_has_every_source_that_a_rule_names():
    text = (ROOT / "docs" / "gcp.md").read_text()
    sources = {rule.source.partition(",")[0] for rule in RULES}
    assert {source for source in sources if source not in text} == set()


@pytest.mark.parametrize(
    ("changed", "path"),
    [
        ({"gcp": {"filesCapacityGib": 1100}}, "gcp.filesCapacityGib"),
        ({"gcp": {"filesCapacityGib": 10496}}, "gcp.filesCapacityGib"),
        ({"cluster": {"publicAccessCidrs": [f"203.0.113.{n}/32" for n in range(49)]}}, "cluster.publicAccessCidrs"),
    ],
)
def test_settings_refuse_what_google_would_refuse_later(changed: dict[str, Any], path: str):
    raw = {**gcp_stack.LEAST, **changed, "gcp": {**gcp_stack.LEAST["gcp"], **changed.get("gcp", {})}}
    with pytest.raises(SettingsError, match=re.escape(path)):
        parse(raw)


def test_an_instance_of_cloud_sql_and_its_project_are_98_characters_together(emitted: Recorder):
    for one in of(emitted, "gcp:sql/databaseInstance:DatabaseInstance"):
        assert len(f"{PROJECT.id}:{one.inputs.get('name', one.name + '-0000000')}") <= 98


def test_labels_are_of_lower_case_and_64_at_most(emitted: Recorder):
    for one in emitted.resources:
        if "notificationChannel" in one.type:
            continue  # its labels are its settings
        for field in ("labels", "userLabels", "resourceLabels", "defaultLabels"):
            given: Any = one.inputs.get(field) or {}
            labels: dict[str, str] = json.loads(given) if isinstance(given, str) else given  # a provider's are JSON
            assert len(labels) <= 64, one.name
            for key, value in labels.items():
                assert re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", key), (one.name, key)
                assert re.fullmatch(r"[a-z0-9_-]{0,63}", str(value)), (one.name, key, value)


def test_ranges_of_the_network_have_room_and_do_not_overlap(emitted: Recorder):
    (subnet,) = of(emitted, "gcp:compute/subnetwork:Subnetwork")
    (cluster,) = of(emitted, "gcp:container/cluster:Cluster")
    private = cluster.inputs["privateClusterConfig"]
    ranges = [ipaddress.IPv4Network(subnet.inputs["ipCidrRange"])]
    ranges += [ipaddress.IPv4Network(one["ipCidrRange"]) for one in subnet.inputs["secondaryIpRanges"]]
    assert all(one.prefixlen <= 29 for one in ranges), "a subnet is a /29 at least"
    if block := private.get("masterIpv4CidrBlock"):
        control_plane = ipaddress.IPv4Network(block)
        assert control_plane.prefixlen == 28
        ranges.append(control_plane)
    for one in of(emitted, "gcp:compute/globalAddress:GlobalAddress"):
        assert one.inputs["prefixLength"] <= 24, "private services access takes a /24 at least"
        if address := one.inputs.get("address"):
            ranges.append(ipaddress.IPv4Network(f"{address}/{int(one.inputs['prefixLength'])}"))
    clashes = [(a, b) for index, a in enumerate(ranges) for b in ranges[index + 1 :] if a.overlaps(b)]
    assert clashes == []
    assert len(ranges) >= 4


def test_conditions_are_short_enough(emitted: Recorder):
    for one in emitted.resources:
        if condition := one.inputs.get("condition"):
            assert len(condition["title"]) <= 100, one.name
            assert len(re.findall(r"&&|\|\|", condition["expression"])) <= 12, one.name


def test_annotations_of_a_secret_are_short_enough(emitted: Recorder):
    for one in of(emitted, "gcp:secretmanager/secret:Secret"):
        given: dict[str, str] = one.inputs.get("annotations") or {}
        assert sum(len(key) + len(value) for key, value in given.items()) < 16 * 1024, one.name
        assert all(re.fullmatch(r"[a-zA-Z0-9]([\w.-]{0,61}[a-zA-Z0-9])?", key) for key in given), one.name


def test_a_key_lies_where_what_it_encrypts_does(emitted: Recorder):
    rings = {one.inputs["name"]: one.inputs["location"] for one in of(emitted, "gcp:kms/keyRing:KeyRing")}
    assert set(rings.values()) <= {PROJECT.region, "us"}
    for one in of(emitted, "gcp:storage/bucket:Bucket"):
        dual = "customPlacementConfig" in one.inputs
        assert one.inputs["location"] == ("US" if dual else PROJECT.region.upper())


def test_pods_of_all_nodes_have_addresses(emitted: Recorder):
    """A node takes twice as many addresses as it has pods, rounded up to a power of two: a /24 with 110."""
    (subnet,) = of(emitted, "gcp:compute/subnetwork:Subnetwork")
    (pods,) = [one["ipCidrRange"] for one in subnet.inputs["secondaryIpRanges"] if one["rangeName"] == "pods"]
    pools = of(emitted, "gcp:container/nodePool:NodePool")
    each = {2 ** (2 * one.inputs["maxPodsPerNode"] - 1).bit_length() for one in pools}
    assert each == {256}
    nodes = sum(one.inputs["autoscaling"]["totalMaxNodeCount"] + 1 for one in pools)
    assert nodes * 256 <= ipaddress.IPv4Network(pods).num_addresses
    assert nodes + 4 <= ipaddress.IPv4Network(subnet.inputs["ipCidrRange"]).num_addresses


def test_the_maintenance_window_is_long_enough(emitted: Recorder):
    """GKE wants 48 hours in every 32 days, in windows of four hours at least: weekends of eight hours a day give 64."""
    (cluster,) = of(emitted, "gcp:container/cluster:Cluster")
    window = cluster.inputs["maintenancePolicy"]["recurringWindow"]
    hours = int(window["endTime"][11:13]) - int(window["startTime"][11:13])
    days = len(window["recurrence"].partition("BYDAY=")[2].split(","))
    assert hours >= 4
    assert 4 * days * hours >= 48
