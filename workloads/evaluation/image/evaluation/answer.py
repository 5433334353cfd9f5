"""An answer of the model that is evaluated."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a model answered.

    Attributes:
        text: The answer.
        contexts: What it cited; none for the contexts of the case.
    """

    text: str
    contexts: tuple[str, ...] = ()
