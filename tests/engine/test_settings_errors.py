"""Settings that cannot work end the run before anything is created, with every problem in one go."""

from __future__ import annotations

import shutil

import pytest

from tests.engine.harness import ROOT, Sandbox

pytestmark = pytest.mark.engine

WRONG_VALUES = """
config:
  llmops:owner: ml-platform
  llmops:costCentre: "1234"
  llmops:keyDeletionDays: "3"
  llmops:network:
    cidr: 10.0.0.0/24
    natGateways: none
    interfaceEndpoints: [ecr.api, s4]
  llmops:nodeGroups:
    - {name: system, role: system, capacity: spot, instanceTypes: [m6i.xlarge], minSize: 3, maxSize: 2}
    - {name: gpu, role: gpu-inference, instanceTypes: [g9.huge], maxSize: 1}
  llmops:database:
    storageGib: "much"
"""
WRONG_VALUES_PATHS = [
    "costCenter",
    "costCentre",
    "keyDeletionDays",
    "network.cidr",
    "network.natGateways",
    "network.interfaceEndpoints[1]",
    "nodeGroups[0].capacity",
    "nodeGroups[0].maxSize",
    "nodeGroups[1].instanceTypes",
    "database.storageGib",
]
# Each value is allowed by itself; together they cannot work.
WRONG_TOGETHER = """
config:
  llmops:owner: ml-platform
  llmops:costCenter: ml
  llmops:network:
    zones: [eu-west-1a, us-east-1b]
  llmops:nodeGroups:
    - {name: system, role: system, instanceTypes: [m6i.xlarge], minSize: 2, maxSize: 6}
    - {name: cpu, role: cpu, instanceTypes: [m6i.2xlarge], maxSize: 10}
    - {name: gpu, role: gpu-training, capacity: spot, instanceTypes: [g5.4xlarge, g5.8xlarge], maxSize: 8}
    - {name: gpu, role: gpu-inference, instanceTypes: [g5.xlarge], maxSize: 4}
"""
WRONG_TOGETHER_PATHS = ["network.zones[0]", "nodeGroups[2].name", "nodeGroups[3].name", "workloads[3]"]


@pytest.mark.parametrize(
    ("settings", "paths"),
    [
        pytest.param(WRONG_VALUES, WRONG_VALUES_PATHS, id="values that are not allowed"),
        pytest.param(WRONG_TOGETHER, WRONG_TOGETHER_PATHS, id="values that cannot work together"),
    ],
)
def test_every_problem_of_a_bad_settings_file_is_named_in_one_run(sandbox: Sandbox, settings: str, paths: list[str]):
    """The shipped program with other settings; an operator mends the whole file after one attempt."""
    for name in ("__main__.py", "Pulumi.yaml"):
        shutil.copy(ROOT / name, sandbox.project)
    (sandbox.project / "components").symlink_to(ROOT / "components")
    (sandbox.project / "Pulumi.dev.yaml").write_text(settings)

    answer = sandbox.pulumi("up", "--yes", "--skip-preview")

    assert answer.code != 0
    assert "Traceback" not in answer.text
    lines = [line.strip() for line in answer.text.splitlines()]
    assert f"{len(paths)} problems in the settings of stack dev" in answer.text
    for path in paths:
        assert any(line.startswith(f"{path}: ") for line in lines), f"{path} is not named in:\n{answer.text}"
    assert sandbox.account() == []
    assert {resource["type"] for resource in sandbox.state().values()} <= {"pulumi:pulumi:Stack"}
