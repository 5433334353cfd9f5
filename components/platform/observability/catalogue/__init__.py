"""Every metric that rules and dashboards may use, with its source: a name that is not here is exported by nobody."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Final

from components.platform.observability.catalogue import (
    cluster,
    delivery,
    drills,
    learning,
    models,
    observability,
    stores,
    traffic,
)
from components.platform.observability.catalogue.model import Metric, Source
from components.platform.observability.rules.recorded import LABELS as RECORDED

__all__ = ["METRICS", "Metric", "Source", "honours_labels", "problems", "twice", "unknown"]

_ALL: Final = (
    *models.METRICS,
    *learning.METRICS,
    *cluster.METRICS,
    *delivery.METRICS,
    *drills.METRICS,
    *traffic.METRICS,
    *observability.METRICS,
    *stores.METRICS,
)

METRICS: Final[Mapping[str, Metric]] = {series: metric for metric in _ALL for series in metric.series}
"""By the name of a series."""

# Variables of Grafana: intervals stand where a duration must, everything else within strings.
_INTERVAL: Final = re.compile(r"\$\{?__?(rate_)?(interval|range)(_ms|_s)?\}?")
_RANGE: Final = re.compile(r"\[\s*\$\{?\w+\}?")
_ANY_LABEL: Final = re.compile(r"label_\w+|annotation_\w+")


def twice() -> list[str]:
    """Series that two entries claim."""
    return [name for name, times in Counter(one for metric in _ALL for one in metric.series).items() if times > 1]


def unknown(expression: str) -> list[str]:
    """Names of series in an expression that nobody exports or records.

    Args:
        expression: PromQL; variables of Grafana are understood.

    Raises:
        ValueError: It is no PromQL, or selects series without a name.
    """
    return sorted({name for name, _ in _selected(expression) if name not in METRICS and name not in RECORDED})


def problems(expression: str) -> list[str]:
    """Unknown series, and labels in selectors that the series do not have; one line each."""
    found = [f"unknown series {name}" for name in unknown(expression)]
    for name, labels in _selected(expression):
        if name in METRICS:
            known = METRICS[name].all_labels
        elif name in RECORDED:
            known = (*RECORDED[name], "alertname", "alertstate")
        else:
            continue
        found += [
            f"{name} has no label {label}" for label in labels if label not in known and not _ANY_LABEL.fullmatch(label)
        ]
    return found


def _selected(expression: str) -> list[tuple[str, tuple[str, ...]]]:
    """Every selector of an expression: the series' name, and the labels that it asks for."""
    import promql_parser as parser  # noqa: PLC0415 a package of the tests: programs that only declare rules lack it

    plain = _RANGE.sub("[5m", _INTERVAL.sub("5m", expression))
    found: list[tuple[str, tuple[str, ...]]] = []

    def visit(node: parser.Expr) -> bool:
        if isinstance(node, parser.MatrixSelector):
            node = node.vector_selector
        if isinstance(node, parser.VectorSelector):
            asked = [matcher for alternative in node.matchers.or_matchers for matcher in alternative]
            matchers = [*node.matchers.matchers, *asked]
            name = node.name or next((one.value for one in matchers if one.name == "__name__"), "")
            if not name:
                raise ValueError(f"a selector without a name in {expression}")
            found.append((name, tuple(one.name for one in matchers if one.name != "__name__")))
        return True

    parser.walk(parser.parse(plain), visit)
    return found


def honours_labels() -> frozenset[str]:
    """Components whose own labels are also those of targets: their monitors must keep the metrics' own."""
    return frozenset(metric.source.component for metric in _ALL if metric.names_others)
