"""Near-duplicates: MinHash signatures, and the bands in which similar ones agree. Pure functions over arrays."""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

_ROWS_AT_ONCE: Final = 4096


def signature(normalised: str, *, permutations: int, words: int) -> NDArray[np.uint32]:
    """The MinHash of a text's groups of words; two agree in about as many places as their texts have groups in common.

    Each permutation is a multiplication and an addition of 64 bits, of which the upper half is kept (Dietzfelbinger).
    """
    tokens = normalised.split(" ")
    groups = {" ".join(tokens[at : at + words]) for at in range(max(1, len(tokens) - words + 1))}
    hashes = np.fromiter(
        (int.from_bytes(hashlib.blake2b(one.encode(), digest_size=8).digest(), "little") for one in groups),
        dtype=np.uint64,
        count=len(groups),
    )
    factors, terms = _functions(permutations)
    least = np.full(permutations, np.iinfo(np.uint32).max, dtype=np.uint32)
    for at in range(0, len(hashes), _ROWS_AT_ONCE):
        some = hashes[at : at + _ROWS_AT_ONCE, None]
        values = ((some * factors + terms) >> np.uint64(32)).astype(np.uint32)
        np.minimum(least, values.min(axis=0), out=least)
    return least


def bands(permutations: int, threshold: float) -> tuple[int, int]:
    """Number of bands and rows in each: the widest bands that still find most pairs at the threshold.

    A pair of similarity s shares a band of r rows with the chance 1 - (1 - s^r)^b, which is steepest at (1/b)^(1/r).
    That point lies at or below nine tenths of the threshold, so that about 95 % of the pairs at the threshold are
    looked at; each is then compared by its whole signature.
    """
    fitting = [
        (permutations // rows, rows)
        for rows in range(1, permutations + 1)
        if permutations % rows == 0 and (rows / permutations) ** (1 / rows) <= 0.9 * threshold
    ]
    return max(fitting, key=lambda one: one[1]) if fitting else (permutations, 1)


def band_hashes(signatures: NDArray[np.uint32], count: int) -> NDArray[np.uint64]:
    """One number for each band of each signature: equal where the whole band is."""
    rows = signatures.shape[1] // count
    found = np.full((signatures.shape[0], count), np.uint64(0xCBF29CE484222325), dtype=np.uint64)
    parts = signatures.reshape(signatures.shape[0], count, rows).astype(np.uint64)
    for row in range(rows):
        found = (found ^ parts[:, :, row]) * np.uint64(0x9E3779B97F4A7C15)
        found ^= found >> np.uint64(29)
    return found


def groups_of_equals(values: NDArray[np.uint64]) -> list[NDArray[np.int64]]:
    """Positions of equal values, for each value that is there more than once; each group in order."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    ends = np.r_[starts[1:], len(ordered)]
    several = ends - starts > 1
    return [order[start:end] for start, end in zip(starts[several], ends[several], strict=True)]


def similar_pairs(
    members: NDArray[np.int64], signatures: NDArray[np.uint32], threshold: float
) -> list[tuple[int, int]]:
    """Which of the members of a group are really alike: each with the first that is like it.

    Args:
        members: Numbers of records, in order.
        signatures: Their signatures, in the same order.
        threshold: From which share of equal places on.
    """
    found: list[tuple[int, int]] = []
    while len(members) > 1:
        alike = (signatures[1:] == signatures[0]).mean(axis=1) >= threshold
        found += [(int(members[0]), int(other)) for other in members[1:][alike]]
        members, signatures = members[1:][~alike], signatures[1:][~alike]
    return found


def later_ones(pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """All but the first record of everything that hangs together by pairs, in order."""
    root: dict[int, int] = {}

    def first(one: int) -> int:
        while (above := root.get(one, one)) != one:
            root[one] = root.get(above, above)
            one = above
        return one

    for left, right in pairs.tolist():
        low, high = sorted((first(left), first(right)))
        root[high] = low
        root.setdefault(low, low)
    return np.array(sorted(one for one in root if first(one) != one), dtype=np.int64)


def _functions(permutations: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The same on every machine and with every version of numpy."""
    stream = hashlib.shake_256(b"minhash").digest(16 * permutations)
    numbers = np.frombuffer(stream, dtype="<u8").astype(np.uint64)
    return numbers[:permutations] | np.uint64(1), numbers[permutations:]
