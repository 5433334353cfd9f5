"""Model serving: what clients see, and what the servers behind it do."""

from __future__ import annotations

from collections.abc import Iterator

from components.platform.observability.dashboards import model_servers
from components.platform.observability.dashboards.model import Board, Choice, Panel, Query, Row, Threshold
from components.platform.observability.dashboards.queries import (
    quantiles,
    rate,
    sums,
)
from components.platform.observability.rules.facts import ERROR_RATIO, P99_SECONDS
from components.platform.observability.rules.model import MINUTE
from components.platform.observability.rules.recorded import P99, REQUESTS, error_ratio
from components.platform.site import Site

_CALLS = '{requested_model=~"$model",team_alias=~"$team"}'
_RECORDED = '{model=~"$model",source="gateway"}'

_TOO_MANY_ERRORS = Threshold(value=ERROR_RATIO, alert="ModelErrors")
_TOO_SLOW = Threshold(value=P99_SECONDS, alert="ModelLatencyHigh")


def board(site: Site) -> Board:
    """The dashboard."""
    settings = site.settings
    rows: list[Row] = []
    if settings.model_gateway.enabled:
        rows += [_clients(), _tokens(), _backends()]
    if settings.serving.enabled:
        rows += model_servers.rows(site)
    return Board(
        name="models",
        title="Model serving",
        description="How fast and how well models answer, for clients and in each server.",
        folder="models",
        tags=["models"],
        choices=list(_choices(site)),
        rows=rows,
        logs=("mlops-serving",),
    )


def _choices(site: Site) -> Iterator[Choice]:
    yield Choice(name="model", title="Model", query=f"label_values({REQUESTS}, model)")
    if site.settings.model_gateway.enabled:
        yield Choice(name="team", title="Team", query="label_values(litellm_requests_metric_total, team_alias)")
    if site.settings.serving.enabled:
        yield Choice(
            name="namespace",
            title="Namespace",
            query='label_values(kube_namespace_status_phase{namespace=~"mlops-serving|team-.+"}, namespace)',
        )


def _clients() -> Row:
    failed = error_ratio(5 * MINUTE)
    return Row(
        title="What clients see, at the model gateway",
        panels=[
            Panel(
                title="Requests",
                description="Requests a second, by model. A sudden fall without a fall in demand is an outage.",
                queries=[Query(expression=f"{REQUESTS}{_RECORDED}", legend="{{model}}")],
                unit="reqps",
            ),
            Panel(
                title="Errors",
                description="Share of requests that failed for a reason that is not the client's, by model. The line "
                "is the limit of the critical alert for models without an objective of their own.",
                queries=[Query(expression=f"{failed}{_RECORDED}", legend="{{model}}")],
                unit="percentunit",
                thresholds=[_TOO_MANY_ERRORS],
            ),
            Panel(
                title="Latency of the slowest hundredth",
                description="P99 from the request to the end of the answer, by model. Long answers take long: compare "
                "with the tokens below before the server is blamed.",
                queries=[Query(expression=f"{P99}{_RECORDED}", legend="{{model}}")],
                unit="s",
                thresholds=[_TOO_SLOW],
            ),
            Panel(
                title="Latency",
                description="P50, P95 and P99 over the chosen models and teams. Points are traces of single requests.",
                queries=quantiles(f"litellm_request_total_latency_metric_bucket{_CALLS}", exemplars=True),
                unit="s",
                thresholds=[_TOO_SLOW],
            ),
            Panel(
                title="Time to first token",
                description="P50, P95 and P99 of what a reader of a stream waits for, at the gateway. It grows with "
                "the queue and with the prompt.",
                queries=quantiles(f"litellm_llm_api_time_to_first_token_metric_bucket{_CALLS}"),
                unit="s",
            ),
            Panel(
                title="Failures by reason",
                description="Refused and failed requests a second, by the exception and the status that clients got. "
                "429 is a limit or a budget; 401 is a key.",
                queries=[
                    Query(
                        expression=sums(
                            rate(f"litellm_proxy_failed_requests_metric_total{_CALLS}"),
                            "exception_status",
                            "exception_class",
                        ),
                        legend="{{exception_status}} {{exception_class}}",
                    )
                ],
                kind="stack",
                unit="reqps",
            ),
        ],
    )


def _tokens() -> Row:
    hits, misses = (
        sums(rate(f'litellm_cache_{kind}_metric_total{{team_alias=~"$team"}}')) for kind in ("hits", "misses")
    )
    return Row(
        title="Tokens",
        panels=[
            Panel(
                title="Tokens in and out",
                description="Tokens a second that went in and came out, over the chosen models.",
                queries=[
                    Query(expression=sums(rate(f"litellm_{kind}_tokens_metric_total{_CALLS}")), legend=legend)
                    for kind, legend in (("input", "in"), ("output", "out"))
                ],
            ),
            Panel(
                title="Tokens by team",
                description="Tokens a second, by team: who uses the capacity.",
                queries=[
                    Query(
                        expression=sums(rate(f"litellm_total_tokens_metric_total{_CALLS}"), "team_alias"),
                        legend="{{team_alias}}",
                    )
                ],
                kind="stack",
            ),
            Panel(
                title="Answers from the cache",
                description="Share of requests that the gateway answered itself. Nothing where the cache of answers is "
                "off.",
                queries=[Query(expression=f"{hits} / ({hits} + {misses})", legend="hits")],
                unit="percentunit",
                most=1,
            ),
        ],
    )


def _backends() -> Row:
    return Row(
        title="Backends of the model gateway",
        panels=[
            Panel(
                title="State of backends",
                description="0: answers; 1: fails in part; 2: fails, and is left out for a while.",
                queries=[
                    Query(
                        expression="max by (litellm_model_name, model_id) (litellm_deployment_state)",
                        legend="{{model_id}}",
                    )
                ],
                kind="bars",
                thresholds=[Threshold(value=2, alert="ModelBackendDown", severity="warning")],
                most=2,
                decimals=0,
            ),
            Panel(
                title="Failures by backend",
                description="Answers of backends that failed, a second. The gateway tries another one before clients "
                "see anything.",
                queries=[
                    Query(
                        expression=sums(rate("litellm_deployment_failure_responses_total"), "model_id"),
                        legend="{{model_id}}",
                    )
                ],
                unit="reqps",
            ),
            Panel(
                title="Fallbacks",
                description="Requests that another model answered, or that no other could, a second.",
                queries=[
                    Query(
                        expression=sums(
                            rate("litellm_deployment_successful_fallbacks_total"), "requested_model", "fallback_model"
                        ),
                        legend="{{requested_model}} → {{fallback_model}}",
                    ),
                    Query(
                        expression=sums(rate("litellm_deployment_failed_fallbacks_total"), "requested_model"),
                        legend="{{requested_model}}: none",
                    ),
                ],
                unit="reqps",
            ),
        ],
    )
