"""Training: how runs learn, how fast they are, what waits, and the systems that carry them."""

from __future__ import annotations

from collections.abc import Iterator

from components.platform.observability.dashboards.costs import WAITING_GPUS
from components.platform.observability.dashboards.model import Board, Choice, Panel, Query, Row, Threshold
from components.platform.observability.dashboards.queries import or_zero, quantiles, rate, sums
from components.platform.site import Site

_RUN = '{namespace=~"$namespace",job_name=~"$job"}'
_WORK = '{namespace=~"mlops-(training|data)|team-.+"}'
_LEGEND = "{{job_name}} {{run_id}}"


def board(site: Site) -> Board:
    """The dashboard."""
    return Board(
        name="training",
        title="Training",
        description="How runs learn and how fast they are; jobs that fail or wait; Ray, Volcano and MLflow under them.",
        folder="training",
        tags=["training"],
        since="now-12h",
        choices=[
            Choice(
                name="namespace",
                title="Namespace",
                query=f"label_values(kube_namespace_status_phase{_WORK}, namespace)",
            ),
            Choice(name="job", title="Job", query="label_values(llmops_training_loss, job_name)"),
        ],
        rows=list(_rows(site)),
        logs=("mlops-training",),
    )


def _rows(site: Site) -> Iterator[Row]:
    settings = site.settings
    if settings.training.enabled:
        yield _runs()
        yield _jobs()
    if settings.scheduling.enabled:
        yield _queues()
    if settings.ray.enabled:
        yield _ray()
    if settings.experiments.enabled:
        yield _experiments()


def _runs() -> Row:
    return Row(
        title="Runs",
        panels=[
            Panel(
                title="Loss",
                description="Training loss, as the run's own pods report it. Flat from the start: the learning rate; "
                "rising or nothing: it diverged.",
                queries=[Query(expression=f"min by (job_name, run_id) (llmops_training_loss{_RUN})", legend=_LEGEND)],
                least=None,
                nothing="No run reports",
            ),
            Panel(
                title="Learning rate",
                description="Learning rate, as the schedule has it at this step.",
                queries=[
                    Query(expression=f"max by (job_name, run_id) (llmops_training_learning_rate{_RUN})", legend=_LEGEND)
                ],
                unit="sci",
                nothing="No run reports",
            ),
            Panel(
                title="Throughput",
                description="Tokens a second of all workers of a run together. A fall in the middle of a run is a slow "
                "node, a slow disk or a checkpoint.",
                queries=[
                    Query(
                        expression=f"sum by (job_name, run_id) (llmops_training_tokens_per_second{_RUN})",
                        legend=_LEGEND,
                    )
                ],
                nothing="No run reports",
            ),
            Panel(
                title="GPUs of training pods",
                description="Utilisation of the GPUs that training pods have. Waves between full and nothing: the data "
                "do not come fast enough.",
                queries=[
                    Query(
                        expression='avg by (namespace, pod) (DCGM_FI_DEV_GPU_UTIL{namespace=~"$namespace"}) / 100',
                        legend="{{namespace}} {{pod}}",
                    )
                ],
                unit="percentunit",
                most=1,
                width=12,
            ),
            Panel(
                title="Network of training pods",
                description="Bytes a second that training pods receive: gradients, data, checkpoints.",
                queries=[
                    Query(
                        expression=sums(
                            rate('container_network_receive_bytes_total{namespace=~"$namespace"}'), "namespace", "pod"
                        ),
                        legend="{{pod}}",
                    )
                ],
                unit="Bps",
                width=12,
            ),
        ],
    )


def _jobs() -> Row:
    return Row(
        title="Jobs",
        panels=[
            Panel(
                title="Failed",
                description="Training jobs that failed in the chosen time. Every one is an alert of its own.",
                queries=[
                    Query(
                        expression=(
                            f"({or_zero(sums('increase(training_operator_jobs_failed_total[$__range])'))}) + "
                            f"({or_zero(sums('increase(jobset_failed_total[$__range])'))})"
                        )
                    )
                ],
                kind="stat",
                width=4,
                decimals=0,
                thresholds=[Threshold(value=1)],
            ),
            Panel(
                title="Jobs by their end",
                description="Jobs that ended, an hour: PyTorchJobs by the Training Operator, TrainJobs by JobSet.",
                queries=[
                    Query(
                        expression=or_zero(sums(f"increase(training_operator_jobs_{end}_total[1h])")),
                        legend=f"PyTorchJob {end}",
                    )
                    for end in ("successful", "failed", "restarted")
                ]
                + [
                    Query(expression=or_zero(sums(f"increase(jobset_{end}_total[1h])")), legend=f"TrainJob {end}")
                    for end in ("completed", "failed")
                ],
                width=10,
            ),
            Panel(
                title="Pods that wait",
                description="Pods that have no node, by namespace: the quota, the queue, or no GPU at the cloud.",
                queries=[
                    Query(
                        expression=sums('kube_pod_status_phase{namespace=~"$namespace",phase="Pending"}', "namespace"),
                        legend="{{namespace}}",
                    ),
                    Query(expression=sums(WAITING_GPUS, "namespace"), legend="{{namespace}}: GPUs asked for"),
                ],
                width=10,
                decimals=0,
            ),
        ],
    )


def _queues() -> Row:
    gpus = 'resource="nvidia.com/gpu"'
    return Row(
        title="Queues (Volcano)",
        panels=[
            Panel(
                title="Gangs that wait",
                description="Groups of pods that start together or not at all, and wait for that, by queue.",
                queries=[
                    Query(
                        expression=sums(f"volcano_queue_pod_group_{state}_count", "queue_name"),
                        legend=f"{{{{queue_name}}}} {state}",
                    )
                    for state in ("pending", "inqueue")
                ],
                decimals=0,
            ),
            Panel(
                title="GPUs by queue",
                description="GPUs that a queue has, and those that it deserves: what it may take back from others.",
                queries=[
                    Query(
                        expression=f"max by (queue_name) (volcano_queue_allocated_scalar_resources{{{gpus}}}) / 1000",
                        legend="{{queue_name}} has",
                    ),
                    Query(
                        expression=f"max by (queue_name) (volcano_queue_deserved_scalar_resources{{{gpus}}}) / 1000",
                        legend="{{queue_name}} deserves",
                    ),
                ],
                decimals=0,
            ),
            Panel(
                title="Time to decide",
                description="P50, P95 and P99 of one round of the scheduler.",
                queries=quantiles("volcano_e2e_scheduling_latency_milliseconds_bucket"),
                unit="ms",
            ),
        ],
    )


def _ray() -> Row:
    return Row(
        title="Ray",
        panels=[
            Panel(
                title="Nodes of Ray clusters",
                description="Nodes that work, are on their way and were lost.",
                queries=[
                    Query(
                        expression=sums(f"ray_cluster_{state}_nodes", "ray_io_cluster"),
                        legend=f"{{{{ray_io_cluster}}}} {state}",
                    )
                    for state in ("active", "pending", "failed")
                ],
                decimals=0,
            ),
            Panel(
                title="Tasks",
                description="Tasks of all Ray clusters by state.",
                queries=[Query(expression=sums("ray_tasks", "State"), legend="{{State}}")],
                kind="stack",
            ),
            Panel(
                title="Object store",
                description="Bytes in Ray's object stores, by where they are. What is spilled to disk slows down.",
                queries=[Query(expression=sums("ray_object_store_memory", "Location"), legend="{{Location}}")],
                kind="stack",
                unit="bytes",
            ),
        ],
    )


def _experiments() -> Row:
    return Row(
        title="MLflow",
        panels=[
            Panel(
                title="Requests to MLflow",
                description="Requests a second, by status.",
                queries=[Query(expression=sums(rate("mlflow_http_request_total"), "status"), legend="{{status}}")],
                kind="stack",
                unit="reqps",
                width=12,
            ),
            Panel(
                title="Latency of MLflow",
                description="P50, P95 and P99 of requests. Runs wait for it whenever they log.",
                queries=quantiles("mlflow_http_request_duration_seconds_bucket"),
                unit="s",
                width=12,
            ),
        ],
    )
