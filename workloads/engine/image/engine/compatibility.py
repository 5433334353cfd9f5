"""Models as TensorRT-LLM's Transformers (4.57) reads them; training has release 5, which writes otherwise. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_NEW_TOKENIZER: Final = "TokenizersBackend"
_OLD_TOKENIZER: Final = "PreTrainedTokenizerFast"


def older_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """``config.json`` with what release 4 looks for.

    Release 5 writes ``rope_parameters`` where 4 reads ``rope_theta`` and ``rope_scaling``: without them it would take
    its own default, and the engine would lose its sense of position without a word.
    """
    found = dict(config)
    rope = found.get("rope_parameters")
    if isinstance(rope, Mapping) and "rope_theta" in rope:
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
