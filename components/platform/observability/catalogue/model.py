"""What a metric is: where it comes from, and what it is labelled with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["counter", "gauge", "histogram", "summary"]

TARGET_LABELS: Final = ("job", "instance", "namespace", "pod", "service", "container", "endpoint", "node")
"""Labels that Prometheus adds to every series that it scrapes in the cluster."""

_SERIES: Final[Mapping[Kind, tuple[str, ...]]] = {
    "counter": ("",),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count"),
    "summary": ("", "_sum", "_count"),
}
_OWN_LABEL: Final[Mapping[Kind, tuple[str, ...]]] = {
    "counter": (),
    "gauge": (),
    "histogram": ("le",),
    "summary": ("quantile",),
}


@dataclass(frozen=True, kw_only=True)
class Source:
    """Who exports metrics.

    Attributes:
        component: Name of the system.
        version: The version whose documents or code were read.
        documents: Where its metrics are documented or defined, at that version.
        seen: They were also read from a running process, by a test or by hand.
    """

    component: str
    version: str
    documents: str
    seen: bool = False


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric.

    Attributes:
        name: As Prometheus stores it; a histogram without its suffixes.
        kind: Its type.
        labels: Its own labels, without those of the target.
        source: Who exports it.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    source: Source

    @property
    def series(self) -> tuple[str, ...]:
        """Names of its series."""
        return tuple(f"{self.name}{suffix}" for suffix in _SERIES[self.kind])

    @property
    def all_labels(self) -> tuple[str, ...]:
        """Every label that its series can have."""
        return (*self.labels, *_OWN_LABEL[self.kind], *TARGET_LABELS)

    @property
    def names_others(self) -> bool:
        """Whether its own labels are the target's too: its monitor must honour them, or they are renamed."""
        return bool(set(self.labels) & set(TARGET_LABELS))


def metrics(source: Source, kind: Kind, names: Mapping[str, str]) -> tuple[Metric, ...]:
    """Metrics of one source and type.

    Args:
        source: Who exports them.
        kind: Their type.
        names: Labels by name, separated by blanks.
    """
    return tuple(
        Metric(name=name, kind=kind, labels=tuple(labels.split()), source=source) for name, labels in names.items()
    )
