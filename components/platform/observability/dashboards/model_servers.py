"""Model serving, second part: what the servers of models do."""

from __future__ import annotations

from components.platform.observability.dashboards.model import Panel, Query, Row, Threshold
from components.platform.observability.dashboards.queries import mean, or_zero, quantiles, rate, sums
from components.platform.observability.rules.recorded import ERRORS, QUEUE
from components.platform.site import Site

_VLLM = '{namespace=~"$namespace",model_name=~"$model"}'
_TRITON = '{namespace=~"$namespace",model=~"$model"}'
_SERVED = '{model=~"$model",source="server"}'


def rows(site: Site) -> list[Row]:
    """Rows about servers, of whatever kind."""
    woken = [_activation()] if site.settings.serving.activation.enabled else []
    return [_servers(), _vllm(), _triton(), *woken]


def _servers() -> Row:
    predictors = 'namespace=~"$namespace",deployment=~"($model)-predictor"'
    return Row(
        title="Servers",
        panels=[
            Panel(
                title="Servers ready",
                description="Pods that take requests, by model. None is right for a model that may scale to zero.",
                queries=[
                    Query(
                        expression=f"max by (namespace, deployment) ({series}{{{predictors}}})",
                        legend=f"{{{{namespace}}}} {{{{deployment}}}} {legend}",
                    )
                    for series, legend in (
                        ("kube_deployment_status_replicas_available", "ready"),
                        ("kube_deployment_spec_replicas", "wanted"),
                    )
                ],
                decimals=0,
            ),
            Panel(
                title="Errors of servers",
                description="Failed answers a second, as the servers themselves count them.",
                queries=[Query(expression=f"{ERRORS}{_SERVED}", legend="{{model}}")],
                unit="reqps",
            ),
            Panel(
                title="Wait in the server",
                description="P95 of the time between arrival and the first step of work. When it grows while servers "
                "are at their maximum, the model needs more of them.",
                queries=[Query(expression=f'{QUEUE}{{model=~"$model"}}', legend="{{model}}")],
                unit="s",
                thresholds=[Threshold(value=5, alert="ModelQueueLong", severity="warning")],
            ),
        ],
    )


def _vllm() -> Row:
    hits, asked = (f"vllm:prefix_cache_{kind}_total{_VLLM}" for kind in ("hits", "queries"))
    return Row(
        title="vLLM",
        panels=[
            Panel(
                title="Requests in vLLM",
                description="Requests that are worked on, and that wait for room in the KV cache.",
                queries=[
                    Query(
                        expression=sums(f"vllm:num_requests_running{_VLLM}", "model_name"), legend="{{model_name}} runs"
                    ),
                    Query(
                        expression=sums(f"vllm:num_requests_waiting{_VLLM}", "model_name"),
                        legend="{{model_name}} waits",
                    ),
                ],
            ),
            Panel(
                title="KV cache in use",
                description="Share of the KV cache that holds running requests, by server. Near 100 % requests wait or "
                "are pushed out and begun again.",
                queries=[Query(expression=f"vllm:kv_cache_usage_perc{_VLLM}", legend="{{model_name}} {{pod}}")],
                unit="percentunit",
                most=1,
                thresholds=[Threshold(value=0.95, alert="ModelCacheFull", severity="warning")],
            ),
            Panel(
                title="Prefix cache hits",
                description="Share of prompt tokens whose work was kept from an earlier request. It falls when "
                "requests of one conversation reach different servers.",
                queries=[
                    Query(
                        expression=f"{sums(rate(hits), 'model_name')} / {sums(rate(asked), 'model_name')}",
                        legend="{{model_name}}",
                    )
                ],
                unit="percentunit",
                most=1,
            ),
            Panel(
                title="Time to first token in vLLM",
                description="P50, P95 and P99 without the gateway: queue and prompt.",
                queries=quantiles(f"vllm:time_to_first_token_seconds_bucket{_VLLM}", "model_name"),
                unit="s",
            ),
            Panel(
                title="Time between tokens",
                description="P50, P95 and P99 of the pause between two tokens of an answer: how fluent it reads.",
                queries=quantiles(f"vllm:inter_token_latency_seconds_bucket{_VLLM}", "model_name"),
                unit="s",
            ),
            Panel(
                title="Tokens made",
                description="Tokens a second that vLLM generated and prompts that it read, by model.",
                queries=[
                    Query(
                        expression=sums(rate(f"vllm:generation_tokens_total{_VLLM}"), "model_name"),
                        legend="{{model_name}} out",
                    ),
                    Query(
                        expression=sums(rate(f"vllm:prompt_tokens_total{_VLLM}"), "model_name"),
                        legend="{{model_name}} in",
                    ),
                ],
            ),
            Panel(
                title="Requests pushed out",
                description="Requests a second that lost their place in the KV cache and begin again. More than a few: "
                "fewer requests at once, or a longer cache.",
                queries=[
                    Query(
                        expression=sums(rate(f"vllm:num_preemptions_total{_VLLM}"), "model_name"),
                        legend="{{model_name}}",
                    )
                ],
                unit="ops",
            ),
            Panel(
                title="How answers ended",
                description="Answers a second, by reason: stop, length (cut off), abort (the client left).",
                queries=[
                    Query(
                        expression=sums(rate(f"vllm:request_success_total{_VLLM}"), "finished_reason"),
                        legend="{{finished_reason}}",
                    )
                ],
                kind="stack",
                unit="reqps",
            ),
            Panel(
                title="Latency in vLLM",
                description="P50, P95 and P99 from arrival to the last token.",
                queries=quantiles(f"vllm:e2e_request_latency_seconds_bucket{_VLLM}", "model_name"),
                unit="s",
            ),
        ],
    )


def _triton() -> Row:
    succeeded, refused = (f"nv_inference_request_{kind}{_TRITON}" for kind in ("success", "failure"))
    return Row(
        title="Triton",
        panels=[
            Panel(
                title="Requests in Triton",
                description="Answers a second, and failures by reason.",
                queries=[
                    Query(expression=sums(rate(succeeded), "model"), legend="{{model}}"),
                    Query(expression=sums(rate(refused), "model", "reason"), legend="{{model}} {{reason}}"),
                ],
                unit="reqps",
            ),
            Panel(
                title="Requests that wait in Triton",
                description="Requests in the queue of a model that no instance works on yet.",
                queries=[
                    Query(expression=sums(f"nv_inference_pending_request_count{_TRITON}", "model"), legend="{{model}}")
                ],
            ),
            Panel(
                title="Time in Triton",
                description="Mean time of a request in the queue, at work and altogether: Triton "
                "adds times up, from which no quantile can be had.",
                queries=[
                    Query(
                        expression=f"({mean(f'nv_inference_{part}_duration_us{_TRITON}', succeeded, 'model')}) / 1e6",
                        legend=f"{{{{model}}}} {legend}",
                    )
                    for part, legend in (("queue", "queue"), ("compute_infer", "at work"), ("request", "altogether"))
                ],
                unit="s",
            ),
            Panel(
                title="KV cache of TensorRT-LLM",
                description="Share of the blocks of the KV cache in use.",
                width=12,
                queries=[
                    Query(
                        expression=(
                            'nv_trt_llm_kv_cache_block_metrics{namespace=~"$namespace",kv_cache_block_type="fraction"}'
                        ),
                        legend="{{model}} {{pod}}",
                    )
                ],
                unit="percentunit",
                most=1,
            ),
            Panel(
                title="Requests in TensorRT-LLM",
                description="Requests that are worked on and that wait, as the engine's batcher counts them.",
                width=12,
                queries=[
                    Query(
                        expression=sums(
                            'nv_trt_llm_request_metrics{namespace=~"$namespace",'
                            'request_type=~"active|waiting|scheduled"}',
                            "model",
                            "request_type",
                        ),
                        legend="{{model}} {{request_type}}",
                    )
                ],
            ),
        ],
    )


def _activation() -> Row:
    return Row(
        title="Scale to zero",
        panels=[
            Panel(
                title="Requests held",
                description="Requests under way at the activator, by model: those of a model without a server wait "
                "here while one starts.",
                queries=[
                    Query(expression=sums("interceptor_request_concurrency", "route_name"), legend="{{route_name}}")
                ],
                width=12,
            ),
            Panel(
                title="Answers of the activator",
                description="Answers a second by status. 502 and 504: a server did not come up in time.",
                queries=[
                    Query(expression=or_zero(sums(rate("interceptor_request_count_total"), "code")), legend="{{code}}")
                ],
                kind="stack",
                unit="reqps",
                width=12,
            ),
        ],
    )
