"""Helm releases where there is no helm: recorded, and never called installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.kubernetes.provider import KubernetesProvider
from sandbox.kubernetes.session import NOBODY, Session
from sandbox.provider import Resource

pytestmark = pytest.mark.unit

RELEASE = Resource("urn:pulumi:dev::p::kubernetes:helm.sh/v3:Release::karpenter")
CONFIG_MAP = Resource("urn:pulumi:dev::p::kubernetes:core/v1:ConfigMap::settings")
SERVICE = Resource("urn:pulumi:dev::p::kubernetes:core/v1:Service::web")


@pytest.fixture
def provider(tmp_path: Path) -> KubernetesProvider:
    session = Session(tmp_path, None, helm="no helm: not on PATH", autoscale=lambda: None, report=print)
    return KubernetesProvider(session)


def test_a_release_is_recorded_with_its_values_and_says_why(provider: KubernetesProvider):
    said: list[str] = []
    provider.log = lambda _severity, _urn, message: said.append(message)
    inputs, failures = provider.check(
        RELEASE, {}, {"chart": "karpenter", "version": "1.14.1", "values": {"replicas": 2}}, b"seed"
    )
    assert not failures
    resource_id, outputs = provider.create(RELEASE, inputs, 0, preview=False)
    assert outputs["status"]["status"] == "recorded"
    assert outputs["values"] == {"replicas": 2}
    assert said == ["karpenter 1.14.1: recorded, not installed: no helm: not on PATH"]
    assert provider.read(RELEASE, resource_id, inputs, outputs) is not None
    provider.delete(RELEASE, resource_id, inputs, outputs, 0)
    assert provider.read(RELEASE, resource_id, inputs, outputs) is None


def test_a_release_without_a_chart_is_refused(provider: KubernetesProvider):
    _, failures = provider.check(RELEASE, {}, {}, b"seed")
    assert [failure.property for failure in failures] == ["chart"]


def test_without_a_control_plane_objects_are_recorded_and_it_is_said_once(provider: KubernetesProvider):
    said: list[str] = []
    provider.log = lambda _severity, _urn, message: said.append(message)
    for name in ("a", "b"):
        inputs, _ = provider.check(CONFIG_MAP, {}, {"metadata": {"name": name}, "data": {"k": "v"}}, b"seed")
        resource_id, outputs = provider.create(CONFIG_MAP, inputs, 0, preview=False)
        assert outputs["metadata"]["uid"]
        found = provider.read(CONFIG_MAP, resource_id, inputs, outputs)
        assert found == (inputs, outputs)
        provider.delete(CONFIG_MAP, resource_id, inputs, outputs, 0)
        assert provider.read(CONFIG_MAP, resource_id, inputs, outputs) is None
    assert said == [NOBODY]


def test_a_recorded_load_balancer_has_an_address_for_programs_that_export_it(provider: KubernetesProvider):
    inputs, _ = provider.check(SERVICE, {}, {"metadata": {"name": "web"}, "spec": {"type": "LoadBalancer"}}, b"seed")
    _, outputs = provider.create(SERVICE, inputs, 0, preview=False)
    assert outputs["status"]["loadBalancer"]["ingress"] == [{"hostname": "web.default.elb.sandbox.invalid"}]
