"""What was there before a destroy, kept in a small file: names to look for when neither state nor outputs tell them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, cast

_CLOUDS: Final = ("aws", "gcp")


class RecordError(Exception):
    """It is not known what to look for."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """A resource that the engine made.

    Attributes:
        type: Pulumi's type.
        id: The cloud's identifier.
        arn: Amazon's name for it; empty elsewhere.
    """

    type: str
    id: str
    arn: str = ""


@dataclass(frozen=True, kw_only=True)
class Record:
    """A stack as it was.

    Attributes:
        project: Project name.
        stack: Stack name, without organization and project.
        cloud: ``aws``, ``gcp`` or ``onprem``; empty where the state tells none.
        regions: The stack's own region first, then where it keeps copies.
        account: Number of the account on AWS, project of Google Cloud; empty where it is not known.
        cluster: Name of the cluster.
        protected: Whether something was protected when it was first looked at.
        resources: What the engine made in the cloud.
        volumes: Disks of the cluster's volumes, as the cloud calls them.
        namespaces: Namespaces that the engine made.
    """

    project: str
    stack: str
    cloud: str
    regions: tuple[str, ...] = ()
    account: str = ""
    cluster: str = ""
    protected: bool = False
    resources: tuple[Known, ...] = ()
    volumes: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()

    @property
    def prefix(self) -> str:
        """Begins the names, and is the value of the tag ``stack``."""
        return f"{self.project}-{self.stack}"

    @property
    def ids(self) -> frozenset[str]:
        """Identifiers and ARNs of everything that the engine made."""
        return frozenset(name for one in self.resources for name in (one.id, one.arn) if name)

    def of(self, type_: str) -> list[Known]:
        """What the engine made of one type."""
        return [one for one in self.resources if one.type == type_]


def place(stack: str, folder: Path | None = None) -> Path:
    """Where the record of a stack is: outside of the checkout, for it is nobody else's business."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return (folder or Path(base) / "llmops" / "destroyed") / f"{stack.replace('/', '.')}.json"


def of_state(stack: str, deployment: Mapping[str, Any]) -> Record | None:
    """Read a record off an exported deployment; none where the stack is empty."""
    resources = cast("list[dict[str, Any]]", deployment.get("resources") or [])
    roots = [one for one in resources if one["type"] == "pulumi:pulumi:Stack"]
    if not roots:
        return None
    outputs = cast("Mapping[str, Any]", roots[0].get("outputs") or {})
    made = [one for one in resources if one.get("custom") and one["type"].partition(":")[0] in _CLOUDS]
    regions = [outputs.get("region"), *(_text(one, "region") for one in made)]
    return Record(
        project=str(roots[0]["urn"]).split("::")[1],
        stack=stack.rpartition("/")[2],
        cloud=str(outputs.get("cloud") or next((one["type"].partition(":")[0] for one in made), "")),
        regions=_unique(str(region) for region in regions if region),
        account=next((_account(one) for one in made if _account(one)), ""),
        cluster=str(outputs.get("clusterName") or ""),
        resources=tuple(Known(type=one["type"], id=str(one.get("id", "")), arn=_text(one, "arn")) for one in made),
        namespaces=_unique(str(one["id"]) for one in resources if one["type"] == "kubernetes:core/v1:Namespace"),
    )


def of_settings(stack: str) -> Record:
    """What the stack's settings tell; less than its state does.

    Raises:
        RecordError: There are none, or they are refused.
    """
    from ops.preflight import target as targets  # noqa: PLC0415 the settings take long to load

    try:
        target = targets.read(stack.rpartition("/")[2])
    except targets.TargetError as error:
        raise RecordError(f"nothing is known of stack {stack}: no state, no record of a destroy, and {error}") from None
    settings = target.settings
    match settings.cloud:
        case "aws":
            has_copies = settings.objects.replicate or settings.database.has_replica(settings.objects)
            regions = [settings.aws.region, *([settings.aws.dr_region] if has_copies else [])]
        case "gcp":
            regions = [settings.gcp.region]
        case "onprem":
            regions = []
    return Record(
        project=target.project,
        stack=target.stack,
        cloud=settings.cloud,
        regions=_unique(str(region) for region in regions if region),
        account=settings.gcp.project if settings.cloud == "gcp" else "",
        cluster=target.prefix,
    )


def merged(older: Record | None, newer: Record) -> Record:
    """Both: a destroy that was cut short has forgotten what is gone already."""
    if older is None or (older.project, older.stack) != (newer.project, newer.stack):
        return newer
    if newer.cloud and newer.cloud != older.cloud:  # another stack of the same name
        return newer
    resources = {(one.type, one.id): one for one in (*older.resources, *newer.resources)}
    return replace(
        newer,
        cloud=older.cloud,
        regions=_unique((*older.regions, *newer.regions)),
        account=newer.account or older.account,
        cluster=newer.cluster or older.cluster,
        protected=older.protected or newer.protected,
        resources=tuple(resources.values()),
        volumes=_unique((*older.volumes, *newer.volumes)),
        namespaces=_unique((*older.namespaces, *newer.namespaces)),
    )


def write(record: Record, path: Path) -> None:
    """Keep it; in one step, so that an interrupt leaves the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    half = path.with_suffix(".half")
    half.write_text(json.dumps(asdict(record), indent=2))
    half.replace(path)


def read(path: Path) -> Record | None:
    """What was kept; nothing where there is no record.

    Raises:
        RecordError: It cannot be read.
    """
    if not path.exists():
        return None
    try:
        raw = cast("dict[str, Any]", json.loads(path.read_text()))
        lists = {name: tuple(raw[name]) for name in ("regions", "volumes", "namespaces")}
        resources = tuple(Known(**one) for one in raw["resources"])
        whole: dict[str, Any] = {**raw, **lists, "resources": resources}
        return Record(**whole)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RecordError(f"{path} cannot be read ({error}); delete it if it is no record of yours") from None


def _text(resource: Mapping[str, Any], name: str) -> str:
    value = cast("Mapping[str, Any]", resource.get("outputs") or {}).get(name)
    return value if isinstance(value, str) else ""


def _account(resource: Mapping[str, Any]) -> str:
    parts = _text(resource, "arn").split(":")
    return _text(resource, "project") or (parts[4] if len(parts) > 5 else "")


def _unique(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))
