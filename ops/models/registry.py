"""The model registry as the commands see it: where it is, its versions, and who had an alias before."""

from __future__ import annotations

import json
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, cast

from ops.pulumi import EngineError
from ops.stack import Stack, StackError, secret_of
from workloads.evaluation.gate import ALIAS_TAG, Client, Record, Refused, bearer

_PATIENCE_SECONDS: Final = 5  # a registry that is reachable at all says at once that it is there
_CLIENT: Final = ("mlops-training", "mlflow-client")
_HINT: Final = (
    "make it reachable, and name it: kubectl -n mlops-system port-forward service/mlflow 5000 & "
    "export MLFLOW_TRACKING_URI=http://localhost:5000, with MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
)


class RegistryError(Exception):
    """The model registry could not be asked; the message says what to do."""


class Mlflow(Client, Protocol):
    """The part of ``MlflowClient`` that the commands need."""

    def get_run(self, run_id: str) -> Any:
        """A run, with its ``info``, ``data`` and ``inputs``."""
        ...

    def download_artifacts(self, run_id: str, path: str, dst_path: str | None = ...) -> str:
        """Bring a file of a run here, and say where it is."""
        ...

    def delete_registered_model_alias(self, name: str, alias: str) -> Any:
        """Take an alias away from whoever has it."""
        ...


@dataclass(frozen=True, kw_only=True)
class Known:
    """A version of a registered model.

    Attributes:
        version: Its number.
        source: Where its files are.
        run: The run that made it; empty where it was registered without one.
        status: ``READY``, where it can be used.
        at: When it was registered, in milliseconds since 1970.
        tags: What is written at it.
    """

    version: str
    source: str
    run: str
    status: str
    at: int
    tags: Mapping[str, str]

    @property
    def passed(self) -> bool:
        """Whether its last evaluation passed."""
        found = Record.at_version(self.tags)
        return found is not None and found.verdict == "passed"


def opened(stack: Stack | None) -> Mlflow:
    """The registry of a stack where it can be reached from here, else the one of the environment.

    Raises:
        RegistryError: There is neither.
    """
    address = _published(stack)
    if address and _answers(address):
        os.environ["MLFLOW_TRACKING_URI"] = address
        if stack is not None:
            _sign_in(stack)
    elif not os.environ.get("MLFLOW_TRACKING_URI"):
        where = (
            f"the stack's model registry ({address}) cannot be reached from here"
            if address
            else "no model registry is known"
        )
        raise RegistryError(f"{where}; {_HINT}")
    # Its own patience is minutes, in which a person sees nothing.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        from mlflow import MlflowClient  # noqa: PLC0415 - takes seconds to import; --help should not
    except ModuleNotFoundError:
        raise RegistryError("the package mlflow is missing; `make setup` installs what is pinned") from None
    made: Any = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    return cast("Mlflow", made)


def _published(stack: Stack | None) -> str:
    if stack is None:
        return ""
    try:
        return str(stack.output("modelRegistry", "url")).rstrip("/")
    except StackError:  # brought up by an older program
        return ""


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=_PATIENCE_SECONDS) as answer:
            return answer.status == 200
    except (OSError, ValueError, urllib.error.URLError):
        return False


def _sign_in(stack: Stack) -> None:
    """Take the account of jobs from the cluster where the environment names none; others say who they are."""
    if os.environ.get("MLFLOW_TRACKING_TOKEN") or os.environ.get("MLFLOW_TRACKING_USERNAME"):
        return
    namespace, name = _CLIENT
    try:
        with stack.kubeconfig() as path:
            found = secret_of(path, namespace, name)
        for key, value in found.items():
            if key != "MLFLOW_TRACKING_URI":  # of pods; from here it is another one
                os.environ.setdefault(key, value)
    except (EngineError, OSError, ValueError):
        return


def versions(client: Client, model: str) -> dict[str, Known]:
    """All versions of a registered model, oldest first."""
    found: list[Known] = []
    token: str | None = None
    while True:
        page = client.search_model_versions(f"name='{model}'", page_token=token)
        found.extend(
            Known(
                version=str(one.version),
                source=one.source or "",
                run=one.run_id or "",
                status=str(one.status),
                at=int(one.creation_timestamp or 0),
                tags=dict(one.tags),
            )
            for one in page
        )
        token = page.token
        if not token:
            return {one.version: one for one in sorted(found, key=lambda one: int(one.version))}


def aliases(client: Client, model: str) -> dict[str, str]:
    """Versions by the alias that they bear."""
    return {str(alias): str(version) for alias, version in client.get_registered_model(model).aliases.items()}


def previous(client: Client, model: str, alias: str) -> str:
    """The version that had an alias before the one that has it now: as it is recorded, or by the marks.

    Raises:
        Refused: Nobody had it, or it was taken back already.
    """
    now, tag = bearer(client, model, alias), f"{ALIAS_TAG}{alias}"
    if not now:
        raise Refused(f"no version of {model} bears @{alias}; name the version with --to")
    known = versions(client, model)
    tags: Mapping[str, str] = known[now].tags if now in known else {}
    if came := tags.get(f"{tag}.back"):
        raise Refused(f"version {now} has @{alias} since it was taken back from version {came}; --to goes further")
    may = {one for one, found in known.items() if found.tags.get(tag) != "withdrawn"}
    if (recorded := tags.get(f"{tag}.before", "")) in may:
        return recorded
    held = [one for one in may if int(one) < int(now) and known[one].tags.get(tag) == "held"]
    if not held:
        raise Refused(f"nothing says which version of {model} had @{alias} before version {now}; name it with --to")
    return max(held, key=int)


def withdraw(client: Mlflow, model: str, version: str, alias: str, *, by: str, why: str) -> None:
    """Take an alias away from a version, so that no pipeline gives it back; the mark comes first."""
    tag = f"{ALIAS_TAG}{alias}"
    for name, value in ((f"{tag}.by", by), (f"{tag}.why", why), (tag, "withdrawn")):
        client.set_model_version_tag(model, version, name, value)
    if bearer(client, model, alias) == version:
        client.delete_registered_model_alias(model, alias)


def config_of(source: str) -> dict[str, Any]:
    """The ``config.json`` of a version's weights.

    Raises:
        RegistryError: It is not there, or may not be read from here.
    """
    import mlflow.artifacts  # noqa: PLC0415 - see opened

    download: Any = cast("Any", mlflow.artifacts).download_artifacts
    with tempfile.TemporaryDirectory(prefix="llmops-") as folder:
        try:
            path = download(artifact_uri=f"{source.rstrip('/')}/config.json", dst_path=folder)
            found: Any = json.loads(Path(path).read_text())
        except Exception as error:  # each store has its own
            reason = str(error).strip().splitlines()
            raise RegistryError(f"{source}/config.json cannot be read: {reason[0] if reason else error!r}") from None
    if not isinstance(found, dict):
        raise RegistryError(f"{source}/config.json is no object")
    return cast("dict[str, Any]", found)
