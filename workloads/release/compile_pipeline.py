"""Make a Kubeflow pipeline of a flow. It runs where Kubeflow's SDK is, without this project.

``python compile_pipeline.py < flow.json > pipeline.yaml``; ``pulumi stack output`` has ``flow.json`` of each release.

Steps that are left out run all the same, and end at once: a step behind a ``dsl.If`` could not wait for one in it.
Retries take no heed of exit codes here: a step that was refused is tried again before the run fails.
"""

# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false, reportCallIssue=false
# The SDK is in another environment, and its decorators change what they decorate.

import inspect
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from kfp import compiler, components, dsl, kubernetes

STEP = Path(__file__).with_name("pipeline_step.py").read_text()
INPUTS = "inputs"


def component_of(step: dict[str, Any], sources: list[str]) -> Callable[..., Any]:
    """The step as a component: a container of its own image."""
    told = {key: step[key] for key in ("name", "command", "config", "gives", "when")}
    definition = {
        "name": step["name"],
        "inputs": [{"name": "job", "type": "String"}, *({"name": one, "type": "String"} for one in sources)],
        "outputs": [{"name": "results", "type": "String"}],
        "implementation": {
            "container": {
                "image": step["image"],
                "command": ["python3", "-c", STEP],
                "args": [
                    json.dumps(told, sort_keys=True),
                    {"inputValue": "job"},
                    {"outputPath": "results"},
                    *({"inputValue": one} for one in sources),
                ],
            }
        },
    }
    return components.load_component_from_text(yaml.safe_dump(definition))


def furnish(task: Any, step: dict[str, Any]) -> None:
    """Give a task its place, its size and its variables."""
    task.set_cpu_request(step["cpu"])
    task.set_memory_request(step["memory"]).set_memory_limit(step["memory"])
    for name, value in step["environment"].items():
        task.set_env_variable(name, value)
    by_secret: dict[str, dict[str, str]] = {}
    for name, (secret, key) in step["secrets"].items():
        by_secret.setdefault(secret, {})[key] = name
    for secret, keys in by_secret.items():
        kubernetes.use_secret_as_env(task, secret, keys)
    for key, value in step["nodes"].items():
        kubernetes.add_node_selector(task, key, value)
    if step["retries"]:
        task.set_retry(step["retries"], backoff_duration="30s", backoff_factor=2, backoff_max_duration="1800s")


def pipeline_of(
    document: dict[str, Any],
    make: Callable[[dict[str, Any], list[str]], Callable[..., Any]] = component_of,
    finish: Callable[[Any, dict[str, Any]], None] = furnish,
) -> Any:
    """The pipeline.

    Args:
        document: The flow.
        make: Makes a component of a step and of the names of its arguments.
        finish: What is done to each task.
    """
    if document["format"] != 1:
        raise SystemExit(f"format {document['format']} is not known to this program")
    names = list(document["inputs"])

    def body(*given: Any) -> None:
        made: dict[str, Any] = {}
        for step in document["steps"]:
            asked = [name for source, name in step["uses"] if source == INPUTS]
            told = {name: given[names.index(name)] for name in dict.fromkeys(asked)}
            sources = [f"of_{other.replace('-', '_')}" for other in step["after"]]
            values = dict(zip(sources, (made[other].outputs["results"] for other in step["after"]), strict=True))
            for name, value in told.items():
                values[f"input_{name}"] = _input(name, value)
            task = make(step, list(values))(job=dsl.PIPELINE_JOB_ID_PLACEHOLDER, **values)
            task.set_display_name(step["name"])
            task.set_caching_options(False)  # what is there already is found by the steps themselves
            finish(task, step)
            made[step["name"]] = task

    body.__name__ = document["name"].replace("-", "_")
    parameters = [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=value, annotation=str)
        for name, value in document["inputs"].items()
    ]
    body.__signature__ = inspect.Signature(parameters)
    body.__annotations__ = dict.fromkeys(names, str)
    return dsl.pipeline(name=document["name"])(body)


def _input(name: str, value: Any) -> str:
    """An input in the form of a step's results."""
    return f'{{"step": "{INPUTS}", "results": {{"{name}": "{value}"}}}}'


def main() -> int:
    """Compile the flow on standard input."""
    pipeline = pipeline_of(json.load(sys.stdin))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(pipeline, str(file))
        sys.stdout.write(file.read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
