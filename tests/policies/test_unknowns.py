"""What is unknown at preview: a quota that cannot be counted is refused, a document is judged during the update."""

from __future__ import annotations

from typing import Any

import pytest
from pulumi_policy.proxy import UNKNOWN_NUMBER_VALUE
from world import LATER, allow, changed, judge, world

from policies import quotas, view
from policies.view import UNKNOWN

pytestmark = pytest.mark.policies


@pytest.mark.parametrize(
    ("policy", "name", "path", "value"),
    [
        ("gpu-quota", "training", ("scalingConfig", "maxSize"), UNKNOWN_NUMBER_VALUE),
        ("gpu-quota", "training", ("scalingConfig",), LATER),
        ("gpu-quota", "training", ("instanceTypes",), LATER),
        ("gpu-quota", "training", ("instanceTypes", 1), LATER),
        ("vcpu-quota", "system", ("scalingConfig", "maxSize"), UNKNOWN_NUMBER_VALUE),
        ("vcpu-quota", "system", ("capacityType",), LATER),
        ("node-quota", "system", ("scalingConfig", "maxSize"), UNKNOWN_NUMBER_VALUE),
        ("instance-types", "system", ("instanceTypes",), LATER),
        ("instance-types", "system", ("instanceTypes", 0), LATER),
        ("instance-types", "database", ("instanceClass",), LATER),
        ("regions", "aws", ("region",), LATER),
        ("storage-quota", "template", ("blockDeviceMappings", 0, "ebs", "volumeSize"), UNKNOWN_NUMBER_VALUE),
        ("storage-quota", "system", ("scalingConfig", "maxSize"), UNKNOWN_NUMBER_VALUE),
        ("storage-quota", "claims", ("spec", "replicas"), UNKNOWN_NUMBER_VALUE),
        (
            "storage-quota",
            "claims",
            ("spec", "volumeClaimTemplates", 0, "spec", "resources", "requests", "storage"),
            LATER,
        ),
        ("training-on-spot", "training", ("capacityType",), LATER),
        ("team-quota", "quota", ("spec", "hard"), LATER),
    ],
)
def test_a_quota_that_cannot_be_counted_still_bites(policy: str, name: str, path: tuple[str | int, ...], value: Any):
    """The SDK would make an advisory of it; here an unknown number is a violation like any other."""
    assert judge(policy, changed(world(), name, path, value)), f"{policy} is silent about an unknown {path[-1]}"


def test_a_group_that_cannot_be_counted_does_not_hide_that_the_others_are_too_large():
    """One unknown must not stop the rule: the violation of the other group is reported beside it."""
    broken = changed(world(), "system", ("scalingConfig",), LATER)
    said = judge("gpu-quota", changed(broken, "training", ("scalingConfig", "maxSize"), 9))
    assert len(said) == 2
    assert any("9 a10g GPUs" in one for one in said)


def test_the_number_of_addresses_does_not_depend_on_what_they_will_be():
    from dataclasses import replace

    (address,) = (one for one in world() if one.name == "address")
    assert judge("elastic-ip-quota", [address, replace(address, name="more", props={"publicIp": LATER})])


@pytest.mark.parametrize("policy", ["iam-wildcards", "no-public-principal", "iam-trust"])
def test_a_document_that_is_known_later_is_announced_and_judged_then(policy: str):
    places = {"iam-wildcards": ("permissions", "policy"), "no-public-principal": ("key", "policy")}
    name, key = places.get(policy, ("role", "assumeRolePolicy"))
    unknown = changed(world(), name, (key,), LATER)
    assert judge(policy, unknown) == []
    (announced,) = judge("iam-judged-later", unknown)
    assert announced == f"1 documents become known only during the update, and are judged then: {name}"
    assert judge(policy, changed(world(), name, (key,), allow("*", Principal="*"))), "the update does not judge it"


def test_the_announcement_names_a_few_and_counts_the_rest():
    from dataclasses import replace

    (role,) = (one for one in world() if one.name == "role")
    roles = [replace(role, name=f"role-{number}", props={"assumeRolePolicy": LATER}) for number in range(9)]
    (said,) = judge("iam-judged-later", roles)
    assert said.startswith("9 documents")
    assert said.endswith("role-4 and 4 more")


def test_plain_data_marks_what_is_unknown_where_it_is():
    from pulumi_policy.proxy import unknown_checking_proxy

    seen = view.plain(unknown_checking_proxy({"a": [1.0, LATER], "b": {"c": LATER, "d": "x"}, "e": 1.5, "f": None}))
    assert seen == {"a": [1, UNKNOWN], "b": {"c": UNKNOWN, "d": "x"}, "e": 1.5, "f": None}
    assert isinstance(seen["a"][0], int)


def test_what_is_below_an_unknown_is_unknown_and_what_is_absent_is_not():
    resource = view.Resource(type="t", properties={"a": UNKNOWN, "b": {}})
    assert resource.get("a", "x", 0) is UNKNOWN
    assert resource.get("b", "x") is None
    assert not UNKNOWN


def test_groups_are_counted_at_the_largest_of_their_types():
    """An autoscaler may start any type of a group, so the quota must hold for the largest."""
    group = view.Resource(
        type=quotas.NODE_GROUP,
        properties={
            "instanceTypes": ["g5.xlarge", "g5.12xlarge"],
            "capacityType": "SPOT",
            "scalingConfig": {"maxSize": 3},
        },
    )
    found = quotas.node_range(group)
    assert (found.max_gpus, found.max_vcpu) == (12, 144)
