"""Helm releases: where charts come from, and, where there is no helm, recorded and never called installed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sandbox.kubernetes.helm import NotAtHandError, Releases
from sandbox.kubernetes.provider import KubernetesProvider
from sandbox.kubernetes.session import NOBODY, Session
from sandbox.provider import Resource
from sandbox.store import Store

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


def _helm_that_repeats_its_arguments(folder: Path) -> Path:
    """JSON is YAML: what it prints is read as one object, its arguments."""
    program = folder / "helm"
    program.write_text("#!/usr/bin/env python3\nimport json, sys\nprint(json.dumps({'said': sys.argv[1:]}))\n")
    program.chmod(0o700)
    return program


def _arguments(tmp_path: Path, **release: object) -> list[str]:
    """What helm is told to render when three charts lie in a folder."""
    charts = tmp_path / "charts"
    for name in ("keda-2.20.2", "unpacked-wrongly-1.0.0"):
        (charts / name).mkdir(parents=True)
    (charts / "keda-2.20.2" / "Chart.yaml").write_text("name: keda\nversion: 2.20.2\n")
    (charts / "cert-manager-v1.21.1.tgz").write_text("")
    helm = _helm_that_repeats_its_arguments(tmp_path)
    releases = Releases(helm, "", tmp_path / "kubeconfig", Store(tmp_path / "store"), charts=charts)
    (rendered,) = releases.render({"name": "probe", **release}, kubernetes_version="1.35.0")
    return rendered["said"]


KEDA = {"chart": "keda", "repositoryOpts": {"repo": "https://kedacore.github.io/charts"}}


def test_a_chart_in_the_folder_is_taken_from_there_by_name_and_version(tmp_path: Path):
    said = _arguments(tmp_path, **KEDA, version="2.20.2")
    assert str(tmp_path / "charts" / "keda-2.20.2") in said
    assert "--repo" not in said


def test_an_archive_serves_a_chart_of_an_oci_registry_too(tmp_path: Path):
    said = _arguments(tmp_path, chart="oci://quay.io/jetstack/charts/cert-manager", version="v1.21.1")
    assert str(tmp_path / "charts" / "cert-manager-v1.21.1.tgz") in said


@pytest.mark.parametrize("version", ["2.20.3", None])
def test_another_version_than_the_one_in_the_folder_comes_from_the_repository(tmp_path: Path, version: str | None):
    said = _arguments(tmp_path, **KEDA, version=version)
    assert said[said.index("--repo") + 1] == "https://kedacore.github.io/charts"
    assert not any("keda-2.20.2" in word for word in said)


def test_a_directory_without_a_chart_in_it_is_no_chart(tmp_path: Path):
    said = _arguments(tmp_path, chart="unpacked-wrongly", version="1.0.0")
    assert said[said.index("--version") + 1] == "1.0.0"


def test_the_folder_of_charts_is_named_by_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    chart = tmp_path / "elsewhere" / "keda-2.20.2"
    chart.mkdir(parents=True)
    (chart / "Chart.yaml").write_text("name: keda\nversion: 2.20.2\n")
    monkeypatch.setenv("SANDBOX_CHARTS", str(chart.parent))
    releases = Releases(_helm_that_repeats_its_arguments(tmp_path), "", tmp_path, Store(tmp_path / "store"))
    rendered = releases.render({**KEDA, "name": "probe", "version": "2.20.2"}, kubernetes_version="1.35.0")
    assert str(chart) in json.dumps(rendered)


def test_what_cannot_be_rendered_says_why(tmp_path: Path):
    releases = Releases(None, "no helm: not on PATH", None, Store(tmp_path / "store"))
    with pytest.raises(NotAtHandError, match="no helm: not on PATH"):
        releases.render({**KEDA, "name": "probe", "version": "2.20.2"}, kubernetes_version="1.35.0")
