"""The tokenizer, and what texts and conversations become with it."""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from preprocess.config import TokenizerSource
from preprocess.errors import ConfigurationError
from preprocess.text import BadRecordError
from workloads.artifacts import hashed, key_of
from workloads.artifacts.objects import join, objects

_COMMIT_DIGITS: Final = 40

IGNORED: Final = -100
"""Label of a token that is not in the loss."""

# What a tokenizer is made of; weights lie in the same folder.
_FILES: Final = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "config.json",
)


@dataclass(frozen=True)
class Tokens:
    """Tokens of a record, and for each the label that the loss compares with."""

    ids: list[int]
    labels: list[int]


class Tokenizer:
    """A tokenizer of the pinned revision."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.end: int | None = inner.eos_token_id

    @property
    def facts(self) -> dict[str, Any]:
        """What who trains must know."""
        return {
            "vocabularySize": len(self._inner),
            "endToken": self.end,
            "paddingToken": self._inner.pad_token_id,
        }

    @property
    def has_template(self) -> bool:
        """Whether it knows how a conversation is written."""
        return bool(self._inner.chat_template)

    def texts(self, texts: Sequence[str]) -> list[Tokens]:
        """Running text: all of it is in the loss, and each ends with the end token."""
        if not texts:
            return []
        found = self._inner(list(texts), add_special_tokens=True, return_attention_mask=False, verbose=False)
        return [Tokens(ids, list(ids)) for ids in map(self._ended, found["input_ids"])]

    def conversation(self, messages: Sequence[dict[str, str]], *, assistant_only: bool) -> Tokens:
        """A conversation as its template writes it.

        Raises:
            BadRecordError: The template does not take it, or cannot say what the assistant's words are.
        """
        text = self._written(messages)
        found = self._inner(
            text, add_special_tokens=False, return_offsets_mapping=True, return_attention_mask=False, verbose=False
        )
        ids: list[int] = found["input_ids"]
        if not assistant_only:
            return Tokens(ids, list(ids))
        spans = list(self._spans(messages, text))
        labels = [
            token if start < end and any(low <= start < high for low, high in spans) else IGNORED
            for token, (start, end) in zip(ids, found["offset_mapping"], strict=True)
        ]
        return Tokens(ids, labels)

    def _spans(self, messages: Sequence[dict[str, str]], text: str) -> Iterator[tuple[int, int]]:
        """Where in the text the assistant speaks: from the end of its prompt to the end of its turn.

        That works for templates that write a conversation's beginning as they write the beginning's own; one that
        takes earlier thoughts out, for example, does not.
        """
        for at, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            before = self._written(messages[:at], prompted=True)
            after = self._written(messages[: at + 1])
            if not (text.startswith(after) and after.startswith(before)):
                raise BadRecordError("the template writes a conversation's beginning differently by itself")
            yield len(before), len(after)

    def _written(self, messages: Sequence[dict[str, str]], *, prompted: bool = False) -> str:
        from jinja2 import TemplateError  # noqa: PLC0415 only where conversations are written

        try:
            return self._inner.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=prompted, continue_final_message=False
            )
        except (TemplateError, IndexError) as error:
            raise BadRecordError(f"the template refuses it: {str(error)[:80]}") from None

    def _ended(self, ids: list[int]) -> list[int]:
        return ids if self.end is None or ids[-1:] == [self.end] else [*ids, self.end]


def load(source: TokenizerSource) -> Tokenizer:
    """The tokenizer; once for each process.

    Raises:
        ConfigurationError: It is another one than the revision says, or none.
    """
    return _load(source.url, source.revision)


@functools.lru_cache(maxsize=1)
def _load(url: str, revision: str) -> Tokenizer:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # the tasks of a worker share its CPUs already
    from transformers import AutoTokenizer  # noqa: PLC0415 takes seconds, and only this stage needs it

    if url.startswith("hf://"):
        place = url.removeprefix("hf://")
        return Tokenizer(AutoTokenizer.from_pretrained(place, revision=revision, trust_remote_code=False))
    with tempfile.TemporaryDirectory() as folder:
        _fetch(url, revision, Path(folder))
        try:
            return Tokenizer(AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False))
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"tokenizer.url: no tokenizer in {url}: {error}") from None


def _fetch(place: str, revision: str, folder: Path) -> None:
    store = objects(place)
    there = set(store.list(place))
    wanted = {name: join(place, name) for name in _FILES if join(place, name) in there}
    for name, url in wanted.items():
        store.download(url, folder / name)
    found = key_of({name: hashed(folder / name).sha256 for name in wanted})
    # A mirror of the hub keeps each commit in a folder of its name.
    if wanted and len(revision) == _COMMIT_DIGITS and place.rstrip("/").endswith(f"/{revision}"):
        return
    if not wanted or found != revision:
        what = f"it is {found} there" if wanted else "no files of a tokenizer are there"
        raise ConfigurationError(f"tokenizer.revision: {place} is not {revision}: {what}")
