"""Series for the rules that come with workloads: canaries, datasets, retrievals, releases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.data_plane.alert_case import Case, Series, appears, grows, level
from tests.unit.workload_alerts import LATE_HOURS
from workloads.models.alerts import ALERT as CANARY_WORSE
from workloads.preprocess import alerts as datasets
from workloads.release import alerts as releases
from workloads.retrieval import alerts as retrievals

FLOW = "release-support"


def _of(metric: str, role: str, more: str = "") -> str:
    return f'litellm_deployment_{metric}_total{{model_id="chat/{role}"{more}}}'


def _counted(canary: float, failing: float, stable_failing: float = 0) -> Series:
    """Requests a minute of the canary, and failures a minute of both; 180 a minute are the stable version's."""
    return {
        _of("total_requests", "canary"): grows(canary),
        _of("total_requests", "stable"): grows(180),
        **({_of("failure_responses", "canary", ',exception_status="500"'): grows(failing)} if failing else {}),
        **({_of("failure_responses", "stable"): grows(stable_failing)} if stable_failing else {}),
    }


def _timed(role: str, quick: float) -> Series:
    """Of twenty answers a minute so many within 2 s, and all within 3 s."""
    name = f'litellm_llm_api_latency_metric_bucket{{model_id="chat/{role}",le="%s"}}'
    return {name % "2.0": grows(quick), name % "3.0": grows(20), name % "+Inf": grows(20)}


def _canaries() -> Iterator[Case]:
    errors = {"model": "chat", "comparison": "errors"}
    yield Case(alert=CANARY_WORSE, labels=errors, fires=_counted(100, 1.1), quiet=_counted(100, 1))
    # All fail, but nothing is concluded of forty requests.
    yield Case(alert=CANARY_WORSE, labels=errors, fires=_counted(20, 5), quiet=_counted(4, 4))
    # The model itself fails in 10 of 100.
    yield Case(
        alert=CANARY_WORSE,
        labels=errors,
        fires=_counted(100, 12, stable_failing=18),
        quiet=_counted(100, 11, stable_failing=18),
    )
    yield Case(
        alert=CANARY_WORSE,
        labels={"model": "chat", "comparison": "latency"},
        fires={**_counted(20, 0), **_timed("canary", 0), **_timed("stable", 20)},
        quiet={**_counted(20, 0), **_timed("canary", 0), **_timed("stable", 0)},
    )


def ray_job(name: str, status: str, values: str, namespace: str = "mlops-data") -> Series:
    """What KubeRay tells of one of its jobs."""
    labels = f'name="{name}",namespace="{namespace}",deployment_status="{status}"'
    return {f"kuberay_job_deployment_status{{{labels}}}": values}


def _ray_runs(alert: str, name: str) -> Iterator[Case]:
    """Runs that are Ray's jobs: they are told of for an hour."""
    yield Case(
        alert=alert,
        fires=ray_job(name, "Failed", appears(1)),
        quiet=ray_job("embed-1", "Failed", appears(1)),
    )
    yield Case(
        alert=alert,
        fires=ray_job(name, "Failed", "0x40 1x40"),
        quiet=ray_job(name, "Complete", level(1)),
    )
    yield Case(
        alert=alert,
        minutes=100,
        fires=ray_job(name, "Failed", "_x50 1x140"),
        quiet=ray_job(name, "Failed", level(1, 140)),
    )
    yield Case(
        alert=alert,
        fires=ray_job(name, "Failed", appears(1)),
        quiet=ray_job(name, "Failed", appears(1), namespace="team-research"),
    )


def _asked(**each_minute: float) -> Series:
    """Questions of one retrieval, by how they ended."""
    return {
        f'llmops_retrieval_requests_total{{retrieval="handbook",outcome="{outcome}"}}': grows(many, 120)
        for outcome, many in each_minute.items()
    }


def _retrievals() -> Iterator[Case]:
    failing, nothing, ingestion = retrievals.NAMES
    yield Case(alert=failing, fires=_asked(answered=93, failed=7), quiet=_asked(answered=95, failed=5))
    # Nothing is concluded of fewer than twenty questions, and what clients did wrong is no question.
    yield Case(alert=failing, fires=_asked(answered=1, failed=1), quiet=_asked(answered=0.9, failed=1))
    yield Case(
        alert=failing,
        fires=_asked(answered=90, unknown=3, failed=7),
        quiet=_asked(answered=15, unknown=80, failed=5),
    )
    yield Case(alert=failing, fires=_asked(refused=100, failed=2), quiet=_asked(refused=100, failed=1))
    yield Case(alert=nothing, minutes=110, fires=_asked(answered=49, unknown=51), quiet=_asked(answered=50, unknown=50))
    # Twenty an hour are enough; failures and refusals are no finding.
    yield Case(
        alert=nothing,
        minutes=110,
        fires=_asked(answered=0.1, unknown=0.25),
        quiet=_asked(answered=0.1, unknown=0.2),
    )
    yield Case(alert=nothing, minutes=110, fires=_asked(unknown=60, failed=40), quiet=_asked(unknown=40, failed=60))
    yield from _ray_runs(ingestion, "ingest-handbook-x7k2p")


def _ended(**at: str) -> Series:
    """When the last run began that ended so."""
    return {
        f'argo_workflows_llmops_flow_created_seconds{{flow="{FLOW}",status="{status}"}}': values
        for status, values in at.items()
    }


def _releases() -> Iterator[Case]:
    yield Case(
        alert=releases.FAILED,
        fires=_ended(Succeeded=level(1000), Failed=level(2000)),
        quiet=_ended(Succeeded=level(2000), Failed=level(1000)),
    )
    # The first one of all; an error of the controller's is a failure; one that succeeded is none.
    yield Case(alert=releases.FAILED, fires=_ended(Failed=level(1000)), quiet=_ended(Succeeded=level(1000)))
    yield Case(
        alert=releases.FAILED,
        fires=_ended(Succeeded=level(1500), Failed=level(1000), Error=level(2000)),
        quiet=_ended(Succeeded=level(2000), Failed=level(2000), Error=level(1000)),
    )
    # Late for a quarter of an hour; at the hour itself, and a moment before the quarter has passed.
    minutes = LATE_HOURS * 60 + 30
    for created in (30 * 60, 20 * 60):
        yield Case(
            alert=releases.LATE,
            minutes=minutes,
            every=5,
            fires=_ended(Succeeded=level(0, minutes + 10)),
            quiet=_ended(Succeeded=level(created, minutes + 10)),
        )
    # Another flow's success is not this one's, and a failure is no success.
    other = {f'argo_workflows_llmops_flow_created_seconds{{flow="{FLOW}-two",status="Succeeded"}}': level(5e4, 1600)}
    yield Case(
        alert=releases.LATE,
        minutes=minutes,
        every=5,
        fires={**_ended(Succeeded=level(0, minutes + 10), Failed=level(9e4, minutes + 10)), **other},
        quiet=_ended(Succeeded=level(9e4, minutes + 10)),
    )


CASES: Sequence[Case] = (*_canaries(), *_ray_runs(datasets.ALERT, "dataset-wiki-x7k2p"), *_retrievals(), *_releases())
