"""The pack as a whole: names, descriptions, configuration, and where the numbers come from."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from pulumi_policy import EnforcementLevel
from world import changed, judge, rule, settings, world

from components.settings.quotas import QuotaSettings
from components.versions import IMAGES
from policies import pack, registry
from policies.exemptions import Register

pytestmark = pytest.mark.policies

STACKS = ("dev", "prod", "gcp", "onprem")
RULES = pack.rules(Register())


def test_names_are_unique():
    assert [name for name, count in Counter(pack.names()).items() if count > 1] == []
    with pytest.raises(TypeError, match="two policies are named"):
        registry.pack_of([rule("gpu-quota"), rule("gpu-quota")], registry.Surroundings())


def test_what_is_not_mandatory_is_so_on_purpose():
    """The SDK's default is advisory; a policy that only talks is decided one by one."""
    softer = {one.name: one.level for one in RULES if one.level is not EnforcementLevel.MANDATORY}
    assert softer == {
        "priced": EnforcementLevel.ADVISORY,
        "iam-judged-later": EnforcementLevel.ADVISORY,
        "tags": EnforcementLevel.REMEDIATE,
        "labels": EnforcementLevel.REMEDIATE,
    }


@pytest.mark.parametrize("one", RULES, ids=lambda one: one.name)
def test_a_policy_says_in_one_sentence_what_holds(one: registry.Rule):
    assert one.description.endswith(".")
    assert one.severity


@pytest.mark.parametrize("one", RULES, ids=lambda one: one.name)
def test_its_configuration_has_a_default_for_everything_and_a_schema_that_stands_alone(one: registry.Rule):
    """The SDK's schema has no place for definitions, so nothing in it may point to one."""
    assert one.config()
    schema = registry.schema(one.config)
    if one.config.model_fields:
        assert schema
        assert schema.properties
        assert "$ref" not in json.dumps(schema.properties)
        assert schema.required is None


@pytest.mark.parametrize("stack", STACKS)
def test_configuring_a_policy_of_a_shipped_stack_does_not_soften_it(stack: str):
    """The SDK sends a configuration without a level as an advisory; so every one must carry its policy's own."""
    found = pack.configuration(stack, RULES)
    assert found
    for name, given in found.items():
        assert isinstance(given, dict)
        assert given["enforcementLevel"] is rule(name).level, name


def test_a_stack_without_a_file_gets_the_strict_defaults():
    assert pack.configuration("unknown", RULES) == {}
    assert rule("protected").config().model_dump() == {"required": True}
    assert rule("images-pinned").config().model_dump()["digest"] is True


def test_production_is_at_least_as_strict_as_the_defaults_for_what_holds_data():
    given = json.loads((pack.CONFIGURATION / "prod.json").read_text())
    for name in ("protected", "survives-a-zone"):
        assert registry.configured(rule(name), given.get(name, {})) == rule(name).config()
    assert given["backups-kept"]["databaseDays"] >= 7


def test_production_names_every_image_by_digest_but_those_of_ours_that_have_none_yet():
    given = json.loads((pack.CONFIGURATION / "prod.json").read_text())["images-pinned"]
    tagged = given.pop("tagged")
    assert registry.configured(rule("images-pinned"), given) == rule("images-pinned").config()
    without_digest = {str(one).rpartition(":")[0] for one in IMAGES.values() if "@" not in str(one)}
    assert set(tagged) <= without_digest, "an image has a digest now: take it off the list"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"no-such-policy": {}}, "there is no such policy"),
        ({"keys-kept": {"deletionDays": 3}}, "configuration of policy keys-kept: deletionDays"),
        ({"keys-kept": {"days": 7}}, "keys-kept: days"),
        ({"keys-kept": {"enforcementLevel": "loud"}}, "enforcementLevel must be advisory, mandatory"),
    ],
)
def test_a_wrong_file_is_refused_with_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: dict[str, object], words: str
):
    (tmp_path / "dev.json").write_text(json.dumps(content))
    monkeypatch.setattr(pack, "CONFIGURATION", tmp_path)
    with pytest.raises(ValueError, match=words):
        pack.configuration("dev", RULES)


def test_a_file_can_change_the_level(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "dev.json").write_text(json.dumps({"probes": {"enforcementLevel": "advisory"}}))
    monkeypatch.setattr(pack, "CONFIGURATION", tmp_path)
    assert pack.configuration("dev", RULES) == {"probes": {"enforcementLevel": EnforcementLevel.ADVISORY}}


def test_configuration_reaches_the_policy():
    short = changed(world(), "key", ("deletionWindowInDays",), 7)
    assert judge("keys-kept", short)
    assert judge("keys-kept", short, config={"deletionDays": 7}) == []
    # Numbers come over the wire as floats.
    assert judge("keys-kept", short, config={"deletionDays": 7.0}) == []


def test_no_policy_has_a_quota_of_its_own():
    """The limits have one home, the stack's settings: a configuration with a number of GPUs would be a second one."""
    numbers = {"gpus", "vcpu", "nodes", "storageGib", "loadBalancers", "elasticIps", "clusters", "monthlyUsd"}
    for one in RULES:
        assert not numbers & set(one.config.model_json_schema(by_alias=True).get("properties", {})), one.name


@pytest.mark.parametrize(
    ("policy", "quotas"),
    [
        ("gpu-quota", {"gpus": {"a10g": 3}}),
        ("vcpu-quota", {"vcpu": {"onDemandStandard": 16, "spotG": 31}}),
        ("node-quota", {"nodes": 7}),
        ("instance-types", {"instanceTypes": ["m6i.*", "g5.*", "db.t4g.*"]}),
        ("regions", {"regions": []}),
        ("storage-quota", {"storageGib": 849}),
        ("load-balancer-quota", {"loadBalancers": 0}),
        ("elastic-ip-quota", {"elasticIps": 0}),
        ("cluster-quota", {"clusters": 0}),
    ],
)
def test_every_limit_follows_the_settings(policy: str, quotas: dict[str, object]):
    """One less in the stack's file, and the same resources are refused."""
    from world import SETTINGS

    less = settings(quotas={**SETTINGS["quotas"], **quotas})
    assert judge(policy, world()) == []
    assert judge(policy, world(), stack=less)


def test_what_is_not_declared_may_not_be_there():
    nothing = settings(quotas={})
    assert QuotaSettings() == nothing.quotas
    for policy in ("gpu-quota", "vcpu-quota", "node-quota", "regions", "storage-quota", "elastic-ip-quota"):
        assert judge(policy, world(), stack=nothing), policy


def test_the_share_of_a_team_is_what_the_platform_enforces_in_its_namespace():
    """One declaration, enforced twice: what the policy demands is what the platform writes into the ResourceQuota."""
    from components.platform.quotas import allowances, quota_specs
    from policies.objects import quantity
    from policies.quotas import team_shares

    stack = settings()
    hard = quota_specs(allowances(stack.workloads, [], stack.teams)["team-search"])["capacity"]["hard"]
    for key, share in team_shares(stack)["team-search"].items():
        assert quantity(hard[key]) == quantity(share), key
