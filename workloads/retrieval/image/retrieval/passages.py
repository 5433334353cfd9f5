"""What is found in the vector database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Passage:
    """A chunk that was found."""

    id: str
    document: str
    position: int
    title: str
    text: str
    metadata: Mapping[str, Any]
    score: float
