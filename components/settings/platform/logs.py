"""Logs: what is collected, and for how long it is kept."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from components.settings.base import Section


def _one_line(pattern: str) -> str:
    """Patterns stand between quotes in the collector's configuration, which Helm reads as a template first."""
    if '"' in pattern or "`" in pattern or "{{" in pattern or "\n" in pattern:
        raise ValueError("a pattern holds no quotes, no backquotes, no '{{' and no line break")
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    if groups != 1:
        raise ValueError(f"a pattern has one group, around what is redacted; got {groups}")
    return pattern


RedactedPattern = Annotated[str, Field(min_length=3), AfterValidator(_one_line)]
"""Regular expression (RE2) with one group: what the group matches is redacted."""


class LogSettings(Section):
    """Logs (Loki; collected by Alloy).

    Attributes:
        enabled: Install them: Loki, an agent on every node, and one that watches the cluster.
        retention_days: How long lines can be asked for. Less than ``objects.logRetentionDays``, after which the bucket
            itself forgets: Loki must be the first to delete what its index names.
        volume_gib: Volume of each replica of Loki: its write-ahead log and its copy of the index. Lines are in the
            object store.
        ingest_mib_per_second: Most that Loki takes; more is refused, and collectors try again for some minutes.
        most_streams: Streams that may be active at once; a stream is one combination of labels.
        journal: The journal of every node too: kubelet, container runtime, kernel.
        events: Events of the cluster too.
        audit: Calls of the Kubernetes API that change something, are refused or read credentials, where the foundation
            keeps a record of them.
        redacted: Patterns of credentials besides those that are always redacted (docs/observability.md).
    """

    enabled: bool = True
    retention_days: Annotated[int, Field(ge=1, le=3650)] = 14
    volume_gib: Annotated[int, Field(ge=1, le=500)] = 2
    ingest_mib_per_second: Annotated[int, Field(ge=1, le=200)] = 8
    most_streams: Annotated[int, Field(ge=100, le=100_000)] = 5000
    journal: bool = True
    events: bool = True
    audit: bool = True
    redacted: tuple[RedactedPattern, ...] = ()
