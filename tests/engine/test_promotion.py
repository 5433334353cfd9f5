"""The edits of a promotion, previewed and applied by the real engine: each changes the canary or the version alone."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from ops.models import cli, registry
from tests.engine.harness import Sandbox
from tests.unit.test_evaluation_gate import judged
from tests.unit.test_models_pinned import Mlflow
from tests.unit.test_ops_models import SMALL, Registry

pytestmark = pytest.mark.engine

# The stack's own file is read as the shipped program reads it; only foundation and platform are left out.
PROGRAM = """
    import pulumi
    from pulumi_kubernetes.core import v1 as core

    from components.settings import load_settings
    from tests.unit.platform_site import options, site
    from workloads.models.component import Models, ModelsArgs
    from workloads.models.stack import stack_models

    settings = load_settings()
    found = stack_models(settings, prefix="llmops-dev")
    place = site({"serving": settings.platform.serving.model_dump(by_alias=True)})
    namespace = core.Namespace("place", metadata={"name": "mlops-serving"}, opts=options(place))
    models = Models("models", ModelsArgs(site=place, specs=found.specs, plans=found.plans, after=[namespace]),
                    options(place))
    pulumi.export("models", models.outputs)
"""
SERVER = "mlops-serving-chat-server"
FILE = """\
config:
  llmops:owner: ml
  llmops:costCenter: "12"
  llmops:platform: {serving: {registryUrl: "%s"}}
  llmops:models:
    - name: chat # everybody's
      source: models:/chat@production
      architecture: meta-llama/Llama-3.2-1B-Instruct
      gpu: {type: a10g, count: 1}
      concurrency: 2
      replicas: {min: 1, max: 1}
"""


class Stack:
    """A stack with one model, and the commands on it."""

    def __init__(self, sandbox: Sandbox, mlflow: Mlflow, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sandbox, self.mlflow = sandbox, mlflow
        self.file = sandbox.project / "Pulumi.dev.yaml"
        self.file.write_text(FILE % mlflow.url)
        self.registry = Registry(2)
        self.registry.aliases = mlflow.aliases  # what previews look up is what the commands move
        judged(self.registry, "2")
        monkeypatch.setattr(registry, "opened", lambda _: self.registry)
        monkeypatch.setattr(registry, "config_of", lambda _: SMALL)
        monkeypatch.setattr(cli.Stack, "read", lambda name, **_: cli.Stack(name, True, self.outputs()))

    def outputs(self) -> dict[str, Any]:
        """What the stack says; nothing before it was first up."""
        return self.sandbox.outputs() if any((self.sandbox.home / "state").glob(".pulumi/stacks/*/dev.json")) else {}

    def models(self, *arguments: str) -> dict[str, Any]:
        answer = CliRunner().invoke(cli.app, [*arguments, "-s", "dev", "--settings", str(self.file), "--json", "--yes"])
        assert answer.exit_code == 0, answer.output
        return json.loads(answer.stdout)

    def models_list(self) -> list[dict[str, Any]]:
        answer = CliRunner().invoke(cli.app, ["list", "-s", "dev", "--json"])
        assert answer.exit_code == 0, answer.output
        return json.loads(answer.stdout)

    def previewed(self) -> dict[str, str]:
        """What a preview of the pull request shows: names of what changes, and how."""
        answer = self.sandbox.run("--quiet", "--", "pulumi", "preview", "--json")
        assert answer.code == 0, answer.text
        steps = json.loads(answer.stdout)["steps"]
        return {
            step["urn"].rsplit("::", 1)[1]: step["op"]
            for step in steps
            if step["op"] != "same" and not step["urn"].rsplit("::", 1)[1].startswith("probe-")
        }

    def served(self) -> dict[str, str]:
        """Where each server's weights are, by its name."""
        found = [one for one in self.sandbox.state().values() if one["type"].endswith(":InferenceService")]
        return {
            one["inputs"]["metadata"]["name"]: one["inputs"]["spec"]["predictor"]["model"]["args"][0] for one in found
        }


@pytest.fixture
def stack(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    mlflow = Mlflow()
    mlflow.root, mlflow.aliases = "s3://mlflow/artifacts", {"production": "1"}
    threading.Thread(target=mlflow.serve_forever, args=(0.05,), daemon=True).start()
    sandbox.write(PROGRAM)
    yield Stack(sandbox, mlflow, monkeypatch)
    mlflow.shutdown()
    mlflow.server_close()


def test_each_edit_of_a_promotion_changes_its_version_and_nothing_else(stack: Stack):
    old, new = "s3://mlflow/artifacts/1", "s3://mlflow/artifacts/2"
    stack.sandbox.up()
    assert stack.served() == {"chat": old}
    (row,) = stack.models_list()
    assert (row["version"], row["behind"]) == ("1", True)

    stack.models("promote", "chat", "2", "--canary", "10")
    shown = stack.previewed()
    assert shown
    assert all("chat-canary" in name and op == "create" for name, op in shown.items()), shown
    stack.sandbox.up()
    assert stack.served() == {"chat": old, "chat-canary": new}

    stack.models("promote", "chat", "2", "--full")
    assert stack.previewed() == {"model-chat-pinned": "update", SERVER: "update"}
    stack.sandbox.up()
    assert stack.served() == {"chat": new, "chat-canary": new}

    stack.models("promote", "chat", "2", "--full")
    (declared,) = yaml.safe_load(stack.file.read_text())["config"]["llmops:models"]
    assert (declared["source"], declared["refresh"]) == ("models:/chat@production", "version-2")
    shown = stack.previewed()
    assert shown.pop("model-chat-pinned") == "update"
    assert all("chat-canary" in name and op == "delete" for name, op in shown.items()), shown
    stack.sandbox.up()
    assert stack.served() == {"chat": new}
    assert [row["behind"] for row in stack.models_list()] == [False]

    stack.models("rollback", "chat", "--why", "worse")
    assert stack.previewed() == {"model-chat-pinned": "update", SERVER: "update"}
    stack.sandbox.up()
    assert stack.served() == {"chat": old}


def test_the_way_back_from_a_canary_removes_it_and_from_a_promoted_one_returns_the_weights(stack: Stack):
    old, new = "s3://mlflow/artifacts/1", "s3://mlflow/artifacts/2"
    stack.models("promote", "chat", "2", "--canary", "10")
    stack.sandbox.up()
    stack.models("rollback", "chat")
    shown = stack.previewed()
    assert shown
    assert all("chat-canary" in name and op == "delete" for name, op in shown.items()), shown

    stack.models("promote", "chat", "2", "--canary", "10")
    assert stack.previewed() == {}, "as it is up"
    stack.models("promote", "chat", "2", "--full")
    stack.sandbox.up()
    assert stack.served()["chat"] == new
    stack.models("rollback", "chat")
    shown = {name: op for name, op in stack.previewed().items() if "chat-canary" not in name}
    assert shown == {"model-chat-pinned": "update", SERVER: "update"}
    stack.sandbox.up()
    assert (stack.served(), stack.mlflow.aliases) == ({"chat": old}, {"production": "1"})
