"""Whether a registered model loads: what MLflow says of it, configuration, tokenizer and every tensor.

Nothing of it is run: no pickle is opened, and no code that comes with a model is imported.
"""

# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# MLflow is in the pod's image.

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import drill_weights  # beside this file, in the pod as here
from drill_objects import Folder

_JSON_BYTES = 48 << 20  # the largest vocabularies have 35 MB, and take ten times that in memory
_MLMODEL, _MANIFEST = "MLmodel", "manifest.json"
_CONFIGURATIONS = ("config.json", "adapter_config.json")
_PARSED = ("tokenizer.json", "special_tokens_map.json", "added_tokens.json", "vocab.json")  # and every *config.json
_WEIGHTS, _INDEX = ".safetensors", ".safetensors.index.json"
_OTHER_WEIGHTS = (".bin", ".pt", ".pth", ".ckpt", ".gguf", ".h5", ".msgpack", ".onnx", ".pkl", ".engine")
_VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")
# Keys of MLflow's flavors whose value is a file or a folder of the model.
_PLACES = ("data", "model_binary", "model_path", "peft_adaptor", "pickled_model", "python_model")


class BrokenModelError(ValueError):
    """A model that does not load; the message names the file."""

    def __init__(self, path: str, why: object) -> None:
        super().__init__(f"{path}: {why}")


@dataclass(kw_only=True)
class Loaded:
    """How far a model was loaded.

    Attributes:
        depth: ``read``: everything was read through; ``headers``: of weights the headers and sizes alone;
            ``metadata``: MLflow's own, of a model that is not Transformers'.
        bytes: Of all files.
        read_bytes: Of those that were read through.
        flavors: MLflow's flavors.
        tensors: Tensors that were opened.
        notes: What else is worth knowing, in words.
    """

    depth: str
    bytes: int
    read_bytes: int = 0
    flavors: list[str] = field(default_factory=list[str])
    tensors: int = 0
    notes: list[str] = field(default_factory=list[str])


def load(folder: Folder, room: int) -> Loaded:
    """Load the model of a folder.

    Args:
        folder: Where it lies.
        room: Bytes up to which weights are read through.

    Raises:
        BrokenModelError: It does not load.
    """
    if not folder.files:
        raise BrokenModelError(folder.url, "there are no files")
    found = Loaded(depth="read" if folder.size <= room else "headers", bytes=folder.size)
    if _MLMODEL in folder.files:
        flavors = _flavors(folder)
        found.flavors = sorted(flavors)
    else:
        flavors = {}
        found.notes.append(f"it has no {_MLMODEL}")
    if not _of_transformers(folder, flavors):
        found.depth = "metadata"
        found.notes.append("it is no model of Transformers: what MLflow says of it was loaded, and nothing else")
        return found
    if found.depth == "headers":
        found.notes.append(f"{folder.size} bytes are more than are read through ({room}): headers and sizes of weights")
    _configured(folder, flavors, found)
    _weights(folder, found)
    _read_through(folder, _manifest(folder), found)
    return found


def _of_transformers(folder: Folder, flavors: Mapping[str, Any]) -> bool:
    named = any(Path(path).name in _CONFIGURATIONS or path.endswith(_WEIGHTS) for path in folder.files)
    return "transformers" in flavors or (not flavors and named)


def _flavors(folder: Folder) -> dict[str, Any]:
    """What MLflow's own reader says of the model; files that it names are there."""
    from mlflow.models import Model  # noqa: PLC0415 - slow, and a drill that failed before has no use for it

    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / _MLMODEL
        file.write_bytes(_small(folder, _MLMODEL))
        try:
            flavors: dict[str, Any] = Model.load(str(file)).flavors
        except Exception as error:  # of YAML, of MLflow, or of what it does with what it read
            raise BrokenModelError(_MLMODEL, f"{type(error).__name__}: {error}") from None
    if not flavors:
        raise BrokenModelError(_MLMODEL, "it names no flavor")
    for flavor, settings in flavors.items():
        for path in _named(flavor, settings):
            if path not in folder.files and not any(one.startswith(f"{path}/") for one in folder.files):
                raise BrokenModelError(path, f"{_MLMODEL} names it for the flavor {flavor}, and it is not there")
    return flavors


def _named(flavor: str, settings: Mapping[str, Any]) -> Iterator[str]:
    yield from (value for key in _PLACES if isinstance(value := settings.get(key), str))
    environment = settings.get("env")
    if flavor == "python_function" and isinstance(environment, dict):
        yield from (str(path) for path in environment.values())
    if flavor == "transformers":
        # What has a revision was left at its hub.
        left = {one for one in settings.get("components") or () if settings.get(f"{one}_revision")}
        yield from (f"components/{one}" for one in settings.get("components") or () if one not in left)


def _configured(folder: Folder, flavors: Mapping[str, Any], found: Loaded) -> None:
    """Configurations and tokenizers parse, and are what they are named."""
    tokenizers: list[str] = []
    with_weights = {Path(path).parent for path in folder.files if path.endswith((_WEIGHTS, *_OTHER_WEIGHTS))}
    for path in folder.files:
        name, beside = Path(path).name, Path(path).parent
        if not name.endswith("config.json") and name not in _PARSED:
            continue
        document = _document(folder, path)
        # Parts of a model, such as a pooling, have configurations of the same name in folders of their own.
        if name == "config.json" and beside in with_weights and not {"model_type", "architectures"} & set(document):
            raise BrokenModelError(path, "it names neither a type nor an architecture of a model")
        if name == "tokenizer.json":
            tokenizers.append(f"{path}: {_tokens(path, document)} tokens")
        if name == "tokenizer_config.json" and not any(
            (beside / one).as_posix() in folder.files for one in _VOCABULARIES
        ):
            raise BrokenModelError(path, f"no vocabulary lies beside it ({', '.join(_VOCABULARIES)})")
    found.notes += tokenizers or ["it has no tokenizer.json"]
    settings = flavors.get("transformers") or {}
    elsewhere = settings.get("source_model_revision") or settings.get("local_base_model_path")
    if not with_weights and elsewhere:
        found.notes.append(f"its weights are not in the registry, but elsewhere: {elsewhere}")
    elif not with_weights:
        raise BrokenModelError(folder.url, "it has a configuration and no weights")


def _tokens(path: str, document: Mapping[str, Any]) -> int:
    model = document.get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(vocabulary, dict | list) or not vocabulary:
        raise BrokenModelError(path, "it has no vocabulary")
    return len(vocabulary)


def _weights(folder: Folder, found: Loaded) -> None:
    """Every file of weights is opened, and has the tensors that its index puts into it."""
    files: dict[str, drill_weights.Weights] = {}
    parameters = unknown = 0
    for path, size in folder.files.items():
        if not path.endswith(_WEIGHTS):
            continue
        try:
            files[path] = one = drill_weights.opened(lambda start, end, path=path: folder.read(path, start, end), size)
        except drill_weights.WeightsError as error:
            raise BrokenModelError(path, error) from None
        found.tensors += len(one.names)
        parameters, unknown = parameters + one.parameters, unknown + one.unknown
    if files:
        found.notes.append(f"{found.tensors} tensors, {parameters} parameters in {len(files)} files")
    if unknown:
        found.notes.append(f"{unknown} tensors are of types that are not known here")
    if others := [path for path in folder.files if path.endswith(_OTHER_WEIGHTS)]:
        found.notes.append(f"not opened, since that would run what is in them: {', '.join(others[:3])}")
    for path in folder.files:
        if not path.endswith(_INDEX):
            continue
        places = _document(folder, path).get("weight_map")
        if not isinstance(places, dict) or not places:
            raise BrokenModelError(path, "it has no weight_map")
        for tensor, name in places.items():
            file = (Path(path).parent / str(name)).as_posix()
            if file not in files:
                raise BrokenModelError(file, f"{path} puts tensor {tensor} into it, and it is not there")
            if tensor not in files[file].names:
                raise BrokenModelError(file, f"{path} puts tensor {tensor} into it, and it has no such tensor")


def _manifest(folder: Folder) -> Mapping[str, Mapping[str, Any]]:
    """What the maker of a model says of its files, as fine-tunes do; the files are there in their sizes."""
    if _MANIFEST not in folder.files:
        return {}
    files = _document(folder, _MANIFEST).get("files")
    if not isinstance(files, dict) or not all(isinstance(one, dict) and "sha256" in one for one in files.values()):
        return {}  # another one's manifest
    for path, one in files.items():
        if folder.files.get(path) != one.get("sizeBytes"):
            raise BrokenModelError(
                path, f"it has {folder.files.get(path, 'no')} bytes, and {one.get('sizeBytes')} were saved"
            )
    return files


def _read_through(folder: Folder, manifest: Mapping[str, Mapping[str, Any]], found: Loaded) -> None:
    """Every byte is there to be read, and is what was saved where somebody wrote that down."""
    for path, size in folder.files.items():
        if found.depth == "headers" and (path.endswith((_WEIGHTS, *_OTHER_WEIGHTS)) or size > _JSON_BYTES):
            continue
        digest = hashlib.sha256()
        try:
            for piece in folder.pieces(path):
                digest.update(piece)
        except Exception as error:  # a client of each store has errors of its own
            raise BrokenModelError(path, f"{type(error).__name__}: {error}") from None
        found.read_bytes += size
        if path in manifest and manifest[path]["sha256"] != digest.hexdigest():
            raise BrokenModelError(path, "its content is another than its manifest says")


def _document(folder: Folder, path: str) -> dict[str, Any]:
    try:
        document = json.loads(_small(folder, path))
    except ValueError as error:
        raise BrokenModelError(path, f"it does not parse: {error}") from None
    # Others than configurations may be lists, and have no keys then.
    return document if isinstance(document, dict) else {}


def _small(folder: Folder, path: str) -> bytes:
    size = folder.files[path]
    if size > _JSON_BYTES:
        raise BrokenModelError(path, f"it has {size} bytes, and {_JSON_BYTES} are parsed at most")
    try:
        return b"".join(folder.pieces(path))
    except Exception as error:  # as above
        raise BrokenModelError(path, f"{type(error).__name__}: {error}") from None
