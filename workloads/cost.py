"""What serving a model costs, from plain prices: per hour, and per million tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

HOURS_PER_MONTH: Final = 730


@dataclass(frozen=True, kw_only=True)
class ServingCost:
    """Cost of a model's replicas in USD; traffic, storage and the rest of the platform are not in it.

    Attributes:
        minimum_per_hour: With the fewest replicas; 0 where it scales to zero.
        maximum_per_hour: With the most.
        per_million_tokens: Answer tokens at the declared rate of all traffic; none where no rate was declared.
        per_million_tokens_estimated: The same at the estimated rate of one replica that is fully used.
    """

    minimum_per_hour: float
    maximum_per_hour: float
    per_million_tokens: float | None
    per_million_tokens_estimated: float

    @property
    def minimum_per_month(self) -> float:
        """The least in a month of 730 hours."""
        return self.minimum_per_hour * HOURS_PER_MONTH

    @property
    def maximum_per_month(self) -> float:
        """The most in a month of 730 hours."""
        return self.maximum_per_hour * HOURS_PER_MONTH


def replica_usd_per_hour(node_usd_per_hour: float, *, replica_gpus: int, node_gpus: int) -> float:
    """A replica's share of its node, by GPUs: what else is on the node is there for them.

    Raises:
        ValueError: The node has fewer GPUs than the replica needs.
    """
    if not 0 < replica_gpus <= node_gpus:
        raise ValueError(f"a replica with {replica_gpus} GPUs does not stand on a node with {node_gpus}")
    return node_usd_per_hour * replica_gpus / node_gpus


def usd_per_million_tokens(usd_per_hour: float, tokens_per_second: float) -> float:
    """Price of a million tokens at a steady rate.

    Raises:
        ValueError: The rate is not above 0.
    """
    if tokens_per_second <= 0:
        raise ValueError(f"tokens per second must be above 0; got {tokens_per_second}")
    return usd_per_hour / (tokens_per_second * 3600) * 1_000_000


def serving_cost(
    *,
    replica_usd: float,
    fewest: int,
    most: int,
    estimated_tokens_per_second: float,
    declared_tokens_per_second: float = 0,
) -> ServingCost:
    """Cost of a model.

    Args:
        replica_usd: One replica for an hour.
        fewest: Replicas at least.
        most: Replicas at most.
        estimated_tokens_per_second: What one replica does when it is fully used.
        declared_tokens_per_second: What all replicas together are declared to do; 0 for nothing declared. As many
            replicas run as that takes by the estimate, within the two bounds.

    Raises:
        ValueError: The bounds are not in order, or a rate is not above 0.
    """
    if not 0 <= fewest <= most or not most:
        raise ValueError(f"needs 0 <= fewest <= most and most >= 1; got {fewest}, {most}")
    declared = None
    if declared_tokens_per_second:
        wanted = -(-declared_tokens_per_second // estimated_tokens_per_second)
        running = max(1, fewest, min(most, int(wanted)))
        declared = usd_per_million_tokens(running * replica_usd, declared_tokens_per_second)
    return ServingCost(
        minimum_per_hour=fewest * replica_usd,
        maximum_per_hour=most * replica_usd,
        per_million_tokens=declared,
        per_million_tokens_estimated=usd_per_million_tokens(replica_usd, estimated_tokens_per_second),
    )
