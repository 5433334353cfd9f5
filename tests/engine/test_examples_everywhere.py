"""All examples in each shipped stack, through the real engine: providers, types and admission judge every resource."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from sandbox.engine import Engine
from sandbox.kubernetes.cluster import Cluster
from tests.data_plane import vertex_server
from tests.data_plane.environments import environment
from tests.engine.harness import ROOT, Sandbox
from tests.unit.example_stacks import EXAMPLES, PLACES, stack_with
from tests.unit.test_models_pinned import Mlflow

pytestmark = pytest.mark.engine

# Of the program; the rest of a checkout is not its.
_PROGRAM = ("__main__.py", "Pulumi.yaml", "components", "workloads", "ops")
_REGISTRIES = {
    "dev": "s3://llmops-dev-mlflow-{account}-us-east-1/artifacts/1",
    "gcp": "gs://llmops-gcp-mlflow-llmops-example/artifacts/1",
    "onprem": "s3://llmops-onprem-mlflow/artifacts/1",
}
_ACCOUNT = "123456789012"  # the sandbox's account where no other is set, and the number of its project
_OURS = {  # a model that the cluster serves, and what comes by schedule
    "kubernetes:serving.kserve.io/v1beta1:InferenceService",
    "kubernetes:argoproj.io/v1alpha1:CronWorkflow",
}


@pytest.fixture
def registry() -> Iterator[Mlflow]:
    """A registry of models that knows the canary of the examples."""
    server = Mlflow()
    server.aliases = {"challenger": "3"}
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("stack", PLACES)
def test_all_examples_come_up_together_stay_as_they_are_and_go(
    stack: str, registry: Mlflow, tmp_path: Path, engine: Engine
):
    del engine  # skipped where there is none
    project = tmp_path / "program"
    project.mkdir()
    for name in _PROGRAM:
        (project / name).symlink_to(ROOT / name)
    examples = [example for example in EXAMPLES if example not in PLACES[stack].refused]
    settings = {f"llmops:{name}": value for name, value in stack_with(stack, examples).items()}
    settings["llmops:protect"] = "false"
    (project / f"Pulumi.{stack}.yaml").write_text(yaml.safe_dump({"config": settings}))
    registry.root = _REGISTRIES[stack].format(account=_ACCOUNT)
    packages = [str(ROOT)]
    if "vertex" in examples:  # its provider wants Google's client, which only those install who declare such a model
        packages += map(str, (environment("vertex") / "lib").glob("python*/site-packages"))
    with vertex_server.running(_ACCOUNT) as vertex:
        sandbox = Sandbox(
            project,
            tmp_path / "home",
            {
                "MLFLOW_TRACKING_URI": registry.url,
                "VERTEX_EMULATOR": vertex.url,
                "SANDBOX_SAVE": "",
                "PYTHONPATH": os.pathsep.join(packages),
            },
        )
        try:
            sandbox.up("-s", stack)
            types = {resource["type"] for resource in sandbox.state(stack).values()}
            assert types >= _OURS
            assert ("sagemaker" in examples) == ("aws:sagemaker/endpoint:Endpoint" in types)
            assert ("vertex" in examples) == bool(vertex.endpoints)
            sandbox.up("-s", stack, "--expect-no-changes")
            sandbox.destroy("-s", stack)
            assert sandbox.account(stack) == []
            assert sandbox.recorded_objects(stack) == []
            assert sandbox.state(stack) == {}
            assert vertex.endpoints == vertex.models == {}
        finally:
            sandbox.end()
            Cluster(sandbox.home / "stacks" / stack / "kubernetes").down()
