"""One step of a flow under Kubeflow Pipelines. It runs in the step's own image, with nothing but Python's own library.

``python3 -c <this file> <told> <job> <results> [<results of an earlier step> …]``: ``told`` is what the compiler wrote,
``job`` names the run, ``results`` is the file for the step's own results. A step that is not to be run ends at once,
without any result.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
from typing import Any

_RESULT = re.compile(r"@\{([a-z][a-z0-9-]*)\.([a-zA-Z][a-zA-Z0-9]*)\}")


def run(told: dict[str, Any], job: str, earlier: list[dict[str, Any]]) -> tuple[int, dict[str, str]]:
    """Exit code and results.

    Args:
        told: Command, config, names of results, when it is run.
        job: The run.
        earlier: Results of earlier steps, and the inputs of the pipeline, each under its ``step``.
    """
    values: dict[tuple[str, str], str] = {("run", "id"): job}
    for one in earlier:
        for name, value in one["results"].items():
            values[one["step"], name] = value
    if told["when"]:
        step, name, equals = told["when"]
        if values[step, name] != equals:
            print(f"left out: {name} of {step} is {values[step, name]}", flush=True)
            return 0, {}
    config = _RESULT.sub(lambda one: values[one[1], one[2]], told["config"])
    folder = pathlib.Path(os.environ.get("RESULTS", "/tmp/results"))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    code = subprocess.run([*told["command"], "--config", config], check=False).returncode
    if code:
        return code, {}
    return 0, {name: (folder / name).read_text() for name in told["gives"]}


def main() -> int:
    """Do the step, and leave its results for the next ones."""
    told, job, target, *earlier = sys.argv[1:]
    document = json.loads(told)
    code, results = run(document, job, [json.loads(one) for one in earlier])
    if code == 0:
        path = pathlib.Path(target)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"step": document["name"], "results": results}))
    return code


if __name__ == "__main__":
    sys.exit(main())
