"""Files of a registered model, read in the object store piece by piece: a pod has no room for a whole one."""

# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# MLflow and the stores' clients are in the pod's image.

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

PIECE_BYTES = 16 << 20
_TRIES, _PAUSE_SECONDS = 4, float(os.environ.get("PAUSE_SECONDS", "6"))

Fetch = Callable[[str, int, int], bytes]
"""Bytes of an object from one place up to another."""


@dataclass(frozen=True)
class Folder:
    """Where a version of a registered model lies.

    Attributes:
        url: Its place.
        files: Size of each file by its path.
        fetch: Reads a part of one.
    """

    url: str
    files: Mapping[str, int]
    fetch: Fetch

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(self.files.values())

    def read(self, path: str, start: int, end: int) -> bytes:
        """A part of a file.

        Raises:
            ValueError: The store answers with another number of bytes.
        """
        if start == end:
            return b""
        for left in reversed(range(_TRIES)):
            try:
                found = self.fetch(path, start, end)
                break
            except Exception:  # a client of each store has errors of its own; those that last come again
                if not left:
                    raise
                time.sleep(_PAUSE_SECONDS)
        else:
            raise AssertionError("the last try ends or raises")
        if len(found) != end - start:
            raise ValueError(f"the store gave {len(found)} bytes of {end - start}")
        return found

    def pieces(self, path: str) -> Iterator[bytes]:
        """A whole file, piece by piece."""
        size = self.files[path]
        for start in range(0, size, PIECE_BYTES):
            yield self.read(path, start, min(start + PIECE_BYTES, size))


def folder(url: str) -> Folder:
    """The files of a version, as MLflow lists them.

    Args:
        url: What MLflow names as its place.

    Raises:
        ValueError: It lies in no store that drills read.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository  # noqa: PLC0415 - slow

    repository = get_artifact_repository(url)
    # Of a model that MLflow itself logged the version names the logged model, and this where that one lies.
    place = str(getattr(repository, "repo", repository).artifact_uri).rstrip("/")
    return Folder(place, dict(sorted(_listed(repository, None))), _fetch(place))


def _listed(repository: Any, below: str | None) -> Iterator[tuple[str, int]]:
    for one in repository.list_artifacts(below):
        if one.is_dir:
            yield from _listed(repository, one.path)
        else:
            yield one.path, int(one.file_size or 0)


def _fetch(place: str) -> Fetch:
    parts = urlsplit(place)
    prefix = f"{parts.path.lstrip('/')}/" if parts.path.strip("/") else ""
    if parts.scheme == "s3":
        import boto3  # noqa: PLC0415 - in the image for each cloud, and needed on one

        s3 = boto3.client("s3", endpoint_url=os.environ.get("MLFLOW_S3_ENDPOINT_URL") or None)

        def of_s3(path: str, start: int, end: int) -> bytes:
            asked = s3.get_object(Bucket=parts.netloc, Key=prefix + path, Range=f"bytes={start}-{end - 1}")
            return asked["Body"].read()

        return of_s3
    if parts.scheme == "gs":
        storage = importlib.import_module("google.cloud.storage")
        bucket = storage.Client().bucket(parts.netloc)

        def of_gcs(path: str, start: int, end: int) -> bytes:
            return bucket.blob(prefix + path).download_as_bytes(start=start, end=end - 1)

        return of_gcs
    raise ValueError(f"{place} lies in no store that drills read")
