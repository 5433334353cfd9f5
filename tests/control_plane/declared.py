"""What the tests of admission share: objects as a program declares them, and the cluster that they come into."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from sandbox import paths
from sandbox.kubernetes.api import Client, Manifest
from sandbox.kubernetes.helm import NotAtHandError, Releases
from sandbox.provider import Resource
from sandbox.store import Store
from sandbox.toolchain import clients
from tests.control_plane.conftest import Stack
from tests.unit.conftest import Recorder

RESTRICTED: Final = {"pod-security.kubernetes.io/enforce": "restricted"}
"""Labels of a namespace that admits restricted pods only."""

_RELEASE: Final = "kubernetes:helm.sh/v3:Release"
_PATIENCE_SECONDS: Final = 30


class Declared:
    """One resource of a program, taken through its life by hand."""

    def __init__(self, stack: Stack, token: str, inputs: dict[str, Any]) -> None:
        self._provider = stack.provider
        self.resource = resource(token, inputs["metadata"]["name"])
        self.inputs, failures = stack.provider.check(self.resource, {}, inputs, b"seed")
        assert not failures
        self.outputs: dict[str, Any] = {}
        self.id = ""

    def preview(self) -> dict[str, Any]:
        return self._provider.create(self.resource, self.inputs, 0, preview=True)[1]

    def create(self) -> Declared:
        self.id, self.outputs = self._provider.create(self.resource, self.inputs, 60, preview=False)
        return self

    def read(self) -> tuple[dict[str, Any], dict[str, Any]] | None:
        return self._provider.read(self.resource, self.id, self.inputs, self.outputs)

    def delete(self) -> None:
        self._provider.delete(self.resource, self.id, self.inputs, self.outputs, 60)


def resource(token: str, name: str) -> Resource:
    """A resource as the engine names it."""
    return Resource(f"urn:pulumi:dev::p::kubernetes:{token}::{name}")


def definitions(*systems: str) -> None:
    """Skip the test where definitions of custom resources are missing."""
    folder = Path(os.environ.get("SANDBOX_CRDS", ""))
    if missing := [system for system in systems if not (folder / system).is_dir()]:
        pytest.skip(f"no definitions of {', '.join(missing)}: SANDBOX_CRDS does not name a folder that has them")


@contextmanager
def furnishing(
    stack: Stack,
    namespaces: Mapping[str, Mapping[str, str]] | Sequence[str],
    *,
    priorities: Mapping[str, int] | None = None,
    accounts: Sequence[tuple[str, str]] = (),
) -> Iterator[Stack]:
    """A cluster with what objects need to be admitted.

    Args:
        stack: The cluster.
        namespaces: Names with labels; by themselves they get those of :data:`RESTRICTED`.
        priorities: Priority classes and their values.
        accounts: Namespaces and names of service accounts.
    """
    labelled = namespaces if isinstance(namespaces, Mapping) else dict.fromkeys(namespaces, RESTRICTED)
    wanted: list[tuple[str, dict[str, Any]]] = [
        ("core/v1:Namespace", {"metadata": {"name": name, "labels": dict(labels)}}) for name, labels in labelled.items()
    ]
    wanted += [
        ("scheduling.k8s.io/v1:PriorityClass", {"metadata": {"name": name}, "value": value})
        for name, value in (priorities or {}).items()
    ]
    wanted += [
        ("core/v1:ServiceAccount", {"metadata": {"name": name, "namespace": namespace}}) for namespace, name in accounts
    ]
    made = [Declared(stack, *one).create() for one in wanted]
    yield stack
    for one in reversed(made):
        one.delete()


def objects_of(recorded: Recorder, program: Callable[[], None]) -> list[tuple[str, dict[str, Any]]]:
    """Type and inputs of every object that a program declares, in order; what a chart brings is not among them.

    Jobs have no name of ours: the provider gives each version another, and here it is that of the Pulumi resource.
    """
    before = len(recorded.resources)
    recorded.run(program)
    return [
        (one.type.removeprefix("kubernetes:"), {**one.inputs, "metadata": {"name": one.name, **one.inputs["metadata"]}})
        for one in recorded.resources[before:]
        if one.type.startswith("kubernetes:") and not one.type.endswith((":Release", "Patch"))
    ]


def admit(stack: Stack, objects: Sequence[tuple[str, dict[str, Any]]], *, waiting: Sequence[str] = ()) -> None:
    """Every object is admitted, reads back as it was declared, and goes again.

    Args:
        stack: The cluster.
        objects: Types and inputs.
        waiting: Types that would wait for something that this cluster has not; they are judged and not stored.
    """
    made: list[Declared] = []
    try:
        for token, inputs in objects:
            declared = Declared(stack, token, inputs)
            if token in waiting:
                declared.preview()
                continue
            made.append(declared.create())
            live = declared.read()
            assert live is not None
            assert live[0] == declared.inputs, "what is read back would be shown as a change"
    finally:
        for one in reversed(made):
            one.delete()


def rendered_of(recorded: Recorder, folder: Path) -> dict[str, list[Manifest]]:
    """What the charts make of the declared releases, by release; skipped where charts are missing."""
    helm = clients.find_or_get("helm", paths.cache_dir(), print)
    if not isinstance(helm, Path):
        pytest.skip(helm.reason)
    if not os.environ.get("SANDBOX_CHARTS"):
        pytest.skip("no charts: SANDBOX_CHARTS names no folder that has them")
    releases = Releases(helm, "", folder / "kubeconfig", Store(folder / "recorded.sqlite"))
    try:
        return {
            made.inputs["name"]: list(releases.render(made.inputs, kubernetes_version="1.36.0"))
            for made in recorded.of(_RELEASE).values()
        }
    except NotAtHandError as missing:
        pytest.skip(str(missing))


def may(client: Client, user: str, verb: str, resource: str, namespace: str, *, groups: Sequence[str] = ()) -> bool:
    """Whether the API server lets a user do something.

    Args:
        client: The cluster.
        user: Such as ``system:serviceaccount:<namespace>:<name>``.
        verb: Such as ``create``.
        resource: Plural with its subresource and its group: ``pods/log``, ``rayjobs.ray.io``.
        namespace: Where; empty for everywhere.
        groups: Groups of the user.
    """
    plural, _, group = resource.partition(".")
    plural, _, subresource = plural.partition("/")
    asked = {"verb": verb, "resource": plural, "group": group, "subresource": subresource, "namespace": namespace}
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "groups": [*groups, "system:authenticated"], "resourceAttributes": asked},
    }
    answer = client.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body=body)
    return bool(answer["status"]["allowed"])


def comes_to_be_allowed(client: Client, user: str, verb: str, resource: str, namespace: str) -> bool:
    """The same for a right that was just given: the API server hears of its own roles a moment later."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if may(client, user, verb, resource, namespace):
            return True
        time.sleep(0.1)
    return False
