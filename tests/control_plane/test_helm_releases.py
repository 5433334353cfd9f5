"""Charts installed by the real helm on a real API server: what they declare is judged, scheduled and removed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox import paths
from sandbox.kubernetes.helm import TYPE
from sandbox.provider import ProviderError, Resource
from sandbox.toolchain import clients
from sandbox.toolchain.control_plane import Missing
from tests.control_plane.conftest import Stack

pytestmark = pytest.mark.control_plane

NAMESPACE = "probes"
RELEASE = Resource(f"urn:pulumi:dev::p::{TYPE}::probe")
_PATIENCE_SECONDS = 30

TEMPLATES = {
    "deployment.yaml": """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: probe}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: probe}}
  template:
    metadata: {labels: {app: probe}}
    spec:
      nodeSelector: {role: {{ .Values.role }}}
      containers:
      - name: main
        image: registry.k8s.io/pause:3.10
""",
    "before.yaml": """\
apiVersion: batch/v1
kind: Job
metadata: {name: before, annotations: {helm.sh/hook: pre-install}}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: main, image: "registry.k8s.io/pause:3.10"}]
""",
    "webhook.yaml": """\
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: probe}
webhooks:
- name: probe.example.com
  clientConfig: {service: {namespace: probes, name: probe}}
  rules: [{apiGroups: ["*"], apiVersions: ["*"], operations: ["*"], resources: ["*"]}]
  failurePolicy: Fail
  sideEffects: None
  admissionReviewVersions: [v1]
""",
    "aggregated.yaml": """\
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta1.probes.example.com}
spec:
  group: probes.example.com
  version: v1beta1
  groupPriorityMinimum: 100
  versionPriority: 100
  insecureSkipTLSVerify: true
  service: {namespace: probes, name: probe}
""",
}


@pytest.fixture
def chart(stack: Stack, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Inputs of a release of a chart of our own, in a namespace of its own."""
    helm = clients.find_or_get("helm", paths.cache_dir(), print)
    if isinstance(helm, Missing):
        pytest.skip(helm.reason)
    (tmp_path / "templates").mkdir()
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: probe\nversion: 1.0.0\n")
    (tmp_path / "values.yaml").write_text("{replicas: 1, role: system}\n")
    for name, text in TEMPLATES.items():
        (tmp_path / "templates" / name).write_text(text)
    namespace = stack.client.kind("v1", "Namespace")
    assert namespace is not None
    stack.client.apply(
        namespace, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}, manager="test"
    )
    inputs: dict[str, Any] = {
        "name": "probe",
        "chart": str(tmp_path),
        "namespace": NAMESPACE,
        "atomic": True,
        "timeout": 60,
    }
    yield inputs
    stack.provider.delete(RELEASE, f"{NAMESPACE}/probe", inputs, inputs, 60)


def _install(stack: Stack, inputs: dict[str, Any], **values: Any) -> dict[str, Any]:
    return stack.provider.create(RELEASE, {**inputs, "values": values}, 0, preview=False)[1]


def _found(stack: Stack, kind: str, name: str) -> dict[str, Any] | None:
    served = stack.client.kind(*kind.rsplit("/", 1))
    assert served is not None
    return stack.client.get(served, NAMESPACE, name)


def test_a_release_is_installed_with_its_hooks_its_pods_run_and_it_goes_without_a_rest(stack: Stack, chart):
    outputs = _install(stack, chart, replicas=2)

    assert outputs["status"]["status"] == "deployed"
    deployment = _found(stack, "apps/v1/Deployment", "probe")
    assert deployment is not None
    assert deployment["status"]["readyReplicas"] == 2
    hook = _found(stack, "batch/v1/Job", "before")
    assert hook is not None
    assert hook["status"]["succeeded"] == 1

    stack.provider.delete(RELEASE, f"{NAMESPACE}/probe", chart, outputs, 60)
    assert _found(stack, "apps/v1/Deployment", "probe") is None
    assert stack.provider.read(RELEASE, f"{NAMESPACE}/probe", chart, outputs) is None


def test_what_only_its_pods_could_answer_blocks_nothing(stack: Stack, chart):
    """Its webhook would refuse everything, and its API is served by nobody: both would stop every later object."""
    _install(stack, chart)

    webhook = stack.client.request("GET", "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/probe")
    assert webhook["webhooks"][0]["failurePolicy"] == "Fail"
    other = stack.client.kind("v1", "ConfigMap")
    assert other is not None
    blocked = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other", "namespace": NAMESPACE}}
    stack.client.apply(other, blocked, manager="test")

    def registered() -> list[Any]:
        listed = stack.client.items("/apis/apiregistration.k8s.io/v1/apiservices")
        return [one for one in listed if one["spec"].get("service")]

    deadline = time.monotonic() + _PATIENCE_SECONDS
    while registered():
        assert time.monotonic() < deadline, registered()
        time.sleep(0.2)


def test_an_upgrade_that_cannot_become_ready_is_rolled_back_and_says_what_the_pod_waits_for(stack: Stack, chart):
    _install(stack, chart)

    with pytest.raises(ProviderError, match=r"Deployment probes/probe: .*didn't match Pod's node affinity/selector"):
        _install(stack, {**chart, "timeout": 8}, role="nowhere")

    deployment = _found(stack, "apps/v1/Deployment", "probe")
    assert deployment is not None
    assert deployment["spec"]["template"]["spec"]["nodeSelector"] == {"role": "system"}


def test_a_first_install_that_cannot_become_ready_leaves_nothing(stack: Stack, chart):
    with pytest.raises(ProviderError, match=r"didn't match Pod's node affinity/selector"):
        _install(stack, {**chart, "timeout": 8}, role="nowhere")

    assert _found(stack, "apps/v1/Deployment", "probe") is None
    assert stack.provider.read(RELEASE, f"{NAMESPACE}/probe", chart, chart) is None
