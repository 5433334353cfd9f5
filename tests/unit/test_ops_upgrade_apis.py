"""API versions that end: found in states, in what releases installed, and in what a cluster knows of itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ops.stack import StackError
from ops.upgrade import live, planning
from ops.upgrade.removed import REMOVALS, find, in_state, until

pytestmark = pytest.mark.unit

URN = "urn:pulumi:dev::llmops::"


def object_(type_: str, name: str, **inputs: Any) -> dict[str, Any]:
    return {"urn": f"{URN}{type_}::{name}", "type": type_, "inputs": inputs}


def test_an_object_of_a_version_that_ends_is_found_and_refused_only_from_the_release_that_ends_it():
    state = [
        object_("kubernetes:networking.k8s.io/v1beta1:ServiceCIDR", "more-services"),
        object_("kubernetes:networking.k8s.io/v1:NetworkPolicy", "fine"),
        object_("pulumi:pulumi:Stack", "llmops-dev"),
    ]
    uses = in_state(state)
    assert [(one.api, one.what, one.removed) for one in uses] == [("networking.k8s.io/v1beta1", "ServiceCIDR", 37)]
    assert until(uses, 36) == ([], uses)
    gone, _ = until(uses, 37)
    assert "move to networking.k8s.io/v1" in gone[0].sentence()

    stack = {**object_("pulumi:pulumi:Stack", "llmops-dev"), "outputs": {"cloud": "gcp", "kubernetesVersion": "1.36"}}
    refused = planning.build([stack, *state[:2]], target="1.37")
    assert any("ServiceCIDR of networking.k8s.io/v1beta1" in one for one in refused.objections)
    warned = planning.build([stack, *state[:2]], target="1.36")
    assert warned.ending == tuple(uses)
    assert not any("ServiceCIDR" in one for one in warned.objections)


def test_custom_objects_are_known_by_what_is_sent_and_not_by_the_sdks_type():
    state = [
        object_(
            "kubernetes:yaml/v2:Anything", "flow", apiVersion="flowcontrol.apiserver.k8s.io/v1beta3", kind="FlowSchema"
        )
    ]
    assert [one.removed for one in in_state(state)] == [32]


def test_what_a_release_installed_is_read_from_its_names():
    release = object_("kubernetes:helm.sh/v3:Release", "platform-serving")
    release["outputs"] = {
        "resourceNames": {
            "VolumeAttributesClass.storage.k8s.io/storage.k8s.io/v1beta1": ["fast"],
            "Deployment.apps/apps/v1": ["kserve/controller"],
            "ConfigMap/v1": ["kserve/values"],
        }
    }
    (use,) = in_state([release])
    assert use.where == "VolumeAttributesClass fast of release platform-serving"
    assert use.removed == 37


def test_no_row_ends_before_it_warns_and_none_stands_twice():
    assert all(row.deprecated < row.removed for row in REMOVALS)
    assert len({(row.api, row.kind) for row in REMOVALS}) == len(REMOVALS)
    assert all(row.instead != row.api and find(row.instead, row.kind) is None for row in REMOVALS)


def test_the_api_servers_own_count_names_what_is_still_asked_for():
    def line(group: str, version: str, resource: str, removed: str, value: int) -> str:
        labels = {
            "group": group,
            "removed_release": removed,
            "resource": resource,
            "subresource": "",
            "version": version,
        }
        told = ",".join(f'{key}="{label}"' for key, label in labels.items())
        return f"apiserver_requested_deprecated_apis{{{told}}} {value}"

    metrics = "\n".join(
        (
            "# TYPE apiserver_requested_deprecated_apis gauge",
            line("networking.k8s.io", "v1beta1", "servicecidrs", "1.37", 1),
            line("", "v1", "endpoints", "", 1),  # it warns, and no release ends it
            line("resource.k8s.io", "v1beta1", "deviceclasses", "1.38", 0),
        )
    )
    (use,) = live.of_metrics(metrics)
    assert (use.api, use.what, use.removed) == ("networking.k8s.io/v1beta1", "servicecidrs", 37)


def test_whoever_wrote_an_object_with_an_ending_version_is_named(monkeypatch: pytest.MonkeyPatch):
    """The object itself looks new: the API server shows it in whatever version is asked for."""
    asked: list[str] = []
    listed = {
        "items": [
            {
                "metadata": {
                    "name": "more-services",
                    "managedFields": [
                        {"manager": "somebodys-operator", "apiVersion": "networking.k8s.io/v1beta1"},
                        {"manager": "pulumi", "apiVersion": "networking.k8s.io/v1"},
                    ],
                }
            }
        ]
    }

    def kubectl(_kubeconfig: Path, arguments: list[str]) -> str:
        asked.append(arguments[1])
        if arguments[1] == "--raw":
            return ""
        if arguments[1] == "servicecidr.v1beta1.networking.k8s.io":
            return json.dumps(listed)
        raise StackError("the server doesn't have a resource type")

    monkeypatch.setattr(live, "kubectl", kubectl)
    (use,) = live.uses(Path("kubeconfig"), current=36, target=37)
    assert use.where == "ServiceCIDR more-services, written by somebodys-operator"
    assert not any("v1beta3.flowcontrol" in one for one in asked), (
        "what the present version does not serve is not asked"
    )
