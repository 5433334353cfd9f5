"""Whether restored collections are those that were saved: counts, entities, and answers to the same questions.

The container before this one has restored them beside the living ones, under names with a suffix.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import drill_report  # beside this file, in the pod as here
from drill_claim import Claim, ClaimedError
from drill_report import Drill

_WORK = Path(os.environ.get("WORK", "/work"))
_TIMEOUT_SECONDS = 300
_LOADING_SECONDS = 1800
_TOP = 10
_SLACK = 10  # answers besides: what was written since the backup is left out of the comparison
_VECTORS = {"FloatVector": 4, "Float16Vector": 2, "BFloat16Vector": 2}  # bytes of a number
_CLAIM = Claim("vectors")


class MilvusError(Exception):
    """Milvus refused; the message is its own."""


class Milvus:
    """Milvus' own REST interface, on the port of its other clients."""

    def __init__(self, url: str, token: str) -> None:
        self._url, self._token = url.rstrip("/"), token

    def ask(self, what: str, **body: Any) -> Any:
        """One request below ``/v2/vectordb``."""
        request = urllib.request.Request(
            f"{self._url}/v2/vectordb/{what}",
            method="POST",
            data=json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:
            said = json.loads(answer.read())
        if said.get("code") not in (0, 200):
            raise MilvusError(f"{what}: {said.get('code')} {said.get('message')}")
        return said.get("data")

    def collections(self) -> Iterator[tuple[str, str]]:
        """Database and name of every collection."""
        for database in sorted(self.ask("databases/list")):
            for name in sorted(self.ask("collections/list", dbName=database) or []):
                yield database, name


@dataclass(frozen=True)
class Collection:
    """One collection, as it is asked.

    Attributes:
        milvus: Where.
        database: Its database.
        name: Its name.
    """

    milvus: Milvus
    database: str
    name: str

    def ask(self, what: str, **body: Any) -> Any:
        """One request about it."""
        return self.milvus.ask(what, dbName=self.database, collectionName=self.name, **body)

    def load(self) -> None:
        """Have it in memory, and wait until it is."""
        self.ask("collections/load")
        deadline = time.monotonic() + _LOADING_SECONDS
        while self.ask("collections/get_load_state").get("loadState") != "LoadStateLoaded":
            if time.monotonic() > deadline:
                raise MilvusError(f"{self.name} was not loaded within {_LOADING_SECONDS} s")
            time.sleep(1)

    def count(self) -> int:
        """Entities that are there."""
        (row,) = self.ask("entities/query", filter="", outputFields=["count(*)"])
        return int(row["count(*)"])

    def shape(self) -> tuple[str, bool, str]:
        """Primary key, whether it is a text, and the first dense vector; empty where there is none."""
        fields = self.ask("collections/describe")["fields"]
        (key,) = [field for field in fields if field.get("primaryKey")]
        dense = [field["name"] for field in fields if field["type"] in _VECTORS]
        return key["name"], key["type"] == "VarChar", dense[0] if dense else ""

    def vector_bytes(self) -> int:
        """Bytes of one entity's dense vectors."""
        found = 0
        for field in self.ask("collections/describe")["fields"]:
            settings = {one["key"]: one["value"] for one in field.get("params") or ()}
            found += _VECTORS.get(field["type"], 0) * int(settings.get("dim", 0))
        return found

    def sample(self, size: int, key: str) -> list[dict[str, Any]]:
        """Some entities with all their fields, in the order of their keys."""
        return sorted(
            self.ask("entities/query", filter="", outputFields=["*"], limit=size), key=lambda row: str(row[key])
        )

    def among(self, key: str, is_text: bool, wanted: Sequence[Any]) -> dict[str, dict[str, Any]]:
        """Entities with these keys, by key."""
        if not wanted:
            return {}
        listed = json.dumps([str(one) for one in wanted]) if is_text else f"[{', '.join(map(str, wanted))}]"
        rows = self.ask("entities/query", filter=f"{key} in {listed}", outputFields=["*"], limit=len(wanted))
        return {str(row[key]): row for row in rows}

    def nearest(self, field: str, vector: Sequence[float], key: str) -> list[str]:
        """Keys of the nearest entities, the nearest first."""
        limit = _TOP + _SLACK
        hits = self.ask("entities/search", data=[list(vector)], annsField=field, limit=limit, outputFields=[key])
        return [str(hit.get(key, hit.get("id"))) for hit in hits]


def main() -> int:
    """Compare, clean up, tell; or, before the restore, claim it and remove what a killed drill left."""
    milvus = Milvus(os.environ["MILVUS_URL"], f"root:{os.environ['MILVUS_PASSWORD']}")
    suffix = os.environ["SUFFIX"]
    drill = Drill.of_environment("vectors")
    if os.environ["STEP"] == "begin":
        return begin(drill, milvus, suffix)
    # Told to stop, it cleans up first: an exception runs through what does, a signal would not.
    signal.signal(signal.SIGTERM, drill_report.stop)

    def clean() -> None:
        drop(milvus, suffix)
        _CLAIM.release()

    def steps(drill: Drill, previous: Mapping[str, Any]) -> None:
        compare(drill, milvus, suffix, previous=previous)

    if kept := os.environ["KEEP"]:  # somebody has restored them to stay: they are compared, and nothing else is done
        compare(drill, milvus, suffix, backup=kept)
        print(json.dumps(drill.record()))
        return 0 if drill.passed else 1
    drill.after(_WORK)
    return drill_report.run(drill, steps, clean, _CLAIM.held)


def begin(drill: Drill, milvus: Milvus, suffix: str) -> int:
    """Claim it, and remove what a drill left that was killed: it would be in the way of the restore.

    Only where such a drill is known: a collection of somebody's own may have a name with this end.
    """
    left = True
    try:
        left = _CLAIM.take(_WORK)
        found = [f"{database}.{name}" for database, name in milvus.collections() if name.endswith(suffix)]
        if found and not left:
            told = f"{', '.join(found[:3])}{' and others' if found[3:] else ''}"
            raise MilvusError(f"names that end with {suffix}, which no drill left; rename or drop them: {told}")
        drop(milvus, suffix)
    except ClaimedError as error:
        print(error, file=sys.stderr)
        return 1
    except Exception as error:  # whatever it is, the drill has failed, and says why
        drill.check("the drill began", f"{type(error).__name__}: {error}", passed=False)
        if not left:
            _CLAIM.release()
        return drill_report.tell(drill, drill_report.kept(drill.name))
    return 0


def drop(milvus: Milvus, suffix: str) -> None:
    """Remove what was restored."""
    for database, name in list(milvus.collections()):
        if name.endswith(suffix):
            Collection(milvus, database, name).ask("collections/drop")


def compare(
    drill: Drill, milvus: Milvus, suffix: str, *, backup: str = "", previous: Mapping[str, Any] | None = None
) -> None:
    """Everything that is compared; restored collections are dropped after it, but those of a ``backup`` by name."""
    if (_WORK / "failed").exists():
        drill.check("the collections were restored", (_WORK / "failed").read_text().strip(), passed=False)
        return
    drill.source = backup or (_WORK / "backup").read_text().strip()
    if taken := taken_at(drill.source):
        drill.recovery_point_seconds = max(0.0, drill.started_at - taken)  # clocks of two nodes
    there = list(milvus.collections())
    restored = [(database, name.removesuffix(suffix)) for database, name in there if name.endswith(suffix)]
    drill.check("the backup holds collections", f"{len(restored)} of {drill.source}", passed=bool(restored))
    if not backup:
        living = [(database, name) for database, name in there if not name.endswith(suffix)]
        backed_up(drill, living, restored, previous or {}, taken)
    drill.recovery_time_seconds = 0.0 if backup else float((_WORK / "seconds").read_text())
    drill.amounts |= {"collections": len(restored), "entities": 0, "vectorBytes": 0}
    for database, name in restored:
        copy = Collection(milvus, database, f"{name}{suffix}")
        began = time.monotonic()
        with drill.step("load"):
            copy.load()
        drill.recovery_time_seconds += time.monotonic() - began
        with drill.step("compare"):
            count = copy.count()
            drill.amounts["entities"] += count
            drill.amounts["vectorBytes"] += count * copy.vector_bytes()
            if (database, name) in there:
                alike(drill, Collection(milvus, database, name), copy)
            else:
                drill.check(f"{database}.{name}", f"{count} entities; it has been dropped since", passed=True)
        if not backup:
            with drill.step("clean-up"):
                copy.ask("collections/drop")  # before the next is loaded: memory is needed for one of them only


def backed_up(
    drill: Drill,
    living: Sequence[tuple[str, str]],
    restored: Sequence[tuple[str, str]],
    previous: Mapping[str, Any],
    taken: float | None,
) -> None:
    """No living collection is left out: one that the drill before saw, and that a later backup lacks, was lost."""
    wanted = [one for one in os.environ["FILTER"].split(",") if one]
    names = [f"{database}.{name}" for database, name in living if (database, name) not in restored]
    drill.absent = [name for name in names if not wanted or name in wanted]
    newer = bool(taken and taken > previous.get("startedAt", 0))
    known: Sequence[str] = previous.get("absent", ()) if newer else ()
    lost = [name for name in drill.absent if name in known]
    told = f"not in {drill.source}: {', '.join(drill.absent) or 'none'}"
    more = f"; older than this backup: {', '.join(lost)}" if lost else ""
    drill.check("every collection is backed up", f"{told}{more}", passed=not lost)


def taken_at(name: str) -> float | None:
    """When a backup was begun, by its name; none for one that people have named."""
    try:
        return datetime.strptime(name, "daily_%Y%m%d_%H%M%S").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def alike(drill: Drill, living: Collection, copy: Collection) -> None:
    """One collection and its restored copy: what was not changed since the backup is the same in both."""
    label = f"{living.database}.{living.name}"
    # Loaded only where it is: a collection that nobody asks should not take memory because of a drill.
    if living.ask("collections/get_load_state").get("loadState") != "LoadStateLoaded":
        drill.check(f"{label}: entities", f"{copy.count()} restored; the living one is not loaded", passed=True)
        return
    here, there = living.count(), copy.count()
    drift = abs(here - there) / max(here, there, 1)
    drill.check(
        f"{label}: entities",
        f"{there} restored, {here} living",
        passed=drift <= float(os.environ["DRIFT_SHARE"]),
    )
    key, is_text, vector = copy.shape()
    rows = copy.sample(int(os.environ["QUESTIONS"]), key)
    found = living.among(key, is_text, [row[key] for row in rows])
    differing = [str(row[key]) for row in rows if (other := found.get(str(row[key]))) is not None and other != row]
    gone = sum(1 for row in rows if str(row[key]) not in found)
    # With as many entities as before, nothing should have changed; with others, changed ones are what time brings.
    quiet = here == there
    wrong = (len(differing) + gone) / max(len(rows), 1)
    allowed = 0.0 if quiet else float(os.environ["DRIFT_SHARE"])
    drill.check(
        f"{label}: contents",
        f"{len(rows)} entities compared, {len(differing)} differ {differing[:3]}, {gone} are gone",
        passed=wrong <= allowed,
    )
    if vector and rows:
        overlaps = [overlap(living, copy, vector, row[vector], key, is_text) for row in rows]
        share = sum(overlaps) / len(overlaps)
        drill.check(
            f"{label}: answers",
            f"{len(rows)} questions, {share:.1%} of the {_TOP} nearest are the same",
            passed=share >= float(os.environ["LEAST_OVERLAP"]),
        )


def overlap(
    living: Collection, copy: Collection, field: str, vector: Sequence[float], key: str, is_text: bool
) -> float:
    """Share of the nearest that both name, of those that both hold: what only one of them has is left out first."""
    ours, theirs = living.nearest(field, vector, key), copy.nearest(field, vector, key)
    unsure = sorted(set(ours) ^ set(theirs))
    here, there = (one.among(key, is_text, unsure) for one in (living, copy))
    both = {*(set(ours) & set(theirs)), *(set(here) & set(there))}
    ours, theirs = ([one for one in some if one in both][:_TOP] for some in (ours, theirs))
    if not ours and not theirs:
        return 1.0
    return len(set(ours) & set(theirs)) / max(len(ours), len(theirs))


if __name__ == "__main__":
    sys.exit(main())
