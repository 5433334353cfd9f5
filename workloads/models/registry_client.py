"""What the model registry says of a model: its version, and where that lies. Nothing but Python's own library."""

from __future__ import annotations

import base64
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any, Final

_TIMEOUT_SECONDS: Final = 20
_API: Final = "/api/2.0/mlflow"


class RegistryError(Exception):
    """The registry could not say; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A version of a registered model.

    Attributes:
        version: Its number.
        source: Where its files are.
    """

    version: str
    source: str


def look_up(url: str, name: str, revision: str) -> Registered:
    """Find a version of a registered model.

    Args:
        url: The registry; empty for the variable ``MLFLOW_TRACKING_URI``.
        name: The registered model.
        revision: A version, or an alias with ``@`` in front.

    Raises:
        RegistryError: It cannot be reached, or does not know it.
    """
    root = (url or os.environ.get("MLFLOW_TRACKING_URI", "")).rstrip("/")
    if not root.startswith(("http://", "https://")):
        raise RegistryError(
            "no model registry to ask: set platform.serving.registryUrl or MLFLOW_TRACKING_URI to its http(s) address, "
            "or name the weights themselves, such as s3://mlflow/…"
        )
    version = revision
    if revision.startswith("@"):
        found = _ask(root, "/registered-models/alias", name=name, alias=revision[1:])
        version = str(found["model_version"]["version"])
    source = str(_ask(root, "/model-versions/get-download-uri", name=name, version=version)["artifact_uri"])
    if source.startswith("mlflow-artifacts:"):
        raise RegistryError(
            f"version {version} of {name} lies in the registry server's own keeping ({source}), which servers cannot "
            "read: log it from a client that writes to the object store itself"
        )
    return Registered(version=version, source=source)


def _ask(root: str, path: str, **query: str) -> Any:
    request = urllib.request.Request(f"{root}{_API}{path}?{urllib.parse.urlencode(query)}", headers=_headers())
    what = f"{query['name']} {query.get('alias') or query.get('version')}"
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            raise RegistryError(
                f"{root} refuses to say what {what} is ({error.code}): set MLFLOW_TRACKING_TOKEN, or "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            ) from None
        raise RegistryError(f"{root} does not know {what} ({error.code} {_reason(error)}); register it first") from None
    except (OSError, ValueError) as error:
        raise RegistryError(
            f"{root} cannot be reached for {what} ({error}): reach it, or name the weights themselves, such as "
            "s3://mlflow/…"
        ) from None


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["error_code"])
    except (ValueError, KeyError, TypeError, OSError):
        return error.reason


def _headers() -> dict[str, str]:
    if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        return {"authorization": f"Bearer {token}"}
    user, password = os.environ.get("MLFLOW_TRACKING_USERNAME"), os.environ.get("MLFLOW_TRACKING_PASSWORD")
    if user and password:
        return {"authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}
    return {}
