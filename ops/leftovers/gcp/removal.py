"""Remove leftovers of a project, in order, and say of each what came of it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Final, Protocol

from ops.leftovers.gcp.compute import KINDS
from ops.leftovers.gcp.look import COMPUTE
from ops.leftovers.model import Leftover
from ops.preflight.gcp.account import GoogleAccount, GoogleError
from ops.preflight.model import UnansweredError

_PAUSE_SECONDS: Final = 10.0
# Something still holds on to it, or is being removed itself: a forwarding rule takes a minute, a machine some.
_HELD: Final = ("resourceInUseByAnotherResource", "resourceNotReady", "RESOURCE_IN_USE_BY_ANOTHER_RESOURCE")
_GROUPS_OF_GKE: Final = "gke-"

# Where the others are, by kind; a file system and a database only go by hand, each takes a decision of its own.
_PLACES: Final[Mapping[str, str]] = {
    "secret": "https://secretmanager.googleapis.com/v1/projects/{project}/secrets/{name}",
    "database snapshot": "https://sqladmin.googleapis.com/v1/projects/{project}/backups/{name}",
    "file backup": "https://file.googleapis.com/v1/projects/{project}/locations/{region}/backups/{name}",
    "repository": "https://artifactregistry.googleapis.com/v1/projects/{project}/locations/{region}/repositories/{name}",
    "log sink": "https://logging.googleapis.com/v2/projects/{project}/sinks/{name}",
    "log group": "https://logging.googleapis.com/v2/projects/{project}/locations/{region}/buckets/{name}",
    "role": "https://iam.googleapis.com/v1/projects/{project}/serviceAccounts/{name}",
    "custom role": "https://iam.googleapis.com/v1/projects/{project}/roles/{name}",
    "network": f"{COMPUTE}/{{project}}/global/networks/{{name}}",
}


class Deleting(Protocol):
    """What removal needs of a project."""

    def delete(self, url: str, /) -> dict[str, Any]:
        """Delete what is at ``url``.

        Raises:
            GoogleError: Google refused.
            UnansweredError: Google did not answer.
        """
        ...


class GoogleRemover(GoogleAccount):
    """The project, with credentials that may change it."""

    scope: ClassVar[str] = "https://www.googleapis.com/auth/cloud-platform"

    def delete(self, url: str, /) -> dict[str, Any]:
        """Delete what is at ``url``."""
        return self._ask("DELETE", url)


def place(one: Leftover, project: str) -> str:
    """Where a leftover is; empty for what goes by hand only."""
    if one.kind in _PLACES:
        return _PLACES[one.kind].format(project=project, name=one.name, region=one.region)
    kind = next((kind for kind in KINDS if kind.title == one.kind), None)
    if kind is None:
        return ""
    collection = kind.collection
    if collection == "instanceGroups" and one.name.startswith(_GROUPS_OF_GKE):
        collection = "instanceGroupManagers"  # deleting the group of a manager would only empty it
    scope = "global"
    if one.region:
        scope = f"zones/{one.region}" if re.search(r"-[a-z]$", one.region) else f"regions/{one.region}"
    return f"{COMPUTE}/{project}/{scope}/{collection}/{one.name}"


def removable(one: Leftover, *, data: bool) -> bool:
    """Whether ``--remove`` takes it; what holds data only where that is wanted."""
    return bool(place(one, "-")) and (one.fate == "safe" or (data and one.fate == "data"))


def remove(
    account: Deleting,
    leftovers: Iterable[Leftover],
    project: str,
    tell: Callable[[str], None],
    *,
    seconds: float,
    pause: Callable[[float], None] = time.sleep,
) -> list[str]:
    """Remove them in the order given; what is held is tried again until the time is up.

    Args:
        account: The project.
        leftovers: What is removed.
        project: Id of the project.
        tell: Hears of each that goes.
        seconds: How long all of them may take.
        pause: Waits before the next round.

    Returns:
        What could not be removed, and why.
    """
    waiting, deadline = list(leftovers), time.monotonic() + seconds
    while True:
        refused: list[tuple[Leftover, str, bool]] = []
        for one in waiting:
            try:
                account.delete(place(one, project))
            except UnansweredError as error:
                google = error if isinstance(error, GoogleError) else None
                if google is None or not google.absent:
                    refused.append((one, str(error), google is not None and google.reason in _HELD))
            else:
                tell(f"{one.kind} {one.name}: asked to go")
        held = [one for one, _, again in refused if again]
        if not held or time.monotonic() >= deadline:
            return [f"{one.kind} {one.name}: {why}; {one.command}" for one, why, _ in refused]
        tell(f"{len(held)} are still held by something that is going; trying again")
        pause(_PAUSE_SECONDS)
        waiting = held
