"""A project of Google Cloud that answers as its APIs do, for tests of what is left in it and of its destroy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ops.leftovers.record import Record
from ops.preflight.gcp.account import decoded

PROJECT, PREFIX, REGION = "example", "llmops-gcp", "us-central1"
NETWORK = f"https://www.googleapis.com/compute/v1/projects/{PROJECT}/global/networks/{PREFIX}"
OTHERS = f"{NETWORK}-eu"
RING = f"projects/{PROJECT}/locations/{REGION}/keyRings/{PREFIX}-a1b2c3"
KEY = f"{RING}/cryptoKeys/storage"
OF_CLUSTER = {"goog-k8s-cluster-name": PREFIX}
COMPUTE = f"compute.googleapis.com/compute/v1/projects/{PROJECT}"
HASH = "0123abcd"  # of the cluster, in names of its load balancers
BALANCER = ("a" + "0123456789abcdef" * 2)[:32]  # name of a load balancer of an older controller

# Lists that the finders may ask for, as the discovery documents of the APIs have them, with the key of the answer.
LISTS: Mapping[str, str] = {
    **{
        f"{COMPUTE}/aggregated/{name}": "items"
        for name in (
            "addresses", "backendServices", "disks", "forwardingRules", "healthChecks", "instanceGroups", "instances",
            "networkEndpointGroups", "routers", "subnetworks", "targetPools",
        )
    },
    **{f"{COMPUTE}/global/{name}": "items" for name in ("firewalls", "instanceTemplates", "networks", "snapshots")},
    f"container.googleapis.com/v1/projects/{PROJECT}/locations/-/clusters": "clusters",
    "storage.googleapis.com/storage/v1/b": "items",
    f"secretmanager.googleapis.com/v1/projects/{PROJECT}/secrets": "secrets",
    f"sqladmin.googleapis.com/v1/projects/{PROJECT}/instances": "items",
    f"sqladmin.googleapis.com/v1/projects/{PROJECT}/backups": "backups",
    f"file.googleapis.com/v1/projects/{PROJECT}/locations/-/instances": "instances",
    f"file.googleapis.com/v1/projects/{PROJECT}/locations/-/backups": "backups",
    f"redis.googleapis.com/v1/projects/{PROJECT}/locations/-/instances": "instances",
    f"artifactregistry.googleapis.com/v1/projects/{PROJECT}/locations/{REGION}/repositories": "repositories",
    f"logging.googleapis.com/v2/projects/{PROJECT}/locations/-/buckets": "buckets",
    f"logging.googleapis.com/v2/projects/{PROJECT}/sinks": "sinks",
    f"monitoring.googleapis.com/v3/projects/{PROJECT}/alertPolicies": "alertPolicies",
    f"monitoring.googleapis.com/v3/projects/{PROJECT}/notificationChannels": "notificationChannels",
    f"dns.googleapis.com/dns/v1/projects/{PROJECT}/managedZones": "managedZones",
    f"dns.googleapis.com/dns/v1/projects/{PROJECT}/managedZones/example/rrsets": "rrsets",
    f"iam.googleapis.com/v1/projects/{PROJECT}/serviceAccounts": "accounts",
    f"iam.googleapis.com/v1/projects/{PROJECT}/roles": "roles",
    **{
        f"cloudkms.googleapis.com/v1/projects/{PROJECT}/locations/{place}/keyRings": "keyRings"
        for place in (REGION, "us", "europe", "asia")
    },
    f"cloudkms.googleapis.com/v1/{RING}/cryptoKeys": "cryptoKeys",
    f"cloudkms.googleapis.com/v1/{KEY}/cryptoKeyVersions": "cryptoKeyVersions",
}  # fmt: skip


class Google:
    """Google's APIs: what is planted, two things a page; a list that no API has is not found."""

    def __init__(self) -> None:
        self.held: dict[str, list[Any]] = {}
        self.refused: dict[str, tuple[int, str]] = {}

    def plant(self, end: str, *things: Mapping[str, Any], place: str = "") -> None:
        (url,) = [one for one in LISTS if one.endswith(f"/{end}") and (not place or "/aggregated/" in one)]
        self.held.setdefault(url, []).extend((place, thing) for thing in things)

    def refuse(self, end: str, reason: str) -> None:
        (url,) = [one for one in LISTS if one.endswith(f"/{end}")]
        self.refused[url] = (403, reason)

    def get(self, url: str, /, **parameters: str) -> dict[str, Any]:
        short = url.removeprefix("https://")
        if short in self.refused:
            status, reason = self.refused[short]
            error = {"code": status, "message": "no", "details": [{"reason": reason}]}
            return decoded(url, status, json.dumps({"error": error}))
        if short not in LISTS:
            return decoded(url, 404, json.dumps({"error": {"code": 404, "message": "no such method"}}))
        begin = int(parameters.get("pageToken", "0"))
        some = self.held.get(short, [])[begin : begin + 2]
        more = {"nextPageToken": str(begin + 2)} if len(self.held.get(short, [])) > begin + 2 else {}
        if "/aggregated/" not in short:
            return {LISTS[short]: [thing for _, thing in some], **more}
        kind = short.rpartition("/")[2]
        places: dict[str, Any] = {"zones/us-central1-z": {"warning": {"code": "NO_RESULTS_ON_PAGE"}}}
        for where, thing in some:
            places.setdefault(where or f"regions/{REGION}", {}).setdefault(kind, []).append(thing)
        return {"items": places, **more}

    def post(self, url: str, body: Mapping[str, Any], /) -> dict[str, Any]:
        raise AssertionError((url, body))


class Removing(Google):
    """The same, with deletions: what is held is refused until what holds it is gone."""

    def __init__(self) -> None:
        super().__init__()
        self.deleted: list[str] = []
        self.held_by: dict[str, str] = {}

    def delete(self, url: str, /) -> dict[str, Any]:
        short = url.partition(f"/projects/{PROJECT}/")[2]
        holder = self.held_by.get(short)
        if holder and holder not in self.deleted:
            errors = [{"reason": "resourceInUseByAnotherResource"}]
            return decoded(url, 400, json.dumps({"error": {"code": 400, "message": "in use", "errors": errors}}))
        if "denied" in url:
            return decoded(url, 403, json.dumps({"error": {"message": "no", "details": [{"reason": "DENIED"}]}}))
        if "gone" in url:
            return decoded(url, 404, json.dumps({"error": {"message": "not found"}}))
        self.deleted.append(short)
        return {}


def resource(type_: str, id_: str, **outputs: Any) -> dict[str, Any]:
    return {"type": type_, "id": id_, "urn": f"urn:{id_}", "custom": True, "outputs": outputs}


class Told(Google):
    """Answers single things, by the end of their URL."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        super().__init__()
        self.answers = answers

    def get(self, url: str, /, **parameters: str) -> dict[str, Any]:
        for end, answer in self.answers.items():
            if url.endswith(end):
                return answer
        return decoded(url, 404, json.dumps({"error": {"message": "not found"}}))


def record(**more: Any) -> Record:
    given: dict[str, Any] = {"regions": (REGION,), "account": PROJECT, "cluster": PREFIX, **more}
    return Record(project="llmops", stack="gcp", cloud="gcp", **given)
