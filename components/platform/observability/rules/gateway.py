"""The public gateway and the mesh: errors, limits, configuration that proxies refuse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from components.platform.gateway import RELEASE
from components.platform.observability.rules.facts import SiteFacts
from components.platform.observability.rules.model import MINUTE, NOW, Alert, Group, RecordingRule
from components.platform.observability.rules.promql import share
from components.platform.observability.rules.recorded import GATEWAY_ERRORS

_ERRORS: Final = 0.05
_REFUSED: Final = 0.2
_ROOT_DAYS: Final = 30
_DAY_SECONDS: Final = 86400

# Requests are counted where HTTP is read: at the gateway. ztunnel, between pods, sees connections.
_AT_GATEWAY: Final = f'reporter="source",source_workload="{RELEASE}"'


def groups(facts: SiteFacts) -> Iterator[Group]:
    """Rules about traffic, for each system that there is."""
    settings = facts.settings
    if settings.gateway.enabled:
        yield Group(name="gateway", rules=[*_gateway()])
    if settings.mesh.enabled:
        yield Group(name="mesh", rules=_MESH)


def _gateway() -> Iterator[RecordingRule | Alert]:
    answered = f"sum(rate(istio_requests_total{{{_AT_GATEWAY}}}[5m]))"
    failed = f'sum(rate(istio_requests_total{{{_AT_GATEWAY},response_code=~"5.."}}[5m]))'
    yield RecordingRule(record=GATEWAY_ERRORS, expression=share(failed, answered))
    yield Alert(
        name="GatewayErrors",
        expression=f"{GATEWAY_ERRORS} > {_ERRORS:g}",
        lasting=5 * MINUTE,
        severity="critical",
        summary="The public gateway answers with errors",
        description=(
            f"{{{{ $value | humanizePercentage }}}} of its answers are 5xx, of all hosts together; the limit is "
            f"{_ERRORS:.0%}."
        ),
        page="gateway",
        dashboard="gateway",
    )
    by_host = f"sum by (destination_service_name) (rate(istio_requests_total{{{_AT_GATEWAY}}}[15m]))"
    limited = (
        f'sum by (destination_service_name) (rate(istio_requests_total{{{_AT_GATEWAY},response_code="429"}}[15m]))'
    )
    yield Alert(
        name="GatewayRefusesRequests",
        expression=f"{share(limited, by_host)} > {_REFUSED:g}",
        lasting=15 * MINUTE,
        severity="warning",
        summary="Many requests to {{ $labels.destination_service_name }} are above their limit",
        description="{{ $value | humanizePercentage }} get 429: a client asks too much, or a limit is low.",
        page="gateway",
        dashboard="gateway",
    )
    yield Alert(
        name="RateLimitsFailing",
        expression="sum by (err_type) (rate(ratelimit_service_should_rate_limit_error[5m])) > 0",
        lasting=10 * MINUTE,
        severity="warning",
        summary="The gateway does not count its limits",
        description="Cause: {{ $labels.err_type }}. Requests pass uncounted.",
        page="gateway",
        dashboard="gateway",
    )


_MESH: Final = (
    Alert(
        name="MeshConfigurationRejected",
        expression="sum by (type) (increase(pilot_total_xds_rejects[10m])) > 0",
        lasting=5 * MINUTE,
        severity="warning",
        summary="Proxies refuse what Istio tells them",
        description="Type {{ $labels.type }}. The last change of a route or policy is not in force; the one before is.",
        page="gateway",
        dashboard="gateway",
    ),
    Alert(
        name="MeshConfigurationSlow",
        expression="histogram_quantile(0.99, sum by (le) (rate(pilot_proxy_convergence_time_bucket[10m]))) > 30",
        lasting=15 * MINUTE,
        severity="warning",
        summary="Changes reach the proxies late",
        description="The slowest hundredth takes {{ $value | humanizeDuration }}: gone pods still get requests.",
        page="gateway",
        dashboard="gateway",
    ),
    Alert(
        name="MeshRootExpiring",
        expression=f"min(citadel_server_root_cert_expiry_timestamp) - time() < {_ROOT_DAYS} * {_DAY_SECONDS}",
        lasting=NOW,
        severity="critical",
        summary="The root certificate of the mesh expires",
        description="In {{ $value | humanizeDuration }} no pod can talk to another one.",
        page="gateway",
        dashboard="gateway",
    ),
    Alert(
        name="MeshNodeNotReady",
        expression="max by (node, pod) (istio_cni_install_ready) == 0 or max by (node, pod) (ztunnel_connected) == 0",
        lasting=10 * MINUTE,
        severity="warning",
        summary="The mesh does not work on {{ $labels.node }}",
        description="New pods of the mesh do not start there.",
        page="gateway",
        dashboard="gateway",
    ),
)
