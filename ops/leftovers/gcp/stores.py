"""What holds data: buckets, databases and their backups, files, caches, images, secrets, logs, keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from ops.leftovers.gcp.look import UNIQUE, Look, last
from ops.leftovers.model import Fate, Leftover

_STORAGE: Final = "https://storage.googleapis.com/storage/v1"
_SECRETS: Final = "https://secretmanager.googleapis.com/v1/projects"
_SQL: Final = "https://sqladmin.googleapis.com/v1/projects"
_CONTAINER: Final = "https://container.googleapis.com/v1/projects"
_FILES: Final = "https://file.googleapis.com/v1/projects"
_REDIS: Final = "https://redis.googleapis.com/v1/projects"
_IMAGES: Final = "https://artifactregistry.googleapis.com/v1/projects"
_LOGS: Final = "https://logging.googleapis.com/v2/projects"
_KMS: Final = "https://cloudkms.googleapis.com/v1/projects"

_SOME_BACKUPS: Final = ("ENQUEUED", "DELETING")  # not there yet, or no more
_PLACE_OF: Final = 3  # of projects/<project>/locations/<place>/…


def clusters(look: Look) -> Iterator[Leftover]:
    """Clusters; they take their nodes and volumes' disks along, but not their load balancers."""
    answer = look.get(f"{_CONTAINER}/{look.project}/locations/-/clusters")
    for one in answer.get("clusters") or ():
        named = one.get("name") == look.record.cluster
        labels: Mapping[str, str] = one.get("resourceLabels") or {}
        made_by = look.maker(one, labels) or ("this stack, by its name" if named and "stack" not in labels else "")
        if made_by:
            where = str(one.get("location", ""))
            command = f"gcloud container clusters delete {one['name']} --location {where}"
            yield look.found("cluster", str(one["name"]), made_by, command, region=where, fate="data")


def buckets(look: Look) -> Iterator[Leftover]:
    """Buckets, with every version in them."""
    for one in look.pages(f"{_STORAGE}/b", "items", project=look.project):
        if made_by := look.maker(one):
            command = f"gcloud storage rm --recursive --all-versions gs://{one['name']}"
            where = str(one.get("location", "")).lower()
            yield look.found("bucket", str(one["name"]), made_by, command, region=where, fate="data")


def secrets(look: Look) -> Iterator[Leftover]:
    """Entries of Secret Manager; they have no recovery window."""
    for one in look.pages(f"{_SECRETS}/{look.project}/secrets", "secrets"):
        if made_by := look.maker(one):
            name = last(str(one["name"]))
            yield look.found("secret", name, made_by, f"gcloud secrets delete {name}", fate="data")


def databases(look: Look) -> Iterator[Leftover]:
    """Servers of Cloud SQL."""
    for one in look.pages(f"{_SQL}/{look.project}/instances", "items"):
        settings = cast("Mapping[str, Any]", one.get("settings") or {})
        if made_by := look.maker(one, settings.get("userLabels") or {}):
            name, where = str(one["name"]), str(one.get("region", ""))
            refuses = settings.get("deletionProtectionEnabled")
            lift = f"gcloud sql instances patch {name} --no-deletion-protection"
            yield look.found(
                "database",
                name,
                made_by,
                f"gcloud sql instances delete {name}",
                region=where,
                fate="data",
                note=f"protected; first {lift} --project {look.project}" if refuses else "",
            )


def database_backups(look: Look) -> Iterator[Leftover]:
    """Backups that outlive their server: automated ones go at a date, those made by hand and final ones stay."""
    for one in look.pages(f"{_SQL}/{look.project}/backups", "backups"):
        server = last(str(one.get("instance", "")))
        ours = look.maker(one) or ("the server's name" if look.named(server, f"-postgres{UNIQUE}") else "")
        if not ours or one.get("state") in _SOME_BACKUPS:
            continue
        name, expires = last(str(one["name"])), str(one.get("expiryTime") or "")
        fate: Fate = "waits" if one.get("type") == "AUTOMATED" and expires else "data"
        yield look.found(
            "automated backup" if one.get("type") == "AUTOMATED" else "database snapshot",
            name,
            f"Cloud SQL, of {server}",
            f"gcloud sql backups delete {name}",
            region=str(one.get("location", "")),
            fate=fate,
            note=f"goes at {expires}" if expires else "",
        )


def _located(url: str, key: str, kind: str, command: str, fate: Fate, flag: str = "region") -> Any:
    def find(look: Look) -> Iterator[Leftover]:
        for one in look.pages(f"{url}/{look.project}/locations/-/{key}", key):
            if made_by := look.maker(one):
                name, where = last(str(one["name"])), str(one["name"]).split("/")[_PLACE_OF]
                yield look.found(
                    kind, name, made_by, f"gcloud {command} delete {name} --{flag} {where}", region=where, fate=fate
                )

    return find


files = _located(_FILES, "instances", "file system", "filestore instances", "data", "location")
file_backups = _located(_FILES, "backups", "file backup", "filestore backups", "data")
caches = _located(_REDIS, "instances", "cache", "redis instances", "safe")


def repositories(look: Look) -> Iterator[Leftover]:
    """Repositories of images; they are asked for in each place, the API has no answer for all."""
    for place in look.record.regions:
        for one in look.pages(f"{_IMAGES}/{look.project}/locations/{place}/repositories", "repositories"):
            if made_by := look.maker(one):
                name = last(str(one["name"]))
                command = f"gcloud artifacts repositories delete {name} --location {place}"
                yield look.found("repository", name, made_by, command, region=place, fate="data")


def log_buckets(look: Look) -> Iterator[Leftover]:
    """Buckets of Cloud Logging: a deleted one is there for seven days more."""
    for one in look.pages(f"{_LOGS}/{look.project}/locations/-/buckets", "buckets"):
        name, where = last(str(one["name"])), str(one["name"]).split("/")[_PLACE_OF]
        made_by = look.maker(one) or ("this stack, by its name" if look.named(name, f"-cluster{UNIQUE}") else "")
        if not made_by:
            continue
        deleted = one.get("lifecycleState") == "DELETE_REQUESTED"
        yield look.found(
            "log group",
            name,
            made_by,
            f"gcloud logging buckets delete {name} --location {where}",
            region=where,
            fate="waits" if deleted else "data",
            note="deleted; it is gone after seven days" if deleted else "",
        )


# States of a key's version: what still decrypts, what goes by itself; the rest is gone, and what is left is a name.
_OPEN: Final = ("ENABLED", "DISABLED", "PENDING_GENERATION")
_GOING: Final = "DESTROY_SCHEDULED"


def keys(look: Look) -> Iterator[Leftover]:
    """Key versions that still decrypt, or wait for their destruction; mere names of keys and rings are not told."""
    continents = {"us", "europe", "asia"}
    for place in sorted({*look.record.regions, *continents}):
        for ring in look.pages(f"{_KMS}/{look.project}/locations/{place}/keyRings", "keyRings"):
            known = look.maker(ring) or look.named(last(str(ring["name"])), UNIQUE)
            if not known:
                continue
            base = f"https://cloudkms.googleapis.com/v1/{ring['name']}/cryptoKeys"
            for key in look.pages(base, "cryptoKeys"):
                yield from _versions(look, key, place)


def _versions(look: Look, key: Mapping[str, Any], place: str) -> Iterator[Leftover]:
    versions = list(
        look.pages(f"https://cloudkms.googleapis.com/v1/{key['name']}/cryptoKeyVersions", "cryptoKeyVersions")
    )
    ring, _, name = str(key["name"]).partition("/cryptoKeys/")
    title = f"{last(ring)}/{name}"
    going = sorted(str(one.get("destroyTime", "")) for one in versions if one.get("state") == _GOING)
    command = f"gcloud kms keys versions destroy {{}} --key {name} --keyring {last(ring)} --location {place}"
    if opened := [last(str(one["name"])) for one in versions if one.get("state") in _OPEN]:
        yield look.found(
            "key",
            title,
            "this stack, by its key ring",
            command.format(opened[0]),
            region=place,
            fate="data",
            note=f"versions {', '.join(opened)} still decrypt; the key and its ring keep their names",
        )
    elif going:
        yield look.found(
            "key",
            title,
            "this stack, by its key ring",
            command.format("VERSION").replace("destroy", "restore"),
            region=place,
            fate="waits",
            note=f"its versions are destroyed by {going[-1]}; the command brings one back",
        )
