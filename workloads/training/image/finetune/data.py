"""Datasets as the trainer takes them: token numbers, what counts for the loss, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from datasets import Dataset, load_dataset

from .sources import SourceError, Splits

IGNORED: Final = -100
"""Label of a token that does not count for the loss."""

_COLUMNS: Final = ("input_ids", "attention_mask", "labels")


def load(files: tuple[Path, ...], form: str, tokenizer: Any, *, longest: int, cache: Path) -> tuple[Dataset, int]:
    """Read files, on disk and not in memory, and cut sequences to the longest; how many were cut comes too.

    Raises:
        SourceError: A column is missing, or nothing is left to learn from.
    """
    found = load_dataset(form, data_files=[str(one) for one in files], split="train", cache_dir=str(cache))
    assert isinstance(found, Dataset)
    if form == "json":
        found = found.map(lambda row: tokens_of(row, tokenizer), remove_columns=found.column_names)
    if "input_ids" not in found.column_names:
        raise SourceError(f"data: no column input_ids; there are {', '.join(found.column_names)}")
    others = [one for one in found.column_names if one not in _COLUMNS]
    found = found.map(lambda row: _cut(row, longest), remove_columns=others)
    shortened = sum(found["cut"])
    found = found.remove_columns("cut").filter(lambda row: any(label != IGNORED for label in row["labels"][1:]))
    if not len(found):
        raise SourceError("data: no sequence has a token that counts for the loss")
    return found, shortened


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Data as the trainer takes it.

    Attributes:
        training: What is learned from.
        validation: What the loss is measured on.
        shortened: Sequences that were longer than allowed.
    """

    training: Dataset
    validation: Dataset | None
    shortened: int


def prepared(files: Splits, tokenizer: Any, *, longest: int, cache: Path) -> Prepared:
    """Both splits."""
    training, shortened = load(files.training, files.form, tokenizer, longest=longest, cache=cache)
    validation = None
    if files.validation:
        validation, more = load(files.validation, files.form, tokenizer, longest=longest, cache=cache)
        shortened += more
    return Prepared(training=training, validation=validation, shortened=shortened)


def tokens_of(row: Mapping[str, Any], tokenizer: Any) -> dict[str, list[int]]:
    """Tokens of one line: ``text``, ``prompt`` with ``completion``, or ``messages``; prompts do not count for the loss.

    Raises:
        SourceError: It is none of them.
    """
    end = [tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else []
    if row.get("messages"):
        messages = row["messages"]
        whole = _ids(tokenizer, messages, add_generation_prompt=False)
        asked = _ids(tokenizer, messages[:-1], add_generation_prompt=True)
        known = len(asked) if whole[: len(asked)] == asked else 0
        return {"input_ids": whole, "labels": [IGNORED] * known + whole[known:]}
    if row.get("completion") is not None and row.get("prompt") is not None:
        asked = tokenizer(row["prompt"])["input_ids"]
        answered = [*tokenizer(row["completion"], add_special_tokens=False)["input_ids"], *end]
        return {"input_ids": [*asked, *answered], "labels": [IGNORED] * len(asked) + answered}
    if row.get("text") is not None:
        ids = [*tokenizer(row["text"])["input_ids"], *end]
        return {"input_ids": ids, "labels": list(ids)}
    raise SourceError("data: a line must have text, prompt and completion, or messages")


def _ids(tokenizer: Any, messages: Any, *, add_generation_prompt: bool) -> list[int]:
    return tokenizer.apply_chat_template(
        messages, tokenize=True, return_dict=True, add_generation_prompt=add_generation_prompt
    )["input_ids"]


def _cut(row: Mapping[str, Any], longest: int) -> dict[str, Any]:
    ids = list(row["input_ids"])
    labels = row.get("labels")
    mask = row.get("attention_mask")
    return {
        "input_ids": ids[:longest],
        "attention_mask": (list(mask) if mask is not None else [1] * len(ids))[:longest],
        "labels": (list(labels) if labels is not None else ids)[:longest],
        "cut": len(ids) > longest,
    }
