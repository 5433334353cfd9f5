"""Leftovers in a cluster of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ops.leftovers import onprem
from ops.leftovers.record import Record
from ops.stack import StackError

pytestmark = pytest.mark.unit


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
