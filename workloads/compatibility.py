"""Models that Transformers 4 reads too. Training has release 5, which writes otherwise; servers may have either.

Both the image that writes models and the one that converts them have this module.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, cast

_NEW_TOKENIZER: Final = "TokenizersBackend"
_OLD_TOKENIZER: Final = "PreTrainedTokenizerFast"


def older_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """``config.json`` with what release 4 looks for, beside what release 5 wrote.

    Release 5 writes ``rope_parameters`` where 4 reads ``rope_theta`` and ``rope_scaling``: without them it would take
    its own default, and the model would lose its sense of position without a word.
    """
    found = dict(config)
    given = found.get("rope_parameters")
    rope: Mapping[str, Any] = cast("Mapping[str, Any]", given) if isinstance(given, Mapping) else {}
    if "rope_theta" in rope:
        found.setdefault("rope_theta", rope["rope_theta"])
        scaling = {key: value for key, value in rope.items() if key != "rope_theta"}
        if scaling.get("rope_type", "default") != "default":
            found.setdefault("rope_scaling", scaling)
    if "dtype" in found:
        found.setdefault("torch_dtype", found["dtype"])
    return found


def older_tokenizer(config: Mapping[str, Any]) -> dict[str, Any]:
    """``tokenizer_config.json`` with a class and names that release 4 has; both read the same ``tokenizer.json``."""
    found = dict(config)
    if found.get("tokenizer_class") == _NEW_TOKENIZER:
        found["tokenizer_class"] = _OLD_TOKENIZER
    if isinstance(found.get("extra_special_tokens"), list):  # release 4 wants names with tokens here
        found["additional_special_tokens"] = found.pop("extra_special_tokens")
    return found


def for_older(folder: Path) -> dict[str, Any]:
    """Rewrite what a folder of a model says of it, so that both releases read it; what ``config.json`` says now."""
    _rewritten(folder / "tokenizer_config.json", older_tokenizer)
    return _rewritten(folder / "config.json", older_config)


def tokenizer_for_older(folder: Path) -> None:
    """The same for a folder that has a tokenizer alone."""
    _rewritten(folder / "tokenizer_config.json", older_tokenizer)


def _rewritten(file: Path, change: Callable[[Mapping[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    """A JSON file, changed; what it says now, and nothing where there is none."""
    if not file.exists():
        return {}
    found = change(json.loads(file.read_text()))
    file.write_text(json.dumps(found, indent=2) + "\n")
    return found
