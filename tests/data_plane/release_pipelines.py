"""What the SDKs of Argo Workflows and Kubeflow Pipelines say of releases; runs in their own environment.

Usage: ``release_pipelines.py <what> < emitted.json``; the answer is JSON on the last line.

Without ``from __future__ import annotations``: Kubeflow's SDK reads the types of functions.
"""

# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false, reportCallIssue=false
# The SDKs are in another environment, and their decorators change what they decorate.

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "workloads" / "release"))


def argo(emitted: dict[str, Any]) -> dict[str, Any]:
    """Read the template and the schedules with the types that Hera makes from Argo's own description."""
    from hera.workflows import models

    lost = []
    for model, value in ((models.WorkflowSpec, emitted["template"]), (models.CronWorkflowSpec, emitted["schedule"])):
        read = model.model_validate(value).model_dump(by_alias=True, exclude_none=True, mode="json")
        lost += _lost(value, read)
    return {"unknown": lost}


def _lost(given: Any, read: Any, path: str = "") -> list[str]:
    """Where something that was given is not in what was read."""
    if isinstance(given, dict):
        if not isinstance(read, dict):
            return [path]
        return [
            one
            for key, value in given.items()
            for one in ([f"{path}{key}"] if key not in read else _lost(value, read[key], f"{path}{key}."))
        ]
    if isinstance(given, list) and isinstance(read, list):
        pairs = zip(given, read, strict=True)
        return [one for at, (a, b) in enumerate(pairs) for one in _lost(a, b, f"{path}[{at}].")]
    return []


def compiled(emitted: dict[str, Any]) -> dict[str, Any]:
    """Compile the pipeline, and read it back."""
    import compile_pipeline
    from kfp import compiler, components

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(compile_pipeline.pipeline_of(emitted), str(file))
        text = file.read_text()
        loaded = components.load_component_from_file(str(file))
    return {"text": text, "name": loaded.name, "inputs": list(loaded.component_spec.inputs or {})}


def local(emitted: dict[str, Any]) -> dict[str, Any]:
    """Run the pipeline here: every step as Kubeflow's launcher would, but as a process of this machine."""
    import compile_pipeline
    from kfp import dsl
    from kfp import local as runner

    script = str(Path(compile_pipeline.__file__).with_name("pipeline_step.py"))

    @dsl.component(base_image="python:3.12", install_kfp_package=False)
    def step(script: str, told: str, job: str, a: str = "", b: str = "", c: str = "", d: str = "") -> str:
        import pathlib
        import subprocess
        import sys
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            target = pathlib.Path(folder) / "results"
            earlier = [one for one in (a, b, c, d) if one]
            done = subprocess.run([sys.executable, script, told, job, str(target), *earlier], check=False)
            if done.returncode:
                raise SystemExit(done.returncode)
            return target.read_text()

    def make(one: dict[str, Any], sources: list[str]) -> Callable[..., Any]:
        told = json.dumps({key: one[key] for key in ("name", "command", "config", "gives", "when")}, sort_keys=True)

        def call(job: str, **values: Any) -> Any:
            slots = dict(zip("abcd", (values[source] for source in sources), strict=False))
            task = step(script=script, told=told, job=job, **slots)
            return _Task(task)

        return call

    class _Task:
        """The component has one result, under Kubeflow's own name for it."""

        def __init__(self, task: Any) -> None:
            self._task = task
            self.outputs = {"results": task.output}

        def __getattr__(self, name: str) -> Any:
            return getattr(self._task, name)

    pipeline = compile_pipeline.pipeline_of(emitted, make, lambda *_: None)
    with tempfile.TemporaryDirectory() as folder:
        runner.init(runner=runner.SubprocessRunner(use_venv=False), pipeline_root=folder, raise_on_error=False)
        run = pipeline()
    return {"state": str(getattr(run, "state", "done"))}


if __name__ == "__main__":
    work = {"argo": argo, "compiled": compiled, "local": local}[sys.argv[1]]
    print(json.dumps(work(json.load(sys.stdin))))
