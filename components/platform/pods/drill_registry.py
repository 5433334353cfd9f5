"""Whether a restored model registry is the one that was saved: rows, MLflow's own answers, files of models.

The container before this one has restored it beside the living one, and has written what it saw of both.
"""

# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportUntypedFunctionDecorator=false
# MLflow and SQLAlchemy are in the pod's image.

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import drill_report  # beside this file, in the pod as here
from drill_report import Drill

_WORK = Path(os.environ.get("WORK", "/work"))
_CHUNK_BYTES = 1 << 20
_SHOWN = 5


def main() -> int:
    """Compare, clean up, tell."""
    # Told to stop, it cleans up first: an exception runs through `finally`, a signal would not.
    signal.signal(signal.SIGTERM, drill_report.stop)
    return drill_report.run(Drill.of_environment("registry"), compare, clean)


def compare(drill: Drill, previous: Mapping[str, Any]) -> None:
    """Everything that is compared."""
    drill.source = "a dump of the living database"
    if (_WORK / "failed").exists():
        drill.check("the registry was restored", (_WORK / "failed").read_text().strip(), passed=False)
        return
    tables(drill, counted(_WORK / "living"), counted(_WORK / "restored"))
    began = time.monotonic()
    client = restored_registry()
    answers = answered(client)
    drill.recovery_time_seconds = float((_WORK / "seconds").read_text()) + time.monotonic() - began
    saved = json.loads((_WORK / "registry.json").read_text())
    for what in ("models", "versions", "aliases"):
        same(drill, what, saved[what], answers[what])
    files(drill, client, [tuple(one) for one in answers["aliases"]], previous.get("files", {}))


def counted(path: Path) -> dict[str, tuple[str, str]]:
    """Rows and their hash by table, as psql has written them."""
    lines = (line.split("\t") for line in path.read_text().splitlines() if line)
    return {table: (rows, digest) for table, rows, digest in lines}


def tables(drill: Drill, living: Mapping[str, tuple[str, str]], restored: Mapping[str, tuple[str, str]]) -> None:
    """Every table has the same rows, as of the moment of the dump."""
    names = sorted({*living, *restored})
    wrong = [
        f"{name}: {living.get(name)} and {restored.get(name)}"
        for name in names
        if living.get(name) != restored.get(name)
    ]
    rows = sum(int(count) for count, _ in restored.values())
    told = f"{len(names)} tables, {rows} rows" if not wrong else f"rows and hash, living and restored: {_some(wrong)}"
    drill.check("rows and their hashes are identical", told, passed=bool(living) and not wrong)


def same(drill: Drill, what: str, saved: list[Any], answers: list[Any]) -> None:
    """What MLflow answers from the restored database is what the living one holds."""
    before = {json.dumps(one) for one in saved}
    after = {json.dumps(one) for one in answers}
    missing, more = sorted(before - after), sorted(after - before)
    told = f"{len(after)}" if before == after else f"missing: {_some(missing)}; unexpected: {_some(more)}"
    drill.check(f"registered {what} are identical", told, passed=before == after)


def restored_registry() -> Any:
    """MLflow's own client on the restored database: it refuses tables of another version."""
    os.chdir(tempfile.gettempdir())  # MLflow makes a folder for artifacts where it stands
    import mlflow  # noqa: PLC0415 - takes seconds, and a drill that failed before has no use for it

    uri = os.environ["RESTORED_URI"]
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    return mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)


def answered(client: Any) -> dict[str, list[Any]]:
    """Models, versions and aliases as MLflow tells them."""
    models = list(_pages(client.search_registered_models))
    versions = list(_pages(client.search_model_versions))
    return {
        "models": sorted(model.name for model in models),
        "versions": sorted([one.name, int(one.version), one.status, one.source] for one in versions),
        "aliases": sorted(
            [model.name, alias, int(version)] for model in models for alias, version in model.aliases.items()
        ),
    }


def _pages(search: Any) -> Iterator[Any]:
    token = None
    while True:
        page = search(max_results=200, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def files(drill: Drill, client: Any, aliases: list[Any], known: Mapping[str, str]) -> None:
    """Files of some registered models are found by the restored registry, are readable, and did not change."""
    models, room = int(os.environ["MODELS"]), int(os.environ["MODEL_BYTES"])
    chosen = sorted({(name, version) for name, _, version in aliases})[:models]
    for name, version in chosen:
        label = f"files of {name} version {version}"
        try:
            count, size, digest = digested(client.get_model_version_download_uri(name, str(version)), room)
        except Exception as error:  # a client of each cloud has errors of its own
            drill.check(label, f"{type(error).__name__}: {error}", passed=False)
            continue
        key = f"{name}/{version}"
        changed = known.get(key, digest) != digest
        drill.files[key] = known[key] if changed else digest
        told = f"{count} files, {size} bytes read, sha256 {digest[:16]}"
        more = "; another than in the last drill" if changed else ""
        drill.check(label, f"{told}{more}", passed=count > 0 and not changed)


def digested(uri: str, room: int) -> tuple[int, int, str]:
    """Number of files, bytes that were read, and a digest of names, sizes and, as far as there is room, contents."""
    from mlflow.models import Model  # noqa: PLC0415 - as above
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository  # noqa: PLC0415 - as above

    repository = get_artifact_repository(uri)
    total, read, digest = 0, 0, hashlib.sha256()
    for path, size in sorted(_listed(repository, None)):
        total += 1
        digest.update(f"{path}\0{size}\0".encode())
        if read + size > room:
            continue
        with tempfile.TemporaryDirectory() as folder:
            file = Path(repository.download_artifacts(path, folder))
            if file.stat().st_size != size:
                raise ValueError(f"{path} has {file.stat().st_size} bytes, and {size} are listed")
            with file.open("rb") as stream:
                while chunk := stream.read(_CHUNK_BYTES):
                    digest.update(chunk)
            if path == "MLmodel":
                Model.load(str(file))
        read += size
    return total, read, digest.hexdigest()


def _listed(repository: Any, folder: str | None) -> Iterator[tuple[str, int]]:
    for one in repository.list_artifacts(folder):
        if one.is_dir:
            yield from _listed(repository, one.path)
        else:
            yield one.path, int(one.file_size or 0)


def clean() -> None:
    """Drop what was restored."""
    import sqlalchemy  # noqa: PLC0415 - as above

    engine = sqlalchemy.create_engine(os.environ["RESTORED_URI"], poolclass=sqlalchemy.pool.NullPool)
    with engine.begin() as connection:
        # The whole schema, and not the tables alone: MLflow has functions and triggers too.
        for statement in ("SET lock_timeout = '60s'", "DROP SCHEMA IF EXISTS public CASCADE", "CREATE SCHEMA public"):
            connection.execute(sqlalchemy.text(statement))


def _some(lines: list[str]) -> str:
    more = f" and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return ("; ".join(lines[:_SHOWN]) or "none") + more


if __name__ == "__main__":
    sys.exit(main())
