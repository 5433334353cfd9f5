"""Names of artifacts: the same inputs give the same key, on every machine."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Final, cast

JSON = None | bool | int | float | str | Sequence["JSON"] | Mapping[str, "JSON"]
"""What JSON can say."""

KEY: Final = re.compile(r"[0-9a-f]{64}")
"""How a key looks."""


def key_of(inputs: Mapping[str, JSON]) -> str:
    """The key of what is made from ``inputs``: SHA-256 of their canonical JSON, 64 hexadecimal digits.

    The order of an object's members does not count. Whoever leaves an input out gets yesterday's artifact for it.

    Raises:
        TypeError: A value that JSON cannot say.
        ValueError: A number that is not finite.
    """
    return hashlib.sha256(canonical(inputs).encode()).hexdigest()


def canonical(value: JSON) -> str:
    """The one text of a value."""
    _check(value, "inputs")
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _check(value: object, path: str) -> None:
    """Refuse what ``json`` would turn into something else without a word: keys that are no text, and unknown types."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{path}: {value} has no JSON")
    if value is None or isinstance(value, bool | int | float | str):
        return
    if isinstance(value, Mapping):
        for key, part in cast("Mapping[object, object]", value).items():
            if not isinstance(key, str):
                raise TypeError(f"{path}: a key must be text; got {key!r}")
            _check(part, f"{path}.{key}")
        return
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        for index, part in enumerate(cast("Sequence[object]", value)):
            _check(part, f"{path}[{index}]")
        return
    raise TypeError(f"{path}: {type(value).__name__} has no JSON")


def _plain(value: JSON) -> object:
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(part) for part in value]
    return value
