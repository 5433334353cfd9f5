"""The public gateway and the mesh behind it: what comes in, what is refused, how fast answers are."""

from __future__ import annotations

from components.platform.observability.dashboards.model import Board, Choice, Panel, Query, Row, Threshold
from components.platform.observability.dashboards.queries import quantiles, rate, sums
from components.platform.observability.rules.recorded import GATEWAY_ERRORS

_FROM = 'reporter="source",source_workload="istio-ingress"'
_IN = f'{{{_FROM},destination_service_name=~"$service"'
_REQUESTS = f"istio_requests_total{_IN}}}"


def board() -> Board:
    """The dashboard."""
    return Board(
        name="gateway",
        title="Gateway",
        description="What comes in from outside, what is refused, how fast answers are; and the mesh behind it.",
        folder="platform",
        tags=["gateway"],
        choices=[
            Choice(
                name="service",
                title="Service",
                query=f"label_values(istio_requests_total{{{_FROM}}}, destination_service_name)",
            )
        ],
        rows=[_requests(), _limits(), _mesh()],
        logs=("istio-ingress", "istio-system"),
    )


def _requests() -> Row:
    return Row(
        title="Requests",
        panels=[
            Panel(
                title="Requests by service",
                description="Requests a second, by the service that they went to.",
                queries=[
                    Query(
                        expression=sums(rate(_REQUESTS), "destination_service_name"),
                        legend="{{destination_service_name}}",
                    )
                ],
                kind="stack",
                unit="reqps",
            ),
            Panel(
                title="Requests by status",
                description="Requests a second, by status. 401 and 403: no valid key; 429: a limit; 503: no pod.",
                queries=[Query(expression=sums(rate(_REQUESTS), "response_code"), legend="{{response_code}}")],
                kind="stack",
                unit="reqps",
            ),
            Panel(
                title="Server errors",
                description="Share of all requests that got a status of 500 or more.",
                queries=[Query(expression=GATEWAY_ERRORS, legend="errors")],
                unit="percentunit",
                thresholds=[Threshold(value=0.05, alert="GatewayErrors")],
            ),
            Panel(
                title="Latency at the gateway",
                description="P50, P95 and P99 from the request to the end of the answer; streams take as long as they "
                "last.",
                queries=quantiles(f"istio_request_duration_milliseconds_bucket{_IN}}}"),
                unit="ms",
            ),
            Panel(
                title="Latency by service",
                description="P95 by service.",
                queries=[
                    Query(
                        expression=(
                            "histogram_quantile(0.95, sum by (le, destination_service_name) "
                            f"({rate(f'istio_request_duration_milliseconds_bucket{_IN}}}')}))"
                        ),
                        legend="{{destination_service_name}}",
                    )
                ],
                unit="ms",
            ),
            Panel(
                title="What went wrong",
                description="Requests a second with a flag of the proxy: UH and UF no pod or no connection, UT and SI "
                "too slow, DC the client left, RL a limit, URX tried in vain.",
                queries=[
                    Query(
                        expression=sums(rate(f'istio_requests_total{_IN},response_flags!="-"}}'), "response_flags"),
                        legend="{{response_flags}}",
                    )
                ],
                kind="stack",
                unit="reqps",
            ),
        ],
    )


def _limits() -> Row:
    return Row(
        title="Limits",
        panels=[
            Panel(
                title="Refused by a limit",
                description="Requests a second that got 429.",
                queries=[
                    Query(
                        expression=sums(
                            rate(f'istio_requests_total{_IN},response_code="429"}}'), "destination_service_name"
                        ),
                        legend="{{destination_service_name}}",
                    )
                ],
                unit="reqps",
                width=12,
            ),
            Panel(
                title="Counted for all replicas together",
                description="Requests a second that the rate limit service counted, and refused. Nothing where limits "
                "are counted in each replica.",
                queries=[
                    Query(
                        expression=sums(rate(f"ratelimit_service_rate_limit_{what}"), "key1"),
                        legend=f"{{{{key1}}}} {legend}",
                    )
                    for what, legend in (("total_hits", "counted"), ("over_limit", "refused"))
                ],
                unit="reqps",
                width=12,
                nothing="Counted in each replica",
            ),
        ],
    )


def _mesh() -> Row:
    return Row(
        title="Mesh",
        panels=[
            Panel(
                title="Configuration refused",
                description="Configurations that proxies refused, a second: they go on with the last good one.",
                queries=[Query(expression=sums(rate("pilot_total_xds_rejects"), "type"), legend="{{type}}")],
                unit="ops",
            ),
            Panel(
                title="Time until proxies know",
                description="P50, P95 and P99 from a change to the last proxy that has it.",
                queries=quantiles("pilot_proxy_convergence_time_bucket"),
                unit="s",
                thresholds=[Threshold(value=30, alert="MeshConfigurationSlow", severity="warning")],
            ),
            Panel(
                title="Connections in the mesh",
                description="Connections a second that node proxies opened, by the namespace they went to.",
                queries=[
                    Query(
                        expression=sums(rate("istio_tcp_connections_opened_total"), "destination_workload_namespace"),
                        legend="{{destination_workload_namespace}}",
                    )
                ],
                kind="stack",
                unit="ops",
            ),
        ],
    )
