"""Leftovers in a project of Google Cloud, by the label ``stack`` and by what GKE writes on what it makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, cast

from ops.leftovers.model import Leftover, Proof, Unseen, proof
from ops.leftovers.record import Record
from ops.preflight.gcp.account import Account, GoogleError
from ops.preflight.model import UnansweredError

_COMPUTE: Final = "https://compute.googleapis.com/compute/v1/projects"
_STORAGE: Final = "https://storage.googleapis.com/storage/v1"
_SECRETS: Final = "https://secretmanager.googleapis.com/v1/projects"
_SQL: Final = "https://sqladmin.googleapis.com/v1/projects"
_CONTAINER: Final = "https://container.googleapis.com/v1/projects"

Finder = Callable[[Account, Record], Iterator[Leftover]]


def _compute(collection: str, kind: str, command: str, *, fate: str = "safe") -> Finder:
    """A kind of Compute Engine's, in all zones and regions."""

    def find(account: Account, record: Record) -> Iterator[Leftover]:
        url = f"{_COMPUTE}/{record.account}/aggregated/{collection}"
        for place, one in _aggregated(account, url, collection):
            if made_by := _maker(record, one):
                name = str(one["name"])
                where = place.rpartition("/")[2]
                scope = "--global" if where == "global" else f"--{place.partition('/')[0][:-1]} {where}"
                yield Leftover(
                    kind=kind,
                    name=name,
                    region=where,
                    made_by=made_by,
                    command=f"gcloud compute {command} delete {name} {scope} --project {record.account}",
                    fate="data" if fate == "data" else "safe",
                )

    return find


def _maker(record: Record, one: Mapping[str, Any]) -> str:
    """What made it, if it was of this stack: its label, GKE's label, or GKE's note in the description."""
    labels: Mapping[str, str] = one.get("labels") or {}
    owner = labels.get("stack")
    if owner is not None:
        return "this stack, by its label" if owner == record.prefix else ""
    if str(one.get("id", "")) in record.ids or str(one.get("selfLink", "")) in record.ids:
        return "the engine, which no longer knows it"
    if record.cluster and labels.get("goog-k8s-cluster-name") == record.cluster:
        return "GKE, for the cluster"
    # Forwarding rules and disks of older GKE carry JSON in their description and no label.
    if "kubernetes.io" in str(one.get("description", "")) and one.get("name") in record.volumes:
        return "GKE, for the cluster"
    if any(str(one.get("name")) == handle.rpartition("/")[2] for handle in record.volumes):
        return "the volume driver, for a volume of the cluster"
    return ""


def _aggregated(account: Account, url: str, collection: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    token = ""
    while True:
        page = account.get(url, **({"pageToken": token} if token else {}))
        for place, held in cast("Mapping[str, Mapping[str, Any]]", page.get("items") or {}).items():
            for one in held.get(collection) or ():
                yield place, one
        token = str(page.get("nextPageToken") or "")
        if not token:
            return


def _buckets(account: Account, record: Record) -> Iterator[Leftover]:
    for one in _pages(account, f"{_STORAGE}/b", "items", project=record.account):
        if made_by := _maker(record, one):
            command = f"gcloud storage rm --recursive --all-versions gs://{one['name']}"
            yield _leftover("bucket", one["name"], one.get("location", ""), made_by, command, data=True)


def _secrets(account: Account, record: Record) -> Iterator[Leftover]:
    for one in _pages(account, f"{_SECRETS}/{record.account}/secrets", "secrets"):
        if made_by := _maker(record, one):
            name = str(one["name"]).rpartition("/")[2]
            command = f"gcloud secrets delete {name} --project {record.account}"
            yield _leftover("secret", name, "", made_by, command, data=True)


def _databases(account: Account, record: Record) -> Iterator[Leftover]:
    for one in _pages(account, f"{_SQL}/{record.account}/instances", "items"):
        if _maker(record, {**one, "labels": cast("Mapping[str, Any]", one.get("settings") or {}).get("userLabels")}):
            command = f"gcloud sql instances delete {one['name']} --project {record.account}"
            yield _leftover(
                "database", one["name"], one.get("region", ""), "this stack, by its label", command, data=True
            )


def _clusters(account: Account, record: Record) -> Iterator[Leftover]:
    answer = account.get(f"{_CONTAINER}/{record.account}/locations/-/clusters")
    for one in answer.get("clusters") or ():
        if _maker(record, {**one, "labels": one.get("resourceLabels") or {}}):
            where = str(one.get("location", ""))
            command = f"gcloud container clusters delete {one['name']} --location {where} --project {record.account}"
            yield _leftover("cluster", one["name"], where, "this stack, by its label", command, data=True)


def _leftover(kind: str, name: Any, region: Any, made_by: str, command: str, *, data: bool) -> Leftover:
    fate = "data" if data else "safe"
    return Leftover(kind=kind, name=str(name), region=str(region), made_by=made_by, command=command, fate=fate)


def _pages(account: Account, url: str, key: str, **parameters: str) -> Iterator[Mapping[str, Any]]:
    token = ""
    while True:
        page = account.get(url, **parameters, **({"pageToken": token} if token else {}))
        yield from page.get(key) or ()
        token = str(page.get("nextPageToken") or "")
        if not token:
            return


FINDERS: Final[Mapping[str, Finder]] = {
    "forwarding rules": _compute("forwardingRules", "forwarding rule", "forwarding-rules"),
    "backend services": _compute("backendServices", "backend service", "backend-services"),
    "addresses": _compute("addresses", "address", "addresses"),
    "machines": _compute("instances", "instance", "instances"),
    "disks": _compute("disks", "volume", "disks", fate="data"),
    "buckets": _buckets,
    "secrets": _secrets,
    "databases": _databases,
    "clusters": _clusters,
}
"""Not asked for: firewall rules, network endpoint groups, snapshots, routes, which have no labels or none of GKE's."""


def search(account: Account, record: Record) -> Proof:
    """Ask for every kind; an API that is off has nothing, a question that is refused is told."""
    found: list[Leftover] = []
    # The label is not on everything that GKE makes: what has none is never proven gone.
    unseen = [Unseen(what="firewall rules, endpoint groups and snapshots", why="they carry no label of the stack")]
    for what, finder in FINDERS.items():
        try:
            found += finder(account, record)
        except UnansweredError as error:
            if not (isinstance(error, GoogleError) and error.api_off):
                unseen.append(Unseen(what=what, why=str(error)))
    return proof(found, unseen)
