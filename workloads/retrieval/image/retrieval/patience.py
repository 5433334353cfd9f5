"""Which failures pass, and how long to wait before it is tried again."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_LONGEST_SECONDS = 60.0


def passes(status: int) -> bool:
    """Whether the same request may be answered later."""
    return status in _PASSING


def pause_seconds(attempt: int, headers: Mapping[str, str], jitter: float | None = None) -> float:
    """What ``Retry-After`` says, else twice as long with each attempt; never more than a minute."""
    asked = headers.get("retry-after", "")
    if asked.isdigit():
        return min(float(asked), _LONGEST_SECONDS)
    if asked:
        try:
            return min(max(0.0, parsedate_to_datetime(asked).timestamp() - time.time()), _LONGEST_SECONDS)
        except ValueError:
            pass
    spread = random.random() if jitter is None else jitter
    return min(0.5 * 2**attempt * (0.5 + spread), _LONGEST_SECONDS)
