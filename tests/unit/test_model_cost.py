"""What a model costs: sums that can be done by hand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads.cost import replica_usd_per_hour, serving_cost, usd_per_million_tokens

pytestmark = pytest.mark.unit


def test_a_million_tokens_cost_what_the_hours_for_them_cost():
    # 1.006 USD/h at 500 tokens/s: 2000 s for a million, 0.5556 h.
    assert usd_per_million_tokens(1.006, 500) == pytest.approx(0.5589, abs=1e-4)


@pytest.mark.parametrize("rate", [0, -1])
def test_no_tokens_have_no_price(rate: float):
    with pytest.raises(ValueError, match="above 0"):
        usd_per_million_tokens(1, rate)


def test_a_replica_pays_for_its_share_of_the_nodes_gpus():
    assert replica_usd_per_hour(5.672, replica_gpus=1, node_gpus=4) == pytest.approx(1.418)
    assert replica_usd_per_hour(5.672, replica_gpus=4, node_gpus=4) == pytest.approx(5.672)


@pytest.mark.parametrize("gpus", [0, 5])
def test_a_replica_stands_on_a_node_with_enough_gpus(gpus: int):
    with pytest.raises(ValueError, match="does not stand on a node with 4"):
        replica_usd_per_hour(1, replica_gpus=gpus, node_gpus=4)


def test_hours_are_bounded_by_the_replicas():
    cost = serving_cost(replica_usd=2, fewest=0, most=3, estimated_tokens_per_second=1000)
    assert (cost.minimum_per_hour, cost.maximum_per_hour) == (0, 6)
    assert (cost.minimum_per_month, cost.maximum_per_month) == (0, 4380)
    assert cost.per_million_tokens is None
    assert cost.per_million_tokens_estimated == pytest.approx(2 / 3.6)


@pytest.mark.parametrize(
    ("declared", "fewest", "running"),
    # One replica does 1000 a second: so many run for the declared rate, within 1 and 4 at most.
    [(100, 0, 1), (1000, 0, 1), (1001, 0, 2), (2500, 0, 3), (9000, 0, 4), (100, 2, 2)],
)
def test_the_declared_rate_is_paid_for_with_the_replicas_that_it_takes(declared: float, fewest: int, running: int):
    cost = serving_cost(
        replica_usd=2,
        fewest=fewest,
        most=4,
        estimated_tokens_per_second=1000,
        declared_tokens_per_second=declared,
    )
    assert cost.per_million_tokens == pytest.approx(usd_per_million_tokens(2 * running, declared))


@pytest.mark.parametrize("bounds", [{"fewest": 2, "most": 1}, {"fewest": -1, "most": 1}, {"fewest": 0, "most": 0}])
def test_replicas_without_order_are_refused(bounds: dict[str, Any]):
    with pytest.raises(ValueError, match="needs 0 <= fewest <= most"):
        serving_cost(replica_usd=1, estimated_tokens_per_second=1, **bounds)


@given(st.floats(0.1, 100), st.floats(1, 1e6), st.floats(1.01, 10))
def test_a_faster_replica_makes_cheaper_tokens(usd: float, rate: float, times: float):
    assert usd_per_million_tokens(usd, rate * times) < usd_per_million_tokens(usd, rate)
