"""Series for the alerts about work: models, GPUs, training, pipelines, data, money."""

from __future__ import annotations

from collections.abc import Iterator

from tests.data_plane.alert_case import Case, Series, appears, grows, level

LLAMA = "llama"
TEAM = "research"
ERROR_RATIO = 0.005
P99_SECONDS = 5.0
COLD_START_SECONDS = 600

_LLAMA = {"model": LLAMA, "team": TEAM}
_SERVER = f'namespace="team-{TEAM}",deployment="llama-predictor"'
_POD = f'namespace="team-{TEAM}",pod="llama-predictor-1"'


def answers(model: str, *, good: float, bad: float, status: str = "500", minutes: int = 70) -> Series:
    """Requests at the model gateway, each minute."""
    name = "litellm_proxy_total_requests_metric_total"
    return {
        f'{name}{{requested_model="{model}",status_code="200"}}': grows(good, minutes),
        f'{name}{{requested_model="{model}",status_code="{status}"}}': grows(bad, minutes),
    }


def late(histogram: str, bound: str, above: str, *, in_time: float) -> Series:
    """A hundred answers each minute, of which ``in_time`` are not later than a bound, and the rest a bucket above."""
    name, _, labels = histogram.partition("{")
    labels = labels.removesuffix("}")
    return {
        f'{name}_bucket{{{labels},le="{bound}"}}': grows(in_time),
        f'{name}_bucket{{{labels},le="{above}"}}': grows(100),
        f'{name}_bucket{{{labels},le="+Inf"}}': grows(100),
    }


def _limits() -> Iterator[Case]:
    # 1 % exactly, 2 s exactly: no alert. The model that states limits of its own is judged by those alone.
    yield Case(alert="ModelErrors", fires=answers("m", good=985, bad=15), quiet=answers("m", good=99, bad=1))
    yield Case(
        alert="ModelErrors",
        labels=_LLAMA,
        fires=answers(LLAMA, good=992, bad=8),
        quiet=answers(LLAMA, good=995, bad=5),
    )
    for model, labels, bound, above in (("m", {}, "2.0", "5.0"), (LLAMA, _LLAMA, "5.0", "10.0")):
        histogram = f'litellm_request_total_latency_metric{{requested_model="{model}"}}'
        yield Case(
            alert="ModelLatencyHigh",
            labels=labels,
            fires=late(histogram, bound, above, in_time=98.9),
            quiet=late(histogram, bound, above, in_time=99),
        )
    for model, labels, ratio in (("m", {}, 0.01), (LLAMA, _LLAMA, ERROR_RATIO)):
        for burn in (14.4, 6, 3, 1):
            over, under = (round(factor * burn * ratio * 10_000) for factor in (1.1, 0.95))
            yield Case(
                alert="ModelErrorBudgetBurn",
                labels={**labels, "burn": f"{burn:g}"},
                minutes=300,
                every=5,
                fires=answers(model, good=10_000 - over, bad=over, minutes=310),
                quiet=answers(model, good=10_000 - under, bad=under, minutes=310),
            )


def _servers() -> Iterator[Case]:
    available, wanted = "kube_deployment_status_replicas_available", "kube_deployment_spec_replicas"
    other = 'namespace="mlops-serving",deployment="m-predictor"'
    # A model that is scaled to zero has no server, and wants none.
    yield Case(
        alert="ModelNotReady",
        fires={f"{available}{{{other}}}": level(0), f"{wanted}{{{other}}}": level(1)},
        quiet={f"{available}{{{other}}}": level(0), f"{wanted}{{{other}}}": level(0)},
    )
    yield Case(
        alert="ModelNotReady",
        labels=_LLAMA,
        fires={f"{available}{{{_SERVER}}}": level(0)},
        quiet={f"{available}{{{_SERVER}}}": level(1)},
    )
    queue = 'vllm:request_queue_time_seconds{model_name="m"}'
    yield Case(
        alert="ModelQueueLong",
        labels={"source": "vllm"},
        fires=late(queue, "5.0", "10.0", in_time=94),
        quiet=late(queue, "5.0", "10.0", in_time=95),
    )
    served = {'nv_inference_request_success{model="m",version="1"}': grows(10)}
    waited = 'nv_inference_queue_duration_us{model="m",version="1"}'
    yield Case(
        alert="ModelQueueLong",
        labels={"source": "triton"},
        fires={**served, waited: grows(51_000_000)},
        quiet={**served, waited: grows(50_000_000)},
    )
    cache = 'vllm:kv_cache_usage_perc{namespace="mlops-serving",pod="m-predictor-1",model_name="m"}'
    yield Case(alert="ModelCacheFull", fires={cache: level(0.96)}, quiet={cache: level(0.95)})
    created, ready = f"kube_pod_created{{{_POD}}}", f"kube_pod_status_ready_time{{{_POD}}}"
    # Times count from the test's beginning. Ready after exactly its budget; or not ready yet, and past it.
    yield Case(
        alert="ModelColdStartSlow",
        labels=_LLAMA,
        minutes=20,
        fires={created: level(0)},
        quiet={created: level(0), ready: appears(COLD_START_SECONDS, after=10)},
    )
    state = 'litellm_deployment_state{litellm_model_name="hosted_vllm/m",model_id="m/vllm",api_provider="hosted_vllm"}'
    yield Case(alert="ModelBackendDown", fires={state: level(2)}, quiet={state: level(1)})
    held = 'interceptor_request_count_total{route_namespace="mlops-serving",route_name="m"'
    yield Case(
        alert="ModelActivationFailing",
        fires={f'{held},code="200"}}': grows(90), f'{held},code="502"}}': grows(10)},
        quiet={f'{held},code="200"}}': grows(96), f'{held},code="502"}}': grows(4)},
    )


_GPU = '{gpu="0",UUID="GPU-1",modelName="NVIDIA A10G",Hostname="node-1",namespace="mlops-training",pod="job-0"%s}'


def gpu(name: str, more: str = "") -> str:
    """A series of one GPU."""
    return name + _GPU % more


def _gpus() -> Iterator[Case]:
    used, free = gpu("DCGM_FI_DEV_FB_USED"), gpu("DCGM_FI_DEV_FB_FREE")
    yield Case(  # 90 % exactly: no alert
        alert="GpuMemoryHigh",
        fires={used: level(20_800), free: level(2_300)},
        quiet={used: level(20_700), free: level(2_300)},
    )
    fault, slip = (gpu("DCGM_FI_DEV_XID_ERRORS", f',err_code="{code}",err_msg="…"') for code in (79, 31))
    yield Case(alert="GpuFault", fires={fault: level(79)}, quiet={slip: level(31)})
    rows, failure = gpu("DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS"), gpu("DCGM_FI_DEV_ROW_REMAP_FAILURE")
    yield Case(
        alert="GpuMemoryErrors",
        fires={rows: "0x30 1x40", failure: level(0)},
        quiet={rows: level(1), failure: level(0)},
    )
    heat = gpu("DCGM_FI_DEV_GPU_TEMP")
    yield Case(alert="GpuHot", fires={heat: level(86)}, quiet={heat: level(85)})
    slowed = gpu("DCGM_FI_DEV_THERMAL_VIOLATION")
    yield Case(  # nanoseconds: 12 s of each minute, and 6 s
        alert="GpuSlowed",
        fires={slowed: grows(12_000_000_000)},
        quiet={slowed: grows(6_000_000_000)},
    )
    total, left = (
        f'kube_node_status_{what}{{node="node-1",resource="nvidia_com_gpu",unit="integer"}}'
        for what in ("capacity", "allocatable")
    )
    yield Case(
        alert="GpuUnavailable",
        fires={total: level(8), left: level(7)},
        quiet={total: level(8), left: level(8)},
    )
    load = gpu("DCGM_FI_DEV_GPU_UTIL")
    yield Case(
        alert="GpuIdle",
        minutes=180,
        fires={load: level(4, 190)},
        quiet={load: level(5, 190)},
    )


def _training() -> Iterator[Case]:
    failures = {
        "training-operator": 'training_operator_jobs_failed_total{job_namespace="mlops-training",framework="pytorch"}',
        "jobset": f'jobset_failed_total{{namespace="team-{TEAM}",jobset_name="train-1"}}',
        "volcano": 'volcano_job_failed_phase_count{job_name="mlops-training/train",queue_name="research"}',
        "kuberay": 'kuberay_job_deployment_status{name="tokenize",namespace="mlops-data",deployment_status="Failed"}',
    }
    # The first failure is the counter's first sample; an old one is no news after an hour.
    for operator, counter in failures.items():
        yield Case(
            alert="TrainingJobFailed",
            labels={"operator": operator},
            minutes=65,
            fires={counter: appears(1)},
            quiet={counter: level(1)},
        )
    restarts = 'training_operator_jobs_restarted_total{job_namespace="mlops-training",framework="pytorch"}'
    yield Case(
        alert="TrainingJobRestarting", fires={restarts: "0x9 1x9 2x9 3x9 4x40"}, quiet={restarts: "0x9 1x9 2x60"}
    )
    run = 'namespace="mlops-training",job_name="train",run_id="r1"'
    loss, pace = f"llmops_training_loss{{{run}}}", f"llmops_training_tokens_per_second{{{run}}}"
    yield Case(alert="TrainingDiverged", fires={loss: " ".join(["NaN"] * 70)}, quiet={loss: level(9.5)})
    yield Case(alert="TrainingStalled", fires={pace: "900x20 0x60"}, quiet={pace: "900x50 0x20"})


def _pipelines() -> Iterator[Case]:
    ended = f'argo_workflows_total_count{{namespace="team-{TEAM}",phase="%s"}}'
    yield Case(
        alert="PipelineFailed",
        minutes=65,
        fires={ended % "Failed": appears(1)},
        quiet={ended % "Failed": level(1), ended % "Succeeded": appears(1)},
    )
    steps = 'argo_workflows_pods_gauge{phase="Pending"}'
    yield Case(alert="PipelineWaiting", fires={steps: level(1)}, quiet={steps: level(0)})
    queue = 'argo_workflows_queue_latency{queue_name="workflow_queue"}'
    yield Case(
        alert="PipelineControllerLate",
        fires=late(queue, "60", "180", in_time=94),
        quiet=late(queue, "60", "180", in_time=95),
    )
    errors = 'argo_workflows_error_count{cause="CronWorkflowSubmissionError"}'
    yield Case(alert="PipelineControllerErrors", fires={errors: "0x50 1x20"}, quiet={errors: level(0)})


def _data() -> Iterator[Case]:
    calls = 'milvus_proxy_req_count{function_name="Search",status="%s"}'
    yield Case(
        alert="MilvusFailing",
        fires={calls % "success": grows(94), calls % "fail": grows(6)},
        quiet={calls % "success": grows(96), calls % "fail": grows(4)},
    )
    nodes = 'ray_cluster_failed_nodes{ray_io_cluster="ray",node_type="workers"}'
    yield Case(alert="RayNodesDead", fires={nodes: level(1)}, quiet={nodes: level(0)})
    died = 'ray_node_manager_unexpected_worker_failure_total{ray_io_cluster="ray"}'
    yield Case(alert="RayWorkersDying", fires={died: grows(1)}, quiet={died: "0x50 3x20"})
    asked = 'mlflow_http_request_total{method="POST",status="%s"}'
    yield Case(
        alert="MlflowFailing",
        fires={asked % "200": grows(94), asked % "500": grows(6)},
        quiet={asked % "200": grows(96), asked % "500": grows(4)},
    )
    for alert, store in (("DatabaseUnreachable", "postgres"), ("CacheUnreachable", "redis")):
        failed = f'litellm_{store}_failed_requests_total{{{store}="{store}",error_class="ConnectionError"}}'
        yield Case(alert=alert, fires={failed: grows(1)}, quiet={failed: level(9)})


def _money() -> Iterator[Case]:
    team = '{team="research",team_alias="research"}'
    left, budget = f"litellm_remaining_team_budget_metric{team}", f"litellm_team_max_budget_metric{team}"
    yield Case(
        alert="BudgetNearlyUsed",
        fires={left: level(9), budget: level(100)},
        quiet={left: level(10), budget: level(100)},
    )
    # A team without a budget has none left either.
    yield Case(
        alert="BudgetUsed",
        fires={left: level(0), budget: level(100)},
        quiet={left: level(0), budget: level(0)},
    )
    hours = f"litellm_team_budget_remaining_hours_metric{team}"
    spent = f"litellm_spend_metric_total{team}"
    yield Case(
        alert="BudgetBurn",
        minutes=480,
        every=5,
        fires={spent: grows(1, 490), hours: level(100, 490), left: level(5000, 490)},
        quiet={spent: grows(1, 490), hours: level(100, 490), left: level(7000, 490)},
    )


CASES = (*_limits(), *_servers(), *_gpus(), *_training(), *_pipelines(), *_data(), *_money())
