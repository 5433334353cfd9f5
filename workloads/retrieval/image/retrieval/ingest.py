"""``python -m retrieval.ingest --config JSON``: bring a source's documents into the vector database.

It ends with 0 when the collection is what the source says, 2 for a wrong configuration, 3 where a limit refused it, 1
for anything else. Running it again changes nothing; one that was killed goes on where it was.
"""

from __future__ import annotations

import fnmatch
import json
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec

from retrieval.config import REFUSED, IngestConfig, from_arguments
from retrieval.documents import Bad
from retrieval.embeddings import UnusableError
from retrieval.logs import start_logging
from retrieval.names import INDEX_KINDS, CollectionName, choose_index
from retrieval.store import Store, connect
from retrieval.work import FileReport, SourceFile, Worker
from workloads.artifacts.objects import join, objects

log = logging.getLogger("retrieval.ingest")

Run = Callable[[IngestConfig, CollectionName, list[SourceFile]], Iterator[FileReport]]

_BYTES_OF_TOKEN = 4  # of English prose; for the first guess at an index, before anything is read
_PROGRESS_SECONDS = 30


class RefusedRunError(Exception):
    """A limit that the run would break."""


@dataclass
class Report:
    """What a run did.

    Attributes:
        collection: What it filled.
        files: Files of the source.
        documents: Documents that were read.
        set_aside: How many were not.
        gone: Documents that were removed, because the source has them no more.
        chunks: Chunks in the end.
        counts: Chunks by what was done with them, and requests for embeddings.
        switched: Whether the alias moved.
        seconds: How long it took.
    """

    collection: str = ""
    files: int = 0
    documents: int = 0
    set_aside: int = 0
    gone: int = 0
    chunks: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    switched: bool = False
    seconds: float = 0


def files(config: IngestConfig) -> list[SourceFile]:
    """What the source holds, in a fixed order."""
    system, root = fsspec.core.url_to_fs(config.source)
    root = str(root).rstrip("/")
    found: list[SourceFile] = []
    for name, facts in system.find(root, detail=True).items():
        path = str(name)[len(root) :].lstrip("/")
        if path and any(fnmatch.fnmatch(path, pattern) for pattern in config.include):
            # A file's name may hold what a URL would read otherwise; names of objects are taken as they are.
            url = Path(name).as_uri() if "file" in system.protocol else system.unstrip_protocol(name)
            found.append(SourceFile(path, url, int(facts.get("size") or 0)))
    return sorted(found, key=lambda file: file.path)


def expected_chunks(found: Iterable[SourceFile], config: IngestConfig) -> int:
    """A guess from sizes alone."""
    new_tokens = config.chunking.tokens - config.chunking.overlap
    return sum(file.size for file in found) // (_BYTES_OF_TOKEN * new_tokens)


def collection_to_fill(store: Store, config: IngestConfig, chunks: int) -> tuple[CollectionName, bool]:
    """The collection with these vectors, and whether it has to be made.

    The served one where its vectors are made the same way; else one that an earlier run has begun; else a new one.
    """
    served = store.served()
    if served and served.name.fingerprint == config.fingerprint:
        return served.name, False
    begun = [name for name in store.all() if name.fingerprint == config.fingerprint]
    if begun:  # of two, one is a copy that was not finished, with the index for more chunks
        return min(begun, key=lambda name: INDEX_KINDS.index(name.kind)), False
    return CollectionName(store.alias, config.fingerprint, choose_index(chunks, config.index)), True


def gone(there: Mapping[str, list[str]], seen: set[str], bad: Iterable[Bad]) -> list[str]:
    """Documents that are stored and no longer in the source. What could not be read is not gone."""
    unread = {one.document for one in bad if one.document}
    whole = {one.file for one in bad if not one.document}
    return [
        document
        for document in there
        if document not in seen
        and document not in unread
        and document.rpartition("#")[0] not in whole
        and document not in whole
    ]


def ingest(config: IngestConfig, run: Run) -> tuple[Report, list[Bad]]:
    """One run from the first to the last step.

    Raises:
        RefusedRunError: A limit would be broken; what is served is left as it is.
    """
    began = time.monotonic()
    store = Store(connect(config.milvus), config.retrieval)
    found = files(config)
    if not found:
        raise RefusedRunError(f"no file in {config.source} that include names: an empty source is not taken for a wish")
    guess = expected_chunks(found, config)
    name, is_new = collection_to_fill(store, config, guess)
    _drop_leftovers(store, name)
    if is_new:
        store.create(name, config.embedding, guess)
    store.load(name)
    log.info("begins", extra={"facts": {"collection": str(name), "files": len(found), "expected_chunks": guess}})

    report, bad, seen = Report(collection=str(name), files=len(found)), list[Bad](), set[str]()
    told = time.monotonic()
    for number, one in enumerate(run(config, name, found), 1):
        seen.update(one.documents)
        bad += one.bad
        for key, value in one.counts.items():
            report.counts[key] = report.counts.get(key, 0) + value
        if time.monotonic() - told > _PROGRESS_SECONDS:
            told = time.monotonic()
            log.info("goes on", extra={"facts": {"files": number, "of": len(found), **report.counts}})
    report.documents, report.set_aside = len(seen), len(bad)
    try:
        _judge_bad(config, report)
        report.gone = _remove_gone(store, name, config, seen, bad)
        report.chunks = store.count(name)
        if not report.chunks:
            raise RefusedRunError("not a single chunk: nothing is served instead of something")
        store.flush(name)
        report.collection, report.switched = _serve(store, name, config, report.chunks)
    finally:
        report.seconds = round(time.monotonic() - began, 1)
        _write(config, report, bad)
    return report, bad


def _judge_bad(config: IngestConfig, report: Report) -> None:
    every = report.documents + report.set_aside
    if report.set_aside > config.limits.bad_share * every:
        raise RefusedRunError(
            f"{report.set_aside} of {every} documents were set aside, more than limits.bad_share, "
            f"{config.limits.bad_share:g}"
        )


def _remove_gone(store: Store, name: CollectionName, config: IngestConfig, seen: set[str], bad: list[Bad]) -> int:
    there = store.documents(name)
    leaving = gone(there, seen, bad)
    served = store.served()
    # In a collection that is not served they are what an earlier, unfinished run has left.
    if served and served.name == name and len(leaving) > config.limits.deleted_share * len(there):
        raise RefusedRunError(
            f"{len(leaving)} of {len(there)} documents are gone from the source, more than limits.deleted_share, "
            f"{config.limits.deleted_share:g}; nothing was removed"
        )
    store.delete(name, [identifier for document in leaving for identifier in there[document]])
    return len(leaving)


def _serve(store: Store, name: CollectionName, config: IngestConfig, chunks: int) -> tuple[str, bool]:
    """Give the whole collection the alias; one that has outgrown its index is copied first."""
    kind = choose_index(chunks, config.index, name.kind)
    if kind != name.kind:
        larger = CollectionName(name.alias, name.fingerprint, kind)
        if larger in store.all():  # a copy that was not finished
            store.drop(larger)
        store.create(larger, config.embedding, chunks)
        store.copy(name, larger)
        store.flush(larger)
        store.load(larger)
        name = larger
    served = store.served()
    if served and served.name == name:
        return str(name), False
    store.serve(name)
    return str(name), True


def _drop_leftovers(store: Store, name: CollectionName) -> None:
    """Collections that are neither served nor to be filled: what was served before the last switch, or given up."""
    served = store.served()
    for one in store.all():
        if one != name and not (served and one == served.name):
            store.drop(one)


def _write(config: IngestConfig, report: Report, bad: list[Bad]) -> None:
    for one in bad[:20]:
        log.warning("set aside", extra={"facts": asdict(one)})
    if not config.report_url:
        return
    store, folder = objects(config.report_url), join(config.report_url, f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    if bad:
        lines = "".join(json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in bad)
        store.write(join(folder, "set-aside.jsonl"), lines.encode())
    store.write(join(folder, "report.json"), json.dumps(asdict(report), indent=2).encode())


def locally(config: IngestConfig, name: CollectionName, found: list[SourceFile]) -> Iterator[FileReport]:
    """In this process, one file after another."""
    worker = Worker(config, name)
    yield from (worker.work(file) for file in found)


def on_ray(config: IngestConfig, name: CollectionName, found: list[SourceFile]) -> Iterator[FileReport]:
    """On the workers of the cluster that the job has, or of one in this machine where there is none."""
    import ray  # noqa: PLC0415 seconds, and only where it is asked for

    if not ray.is_initialized():
        ray.init(log_to_driver=False)

    # An actor holds one connection to each service, instead of one for each file.
    remote: Any = ray.remote(num_cpus=1, max_restarts=3, max_task_retries=3)(Worker)
    workers = [remote.remote(config, name) for _ in range(min(config.parallelism, len(found)))]
    # Some may wait for a node that never comes: a file goes to one that has answered.
    busy: dict[Any, Any] = {worker.ready.remote(): worker for worker in workers}
    waiting, done = iter(found), 0
    while done < len(found):
        (ended, *_), _ = ray.wait(list(busy), num_returns=1)
        worker, report = busy.pop(ended), ray.get(ended)
        if (file := next(waiting, None)) is not None:
            busy[worker.work.remote(file)] = worker
        if report is not None:
            done += 1
            yield report
    for worker in workers:
        ray.kill(worker)


RUNS: dict[str, Run] = {"ray": on_ray, "local": locally}


def main(arguments: list[str] | None = None) -> int:
    """Read the configuration, run, say what was done."""
    config = from_arguments(IngestConfig, "Bring documents into the vector database.", arguments)
    start_logging()
    try:
        report, _ = ingest(config, RUNS[config.executor])
    except RefusedRunError as refused:
        log.error("refused", extra={"facts": {"reason": str(refused)}})
        return REFUSED
    except UnusableError as error:
        log.error("failed", extra={"facts": {"reason": str(error)}})
        return 1
    log.info("done", extra={"facts": asdict(report)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
