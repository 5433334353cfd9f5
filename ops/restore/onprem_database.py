"""``ops restore database`` where the server runs in the cluster: a second one, recovered from the first one's log."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from ops import console
from ops.jobs import Cluster
from ops.progress import Progress, until
from ops.refusals import RefusedError
from ops.restore.rds import Moment
from ops.stack import Stack

TYPE: Final = "kubernetes:postgresql.cnpg.io/v1:Cluster"
KIND: Final = "clusters.postgresql.cnpg.io"
BACKUPS: Final = "backups.postgresql.cnpg.io"

_ORIGIN: Final = "origin"
_MAX_NAME: Final = 50  # the operator's own limit of a Cluster's name
_NAME: Final = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
_PATIENCE_SECONDS: Final = 4 * 3600.0
_SHOWN: Final = 10


@dataclass(frozen=True)
class Declared:
    """The stack's database, as the state has it: so it is known although it is gone.

    Attributes:
        name: Name of the Cluster.
        namespace: Where it is.
        spec: Its specification.
    """

    name: str
    namespace: str
    spec: Mapping[str, Any] = field(repr=False)

    @property
    def archive(self) -> Mapping[str, Any]:
        """Where it archives to, in full.

        Raises:
            RefusedError: It archives to nowhere.
        """
        store: Mapping[str, Any] = self.spec.get("backup", {}).get("barmanObjectStore") or {}
        if not store:
            raise RefusedError(f"{self.namespace}/{self.name} archives to no object store: nothing can be recovered")
        return {"serverName": self.name, **store}


@dataclass(frozen=True)
class Backup:
    """One base backup.

    Attributes:
        name: Name of the Backup in the cluster.
        id: Name in the archive.
        ended: When it was complete.
    """

    name: str
    id: str
    ended: datetime


def database_of(state: Mapping[str, Any]) -> Declared | None:
    """The database in a stack's state, where it is one in the cluster; none where a cloud runs it."""
    resources = state.get("deployment", state).get("resources", ())
    for one in resources:
        if one["type"] == TYPE and not one.get("delete"):
            inputs: Mapping[str, Any] = one.get("inputs", {})
            return Declared(inputs["metadata"]["name"], inputs["metadata"]["namespace"], inputs["spec"])
    return None


def backups(cluster: Cluster, declared: Declared) -> list[Backup]:
    """Base backups that are complete and that the cluster knows of, oldest first."""
    found: list[Backup] = []
    for one in cluster.all(declared.namespace, BACKUPS):
        status: Mapping[str, Any] = one.get("status", {})
        if one["spec"]["cluster"]["name"] != declared.name or status.get("phase") != "completed":
            continue
        found.append(Backup(one["metadata"]["name"], status["backupId"], datetime.fromisoformat(status["stoppedAt"])))
    return sorted(found, key=lambda backup: backup.ended)


def target_name(declared: Declared, moment: Moment, now: datetime | None = None) -> str:
    """Name of the second server; a run that is repeated for the same moment finds the server of the first."""
    when = moment.snapshot or f"at-{(moment.at or now or datetime.now(UTC)).astimezone(UTC):%Y%m%d-%H%M}"
    return f"{declared.name}-{when.removeprefix(f'{declared.name}-')}"[:_MAX_NAME].rstrip("-")


def recovery(declared: Declared, moment: Moment, target: str, known: list[Backup]) -> dict[str, Any]:
    """The Cluster that is recovered: one server, beside the other, which archives nowhere.

    Raises:
        RefusedError: The moment is before the oldest backup, the backup is not there, or the name cannot be used.
    """
    if target == declared.name or len(target) > _MAX_NAME or not _NAME.fullmatch(target):
        raise RefusedError(
            f"--as {target}: another name than {declared.name}, of at most {_MAX_NAME} lower-case letters, digits, '-'"
        )
    spec: dict[str, Any] = copy.deepcopy(dict(declared.spec))
    # Two servers that write into one archive spoil it. The certificate names the other server's addresses.
    for key in ("backup", "certificates"):
        spec.pop(key, None)
    spec.get("postgresql", {}).pop("synchronous", None)  # one server waits for nobody
    before: dict[str, Any] = spec.get("bootstrap", {}).get("initdb") or spec.get("bootstrap", {}).get("recovery") or {}
    owner = {key: before[key] for key in ("database", "owner", "secret") if key in before}
    spec |= {
        "instances": 1,
        "enablePDB": False,
        "bootstrap": {"recovery": {"source": _ORIGIN, **owner, **_target(declared, moment, known)}},
        "externalClusters": [{"name": _ORIGIN, "barmanObjectStore": dict(declared.archive)}],
    }
    return {
        "apiVersion": "postgresql.cnpg.io/v1",
        "kind": "Cluster",
        "metadata": {
            "name": target,
            "namespace": declared.namespace,
            "annotations": {"llmops/recovered-from": declared.name, "llmops/recovered-to": moment.words},
        },
        "spec": spec,
    }


def _target(declared: Declared, moment: Moment, known: list[Backup]) -> dict[str, Any]:
    """How far the log is read on; nothing for its end."""
    if moment.snapshot:
        chosen = next((one for one in known if moment.snapshot in (one.name, one.id)), None)
        if chosen is None:
            names = ", ".join(one.name for one in known[-_SHOWN:]) or "none"
            raise RefusedError(f"{declared.name} has no backup {moment.snapshot} that is complete; there are {names}")
        return {"recoveryTarget": {"backupID": chosen.id, "targetImmediate": True}}
    if moment.at is None:
        return {}
    if known and moment.at < known[0].ended:
        raise RefusedError(
            f"{moment.at.isoformat()} is before the oldest backup, which was complete at {known[0].ended.isoformat()}"
        )
    if moment.at > datetime.now(UTC):
        raise RefusedError(f"{moment.at.isoformat()} is still to come")
    return {"recoveryTarget": {"targetTime": moment.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}}


def next_steps(declared: Declared, target: str) -> list[str]:
    """What a person does with the recovered server; the stack's own one has not been touched."""
    of = f"kubectl -n {declared.namespace}"
    leader = f"{of} get pod -l cnpg.io/cluster={declared.name},cnpg.io/instanceRole=primary -o name"
    new = f"{of} exec -i {target}-1 -c postgres --"
    return [
        f"{new} psql -c '\\l+'",
        "# for each database that must go back, with its clients stopped (it is emptied and loaded anew):",
        f"LEADER=$({leader})",
        f"{new} pg_dump -Fc NAME | {of} exec -i $LEADER -c postgres -- pg_restore --clean --if-exists -d NAME",
        "# when it is no longer needed:",
        f"{of} delete {KIND} {target}",
    ]


def restore(
    stack: str,
    declared: Declared,
    moment: Moment,
    called: str,
    *,
    sandbox: bool,
    json_output: bool,
    yes: bool,
) -> None:
    """Show the backups and the recovery, or carry it out with ``yes``.

    Raises:
        RefusedError: It cannot be done.
        StackError: The cluster cannot be asked, or refuses.
        PatienceError: The server is not ready in time; running it again goes on waiting.
    """
    with Stack.read(stack, sandbox=sandbox).kubeconfig() as path:
        cluster, progress = Cluster(path), Progress()
        known = backups(cluster, declared)
        target = called or target_name(declared, moment)
        manifest = recovery(declared, moment, target, known)
        there = target in {one["metadata"]["name"] for one in cluster.all(declared.namespace, KIND)}
        facts: dict[str, Any] = {
            "from": f"{declared.namespace}/{declared.name}",
            "what": moment.words,
            "into": target,
            "exists": there,
            "archive": declared.archive.get("destinationPath", ""),
            "backups": [{"name": one.name, "id": one.id, "complete": one.ended.isoformat()} for one in known],
        }
        if not yes:
            _show_plan(facts, manifest, json_output=json_output)
            return
        if there:
            progress.say(f"{target} is there already: going on with it")
        else:
            progress.say(f"recovering {moment.words} of {declared.name} into {target}")
            cluster.create(manifest)
        until(
            lambda: ready(cluster, declared.namespace, target, progress),
            what=f"recovery into {target}",
            patience_seconds=_PATIENCE_SECONDS,
            pause_seconds=cluster.pause_seconds,
        )
        steps = next_steps(declared, target)
        if json_output:
            console.print_json({**facts, "seconds": round(progress.seconds), "steps": steps})
            return
        out = console.output()
        out.print(f"{target} is ready, with one server; nothing of the stack has changed. Next:", markup=False)
        out.print("\n".join(f"  {step}" for step in steps), markup=False, soft_wrap=True)


def ready(cluster: Cluster, namespace: str, target: str, progress: Progress) -> bool | None:
    """Whether the server takes connections; none while it does not yet."""
    status: Mapping[str, Any] = cluster.get(namespace, KIND, target).get("status", {})
    progress.say(f"{target}: {status.get('phase', 'waiting for the operator')}")
    conditions = {one["type"]: one["status"] for one in status.get("conditions", ())}
    return True if conditions.get("Ready") == "True" else None


def _show_plan(facts: Mapping[str, Any], manifest: Mapping[str, Any], *, json_output: bool) -> None:
    if json_output:
        console.print_json({**facts, "manifest": manifest})
        return
    import yaml  # noqa: PLC0415 only a plan for people prints it

    out = console.output()
    out.print(
        f"would recover {facts['what']} of {facts['from']} from {facts['archive']} into a second Cluster, "
        f"{facts['into']}{' (which is there already)' if facts['exists'] else ''}",
        markup=False,
    )
    for one in facts["backups"][-_SHOWN:]:
        out.print(f"  backup {one['name']}  {one['complete']}", markup=False)
    if not facts["backups"]:
        out.print("  the cluster knows of no backup; what the archive holds is seen when it is read", markup=False)
    out.print(yaml.safe_dump(manifest, sort_keys=False), markup=False, soft_wrap=True)
    out.print("--yes does it; nothing of the stack changes", markup=False)
