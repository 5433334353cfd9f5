"""``python -m release --config <JSON>``: one step of a release.

Results go to ``/tmp/results/<name>``, or below ``$RESULTS``. Ends with 0 when it is done, 2 when the configuration is
wrong, 3 when a rule refuses, 1 for anything else.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from release import cluster, planning, repository
from release.config import Config, Find, Look, Plan, Promote, Start, Sync, parse
from workloads.artifacts.configuration import ConfigError
from workloads.evaluation import gate

_DONE: Final = 0
_FAILED: Final = 1
_CONFIGURATION: Final = 2
_REFUSED: Final = 3


def perform(config: Config) -> Mapping[str, str]:
    """Do the step; its results."""
    match config:
        case Look():
            return planning.look(config)
        case Plan():
            return planning.plan(config)
        case Find():
            return planning.find_version(config, registry())
        case Start():
            return cluster.start(config, cluster.Api.of_pod(), say=say)
        case Sync():
            return repository.sync(config)
        case Promote():
            return promote(config, registry())


def registry() -> Any:
    """Client of the model registry that the environment names."""
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        raise ConfigError("MLFLOW_TRACKING_URI is not set: no model registry to ask")
    return importlib.import_module("mlflow").MlflowClient()


def promote(config: Promote, client: Any) -> Mapping[str, str]:
    """Move an alias, if the version may have it."""
    done = gate.promote(
        client,
        config.registered_model,
        config.version,
        config.alias,
        by=config.by,
        unevaluated=config.unevaluated,
    )
    what = "moved" if done.moved else "stays"
    say(f"@{config.alias} {what}: version {done.after or 'none'}; {done.reason}")
    return {"bearer": done.after}


def say(text: str) -> None:
    """A line of the log."""
    print(text if sys.stdout.isatty() else json.dumps({"message": text}), flush=True)


def write(results: Mapping[str, str]) -> None:
    """Hand over the results; each file is whole when it has its name."""
    folder = Path(os.environ.get("RESULTS", "/tmp/results"))
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in results.items():
        partial = folder / f".{name}"
        partial.write_text(value)
        partial.rename(folder / name)
    say(", ".join(f"{name}={value}" for name, value in results.items()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Do one step."""
    parser = argparse.ArgumentParser(prog="python -m release", description=__doc__)
    parser.add_argument("--config", required=True, help="what to do, as JSON; release/config.py says what there is")
    given = parser.parse_args(arguments)
    try:
        config = parse(given.config)
        write(perform(config))
    except (ConfigError, cluster.conditions.ConditionError) as wrong:
        print(wrong, file=sys.stderr)
        return _CONFIGURATION
    except gate.Refused as refused:
        print(f"refused: {refused}", file=sys.stderr)
        _leave(str(refused))
        return _REFUSED
    except Exception as failed:
        print(f"failed: {type(failed).__name__}: {failed}", file=sys.stderr)
        _leave(str(failed))
        return _FAILED
    return _DONE


def _leave(message: str) -> None:
    """Leave the reason where Kubernetes shows it."""
    place = Path("/dev/termination-log")
    if place.is_file() and os.access(place, os.W_OK):
        place.write_text(message[:4000])


if __name__ == "__main__":
    sys.exit(main())
