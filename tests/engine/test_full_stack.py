"""The shipped program from nothing to nothing: the dev stack's whole life, in this order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.kubernetes.cluster import Cluster
from tests.engine.harness import FullStack

pytestmark = pytest.mark.engine


def test_up_gives_the_addresses_that_users_need(dev: FullStack):
    assert dev.up.code == 0
    outputs = dev.sandbox.outputs("dev")
    assert outputs["cloud"] == "aws"
    assert outputs["clusterEndpoint"].startswith("https://")
    assert outputs["databaseHost"].endswith(".us-east-1.rds.amazonaws.com")
    assert outputs["registry"].endswith(".dkr.ecr.us-east-1.amazonaws.com")
    assert {"data", "models", "mlflow", "pipelines", "vectors", "logs", "backups"} <= outputs["buckets"].keys()
    assert set(outputs["nodeGroups"]) == {"system", "cpu", "gpu-training", "gpu-inference"}


def test_the_first_line_says_that_this_is_the_sandbox(dev: FullStack):
    assert dev.up.stderr.startswith("sandbox: ")


def test_everything_in_the_account_is_known_to_the_engine_and_the_other_way_round(dev: FullStack):
    known = {r["id"] for r in dev.exported["deployment"]["resources"] if r["type"].startswith("aws:")}
    assert {record.id for record in dev.sandbox.account("dev")} == known


def _secrets(value: Any) -> Iterator[str]:
    """Plain text of every secret in an export."""
    if isinstance(value, dict):
        if "plaintext" in value:
            yield from _strings(json.loads(value["plaintext"]))
            return
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _secrets(item)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        try:
            inner = json.loads(value)
        except ValueError:
            yield value
        else:
            yield from _strings(inner) if isinstance(inner, (dict, list)) else (value,)
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)


def test_no_secret_is_in_plain_text_in_the_state_the_outputs_the_events_or_the_log(dev: FullStack):
    resources = dev.exported_in_clear["deployment"]["resources"]
    drawn = {r["outputs"]["result"] for r in _with_plain_results(resources)}
    assert len(drawn) >= 10, "the stack draws no passwords any more: this test looks for the wrong thing"
    versions = [r for r in resources if r["type"] == "aws:secretsmanager/secretVersion:SecretVersion"]
    marked = {text for r in versions for text in _secrets(r["inputs"])}
    assert drawn & marked, "the passwords do not reach Secrets Manager"

    said = {
        "the state": json.dumps(dev.exported),
        "the state's files": "".join(path.read_text() for path in _files(dev.sandbox.home / "state")),
        "the engine's events": dev.up.text,
        "the log": dev.again.text,
        "the configuration": "".join(path.read_text() for path in _files(dev.sandbox.home / "stacks/dev/project")),
    }
    for place, text in said.items():
        assert text, place
        leaked = [secret for secret in drawn if secret in text]
        assert not leaked, f"{len(leaked)} secrets are in plain text in {place}"


def _with_plain_results(resources: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Generated passwords, with the result as plain text."""
    for resource in resources:
        if resource["type"] == "random:index/randomPassword:RandomPassword":
            (result,) = _secrets(resource["outputs"]["result"])
            yield {"outputs": {"result": result}}


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_the_credentials_that_are_exported_are_names_in_the_secret_store(dev: FullStack):
    exported = {key for key in dev.sandbox.outputs("dev")["secrets"].values() if "secret:rds!" not in key}
    assert exported <= {r.id for r in dev.sandbox.account("dev") if r.type == "aws:secretsmanager/secret:Secret"}
    assert len(exported) >= 10


def test_up_again_changes_nothing(dev: FullStack):
    assert dev.again.code == 0, dev.again.text


def test_refresh_finds_nothing(dev: FullStack):
    assert dev.up
    dev.sandbox.succeed("refresh", "--yes", "--skip-preview", "--expect-no-changes", "-s", "dev")


def _live_objects(dev: FullStack) -> list[str]:
    """Objects of the stack that the API server holds; where there is no control plane, those that are recorded."""
    cluster = Cluster(dev.sandbox.home / "stacks" / "dev" / "kubernetes")
    if not cluster.exists:
        return [record.id for record in dev.sandbox.recorded_objects("dev")]
    client = cluster.client()
    found: list[str] = []
    for resource in dev.exported["deployment"]["resources"]:
        if not resource["type"].startswith("kubernetes:") or "metadata" not in resource["outputs"]:
            continue
        kind = client.kind(resource["outputs"]["apiVersion"], resource["outputs"]["kind"])
        metadata = resource["outputs"]["metadata"]
        if kind and client.get(kind, metadata.get("namespace"), metadata["name"]):
            found.append(metadata["name"])
    return found


def test_destroy_leaves_nothing_in_the_account_nor_in_the_cluster(dev: FullStack):
    assert dev.exported_in_clear
    assert _live_objects(dev), "the stack has no Kubernetes object any more: this test proves nothing of the cluster"
    dev.sandbox.destroy("-s", "dev")
    assert dev.sandbox.account("dev") == []
    assert _live_objects(dev) == []
    assert dev.sandbox.recorded_objects("dev") == []
    assert dev.sandbox.state("dev") == {}
