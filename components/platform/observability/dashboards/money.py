"""Money: what runs and what it costs, what teams have spent on models, what is left of their budgets."""

from __future__ import annotations

from collections.abc import Iterator

from components.platform.observability.dashboards.costs import gpu_pools, idle_gpus_usd, nodes_usd
from components.platform.observability.dashboards.model import Board, Choice, Panel, Query, Row, Threshold
from components.platform.observability.dashboards.queries import or_zero, sums
from components.platform.site import Site

_SPEND = 'litellm_spend_metric_total{team_alias=~"$team"}'
_HOURS_A_MONTH = 730  # as the clouds count it


def board(site: Site) -> Board:
    """The dashboard."""
    gateway = site.settings.model_gateway.enabled
    return Board(
        name="money",
        title="Money",
        description="What nodes cost now, what teams have spent on models, and what is left of their budgets.",
        folder="money",
        tags=["money"],
        since="now-7d",
        choices=(
            [Choice(name="team", title="Team", query="label_values(litellm_team_max_budget_metric, team_alias)")]
            if gateway
            else []
        ),
        rows=list(_rows(site)),
    )


def _rows(site: Site) -> Iterator[Row]:
    yield _nodes(site)
    if site.settings.model_gateway.enabled:
        yield _budgets()
        yield _spend()


def _nodes(site: Site) -> Row:
    everything, gpus = site.foundation.cluster.pools, gpu_pools(site)
    hourly, on_gpus = nodes_usd(site, everything), nodes_usd(site, gpus)
    unpriced = "On-demand list prices; spot nodes cost less, and discounts are not known here."
    return Row(
        title="Nodes",
        panels=[
            Panel(
                title="Nodes, an hour",
                description=f"USD an hour for the nodes that are there now. {unpriced}",
                queries=[Query(expression=hourly)],
                kind="stat",
                unit="currencyUSD",
                width=6,
                height=4,
                decimals=2,
            ),
            Panel(
                title="Nodes, a month like the chosen time",
                description=f"USD a month if it went on as in the chosen time. {unpriced}",
                queries=[
                    Query(expression=f"avg_over_time(({hourly})[$__range:5m]) * {_HOURS_A_MONTH}"),
                ],
                kind="stat",
                unit="currencyUSD",
                width=6,
                height=4,
                decimals=0,
            ),
            Panel(
                title="GPU nodes, an hour",
                description=f"The part of it for nodes with GPUs. {unpriced}",
                queries=[Query(expression=on_gpus)],
                kind="stat",
                unit="currencyUSD",
                width=6,
                height=4,
                decimals=2,
            ),
            Panel(
                title="Idle GPUs, an hour",
                description="The part of that for GPUs that no pod has: what scaling to zero would save.",
                queries=[Query(expression=idle_gpus_usd(site, gpus))],
                kind="stat",
                unit="currencyUSD",
                width=6,
                height=4,
                decimals=2,
            ),
            Panel(
                title="Cost of nodes by instance type",
                description=f"USD an hour. {unpriced}",
                queries=[Query(expression=nodes_usd(site, everything, by_type=True), legend="{{instance_type}}")],
                kind="stack",
                unit="currencyUSD",
                width=24,
            ),
        ],
    )


def _budgets() -> Row:
    left, most = (
        f'{name}{{team_alias=~"$team"}}'
        for name in (
            "litellm_remaining_team_budget_metric",
            "litellm_team_max_budget_metric",
        )
    )
    by_team = "min by (team_alias)"
    return Row(
        title="Budgets of teams for models",
        panels=[
            Panel(
                title="Budget used",
                description="Share of each team's monthly budget that is spent. At 100 % the model gateway refuses the "
                "team's calls until the month ends. A team shows up with its first call.",
                queries=[Query(expression=f"1 - {by_team} ({left}) / {by_team} ({most})", legend="{{team_alias}}")],
                kind="bars",
                unit="percentunit",
                most=1,
                width=12,
                thresholds=[
                    Threshold(value=0.9, alert="BudgetNearlyUsed", limit=0.1, severity="warning"),
                    Threshold(value=1, alert="BudgetUsed", limit=0),
                ],
            ),
            Panel(
                title="Budget left",
                description="USD that each team may still spend this month.",
                queries=[Query(expression=f"{by_team} ({left})", legend="{{team_alias}}")],
                unit="currencyUSD",
                width=12,
                least=None,
            ),
        ],
    )


def _spend() -> Row:
    return Row(
        title="Spent on models",
        panels=[
            Panel(
                title="Spent in the chosen time",
                description="USD that the chosen teams' calls have cost, by the prices of the model gateway. Models in "
                "the cluster are free there: their nodes are counted above.",
                queries=[Query(expression=or_zero(sums(f"increase({_SPEND}[$__range])")))],
                kind="stat",
                unit="currencyUSD",
                width=6,
                decimals=2,
            ),
            Panel(
                title="Spent by team",
                description="USD an hour, by team.",
                queries=[
                    Query(expression=sums(f"rate({_SPEND}[1h]) * 3600", "team_alias"), legend="{{team_alias}}"),
                ],
                kind="stack",
                unit="currencyUSD",
                width=9,
            ),
            Panel(
                title="Spent by model",
                description="USD an hour, by model.",
                queries=[
                    Query(
                        expression=sums(f"rate({_SPEND}[1h]) * 3600", "requested_model"),
                        legend="{{requested_model}}",
                    ),
                ],
                kind="stack",
                unit="currencyUSD",
                width=9,
            ),
        ],
    )
