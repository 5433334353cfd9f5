"""Logs and traces on a real API server: what their charts make of our values is admitted, pods at the strictest level.

Needs helm and the charts (``SANDBOX_CHARTS``); without them only what the program declares itself is judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest

from components.contract import AuditLog
from components.platform.observability.logs import Logs, LogsArgs
from components.platform.observability.traces import Traces, TracesArgs
from sandbox.kubernetes.api import ApiError, Manifest
from tests.control_plane.conftest import Stack
from tests.control_plane.declared import RESTRICTED, Declared, furnishing, objects_of, rendered_of
from tests.unit.conftest import Recorder
from tests.unit.conftest import recorded as recorded  # noqa: PLC0414 a fixture, for this module too
from tests.unit.platform_site import options, site

pytestmark = pytest.mark.control_plane

GUARDED: Final = "restricted-pods"
AUDIT: Final = AuditLog(kind="cloudwatch", place="/aws/eks/test/cluster", prefix="kube-apiserver-audit-", region="r")
VARIANTS: Final[Mapping[str, Mapping[str, Any]]] = {"highly-available": {}, "small": {"highlyAvailable": False}}
WORKLOADS: Final = ("DaemonSet", "Deployment", "StatefulSet")


@dataclass(frozen=True)
class Emitted:
    """What the program declares, and what the charts make of it."""

    own: tuple[tuple[str, dict[str, Any]], ...]
    rendered: Mapping[str, Sequence[Manifest]]

    @property
    def workloads(self) -> Iterator[Manifest]:
        return (one for some in self.rendered.values() for one in some if one["kind"] in WORKLOADS)


@pytest.fixture(scope="module")
def furnished(stack: Stack) -> Iterator[Stack]:
    """The namespace as the platform has it, and one that admits restricted pods only."""
    spaces = {"monitoring": {"pod-security.kubernetes.io/enforce": "privileged"}, GUARDED: RESTRICTED}
    with furnishing(stack, spaces, priorities={"platform-critical": 1_000_000}):
        yield stack


def emitted(recorded: Recorder, variant: str, folder: Path) -> Emitted:
    def program() -> None:
        place = site(VARIANTS[variant])
        cluster = replace(place.foundation.cluster, audit_log=AUDIT)
        place = replace(place, foundation=replace(place.foundation, cluster=cluster))
        Logs("logs", LogsArgs(site=place), options(place))
        Traces("traces", TracesArgs(site=place), options(place))

    own = tuple(objects_of(recorded, program))
    return Emitted(own, rendered_of(recorded, folder))


def judged(stack: Stack, manifest: Manifest) -> Manifest:
    """The object as the API server would store it; strict, and not stored."""
    resource = stack.client.kind(manifest["apiVersion"], manifest["kind"])
    assert resource is not None, manifest["kind"]
    place = {"namespace": "monitoring"} if resource.namespaced else {}
    placed = {**manifest, "metadata": {**place, **manifest["metadata"]}}
    return stack.client.apply(resource, placed, manager="test", dry_run=True)


@pytest.mark.parametrize("variant", VARIANTS)
def test_everything_that_the_charts_make_of_our_values_is_admitted(
    variant: str, furnished: Stack, recorded: Recorder, tmp_path: Path
):
    found = emitted(recorded, variant, tmp_path)
    assert set(found.rendered) == {"loki", "alloy", "alloy-cluster", "tempo", "otel-collector"}
    for manifests in found.rendered.values():
        for manifest in manifests:
            judged(furnished, manifest)
    for token, inputs in found.own:
        Declared(furnished, token, inputs).preview()


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_pod_but_the_agents_on_nodes_meets_the_restricted_level(
    variant: str, furnished: Stack, recorded: Recorder, tmp_path: Path
):
    refused: set[str] = set()
    for workload in emitted(recorded, variant, tmp_path).workloads:
        try:
            judged(furnished, _pod(workload))
        except ApiError as error:
            assert "violates PodSecurity" in str(error), error  # noqa: PT017 what else is wrong must be seen
            refused.add(workload["metadata"]["name"])
    assert refused == {"alloy"}


def _pod(workload: Manifest) -> Manifest:
    """A pod of a workload, where only restricted ones are admitted; accounts and volumes are not judged here."""
    template = workload["spec"]["template"]
    spec = {key: value for key, value in template["spec"].items() if key != "serviceAccountName"}
    claims: list[dict[str, Any]] = [
        {"name": claim["metadata"]["name"], "emptyDir": {}}
        for claim in workload["spec"].get("volumeClaimTemplates", ())
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": workload["metadata"]["name"], "namespace": GUARDED},
        "spec": {**spec, "volumes": [*spec.get("volumes", ()), *claims]},
    }


def test_every_container_says_what_it_needs_and_how_much_memory_it_may_have(
    furnished: Stack, recorded: Recorder, tmp_path: Path
):
    for workload in emitted(recorded, "highly-available", tmp_path).workloads:
        live = judged(furnished, workload)
        for container in live["spec"]["template"]["spec"]["containers"]:
            resources = container["resources"]
            assert {"cpu", "memory"} <= set(resources["requests"]), container["name"]
            assert "memory" in resources["limits"], container["name"]
