"""What AWS refuses to delete."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Final

from sandbox.store import Record

_REFERRED: Final = re.compile(r"(vpc|subnet|sg|igw|nat|eipalloc|rtb|lt|fs)-[0-9a-f]{17}")
# Parts of a resource that AWS deletes with it, whatever still names it.
_PARTS: Final = frozenset({"aws:ec2/defaultSecurityGroup:DefaultSecurityGroup"})


def refusal_to_delete(record: Record, records: Callable[[], list[Record]]) -> str | None:
    """Return AWS's reason not to delete ``record``, or None."""
    inputs = record.inputs
    if inputs.get("deletionProtection") or inputs.get("deletionProtectionEnabled"):
        return "InvalidParameterCombination: deletion protection is on; switch it off and update first"
    if (
        record.type == "aws:rds/instance:Instance"
        and not inputs.get("skipFinalSnapshot")
        and not inputs.get("finalSnapshotIdentifier")
    ):
        return "finalSnapshotIdentifier is required when skipFinalSnapshot is false"
    # Policies and settings of a resource carry its identifier as their own; nothing depends on them.
    if not _REFERRED.fullmatch(record.id) or f'"{record.id}"' in json.dumps(inputs):
        return None
    for other in records():
        if other.urn != record.urn and other.type not in _PARTS and f'"{record.id}"' in json.dumps(other.inputs):
            return f"DependencyViolation: {other.id} ({other.urn.rsplit('::', maxsplit=1)[-1]}) still depends on it"
    return None
