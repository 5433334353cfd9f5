"""What a built engine says of itself, and the manifest that is written beside it. Nothing but Python's own library.

For the program, which judges the manifest (:mod:`workloads.triton.manifest`), and for the pod that builds the engine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

FILE: Final = "manifest.json"
"""Its name in a release; also an entry of the release's own list would be, so it is not in that list."""


def described(folder: Path, *, gpu: str, model: str = "") -> dict[str, Any]:
    """The manifest of a release: the folders ``engine``, as ``trtllm-build`` wrote it, and ``tokenizer``.

    Args:
        folder: The release.
        gpu: Lower-case model of the GPU that it was built on.
        model: What it is; for people. The architecture where it is empty.

    Raises:
        OSError: A file is not there.
        KeyError: ``engine/config.json`` is not one of ``trtllm-build``.
    """
    built = json.loads((folder / "engine" / "config.json").read_text())
    return {
        **_facts(built),
        "model": model or str(built["pretrained_config"].get("architecture", "")),
        "gpu": gpu,
        "files": {
            path.relative_to(folder).as_posix(): sha256(path)
            for path in sorted(folder.rglob("*"))
            # Empty ones say nothing, and not every reader of object stores fetches them.
            if path.is_file() and path.name != FILE and path.stat().st_size
        },
    }


def text(manifest: Mapping[str, Any]) -> str:
    """The file as it lies beside the engine; its bytes are what the release's digest is of."""
    return json.dumps(manifest, indent=1, sort_keys=True) + "\n"


def sha256(path: Path) -> str:
    """Hash of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _facts(config: Mapping[str, Any]) -> dict[str, Any]:
    """What ``engine/config.json`` says."""
    pretrained, build = config["pretrained_config"], config["build_config"]
    mapping = pretrained["mapping"]
    quantization: Mapping[str, Any] = pretrained.get("quantization") or {}
    plugins: Mapping[str, Any] = build.get("plugin_config") or {}
    return {
        "tensorrtLlm": config["version"],
        "tensorParallel": mapping["tp_size"],
        "pipelineParallel": mapping.get("pp_size", 1),
        "maxBatchSize": build["max_batch_size"],
        "maxInputTokens": build["max_input_len"],
        "maxSequenceTokens": build["max_seq_len"],
        "maxNumTokens": build["max_num_tokens"],
        "quantization": quantization.get("quant_algo") or "",
        "kvCache": quantization.get("kv_cache_quant_algo") or "",
        "pagedContext": bool(plugins.get("use_paged_context_fmha")),
    }
