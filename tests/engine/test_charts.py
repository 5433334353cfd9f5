"""The Helm releases of the shipped stacks: their values exist, and their versions are the pinned ones."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from components.versions import CHARTS, ChartName
from ops.access_matrix import RELEASE, Resource, resources
from tests.engine.harness import FullStack

pytestmark = pytest.mark.engine

_NOT_HERE: Final = 2  # the check's exit code where it has no charts to check with

# Values of the chart etcd 8.12.0, which Milvus brings as an archive: the check reads no archives. That etcd
# has them is in its own values.yaml; what they do is seen in the rendering tier.
_OF_SUBCHARTS: Final = {
    "milvus": ("etcd", ("containerSecurityContext", "podAntiAffinityPreset", "podSecurityContext", "serviceAccount"))
}

# Charts that neither shipped stack installs, and what they are for.
NOT_IN_THESE_STACKS: Final[dict[ChartName, str]] = {
    "gpu-operator": "nodes whose image brings no NVIDIA driver: on-prem and Google Cloud",
    "metrics-server": "on-prem; EKS has it as an add-on, GKE by itself",
}


def _releases(stack: FullStack) -> list[Resource]:
    return [one for one in resources(stack.exported_in_clear) if one.type == RELEASE]


def _without_subcharts(exported: dict[str, Any]) -> dict[str, Any]:
    state = copy.deepcopy(exported)
    for resource in state["deployment"]["resources"]:
        if resource["type"] == RELEASE and resource["inputs"]["chart"] in _OF_SUBCHARTS:
            part, keys = _OF_SUBCHARTS[resource["inputs"]["chart"]]
            for key in keys:
                resource["inputs"]["values"][part].pop(key, None)
    return state


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
        input=json.dumps(_without_subcharts(full_stack.exported_in_clear)), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if answer.returncode == _NOT_HERE:
        pytest.skip(answer.stdout.strip())
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert f"{len(_releases(full_stack))} Helm releases checked" in answer.stdout


def test_every_pinned_chart_is_installed_by_a_stack_or_says_what_it_is_for(dev: FullStack, prod: FullStack):
    """A version that nobody installs is never tried, and is raised by Renovate all the same."""
    installed = {_key(one) for stack in (dev, prod) for one in _releases(stack)}
    named = {(chart.name, chart.version): name for name, chart in CHARTS.items()}

    assert installed <= named.keys()
    assert {named[key] for key in installed} == CHARTS.keys() - NOT_IN_THESE_STACKS.keys()


def test_releases_are_atomic_and_await_their_pods(full_stack: FullStack):
    """A half-installed chart keeps the next update from going on, and a pod that never starts must fail the update."""
    for one in _releases(full_stack):
        assert one.inputs.get("atomic"), one.name
        assert not one.inputs.get("skipAwait"), one.name
        assert one.inputs["timeout"] >= 60, one.name


def _key(release: Resource) -> tuple[str, str]:
    return str(release.inputs["chart"]).rsplit("/", 1)[-1], str(release.inputs["version"])
