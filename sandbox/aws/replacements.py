"""Properties whose change replaces a resource in the real AWS provider."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

REPLACING: Final[Mapping[str, Sequence[str]]] = {}
