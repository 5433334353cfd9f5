"""The ``kubernetes`` provider of the sandbox: the real provider's behaviour on the stack's own API server."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from sandbox.kubernetes import manifests
from sandbox.kubernetes.api import Manifest
from sandbox.kubernetes.helm import TYPE as RELEASE
from sandbox.kubernetes.helm import Installed
from sandbox.kubernetes.objects import (
    FORCE,
    LiveObjects,
    NotReadyError,
    lives_in_a_cluster,
    manager_of,
    manager_of_definition,
)
from sandbox.kubernetes.session import NOBODY, Session
from sandbox.provider import CheckFailure, Diff, Difference, PartialFailure, Provider, ProviderError, Resource
from sandbox.values import UNKNOWN, Properties, plain

_RELEASE_LABEL = "app.kubernetes.io/instance"  # charts give it to their pods, with the release's name
_NO_CHART = "because it comes with a chart that is recorded, not installed"


class KubernetesProvider(Provider):
    """Applies every object to this stack's cluster, whatever cluster the provider was configured for."""

    name = "kubernetes"

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session

    def check(
        self, resource: Resource, old: Properties, new: Properties, random_seed: bytes
    ) -> tuple[Properties, Sequence[CheckFailure]]:
        """Complete version, kind and name; what the API server says comes with the preview."""
        if resource.type == RELEASE:
            return _checked_release(resource, old, new, random_seed)
        if resource.type.startswith(("kubernetes:helm.sh/", "kubernetes:yaml/", "kubernetes:kustomize/")):
            return new, (CheckFailure("", f"the sandbox has no {resource.type}; use helm.v3.Release or plain objects"),)
        if not isinstance(new.get("metadata", {}), dict):
            return new, (CheckFailure("metadata", "must be known, at least which fields it has"),)
        inputs = manifests.named(new, old, resource.type, resource.name, random_seed)
        if manifests.is_patch(resource.type) and not inputs["metadata"].get("name"):
            return inputs, (CheckFailure("metadata.name", "a patch must say which object it changes"),)
        return manifests.guarded(inputs), ()

    def diff(self, resource: Resource, resource_id: str, old: Properties, new: Properties, outputs: Properties) -> Diff:
        """Compare inputs; what the API server calls immutable replaces, as does what the real provider replaces."""
        del resource_id
        if resource.type == RELEASE:
            found = manifests.differences({**old, "kind": "Release"}, {**new, "kind": "Release"})
            marked = [Difference(d.path, d.kind, replaces=d.path in ("name", "namespace")) for d in found]
            return Diff(marked, delete_before_replace=True)
        found = manifests.differences(old, new)
        if found and not any(d.replaces for d in found) and self._session.live and manifests.locatable(new):
            fields = self._session.live.immutable_fields(new, _manager(resource, outputs, new))
            found = [Difference(d.path, d.kind, any(_touch(d.path, field) for field in fields)) for d in found]
        same_name = old["metadata"].get("name") == new["metadata"].get("name")
        same_place = old["metadata"].get("namespace") == new["metadata"].get("namespace")
        return Diff(found, same_name and same_place and not manifests.is_autonamed(new))

    def create(
        self, resource: Resource, inputs: Properties, timeout_seconds: float, *, preview: bool
    ) -> tuple[str, Properties]:
        """Apply and await; in preview, let the API server judge."""
        if resource.type == RELEASE:
            outputs = self._release(resource, inputs, timeout_seconds, preview=preview)
            return ("" if preview else f"{outputs['namespace']}/{inputs['name']}"), outputs
        manager = _manager(resource, {}, inputs)
        if preview:
            self._judge(resource, inputs, manager)
            return "", manifests.expected(inputs, manager)
        outputs = self._apply(resource, inputs, manager, timeout_seconds)
        return _id(outputs), outputs

    def read(
        self, resource: Resource, resource_id: str, inputs: Properties, outputs: Properties
    ) -> tuple[Properties, Properties] | None:
        """Return the live object, and the inputs with what changed in it."""
        if resource.type == RELEASE:
            namespace, _, name = resource_id.rpartition("/")
            found = self._session.releases.find({**inputs, "name": name, "namespace": namespace or "default"})
            return None if found is None else (inputs, found)
        version, kind = manifests.identify(resource.type)
        namespace, _, name = resource_id.rpartition("/")
        known = plain(inputs or outputs)
        live = self._find(known.get("apiVersion", version), known.get("kind", kind), namespace or None, name)
        if live is None:
            return None
        manager = _manager(resource, outputs, inputs)
        if not inputs:
            return manifests.guarded(manifests.imported(live)), manifests.observed(live, manager)
        declared = None
        if objects := self._objects(known):
            try:
                declared = objects.judge(known, manager, force=True)
            except ProviderError:
                declared = None  # what is there cannot be compared with what the server would make; it is read as it is
        if declared is not None:
            judged = manifests.judged_fields
            inputs = {**known, **manifests.drifted(known, judged(declared), judged(live))}
        return manifests.guarded(inputs), manifests.observed(live, manager)

    def update(
        self,
        resource: Resource,
        resource_id: str,
        old: Properties,
        new: Properties,
        outputs: Properties,
        timeout_seconds: float,
        *,
        preview: bool,
    ) -> Properties:
        """Apply and await under the name of the manager that created the object."""
        del resource_id, old
        if resource.type == RELEASE:
            return self._release(resource, new, timeout_seconds, preview=preview)
        manager = _manager(resource, outputs, new)
        if preview:
            self._judge(resource, new, manager)
            return manifests.guarded({**outputs, **new, "metadata": {**outputs["metadata"], **new["metadata"]}})
        return self._apply(resource, new, manager, timeout_seconds)

    def delete(
        self, resource: Resource, resource_id: str, inputs: Properties, outputs: Properties, timeout_seconds: float
    ) -> None:
        """Delete and wait until the object is gone; a patch only gives its fields back."""
        del resource_id, inputs
        outputs = plain(outputs)
        if resource.type == RELEASE:
            self._session.releases.remove(outputs, timeout_seconds)
            return
        objects = self._objects(outputs)
        if manifests.is_patch(resource.type):
            self._session.recorded.remove(outputs)
            version, kind, metadata = outputs["apiVersion"], outputs["kind"], outputs["metadata"]
            if objects and self._find(version, kind, metadata.get("namespace"), metadata["name"]):
                identity = {key: metadata.get(key) for key in ("name", "namespace")}
                empty = {"apiVersion": version, "kind": kind, "metadata": identity}
                objects.apply(empty, _manager(resource, outputs, {}))
            return
        self._session.recorded.remove(outputs)
        if objects:
            objects.remove(outputs, timeout_seconds)

    def _judge(self, resource: Resource, inputs: Properties, manager: str) -> None:
        if self._session.live is None:
            self._warn_once(resource, NOBODY)
        else:
            self._session.live.judge(inputs, manager, force=_forced(inputs))

    def _apply(self, resource: Resource, inputs: Properties, manager: str, timeout_seconds: float) -> Properties:
        objects = self._objects(inputs)
        if objects is None:
            self._judge(resource, inputs, manager)
            return manifests.observed(self._session.recorded.apply(inputs, resource.urn), manager)
        if self._comes_with_a_chart(resource, inputs):
            self._warn_once(resource, f"{inputs['kind']} {_id(inputs)}: its patch is recorded, {_NO_CHART}")
            return manifests.observed(self._session.recorded.apply(inputs, resource.urn), manager)
        live = objects.apply(plain(inputs), manager, force=_forced(inputs))
        if self._leads_to_a_chart(live):
            self._warn_once(resource, f"Service {_id(live)}: its pods are not awaited, {_NO_CHART}")
            return manifests.observed(live, manager)
        try:
            live = objects.wait(live, timeout_seconds)
        except NotReadyError as error:
            outputs = manifests.observed(error.live, manager)
            raise PartialFailure(f"{live['kind']} {_id(live)}: {error}", _id(live), outputs) from error
        return manifests.observed(live, manager)

    def _comes_with_a_chart(self, resource: Resource, inputs: Properties) -> bool:
        """Whether a patch is of an object that is not there, because charts are only recorded here."""
        if not manifests.is_patch(resource.type) or not self._session.releases.some_are_recorded():
            return False
        metadata = inputs["metadata"]
        found = self._session.live and self._session.live.find(
            inputs["apiVersion"], inputs["kind"], metadata.get("namespace"), metadata["name"]
        )
        return not found

    def _leads_to_a_chart(self, live: Properties) -> bool:
        """Whether a service selects pods of a chart that is only recorded here: they never come."""
        if (live["apiVersion"], live["kind"]) != ("v1", "Service"):
            return False
        selector: Mapping[str, str] = live["spec"].get("selector") or {}
        release = selector.get(_RELEASE_LABEL, "")
        return bool(release) and self._session.releases.is_recorded(live["metadata"]["namespace"], release)

    def _objects(self, manifest: Properties) -> LiveObjects | None:
        """Return where an object lives, or None where it is only recorded."""
        return self._session.live if lives_in_a_cluster(manifest) else None

    def _find(self, api_version: str, kind: str, namespace: str | None, name: str) -> Manifest | None:
        found = self._session.recorded.find(api_version, kind, namespace, name)
        if found is None and self._session.live:
            return self._session.live.find(api_version, kind, namespace, name)
        return found

    def _release(self, resource: Resource, inputs: Properties, timeout_seconds: float, *, preview: bool) -> Properties:
        if preview:
            warning = self._session.releases.judge(inputs)
            installed = Installed({**inputs, "status": UNKNOWN, "resourceNames": UNKNOWN}, warning)
        else:
            installed = self._session.releases.install(inputs, resource.urn, timeout_seconds)
        if installed.warning:
            chart = f"{inputs['chart']} {inputs.get('version') or ''}".strip()
            self.log("warning", resource.urn, f"{chart}: recorded, not installed: {installed.warning}")
        return {**installed.outputs, "namespace": installed.outputs.get("namespace") or "default"}

    def _warn_once(self, resource: Resource, message: str) -> None:
        if self._session.first_time(message):
            self.log("warning", resource.urn, message)


def _checked_release(
    resource: Resource, old: Properties, new: Properties, seed: bytes
) -> tuple[Properties, Sequence[CheckFailure]]:
    if not new.get("chart"):
        return new, (CheckFailure("chart", "a release needs a chart"),)
    unsupported = [field for field in ("valueYamlFiles", "postrender", "verify", "devel") if new.get(field)]
    if unsupported:
        return new, [CheckFailure(field, "the sandbox does not pass this to helm; use values") for field in unsupported]
    digest = hashlib.sha256(seed + resource.name.encode()).hexdigest()[:8]
    name = new.get("name") or old.get("name") or f"{resource.name}-{digest}"
    return {**new, "name": name, "namespace": new.get("namespace") or "default"}, ()


def _manager(resource: Resource, outputs: Properties, inputs: Properties) -> str:
    """Return the field manager of an object: the one that created it, or one of its own, as the real provider has."""
    if kept := outputs.get("__fieldManager"):
        return str(kept)
    if inputs.get("kind") and (shared := manager_of_definition(inputs)):
        return shared
    if isinstance(asked := manifests.annotations_of(inputs).get("pulumi.com/patchFieldManager"), str):
        return asked
    return manager_of(resource.urn)


def _forced(inputs: Properties) -> bool:
    """Whether fields of other managers are taken over: where the program says so."""
    return manifests.annotations_of(inputs).get(FORCE) == "true"


def _touch(path: str, field: str) -> bool:
    return manifests.below(path, field) or manifests.below(field, path)


def _id(manifest: Properties) -> str:
    metadata = manifest["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}" if metadata.get("namespace") else str(metadata["name"])
