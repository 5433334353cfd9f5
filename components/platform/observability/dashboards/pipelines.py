"""Pipelines: how many run, how they end, how long they take and wait."""

from __future__ import annotations

from components.platform.observability.dashboards.model import Board, Choice, Panel, Query, Row, Threshold
from components.platform.observability.dashboards.queries import or_zero, quantiles, rate, sums

_RUNS = 'argo_workflows_total_count{namespace=~"$namespace"'


def board() -> Board:
    """The dashboard."""
    return Board(
        name="pipelines",
        title="Pipelines",
        description="Workflows of Argo and of Kubeflow Pipelines: how many run, how they end, how long they take.",
        folder="training",
        tags=["pipelines"],
        since="now-24h",
        choices=[
            Choice(name="namespace", title="Namespace", query="label_values(argo_workflows_total_count, namespace)"),
            Choice(
                name="template",
                title="Template",
                query="label_values(argo_workflows_workflowtemplate_runtime_count, name)",
            ),
        ],
        rows=[_runs(), _time(), _controllers()],
        logs=("argo", "kubeflow"),
    )


def _ended(phase: str) -> str:
    return f'{_RUNS},phase=~"{phase}"}}'


def _runs() -> Row:
    failed = sums(f"increase({_ended('Failed|Error')}[$__range])")
    ended = sums(f"increase({_ended('Succeeded|Failed|Error')}[$__range])")
    return Row(
        title="Runs",
        panels=[
            Panel(
                title="Success rate",
                description="Share of the runs that ended in the chosen time and succeeded.",
                queries=[Query(expression=f"1 - ({or_zero(failed)}) / {ended}")],
                kind="stat",
                unit="percentunit",
                width=6,
                height=4,
                most=1,
                thresholds=[Threshold(value=0.9, below=True), Threshold(value=0.99, severity="warning", below=True)],
                nothing="No run ended",
            ),
            Panel(
                title="Failed",
                description="Runs that failed in the chosen time. Every one is an alert of its own.",
                queries=[Query(expression=or_zero(failed))],
                kind="stat",
                width=6,
                height=4,
                decimals=0,
                thresholds=[Threshold(value=1, severity="critical")],
            ),
            Panel(
                title="Running",
                description="Runs that are under way now.",
                queries=[Query(expression=or_zero(sums('argo_workflows_gauge{phase="Running"}')))],
                kind="stat",
                width=6,
                height=4,
                decimals=0,
            ),
            Panel(
                title="Waiting",
                description="Runs that have not begun: a limit of parallel runs, or a lock that another one has.",
                queries=[Query(expression=or_zero(sums('argo_workflows_gauge{phase="Pending"}')))],
                kind="stat",
                width=6,
                height=4,
                decimals=0,
            ),
            Panel(
                title="Runs by their end",
                description="Runs that ended, an hour.",
                queries=[
                    Query(
                        expression=sums(f"increase({_ended('Succeeded|Failed|Error')}[1h])", "phase"),
                        legend="{{phase}}",
                    )
                ],
                kind="stack",
                width=12,
            ),
            Panel(
                title="Steps by phase",
                description="Pods of runs now, by phase. Pending ones wait for a node, a GPU or a quota.",
                queries=[Query(expression=sums("argo_workflows_pods_gauge", "phase"), legend="{{phase}}")],
                kind="stack",
                width=12,
            ),
            Panel(
                title="Runs of Kubeflow Pipelines",
                description="Runs of Kubeflow Pipelines that ended, an hour.",
                queries=[
                    Query(
                        expression=or_zero(sums("increase(resource_manager_workflow_runs_success[1h])")),
                        legend="succeeded",
                    ),
                    Query(
                        expression=or_zero(sums("increase(resource_manager_workflow_runs_failed[1h])")),
                        legend="failed",
                    ),
                ],
                width=24,
            ),
        ],
    )


def _time() -> Row:
    selected = '{namespace=~"$namespace",name=~"$template"}'
    waited = "kube_pod_status_scheduled_time - on (namespace, pod, uid) group_left () kube_pod_created"
    of_runs = (
        ' and on (namespace, pod) kube_pod_labels{namespace=~"$namespace",label_workflows_argoproj_io_workflow!=""}'
    )
    return Row(
        title="Time",
        panels=[
            Panel(
                title="Duration by template",
                description="P50, P95 and P99 of runs from a template, from their begin to their end.",
                queries=quantiles(f"argo_workflows_workflowtemplate_runtime_bucket{selected}", "name"),
                unit="s",
                width=12,
            ),
            Panel(
                title="Steps wait for a node",
                description="Longest time that a step's pod waited from its creation until it had a node, over the "
                "pods that still exist.",
                queries=[
                    Query(expression=f"max by (namespace) (({waited}){of_runs})", legend="{{namespace}}"),
                ],
                unit="s",
                width=12,
            ),
        ],
    )


def _controllers() -> Row:
    return Row(
        title="Controller",
        panels=[
            Panel(
                title="Wait in the controller",
                description="P50, P95 and P99 of the time that changes wait in the controller's queues. Seconds mean "
                "that it cannot keep up.",
                queries=quantiles("argo_workflows_queue_latency_bucket", "queue_name"),
                unit="s",
                thresholds=[Threshold(value=60, alert="PipelineControllerLate", severity="warning")],
            ),
            Panel(
                title="Work on a run",
                description="P50, P95 and P99 of one look of the controller at one run.",
                queries=quantiles("argo_workflows_operation_duration_seconds_bucket"),
                unit="s",
            ),
            Panel(
                title="Errors of the controller",
                description="Errors a second, by cause.",
                queries=[Query(expression=sums(rate("argo_workflows_error_count"), "cause"), legend="{{cause}}")],
                unit="ops",
            ),
        ],
    )
