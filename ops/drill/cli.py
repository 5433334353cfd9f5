"""``python -m ops drill``: rehearse a restore beside what lives, or see what the last rehearsals found."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer
from rich.table import Table

from components.platform.drill_names import JOBS, OBJECTIVES, RECORDS, RECORDS_NAMESPACE
from components.platform.pods import drill_report
from components.platform.pods.drill_report import Drill
from ops import console
from ops.drill.cluster import leftovers, planned, rehearse, sweep
from ops.jobs import Cluster, finished, job_of, named, outcome
from ops.progress import Progress
from ops.pulumi import EngineError
from ops.refusals import RefusedError, explained
from ops.stack import AsJson, Confirmed, InSandbox, Stack, StackError, StackName

_HELP: Final = """Rehearse restores: beside the living system, compared with it, measured against the objectives of
platform.drills, and cleaned up also after a failure and Ctrl-C. Exit code 1: a drill failed, or took or lost too much.
docs/recovery.md says what each one shows, and what only a real restore can."""

_PATIENCE_SECONDS: Final = 8 * 3600.0
_CLEANING_SECONDS: Final = 1800.0

app = typer.Typer(add_completion=False, help=_HELP, no_args_is_help=True)

Backup = Annotated[str, typer.Option(help="Backup of Velero, or `latest`.")]
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="Namespace whose objects are restored.")]


@app.callback()
def drill() -> None:
    """Rehearse restores."""


@app.command("registry")
def registry_command(
    stack: StackName = "", sandbox: InSandbox = False, yes: Confirmed = False, as_json: AsJson = False
) -> None:
    """The model registry: a dump, restored into a scratch database of the same server."""
    with explained("drill registry"), Stack.read(stack, sandbox=sandbox).kubeconfig() as path:
        _end([_in_cluster(Cluster(path), "registry", yes=yes)], as_json=as_json)


@app.command("vectors")
def vectors_command(
    stack: StackName = "", sandbox: InSandbox = False, yes: Confirmed = False, as_json: AsJson = False
) -> None:
    """Milvus: the last daily backup, restored beside the living collections."""
    with explained("drill vectors"), Stack.read(stack, sandbox=sandbox).kubeconfig() as path:
        _end([_in_cluster(Cluster(path), "vectors", yes=yes)], as_json=as_json)


@app.command("cluster")
def cluster_command(
    stack: StackName = "",
    backup: Backup = "latest",
    namespace: Namespace = "mlops-serving",
    sandbox: InSandbox = False,
    yes: Confirmed = False,
    as_json: AsJson = False,
) -> None:
    """Velero: objects of one namespace, restored into another one."""
    with explained("drill cluster"), Stack.read(stack, sandbox=sandbox).kubeconfig() as path:
        _end([_of_cluster(Cluster(path), backup, namespace, yes=yes)], as_json=as_json)


@app.command("all")
def all_command(
    stack: StackName = "",
    backup: Backup = "latest",
    namespace: Namespace = "mlops-serving",
    sandbox: InSandbox = False,
    yes: Confirmed = False,
    as_json: AsJson = False,
) -> None:
    """All three, one after another; one that cannot begin does not keep the others from it."""
    with explained("drill all"), Stack.read(stack, sandbox=sandbox).kubeconfig() as path:
        cluster, records, refused = Cluster(path), list[dict[str, Any] | None](), list[str]()
        for name in ("registry", "vectors", "cluster"):
            try:
                records.append(
                    _of_cluster(cluster, backup, namespace, yes=yes)
                    if name == "cluster"
                    else _in_cluster(cluster, name, yes=yes)
                )
            except (RefusedError, EngineError) as error:
                refused.append(f"{name}: {error}")
                console.complain(refused[-1])
        _end(records, as_json=as_json)
        if refused:
            raise RefusedError(f"{len(refused)} drills could not be done")


@app.command("status")
def status_command(stack: StackName = "", sandbox: InSandbox = False, as_json: AsJson = False) -> None:
    """What the last drill of each kind found."""
    with explained("drill status"), Stack.read(stack, sandbox=sandbox).kubeconfig() as path:
        data: Mapping[str, str] = _records(Cluster(path)).get("data") or {}
        kept = [(name, _parsed(text)) for name, text in sorted(data.items()) if name.endswith(".json")]
        for name in (name for name, record in kept if not record):
            console.complain(f"{RECORDS_NAMESPACE}/{RECORDS} {name} cannot be read; the next drill writes it anew")
        _show([record for _, record in kept if record], as_json=as_json)


def _records(cluster: Cluster) -> dict[str, Any]:
    """The ConfigMap with what drills found.

    Raises:
        RefusedError: Drills are not installed.
    """
    try:
        return cluster.get(RECORDS_NAMESPACE, "configmap", RECORDS)
    except StackError as error:
        raise RefusedError(f"drills are not installed (platform.drills.enabled): {error}") from None


def _parsed(text: str) -> dict[str, Any]:
    """A record; empty where it is none."""
    try:
        found: dict[str, Any] = json.loads(text)
    except ValueError:
        return {}
    return found if "drill" in found else {}


def _in_cluster(cluster: Cluster, name: str, *, yes: bool) -> dict[str, Any] | None:
    """Run a drill's own CronJob now; a drill that is stopped here is cleaned up there."""
    namespace, cronjob = JOBS[name]
    try:
        template = cluster.get(namespace, "cronjob", cronjob)
    except StackError as error:
        raise RefusedError(f"no drill of the {name} is installed (platform.drills.{name}.enabled): {error}") from None
    job = job_of(template, named(cronjob), {})
    title = job["metadata"]["name"]
    if running := _running(cluster, namespace, cronjob):
        raise RefusedError(f"job {namespace}/{running} is such a drill, and has not ended: wait for it, or delete it")
    if not yes:
        console.complain(f"would run a job of {namespace}/{cronjob} now; --yes does it")
        return None
    progress = Progress()
    _freed(cluster, name)
    cluster.create(job)
    try:
        finished(cluster, namespace, title, patience_seconds=_PATIENCE_SECONDS, progress=progress)
    except BaseException:  # Ctrl-C too: what the pod has restored must not stay
        _stopped(cluster, name, title, template, progress)
        raise
    data: Mapping[str, str] = _records(cluster).get("data") or {}
    record = _parsed(data.get(f"{name}.json", "{}"))
    # By its pod, whose name begins with the job's: clocks of nodes and of the API server differ.
    if not str(record.get("pod", "")).startswith(f"{title}-"):
        raise RefusedError(f"the job ended without a word: kubectl -n {namespace} logs job/{title} --all-containers")
    return record


def _running(cluster: Cluster, namespace: str, cronjob: str) -> str:
    """A job of this drill that has not ended: by its schedule, or of somebody else's command; empty for none."""
    label = "app.kubernetes.io/name"
    jobs = (one for one in cluster.all(namespace, "job") if one["metadata"].get("labels", {}).get(label) == cronjob)
    return next((one["metadata"]["name"] for one in jobs if outcome(one) is None), "")


def _freed(cluster: Cluster, name: str) -> None:
    """Let the next drill begin where no other is under way: one that was killed did not say that it is over.

    The claim stays, and says that something was left behind.
    """
    claim = f"{name}.claim"
    if claim in (_records(cluster).get("data") or {}):
        over = json.dumps({"pod": "", "until": 0})
        cluster.patch(RECORDS_NAMESPACE, "configmap", RECORDS, {"data": {claim: over}})


def _stopped(cluster: Cluster, name: str, title: str, template: Mapping[str, Any], progress: Progress) -> None:
    """Stop a drill, and have another pod of it do nothing but clean up."""
    namespace, _ = JOBS[name]
    cleaning = f"{title}-clean"
    progress.say("stopped: cleans up")
    cluster.delete(namespace, "job", title)
    _freed(cluster, name)
    cluster.create(job_of(template, cleaning, {"ONLY_CLEAN": "true"}))
    end = finished(cluster, namespace, cleaning, patience_seconds=_CLEANING_SECONDS, progress=progress)
    if end != "Complete":
        told = f"kubectl -n {namespace} logs job/{cleaning} --all-containers"
        console.complain(f"what was restored could not be removed: {told}; the next drill removes it before it begins")


def _of_cluster(cluster: Cluster, backup: str, namespace: str, *, yes: bool) -> dict[str, Any] | None:
    annotations: Mapping[str, str] = _records(cluster)["metadata"].get("annotations") or {}
    if OBJECTIVES not in annotations:
        raise RefusedError("the stack declares no objectives; `pulumi up` of this version of the program first")
    objectives = json.loads(annotations[OBJECTIVES])
    now = datetime.now(UTC)
    wanted, left = planned(cluster, backup, namespace, now), leftovers(cluster, now)
    if not yes:
        told = f"would restore objects of {namespace} of {wanted.backup.name} as {wanted.target}, and remove them"
        more = f"; before it would remove {', '.join(left)}, left by drills that were killed" if left else ""
        console.complain(f"{told}{more}; --yes does it")
        return None
    drill = Drill(
        name="cluster",
        time_objective_seconds=objectives["timeSeconds"],
        point_objective_seconds=objectives["pointSeconds"],
    )
    progress = Progress()
    sweep(cluster, left, progress)
    rehearse(cluster, wanted, drill, progress)
    data: Mapping[str, str] = _records(cluster).get("data") or {}
    record = drill.record(_parsed(data.get("cluster.json", "{}")))
    cluster.patch(RECORDS_NAMESPACE, "configmap", RECORDS, {"data": {"cluster.json": json.dumps(record)}})
    if os.environ.get("MLFLOW_TRACKING_URI"):
        drill_report.log(record)
    else:
        console.complain("MLflow was not told: MLFLOW_TRACKING_URI and an account name it (docs/experiments.md)")
    return record


def _end(records: list[dict[str, Any] | None], *, as_json: bool) -> None:
    """Show what was found.

    Raises:
        RefusedError: A drill failed, or missed an objective.
    """
    done = [record for record in records if record]
    if not done:
        return
    _show(done, as_json=as_json)
    wrong = [problem for record in done for problem in problems(record)]
    if wrong:
        raise RefusedError("; ".join(wrong))


def problems(record: Mapping[str, Any]) -> list[str]:
    """Why a drill is not what was promised."""
    found = [f"{record['drill']}: {one['name']}: {one['detail']}" for one in record["checks"] if not one["passed"]]
    if not record["passed"] and not found:
        found.append(f"{record['drill']}: nothing was compared")
    for what in ("time", "point"):
        measured = record[f"recovery{what.capitalize()}Seconds"]
        allowed = record["objectives"][f"{what}Seconds"]
        if measured is not None and measured > allowed:
            found.append(f"{record['drill']}: recovery {what} {measured:.0f} s, and {allowed:.0f} s were promised")
    return found


def _show(records: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        console.print_json(records)
        return
    table = Table("drill", "", "of", "ended", "recovery time", "recovery point", "compared")
    for one in records:
        measured = [
            f"{_seconds(one[f'recovery{what.capitalize()}Seconds'])} of {_seconds(one['objectives'][f'{what}Seconds'])}"
            for what in ("time", "point")
        ]
        ended = datetime.fromtimestamp(one["finishedAt"], UTC).strftime("%Y-%m-%d %H:%M")
        word = "passed" if one["passed"] else "FAILED"
        table.add_row(one["drill"], word, one["source"], ended, *measured, str(len(one["checks"])))
    console.output().print(table)
    for one in records:
        # Records of before this was measured have none of it.
        took = [f"{name} {seconds:.1f} s" for name, seconds in one.get("steps", {}).items()]
        much = [f"{amount} {what}" for what, amount in one.get("amounts", {}).items()]
        if told := "; ".join(", ".join(some) for some in (took, much) if some):
            console.output().print(f"{one['drill']}: {told}", markup=False)
        if loaded := one.get("loaded"):
            which = f"{loaded['model']} version {loaded['version']}"
            console.output().print(f"{one['drill']}: loaded {which} ({loaded['depth']})", markup=False)
        for problem in problems(one):
            console.output().print(problem, markup=False)


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "not seen"
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"
