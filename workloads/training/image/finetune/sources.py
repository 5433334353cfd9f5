"""What a fine-tune starts from: base models and datasets, brought to this machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workloads.artifacts import Manifest, current, fetch, find, read
from workloads.artifacts.objects import join, local_path, objects

from .checkpoints import side_by_side
from .config import FineTuneConfig


class SourceError(ValueError):
    """A model or a dataset that cannot be used; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """What is learned from, before it is fetched.

    Attributes:
        url: Where it is.
        key: Key of the dataset, or hash of the file.
        manifest: Of the dataset; none for a file.
    """

    url: str
    key: str
    manifest: Manifest | None = None

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the dataset's maker says of it."""
        return {} if self.manifest is None else self.manifest.facts


@dataclass(frozen=True, kw_only=True)
class Splits:
    """Files of a dataset on this machine; JSON lines have their text still to be turned into tokens.

    Attributes:
        training: Files that are learned from.
        validation: Files that the loss is measured on.
        form: What the files are.
    """

    training: tuple[Path, ...]
    validation: tuple[Path, ...] = field(default_factory=tuple)
    form: str = "parquet"


def data_source(config: FineTuneConfig) -> DataSource:
    """Look at the dataset: cheap, and enough to name what will come out.

    Raises:
        SourceError: It is no dataset.
    """
    url = config.data.url
    if url.endswith(".jsonl"):
        try:
            content = objects(url).read(url)
        except FileNotFoundError:
            raise SourceError(f"data.url: {url} is not there") from None
        return DataSource(url=url, key=hashlib.sha256(content).hexdigest())
    try:
        manifest = read(url)
    except FileNotFoundError:
        manifest = current(url)
    if manifest is None:
        raise SourceError(f"data.url: {url} has no manifest: the dataset is not there, or was never finished")
    url = manifest.url
    return DataSource(url=url, key=manifest.key, manifest=manifest)


def fetched_data(config: FineTuneConfig, source: DataSource, folder: Path) -> Splits:
    """Bring the dataset here; files that are here already and right are kept."""
    if source.manifest is None:
        target = folder / "data.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        objects(source.url).download(source.url, target)
        return Splits(training=(target,), form="json")
    fetch(source.url, folder)
    found = {
        split: tuple(
            sorted(
                folder / path
                for path in source.manifest.files
                if path.startswith(f"{split}/") and path.endswith(".parquet")
            )
        )
        for split in (config.data.training, config.data.validation)
    }
    if not found[config.data.training]:
        raise SourceError(f"data.training: {source.url} has no Parquet files below {config.data.training}/")
    return Splits(training=found[config.data.training], validation=found[config.data.validation])


def fetched_base(base: str, folder: Path) -> Path:
    """Bring the base model here, in the layout that ``from_pretrained`` reads."""
    scheme, _, rest = base.partition(":")
    match scheme:
        case "hf":
            from huggingface_hub import snapshot_download  # noqa: PLC0415 only where a hub is asked

            repository, _, revision = rest.strip("/").partition("@")
            return Path(
                snapshot_download(
                    repository,
                    revision=revision,
                    local_dir=folder,
                    allow_patterns=["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"],
                )
            )
        case "models":
            return fetched_base(_registered(base), folder)
        case "file":
            return _usable(local_path(base.rstrip("/")), base)
        case _:
            return _usable(_folder(base.rstrip("/"), folder), base)


def _registered(base: str) -> str:
    """Where a registered model lies."""
    from mlflow import MlflowClient  # noqa: PLC0415 it takes seconds to load

    client = MlflowClient()
    name, sign, revision = base.removeprefix("models:/").partition("@")
    if sign:
        version = client.get_model_version_by_alias(name, revision).version
    else:
        name, _, version = name.partition("/")
    return str(client.get_model_version_download_uri(name, str(version)))


def _folder(url: str, folder: Path) -> Path:
    """A folder of the object store: an artifact with its hashes checked, or files as they are."""
    parent, _, last = url.rpartition("/")
    if len(last) == 64 and find(parent, last) is not None:
        fetch(url, folder)
        return folder
    store = objects(url)
    found = store.list(url)
    names = [one.partition("://")[2].removeprefix(f"{url.partition('://')[2]}/") for one in found]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    side_by_side(lambda name: store.download(join(url, name), folder / name), names)
    return folder


def _usable(folder: Path, base: str) -> Path:
    try:
        json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        raise SourceError(f"base: {base} has no config.json: it is no model's folder") from None
    return folder
