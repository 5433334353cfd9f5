"""Names of collections, and the index that fits so many chunks. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from retrieval.config import Index, IndexKind, Scalar

INDEX_KINDS: tuple[IndexKind, ...] = get_args(IndexKind)
"""From few chunks to many."""

_KEPT = 0.5  # a collection that shrinks keeps its index down to this share of the bound: it would go back and forth


@dataclass(frozen=True)
class CollectionName:
    """``<alias>_<fingerprint>_<index>``: everything that decides whether a collection can be gone on with."""

    alias: str
    fingerprint: str
    kind: IndexKind

    def __str__(self) -> str:
        return f"{self.alias}_{self.fingerprint}_{self.kind}"


def alias_of(retrieval: str) -> str:
    """Alias of a retrieval's collection; Milvus knows no hyphens, and names have no underscores."""
    return retrieval.replace("-", "_")


def parsed(name: str, alias: str) -> CollectionName | None:
    """A collection's name, where it is one of this alias."""
    kinds = "|".join(INDEX_KINDS)
    found = re.fullmatch(rf"{re.escape(alias)}_([0-9a-f]{{10}})_({kinds})", name)
    return CollectionName(alias, found[1], found[2]) if found else None  # pyright: ignore[reportArgumentType] of kinds


def choose_index(chunks: int, index: Index, current: IndexKind | None = None) -> IndexKind:
    """The index for so many chunks; one that is there stays until it is clearly too large."""
    bounds: tuple[tuple[IndexKind, float], ...] = (
        ("flat", index.flat_below),
        ("hnsw", index.hnsw_below),
        ("ivf_sq8", index.ivf_below),
        ("diskann", float("inf")),
    )
    fitting: IndexKind = next(kind for kind, below in bounds if chunks < below)
    if current is None or INDEX_KINDS.index(current) <= INDEX_KINDS.index(fitting):
        return fitting
    lower = dict(bounds)[INDEX_KINDS[INDEX_KINDS.index(current) - 1]]
    return current if chunks >= lower * _KEPT else fitting


def build_parameters(kind: IndexKind, chunks: int) -> dict[str, Any]:
    """Parameters of an index when it is built."""
    match kind:
        case "hnsw":
            return {"M": 16, "efConstruction": 200}
        case "ivf_sq8":
            # Four times the square root of the vectors, the rule of the FAQ of Milvus; a segment has fewer than all.
            return {"nlist": max(128, min(65536, round(4 * chunks**0.5)))}
        case "flat" | "diskann":
            return {}


def search_parameters(kind: IndexKind, top_k: int) -> dict[str, Any]:
    """How widely is searched: the more, the surer and the slower."""
    match kind:
        case "hnsw":
            return {"ef": max(64, 2 * top_k)}
        case "ivf_sq8":
            return {"nprobe": 32}
        case "diskann":
            return {"search_list": max(100, 2 * top_k)}
        case "flat":
            return {}


def expression(wanted: Mapping[str, Scalar | tuple[Scalar, ...]]) -> str:
    """A filter over metadata; keys are names by their type, values are quoted."""
    parts: list[str] = []
    for key, value in wanted.items():
        if isinstance(value, tuple):
            parts.append(f'metadata["{key}"] in [{", ".join(map(_literal, value))}]')
        else:
            parts.append(f'metadata["{key}"] == {_literal(value)}')
    return " and ".join(parts)


def _literal(value: Scalar) -> str:
    return json.dumps(value, ensure_ascii=False)
