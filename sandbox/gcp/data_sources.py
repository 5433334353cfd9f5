"""Answers to the data sources of Google Cloud that the program uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from sandbox.gcp.identifiers import PROJECT_NUMBER, Place
from sandbox.store import Store
from sandbox.values import UNKNOWN, Properties, has_unknown

Answer = Callable[[Place, Properties, Store], Properties]

# Regions with the zones that they have in 2026 where these are not a, b and c: Compute Engine, "Regions and zones".
_ZONES: Final[Mapping[str, str]] = {"us-central1": "abcf", "us-east1": "bcd", "europe-west1": "bcd"}
_GKE_VERSIONS: Final = ("1.35.5-gke.1000", "1.34.9-gke.1000", "1.33.12-gke.1000")


def zones_of(region: str) -> list[str]:
    """Return the zones of a region."""
    return [f"{region}-{letter}" for letter in _ZONES.get(region, "abc")]


def _client_config(place: Place, _: Properties, __: Store) -> Properties:
    return {
        "accessToken": "ya29.sandbox",
        "defaultLabels": {},
        "id": f"projects/{place.project}",
        "project": place.project,
        "region": place.region,
        "zone": place.zone,
    }


def _project(place: Place, arguments: Properties, _: Store) -> Properties:
    project = arguments.get("projectId") or place.project
    return {
        "billingAccount": "000000-000000-000000",
        "id": f"projects/{project}",
        "labels": {},
        "name": project,
        "number": PROJECT_NUMBER,
        "orgId": "",
        "folderId": "",
        "projectId": project,
    }


def _user(place: Place, _: Properties, __: Store) -> Properties:
    return {"email": f"sandbox@{place.project}.iam.gserviceaccount.com", "id": "sandbox"}


def _zones(place: Place, arguments: Properties, _: Store) -> Properties:
    region = arguments.get("region") or place.region
    return {
        "id": f"projects/{place.project}/regions/{region}",
        "names": zones_of(region),
        "project": place.project,
        "region": region,
        "status": arguments.get("status"),
    }


def _engine_versions(place: Place, arguments: Properties, _: Store) -> Properties:
    prefix = arguments.get("versionPrefix") or ""
    versions = [version for version in _GKE_VERSIONS if version.startswith(prefix)]
    newest = versions[0] if versions else ""
    return {
        "defaultClusterVersion": newest,
        "id": "sandbox",
        "latestMasterVersion": newest,
        "latestNodeVersion": newest,
        "location": arguments.get("location") or place.region,
        "project": place.project,
        "releaseChannelDefaultVersion": dict.fromkeys(("RAPID", "REGULAR", "STABLE"), newest),
        "releaseChannelLatestVersion": dict.fromkeys(("RAPID", "REGULAR", "STABLE"), newest),
        "validMasterVersions": versions,
        "validNodeVersions": versions,
        "versionPrefix": arguments.get("versionPrefix"),
    }


def _logging_keys(place: Place, arguments: Properties, _: Store) -> Properties:
    project = arguments.get("project") or place.project
    return {
        "id": f"projects/{project}/cmekSettings",
        "kmsKeyName": "",
        "kmsKeyVersionName": "",
        "name": f"projects/{PROJECT_NUMBER}/cmekSettings",
        "project": project,
        "serviceAccountId": f"cmek-p{PROJECT_NUMBER}@gcp-sa-logging.iam.gserviceaccount.com",
    }


def _storage_account(place: Place, _: Properties, __: Store) -> Properties:
    email = f"service-{PROJECT_NUMBER}@gs-project-accounts.iam.gserviceaccount.com"
    return {"emailAddress": email, "id": email, "member": f"serviceAccount:{email}", "project": place.project}


def _dns_zone(place: Place, arguments: Properties, store: Store) -> Properties:
    name = str(arguments["name"])
    for record in store.records("gcp:dns/managedZone:ManagedZone"):
        if record.inputs.get("name") == name:
            return {**record.outputs, "id": record.id}
    return {
        "description": "",
        "dnsName": f"{name}.example.",
        "id": f"projects/{place.project}/managedZones/{name}",
        "managedZoneId": "1",
        "name": name,
        "nameServers": [],
        "project": place.project,
        "visibility": "public",
    }


DATA_SOURCES: Final[Mapping[str, Answer]] = {
    "gcp:organizations/getClientConfig:getClientConfig": _client_config,
    "gcp:organizations/getClientOpenIdUserInfo:getClientOpenIdUserInfo": _user,
    "gcp:organizations/getProject:getProject": _project,
    "gcp:compute/getZones:getZones": _zones,
    "gcp:container/getEngineVersions:getEngineVersions": _engine_versions,
    "gcp:dns/getManagedZone:getManagedZone": _dns_zone,
    "gcp:logging/getProjectCmekSettings:getProjectCmekSettings": _logging_keys,
    "gcp:storage/getProjectServiceAccount:getProjectServiceAccount": _storage_account,
}


def answer(token: str, place: Place, arguments: Properties, store: Store) -> Properties | None:
    """Answer a data source; None where the sandbox does not have it. Unknown arguments make the answer unknown."""
    if token not in DATA_SOURCES:
        return None
    if has_unknown(arguments):
        known = DATA_SOURCES[token](place, {"name": "unknown"}, store)
        return dict.fromkeys(known, UNKNOWN)
    return DATA_SOURCES[token](place, arguments, store)
