"""The secret store of a stack, whichever it is: entries are read and written whole, and never shown."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Protocol, cast

from components.onprem.names import SECRETS
from ops.pulumi import stack_export
from ops.stack import Stack, StackError, kubectl

# ruff: noqa: PLC0415  a cloud's SDK takes a second or more to load, and --help should not

_GOOGLE: Final = "https://secretmanager.googleapis.com/v1"
_TIMEOUT_SECONDS: Final = 60


class Store(Protocol):
    """Entries by purpose."""

    def read(self, purpose: str) -> dict[str, str]:
        """The properties of an entry.

        Raises:
            StackError: It has no value, or may not be read.
        """
        ...

    def write(self, purpose: str, values: Mapping[str, str]) -> None:
        """Give an entry another value.

        Raises:
            StackError: It may not be written.
        """
        ...

    def changed(self, purpose: str) -> datetime | None:
        """When the entry got its value; None where it has none."""
        ...


def store_of(stack: Stack, kubeconfig: Path | None = None) -> Store:
    """The store of a stack.

    Args:
        stack: Whose it is.
        kubeconfig: The way to its cluster, which is the store of a stack on premises.

    Raises:
        EngineError: Outputs or state of the stack do not say where it is.
    """
    keys = cast("Mapping[str, str]", stack.output("secrets"))
    match stack.output("cloud"):
        case "aws":
            import boto3

            sdk: Any = boto3
            return SecretsManager(sdk.client("secretsmanager", region_name=stack.output("region")), keys)
        case "gcp":
            auth, transport = import_module("google.auth"), import_module("google.auth.transport.requests")
            credentials, _ = auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
            return SecretManager(transport.AuthorizedSession(credentials), names_at_google(stack, keys))
        case _:
            if kubeconfig is None:
                raise StackError(f"the credentials of {stack.name} are in its cluster, and no way leads there")
            return Cluster(kubeconfig, keys)


def _key(keys: Mapping[str, str], purpose: str) -> str:
    try:
        return keys[purpose]
    except KeyError:
        raise StackError(f"the stack has no credential {purpose}; it has {', '.join(sorted(keys))}") from None


def _document(purpose: str, text: str) -> dict[str, str]:
    try:
        found: Any = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise StackError(f"the entry of {purpose} is no JSON object")
    return {str(key): str(value) for key, value in cast("dict[Any, Any]", found).items()}


class SecretsManager:
    """AWS Secrets Manager; ``keys`` are ARNs."""

    def __init__(self, client: Any, keys: Mapping[str, str]) -> None:
        self._client, self._keys = client, keys

    def read(self, purpose: str) -> dict[str, str]:
        """See :class:`Store`."""
        found = self._ask("get_secret_value", purpose)
        return _document(purpose, str(found.get("SecretString", "")))

    def write(self, purpose: str, values: Mapping[str, str]) -> None:
        """See :class:`Store`."""
        self._ask("put_secret_value", purpose, SecretString=json.dumps(dict(values)))

    def changed(self, purpose: str) -> datetime | None:
        """See :class:`Store`."""
        versions: list[dict[str, Any]] = self._ask("list_secret_version_ids", purpose).get("Versions", [])
        current = [one["CreatedDate"] for one in versions if "AWSCURRENT" in one.get("VersionStages", ())]
        return current[0] if current else None

    def _ask(self, operation: str, purpose: str, **more: Any) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return getattr(self._client, operation)(SecretId=_key(self._keys, purpose), **more)
        except ClientError as error:
            code = str(cast("Any", error).response.get("Error", {}).get("Code", ""))
            if code == "ResourceNotFoundException":
                raise EmptyError(f"{purpose} has no value yet") from None
            raise StackError(f"Secrets Manager, {operation} of {purpose}: {code}") from None
        except BotoCoreError as error:
            raise StackError(f"Secrets Manager could not be asked: {error}") from None


class SecretManager:
    """Google's Secret Manager; ``names`` are ``projects/…/secrets/…``."""

    def __init__(self, session: Any, names: Mapping[str, str], url: str = _GOOGLE) -> None:
        self._session, self._names, self._url = session, names, url

    def read(self, purpose: str) -> dict[str, str]:
        """See :class:`Store`."""
        found = self._ask("GET", purpose, "/versions/latest:access")
        return _document(purpose, base64.b64decode(found["payload"]["data"]).decode())

    def write(self, purpose: str, values: Mapping[str, str]) -> None:
        """See :class:`Store`."""
        data = base64.b64encode(json.dumps(dict(values)).encode()).decode()
        self._ask("POST", purpose, ":addVersion", {"payload": {"data": data}})

    def changed(self, purpose: str) -> datetime | None:
        """See :class:`Store`."""
        try:
            return datetime.fromisoformat(str(self._ask("GET", purpose, "/versions/latest")["createTime"]))
        except EmptyError:
            return None

    def _ask(self, method: str, purpose: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        import requests
        from google.auth.exceptions import GoogleAuthError

        url = f"{self._url}/{_key(self._names, purpose)}{path}"
        try:
            answer = self._session.request(method, url, json=body, timeout=_TIMEOUT_SECONDS)
        except (requests.RequestException, GoogleAuthError) as error:
            raise StackError(f"Secret Manager could not be asked: {error}") from None
        if answer.status_code == 404:
            raise EmptyError(f"{purpose} has no value yet")
        if answer.status_code >= 400:
            raise StackError(f"Secret Manager, {method} of {purpose}: {answer.status_code}")
        return answer.json()


class EmptyError(StackError):
    """An entry without a value."""


def names_at_google(stack: Stack, keys: Mapping[str, str]) -> dict[str, str]:
    """Full names of entries by purpose: outputs know the short ones, the state knows the project."""
    export = stack_export(stack.name, sandbox=stack.sandbox)
    found = {
        str(one["outputs"]["secretId"]): str(one["id"])
        for one in export["deployment"].get("resources", [])
        if one["type"] == "gcp:secretmanager/secret:Secret"
    }
    return {purpose: found[key] for purpose, key in keys.items() if key in found}


class Cluster:
    """The closed namespace of a stack on premises; ``keys`` are names of Secrets."""

    def __init__(self, kubeconfig: Path, keys: Mapping[str, str]) -> None:
        self._kubeconfig, self._keys = kubeconfig, keys

    def read(self, purpose: str) -> dict[str, str]:
        """See :class:`Store`."""
        data: dict[str, str] = self._get(purpose).get("data") or {}
        if not data:
            raise EmptyError(f"{purpose} has no value yet")
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def write(self, purpose: str, values: Mapping[str, str]) -> None:
        """See :class:`Store`."""
        # By standard input: arguments are seen by whoever may list processes.
        arguments = ["-n", SECRETS, "patch", "secret", _key(self._keys, purpose), "--type=merge"]
        kubectl(
            self._kubeconfig,
            [*arguments, "--patch-file=/dev/stdin"],
            given=json.dumps({"stringData": dict(values)}),
        )

    def changed(self, purpose: str) -> datetime | None:
        """See :class:`Store`."""
        found = self._get(purpose)
        if not found.get("data"):
            return None
        metadata = found["metadata"]
        times = [str(one["time"]) for one in metadata.get("managedFields") or () if one.get("time")]
        return datetime.fromisoformat(max([*times, str(metadata["creationTimestamp"])]))

    def _get(self, purpose: str) -> dict[str, Any]:
        named = _key(self._keys, purpose)
        found = kubectl(
            self._kubeconfig, ["-n", SECRETS, "get", "secret", named, "-o", "json", "--show-managed-fields"]
        )
        return cast("dict[str, Any]", json.loads(found))
