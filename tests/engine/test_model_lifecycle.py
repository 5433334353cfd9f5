"""The life of a model with the real engine: up, changed, canaried, promoted, rolled back, scaled to zero, destroyed."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.engine.harness import Sandbox
from tests.unit.stack_models import chat
from tests.unit.test_models_pinned import Mlflow

pytestmark = pytest.mark.engine

# The models alone, on a foundation without a cloud; what they would wait for of the platform is one namespace.
PROGRAM = """
    import json
    from pathlib import Path

    import pulumi
    from pulumi_kubernetes.core import v1 as core

    from tests.unit.platform_site import options, site
    from tests.unit.stack_models import planned
    from workloads.models.component import Models, ModelsArgs
    from workloads.models.registration import gateway_models

    given = json.loads(Path("models.json").read_text())
    found = planned(*given["models"], **given["stack"])
    place = site({"serving": found.settings.platform.serving.model_dump(by_alias=True)})
    namespace = core.Namespace("place", metadata={"name": "mlops-serving"}, opts=options(place))
    models = Models(
        "models",
        ModelsArgs(site=place, specs=found.specs, plans=found.plans, after=[namespace], gateway=[namespace]),
        options(place),
    )
    pulumi.export("models", models.outputs)
    pulumi.export("weights", {
        backend.name: backend.weight
        for model in gateway_models(found.specs, found.plans)
        for backend in model.backends
    })
"""
ONE = {"min": 1, "max": 1}
CANARY: dict[str, Any] = {"source": "s3://models/next", "percent": 20, "baseline": {}}
BACKENDS: dict[str, dict[str, Any]] = {
    "vllm": chat(replicas=ONE),
    "triton": chat(replicas=ONE, backend="triton", quantization="none"),
}


@dataclass(frozen=True)
class Life:
    """One model in a sandbox."""

    sandbox: Sandbox
    model: dict[str, Any]
    stack: dict[str, Any] = field(default_factory=dict[str, Any])

    def write(self, **changes: Any) -> None:
        """The settings, with some of the model's changed."""
        given = {"models": [{**self.model, **changes}], "stack": self.stack}
        (self.sandbox.project / "models.json").write_text(json.dumps(given))

    def up(self, **changes: Any) -> dict[str, dict[str, Any]]:
        """Bring it up with some settings changed; a second time changes nothing."""
        self.write(**changes)
        self.sandbox.up()
        self.sandbox.up("--expect-no-changes")
        return self.sandbox.state()

    def servers(self) -> dict[str, Any]:
        """What stands in the state for servers, by name of the version."""
        found = [one for one in self.sandbox.state().values() if one["type"].endswith(":InferenceService")]
        return {one["inputs"]["metadata"]["name"]: one for one in found}

    @property
    def weights(self) -> dict[str, int]:
        return self.sandbox.outputs()["weights"]


@pytest.fixture(params=list(BACKENDS))
def life(request: pytest.FixtureRequest, sandbox: Sandbox) -> Life:
    sandbox.write(PROGRAM)
    return Life(sandbox, BACKENDS[request.param])


def test_the_life_of_a_model(life: Life):
    life.up()
    assert set(life.servers()) == {"chat"}
    stable = life.servers()["chat"]
    told = life.sandbox.outputs()["models"]["chat"]
    assert told["usdPerHourMinimum"] == told["usdPerHourMaximum"] > 0
    assert set(told["versions"]) == {"stable"}

    life.up(concurrency=1)
    changed = life.servers()["chat"]
    assert changed["urn"] == stable["urn"]
    assert changed["id"] == stable["id"], "a model is changed where it stands, and is never away"

    life.up(canary=CANARY)
    assert set(life.servers()) == {"chat", "chat-canary"}
    assert life.servers()["chat"]["inputs"] == stable["inputs"], "its canary changes nothing of the model itself"
    assert life.weights == {"stable": 80, "canary": 20}

    state = life.up(canary={**CANARY, "state": "promoted"})
    promoted = life.servers()
    assert set(promoted) == {"chat", "chat-canary"}
    assert promoted["chat"]["id"] == stable["id"]
    assert promoted["chat"]["inputs"] != stable["inputs"]
    assert "s3://models/llama" not in json.dumps([one.get("inputs") for one in state.values() if one["custom"]])

    life.up(source="s3://models/next")
    assert life.servers()["chat"]["inputs"] == promoted["chat"]["inputs"], "cleaning up touches no server"
    assert set(life.servers()) == {"chat"}

    life.up(canary=CANARY)
    life.up(canary={**CANARY, "state": "rolled-back"})
    assert set(life.servers()) == {"chat"}
    assert life.servers()["chat"]["inputs"] == stable["inputs"]
    assert life.weights == {"stable": 80}

    asleep = life.up(replicas={"min": 0, "max": 1})
    kinds = {one["type"].rpartition(":")[2] for one in asleep.values()}
    assert {"InterceptorRoute", "ScaledObject"} <= kinds
    assert life.servers()["chat"]["id"] == stable["id"]

    life.sandbox.destroy()
    assert (life.sandbox.state(), life.sandbox.recorded_objects()) == ({}, [])


def test_a_model_of_the_registry_stays_with_the_version_that_its_alias_named(sandbox: Sandbox):
    registry = Mlflow()
    registry.root = "s3://mlflow/artifacts"
    threading.Thread(target=registry.serve_forever, args=(0.05,), daemon=True).start()
    sandbox.write(PROGRAM)
    stack = {"platform": {"serving": {"registryUrl": registry.url}}}
    life = Life(sandbox, chat(replicas=ONE, source="models:/llama@champion"), stack)

    def served() -> str:
        return life.servers()["chat"]["inputs"]["spec"]["predictor"]["model"]["args"][0]

    life.write()
    assert "s3://mlflow/artifacts/3" in sandbox.succeed("preview", "--diff"), "a preview says what would be served"
    life.up()
    assert served() == "s3://mlflow/artifacts/3"

    registry.aliases["champion"] = "4"
    life.up()
    assert served() == "s3://mlflow/artifacts/3", "an alias that moves changes nothing by itself"
    life.up(refresh="2026-11-22")
    assert served() == "s3://mlflow/artifacts/4"

    registry.shutdown()
    registry.server_close()
    life.up(refresh="2026-11-22", concurrency=1)
    life.write(refresh="2026-11-23")
    refused = sandbox.pulumi("preview")
    assert refused.code != 0
    assert "cannot be reached" in refused.text
    sandbox.destroy()
    assert sandbox.state() == {}
