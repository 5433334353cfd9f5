"""The Helm releases of the shipped stacks: their values exist, and their versions are the pinned ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
import yaml

from components.versions import CHARTS, ChartName
from ops.access_matrix import RELEASE, Resource, resources
from tests.conftest import STACKS
from tests.engine.harness import ROOT, FullStack

pytestmark = pytest.mark.engine

_NOT_HERE: Final = 2  # the check's exit code where it has no charts to check with

_ETCD: Final = "a value of the chart etcd 8.12.0, which Milvus brings as an archive: the check reads no archives"
_AS_IT_IS: Final = "the template writes the map around it as it is"
_INI: Final = "the template writes every section of grafana.ini as it is"

# Values that the charts take and do not list: `helm template` of each chart at its pinned version shows them where they
# belong. By release and path, with how the chart takes them.
_UNLISTED: Final = {
    "platform-ml-vectors-release: etcd.containerSecurityContext": _ETCD,
    "platform-ml-vectors-release: etcd.podAntiAffinityPreset": _ETCD,
    "platform-ml-vectors-release: etcd.podSecurityContext": _ETCD,
    "platform-ml-vectors-release: etcd.serviceAccount": _ETCD,
    "platform-ml-vectors-release: streamingNode.topologySpreadConstraints": "read by its template",
    "platform-observability-logs-release: loki.ingester.wal.replay_memory_ceiling": _AS_IT_IS,
    "platform-observability-logs-release: loki.server.log_format": _AS_IT_IS,
    "platform-observability-logs-release: singleBinary.automountServiceAccountToken": "read by its template",
    "platform-observability-metrics-release: grafana.containerSecurityContext.readOnlyRootFilesystem": _AS_IT_IS,
    "platform-observability-metrics-release: grafana.deploymentStrategy.rollingUpdate": _AS_IT_IS,
    "platform-observability-metrics-release: grafana.fullnameOverride": "read by the helpers of its templates",
    "platform-observability-metrics-release: grafana.grafana.ini.analytics.check_for_plugin_updates": _INI,
    "platform-observability-metrics-release: grafana.grafana.ini.analytics.feedback_links_enabled": _INI,
    "platform-observability-metrics-release: grafana.grafana.ini.analytics.reporting_enabled": _INI,
    "platform-observability-metrics-release: grafana.grafana.ini.auth": _INI,
    "platform-observability-metrics-release: grafana.grafana.ini.database": _INI,
    "platform-observability-metrics-release: grafana.grafana.ini.live": _INI,
    "platform-observability-metrics-release: grafana.grafana.ini.log.console": _INI,
    "platform-observability-metrics-release: grafana.grafana.ini.news": _INI,
    "platform-observability-metrics-release: grafana.grafana.ini.security": _INI,
    "platform-observability-metrics-release: grafana.grafana.ini.snapshots": _INI,
    "platform-observability-metrics-release: grafana.grafana.ini.users": _INI,
    "platform-observability-metrics-release: grafana.rbac.create": "hidden by the `rbac` of the chart around it",
    "platform-observability-metrics-release: prometheus.prometheusSpec.arbitraryFSAccessThroughSMs": _AS_IT_IS,
    "platform-observability-traces-collector: ports.otlp-http.appProtocol": "read by the template of its service",
    "platform-observability-traces-release: securityContext.fsGroupChangePolicy": _AS_IT_IS,
    "platform-observability-traces-release: securityContext.seccompProfile": _AS_IT_IS,
    "platform-observability-traces-release: tempo.server.log_format": _AS_IT_IS,
    "platform-observability-traces-release: tempo.server.log_level": _AS_IT_IS,
}

# Charts that no shipped stack installs, and what they are for.
NOT_IN_THESE_STACKS: Final[dict[ChartName, str]] = {
    "gateway-crds": "models that ask for `triton.balance: requests`",
}


def _releases(stack: FullStack) -> list[Resource]:
    return [one for one in resources(stack.exported_in_clear) if one.type == RELEASE]


@pytest.fixture(scope="module")
def check() -> Path:
    folder = os.environ.get("STACK_CHECKS")
    if not folder:
        pytest.skip("STACK_CHECKS does not name a directory with helm_values_check.py")
    program = Path(folder) / "helm_values_check.py"
    if not program.exists():
        pytest.skip(f"there is no {program.name} in {folder}")
    return program


def test_no_release_sets_a_value_that_its_chart_does_not_have(check: Path, full_stack: FullStack):
    """Helm ignores such a value in silence."""
    answer = subprocess.run(
        [sys.executable, str(check)],
        input=json.dumps(full_stack.exported_in_clear), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if answer.returncode == _NOT_HERE:
        pytest.skip(answer.stdout.strip())
    *found, last = answer.stdout.splitlines()
    assert f"{len(_releases(full_stack))} Helm releases checked" in last, answer.stderr
    assert [line for line in found if line.rpartition(": ")[0] not in _UNLISTED] == []


def test_every_pinned_chart_is_installed_by_a_stack_or_says_what_it_is_for():
    """A version that nobody installs is never tried, and is raised by Renovate all the same."""
    graphs = [
        yaml.load((ROOT / "tests" / "golden" / f"{stack}.yaml").read_text(), yaml.CSafeLoader) for stack in STACKS
    ]
    releases = [one["inputs"] for graph in graphs for key, one in graph.items() if key.split(" ", 1)[0] == RELEASE]
    installed = {(one["chart"].rpartition("/")[2], one["version"]) for one in releases}
    named = {(chart.name, chart.version): name for name, chart in CHARTS.items()}

    assert installed <= named.keys()
    assert {named[key] for key in installed} == CHARTS.keys() - NOT_IN_THESE_STACKS.keys()


def test_releases_are_atomic_and_await_their_pods(full_stack: FullStack):
    """A half-installed chart keeps the next update from going on, and a pod that never starts must fail the update."""
    for one in _releases(full_stack):
        assert one.inputs.get("atomic"), one.name
        assert not one.inputs.get("skipAwait"), one.name
        assert one.inputs["timeout"] >= 60, one.name
