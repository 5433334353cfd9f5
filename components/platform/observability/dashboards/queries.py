"""Questions that several dashboards ask in the same way."""

from __future__ import annotations

from typing import Final

from components.platform.observability.dashboards.model import Query

RATE: Final = "$__rate_interval"
QUANTILES: Final = (("P50", 0.5), ("P95", 0.95), ("P99", 0.99))


def rate(counter: str) -> str:
    """How fast a counter rises, each second; name and selector."""
    return f"rate({counter}[{RATE}])"


def sums(expression: str, *labels: str) -> str:
    """Sum by labels; of everything where there are none."""
    return f"sum by ({', '.join(labels)}) ({expression})" if labels else f"sum({expression})"


def or_zero(expression: str) -> str:
    """Nothing counted is none, not unknown."""
    return f"{expression} or vector(0)"


def quantile(share: float, histogram: str, *labels: str) -> str:
    """Value below which a share of the observations lie; the histogram's buckets with their selector."""
    by = ", ".join(("le", *labels))
    return f"histogram_quantile({share}, sum by ({by}) ({rate(histogram)}))"


def quantiles(histogram: str, *labels: str, exemplars: bool = False) -> tuple[Query, ...]:
    """Median, slowest twentieth and slowest hundredth."""
    series = " ".join(f"{{{{{label}}}}}" for label in labels)
    return tuple(
        Query(
            expression=quantile(share, histogram, *labels),
            legend=f"{title} {series}".strip(),
            exemplars=exemplars and title == "P99",
        )
        for title, share in QUANTILES
    )


def mean(total: str, count: str, *labels: str) -> str:
    """What one observation took: two counters with their selectors."""
    return f"{sums(rate(total), *labels)} / {sums(rate(count), *labels)}"
