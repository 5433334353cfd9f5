"""``python -m evaluation --config <JSON>``: evaluate a version of a registered model.

Ends with 0 where it passes (and has its alias), 3 where a rule refuses it, 2 where the configuration cannot be used,
and 1 where something failed: a model or a judge that cannot be reached says nothing about a version.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from workloads.artifacts.configuration import ConfigError

from .config import Config, parse

log = logging.getLogger("evaluation")

DONE, FAILED, CONFIGURATION, REFUSED = 0, 1, 2, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the configuration, evaluate, say how it ended."""
    parser = argparse.ArgumentParser(prog="evaluation", description=__doc__)
    parser.add_argument("--config", required=True, help="JSON; docs/evaluation.md describes it")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    log.setLevel(logging.INFO)
    try:
        config = parse(given.config)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return CONFIGURATION
    code, verdict, reason = _run(config)
    _tell(config, verdict, reason)
    return code


def _run(config: Config) -> tuple[int, str, str]:
    # Here, because the libraries take seconds to import, and a wrong configuration should not.
    from .run import CasesError, Refused, evaluate  # noqa: PLC0415

    title = f"version {config.model.version} of {config.model.name}"
    try:
        outcome = asyncio.run(evaluate(config))
    except (ConfigError, CasesError) as error:
        return CONFIGURATION, "unusable", str(error)
    except Refused as error:
        return REFUSED, "refused", str(error)
    except Exception as error:
        log.exception("failed")
        return FAILED, "failed", f"{type(error).__name__}: {error}"
    if outcome.report is not None:
        for name, measure in outcome.report.measures.items():
            line = {"measure": name, **vars(measure), "changes": {k: vars(v) for k, v in measure.changes.items()}}
            log.info(json.dumps(line))
    if outcome.reasons:
        return REFUSED, "refused", f"{title} is below its thresholds: {'; '.join(outcome.reasons)}"
    return DONE, "passed", outcome.promotion or f"{title} reaches its thresholds"


def _tell(config: Config, verdict: str, reason: str) -> None:
    """The log, Kubernetes and later steps."""
    log.info(json.dumps({"verdict": verdict, "reason": reason}))
    results: Mapping[str, str] = {"verdict": verdict, "reasons": reason, "version": config.model.version}
    with contextlib.suppress(OSError):
        Path(config.message_file).write_text(reason[:4096])  # as much as Kubernetes keeps
    with contextlib.suppress(OSError):
        folder = Path(config.results)
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in results.items():
            (folder / name).write_text(text)


if __name__ == "__main__":
    sys.exit(main())
