"""Model serving: errors, latency, queues, servers, cold starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from components.platform.observability.rules.facts import ModelObjective, SiteFacts
from components.platform.observability.rules.model import MINUTE, NOW, Alert, Group, RecordingRule, promql
from components.platform.observability.rules.objectives import budgets, errors, latency
from components.platform.observability.rules.promql import TEAM_OR_PLATFORM, by_team, share
from components.platform.observability.rules.recorded import ERRORS, P99, QUEUE, REQUESTS, WINDOWS, error_ratio

# A client's mistake is no error of the model: 5xx, and 408, by which the gateway says that a backend was slow.
_FAILED: Final = "5..|408"

_NAMESPACES: Final = f'namespace=~"{TEAM_OR_PLATFORM}"'
_SERVERS: Final = f'{_NAMESPACES},pod=~".+-predictor-.+"'
_DEPLOYMENTS: Final = f'{_NAMESPACES},deployment=~".+-predictor"'

_QUEUE_SECONDS: Final = 5
_CACHE_RATIO: Final = 0.95
_TOLD_SECONDS: Final = 15 * 60
"""For how long a server that started late is told of."""

# Longer than a new node, an image and the weights take together where nobody has declared how long they take.
_START_UP: Final = 20 * MINUTE


def groups(facts: SiteFacts, objectives: Sequence[ModelObjective]) -> Iterator[Group]:
    """Rules about models."""
    settings = facts.settings
    yield Group(name="models.recorded", rules=[*_recorded(gateway=settings.model_gateway.enabled), *_ratios()])
    yield Group(name="models.limits", rules=[*errors(objectives), *latency(objectives)])
    yield Group(name="models.budgets", rules=[*budgets(objectives)])
    if settings.serving.enabled:
        yield Group(name="models.servers", rules=[*_servers(objectives), *_cold_starts(objectives)])
    if settings.model_gateway.enabled:
        yield Group(name="models.backends", rules=[_BACKEND_DOWN])
    if settings.serving.enabled and settings.serving.activation.enabled:
        yield Group(name="models.activation", rules=[_ACTIVATION_FAILING])


def _recorded(*, gateway: bool) -> Iterator[RecordingRule]:
    if gateway:
        # Names of no model of ours are counted as `other`; requests that name none are for no model.
        named = 'requested_model!~"|None"'
        yield from _counted(
            "gateway",
            of=_by_model("requested_model", f"rate(litellm_proxy_total_requests_metric_total{{{named}}}[5m])"),
            failed=_by_model(
                "requested_model",
                f'rate(litellm_proxy_total_requests_metric_total{{{named},status_code=~"{_FAILED}"}}[5m])',
            ),
        )
        answers = _by_model(
            "requested_model", f"rate(litellm_request_total_latency_metric_bucket{{{named}}}[5m])", "le"
        )
        yield RecordingRule(record=P99, expression=f"histogram_quantile(0.99, {answers})", labels={"source": "gateway"})
    # vLLM counts the statuses of its HTTP layer in classes.
    paths = f'{_SERVERS},handler=~"/v1/.+"'
    yield from _counted(
        "vllm",
        of=_by_model("pod", f"rate(http_requests_total{{{paths}}}[5m])"),
        failed=_by_model("pod", f'rate(http_requests_total{{{paths},status=~"5.."}}[5m])'),
    )
    for record, quantile, histogram, labels in (
        (P99, 0.99, "vllm:e2e_request_latency_seconds", {"source": "vllm"}),
        (QUEUE, 0.95, "vllm:request_queue_time_seconds", {}),
    ):
        buckets = _by_model("model_name", f"rate({histogram}_bucket[5m])", "le")
        yield RecordingRule(record=record, expression=f"histogram_quantile({quantile}, {buckets})", labels=labels)
    failed = "sum by (model) (rate(nv_inference_request_failure[5m]))"
    answered = "sum by (model) (rate(nv_inference_request_success[5m]))"
    yield from _counted("triton", of=f"({answered} + ({failed} or {answered} * 0))", failed=failed)


def _by_model(label: str, series: str, *more: str) -> str:
    """Sums by ``model``, which is the value of ``label``; of a pod's name it is what KServe put before its own part."""
    pattern = "(.+)-predictor-.+" if label == "pod" else "(.+)"
    by = ", ".join(("model", *more))
    return f'sum by ({by}) (label_replace({series}, "model", "$1", "{label}", "{pattern}"))'


def _counted(source: str, *, of: str, failed: str) -> Iterator[RecordingRule]:
    labels = {"source": source}
    yield RecordingRule(record=REQUESTS, expression=of, labels=labels)
    # 0 where nothing failed: a share is then 0 as well, and not absent.
    yield RecordingRule(record=ERRORS, expression=f"{failed} or {of} * 0", labels=labels)


def _ratios() -> Iterator[RecordingRule]:
    """From the two rates and not from the counters, which have a series for every key, user and client."""
    for window in WINDOWS:
        length = promql(window)
        yield RecordingRule(
            record=error_ratio(window),
            expression=(
                f"{ERRORS} / {REQUESTS}"
                if window == WINDOWS[0]
                else f"sum_over_time({ERRORS}[{length}]) / sum_over_time({REQUESTS}[{length}])"
            ),
        )


def _servers(objectives: Sequence[ModelObjective]) -> Iterator[Alert]:
    asleep = f"kube_deployment_status_replicas_available{{{_DEPLOYMENTS}}} == 0"
    wanted = f"kube_deployment_spec_replicas{{{_DEPLOYMENTS}}} > 0"
    yield Alert(
        name="ModelNotReady",
        expression=by_team(f"({asleep}) and on(namespace, deployment) ({wanted})"),
        lasting=_START_UP,
        severity="critical",
        summary="No server of {{ $labels.namespace }}/{{ $labels.deployment }} is ready",
        description="Servers are wanted, and for 20 minutes none has answered. Calls of the model fail or wait.",
        page="models",
        dashboard="models",
    )
    always_on = [one for one in objectives if one.always_on and one.backend != "hosted"]
    for one in always_on:
        selector = f'namespace="{one.namespace}",deployment="{one.name}-predictor"'
        yield Alert(
            name="ModelNotReady",
            expression=f"kube_deployment_status_replicas_available{{{selector}}} == 0",
            lasting=5 * MINUTE,
            severity="critical",
            summary=f"No server of {one.namespace}/{one.name} is ready",
            description="The model is to have a server at all times, and for 5 minutes none has answered.",
            page="models",
            dashboard="models",
            labels={"model": one.name, "team": one.team},
        )
    yield Alert(
        name="ModelQueueLong",
        expression=f"{QUEUE} > {_QUEUE_SECONDS}",
        lasting=10 * MINUTE,
        severity="warning",
        summary="Requests wait in the servers of {{ $labels.model }}",
        description=(
            "The slowest twentieth of the requests waits {{ $value | humanizeDuration }} before a server works on it; "
            f"{_QUEUE_SECONDS} s is the limit."
        ),
        page="models",
        dashboard="models",
        labels={"source": "vllm"},
    )
    waited = "sum by (model) (rate(nv_inference_queue_duration_us[5m]))"
    answered = "sum by (model) (rate(nv_inference_request_success[5m]))"
    yield Alert(
        name="ModelQueueLong",
        # Triton has no quantiles of it: this is the mean.
        expression=f"{waited} / {answered} / 1e6 > {_QUEUE_SECONDS}",
        lasting=10 * MINUTE,
        severity="warning",
        summary="Requests wait in the servers of {{ $labels.model }}",
        description=(
            "On average a request waits {{ $value | humanizeDuration }} before Triton works on it; "
            f"{_QUEUE_SECONDS} s is the limit."
        ),
        page="models",
        dashboard="models",
        labels={"source": "triton"},
    )
    yield Alert(
        name="ModelCacheFull",
        expression=(
            f"max by (namespace, pod, model_name) (vllm:kv_cache_usage_perc{{{_NAMESPACES}}}) > {_CACHE_RATIO}"
        ),
        lasting=15 * MINUTE,
        severity="warning",
        summary="The KV cache of {{ $labels.pod }} is full",
        description=(
            "{{ $value | humanizePercentage }} of the blocks are in use. Requests wait, or are thrown out and begun "
            "anew, which costs their first tokens twice."
        ),
        page="models",
        dashboard="models",
    )


def _cold_starts(objectives: Sequence[ModelObjective]) -> Iterator[Alert]:
    for one in objectives:
        if not one.cold_start_seconds or one.backend == "hosted":
            continue
        pods = f'{{namespace="{one.namespace}",pod=~"{one.name}-predictor-.+"}}'
        created = f"max by (namespace, pod) (kube_pod_created{pods})"
        ready = f"max by (namespace, pod) (kube_pod_status_ready_time{pods})"
        recently = f"(time() - {ready} < {_TOLD_SECONDS})"
        limit = one.cold_start_seconds
        yield Alert(
            name="ModelColdStartSlow",
            expression=(
                f"({ready} - {created} > {limit} and {recently}) or ((time() - {created} unless {ready}) > {limit})"
            ),
            lasting=NOW,
            severity="warning",
            summary=f"A server of {one.namespace}/{one.name} started later than its budget allows",
            description=(
                f"{{{{ $labels.pod }}}} took {{{{ $value | humanizeDuration }}}}; the budget is {limit} s, and the "
                "timeouts of clients and of the gateway are made from it."
            ),
            page="models",
            dashboard="models",
            labels={"model": one.name, "team": one.team},
        )


_BACKEND_DOWN: Final = Alert(
    name="ModelBackendDown",
    # 0 healthy, 1 some calls fail, 2 all of them do.
    expression="max by (litellm_model_name, model_id, api_provider) (litellm_deployment_state) == 2",
    lasting=5 * MINUTE,
    severity="warning",
    summary="The model gateway has set {{ $labels.model_id }} aside",
    description=(
        "Every call of this backend has failed. Others of the model, or its fallbacks, answer; where there are none, "
        "ModelErrors fires too."
    ),
    page="models",
    dashboard="models",
)

_ANSWERS: Final = "sum by (route_namespace, route_name) (rate(interceptor_request_count_total[5m]))"
_REFUSED: Final = 'sum by (route_namespace, route_name) (rate(interceptor_request_count_total{code=~"5.."}[5m]))'

_ACTIVATION_FAILING: Final = Alert(
    name="ModelActivationFailing",
    expression=f"{share(_REFUSED, _ANSWERS)} > 0.05",
    lasting=10 * MINUTE,
    severity="warning",
    summary="Requests that wait for {{ $labels.route_namespace }}/{{ $labels.route_name }} fail",
    description=(
        "{{ $value | humanizePercentage }} of what the activator held or passed on ended with 5xx: servers start too "
        "late, or break off their answers."
    ),
    page="models",
    dashboard="models",
)
