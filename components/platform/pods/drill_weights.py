"""Files of weights in the format safetensors, read where they lie: a header, and tensors one after another.

The library of that name is not in the pod's image, and opens files of the local disk alone, which has no room for
weights. The format is: eight bytes with the length of the header, the header in JSON, and the tensors without a gap.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Read = Callable[[int, int], bytes]
"""Bytes of a file from one place up to another."""

_LENGTH_BYTES = 8
_HEADER_BYTES = 32 << 20  # some 300,000 tensors; the library takes three times that

# Bits of one number, by the format's names.
_BITS: Mapping[str, int] = {
    **dict.fromkeys(("F4",), 4),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
}


class WeightsError(ValueError):
    """A file that no program could load; the message says why."""


@dataclass(frozen=True)
class Weights:
    """What the header of a file says, which agrees with the size of the file.

    Attributes:
        names: Names of the tensors.
        parameters: Numbers in all of them.
        unknown: Tensors of a type that is newer than this program; their sizes are those of their places alone.
    """

    names: frozenset[str]
    parameters: int
    unknown: int


def opened(read: Read, size: int) -> Weights:
    """Open a file: its header is whole, and its tensors fill the rest of the file.

    Raises:
        WeightsError: It is broken.
    """
    if size < _LENGTH_BYTES:
        raise WeightsError(f"{size} bytes are too few for a header")
    length = int.from_bytes(read(0, _LENGTH_BYTES), "little")
    begin = _LENGTH_BYTES + length
    if begin > size:
        raise WeightsError(f"its header would end at byte {begin}, and the file has {size}")
    if length > _HEADER_BYTES:
        raise WeightsError(f"its header has {length} bytes, and {_HEADER_BYTES} are read at most")
    header = _parsed(read(_LENGTH_BYTES, begin))
    tensors = {name: one for name, one in header.items() if name != "__metadata__"}
    places: list[tuple[int, int, str]] = []
    parameters = unknown = 0
    for name, one in tensors.items():
        try:
            dtype, shape, (start, end) = (
                str(one["dtype"]),
                [int(number) for number in one["shape"]],
                one["data_offsets"],
            )
        except (KeyError, TypeError, ValueError):
            raise WeightsError(f"the header does not describe tensor {name}: {str(one)[:80]}") from None
        numbers = math.prod(shape)
        if dtype not in _BITS:
            unknown += 1
        elif numbers * _BITS[dtype] != (end - start) * 8:
            raise WeightsError(f"tensor {name} is {dtype} {shape}, and has {end - start} bytes")
        parameters += numbers
        places.append((start, end, name))
    _without_gaps(places, size - begin)
    return Weights(frozenset(tensors), parameters, unknown)


def _parsed(text: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise WeightsError("its header names something twice")
        return found

    try:
        header = json.loads(text, object_pairs_hook=unique)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise WeightsError(f"its header does not parse: {error}") from None
    if not isinstance(header, dict):
        raise WeightsError("its header is no object of JSON")
    return header  # pyright: ignore[reportUnknownVariableType] - of JSON


def _without_gaps(places: list[tuple[int, int, str]], size: int) -> None:
    """Tensors lie one behind another, from the header up to the end of the file."""
    at = 0
    for start, end, name in sorted(places):
        if start != at or end < start:
            raise WeightsError(f"tensor {name} lies at {start} to {end}, and the one before it ends at {at}")
        at = end
    if at != size:
        raise WeightsError(f"its tensors have {at} bytes, and the file has {size} for them")
