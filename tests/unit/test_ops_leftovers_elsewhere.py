"""Leftovers on Google Cloud and in a cluster of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from ops.leftovers import gcp, onprem
from ops.leftovers.record import Record
from ops.preflight.gcp.account import GoogleError
from ops.stack import StackError

pytestmark = pytest.mark.unit

RECORD = Record(
    project="llmops",
    stack="gcp",
    cloud="gcp",
    regions=("us-central1",),
    account="example",
    cluster="llmops-gcp",
    volumes=("projects/example/zones/us-central1-a/disks/pvc-1",),
)


class Project:
    """A project that answers by the end of the URL."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers

    def get(self, url: str, /, **parameters: str) -> dict[str, Any]:
        answer = self.answers.get(url.rpartition("/")[2], {})
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, list):
            return cast("list[dict[str, Any]]", answer)[int(parameters.get("pageToken", 0))]
        return answer

    def post(self, url: str, body: Any, /) -> dict[str, Any]:
        raise AssertionError(url, body)


def disks(*found: dict[str, Any], more: str = "") -> dict[str, Any]:
    return {"items": {"zones/us-central1-a": {"disks": list(found)}}, "nextPageToken": more}


def test_disks_and_rules_of_the_cluster_are_found_on_every_page_and_nobody_elses():
    ours = {"name": "pvc-1"}
    labelled = {"name": "pvc-2", "labels": {"goog-k8s-cluster-name": "llmops-gcp"}}
    foreign = {"name": "pvc-3", "labels": {"goog-k8s-cluster-name": "llmops-gcp", "stack": "llmops-gcp-eu"}}
    rule = {"name": "a1b2", "labels": {"goog-k8s-cluster-name": "llmops-gcp"}}
    project = Project(
        disks=[disks(ours, more="1"), disks(labelled, foreign)],
        forwardingRules={"items": {"regions/us-central1": {"forwardingRules": [rule]}}},
    )
    found = gcp.search(project, RECORD)
    assert {(one.kind, one.name, one.fate) for one in found.found} == {
        ("volume", "pvc-1", "data"), ("volume", "pvc-2", "data"), ("forwarding rule", "a1b2", "safe"),
    }  # fmt: skip
    commands = {one.name: one.command for one in found.found}
    assert commands["pvc-1"] == "gcloud compute disks delete pvc-1 --zone us-central1-a --project example"
    assert commands["a1b2"].endswith("delete a1b2 --region us-central1 --project example")


def test_a_project_that_refuses_a_question_is_not_proven_clean():
    denied = GoogleError(403, "IAM_PERMISSION_DENIED", "https://x", "no")
    off = GoogleError(403, "SERVICE_DISABLED", "https://x", "off")
    found = gcp.search(Project(instances=denied, secrets=off), RECORD)
    assert "machines" in {one.what for one in found.unseen}
    assert "secrets" not in {one.what for one in found.unseen}, "an API that is off has nothing"
    assert found.exit_code == 2


def cluster(*objects: dict[str, Any]) -> str:
    return json.dumps({"items": list(objects)})


def test_what_stays_in_a_cluster_that_outlives_the_stack_is_found(monkeypatch: pytest.MonkeyPatch):
    record = Record(project="llmops", stack="onprem", cloud="onprem", namespaces=("mlops-data", "keda"))
    charts = {"meta.helm.sh/release-namespace": "keda", "meta.helm.sh/release-name": "keda"}
    told = cluster(
        {"kind": "Namespace", "metadata": {"name": "mlops-data"}},
        {"kind": "Namespace", "metadata": {"name": "shop"}},
        {"kind": "PersistentVolume", "metadata": {"name": "v"}, "spec": {"claimRef": {"namespace": "mlops-data"}}},
        {"kind": "PersistentVolume", "metadata": {"name": "w"}, "spec": {"claimRef": {"namespace": "shop"}}},
        {"kind": "CustomResourceDefinition", "metadata": {"name": "scaledobjects.keda.sh", "annotations": charts}},
        {"kind": "ClusterRole", "metadata": {"name": "r", "labels": {"app.kubernetes.io/part-of": "llmops"}}},
    )

    def answering(*_arguments: Any, **_named: Any) -> str:
        return told

    monkeypatch.setattr(onprem, "kubectl", answering)
    found = onprem.search(record, Path("kubeconfig"))
    assert {(one.name, one.fate) for one in found.found} == {
        ("mlops-data", "data"), ("v", "data"), ("scaledobjects.keda.sh", "by hand"), ("r", "safe"),
    }  # fmt: skip


def test_a_cluster_that_does_not_answer_proves_nothing(monkeypatch: pytest.MonkeyPatch):
    def silent(*_arguments: Any, **_named: Any) -> str:
        raise StackError("no route to host")

    monkeypatch.setattr(onprem, "kubectl", silent)
    record = Record(project="llmops", stack="onprem", cloud="onprem")
    assert onprem.search(record, Path("kubeconfig")).exit_code == 2
