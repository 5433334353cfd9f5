"""How long a text is for a model."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from workloads.artifacts.objects import objects

Counter = Callable[[str], int]

# Words, numbers, single characters of scripts without spaces, and everything else that is no space.
_PARTS = re.compile(r"[A-Za-zÀ-ɏ]+|\d+|\S")


def estimated(text: str) -> int:
    """Tokens of a text without a tokenizer: a word has one for each four letters begun, all else one a character.

    Byte-pair encodings of English have about 0.75 words a token; for prose this says a little more than they do.
    """
    found = 0
    for part in _PARTS.findall(text):
        found += math.ceil(len(part) / (3 if part.isdigit() else 4 if part.isascii() else 2))
    return found


def counter(tokenizer: str) -> Counter:
    """By a ``tokenizer.json`` of the object store, or the estimate where none is named."""
    if not tokenizer:
        return estimated
    from tokenizers import Tokenizer  # noqa: PLC0415 only where one is named

    loaded = Tokenizer.from_buffer(objects(tokenizer).read(tokenizer))
    return lambda text: len(loaded.encode(text, add_special_tokens=False).ids)
