"""What the SDKs of Argo Workflows and Kubeflow Pipelines say; runs in their own environment, without this project.

Usage: ``workflow_definitions.py <what> < emitted.json``; the answer is JSON on the last line.

Without ``from __future__ import annotations``: both SDKs read the types of functions.
"""

# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportUnusedExpression=false
# The SDKs are in another environment, and their decorators change what they decorate.

import json
import sys
import tempfile
from pathlib import Path
from typing import Any


def argo(emitted: dict[str, Any]) -> dict[str, Any]:
    """Read the controller's configuration with the types that Hera makes from Argo's own description."""
    from hera.workflows import models

    answer: dict[str, Any] = {"unknown": []}
    for name, model, value in (
        ("workflowDefaults", models.WorkflowSpec, emitted["workflowDefaults"]["spec"]),
        ("mainContainer", models.Container, {"image": "any", **emitted["mainContainer"]}),
        ("executor", models.Container, {"image": "any", **emitted["executor"]}),
        ("artifactRepository", models.ArtifactRepository, emitted["artifactRepository"]),
    ):
        read = model.model_validate(value).model_dump(by_alias=True, exclude_none=True, mode="json")
        answer["unknown"] += [f"{name}.{path}" for path in _lost(value, read)]
        answer[name] = read
    return answer


def _lost(given: Any, read: Any, path: str = "") -> list[str]:
    """Where something that was given is not in what was read."""
    if isinstance(given, dict):
        if not isinstance(read, dict):
            return [path or "."]
        return [
            one
            for key, value in given.items()
            if key != "image"
            for one in ([f"{path}{key}"] if key not in read else _lost(value, read[key], f"{path}{key}."))
        ]
    return []


def hera(emitted: dict[str, Any]) -> dict[str, Any]:
    """Write a workflow as people do, in the namespace and with the account that there are."""
    from hera.workflows import DAG, Parameter, Workflow, script

    @script(image="python:3.12")
    def prepare(rows: int) -> None:
        print(rows)

    with (
        Workflow(
            generate_name="prepare-",
            namespace=emitted["namespace"],
            service_account_name=emitted["account"],
            entrypoint="main",
            arguments=[Parameter(name="rows", value="100")],
        ) as workflow,
        DAG(name="main"),
    ):
        first = prepare(name="first", arguments={"rows": "{{workflow.parameters.rows}}"})
        first >> prepare(name="second", arguments={"rows": "5"})
    return workflow.to_dict()


def kfp(emitted: dict[str, Any]) -> dict[str, Any]:
    """Compile a pipeline that starts a training job, read it back, and run its first step here."""
    from kfp import compiler, components, dsl, kubernetes, local

    @dsl.component(base_image="python:3.12", install_kfp_package=False)
    def submit(manifest: str) -> str:
        import json

        job = json.loads(manifest)
        return f"{job['kind']} {job['spec']['trainer']['numNodes']}"

    @dsl.component(base_image="python:3.12", install_kfp_package=False)
    def kinds(manifest: dict) -> str:
        return type(manifest["spec"]["trainer"]["numNodes"]).__name__

    manifest = json.dumps(emitted["job"])

    @dsl.pipeline(name="tune")
    def tune(manifest: str = manifest) -> str:
        step = submit(manifest=manifest)
        kubernetes.use_secret_as_env(step, emitted["secret"], {"MLFLOW_TRACKING_URI": "MLFLOW_TRACKING_URI"})
        step.set_cpu_request("100m").set_memory_limit("256Mi")
        return step.output

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "tune.yaml"
        compiler.Compiler().compile(tune, str(file))
        text = file.read_text()
        loaded = components.load_component_from_file(str(file))
        local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=folder)
        told = submit(manifest=manifest).output
        as_dict = kinds(manifest=emitted["job"]).output
    return {"text": text, "name": loaded.name, "told": told, "as_dict": as_dict}


if __name__ == "__main__":
    work = {"argo": argo, "hera": hera, "kfp": kfp}[sys.argv[1]]
    print(json.dumps(work(json.load(sys.stdin))))
