"""``python -m answering --config <JSON>``: answer an evaluation's questions, and compute losses, without a server.

Ends with 0 where the artifact is there, 2 where the configuration cannot be used, 1 where something failed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from workloads.artifacts import Manifest, find, key_of, publish
from workloads.artifacts.configuration import ConfigError
from workloads.evaluation.cases import (
    ANSWERS_FILE,
    ANSWERS_KIND,
    HELD_OUT_FACT,
    LOSSES_FILE,
    CaseFile,
    CasesError,
    load,
    prompt,
)

from .config import Config, parse
from .sequences import dataset, sequences

log = logging.getLogger("answering")

DONE, FAILED, CONFIGURATION = 0, 1, 2
_PROGRAM = 1  # another number computes everything anew: for changes of this program that change results

Item = TypeVar("Item")


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the configuration, answer, publish."""
    parser = argparse.ArgumentParser(prog="answering", description=__doc__)
    parser.add_argument("--config", required=True, help="JSON; docs/evaluation.md describes it")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    log.setLevel(logging.INFO)
    try:
        config = parse(given.config)
        made = answered(config)
    except (ConfigError, CasesError) as error:
        print(error, file=sys.stderr)
        return CONFIGURATION
    except Exception:
        log.exception("failed")
        return FAILED
    log.info(json.dumps({"answers": made.url}))
    with contextlib.suppress(OSError):
        Path(config.results).mkdir(parents=True, exist_ok=True)
        (Path(config.results) / "answers").write_text(made.url)
    return DONE


def answered(config: Config) -> Manifest:
    """The artifact with everything that is asked; made if it is not there."""
    files = {one.name: load(one.name, one.data, sha256=one.sha256, most=one.max_cases) for one in config.suites}
    held_out = config.held_out
    data = dataset(held_out) if held_out else None
    basis = (
        key_of({"data": data.key, "split": held_out.split, "most": held_out.max_sequences}) if held_out and data else ""
    )
    key = key_of(
        {
            "program": _PROGRAM,
            "model": config.model,
            "suites": [
                [one.name, files[one.name].sha256, one.give_contexts, one.max_cases, one.max_tokens]
                for one in config.suites
            ],
            "heldOut": basis,
        }
    )
    if (known := find(config.output, key)) is not None:
        return known
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        held = sequences(data, held_out, folder) if held_out and data else []
        # Here, because torch takes seconds to import, and what is there already should not.
        from finetune.sources import fetched_base  # noqa: PLC0415

        from .weights import Weights  # noqa: PLC0415

        place = Path(config.folder)
        place.mkdir(parents=True, exist_ok=True)
        weights = Weights(fetched_base(config.model, place))
        _write(folder / ANSWERS_FILE, _answers(config, files, weights))
        _write(folder / LOSSES_FILE, _losses(config, held, weights))
        return publish(
            folder, config.output, key, kind=ANSWERS_KIND, parents={"model": config.model}, facts={HELD_OUT_FACT: basis}
        )


def _answers(config: Config, files: dict[str, CaseFile], weights: Any) -> Iterator[dict[str, Any]]:
    for suite in config.suites:
        cases = files[suite.name].cases
        for number, batch in enumerate(_batches(cases, config.batch_size)):
            asked = [prompt(one, give_contexts=suite.give_contexts) for one in batch]
            for case, text in zip(batch, weights.answers(asked, suite.max_tokens), strict=True):
                yield {"suite": suite.name, "case": case.id, "text": text}
            _progress(f"{suite.name}: answers", number * config.batch_size + len(batch), len(cases))


def _losses(config: Config, held: Sequence[Any], weights: Any) -> Iterator[dict[str, Any]]:
    counted = [one for one in held if any(label >= 0 for label in one.labels[1:])]
    # Of like lengths together: less is filled up.
    ordered = sorted(counted, key=lambda one: (len(one.tokens), one.id))
    for number, batch in enumerate(_batches(ordered, config.batch_size)):
        for one, (loss, tokens) in zip(batch, weights.losses(batch), strict=True):
            yield {"sequence": one.id, "loss": loss, "tokens": tokens}
        _progress("losses", number * config.batch_size + len(batch), len(ordered))


def _batches(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _progress(what: str, done: int, total: int) -> None:
    log.info(json.dumps({"progress": what, "done": done, "total": total}))


def _write(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    with path.open("w") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    sys.exit(main())
