"""Quotas: what the settings take, and what node groups need of an account."""

from __future__ import annotations

from typing import Any

import onprem_stack
import pytest

from components.capacity.ec2 import CATALOGUE
from components.capacity.quotas import QUOTA_CODES, NodeRange, needs_of, vcpu_family
from components.settings import SettingsError, parse

pytestmark = pytest.mark.unit

LEAST = {"owner": "ml-platform", "costCenter": "ml-development"}


def refused(**quotas: Any) -> str:
    with pytest.raises(SettingsError) as refusal:
        parse({**LEAST, "quotas": quotas})
    return str(refusal.value)


@pytest.mark.parametrize(
    ("quotas", "words"),
    [
        ({"gpus": {"a100": 8}}, "quotas.gpus: must name models of a10g, l4, l40s; got a100"),
        ({"gpus": {"a10g": -1}}, "quotas.gpus.a10g: must be at least 0; got -1"),
        ({"vcpu": {"onDemandP": 8}}, "quotas.vcpu.onDemandP: unknown setting; did you mean onDemandG?"),
        ({"regions": ["us-east-9"]}, "quotas.regions: must be of"),
        ({"instanceTypes": ["g55.*"]}, "quotas.instanceTypes: must name types"),
        ({"instanceTypes": ["db.*.*.*"]}, "quotas.instanceTypes: must name types"),
        ({"nodes": "many"}, "quotas.nodes: must be a whole number"),
    ],
)
def test_a_quota_that_means_nothing_is_refused_with_its_path(quotas: dict[str, Any], words: str):
    assert words in refused(**quotas)


def test_on_premises_a_quota_names_the_gpus_of_the_stacks_own_servers():
    stack = onprem_stack.raw()
    assert parse({**stack, "quotas": {"gpus": {"h100": 16}}}).quotas.gpus == {"h100": 16}
    with pytest.raises(SettingsError, match=r"quotas\.gpus: must name models of h100, l40s; got a10g"):
        parse({**stack, "quotas": {"gpus": {"a10g": 16}}})


def test_on_premises_there_are_no_servers_but_those_that_the_stack_names():
    stack = {key: value for key, value in onprem_stack.raw().items() if key != "nodeGroups"}
    with pytest.raises(SettingsError, match="nodeGroups: must hold a group of role system"):
        parse(stack)


@pytest.mark.parametrize(
    ("kind", "allowed"),
    [("g5.xlarge", True), ("g5.48xlarge", True), ("m6i.large", True), ("m6i.xlarge", False), ("db.t4g.medium", True),
     ("db.t4g.large", False), ("g6.xlarge", False), ("cache.m7g.large", True)],
)  # fmt: skip
def test_a_pattern_allows_sizes_and_a_name_allows_one_type(kind: str, allowed: bool):
    types = ["g5.*", "m6i.large", "db.t4g.medium", "cache.*.large"]
    assert parse({**LEAST, "quotas": {"instanceTypes": types}}).quotas.allows(kind) is allowed


@pytest.mark.parametrize(
    ("kind", "spot", "family"),
    [
        ("m6i.large", False, "onDemandStandard"),
        ("m6i.large", True, "spotStandard"),
        ("g5.xlarge", False, "onDemandG"),
        ("g6e.xlarge", True, "spotG"),
        ("vt1.3xlarge", False, "onDemandG"),
        ("t3.small", False, "onDemandStandard"),
    ],
)
def test_an_instance_counts_against_the_quota_of_its_kind(kind: str, spot: bool, family: str):
    assert vcpu_family(kind, spot) == family


@pytest.mark.parametrize(
    "kind", ["p5.48xlarge", "inf2.xlarge", "trn1.2xlarge", "x2gd.large", "dl1.24xlarge", "hpc7a.x"]
)
def test_what_counts_against_a_quota_that_nobody_declares_is_not_counted_as_another(kind: str):
    with pytest.raises(ValueError, match="not declared"):
        vcpu_family(kind, spot=False)


def test_every_type_that_node_groups_may_use_has_a_quota_with_a_code():
    assert {vcpu_family(kind, spot) for kind in CATALOGUE for spot in (True, False)} == set(QUOTA_CODES)


def test_needs_add_up_over_groups_at_their_largest():
    found = needs_of(
        [
            NodeRange(name="a", instance_types=("m6i.large", "m6i.xlarge"), max_size=3),
            NodeRange(name="b", instance_types=("g5.xlarge",), max_size=2, spot=True),
            NodeRange(name="c", instance_types=("g5.12xlarge",), max_size=1),
        ]
    )
    assert found.vcpu == {"onDemandStandard": 12, "spotG": 8, "onDemandG": 48}
    assert found.gpus == {"a10g": 6}
    assert found.nodes == 6


def test_nothing_needs_nothing():
    found = needs_of([])
    assert (found.gpus, found.vcpu, found.nodes) == ({}, {}, 0)
