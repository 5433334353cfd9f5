"""How it is decided whose something in a project is, and what a finder gets to decide it with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, cast

from ops.leftovers.model import Fate, Leftover
from ops.leftovers.record import Record
from ops.preflight.gcp.account import Account

COMPUTE: Final = "https://compute.googleapis.com/compute/v1/projects"

# Where the APIs say which key encrypts something: paths of their answers.
_KEYS: Final = (
    "kmsKeyName",  # Filestore, Artifact Registry
    "kmsKey",  # backups of Cloud SQL and Filestore
    "customerManagedKey",  # Memorystore
    "diskEncryptionKey.kmsKeyName",
    "snapshotEncryptionKey.kmsKeyName",
    "sourceDiskEncryptionKey.kmsKeyName",
    "diskEncryptionConfiguration.kmsKeyName",  # Cloud SQL
    "encryption.defaultKmsKeyName",  # Cloud Storage
    "cmekSettings.kmsKeyName",  # Cloud Logging
    "databaseEncryption.keyName",  # GKE
    "replication.userManaged.replicas.customerManagedEncryption.kmsKeyName",
)
UNIQUE: Final = "-[0-9a-f]{6}"
"""What the program adds to names that Google keeps after a deletion."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """One look at one project.

    Attributes:
        account: The account.
        record: What is known of the stack.
    """

    account: Account
    record: Record

    @property
    def project(self) -> str:
        """Id of the project."""
        return self.record.account

    @property
    def network(self) -> str:
        """The stack's network; nothing of anybody else's is in it."""
        return f"projects/{self.project}/global/networks/{self.record.prefix}"

    @cached_property
    def _ids(self) -> frozenset[str]:
        return frozenset(bare(one) for one in self.record.ids)

    @cached_property
    def _disks(self) -> frozenset[str]:
        return frozenset(handle.rpartition("/")[2] for handle in self.record.volumes)

    @cached_property
    def _ring(self) -> re.Pattern[str]:
        return re.compile(rf"/keyRings/{re.escape(self.record.prefix)}{UNIQUE}/")

    def named(self, name: str, *forms: str) -> bool:
        """Whether a name is the stack's prefix with one of these forms behind it, as regular expressions."""
        return any(re.fullmatch(re.escape(self.record.prefix) + form, name) for form in forms)

    def maker(self, one: Mapping[str, Any], labels: Mapping[str, str] | None = None) -> str:
        """What made something, if it was of this stack; else empty.

        A label ``stack`` decides, whatever else there is. Then: what the engine once made, the stack's network, the
        stack's keys, what GKE writes on machines and disks, and disks of the cluster's volumes.
        """
        given: Mapping[str, str] = one.get("labels") or {} if labels is None else labels
        owner = given.get("stack")
        if owner is not None and owner != self.record.prefix:
            return ""
        if self.record.cluster and given.get("goog-k8s-cluster-name") == self.record.cluster:
            return "GKE, for the cluster"
        if owner is not None:
            return "this stack, by its label"
        if {bare(str(one.get(name) or "-")) for name in ("selfLink", "name", "id")} & self._ids:
            return "the engine, which no longer knows it"
        if str(one.get("name")) in self._disks or last(str(one.get("sourceDisk") or "-")) in self._disks:
            return "the volume driver, for a volume of the cluster"
        if any(bare(text) == self.network for text in _networks(one)):
            return "it is in the stack's network"
        if any(self._ring.search(text) for path in _KEYS for text in texts(one, path)):
            return "it is encrypted with a key of the stack"
        return ""

    def get(self, url: str, /, **parameters: str) -> dict[str, Any]:
        """Ask for one thing."""
        return self.account.get(url, **parameters)

    def pages(self, url: str, key: str, **parameters: str) -> Iterator[Mapping[str, Any]]:
        """Ask for a list."""
        token = ""
        while True:
            page = self.account.get(url, **parameters, **({"pageToken": token} if token else {}))
            yield from page.get(key) or ()
            token = str(page.get("nextPageToken") or "")
            if not token:
                return

    def everywhere(self, collection: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """A collection of Compute Engine's in all zones and regions: where, and what."""
        token = ""
        while True:
            url = f"{COMPUTE}/{self.project}/aggregated/{collection}"
            page = self.account.get(url, **({"pageToken": token} if token else {}))
            for place, held in cast("Mapping[str, Mapping[str, Any]]", page.get("items") or {}).items():
                for one in held.get(collection) or ():
                    yield place, one
            token = str(page.get("nextPageToken") or "")
            if not token:
                return

    def found(
        self, kind: str, name: str, made_by: str, command: str, *, region: str = "", fate: Fate = "safe", note: str = ""
    ) -> Leftover:
        """A leftover of this project."""
        return Leftover(
            kind=kind,
            name=name,
            region=region,
            made_by=made_by,
            command=f"{command} --project {self.project}" if command.startswith("gcloud") else command,
            fate=fate,
            note=note,
        )


def last(path: str) -> str:
    """The short name in a link."""
    return path.rstrip("/").rpartition("/")[2]


def bare(link: str) -> str:
    """A link without scheme, host and version: ``projects/…``, as the engine's identifiers are."""
    _, found, rest = link.partition("projects/")
    return found + rest if found else link


def texts(value: Any, path: str) -> Iterator[str]:
    """Every text at a path; items of lists are all taken."""
    if isinstance(value, list):
        for item in cast("list[Any]", value):
            yield from texts(item, path)
    elif isinstance(value, Mapping) and path:
        first, _, rest = path.partition(".")
        yield from texts(cast("Mapping[str, Any]", value).get(first), rest)
    elif isinstance(value, str) and not path:
        yield value


def _networks(one: Mapping[str, Any]) -> Iterator[str]:
    for path in ("network", "networkInterfaces.network", "properties.networkInterfaces.network"):
        yield from texts(one, path)
    # Filestore and Memorystore, of any form: a short name or a path.
    yield from texts(one, "authorizedNetwork")
    yield from texts(one, "networks.network")
