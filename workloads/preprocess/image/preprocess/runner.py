"""Where the tasks of a stage run: on Ray, or here."""

from __future__ import annotations

import logging
import os
import pickle
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, Protocol, TypeVar

from preprocess.config import Config

_T = TypeVar("_T")
_R = TypeVar("_R")

_log = logging.getLogger(__name__)
_EVERY_SECONDS: Final = 30.0


class Runner(Protocol):
    """Runs one function on many things."""

    def __call__(self, stage: str, function: Callable[[_T], _R], items: Sequence[_T]) -> list[_R]:
        """Every answer, in the order of the items."""
        ...


def inline(stage: str, function: Callable[[_T], _R], items: Sequence[_T]) -> list[_R]:
    """One after another in this process."""
    return list(_watched(stage, map(function, items), len(items)))


class OnRay:
    """As a Ray Data job: a task goes where a CPU is free, Ray asks for workers, and repeats what a lost one did."""

    def __init__(self) -> None:
        import ray  # noqa: PLC0415 not where tasks run inline

        if not ray.is_initialized():
            # In a job of a cluster RAY_ADDRESS says where it is; else a Ray of this machine is started.
            ray.init(log_to_driver=sys.stdout.isatty(), include_dashboard=False if _alone() else None)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = sys.stdout.isatty()

    def __call__(self, stage: str, function: Callable[[_T], _R], items: Sequence[_T]) -> list[_R]:
        """Every answer, in the order of the items."""
        import ray  # noqa: PLC0415 the same

        if not items:
            return []
        rows = [{"at": at, "item": pickle.dumps(item)} for at, item in enumerate(items)]
        data = ray.data.from_items(rows, override_num_blocks=len(rows))

        def call(row: dict[str, Any]) -> dict[str, Any]:
            return {"at": row["at"], "answer": pickle.dumps(function(pickle.loads(row["item"])))}

        done = data.map(call, num_cpus=1).iter_rows()
        answers = {row["at"]: pickle.loads(row["answer"]) for row in _watched(stage, done, len(items))}
        return [answers[at] for at in range(len(items))]


def of(config: Config) -> Runner:
    """The runner that a configuration asks for."""
    return inline if config.runner == "inline" else OnRay()


def _watched(stage: str, answers: Iterable[_R], count: int) -> Iterator[_R]:
    """The same answers, with a line of the log now and then."""
    begun = said = time.monotonic()
    for done, answer in enumerate(answers, start=1):
        yield answer
        if (now := time.monotonic()) - said > _EVERY_SECONDS:
            said = now
            _log.info("%s", stage, extra={"facts": {"done": done, "of": count, "seconds": round(now - begun)}})


def _alone() -> bool:
    return not os.environ.get("RAY_ADDRESS")
