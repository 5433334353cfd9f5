"""What the cases of preprocessing share: small texts, a tokenizer, a run, and its results; in the image's packages."""

from __future__ import annotations

import gzip
import json
import logging
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from preprocess import pipeline, runner, tokens
from preprocess.config import Config, TokenizerSource
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from workloads.artifacts import Manifest, hashed, key_of
from workloads.artifacts.objects import local_path

TOKENIZER: dict[str, str] = {}
"""The tokenizer of all cases, as the configuration names it; filled in at the start."""

TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'tool' %}{{ raise_exception('no tools') }}{% endif %}"
    "<s>{{ m['role'] }}\n{{ m['content'] }}</s>{% endfor %}{% if add_generation_prompt %}<s>assistant\n{% endif %}"
)
WORDS = [f"word{number}" for number in range(400)]


class Told(logging.Handler):
    """Remembers what the stages said of themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.stages: dict[str, dict[str, Any]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        self.stages[record.getMessage()] = getattr(record, "facts", {})


def texts(seed: int, count: int, words: int = 40) -> list[str]:
    drawn = random.Random(seed)
    return [" ".join(drawn.choices(WORDS, k=words)) for _ in range(count)]


def tokenizer(folder: Path, **changed: Any) -> dict[str, str]:
    """A small byte-level tokenizer with a template, as the configuration names it."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>", "<pad>"]
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(texts(0, 50), trainer)
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "chat_template": TEMPLATE} | changed
    PreTrainedTokenizerFast(tokenizer_object=made, **names).save_pretrained(str(folder))
    revision = key_of({one.name: hashed(one).sha256 for one in folder.iterdir()})
    return {"url": folder.as_uri(), "revision": revision}


def write(path: Path, records: Sequence[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    opened: Callable[..., Any] = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", encoding="utf-8") as stream:
        stream.writelines((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in records)
    return path


def settings(home: Path, **changed: Any) -> dict[str, Any]:
    return {
        "name": "small",
        "sources": [{"name": "raw/", "url": (home / "raw").as_uri()}],
        "output": (home / "out").as_uri(),
        "work": (home / "work").as_uri(),
        "tokenizer": TOKENIZER,
        "maxTokens": 64,
        "maxBadRecords": 0.2,
        "split": {"evaluationPercent": 20, "testPercent": 10},
        "runner": "inline",
    } | changed


def run(home: Path, **changed: Any) -> tuple[Manifest, dict[str, Any]]:
    told = Told()
    logger = logging.getLogger("preprocess")
    logger.setLevel(logging.INFO)
    logger.addHandler(told)
    try:
        return pipeline.run(Config.model_validate(settings(home, **changed)), runner.inline), told.stages
    finally:
        logger.removeHandler(told)


def rows(found: Manifest, side: str) -> list[dict[str, Any]]:
    paths = sorted(path for path in found.files if path.startswith(f"{side}/"))
    return [row for path in paths for row in pq.read_table(local_path(f"{found.url}/{path}")).to_pylist()]


def said(found: Manifest, side: str) -> set[str]:
    """The texts of a side that is not packed."""
    inner = tokens.load(TokenizerSource(**TOKENIZER))._inner
    return {inner.decode(row["input_ids"], skip_special_tokens=True) for row in rows(found, side)}


def lines_of(found: Manifest, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in local_path(f"{found.url}/{name}").read_text().splitlines()]


def states(home: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in home.rglob("*") if path.is_file()}
