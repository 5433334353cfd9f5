"""Which artifact of a folder is the current one: the only thing in it that changes."""

from __future__ import annotations

import json
from typing import Final

from workloads.artifacts.manifest import Manifest, ManifestError, check_key
from workloads.artifacts.objects import join, objects
from workloads.artifacts.transfer import read

POINTER: Final = "current.json"
"""Name of the object that holds the key."""


def point_to(artifact: Manifest) -> None:
    """Make an artifact that is whole the current one of its folder; nothing is written where it is already."""
    base_url = artifact.url.rstrip("/").rpartition("/")[0]
    if _key(base_url) != artifact.key:
        objects(base_url).write(join(base_url, POINTER), json.dumps({"key": artifact.key}).encode() + b"\n")


def current(base_url: str) -> Manifest | None:
    """The current artifact of a folder; none where there has been none.

    Raises:
        ManifestError: The pointer cannot be read.
        FileNotFoundError: It points to an artifact that is gone.
    """
    key = _key(base_url)
    return None if key is None else read(join(base_url, key))


def _key(base_url: str) -> str | None:
    url = join(base_url, POINTER)
    try:
        return check_key(str(json.loads(objects(url).read(url))["key"]))
    except FileNotFoundError:
        return None
    except (KeyError, TypeError, ValueError) as error:
        raise ManifestError(f"{url}: no pointer: {error!r}") from error
