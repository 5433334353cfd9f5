"""The shipped stacks that are not on AWS: each from nothing to nothing, in this order."""

from __future__ import annotations

import json

import pytest

from sandbox.kubernetes.cluster import Cluster
from tests.engine.harness import FullStack

pytestmark = pytest.mark.engine


def test_up_gives_the_addresses_that_users_need_on_google_cloud(gcp: FullStack):
    assert gcp.up.code == 0
    outputs = gcp.sandbox.outputs("gcp")
    assert outputs["cloud"] == "gcp"
    assert outputs["databaseHost"].endswith(".us-central1.sql.goog")
    assert outputs["registry"] == "us-central1-docker.pkg.dev"
    assert set(outputs["nodeGroups"]) == {"system", "cpu", "gpu-training", "gpu-inference"}


def test_up_gives_the_addresses_that_users_need_on_premises(onprem: FullStack):
    assert onprem.up.code == 0
    outputs = onprem.sandbox.outputs("onprem")
    assert outputs["cloud"] == "onprem"
    assert outputs["databaseHost"].endswith(".llmops-stores.svc")
    assert outputs["registry"] == "registry.dc1.internal"
    assert set(outputs["nodeGroups"]) == {"system", "cpu", "training", "inference"}


def test_on_premises_nothing_is_asked_of_a_cloud(onprem: FullStack):
    packages = {one["type"].split(":")[0] for one in onprem.exported["deployment"]["resources"]}
    assert packages <= {"pulumi", "llmops", "kubernetes", "random", "tls"}


def test_no_password_is_in_plain_text_in_the_state_or_the_events(other_stack: FullStack):
    passwords = [
        json.loads(one["outputs"]["result"]["plaintext"])
        for one in other_stack.exported_in_clear["deployment"]["resources"]
        if one["type"] == "random:index/randomPassword:RandomPassword"
    ]
    assert len(passwords) >= 10, "the stack draws no passwords any more: this test looks for the wrong thing"
    for place, text in (("state", json.dumps(other_stack.exported)), ("events", other_stack.up.text)):
        leaked = [one for one in passwords if one in text]
        assert not leaked, f"{len(leaked)} passwords are in plain text in the {place}"


def test_everything_that_costs_has_a_price(other_stack: FullStack):
    """The policies say at every preview what the sum leaves out."""
    said = [one["message"] for one in other_stack.events("policyEvent") if one["policyName"] == "priced"]
    assert said == []


def test_up_again_changes_nothing(other_stack: FullStack):
    assert other_stack.again.code == 0, other_stack.again.text


def test_destroy_leaves_nothing(other_stack: FullStack):
    name, sandbox = other_stack.stack, other_stack.sandbox
    assert other_stack.exported  # what other modules look at
    assert other_stack.exported_in_clear
    sandbox.succeed("state", "unprotect", "--all", "--yes", "-s", name)
    sandbox.destroy("-s", name)
    assert sandbox.account(name) == []
    assert sandbox.recorded_objects(name) == []
    assert sandbox.state(name) == {}
    cluster = Cluster(sandbox.home / "stacks" / name / "kubernetes")
    if cluster.exists:
        left = cluster.client().items("/api/v1/namespaces", labelSelector="llmops/owner")
        assert [one["metadata"]["name"] for one in left] == []
