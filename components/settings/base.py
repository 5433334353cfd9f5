"""What every settings model shares: strictness, and the types that several of them use."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel


class Section(BaseModel):
    """Base of every settings model: camelCase in YAML, no unknown keys, immutable."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)


def _quoted(value: Any) -> Any:
    """YAML reads an unquoted 1.30 as the number 1.3; only quotes keep what was written."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise ValueError(f"must be in quotes, or YAML reads a number and drops digits; got {value}")
    return value


def _cidr(value: str) -> str:
    try:
        return str(ipaddress.IPv4Network(value))
    except ValueError as error:
        raise ValueError(f"must be an IPv4 network such as 10.0.0.0/16 ({error}); got {value}") from None


def _email(value: str) -> str:
    if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", value):
        raise ValueError(f"must be an e-mail address; got {value}")
    return value


def _days_of_logs(value: int) -> int:
    # The only values that CloudWatch takes (PutRetentionPolicy, API reference).
    allowed = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653)
    if value not in allowed:
        raise ValueError(f"must be one of {', '.join(map(str, allowed))} days; got {value}")
    return value


Version = Annotated[str, BeforeValidator(_quoted)]
"""A version; in quotes, because YAML reads ``1.30`` as a number."""

Cidr = Annotated[str, AfterValidator(_cidr)]
"""An IPv4 network such as ``10.0.0.0/16``, without host bits."""

Email = Annotated[str, AfterValidator(_email)]
"""An e-mail address."""

LogDays = Annotated[int, AfterValidator(_days_of_logs)]
"""Retention of a CloudWatch log group in days."""

Name = Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$")]
"""Lower-case letters, digits and hyphens, at most 40 characters, starting with a letter."""
