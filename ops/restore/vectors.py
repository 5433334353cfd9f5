"""``ops restore vectors``: collections of Milvus from a backup, beside the living ones."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Final

import typer

from components.platform.drill_names import JOBS
from ops import console
from ops.jobs import Cluster, finished, job_of, named
from ops.progress import Progress
from ops.refusals import RefusedError, explained
from ops.stack import Confirmed, InSandbox, Stack, StackError, StackName

NAMESPACE: Final = "mlops-data"
CRONJOB: Final = "milvus-restore"
"""Suspended: jobs are made from it."""

_LIST_SECONDS: Final = 600.0
_RESTORE_SECONDS: Final = 6 * 3600.0
_SUFFIX: Final = re.compile(r"_[A-Za-z0-9_]{1,40}")
_BACKUP: Final = re.compile(r"^[A-Za-z][A-Za-z0-9_]*$")


def vectors_command(
    stack: StackName = "",
    backup: Annotated[
        str, typer.Option(help="The backup, or `latest`, the last daily one. Without it backups are listed.")
    ] = "",
    into: Annotated[str, typer.Option(help="End of the restored collections' names.")] = "_restored",
    collections: Annotated[
        list[str] | None, typer.Option("--collection", help="Only this one: database.collection. Repeat for more.")
    ] = None,
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Under their own names, with users and roles: none of them may exist.")
    ] = False,
    sandbox: InSandbox = False,
    yes: Confirmed = False,
) -> None:
    """Restore collections of Milvus beside the living ones, count them, and say how the alias is switched.

    Nothing that lives is touched. After the loss of the whole database, --in-place restores under the own names.
    """
    with explained("restore vectors"):
        if not in_place and not _SUFFIX.fullmatch(into):
            raise RefusedError(f"--into {into}: an underscore, then letters, digits and underscores")
        with Stack.read(stack, sandbox=sandbox).kubeconfig() as path:
            cluster, progress = Cluster(path), Progress()
            template = cluster.get(NAMESPACE, "cronjob", CRONJOB)
            if not backup or backup == "latest":
                known = backups(cluster, template, progress)
                if not backup:
                    _list(known)
                    return
                backup = latest(known)
            told = {
                "BACKUP": backup,
                "SUFFIX": "" if in_place else into,
                "FILTER": ",".join(collections or ()),
                "RBAC": "true" if in_place else "false",
            }
            job = job_of(template, named(CRONJOB), told)
            where = "under their own names" if in_place else f"as <collection>{into}"
            what = ", ".join(collections or ()) or "all collections"
            if not yes:
                console.output().print(f"would restore {what} of {backup} {where}; --yes does it", markup=False)
                return
            restore(cluster, job, progress)
            console.output().print(f"{what} of {backup} restored {where} in {progress.seconds:.0f} s", markup=False)
            if not in_place:
                counted(cluster, backup, into, progress)
                console.output().print(_switch(into), markup=False)


def backups(cluster: Cluster, template: dict[str, Any], progress: Progress) -> list[str]:
    """Names of the backups, oldest first of the daily ones: a job that is told no name lists them, and fails."""
    job = job_of(template, named(f"{CRONJOB}-list"), {"BACKUP": ""})
    name = job["metadata"]["name"]
    cluster.create(job)
    try:
        finished(cluster, NAMESPACE, name, patience_seconds=_LIST_SECONDS, progress=progress)
        return parsed(cluster.logs(NAMESPACE, name))
    finally:
        cluster.delete(NAMESPACE, "job", name)


def parsed(said: str) -> list[str]:
    """Names in what the tool says: one a line, among lines of its log."""
    _, _, listed = said.partition("set BACKUP to one of these:")
    return sorted({line.strip() for line in listed.splitlines() if _BACKUP.match(line.strip())})


def latest(known: list[str]) -> str:
    """The last daily backup.

    Raises:
        RefusedError: There is none.
    """
    daily = [name for name in known if name.startswith("daily_")]
    if not daily:
        raise RefusedError("there is no daily backup; `ops restore vectors` without --backup lists what there is")
    return max(daily)


def restore(cluster: Cluster, job: dict[str, Any], progress: Progress) -> None:
    """Run a restore to its end; what it made stays where it fails, to be looked at.

    Raises:
        RefusedError: It failed; the message has the end of its log.
    """
    name = job["metadata"]["name"]
    cluster.create(job)
    progress.say(f"job {NAMESPACE}/{name} restores; it goes on where this command is stopped")
    if finished(cluster, NAMESPACE, name, patience_seconds=_RESTORE_SECONDS, progress=progress) == "Failed":
        end = "\n".join(cluster.logs(NAMESPACE, name).strip().splitlines()[-8:])
        raise RefusedError(
            f"job {name} failed:\n{end}\nDrop what it made, or take another suffix: it is not repeated by itself."
        )


def counted(cluster: Cluster, backup: str, suffix: str, progress: Progress) -> None:
    """Have the drill's program compare the restored collections with the living ones, and keep them.

    Raises:
        RefusedError: Something is not as it must be.
    """
    namespace, cronjob = JOBS["vectors"]
    try:
        template = cluster.get(namespace, "cronjob", cronjob)
    except StackError:
        console.complain("drills of the vector database are off: counts were not compared (platform.drills.vectors)")
        return
    told = {"SUFFIX": suffix, "KEEP": backup}
    job = job_of(template, named(f"{CRONJOB}-check"), told, without=("clean", "restore"))
    name = job["metadata"]["name"]
    cluster.create(job)
    try:
        finished(cluster, namespace, name, patience_seconds=_RESTORE_SECONDS, progress=progress)
        said = cluster.logs(namespace, name, "compare")
    finally:
        cluster.delete(namespace, "job", name)
    failed: list[str] = []
    for check in record_in(said)["checks"]:
        mark = "as it must be" if check["passed"] else "WRONG"
        console.output().print(f"{mark}: {check['name']}: {check['detail']}", markup=False)
        failed += [] if check["passed"] else [check["name"]]
    if failed:
        raise RefusedError(f"restored, but not as it was: {', '.join(failed)}; the living collections are untouched")


def record_in(said: str) -> dict[str, Any]:
    """The record that a drill's program prints.

    Raises:
        RefusedError: It printed none.
    """
    for line in reversed(said.strip().splitlines()):
        if line.startswith('{"drill"'):
            return json.loads(line)
    raise RefusedError(f"nothing was compared; the pod said: {said.strip()[-400:] or 'nothing'}")


def _list(known: list[str]) -> None:
    if not known:
        raise RefusedError("there is no backup")
    for name in known:
        console.output().print(name, markup=False)


def _switch(suffix: str) -> str:
    return (
        "The living collections are untouched. To serve a restored one, give it the alias that clients ask for:\n"
        f"  MilvusClient(...).alter_alias(collection_name='<collection>{suffix}', alias='<alias>')\n"
        "and drop the other when nobody needs it. A retrieval's alias is its name (docs/retrieval.md)."
    )
