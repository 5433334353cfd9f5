"""Names at the clouds: they follow from the declaration, so that nobody waits for a cloud to learn them. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

_LONGEST: Final = 63  # SageMaker's names and Vertex AI's endpoint ids alike
_HASH_LENGTH: Final = 8

CONTAINER_PORT: Final = 8080
"""SageMaker calls this port and no other; Vertex AI is told it."""

MANAGED_IMAGE: Final = "managed-triton"
"""Repository of our own image of a managed endpoint, in the stack's registry."""


def endpoint_name(prefix: str, version: str, *, to_zero: bool = False) -> str:
    """Name of the endpoint of a model's version: lower case, begins with a letter, 63 characters at most.

    One that scales to zero is another kind of endpoint at SageMaker. Neither becomes the other, so they have different
    names: the new one is there before the old one goes.
    """
    return shortened(f"{prefix}-{version}{'-zero' if to_zero else ''}".lower(), _LONGEST)


def shortened(name: str, length: int) -> str:
    """The name itself, or its beginning and a digest of all of it."""
    if len(name) <= length:
        return name
    return f"{name[: length - _HASH_LENGTH - 1].rstrip('-')}-{digest(name)}"


def with_content(name: str, content: Mapping[str, Any]) -> str:
    """A name that changes with what it stands for, for what cannot be changed in place."""
    return f"{name[: _LONGEST - _HASH_LENGTH - 1].rstrip('-')}-{digest([name, content])}"


def digest(content: Any) -> str:
    """Eight hexadecimal digits that say whether two things are the same."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:_HASH_LENGTH]
