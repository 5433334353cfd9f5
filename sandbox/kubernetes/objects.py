"""Objects of the program in the cluster: judged, applied, awaited, deleted."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Generator
from contextlib import contextmanager

import requests

from sandbox.kubernetes import readiness
from sandbox.kubernetes.api import ApiError, Client, Manifest, ResourceType
from sandbox.kubernetes.crds import MANAGER as DEFINITIONS_MANAGER
from sandbox.kubernetes.crds import Definitions, without_webhook
from sandbox.kubernetes.manifests import below, group_of, with_placeholders
from sandbox.provider import ProviderError
from sandbox.values import Properties

FORCE = "pulumi.com/patchForce"
_PROPAGATION = "pulumi.com/deletionPropagationPolicy"
_AWAIT_SECONDS = 120.0  # simulated pods start within seconds; what takes longer waits for something that never comes
_POLL_SECONDS = (0.1, 1.0)  # at first, at most


class NotReadyError(Exception):
    """The object exists and is not ready; the message says what it waits for."""

    def __init__(self, live: Manifest, reason: str) -> None:
        super().__init__(reason)
        self.live = live


class NotServedError(ProviderError):
    """The API server does not know the kind."""


class LiveObjects:
    """Objects behind a real API server."""

    def __init__(self, client: Client, definitions: Definitions) -> None:
        self._client = client
        self._definitions = definitions

    def judge(self, inputs: Properties, manager: str, *, force: bool = False) -> Manifest | None:
        """Let the server judge and default a manifest without storing it.

        Unknown values are replaced by a text first, and what the server says about those fields is not counted. A
        namespace that does not exist yet is stood for by ``default``.

        Returns:
            What it would store, or None where unknowns or missing parts leave that open.

        Raises:
            ProviderError: The server refuses, in its words.
        """
        manifest, unknown = with_placeholders(inputs)
        if any(below(path, "apiVersion", "kind", "metadata.name", "metadata.namespace") for path in unknown):
            return None
        with _spoken(manifest):
            resource = self._resource(manifest)
            manifest = _placed(manifest, resource)
            if self._client.get(_NAMESPACE, None, manifest["metadata"].get("namespace") or "default") is None:
                manifest = {**manifest, "metadata": {**manifest["metadata"], "namespace": "default"}}
            try:
                answer = self._client.apply(resource, manifest, manager=manager, dry_run=True, force=force)
            except ApiError as error:
                if words := _counted(error, unknown):
                    raise ProviderError(f"{_title(manifest)}: {words}") from error
                return None
        return None if unknown else answer

    def apply(self, inputs: Properties, manager: str, *, force: bool = False) -> Manifest:
        """Store a manifest and return what the server made of it.

        Raises:
            ProviderError: The server refuses, in its words.
        """
        with _spoken(inputs):
            resource = self._resource(inputs)
            return self._client.apply(resource, _placed(inputs, resource), manager=manager, force=force)

    def immutable_fields(self, inputs: Properties, manager: str) -> list[str]:
        """Return the fields of which the server says that a stored object cannot change them."""
        manifest, _ = with_placeholders(inputs)
        try:
            resource = self._resource(manifest)
            self._client.apply(resource, _placed(manifest, resource), manager=manager, dry_run=True, force=True)
        except ApiError as error:
            return [field for field, words in error.causes if "immutable" in words or "updates to" in words]
        except (NotServedError, requests.RequestException):
            return []
        return []

    def wait(self, live: Manifest, timeout_seconds: float) -> Manifest:
        """Wait until an object is ready and return it.

        Raises:
            NotReadyError: It is not, in time; or never will be.
        """
        annotations: dict[str, str] = live["metadata"].get("annotations") or {}
        limit = float(annotations.get(readiness.TIMEOUT) or timeout_seconds or default_await_seconds())
        deadline, pause = time.monotonic() + limit, _POLL_SECONDS[0]
        with _spoken(live):
            resource = self._resource(live)
            while True:
                try:
                    reason = readiness.waiting_for(live, self._client)
                except readiness.Failed as failed:
                    raise NotReadyError(live, str(failed)) from failed
                if not reason:
                    return live
                if time.monotonic() > deadline:
                    raise NotReadyError(live, f"not ready after {limit:.0f} s: {reason}")
                time.sleep(pause)
                pause = min(2 * pause, _POLL_SECONDS[1])
                found = self._client.get(resource, live["metadata"].get("namespace"), live["metadata"]["name"])
                if found is None:
                    raise NotReadyError(live, "it was deleted while it was awaited")
                live = found

    def find(self, api_version: str, kind: str, namespace: str | None, name: str) -> Manifest | None:
        """Return the live object, or None."""
        identity: Properties = {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}}
        with _spoken(identity):
            resource = self._client.kind(api_version, kind)
            return self._client.get(resource, _namespace(resource, namespace), name) if resource else None

    def remove(self, outputs: Properties, timeout_seconds: float) -> None:
        """Delete an object and wait until it is gone, finalizers and all.

        Raises:
            ProviderError: The server refuses, or the object stays.
        """
        metadata = outputs["metadata"]
        annotations: dict[str, str] = metadata.get("annotations") or {}
        # Only these have dependents here. The garbage collector learns of a new definition within 30 s, and until then
        # holds what is deleted in the foreground.
        default = "foreground" if group_of(outputs) in ("apps", "batch") else "background"
        policy = annotations.get(_PROPAGATION, default).capitalize()
        limit = timeout_seconds or default_await_seconds()
        deadline = time.monotonic() + limit
        with _spoken(outputs):
            resource = self._client.kind(outputs["apiVersion"], outputs["kind"])
            if resource is None:
                return  # its definition is gone, and it with it
            namespace = _namespace(resource, metadata.get("namespace"))
            if not self._client.delete(resource, namespace, metadata["name"], policy):
                return
            uid = metadata.get("uid")
            while (live := self._client.get(resource, namespace, metadata["name"])) is not None:
                if uid and live["metadata"]["uid"] != uid:
                    return  # something else made a new one
                if time.monotonic() > deadline:
                    raise ProviderError(f"{_title(outputs)} is still there after {limit:.0f} s: {_keeps(live)}")
                time.sleep(_POLL_SECONDS[0])
            if outputs["kind"] == "CustomResourceDefinition":
                self._client.forget(outputs["spec"]["names"]["kind"])

    def _resource(self, manifest: Properties) -> ResourceType:
        namespaced = bool(manifest["metadata"].get("namespace")) or not str(manifest["kind"]).startswith("Cluster")
        found = self._definitions.resource_type(manifest["apiVersion"], manifest["kind"], namespaced=namespaced)
        if found is None:
            raise NotServedError(f"the API server has no kind {manifest['kind']} in {manifest['apiVersion']}")
        return found


_NAMESPACE = ResourceType("v1", "Namespace", "namespaces", namespaced=False)


def default_await_seconds() -> float:
    """Seconds to wait for readiness or deletion where nothing says otherwise; ``SANDBOX_AWAIT_SECONDS``."""
    return float(os.environ.get("SANDBOX_AWAIT_SECONDS") or _AWAIT_SECONDS)


def lives_in_a_cluster(manifest: Properties) -> bool:
    """Whether an object can live here; an API that a pod would serve cannot, for nothing here would answer it."""
    spec: Properties = manifest.get("spec") or {}
    return "kind" in manifest and not (manifest["kind"] == "APIService" and spec.get("service"))


def manager_of(urn: str) -> str:
    """Return the field manager of a resource that names none: one of its own, as with the real provider."""
    return "pulumi-kubernetes-" + hashlib.sha256(urn.encode()).hexdigest()[:8]


def manager_of_definition(inputs: Properties) -> str | None:
    """Return the field manager for a definition that may have been loaded on demand before, None for other kinds."""
    return DEFINITIONS_MANAGER if inputs["kind"] == "CustomResourceDefinition" else None


def _placed(manifest: Properties, resource: ResourceType) -> Properties:
    """Return what is sent: the namespace said, and definitions without conversion webhooks."""
    metadata: Properties = {key: value for key, value in manifest["metadata"].items() if value is not None}
    metadata["namespace"] = _namespace(resource, metadata.get("namespace"))
    if metadata["namespace"] is None:
        del metadata["namespace"]
    sent = {**manifest, "metadata": metadata}
    return without_webhook(sent) if sent["kind"] == "CustomResourceDefinition" else sent


def _namespace(resource: ResourceType, namespace: str | None) -> str | None:
    return (namespace or "default") if resource.namespaced else None


def _counted(error: ApiError, unknown: list[str]) -> str:
    """Return what of a refusal is not about unknown values or parts that come later; empty where nothing is left."""
    if error.code in (requests.codes.not_found, requests.codes.forbidden) and "not found" in str(error):
        return ""  # a service account, a priority class: created by the same update
    if not unknown:
        return str(error)
    if error.causes:
        kept = [f"{field}: {words}" for field, words in error.causes if not below(field, *unknown)]
        return "; ".join(words for words in kept if not any(below(path, words.partition(":")[0]) for path in unknown))
    return str(error) if "unknown field" in str(error) or "not declared in schema" in str(error) else ""


def _keeps(live: Manifest) -> str:
    metadata = live["metadata"]
    if finalizers := metadata.get("finalizers") or live.get("spec", {}).get("finalizers"):
        return f"finalizers {', '.join(finalizers)} are not done"
    return "it is being deleted"


def _title(manifest: Properties) -> str:
    metadata, group = manifest["metadata"], group_of(manifest)
    place = f"{metadata['namespace']}/" if metadata.get("namespace") else ""
    return f"{manifest['kind']}{f'.{group}' if group else ''} {place}{metadata['name']}"


@contextmanager
def _spoken(manifest: Properties) -> Generator[None]:
    """Turn failures of the API server into words for the user."""
    try:
        yield
    except ApiError as error:
        hint = ""
        if error.reason == "Conflict" and "conflict" in str(error):
            hint = f' (the annotation {FORCE}: "true" takes the fields over)'
        raise ProviderError(f"{_title(manifest)}: {error}{hint}") from error
    except requests.RequestException as error:
        raise ProviderError(
            f"{_title(manifest)}: the sandbox's API server does not answer ({type(error).__name__}); "
            "`python -m sandbox down` and try again"
        ) from error
