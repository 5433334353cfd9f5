"""What an engine was built for: the file beside it, read at preview and again in the pod. Pure.

An engine runs on the GPU model and the TensorRT-LLM version that it was built with, and on no other. Nothing of it can
be seen from its files' names, so whoever builds one writes a manifest (``python -m workloads.triton.manifest``).

The image that builds engines has this module: it imports nothing that a pod has not.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self, cast

from pydantic import Field, ValidationError, model_validator

from workloads.artifacts.configuration import Part
from workloads.triton.built import FILE, described, text

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class EngineManifest(Part):
    """One built engine and its tokenizer.

    Attributes:
        model: What was built; for people.
        gpu: Lower-case model of the GPU that it was built on, such as ``a10g``.
        tensorrt_llm: Version that built it.
        tensor_parallel: GPUs over which each layer is spread.
        pipeline_parallel: GPUs over which layers are shared out.
        max_batch_size: Requests that run together at most.
        max_input_tokens: Tokens of a question at most.
        max_sequence_tokens: Tokens of question and answer at most.
        max_num_tokens: Tokens of one step at most.
        quantization: As TensorRT-LLM calls it, such as ``FP8`` or ``W4A16_AWQ``; empty for none.
        kv_cache: The same for the KV cache, such as ``FP8``.
        paged_context: Built with paged context attention, which sharing KV cache and computing prompts in pieces need.
        files: SHA-256 of every file, by path below the release.
    """

    model: str
    gpu: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    tensorrt_llm: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+")]
    tensor_parallel: Annotated[int, Field(ge=1)] = 1
    pipeline_parallel: Annotated[int, Field(ge=1)] = 1
    max_batch_size: Annotated[int, Field(ge=1)]
    max_input_tokens: Annotated[int, Field(ge=1)]
    max_sequence_tokens: Annotated[int, Field(ge=1)]
    max_num_tokens: Annotated[int, Field(ge=1)]
    quantization: str = ""
    kv_cache: str = ""
    paged_context: bool = False
    files: Annotated[dict[str, Digest], Field(min_length=1)]

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        for path in self.files:
            if path.startswith("/") or ".." in path.split("/") or path == FILE:
                raise ValueError(f"files: {path} is not a path below the release")
        for needed in ("engine/config.json", "tokenizer/tokenizer_config.json"):
            if needed not in self.files:
                raise ValueError(f"files must hold {needed}; a release is the folders engine and tokenizer")
        ranks = sum(path.startswith("engine/rank") for path in self.files)
        if ranks != self.gpus:
            raise ValueError(f"files hold {ranks} engine/rank*.engine; the engine is spread over {self.gpus} GPUs")
        return self

    @property
    def gpus(self) -> int:
        """GPUs of one server."""
        return self.tensor_parallel * self.pipeline_parallel

    @property
    def digest(self) -> str:
        """What names the release: everything above, and so every byte of every file."""
        return hashlib.sha256(document(self).encode()).hexdigest()


class ManifestError(ValueError):
    """A file of manifests that cannot be used."""


def document(manifest: EngineManifest) -> str:
    """The file as it lies beside the engine; its bytes are what the digest is of."""
    return text(manifest.model_dump(by_alias=True))


def read(path: Path) -> dict[str, EngineManifest]:
    """Manifests by the source that a model names; the file that lies beside the stack's settings.

    Raises:
        ManifestError: It is not there, or says something impossible.
    """
    try:
        entries: Any = json.loads(path.read_text())
    except FileNotFoundError:
        raise ManifestError(f"{path} is not there") from None
    except ValueError as error:
        raise ManifestError(f"{path} is not JSON: {error}") from None
    if not isinstance(entries, dict):
        raise ManifestError(f"{path} must be an object: a manifest for each source")
    found: dict[str, EngineManifest] = {}
    for source, entry in cast("Mapping[str, Any]", entries).items():
        try:
            found[source] = EngineManifest.model_validate(entry)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "manifest"
            raise ManifestError(f"{path}: {source}: {place}: {first['msg'].removeprefix('Value error, ')}") from None
    return found


def manifest_of(folder: Path, *, gpu: str, model: str = "") -> EngineManifest:
    """The manifest of a release: the folders ``engine``, as ``trtllm-build`` wrote it, and ``tokenizer``."""
    try:
        return EngineManifest.model_validate(described(folder, gpu=gpu, model=model))
    except (OSError, KeyError) as error:
        raise ManifestError(f"{folder} has no engine of trtllm-build: {error!r}") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Write ``manifest.json`` into a release, and its entry into the file beside the stack's settings."""
    parser = argparse.ArgumentParser(prog="python -m workloads.triton.manifest", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="the release: folders engine and tokenizer")
    parser.add_argument("--gpu", required=True, help="lower-case model of the GPU that it was built on: a10g")
    parser.add_argument("--source", required=True, help="where the release will lie: s3://models/llama/2026-11")
    parser.add_argument("--manifests", type=Path, default=Path("engines.json"), help="the file beside the settings")
    parser.add_argument("--model", default="", help="what it is; for people")
    given = parser.parse_args(arguments)
    try:
        manifest = manifest_of(given.folder, gpu=given.gpu, model=given.model)
        known = read(given.manifests) if given.manifests.exists() else {}
    except (ManifestError, ValidationError) as error:
        print(error, file=sys.stderr)
        return 1
    (given.folder / FILE).write_text(document(manifest))
    entries = {**known, given.source: manifest}
    given.manifests.write_text(
        json.dumps({source: one.model_dump(by_alias=True) for source, one in entries.items()}, indent=1) + "\n"
    )
    print(f"{given.source}: release {manifest.digest[:12]}; upload {given.folder} there as it is")
    return 0


if __name__ == "__main__":
    sys.exit(main())
