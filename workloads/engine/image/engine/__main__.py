"""``python -m engine --config <JSON>``: convert, build or try a TensorRT-LLM engine.

Results go to ``/tmp/results/<name>``, or below ``$RESULTS``. Ends with 0 when it is done, 2 when what is asked cannot
be, 3 when the engine was tried and did not answer as it must, 1 for anything else.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from engine import steps
from engine.arguments import UnsupportedError
from engine.config import Build, Config, Convert, Trial, parse
from workloads.artifacts.configuration import ConfigError

_DONE = 0
_FAILED = 1
_CONFIGURATION = 2
_REFUSED = 3


def perform(config: Config) -> Mapping[str, str]:
    """Do the step; its results."""
    match config:
        case Convert():
            return steps.convert(config)
        case Build():
            return steps.build(config)
        case Trial():
            return steps.trial(config)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do one step."""
    parser = argparse.ArgumentParser(prog="python -m engine", description=__doc__)
    parser.add_argument("--config", required=True, help="what to do, as JSON; engine/config.py says what there is")
    given = parser.parse_args(arguments)
    try:
        results = perform(parse(given.config))
    except (ConfigError, UnsupportedError) as wrong:
        print(wrong, file=sys.stderr)
        return _CONFIGURATION
    except steps.TrialError as refused:
        print(f"refused: {refused}", file=sys.stderr)
        return _REFUSED
    except Exception as failed:
        print(f"failed: {type(failed).__name__}: {failed}", file=sys.stderr)
        return _FAILED
    folder = Path(os.environ.get("RESULTS", "/tmp/results"))
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in results.items():
        (folder / name).write_text(value)
    print(json.dumps({"message": "done", **results}), flush=True)
    return _DONE


if __name__ == "__main__":
    sys.exit(main())
