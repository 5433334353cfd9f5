"""What a program of our images is told: JSON on its command line, judged as a whole before anything is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

Told = TypeVar("Told")

Url = Annotated[str, Field(pattern=r"^(s3|gs|file)://\S+$")]
"""A place in an object store, or a folder."""

Key = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""What an artifact was made from, as a SHA-256."""


class Part(BaseModel):
    """Base of every part: camelCase, no unknown keys, immutable."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)


class ConfigError(ValueError):
    """A configuration that cannot be used; one line for each problem."""


def parsed(validate: Callable[[str], Told], text: str) -> Told:
    """Read JSON with a model's own ``validate``.

    Raises:
        ConfigError: It cannot be used.
    """
    try:
        return validate(text)
    except ValidationError as error:
        lines = [
            f"{'.'.join(map(str, one['loc'])) or 'config'}: {one['msg'].removeprefix('Value error, ')}"
            for one in error.errors()
        ]
        raise ConfigError("\n".join(lines)) from None
