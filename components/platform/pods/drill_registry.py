"""Whether a restored model registry is the one that was saved: rows, MLflow's own answers, a model that loads.

A container before this one has restored it beside the living one, and has written what it saw of both.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import drill_model  # beside this file, in the pod as here
import drill_objects
import drill_report
from drill_claim import Claim, ClaimedError
from drill_report import Drill

_WORK = Path(os.environ.get("WORK", "/work"))
_SHOWN = 5
_LOOKED_AT = 20
# MLflow keeps prompts among registered models, and leaves them out unless it is asked for them.
_PROMPTS = "`mlflow.prompt.is_prompt` = 'true'"
_CLAIM = Claim("registry")


def main() -> int:
    """Compare, clean up, tell; or, before the restore, claim it."""
    if os.environ["STEP"] == "claim":
        try:
            _CLAIM.take(_WORK)
        except ClaimedError as error:
            print(error, file=sys.stderr)
            return 1
        return 0
    # Told to stop, it cleans up first: an exception runs through what does, a signal would not.
    signal.signal(signal.SIGTERM, drill_report.stop)
    drill = Drill.of_environment("registry")
    drill.after(_WORK)
    return drill_report.run(drill, compare, clean, _CLAIM.held)


def compare(drill: Drill, previous: Mapping[str, Any]) -> None:
    """Everything that is compared."""
    drill.source = "a dump of the living database"
    if (_WORK / "failed").exists():
        drill.check("the registry was restored", (_WORK / "failed").read_text().strip(), passed=False)
        return
    with drill.step("compare"):
        tables(drill, counted(_WORK / "living"), counted(_WORK / "restored"))
        drill.amounts["dumpBytes"] = int((_WORK / "dump-bytes").read_text())
        drill.amounts["bytes"] = int((_WORK / "restored-bytes").read_text())
    with drill.step("open"):
        began = time.monotonic()
        client = restored_registry()
        answers = answered(client)
        drill.recovery_time_seconds = float((_WORK / "seconds").read_text()) + time.monotonic() - began
    with drill.step("compare"):
        saved = json.loads((_WORK / "registry.json").read_text())
        for what in ("models", "versions", "aliases"):
            same(drill, what, saved[what], answers[what])
            drill.amounts[what] = len(answers[what])
        versions = list(_pages(client.search_model_versions))
        named = {one.name for one in versions}
        aliases = [(name, alias, version) for name, alias, version in answers["aliases"] if name in named]
        lead_somewhere(drill, answers["aliases"], answers["versions"])
        files(drill, client, aliases, previous.get("files", {}))
    with drill.step("load-model"):
        loads(drill, client, versions, aliases)


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
    drill.amounts |= {"tables": len(restored), "rows": rows}
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
    models = [*_pages(client.search_registered_models), *_pages(client.search_registered_models, f"tag.{_PROMPTS}")]
    versions = [*_pages(client.search_model_versions), *_pages(client.search_model_versions, f"tags.{_PROMPTS}")]
    return {
        "models": sorted(model.name for model in models),
        "versions": sorted([one.name, int(one.version), one.status, one.source] for one in versions),
        "aliases": sorted(
            [model.name, alias, int(version)] for model in models for alias, version in model.aliases.items()
        ),
    }


def _pages(search: Callable[..., Any], wanted: str | None = None) -> Iterator[Any]:
    token = None
    while True:
        page = search(filter_string=wanted, max_results=200, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def lead_somewhere(drill: Drill, aliases: Sequence[Any], versions: Sequence[Any]) -> None:
    """Every alias names a version that is there: whoever serves by it finds nothing else."""
    there = {(name, version) for name, version, *_ in versions}
    lost = [
        f"{name}@{alias} names version {version}" for name, alias, version in aliases if (name, version) not in there
    ]
    told = f"{len(aliases)} aliases" if not lost else f"{_some(lost)}, which is not there"
    drill.check("every alias names a version", told, passed=not lost)


def files(drill: Drill, client: Any, aliases: Sequence[Any], known: Mapping[str, str]) -> None:
    """Files of some registered models are found by the restored registry, are readable, and did not change."""
    models, room = int(os.environ["MODELS"]), int(os.environ["MODEL_BYTES"])
    chosen = sorted({(name, version) for name, _, version in aliases})[:models]
    for name, version in chosen:
        label = f"files of {name} version {version}"
        try:
            place = drill_objects.folder(client.get_model_version_download_uri(name, str(version)))
            size, digest = digested(place, room)
        except Exception as error:  # a client of each cloud has errors of its own
            drill.check(label, f"{type(error).__name__}: {error}", passed=False)
            continue
        # By their place: the number of a version comes again where somebody registers a model anew under its name.
        key = f"{place.url} {room}"
        changed = known.get(key, digest) != digest
        drill.files[key] = known[key] if changed else digest
        told = f"{len(place.files)} files, {size} bytes read, sha256 {digest[:16]}"
        more = "; another than in the last drill" if changed else ""
        drill.check(label, f"{told}{more}", passed=bool(place.files) and not changed)


def digested(place: drill_objects.Folder, room: int) -> tuple[int, str]:
    """Bytes that were read, and a digest of names, sizes and, as far as there is room, contents."""
    read, digest = 0, hashlib.sha256()
    for path, size in place.files.items():
        digest.update(f"{path}\0{size}\0".encode())
        if read + size > room:
            continue
        for piece in place.pieces(path):
            digest.update(piece)
        read += size
    return read, digest.hexdigest()


def loads(drill: Drill, client: Any, versions: Sequence[Any], aliases: Sequence[Any]) -> None:
    """One registered model loads: what is served, or else the newest."""
    room, serving = int(os.environ["LOAD_BYTES"]), os.environ["LOAD_ALIAS"]
    version = chosen(client, versions, aliases, serving, room)
    if version is None:
        drill.check("a registered model loads", "the registry has no version that is ready", passed=True)
        return
    label = f"{version.name} version {version.version} loads"
    told = {"model": version.name, "version": int(version.version), "url": ""}
    try:
        place = drill_objects.folder(client.get_model_version_download_uri(version.name, str(version.version)))
        told["url"] = place.url
        found = drill_model.load(place, room)
    except Exception as error:  # a client of each cloud has errors of its own
        drill.loaded = {**told, "depth": "none"}
        drill.check(label, f"{type(error).__name__}: {error}", passed=False)
        return
    drill.loaded = {
        **told,
        "depth": found.depth,
        "flavors": found.flavors,
        "files": len(place.files),
        "bytes": found.bytes,
        "readBytes": found.read_bytes,
        "tensors": found.tensors,
    }
    flavors = f" ({', '.join(found.flavors)})" if found.flavors else ""
    sizes = f"{len(place.files)} files{flavors}, {found.bytes} bytes, {found.read_bytes} read through"
    drill.check(label, "; ".join((sizes, *found.notes)), passed=True)


def chosen(client: Any, versions: Sequence[Any], aliases: Sequence[Any], serving: str, room: int) -> Any | None:
    """The newest version that the alias names, else the newest that there is room to read, else the newest."""
    ready = sorted(
        (one for one in versions if one.status == "READY"),
        key=lambda one: (one.creation_timestamp, one.name),
        reverse=True,
    )
    served = {(name, version) for name, alias, version in aliases if alias == serving}
    if under := [one for one in ready if (one.name, int(one.version)) in served]:
        return under[0]
    for one in ready[:_LOOKED_AT]:
        try:
            place = drill_objects.folder(client.get_model_version_download_uri(one.name, str(one.version)))
        except Exception:  # whatever is wrong with it is found when it is loaded
            return one
        if place.size <= room:
            return one
    return ready[0] if ready else None


def clean() -> None:
    """Drop what was restored, and let others rehearse."""
    import sqlalchemy  # noqa: PLC0415 - as above

    engine = sqlalchemy.create_engine(os.environ["RESTORED_URI"], poolclass=sqlalchemy.pool.NullPool)
    with engine.begin() as connection:
        # The whole schema, and not the tables alone: MLflow has functions and triggers too.
        for statement in ("SET lock_timeout = '60s'", "DROP SCHEMA IF EXISTS public CASCADE", "CREATE SCHEMA public"):
            connection.execute(sqlalchemy.text(statement))
    _CLAIM.release()


def _some(lines: list[str]) -> str:
    more = f" and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return ("; ".join(lines[:_SHOWN]) or "none") + more


if __name__ == "__main__":
    sys.exit(main())
