"""Which generation of a credential the stack's state has."""

from __future__ import annotations

import re
from typing import Any, Final, cast

_DRAWN: Final = "random:index/randomPassword:RandomPassword"


def generation_in(export: dict[str, Any], purpose: str) -> int:
    """The newest value of a purpose in a state, as ``pulumi stack export`` prints it; 0 where it has none."""
    # <component>-<purpose>-<property>, and -b for the second place of what overlaps.
    ours = re.compile(rf"(^|-){re.escape(purpose)}-[A-Za-z]+(-b)?$")
    found = [
        int(cast("dict[str, Any]", one.get("inputs") or {}).get("keepers", {}).get("generation", 1))
        for one in export["deployment"].get("resources", [])
        if one["type"] == _DRAWN and not one.get("delete") and ours.search(one["urn"].rpartition("::")[2])
    ]
    return max(found, default=0)
