"""What a long restore tells while it runs: lines on standard error, each with the time that has passed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import typer

_T = TypeVar("_T")


class Progress:
    """Lines on standard error; the same line is not repeated."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._last = ""

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return self._clock() - self._began

    def say(self, line: str) -> None:
        """Tell what is going on."""
        if line != self._last:
            minutes, seconds = divmod(int(self.seconds), 60)
            typer.echo(f"[{minutes:3}:{seconds:02}] {line}", err=True)
            self._last = line


class PatienceError(Exception):
    """Something did not happen in time."""


def until(
    look: Callable[[], _T | None],
    *,
    what: str,
    patience_seconds: float,
    pause_seconds: float,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> _T:
    """Look again and again until there is an answer, and give it back.

    Raises:
        PatienceError: There is none in time.
    """
    end = clock() + patience_seconds
    while (found := look()) is None:
        if clock() > end:
            raise PatienceError(f"{what}: not within {patience_seconds / 60:.0f} minutes")
        sleep(pause_seconds)
    return found
