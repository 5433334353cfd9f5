"""A Triton release, laid out for an endpoint that a cloud manages: engine, tokenizer and a whole model repository.

On the cluster a loader writes the model repository beside the release, in the pod. A managed endpoint has no loader:
its container reads what lies in its source. So the export adds the folder ``models`` to a release and leaves the rest
as it is; what comes out is still a release, for the cluster too.

    python -m workloads.triton.export s3://models/llama/1 s3://models/llama-managed/1 --name chat --service sagemaker

It runs where the code of Triton's own models is: in the image of the engine build.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import ValidationError

from workloads.artifacts.objects import join, objects
from workloads.triton import pipeline as models
from workloads.triton.config import pbtxt
from workloads.triton.manifest import FILE, EngineManifest
from workloads.triton.pipeline import EngineOptions, Pipeline

Service = Literal["sagemaker", "vertex"]

FOLDERS: Final[Mapping[Service, str]] = {"sagemaker": "/opt/ml/model", "vertex": "/tmp/models"}
"""Where the container has the source: configurations name engine and tokenizer by absolute paths."""

EXPORT: Final = "managed.json"
"""Written last: what was added, by hash. A source without it is not whole."""

CODE: Final = Path("/app/all_models/inflight_batcher_llm")
"""Code of the models in Python, in NVIDIA's images with TensorRT-LLM."""

_KEEP: Final = "1/keep"
_KEPT: Final = b"Object stores have no empty folders, and Triton takes no model without a version.\n"
_KV_CACHE_FRACTION: Final = 0.9  # the endpoint serves this engine alone, as a rolled release does on the cluster
_WAITING_PER_PLACE: Final = 8


class ExportError(Exception):
    """What is there is not what was asked for, and nothing was written over it."""


@dataclass(frozen=True, kw_only=True)
class Export:
    """What lies in the target besides the release's own files.

    Attributes:
        copied: SHA-256 of the release's files, by path.
        added: The model repository, by path.
        manifest: The release's manifest.
    """

    copied: Mapping[str, str]
    added: Mapping[str, bytes]
    manifest: bytes

    @property
    def document(self) -> bytes:
        """The file that says what was added."""
        hashes = {path: hashlib.sha256(data).hexdigest() for path, data in self.added.items()}
        digest = hashlib.sha256(self.manifest).hexdigest()
        return (json.dumps({"release": digest, "files": hashes}, indent=1, sort_keys=True) + "\n").encode()


def plan(manifest: bytes, *, name: str, service: Service, code: Mapping[str, Mapping[str, bytes]]) -> Export:
    """What an export holds. Pure.

    Args:
        manifest: The release's ``manifest.json``, as it lies there.
        name: What clients call the model.
        service: Whose endpoint reads it.
        code: Files of Triton's own models in Python, by model and path below its version.

    Raises:
        ExportError: The manifest cannot be used, or code is missing.
    """
    try:
        engine = EngineManifest.model_validate_json(manifest)
    except ValidationError as error:
        raise ExportError(f"{FILE}: {error.errors()[0]['msg']}") from None
    release = hashlib.sha256(manifest).hexdigest()[:10]
    described = Pipeline(
        name=name,
        release=release,
        folder=FOLDERS[service],
        max_batch_size=engine.max_batch_size,
        max_queue_size=_WAITING_PER_PLACE * engine.max_batch_size,
        options=EngineOptions(
            kv_cache_fraction=_KV_CACHE_FRACTION,
            kv_cache_reuse=engine.paged_context,
            chunked_context=engine.paged_context,
        ),
    )
    parts = models.parts(described)
    added: dict[str, bytes] = {}
    for config in (*parts.values(), models.front(described, name)):
        added[f"models/{config.name}/config.pbtxt"] = pbtxt(config).encode()
        added[f"models/{config.name}/{_KEEP}"] = _KEPT
    for role, config in parts.items():
        if config.backend != "python":
            continue
        files = code.get(role, {})
        if "model.py" not in files:
            raise ExportError(f"no code of {role}: run this in NVIDIA's image with TensorRT-LLM, or name its folder")
        added |= {f"models/{config.name}/1/{path}": data for path, data in files.items()}
    return Export(copied=dict(engine.files), added=added, manifest=manifest)


def code_of(folder: Path) -> dict[str, dict[str, bytes]]:
    """Files of Triton's own models in Python, as :func:`plan` takes them."""
    found: dict[str, dict[str, bytes]] = {}
    for role in (models.PREPROCESSING, models.POSTPROCESSING):
        version = folder / role / "1"
        found[role] = {
            path.relative_to(version).as_posix(): path.read_bytes()
            for path in sorted(version.rglob("*"))
            if path.is_file() and "__pycache__" not in path.parts
        }
    return found


def export(source: str, target: str, *, name: str, service: Service, code: Path = CODE, digest: str = "") -> Export:
    """Lay a release out for an endpoint; the last file is written when all others are there. Again changes nothing.

    Args:
        source: Folder of the release, by URL.
        target: Folder of the endpoint's source, by URL; it has nothing else.
        name: What clients call the model.
        service: Whose endpoint reads it.
        code: Folder with the code of Triton's own models.
        digest: SHA-256 of the release's manifest; empty takes the release that is there.

    Raises:
        ExportError: The release is another one or damaged, or the target holds something else.
        FileNotFoundError: There is no release.
    """
    store, there = objects(source), objects(target)
    manifest = store.read(join(source, FILE))
    if digest and hashlib.sha256(manifest).hexdigest() != digest:
        raise ExportError(f"{source} holds another release than {digest[:12]}")
    wanted = plan(manifest, name=name, service=service, code=code_of(code))
    if _is_there(target, wanted):
        return wanted
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as temporary:
        for path, expected in wanted.copied.items():
            file = Path(temporary) / "file"  # one at a time: an engine may be larger than what is left for two
            store.download(join(source, path), file)
            with file.open("rb") as content:
                if hashlib.file_digest(content, "sha256").hexdigest() != expected:
                    raise ExportError(f"{source}: {path} is not the file of the manifest")
            there.upload(file, join(target, path))
    for path, data in wanted.added.items():
        there.write(join(target, path), data)
    there.write(join(target, FILE), manifest)
    if not there.create(join(target, EXPORT), wanted.document) and not _is_there(target, wanted):
        raise ExportError(f"{target} was written by somebody else at the same time; take another folder")
    return wanted


def _is_there(target: str, wanted: Export) -> bool:
    """Whether the target is whole.

    Raises:
        ExportError: It holds another export, or a release: files of two would lie side by side.
    """
    store = objects(target)
    known: dict[str, bytes] = {}
    for name in (EXPORT, FILE):
        try:
            known[name] = store.read(join(target, name))
        except FileNotFoundError:
            continue
    if known.get(FILE, wanted.manifest) != wanted.manifest:
        raise ExportError(f"{target} holds another release; take a folder of its own for each")
    if known.get(EXPORT, wanted.document) != wanted.document:
        raise ExportError(f"{target} holds this release under another name or for another service; take another folder")
    return EXPORT in known


def main(arguments: Sequence[str] | None = None) -> int:
    """Lay out a release for a managed endpoint."""
    parser = argparse.ArgumentParser(prog="python -m workloads.triton.export", description=main.__doc__)
    parser.add_argument("source", help="URL of the release: s3://<bucket>/llama/1")
    parser.add_argument("target", help="URL of the endpoint's source, a folder of its own")
    parser.add_argument("--name", required=True, help="what clients call the model: models[].name")
    parser.add_argument("--service", required=True, choices=sorted(FOLDERS))
    parser.add_argument("--code", type=Path, default=CODE, help=f"code of Triton's own models; {CODE}")
    parser.add_argument("--digest", default="", help="SHA-256 of the release's manifest")
    given = parser.parse_args(arguments)
    try:
        made = export(
            given.source,
            given.target,
            name=given.name,
            service=given.service,
            code=given.code,
            digest=given.digest,
        )
    except (ExportError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{given.target}: {len(made.copied)} files of the release, {len(made.added)} of the model repository")
    return 0


if __name__ == "__main__":
    sys.exit(main())
