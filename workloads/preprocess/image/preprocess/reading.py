"""Raw files: which there are, what is in them, and their lines."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any, Final, cast

from fsspec.core import url_to_fs

from preprocess.config import Config, Source
from preprocess.errors import RefusedError
from workloads.artifacts import key_of
from workloads.artifacts.objects import join, objects

ENDINGS: Final = (".jsonl", ".jsonl.gz", ".txt", ".txt.gz")
CHAT_ENDINGS: Final = (".jsonl", ".jsonl.gz")

_BLOCK: Final = 4 << 20


class ChangedFileError(Exception):
    """A file that somebody wrote while it was read; the next run reads it as it is then."""


class DamagedFileError(Exception):
    """A compressed file that ends too early, or is none."""


@dataclass(frozen=True)
class RawFile:
    """A raw file as a listing shows it.

    Attributes:
        name: Source and path in it.
        url: Where it is.
        size_bytes: Its size, compressed where it is.
        state: Changes whenever the store says that the object did.
    """

    name: str
    url: str
    size_bytes: int
    state: str


@dataclass(frozen=True)
class Partition:
    """A whole file, or the lines of it that begin between two bytes.

    Attributes:
        name: Name of the file.
        url: Where it is.
        sha256: Of the whole file.
        state: As of the file, when it was listed.
        start: First byte.
        end: The byte after the last; none for the whole file.
    """

    name: str
    url: str
    sha256: str
    state: str = ""
    start: int = 0
    end: int | None = None


def files(config: Config) -> list[RawFile]:
    """Every raw file, in the order of their names.

    Raises:
        RefusedError: There is none, or one that would be left out without a word.
    """
    found = [one for source in config.sources for one in _listed(source)]
    endings = CHAT_ENDINGS if config.kind == "chat" else ENDINGS
    if strange := [one.name for one in found if not one.name.endswith(endings)]:
        some = ", ".join(strange[:5]) + (" …" if len(strange) > 5 else "")
        raise RefusedError(f"{len(strange)} files are not {', '.join(endings)}: {some}; move them out of the sources")
    if empty := [one.name for one in config.sources if not any(file.name.startswith(one.name) for file in found)]:
        raise RefusedError(f"no files in {', '.join(empty)}")
    return sorted(found, key=lambda one: one.name)


def content_hash(file: RawFile, work: str) -> str:
    """SHA-256 of a raw file; read once for each state of the object.

    Raises:
        ChangedFileError: It was written meanwhile.
    """
    noted = join(work, "raw", f"{file.state}.json")
    store = objects(work)
    try:
        return str(json.loads(store.read(noted))["sha256"])
    except FileNotFoundError:
        pass
    digest = hashlib.sha256()
    with _opened(file.url) as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    check_state(file.url, file.state)
    store.write(noted, json.dumps({"sha256": digest.hexdigest(), "name": file.name}).encode())
    return digest.hexdigest()


def check_state(url: str, state: str) -> None:
    """Compare a file with what it was when it was listed: what was read from it has its name from then.

    Raises:
        ChangedFileError: It is another one.
    """
    files_of, path = url_to_fs(url, use_listings_cache=False)
    if _state(url, files_of.info(path)) != state:
        raise ChangedFileError(f"{url} was written while it was read; run again")


def partitions(file: RawFile, sha256: str, config: Config) -> list[Partition]:
    """A file in parts of about the same size; compressed files and those that are one record stay whole."""
    step = round(config.partition_mib * 2**20)
    whole = file.name.endswith(".gz") or (file.name.endswith(".txt") and config.text_record == "file")
    if whole or file.size_bytes <= step:
        return [Partition(file.name, file.url, sha256, file.state)]
    return [
        Partition(file.name, file.url, sha256, file.state, start, min(start + step, file.size_bytes))
        for start in range(0, file.size_bytes, step)
    ]


def lines(part: Partition, *, longest_bytes: int) -> Iterator[tuple[int, bytes | None]]:
    """Each line with its number in the part, from 1; ``None`` stands for one that is too long to be held.

    Raises:
        DamagedFileError: A compressed file cannot be read to its end.
    """
    try:
        with _opened(part.url) as raw:
            stream = cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if part.url.endswith(".gz") else raw
            yield from _lines(stream, part, longest_bytes)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DamagedFileError(f"{part.name}: {error}") from None


def whole(part: Partition, *, longest_bytes: int) -> bytes | None:
    """The content of a file that is one record; none where it is too long.

    Raises:
        DamagedFileError: A compressed file cannot be read to its end.
    """
    try:
        with _opened(part.url) as raw:
            stream = cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if part.url.endswith(".gz") else raw
            content = stream.read(longest_bytes + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DamagedFileError(f"{part.name}: {error}") from None
    return None if len(content) > longest_bytes else content


def _lines(stream: IO[bytes], part: Partition, longest: int) -> Iterator[tuple[int, bytes | None]]:
    at = 0
    if part.start:
        # The line that begins before this part belongs to the part before; one that begins exactly here is ours.
        stream.seek(part.start - 1)
        at = part.start - 1
        while chunk := stream.readline(longest):
            at += len(chunk)
            if chunk.endswith(b"\n"):
                break
    number = 0
    while part.end is None or at < part.end:
        line = stream.readline(longest + 1)
        if not line:
            return
        number += 1
        at += len(line)
        if len(line) <= longest or line.endswith(b"\n"):
            yield number, line
            continue
        while chunk := stream.readline(longest):
            at += len(chunk)
            if chunk.endswith(b"\n"):
                break
        yield number, None


def _opened(url: str) -> IO[bytes]:
    files_of, path = url_to_fs(url)
    return cast("IO[bytes]", io.BufferedReader(files_of.open(path, "rb"), 1 << 20))


def _listed(source: Source) -> Iterator[RawFile]:
    files_of, root = url_to_fs(source.url.rstrip("/"), use_listings_cache=False)
    root = root.rstrip("/")
    found = cast("Mapping[str, Mapping[str, Any]]", files_of.find(root, detail=True))
    for path, told in found.items():
        name = path.removeprefix(root).lstrip("/")
        if name.startswith(".") or "/." in name or not told.get("size") or path == root:
            continue  # markers of folders and of tools; what is empty holds no record
        url = files_of.unstrip_protocol(path)
        yield RawFile(join(source.name, name), url, int(told["size"]), _state(url, told))


def _state(url: str, told: Mapping[str, Any]) -> str:
    marks = [str(told.get(key)) for key in ("ETag", "md5Hash", "generation", "mtime", "ino")]
    return key_of({"url": url, "size": int(told["size"]), "marks": marks})
