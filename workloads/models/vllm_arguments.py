"""Arguments of vLLM that a model may add; they change neither what fits, nor how it is reached, nor whom it trusts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

ALLOWED: Final = frozenset(
    {
        "async-scheduling",
        "attention-backend",
        "chat-template",
        "chat-template-content-format",
        "default-chat-template-kwargs",
        "disable-cascade-attn",
        "disable-custom-all-reduce",
        "dtype",
        "enable-auto-tool-choice",
        "enable-chunked-prefill",
        "enable-force-include-usage",
        "enable-prompt-tokens-details",
        "enforce-eager",
        "exclude-tools-when-tool-choice-none",
        "generation-config",
        "limit-mm-per-prompt",
        "logprobs-mode",
        "long-prefill-token-threshold",
        "max-logprobs",
        "moe-backend",
        "optimization-level",
        "override-generation-config",
        "performance-mode",
        "reasoning-parser",
        "response-role",
        "scheduling-policy",
        "seed",
        "stream-interval",
        "structured-outputs-config",
        "tokenizer-mode",
        "tool-call-parser",
    }
)
"""Names without the dashes, of the version in components/versions.py; the tests hold them against that version's own
list. What the program computes (``max-model-len``, ``tensor-parallel-size`` …) is not among them."""

COMPUTED: Final = {
    "max-model-len": "context",
    "max-num-seqs": "concurrency",
    "tensor-parallel-size": "gpu.count",
    "quantization": "quantization",
    "kv-cache-dtype": "kvDtype",
    "served-model-name": "name",
    "revision": "source",
    "load-format": "source",
}
"""Arguments that another setting stands for."""


def problems(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Paths below the model and messages: arguments that cannot be added."""
    seen: set[str] = set()
    for index, argument in enumerate(arguments):
        name, equals, value = argument.removeprefix("--").partition("=")
        plain = name.removeprefix("no-")
        path = f"arguments[{index}]"
        if not argument.startswith("--") or (equals and not value) or " " in name:
            yield path, f"must be --name or --name=value, one argument an entry; got {argument}"
        elif name in COMPUTED:
            yield path, f"--{name} follows from {COMPUTED[name]}; set that instead"
        elif name not in ALLOWED and plain not in ALLOWED:
            yield path, f"must be one of {', '.join(sorted(ALLOWED))} (docs/models.md says why); got {name}"
        elif plain in seen:
            yield path, f"--{plain} is named twice; leave one out"
        seen.add(plain)
