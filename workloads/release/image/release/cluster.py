"""An object of Kubernetes that is created, or found, and waited for, with the pod's own account."""

from __future__ import annotations

import hashlib
import json
import signal
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from release import conditions
from release.config import Start

_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TIMEOUT_SECONDS: Final = 30
_LOST_SECONDS: Final = 600  # how long the API server may be away: an upgrade of the control plane takes some minutes
_RUN_DIGITS: Final = 8
_MAX_NAME: Final = 41  # with the run's part 50, the most that a training job may have

# Names of kinds in addresses; the rules of the account name the same.
PLURALS: Final[Mapping[str, str]] = {
    "PyTorchJob": "pytorchjobs",
    "RayJob": "rayjobs",
    "TrainJob": "trainjobs",
    "Workflow": "workflows",
}


class JobError(Exception):
    """The object has failed."""


class LateError(JobError):
    """It took too long, and was deleted."""


class StoppedError(Exception):
    """Somebody stopped the step; its object was deleted."""


class ApiError(OSError):
    """The API server's answer.

    Attributes:
        status: Of HTTP; 0 where there was none.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Api:
    """The API server as a pod sees it.

    Attributes:
        root: Its address.
        token: Reads the token; it is renewed while the pod runs.
        context: Of TLS; none for plain HTTP.
    """

    root: str
    token: Callable[[], str]
    context: ssl.SSLContext | None = None

    @classmethod
    def of_pod(cls) -> Api:
        """With the account of this pod."""
        return cls(
            root="https://kubernetes.default.svc",
            token=(_ACCOUNT / "token").read_text,
            context=ssl.create_default_context(cafile=str(_ACCOUNT / "ca.crt")),
        )

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The answer.

        Raises:
            ApiError: It refuses, or cannot be reached.
        """
        request = urllib.request.Request(
            f"{self.root}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "authorization": f"Bearer {self.token()}",
                "content-type": "application/json",
                "accept": "application/json",
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS, context=self.context) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            text = error.read()[:500].decode(errors="replace")
            raise ApiError(f"{method} {path}: {error.code} {text}", error.code) from None
        except OSError as error:
            raise ApiError(f"{method} {path}: {error}") from None


def start(config: Start, api: Api, *, say: Callable[[str], None] = print) -> dict[str, str]:
    """Create the object, or find it, and wait.

    Raises:
        JobError: It has failed, or took too long.
        StoppedError: The step was stopped.
        ApiError: The API server refuses, or is away for too long.
    """
    for text in (config.success, config.failure):
        conditions.check(text)
    wanted = named(config.manifest, config.run)
    folder = _folder(wanted)
    address = f"{folder}/{wanted['metadata']['name']}"
    end = time.monotonic() + config.seconds
    with _Stopped():
        try:
            _make(config, api, wanted, folder, say)
            return _waited(config, api, address, end)
        except (StoppedError, LateError) as why:
            try:
                _delete(api, address)
                say(f"deleted {address}: {why}")
            except ApiError as error:
                say(f"{address} could not be deleted: {error}")
            raise


def named(manifest: Mapping[str, Any], run: str) -> dict[str, Any]:
    """The object with its run's own name."""
    suffix = hashlib.sha256(run.encode()).hexdigest()[:_RUN_DIGITS]
    metadata = manifest["metadata"]
    return {**manifest, "metadata": {**metadata, "name": f"{metadata['name'][:_MAX_NAME].rstrip('-')}-{suffix}"}}


def _make(config: Start, api: Api, wanted: Mapping[str, Any], folder: str, say: Callable[[str], None]) -> None:
    """Create the object. One that an earlier try has made is taken over, unless it has failed: then it makes room."""
    address = f"{folder}/{wanted['metadata']['name']}"
    try:
        api.call("POST", folder, wanted)
    except ApiError as error:
        if error.status != HTTPStatus.CONFLICT:
            raise
        if not conditions.holds(config.failure, api.call("GET", address)):
            say(f"found {address}: an earlier try of this run has made it")
            return
        say(f"{address} of an earlier try has failed; it is made anew")
        _delete(api, address)
        _gone(api, address, config.every_seconds)
        api.call("POST", folder, wanted)
    say(f"created {address}")


def _delete(api: Api, address: str) -> None:
    try:
        api.call("DELETE", address, {"propagationPolicy": "Background"})
    except ApiError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise


def _gone(api: Api, address: str, every_seconds: float) -> None:
    end = time.monotonic() + _LOST_SECONDS
    while time.monotonic() < end:
        try:
            api.call("GET", address)
        except ApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return
            raise
        time.sleep(min(every_seconds, 2))
    raise JobError(f"{address} does not go away")


def _folder(manifest: Mapping[str, Any]) -> str:
    plural = PLURALS.get(manifest["kind"])
    if plural is None:
        raise JobError(f"{manifest['kind']} is no kind that steps start: {', '.join(PLURALS)}")
    return f"/apis/{manifest['apiVersion']}/namespaces/{manifest['metadata']['namespace']}/{plural}"


def _waited(config: Start, api: Api, address: str, end: float) -> dict[str, str]:
    seen = time.monotonic()
    while True:
        now = time.monotonic()
        if now > end:
            raise LateError(f"it has not ended within {config.seconds} s")
        try:
            found = api.call("GET", address)
            seen = now
        except ApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                raise JobError(f"{address} was deleted by somebody else") from None
            if (error.status and error.status < HTTPStatus.INTERNAL_SERVER_ERROR) or now - seen > _LOST_SECONDS:
                raise
        else:
            if conditions.holds(config.failure, found):
                raise JobError(f"{address} failed: {json.dumps(found.get('status', {}))[:1500]}")
            if conditions.holds(config.success, found):
                return {"name": found["metadata"]["name"], **_results(found, config.gives)}
        time.sleep(config.every_seconds)


def _results(workflow: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    """Results that the steps of a workflow gave."""
    nodes: Mapping[str, Any] = workflow.get("status", {}).get("nodes", {})
    given = {
        one["name"]: str(one.get("value", ""))
        for node in nodes.values()
        for one in (node.get("outputs") or {}).get("parameters", ())
    }
    if missing := [name for name in names if name not in given]:
        raise JobError(f"{workflow['metadata']['name']} gave no {', '.join(missing)}")
    return {name: given[name] for name in names}


class _Stopped:
    """Makes SIGTERM an exception, so that a stopped workflow leaves no job behind."""

    def __enter__(self) -> None:
        def stop(_signal: int, _frame: object) -> None:
            raise StoppedError("the step was stopped")

        self._before = signal.signal(signal.SIGTERM, stop)

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._before)
