"""Objects by URL: a folder of this machine, or any store that fsspec knows."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import uuid
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit


class Objects(Protocol):
    """What artifacts need of a store; a URL names one object.

    A URL without an object raises :class:`FileNotFoundError`; being refused is an error of its own, and never taken
    for absence.
    """

    def read(self, url: str) -> bytes:
        """The whole object."""
        ...

    def write(self, url: str, content: bytes) -> None:
        """Write an object; others see the old one or the new one, and nothing between."""
        ...

    def create(self, url: str, content: bytes) -> bool:
        """Write an object that is not there yet; false if another one was faster."""
        ...

    def upload(self, file: Path, url: str) -> None:
        """Write a file's content."""
        ...

    def download(self, url: str, file: Path) -> None:
        """Write an object's content into a file."""
        ...

    def copy(self, source: str, target: str) -> None:
        """Copy an object within the store; its content does not pass through here where the store can do that."""
        ...

    def delete(self, url: str) -> None:
        """Remove an object; nothing happens where none is."""
        ...

    def list(self, url: str) -> Sequence[str]:
        """URLs of all objects below a folder, sorted; empty where nothing is."""
        ...


def objects(url: str) -> Objects:
    """The store that a URL lies in: ``file:///…``, or ``s3://``, ``gs://`` and others by fsspec.

    Credentials, region and endpoint come from the environment, as each store's own client reads them.

    Raises:
        ValueError: No URL.
    """
    scheme = urlsplit(url).scheme
    if not scheme:
        raise ValueError(f"{url!r} is no URL; a path is written file:///…")
    return LocalObjects() if scheme == "file" else RemoteObjects(scheme)


def join(url: str, *parts: str) -> str:
    """The URL of something below a folder."""
    return "/".join((url.rstrip("/"), *(part.strip("/") for part in parts)))


def local_path(url: str) -> Path:
    """The path that a ``file://`` URL names."""
    parts = urlsplit(url)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise ValueError(f"{url!r} is no URL of a file")
    return Path(unquote(parts.path))


class LocalObjects:
    """Files of this machine; each gets its name only when it is whole."""

    def read(self, url: str) -> bytes:
        """The whole file."""
        return local_path(url).read_bytes()

    def write(self, url: str, content: bytes) -> None:
        """Write beside, then rename."""
        target = local_path(url)
        with beside(target) as part:
            part.write_bytes(content)
            part.replace(target)

    def create(self, url: str, content: bytes) -> bool:
        """Write beside, then link: a link never replaces."""
        target = local_path(url)
        with beside(target) as part:
            part.write_bytes(content)
            try:
                os.link(part, target)
            except FileExistsError:
                return False
        return True

    def upload(self, file: Path, url: str) -> None:
        """Copy beside, then rename."""
        target = local_path(url)
        with beside(target) as part:
            shutil.copyfile(file, part)
            part.replace(target)

    def download(self, url: str, file: Path) -> None:
        """Copy."""
        shutil.copyfile(local_path(url), file)

    def copy(self, source: str, target: str) -> None:
        """Copy beside, then rename."""
        self.upload(local_path(source), target)

    def delete(self, url: str) -> None:
        """Remove a file."""
        local_path(url).unlink(missing_ok=True)

    def list(self, url: str) -> Sequence[str]:
        """Every file below a folder that is whole."""
        root = local_path(url)
        found = (path for path in root.rglob("*") if path.is_file() and not _is_part(path))
        return sorted(join(url, path.relative_to(root).as_posix()) for path in found)


class RemoteObjects:
    """Objects of a store by fsspec: a put makes an object whole or not at all."""

    def __init__(self, scheme: str) -> None:
        self._scheme = scheme
        module = importlib.import_module("fsspec")  # by name: the program itself is without it
        # Others write at the same time: a listing is good for one question only.
        self._files: Any = module.filesystem(scheme, use_listings_cache=False)

    def read(self, url: str) -> bytes:
        """The whole object."""
        return self._files.cat_file(url)

    def write(self, url: str, content: bytes) -> None:
        """One put."""
        self._files.pipe_file(url, content)

    def create(self, url: str, content: bytes) -> bool:
        """One put that the store refuses where an object is."""
        try:
            self._files.pipe_file(url, content, mode="create")
        except FileExistsError:
            return False
        except OSError as error:
            # How s3fs hands on a precondition that failed depends on its version.
            if "PreconditionFailed" in repr(error) or "PreconditionFailed" in repr(error.__cause__):
                return False
            raise
        return True

    def upload(self, file: Path, url: str) -> None:
        """One put, or a multipart upload, which exists only once it is complete."""
        self._files.put_file(str(file), url)

    def download(self, url: str, file: Path) -> None:
        """Into a file."""
        self._files.get_file(url, str(file))

    def copy(self, source: str, target: str) -> None:
        """By the store itself, in parts where the object is large."""
        self._files.cp_file(source, target)

    def delete(self, url: str) -> None:
        """One request."""
        with contextlib.suppress(FileNotFoundError):
            self._files.rm_file(url)

    def list(self, url: str) -> Sequence[str]:
        """Every object below a folder."""
        return sorted(path if "://" in path else f"{self._scheme}://{path}" for path in self._files.find(url))


@contextlib.contextmanager
def beside(target: Path) -> Generator[Path]:
    """A file beside another one, on the same file system; it is gone afterwards."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


def _is_part(path: Path) -> bool:
    return path.name.startswith(".") and path.name.endswith(".part")
