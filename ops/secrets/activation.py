"""A value that is in the store already, brought to those who use it: Secrets, servers, readers, in this order."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from ops.jobs import outcome
from ops.keys.way import forwarded
from ops.secrets import accounts
from ops.secrets.accounts import Account
from ops.secrets.how import How, System
from ops.secrets.readers import Cluster, Document, Synced, Workload, again
from ops.stack import StackError, kubectl, secret_of

_SYNC_SECONDS: Final = 180
_PAUSE_SECONDS: Final = 2.0
_JOB_SECONDS: Final = 1200
_ROLL_OUT_SECONDS: Final = 1800

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class _Server:
    """Where a system answers in the cluster, and how it is asked."""

    namespace: str
    service: str
    port: int
    change: Callable[[Account, str], None]
    lets_in: Callable[[Account], bool]


_SERVERS: Final[Mapping[System, _Server]] = {
    "mlflow": _Server(
        namespace="mlops-system", service="mlflow", port=5000, change=accounts.mlflow, lets_in=accounts.mlflow_lets_in
    ),
    "grafana": _Server(
        namespace="monitoring", service="grafana", port=80, change=accounts.grafana, lets_in=accounts.grafana_lets_in
    ),
    "milvus": _Server(
        namespace="mlops-data", service="milvus", port=19530, change=accounts.milvus, lets_in=accounts.milvus_lets_in
    ),
}


@dataclass(frozen=True, kw_only=True)
class Activation:
    """What is to be done in the cluster.

    Attributes:
        purpose: The credential.
        how: The way of it.
        secrets: Secrets that hold it.
        jobs: Jobs that bring it to a server.
        readers: Who starts anew, in this order.
    """

    purpose: str
    how: How
    secrets: tuple[Synced, ...]
    jobs: tuple[Document, ...]
    readers: tuple[Workload, ...]

    def steps(self) -> Iterator[str]:
        """A line for each thing that is done."""
        if self.how.system:
            yield f"ask {self.how.system} to change the password, with the old one"
        for one in self.secrets:
            yield f"refresh Secret {one.namespace}/{one.name}"
        for job in self.jobs:
            yield f"run job {job['metadata']['namespace']}/{job['metadata']['name']} again"
        for reader in self.readers:
            yield f"restart {reader}, and wait for it"


def planned(purpose: str, how: How, key: str, cluster: Cluster) -> Activation:
    """What a value of a purpose asks for, in a cluster as it is.

    Raises:
        StackError: A server would not hear of the value: nothing must then be given to its readers.
    """
    secrets = cluster.synced(key)
    jobs = cluster.errands(secrets, how.jobs)
    if how.jobs and secrets and not jobs:
        raise StackError(f"{purpose}: no job {' or '.join(how.jobs)} is there to be run again; `pulumi up` makes it")
    readers = cluster.readers(secrets) if how.restart else []
    return Activation(purpose=purpose, how=how, secrets=tuple(secrets), jobs=tuple(jobs), readers=tuple(readers))


def activate(wanted: Activation, value: Mapping[str, str], kubeconfig: Path, say: Say) -> None:
    """Do it; doing it again changes nothing but restarts readers once more.

    Args:
        wanted: What is to be done.
        value: What the store has.
        kubeconfig: The way to the cluster.
        say: Hears of progress.

    Raises:
        StackError: Something did not go as it should; what is done stays done, and the message says what is not.
    """
    if wanted.how.system:
        say(f"{wanted.how.system} changes the password")
        _change(wanted.how.system, wanted.secrets, value, kubeconfig)
    for one in wanted.secrets:
        say(f"Secret {one.namespace}/{one.name} is refreshed")
        _refresh(one, value, kubeconfig)
    for job in wanted.jobs:
        say(f"job {job['metadata']['name']} runs again")
        _run(again(job), kubeconfig)
    for reader in wanted.readers:
        say(f"{reader} restarts")
        _restart(reader, kubeconfig)


def _change(system: System, secrets: tuple[Synced, ...], value: Mapping[str, str], kubeconfig: Path) -> None:
    server = _SERVERS[system]
    with forwarded(kubeconfig, server.namespace, server.service, server.port) as url:
        if server.lets_in(Account(url=url, username=value["username"], password=value["password"])):
            return None
        for one in secrets:
            keys, there = dict(one.properties), secret_of(kubeconfig, one.namespace, one.name)
            if {"username", "password"} - set(keys):
                continue
            old = Account(url=url, username=there[keys["username"]], password=there[keys["password"]])
            if server.lets_in(old):
                return server.change(old, value["password"])
    raise StackError(
        f"{system} takes neither the new password nor the one that the cluster had; docs/credentials.md says "
        "how it is set without either"
    )


def _refresh(one: Synced, value: Mapping[str, str], kubeconfig: Path) -> None:
    """Have External Secrets read the store now, and wait until the Secret has what is there."""
    before = _refreshed(one, kubeconfig)
    now = f"force-sync={time.time_ns()}"
    kubectl(kubeconfig, ["-n", one.namespace, "annotate", "externalsecret", one.source, now, "--overwrite"])
    deadline = time.monotonic() + _SYNC_SECONDS
    while time.monotonic() < deadline:
        if one.templated:  # what is in the Secret is made of the value
            if _refreshed(one, kubeconfig) != before:
                return
        else:
            there = secret_of(kubeconfig, one.namespace, one.name)
            if all(there.get(key) == value.get(named) for named, key in one.properties):
                return
        time.sleep(_PAUSE_SECONDS)
    raise StackError(
        f"Secret {one.namespace}/{one.name} does not get the new value within {_SYNC_SECONDS} s; "
        f"kubectl -n {one.namespace} describe externalsecret {one.source} says why"
    )


def _refreshed(one: Synced, kubeconfig: Path) -> str:
    found: Any = json.loads(
        kubectl(kubeconfig, ["-n", one.namespace, "get", "externalsecret", one.source, "-o", "json"])
    )
    status = cast("Document", found.get("status") or {})
    # The time is in seconds; the version changes with what we have just annotated, within the same second too.
    return f"{status.get('refreshTime', '')} {status.get('syncedResourceVersion', '')}"


def _run(job: Document, kubeconfig: Path) -> None:
    namespace = job["metadata"]["namespace"]
    made: Any = json.loads(kubectl(kubeconfig, ["create", "-f", "-", "-o", "json"], given=json.dumps(job)))
    name = str(made["metadata"]["name"])
    deadline = time.monotonic() + _JOB_SECONDS
    while time.monotonic() < deadline:
        found: Any = json.loads(kubectl(kubeconfig, ["-n", namespace, "get", "job", name, "-o", "json"]))
        end = outcome(found)
        if end == "Complete":
            return
        if end == "Failed":
            break
        time.sleep(_PAUSE_SECONDS)
    raise StackError(
        f"job {namespace}/{name} did not do it, and no reader was restarted; kubectl -n {namespace} logs job/{name} "
        "says why. Then run this command again"
    )


def _restart(reader: Workload, kubeconfig: Path) -> None:
    what = [f"{reader.kind}/{reader.name}"]
    kubectl(kubeconfig, ["-n", reader.namespace, "rollout", "restart", *what])
    kubectl(kubeconfig, ["-n", reader.namespace, "rollout", "status", *what, f"--timeout={_ROLL_OUT_SECONDS}s"])
