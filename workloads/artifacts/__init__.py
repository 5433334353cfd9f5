"""Folders of files, named by what they were made from; written whole or not at all, and checked when they are read.

For pods and for the program. Only a URL of an object store needs fsspec.
"""

from workloads.artifacts.keys import JSON, key_of
from workloads.artifacts.manifest import FileRecord, Manifest, ManifestError
from workloads.artifacts.pointer import current, point_to
from workloads.artifacts.transfer import DamagedArtifactError, assemble, fetch, find, hashed, publish, read

__all__ = [
    "JSON",
    "DamagedArtifactError",
    "FileRecord",
    "Manifest",
    "ManifestError",
    "assemble",
    "current",
    "fetch",
    "find",
    "hashed",
    "key_of",
    "point_to",
    "publish",
    "read",
]
