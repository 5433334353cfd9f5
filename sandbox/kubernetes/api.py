"""A small client of the Kubernetes API: discovery, server-side apply, read, list, delete."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import requests
import yaml

Manifest: TypeAlias = dict[str, Any]
Verb = Literal["GET", "POST", "PATCH", "PUT", "DELETE"]

_TIMEOUT_SECONDS = (5.0, 60.0)  # to connect, to answer; the API server's own limit is 60 s


class ApiError(Exception):
    """A refusal of the API server, in its own words.

    Attributes:
        code: HTTP status.
        reason: Machine-readable word such as ``Invalid`` or ``Conflict``.
        causes: (field, message) pairs where the server names fields.
    """

    def __init__(self, code: int, status: Mapping[str, Any]) -> None:
        super().__init__(str(status.get("message") or f"HTTP {code}"))
        self.code = code
        self.reason = str(status.get("reason") or "")
        details: Mapping[str, Any] = status.get("details") or {}
        self.causes = tuple(
            (str(cause.get("field") or ""), str(cause.get("message") or "")) for cause in details.get("causes") or ()
        )


@dataclass(frozen=True)
class ResourceType:
    """One kind as the API server serves it."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool

    def path(self, namespace: str | None, name: str | None = None) -> str:
        """URL path of the collection, or of the object ``name`` in it."""
        base = f"/api/{self.api_version}" if "/" not in self.api_version else f"/apis/{self.api_version}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{base}{scope}/{self.plural}" + (f"/{name}" if name else "")


class Client:
    """Talks to one API server with the certificate of its kubeconfig; safe to share between threads."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._server = str(cluster["server"])
        self._authority = str(cluster["certificate-authority"])
        self._certificate = (str(user["client-certificate"]), str(user["client-key"]))
        self._local = threading.local()
        self._kinds: dict[tuple[str, str], ResourceType] = {}
        self._lock = threading.Lock()

    def healthy(self) -> bool:
        """Whether the API server says that it is ready."""
        try:
            return self._send("GET", "/readyz").status_code == requests.codes.ok
        except requests.RequestException:
            return False

    def request(
        self, verb: Verb, path: str, *, query: Mapping[str, str] | None = None, body: Any = None, patch: str = "apply"
    ) -> Manifest:
        """Send one request.

        Args:
            verb: HTTP method.
            path: Path below the server's URL.
            query: Query parameters.
            body: Object to send, or YAML text.
            patch: Patch type of a PATCH: ``apply``, ``merge`` or ``strategic-merge``.

        Raises:
            ApiError: The server refuses.
        """
        kind = f"application/{patch}-patch+{'yaml' if patch == 'apply' else 'json'}"
        content = kind if verb == "PATCH" else "application/json"
        response = self._send(verb, path, query, body, content)
        try:
            answer = response.json()
        except requests.JSONDecodeError:
            answer = {"message": response.text.strip()}
        if not response.ok:
            raise ApiError(response.status_code, answer)
        return answer

    def _send(
        self,
        verb: Verb,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content: str = "application/json",
    ) -> requests.Response:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            session.trust_env = False  # a proxy has no business between us and loopback
            session.verify, session.cert = self._authority, self._certificate
        data = body if isinstance(body, str) or body is None else json.dumps(body)
        return session.request(
            verb,
            self._server + path,
            params=query,
            data=data.encode() if data is not None else None,
            headers={"Content-Type": content, "Accept": "application/json"},
            timeout=_TIMEOUT_SECONDS,
        )

    def kind(self, api_version: str, kind: str) -> ResourceType | None:
        """How the server serves a kind, or None where it does not; asked anew after a miss."""
        with self._lock:
            if (api_version, kind) in self._kinds:
                return self._kinds[api_version, kind]
        path = f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"
        try:
            listed = self.request("GET", path)["resources"]
        except ApiError as error:
            if error.code == requests.codes.not_found:
                return None
            raise
        with self._lock:
            for entry in listed:
                if "/" not in entry["name"]:  # a slash marks a subresource
                    key = (api_version, str(entry["kind"]))
                    self._kinds[key] = ResourceType(api_version, key[1], str(entry["name"]), bool(entry["namespaced"]))
            return self._kinds.get((api_version, kind))

    def forget(self, kind: str) -> None:
        """Forget how a kind is served; its definition was deleted."""
        with self._lock:
            self._kinds = {key: value for key, value in self._kinds.items() if key[1] != kind}

    def get(self, resource: ResourceType, namespace: str | None, name: str) -> Manifest | None:
        """Return the object, or None."""
        try:
            return self.request("GET", resource.path(namespace, name))
        except ApiError as error:
            if error.code == requests.codes.not_found:
                return None
            raise

    def items(self, path: str, **query: str) -> list[Manifest]:
        """Return the objects of a collection; none where it is not served."""
        try:
            return list(self.request("GET", path, query=query).get("items") or ())
        except ApiError as error:
            if error.code == requests.codes.not_found:
                return []
            raise

    def apply(
        self, resource: ResourceType, manifest: Manifest, *, manager: str, dry_run: bool = False, force: bool = False
    ) -> Manifest:
        """Server-side apply with strict field validation.

        Args:
            resource: Kind of the object.
            manifest: What is wanted; the server merges it with what others manage.
            manager: Field manager in whose name.
            dry_run: Judge and default, but do not store.
            force: Take fields over from other managers instead of reporting a conflict.
        """
        metadata = manifest["metadata"]
        query = {"fieldManager": manager, "fieldValidation": "Strict", "force": "true" if force else "false"}
        if dry_run:
            query["dryRun"] = "All"
        path = resource.path(metadata.get("namespace"), metadata["name"])
        return self.request("PATCH", path, query=query, body=manifest)

    def delete(self, resource: ResourceType, namespace: str | None, name: str, policy: str = "Background") -> bool:
        """Ask for deletion with a propagation policy; False where the object is gone already."""
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy}
        try:
            self.request("DELETE", resource.path(namespace, name), body=body)
        except ApiError as error:
            if error.code == requests.codes.not_found:
                return False
            raise
        return True
