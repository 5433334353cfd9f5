"""The metrics stack on a real API server: its objects are admitted, its pods restricted, and all fit the namespace.

Needs helm and the charts (``SANDBOX_CHARTS``), and the definitions of the operators (``SANDBOX_CRDS``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pytest

from components.capacity import Request
from components.platform.installed import Installed
from components.platform.observability.component import Observability, ObservabilityArgs
from components.platform.quotas import PER_NODE, SHARES
from components.settings.teams import TeamSettings
from sandbox.kubernetes.api import ApiError, Manifest
from tests.control_plane.conftest import Stack
from tests.control_plane.declared import (
    RESTRICTED,
    Declared,
    definitions,
    furnishing,
    objects_of,
    rendered_of,
)
from tests.rendering.ground import cpu_and_memory, quantity
from tests.rendering.operated import operated
from tests.unit.conftest import recording
from tests.unit.platform_site import options, site

pytestmark = pytest.mark.control_plane

GUARDED: Final = "restricted-pods"
SYSTEMS: Final = ("prometheus-operator", "cert-manager", "istio", "external-secrets")
RECEIVERS: Final[Mapping[str, Any]] = {
    "chat": {"slack": {"channel": "#ml"}},
    "oncall": {"pagerduty": {}},
    "mail": {"email": {"to": ["ml@example.com"], "sender": "alerts@example.com", "server": "smtp.example.com"}},
    "hook": {"webhook": {}},
}
ALERTING: Final[Mapping[str, Any]] = {
    "receivers": RECEIVERS,
    "routes": {"critical": ["oncall", "mail"], "warning": ["chat", "hook"]},
}
VARIANTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "highly-available": {"alerting": ALERTING},
    "small": {"highlyAvailable": False, "certificates": {"enabled": False}, "gateway": {"enabled": False}},
}
WORKLOADS: Final = ("DaemonSet", "Deployment", "Job", "StatefulSet")
SERVERS: Final = ("Alertmanager", "Prometheus")


@dataclass(frozen=True)
class Emitted:
    """What the program declares itself, what the charts make of its values, and the operator of that."""

    own: Sequence[tuple[str, dict[str, Any]]]
    rendered: Mapping[str, Sequence[Manifest]]

    def of(self, *kinds: str) -> Iterator[Manifest]:
        for some in self.rendered.values():
            yield from (one for one in (*some, *operated(some)) if one["kind"] in kinds)
        for token, inputs in self.own:
            if token.rpartition(":")[2] in kinds:
                yield {**inputs, "kind": token.rpartition(":")[2]}


@pytest.fixture(scope="module", params=VARIANTS)
def emitted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Emitted:
    with recording() as recorded:

        def program() -> None:
            here = site(VARIANTS[request.param], teams=[TeamSettings(name="nlp")])
            Observability("observability", ObservabilityArgs(site=here, there=Installed()), options(here))

        own = objects_of(recorded, program)
    return Emitted(own, rendered_of(recorded, tmp_path_factory.mktemp("observability")))


@pytest.fixture(scope="module")
def furnished(stack: Stack) -> Iterator[Stack]:
    """The namespace as the platform has it, and one that admits restricted pods only."""
    definitions(*SYSTEMS)
    spaces = {"monitoring": {"pod-security.kubernetes.io/enforce": "privileged"}, GUARDED: RESTRICTED}
    with furnishing(stack, spaces, priorities={"platform-critical": 1_000_000}):
        yield stack


def test_everything_is_admitted(emitted: Emitted, furnished: Stack):
    """Strictly: a field that the definition does not have is refused, as is one of a wrong type."""
    for manifest in emitted.rendered["kube-prometheus-stack"]:
        if manifest["kind"] == "CustomResourceDefinition":
            continue
        version = manifest["apiVersion"]
        token = f"{version if '/' in version else f'core/{version}'}:{manifest['kind']}"
        Declared(furnished, token, manifest).preview()
    monitors = 0
    for token, inputs in emitted.own:
        Declared(furnished, token, inputs).preview()
        monitors += token.endswith(("PodMonitor", "ServiceMonitor"))
    assert monitors > 30


def test_every_pod_but_the_node_exporter_meets_the_restricted_level(emitted: Emitted, furnished: Stack):
    """The namespace admits more, because of what reads nodes; nothing else makes use of that."""
    refused: set[str] = set()
    for workload in emitted.of(*WORKLOADS):
        if workload["metadata"]["name"] == "alloy":  # reads the log files of nodes
            continue
        try:
            _judge(furnished, workload)
        except ApiError as error:
            assert "violates PodSecurity" in str(error), error  # noqa: PT017 what else is wrong must be seen
            refused.add(workload["metadata"]["name"])
    assert refused == {"kube-prometheus-stack-prometheus-node-exporter"}


def _judge(stack: Stack, workload: Manifest) -> None:
    """Its pod, where only restricted ones are admitted; accounts and volumes are not judged here."""
    template = workload["spec"]["template"]
    spec = {key: value for key, value in template["spec"].items() if key != "serviceAccountName"}
    claims: list[Manifest] = [{"name": claim["metadata"]["name"], "emptyDir": {}} for claim in _claims(workload)]
    volumes: Sequence[Manifest] = spec.get("volumes") or ()
    pod: Manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": workload["metadata"]["name"], "namespace": GUARDED},
        "spec": {**spec, "volumes": [*volumes, *claims]},
    }
    resource = stack.client.kind("v1", "Pod")
    assert resource is not None
    stack.client.apply(resource, pod, manager="test", dry_run=True)


def test_what_watches_fits_the_share_of_its_namespace(emitted: Emitted):
    """All replicas, and one more pod of the largest Deployment while it is rolled out; metrics, logs and traces."""
    pods = list(_pods(emitted))
    cpu = sum(count * one.cpu_millicores for one, count in pods)
    memory = sum(count * one.memory_mib for one, count in pods)
    share = SHARES["monitoring"]
    assert cpu <= share.cpu_millicores
    assert memory <= share.memory_mib
    assert sum(_claimed(emitted)) <= share.ephemeral_storage_gib


def _pods(emitted: Emitted) -> Iterator[tuple[Request, int]]:
    deployments = [(one, cpu_and_memory(one["spec"]["template"]["spec"])) for one in emitted.of("Deployment")]
    surging = [asked for one, asked in deployments if _surges(one)]
    yield max(surging, key=lambda asked: asked.memory_mib), 1
    yield from ((asked, int(one["spec"].get("replicas", 1))) for one, asked in deployments)
    for one in emitted.of("StatefulSet", "Job"):
        yield cpu_and_memory(one["spec"]["template"]["spec"]), int(one["spec"].get("replicas", 1))


def _surges(deployment: Manifest) -> bool:
    strategy: Manifest = deployment["spec"].get("strategy") or {}
    rolling: Manifest = strategy.get("rollingUpdate") or {}
    return rolling.get("maxSurge") != 0 and strategy.get("type") != "Recreate"


def _claims(workload: Manifest) -> Sequence[Manifest]:
    found: Sequence[Manifest] = workload["spec"].get("volumeClaimTemplates") or ()
    return found


def _claimed(emitted: Emitted) -> Iterator[int]:
    for one in emitted.of("StatefulSet"):
        for claim in _claims(one):
            yield int(one["spec"].get("replicas", 1)) * _gib(claim["spec"])
    for one in emitted.of(*SERVERS):
        yield int(one["spec"]["replicas"]) * _gib(one["spec"]["storage"]["volumeClaimTemplate"]["spec"])


def _gib(claim: Manifest) -> int:
    return int(quantity(claim["resources"]["requests"]["storage"]) / 2**30)


def test_what_watches_each_node_fits_what_every_node_keeps_for_it(emitted: Emitted):
    asked = [cpu_and_memory(one["spec"]["template"]["spec"]) for one in emitted.of("DaemonSet")]
    assert len(asked) == 2
    kept = PER_NODE["monitoring"]
    assert sum(one.cpu_millicores for one in asked) <= kept.cpu_millicores
    assert sum(one.memory_mib for one in asked) <= kept.memory_mib


def test_every_container_says_what_it_needs_and_how_much_memory_it_may_have(emitted: Emitted):
    for workload in emitted.of(*WORKLOADS):
        for container in workload["spec"]["template"]["spec"]["containers"]:
            resources: Manifest = container.get("resources") or {}
            requests: Manifest = resources.get("requests") or {}
            limits: Manifest = resources.get("limits") or {}
            assert {"cpu", "memory"} <= set(requests), container["name"]
            assert "memory" in limits, container["name"]
