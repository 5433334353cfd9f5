"""What a live cluster knows of ending API versions: its own count of requests, and who wrote objects with which."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, cast

from ops.stack import StackError, kubectl
from ops.upgrade.minors import minor
from ops.upgrade.removed import REMOVALS, Removal, Use

_METRIC: Final = re.compile(r"^apiserver_requested_deprecated_apis\{(?P<labels>[^}]*)\} (?P<value>\S+)", re.MULTILINE)
_LABEL: Final = re.compile(r'(\w+)="([^"]*)"')


def uses(kubeconfig: Path, *, current: int, target: int) -> list[Use]:
    """Ending API versions that a cluster was asked for since it started, or that objects were written with.

    Raises:
        StackError: The cluster does not answer, or shows its metrics to somebody else only.
    """
    found = list(of_metrics(kubectl(kubeconfig, ["get", "--raw", "/metrics"])))
    for row in REMOVALS:
        if not current < row.removed <= target:
            continue
        group, _, version = row.api.rpartition("/")
        try:
            text = kubectl(
                kubeconfig,
                ["get", f"{row.kind.lower()}.{version}.{group}", "-A", "-o", "json", "--show-managed-fields"],
            )
        except StackError:
            continue  # it is not served here: nobody can use it
        found += of_objects(json.loads(text), row)
    return found


def of_metrics(text: str) -> Iterator[Use]:
    """Uses among an API server's metrics; it names the release itself."""
    for line in _METRIC.finditer(text):
        labels = dict(_LABEL.findall(line["labels"]))
        if float(line["value"]) > 0 and labels.get("removed_release"):
            api = f"{labels['group']}/{labels['version']}".removeprefix("/")
            yield Use(
                api=api,
                what=labels.get("resource", ""),
                where="a client that asked the API server",
                removed=minor(labels["removed_release"]),
            )


def of_objects(listed: Mapping[str, Any], row: Removal) -> Iterator[Use]:
    """Uses among objects: whoever wrote one last with the ending version."""
    for one in cast("list[Mapping[str, Any]]", listed.get("items") or []):
        metadata = cast("Mapping[str, Any]", one.get("metadata") or {})
        place = "/".join(str(metadata[key]) for key in ("namespace", "name") if metadata.get(key))
        for entry in cast("list[Mapping[str, Any]]", metadata.get("managedFields") or []):
            if entry.get("apiVersion") == row.api:
                yield Use(
                    api=row.api,
                    what=row.kind,
                    where=f"{row.kind} {place}, written by {entry.get('manager', 'somebody')}",
                    removed=row.removed,
                    instead=row.instead,
                )
