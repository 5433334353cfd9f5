"""Where a version comes from: run, parameters, data, code, evaluation, base model; what is missing is named."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

from ops.models.registry import Known, Mlflow, aliases, versions
from workloads.artifacts.manifest import Manifest, ManifestError
from workloads.evaluation.gate import ALIAS_TAG, Record
from workloads.models.spec import location

_DEEPEST: Final = 5  # a base that is itself a version of the registry, and so on
_COMMIT_TAGS: Final = ("llmops.commit", "mlflow.source.git.commit")

Checkout = Mapping[str, str]
"""What is known of the checkout: ``image``, the training image's tag here, and ``commit``."""


def lineage(client: Mlflow, model: str, version: str, *, checkout: Checkout, depth: int = 0) -> dict[str, Any]:
    """Everything that is known of a version, and under ``missing`` what is not and why."""
    missing: list[str] = []
    known = _versions(client, model, missing)
    found = known.get(version)
    if found is None:
        if not missing:
            missing.append(f"version {version} of {model} is not in the registry")
        return {"model": model, "version": version, "missing": missing}
    run = _run(client, found, missing)
    tags: Mapping[str, str] = {**(run["tags"] if run else {}), **found.tags}
    return {
        "model": model,
        "version": version,
        "source": found.source,
        "registered": _when(found.at),
        "aliases": sorted(alias for alias, one in aliases(client, model).items() if one == version),
        "promotions": list(_promotions(found)),
        "run": {key: value for key, value in run.items() if key not in ("tags", "datasets")} if run else None,
        "data": _data(client, found, run, tags, missing),
        "code": _code(tags, checkout, missing),
        "evaluation": _evaluation(client, found, missing),
        "base": _base(client, tags, missing, checkout=checkout, depth=depth),
        "missing": missing,
    }


def _versions(client: Mlflow, model: str, missing: list[str]) -> Mapping[str, Known]:
    try:
        return versions(client, model)
    except Exception as error:  # MLflow has many; the rest of a lineage is still worth knowing
        missing.append(f"{model} cannot be read from the registry: {_first_line(error)}")
        return {}


def _run(client: Mlflow, version: Known, missing: list[str]) -> dict[str, Any] | None:
    if not version.run:
        missing.append("run: the version was registered without one")
        return None
    try:
        run = client.get_run(version.run)
    except Exception as error:  # deleted, or not for this account
        missing.append(f"run {version.run}: {_first_line(error)}")
        return None
    info, data = run.info, run.data
    if not data.params:
        missing.append("parameters: the run has none")
    inputs: Sequence[Any] = getattr(run.inputs, "dataset_inputs", None) or ()
    return {
        "id": version.run,
        "name": info.run_name,
        "status": info.status,
        "started": _when(info.start_time),
        "ended": _when(info.end_time),
        "user": info.user_id or None,
        "parameters": dict(sorted(data.params.items())),
        "metrics": {key: value for key, value in sorted(data.metrics.items()) if not key.startswith("evaluation/")},
        "tags": dict(data.tags),
        "datasets": [{"name": one.dataset.name, "digest": one.dataset.digest} for one in inputs],
    }


def _data(
    client: Mlflow, version: Known, run: Mapping[str, Any] | None, tags: Mapping[str, str], missing: list[str]
) -> dict[str, Any] | None:
    url, key = tags.get("llmops.data", ""), tags.get("llmops.data.key", "")
    logged: Sequence[Mapping[str, str]] = run["datasets"] if run else ()
    if not url and not logged:
        missing.append("data: neither the version nor its run names what it was trained on")
        return None
    manifest = _manifest(client, version, url, missing) if url and not url.endswith(".jsonl") else None
    return {
        "url": url or None,
        "key": key or None,
        "logged": list(logged),
        "manifest": manifest,
    }


def _manifest(client: Mlflow, version: Known, url: str, missing: list[str]) -> dict[str, Any] | None:
    text = _file(client, version.run, "data/manifest.json") if version.run else None
    if text is None:
        missing.append("data manifest: the run has no data/manifest.json")
        return None
    try:
        found = Manifest.from_json(text, url)
    except ManifestError as error:
        missing.append(f"data manifest: {error}")
        return None
    return {
        "key": found.key,
        "files": {path: record.sha256 for path, record in found.files.items()},
        "bytes": found.size_bytes,
        "parents": dict(found.parents),
    }


def _code(tags: Mapping[str, str], checkout: Checkout, missing: list[str]) -> dict[str, Any]:
    image = tags.get("llmops.image", "")
    commit = next((tags[name] for name in _COMMIT_TAGS if tags.get(name)), "")
    same = bool(image) and image == checkout.get("image")
    if not image:
        missing.append("code: no image is named")
    if not commit and not same:
        missing.append("commit: none was logged, and the image's content is not that of this checkout")
    return {
        "image": image or None,
        "commit": commit or (checkout.get("commit") or None if same else None),
        "checkout": same,
    }


def _evaluation(client: Mlflow, version: Known, missing: list[str]) -> dict[str, Any] | None:
    found = Record.at_version(version.tags)
    if found is None:
        missing.append("evaluation: the version has not been evaluated")
        return None
    told: dict[str, Any] = {"verdict": found.verdict, "at": found.at, "key": found.key, "run": found.run}
    text = _file(client, found.run, f"{found.folder}/report.json")
    if text is None:
        missing.append(f"evaluation report: run {found.run} has no {found.folder}/report.json")
        return told
    try:
        report = cast("dict[str, Any]", json.loads(text))
        measures = cast("dict[str, dict[str, Any]]", report.get("measures", {}))
        told["measures"] = {
            name: {key: one.get(key) for key in ("value", "low", "high", "cases")} for name, one in measures.items()
        }
    except (ValueError, AttributeError) as error:
        missing.append(f"evaluation report: {_first_line(error)}")
    return told


def _base(
    client: Mlflow, tags: Mapping[str, str], missing: list[str], *, checkout: Checkout, depth: int
) -> dict[str, Any] | None:
    source = tags.get("llmops.base", "")
    if not source:
        missing.append("base model: none is named")
        return None
    if not source.startswith("models:/"):
        return {"source": source}
    place = location(source)
    version = place.revision
    if version.startswith("@"):
        missing.append(f"base model: {source} is an alias, which may have moved since")
        return {"source": source}
    if depth >= _DEEPEST:
        return {"source": source}
    return {"source": source, "lineage": lineage(client, place.place, version, checkout=checkout, depth=depth + 1)}


def _promotions(version: Known) -> Iterator[dict[str, str]]:
    """By alias: what the version has to do with it, who said so, when and why."""
    for tag, state in sorted(version.tags.items()):
        alias = tag.removeprefix(ALIAS_TAG)
        if alias == tag or "." in alias:
            continue
        told = {name: version.tags.get(f"{tag}.{name}", "") for name in ("by", "at", "why", "before", "unevaluated")}
        yield {"alias": alias, "state": state, **{key: value for key, value in told.items() if value}}


def _file(client: Mlflow, run: str, path: str) -> str | None:
    with tempfile.TemporaryDirectory(prefix="llmops-") as folder:
        try:
            return Path(client.download_artifacts(run, path, folder)).read_text()
        except Exception:  # each store has its own; the caller says that it is missing
            return None


def _when(milliseconds: int | None) -> str | None:
    if not milliseconds:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else repr(error)
