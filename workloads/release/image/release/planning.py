"""What a release still has to do: everything is named by what it is made from, and what is there is not made again."""

from __future__ import annotations

import hashlib
import importlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from release.config import Engine, Find, Look, Plan
from release.repository import is_whole
from workloads.artifacts import JSON, ManifestError, find, key_of, publish, read
from workloads.artifacts.objects import local_path
from workloads.artifacts.pointer import current

RUN: Final = "run"
SKIP: Final = "skip"


class NothingError(Exception):
    """What should be there is not: trying again may help, when somebody has made it."""


def look(config: Look) -> dict[str, str]:
    """Compare the raw files with what was prepared last."""
    key = state_key(config)
    there = bool(config.alias) or not config.sources or find(config.records, key) is not None
    return {"preprocess": SKIP if there else RUN, "record": key}


def state_key(config: Look) -> str:
    """Names the state of the raw files, by what the store says of each without reading it, and of the settings."""
    files = [one for source in config.sources for one in listing(source)] if not config.alias else []
    return key_of({"looked": 1, "files": files, "decides": config.decides})


def listing(url: str) -> Sequence[JSON]:
    """Every object below a folder, with its size and what changes with its content: the entity tag of a store."""
    if url.startswith("file:"):
        root = local_path(url)
        paths = sorted(path for path in root.rglob("*") if path.is_file())
        return [
            [path.relative_to(root).as_posix(), path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()]
            for path in paths
        ]
    files: Any = importlib.import_module("fsspec").filesystem(url.partition(":")[0], use_listings_cache=False)
    found: Mapping[str, Mapping[str, Any]] = files.find(url, detail=True)
    return [[path, int(entry["size"]), _mark(path, entry)] for path, entry in sorted(found.items())]


def _mark(path: str, entry: Mapping[str, Any]) -> str:
    """What a store changes with an object's content: an entity tag (S3), or a generation and checksum (Google)."""
    for name in ("ETag", "etag", "md5Hash", "crc32c"):
        if entry.get(name):
            return str(entry[name]).strip('"')
    raise NothingError(f"{path}: its store says nothing that changes with the content")


def plan(config: Plan) -> dict[str, str]:
    """Find the data, and the model that comes of it."""
    if config.alias:
        # It was trained before; what it is evaluated with is what there is now.
        return {"train": SKIP, "dataset": _existing(config.dataset), "model": ""}
    url = _dataset(config)
    training = json.loads(json.dumps(config.training))
    training["data"] = {**training.get("data", {}), "url": url}
    # By name: the pod of this step has that module from the training image's own folder.
    finetune: Any = importlib.import_module("finetune.config")
    told = finetune.FineTuneConfig.model_validate(training)
    key: str = finetune.model_key(told, data_key=read(url).key, processes=config.processes)
    models: str = told.output.models
    there = find(models, key) is not None
    return {"train": SKIP if there else RUN, "dataset": url, "model": f"{models}/{key}"}


def _dataset(config: Plan) -> str:
    """The URL of the data: the one recorded for this state of the raw files, else the current one."""
    if not config.look.sources:
        if found := _existing(config.dataset):
            return found
        raise NothingError(f"{config.dataset}: no dataset has been prepared")
    if known := find(config.look.records, config.record):
        return str(known.facts["dataset"])
    made = current(config.dataset)
    if made is None:
        raise NothingError(f"{config.dataset}: no dataset has been prepared")
    # Raw files that changed while they were read may be in the dataset or not: the next run looks again.
    if state_key(config.look) == config.record:
        _record(config.look.records, config.record, {"dataset": made.url}, {"dataset": made.key})
    return made.url


def _existing(place: str) -> str:
    """The dataset at a place, or the current one of a folder; empty where there is none."""
    try:
        return read(place).url
    except (FileNotFoundError, ManifestError):
        found = current(place)
        return found.url if found else ""


def _record(folder: str, key: str, facts: Mapping[str, JSON], parents: Mapping[str, str]) -> None:
    """Keep a fact under a key."""
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "record.json").write_text(json.dumps(facts, sort_keys=True) + "\n")
        publish(Path(place), folder, key, kind="record", parents=parents, facts=facts)


def find_version(config: Find, client: Any) -> dict[str, str]:
    """Find the version, and what of its engine is there.

    Args:
        config: What is released.
        client: ``MlflowClient``.
    """
    version, source = _version(config, client)
    if not version:
        # Nobody bears the alias that asks for releases: nothing is to be done.
        return {**dict.fromkeys(_DECISIONS, SKIP), **dict.fromkeys(_NAMES, "")}
    found = {"version": version, "source": source, "evaluate": RUN}
    return found | (_engine(config.engine, source) if config.engine else {})


_DECISIONS: Final = ("evaluate", "convert", "build", "sync", "trial")
_NAMES: Final = ("version", "source", "checkpointKey", "engineKey", "trialKey", "checkpoint", "engine", "release")


def _version(config: Find, client: Any) -> tuple[str, str]:
    name = config.registered_model
    if config.alias:
        aliases = _registered(client, name)
        if config.alias not in aliases:
            return "", ""
        bearer = client.get_model_version(name, aliases[config.alias])
        return str(bearer.version), str(bearer.source).rstrip("/")
    wanted = config.model.rstrip("/")
    token: str | None = None
    while True:
        page = client.search_model_versions(f"name='{name}'", page_token=token)
        for one in page:
            if str(one.source).rstrip("/") == wanted:
                return str(one.version), wanted
        token = page.token
        if not token:
            raise NothingError(f"{name}: no version has its files at {wanted}; the training registers it")


def _registered(client: Any, name: str) -> Mapping[str, str]:
    """Aliases of a registered model; none where there is no such model yet."""
    try:
        return client.get_registered_model(name).aliases
    except Exception as error:
        if getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST":
            return {}
        raise


def _engine(engine: Engine, source: str) -> dict[str, str]:
    """Names of checkpoint, engine and trial; each follows from the one before."""
    model = read(source).key
    decides = engine.decides
    convert = {**decides["convert"], "image": decides["image"]}
    checkpoint = key_of({"checkpoint": 1, "model": model, **convert})
    built = key_of({"engine": 1, "checkpoint": checkpoint, **decides["build"]})
    trial = key_of({"trial": 1, "engine": built, **decides["trial"]})
    has_engine = find(engine.engines, built) is not None
    has_release = is_whole(f"{engine.repository}/{built}")
    return {
        "convert": SKIP if has_engine or find(engine.checkpoints, checkpoint) else RUN,
        "build": SKIP if has_engine else RUN,
        "sync": SKIP if has_release else RUN,
        "trial": SKIP if find(engine.trials, trial) else RUN,
        "checkpointKey": checkpoint,
        "engineKey": built,
        "trialKey": trial,
        "checkpoint": f"{engine.checkpoints}/{checkpoint}",
        "engine": f"{engine.engines}/{built}",
        "release": f"{engine.repository}/{built}",
    }
