"""Manifests as data: names, replacements, secrets and drift, without a server."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.kubernetes import manifests
from sandbox.values import UNKNOWN, Secret

pytestmark = pytest.mark.unit


def _named(token: str, inputs: dict[str, Any], old: dict[str, Any] | None = None, seed: bytes = b"a") -> dict[str, Any]:
    return manifests.named(inputs, old or {}, token, "web", seed)


def _deployment(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


def _replacing(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    return [difference.path for difference in manifests.differences(old, new) if difference.replaces]


def test_an_object_without_a_name_gets_one_and_keeps_it_until_it_is_replaced():
    first = _named("kubernetes:core/v1:ConfigMap", {})
    assert first["metadata"]["name"].startswith("web-")
    assert len(first["metadata"]["name"]) == len("web-") + 7
    assert first["metadata"]["annotations"] == {"pulumi.com/autonamed": "true"}
    assert (first["apiVersion"], first["kind"]) == ("v1", "ConfigMap")
    again = _named("kubernetes:core/v1:ConfigMap", {}, old=first, seed=b"b")
    replacement = _named("kubernetes:core/v1:ConfigMap", {}, seed=b"b")
    assert again["metadata"]["name"] == first["metadata"]["name"]
    assert replacement["metadata"]["name"] != first["metadata"]["name"]


def test_a_patch_is_of_the_kind_that_it_changes_and_is_never_named_for_the_user():
    patch = _named("kubernetes:apps/v1:DeploymentPatch", {"metadata": {}})
    assert patch["kind"] == "Deployment"
    assert "name" not in patch["metadata"]


@pytest.mark.parametrize(
    ("old", "new", "replacing"),
    [
        (_deployment(replicas=1), _deployment(replicas=2), []),
        (_deployment(selector={"a": "b"}), _deployment(selector={"a": "c"}), ["spec.selector.a"]),
        (
            {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "a"}, "provisioner": "x"},
            {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "b"}, "provisioner": "y"},
            ["metadata.name", "provisioner"],
        ),
        (
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "immutable": True, "data": {"x": "1"}},
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "immutable": True, "data": {"x": "2"}},
            ["data.x"],
        ),
        (
            {"apiVersion": "apps/v1beta1", "kind": "Deployment", "metadata": {"name": "a"}},
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}},
            [],
        ),
    ],
)
def test_what_the_real_provider_replaces_is_replaced(old: dict[str, Any], new: dict[str, Any], replacing: list[str]):
    assert _replacing(old, new) == replacing


def test_paths_of_keys_with_dots_are_quoted():
    old: dict[str, Any] = {"kind": "X", "metadata": {"labels": {"app.kubernetes.io/name": "a"}}}
    new: dict[str, Any] = {"kind": "X", "metadata": {"labels": {"app.kubernetes.io/name": "b"}}}
    assert [d.path for d in manifests.differences(old, new)] == ['metadata.labels["app.kubernetes.io/name"]']


def test_the_content_of_a_secret_is_secret_in_inputs_and_outputs():
    live = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "a", "resourceVersion": "7"},
        "data": {"k": "dg=="},
    }
    outputs = manifests.observed(live, "manager")
    assert outputs["data"] == Secret({"k": "dg=="})
    assert "resourceVersion" not in outputs["metadata"]
    assert isinstance(manifests.guarded({**live, "stringData": {"k": "v"}})["stringData"], Secret)


def test_a_preview_knows_the_inputs_and_that_the_rest_comes_later():
    service: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"ports": []},
    }
    expected = manifests.expected(service, "manager")
    assert expected["status"] is UNKNOWN
    assert expected["spec"] == {"clusterIP": UNKNOWN, "ports": []}
    assert expected["metadata"]["uid"] is UNKNOWN


def test_unknown_values_are_stood_for_and_remembered_by_their_paths():
    value, paths = manifests.with_placeholders({"spec": {"env": [{"value": UNKNOWN}, {"value": "b"}]}, "other": 1})
    assert value == {"spec": {"env": [{"value": manifests.PLACEHOLDER}, {"value": "b"}]}, "other": 1}
    assert paths == ["spec.env[0].value"]


def test_drift_is_what_differs_from_what_the_server_would_make_not_from_the_spelling_of_the_inputs():
    inputs = {"spec": {"replicas": 2, "cpu": "1000m", "list": [{"a": 1}]}}
    declared = {"spec": {"replicas": 2, "cpu": "1", "list": [{"a": 1, "default": True}]}}
    live = {"spec": {"replicas": 5, "cpu": "1", "list": [{"a": 1, "default": True}]}}
    assert manifests.drifted(inputs, declared, declared) == inputs
    assert manifests.drifted(inputs, declared, live) == {"spec": {"replicas": 5, "cpu": "1000m", "list": [{"a": 1}]}}
