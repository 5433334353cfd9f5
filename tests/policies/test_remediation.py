"""Remediation: what is missing is added, and nothing else is touched."""

from __future__ import annotations

from typing import Any

import pytest
from pulumi_policy import ResourceValidationPolicy
from pulumi_policy.deserialize import SPECIAL_SECRET_SIG, SPECIAL_SIG_KEY, deserialize_properties, serialize_properties
from world import GONE, LATER, Given, as_args, changed, judge, rule, settings, world

from policies.exemptions import Register
from policies.registry import Surroundings, to_sdk

pytestmark = pytest.mark.policies


def _remedied(policy: str, one: Given, props: dict[str, Any], exempt: Register | None = None) -> Any:
    """Properties after the remediation, as the engine gets them back; None where nothing was changed."""
    stack = settings()
    sdk = to_sdk(rule(policy), Surroundings(settings=lambda: stack, exempt=exempt or Register()))
    assert isinstance(sdk, ResourceValidationPolicy)
    found = sdk.remediate(as_args(one, props=deserialize_properties(props, True)))
    return None if found is None else serialize_properties(found)  # pyright: ignore[reportArgumentType]


def _bare(name: str) -> Given:
    from dataclasses import replace

    (one,) = (one for one in world() if one.name == name)
    return replace(one, provider={"region": "us-east-1"})


def test_missing_tags_are_added_from_the_settings():
    found = _remedied("tags", _bare("database"), {"instanceClass": "db.t4g.medium", "tags": {"Name": "mine"}})
    assert found["tags"] == {"Name": "mine", "owner": "ml-platform", "cost-center": "ml-test"}
    assert found["instanceClass"] == "db.t4g.medium"


def test_a_resource_without_any_tags_gets_them():
    assert _remedied("tags", _bare("bucket"), {})["tags"] == {"owner": "ml-platform", "cost-center": "ml-test"}


def test_tags_that_the_provider_gives_are_not_given_again():
    (database,) = (one for one in world() if one.name == "database")
    assert _remedied("tags", database, {"tags": {}}) is None


def test_a_value_of_ones_own_is_kept():
    found = _remedied("tags", _bare("bucket"), {"tags": {"owner": "somebody-else"}})
    assert found["tags"] == {"owner": "somebody-else", "cost-center": "ml-test"}


def test_secrets_and_unknown_values_come_through_untouched():
    secret = {SPECIAL_SIG_KEY: SPECIAL_SECRET_SIG, "value": "hunter2"}
    found = _remedied("tags", _bare("database"), {"password": secret, "kmsKeyId": LATER, "tags": {"at": LATER}})
    assert found["password"] == secret
    assert found["kmsKeyId"] == LATER
    assert found["tags"]["at"] == LATER


def test_labels_are_added_to_a_namespace():
    found = _remedied("labels", _bare("namespace"), {"metadata": {"name": "a", "labels": {"llmops/owner": "search"}}})
    assert found["metadata"] == {
        "name": "a",
        "labels": {"llmops/owner": "search", "llmops/cost-center": "ml-test"},
    }


def test_a_namespace_without_labels_gets_them():
    found = _remedied("labels", _bare("namespace"), {"metadata": {"name": "a"}})
    assert found["metadata"]["labels"] == {"llmops/owner": "ml-platform", "llmops/cost-center": "ml-test"}


def test_what_is_exempt_is_left_as_it_is():
    from datetime import date

    from policies.exemptions import Exemption

    one = _bare("bucket")
    reason = "Billing is by account here."
    entry = Exemption(policy="tags", resource="*::bucket", reason=reason, expires=date(2027, 1, 1))
    assert _remedied("tags", one, {}, Register((entry,))) is None


def test_without_remediation_the_same_is_a_violation():
    """Where the level is set to mandatory, nothing is added: what is missing is refused."""
    from dataclasses import replace

    bare = [replace(one, provider={}) for one in world() if one.name == "bucket"]
    assert any("lacks the tags owner, cost-center" in one for one in judge("tags", bare))
    missing = changed(world(), "namespace", ("metadata", "labels", "llmops/cost-center"), GONE)
    assert judge("labels", missing) == ["lacks the labels llmops/cost-center"]
