"""What Google Cloud refuses because of what else exists: dependants, protection, grants and names that are spent."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from sandbox.gcp.identifiers import bare, is_grant, last
from sandbox.store import Record, Store
from sandbox.values import Properties, is_list, is_object

_CONNECTION: Final = "gcp:servicenetworking/connection:Connection"
_NODE_POOL: Final = "gcp:container/nodePool:NodePool"
_SQL: Final = "gcp:sql/databaseInstance:DatabaseInstance"
_REDIS: Final = "gcp:redis/instance:Instance"
_FILES: Final = "gcp:filestore/instance:Instance"
_BUCKET: Final = "gcp:storage/bucket:Bucket"
_OBJECT: Final = "gcp:storage/bucketObject:BucketObject"
_CLUSTER: Final = "gcp:container/cluster:Cluster"

# Names that are not given twice; the sources are the services' pages on deleting.
_SPENT: Final[Mapping[str, str]] = {
    "gcp:kms/keyRing:KeyRing": "key rings are never deleted, nor are their names free; import it or take another name",
    "gcp:kms/cryptoKey:CryptoKey": "keys are never deleted, only their versions; take another name",
    "gcp:logging/projectBucketConfig:ProjectBucketConfig": "a deleted bucket of logs keeps its name for seven days",
    _SQL: "the name of a deleted instance is taken for a week; take another name",
}

# Where a resource names its key, and the account of the service that must be allowed to use it before.
_KEYS: Final[Mapping[str, tuple[str, str]]] = {
    "gcp:artifactregistry/repository:Repository": ("kmsKeyName", "gcp-sa-artifactregistry"),
    "gcp:container/cluster:Cluster": ("databaseEncryption.keyName", "container-engine-robot"),
    _NODE_POOL: ("nodeConfig.bootDiskKmsKey", "compute-system"),
    _FILES: ("kmsKeyName", "cloud-filer"),
    "gcp:logging/projectBucketConfig:ProjectBucketConfig": ("cmekSettings.kmsKeyName", "gcp-sa-logging"),
    _REDIS: ("customerManagedKey", "cloud-redis"),
    "gcp:secretmanager/secret:Secret": (
        "replication.userManaged.replicas.customerManagedEncryption.kmsKeyName",
        "gcp-sa-secretmanager",
    ),
    _SQL: ("encryptionKeyName", "gcp-sa-cloud-sql"),
    _BUCKET: ("encryption.defaultKmsKeyName", "gs-project-accounts"),
}
_USES_KEYS: Final = "roles/cloudkms.cryptoKeyEncrypterDecrypter"


def spent_by(type_token: str) -> str | None:
    """Return why names of this type cannot be had again once deleted; None where they can."""
    return _SPENT.get(type_token)


def refusal_to_create(type_token: str, resource_id: str, inputs: Properties, store: Store) -> str | None:
    """Return Google Cloud's reason not to create, or None."""
    if reason := store.why_spent(type_token, resource_id):
        return f"{resource_id}: {reason}"
    if network := _private_network(type_token, inputs):
        joined = {last(str(record.inputs["network"])) for record in store.records(_CONNECTION)}
        if last(network) not in joined:
            return (
                f"the network {last(network)} has no private services connection; "
                "create servicenetworking.Connection first"
            )
    path, agent = _KEYS.get(type_token, ("", ""))
    for key in _texts(inputs, path) if path else ():
        if not _may_use(store, key, agent):
            return (
                f"the service account of the service (…@{agent}…) may not use the key {bare(key)}; "
                f"give it {_USES_KEYS} on the key first"
            )
    return None


def _private_network(type_token: str, inputs: Properties) -> str | None:
    """The network whose private services connection the resource needs."""
    if type_token == _SQL:
        found = list(_texts(inputs, "settings.ipConfiguration.privateNetwork"))
        return found[0] if found else None
    if type_token == _REDIS and inputs.get("connectMode") == "PRIVATE_SERVICE_ACCESS":
        return str(inputs.get("authorizedNetwork") or "default")
    if type_token == _FILES:
        networks: list[Properties] = inputs.get("networks") or []
        peered = [n for n in networks if n.get("connectMode") == "PRIVATE_SERVICE_ACCESS"]
        return str(peered[0]["network"]) if peered else None
    return None


def _texts(value: Any, path: str) -> Iterator[str]:
    first, _, rest = path.partition(".")
    if is_list(value):
        for item in value:
            yield from _texts(item, path)
    elif is_object(value) and value.get(first) is not None:
        inner = value[first]
        if rest:
            yield from _texts(inner, rest)
        elif isinstance(inner, str):
            yield inner


def _may_use(store: Store, key: str, agent: str) -> bool:
    """Whether a grant on the key, its ring or the project lets a service's account use it."""
    wanted = bare(key)
    for record in store.records():
        if not is_grant(record.type) or record.inputs.get("role") != _USES_KEYS:
            continue
        members = [record.inputs.get("member"), *(record.inputs.get("members") or ())]
        if not any(f"@{agent}." in str(member) for member in members):
            continue
        subject = record.inputs.get("cryptoKeyId") or record.inputs.get("keyRingId")
        if subject is None or wanted.startswith(bare(str(subject))):
            return True
    return False


def refusal_to_delete(record: Record, records: Callable[[], list[Record]]) -> str | None:
    """Return Google Cloud's reason not to delete ``record``, or None."""
    if reason := _protected(record):
        return reason
    if record.type == _BUCKET and not record.inputs.get("forceDestroy"):
        inside = [r for r in records() if r.type == _OBJECT and r.inputs.get("bucket") == record.id]
        if inside:
            return (
                f"the bucket is not empty ({len(inside)} objects); delete them, "
                "or set forceDestroy to true and update first"
            )
    if record.type == _CONNECTION and record.inputs.get("deletionPolicy") != "ABANDON":
        network = last(str(record.inputs["network"]))
        for other in records():
            if last(_private_network(other.type, other.inputs) or "") == network:
                return f"Producer services (e.g. CloudSQL, {other.id}) are still using this connection"
    return _in_use(record, records)


# Types that are protected unless the program says otherwise: pulumi-gcp's own default.
_PROTECTED_BY_DEFAULT: Final = frozenset({_CLUSTER, _SQL})


def _protected(record: Record) -> str | None:
    inputs = record.inputs
    if inputs.get("deletionProtection", record.type in _PROTECTED_BY_DEFAULT):
        return "deletionProtection is on; set it to false and update first"
    settings = inputs.get("settings")
    inner = settings.get("deletionProtectionEnabled") if is_object(settings) else None
    if inputs.get("deletionProtectionEnabled") or inner:
        return "deletionProtectionEnabled is on; switch it off and update first"
    return None


# What Google Cloud deletes only when nothing names it any more.
_HELD: Final = frozenset(
    {
        "gcp:compute/address:Address",
        "gcp:compute/globalAddress:GlobalAddress",
        "gcp:compute/network:Network",
        "gcp:compute/router:Router",
        "gcp:compute/subnetwork:Subnetwork",
    }
)


def _in_use(record: Record, records: Callable[[], list[Record]]) -> str | None:
    if record.type == "gcp:dns/managedZone:ManagedZone" and not record.inputs.get("forceDestroy"):
        inside = [
            r
            for r in records()
            if r.type == "gcp:dns/recordSet:RecordSet" and last(str(r.inputs["managedZone"])) == last(record.id)
        ]
        return f"the zone still has {len(inside)} record sets" if inside else None
    if record.type not in _HELD:
        return None
    link = str(record.outputs.get("selfLink") or record.id)
    name = str(record.inputs.get("name"))
    for other in records():
        if other.urn == record.urn:
            continue
        text = json.dumps(other.inputs)
        if f'"{record.id}"' in text or f'"{link}"' in text or _named(record, other, name):
            urn = other.urn.rsplit("::", maxsplit=1)[-1]
            return f"resourceInUseByAnotherResource: {record.id} is already being used by {other.id} ({urn})"
    return None


# Properties that name a resource without its path.
_BY_NAME: Final[Mapping[str, tuple[str, ...]]] = {
    "gcp:compute/globalAddress:GlobalAddress": ("reservedPeeringRanges",),
    "gcp:compute/network:Network": ("network", "authorizedNetwork"),
    "gcp:compute/router:Router": ("router",),
    "gcp:compute/subnetwork:Subnetwork": ("subnetwork",),
}


def _named(record: Record, other: Record, name: str) -> bool:
    for key in _BY_NAME.get(record.type, ()):
        value = other.inputs.get(key)
        if value == name or (is_list(value) and name in value):
            return True
    return False
