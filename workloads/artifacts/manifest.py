"""What an artifact says of itself."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from workloads.artifacts.keys import JSON, KEY

MANIFEST: Final = "manifest.json"
"""Name of the manifest, which is written last: an artifact without it is none."""

_FORMAT: Final = 1
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class ManifestError(ValueError):
    """A manifest that cannot be read or must not be believed."""


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """One file of an artifact.

    Attributes:
        size_bytes: Its size.
        sha256: Hash of its content, hexadecimal.
    """

    size_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """An artifact that is whole.

    Attributes:
        kind: What it is, such as ``dataset`` or ``checkpoint``.
        key: Hash of what it was made from, as :func:`workloads.artifacts.keys.key_of` gives it.
        url: Where it lies; not part of the file, so that an artifact can be copied elsewhere.
        files: Its files, by their path below ``url``.
        parents: What it was made from: name and key or address.
        facts: What its maker found worth knowing.
    """

    kind: str
    key: str
    url: str
    files: Mapping[str, FileRecord]
    parents: Mapping[str, str] = field(default_factory=dict[str, str])
    facts: Mapping[str, JSON] = field(default_factory=dict[str, JSON])

    @property
    def size_bytes(self) -> int:
        """Size of all files together."""
        return sum(record.size_bytes for record in self.files.values())

    def to_json(self) -> str:
        """The text of the manifest; the same for the same content."""
        document = {
            "format": _FORMAT,
            "kind": self.kind,
            "key": self.key,
            "files": {
                path: {"sizeBytes": record.size_bytes, "sha256": record.sha256} for path, record in self.files.items()
            },
            "parents": dict(self.parents),
            "facts": dict(self.facts),
        }
        return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, url: str) -> Manifest:
        """Read a manifest that lies at ``url``.

        Raises:
            ManifestError: It is no manifest, is of another artifact, or names a file outside of its folder.
        """
        try:
            document = cast("dict[str, Any]", json.loads(text))
            if document["format"] != _FORMAT:
                raise ManifestError(f"{url}: format {document['format']} is not {_FORMAT}")
            found = cls(
                kind=str(document["kind"]),
                key=str(document["key"]),
                url=url,
                files={
                    file_path(path): FileRecord(size_bytes=int(one["sizeBytes"]), sha256=_hash(one["sha256"]))
                    for path, one in document["files"].items()
                },
                parents=dict(document["parents"]),
                facts=dict(document["facts"]),
            )
        except ManifestError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ManifestError(f"{url}: no manifest: {error!r}") from error
        check_key(found.key)
        if not url.rstrip("/").endswith(f"/{found.key}"):
            raise ManifestError(f"{url}: the manifest is of {found.key}")
        return found


def check_key(key: str) -> str:
    """The key, if it is one.

    Raises:
        ManifestError: It is not one of :func:`workloads.artifacts.keys.key_of`.
    """
    if not KEY.fullmatch(key):
        raise ManifestError(f"a key has 64 hexadecimal digits; got {key!r}")
    return key


def file_path(path: str) -> str:
    """A file's path, if it stays below the artifact's folder: who fetches writes there.

    Raises:
        ManifestError: It leaves the folder, or is the manifest's own.
    """
    parts = path.split("/")
    if not path or "\\" in path or "\0" in path or any(part in ("", ".", "..") for part in parts) or path == MANIFEST:
        raise ManifestError(f"{path!r} is no path of a file in an artifact")
    return path


def _hash(value: object) -> str:
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise ManifestError(f"{value!r} is no SHA-256")
    return value
