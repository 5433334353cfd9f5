"""What the shipped stacks ask of AWS is accepted by the schema and the validation of the real provider."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.engine.harness import FullStack

pytestmark = pytest.mark.engine

_NOT_HERE: Final = 2  # the check's exit code where the real provider is not installed
# The check derives Terraform's argument from Pulumi's name; these three are translated otherwise by pulumi-aws, or are
# newer than the provider that the check holds (5.100; pulumi-aws 7 is built on 6.x). None: left out of the check.
_RENAMED: Final[dict[tuple[str, str], str | None]] = {
    ("aws:cloudwatch/metricAlarm:MetricAlarm", "name"): "alarmName",
    ("aws:sns/topicSubscription:TopicSubscription", "topic"): "topicArn",
    ("aws:eks/cluster:Cluster", "deletionProtection"): None,
}
# The check derives Terraform's type from Pulumi's, but for those that it lists; this one stands under another module.
_TYPES: Final = {
    "aws:rds/instanceAutomatedBackupsReplication:InstanceAutomatedBackupsReplication": (
        "aws:db/instanceAutomatedBackupsReplication:InstanceAutomatedBackupsReplication"
    ),
}


def translated(exported: dict[str, Any]) -> dict[str, Any]:
    """Return the export with the names that the check expects."""
    state = copy.deepcopy(exported)
    for resource in state["deployment"]["resources"]:
        for (kind, name), other in _RENAMED.items():
            if resource["type"] == kind and name in resource.get("inputs", {}):
                value = resource["inputs"].pop(name)
                if other is not None:
                    resource["inputs"][other] = value
        resource["type"] = _TYPES.get(resource["type"], resource["type"])
    return state


@pytest.fixture(scope="module")
def check() -> Path:
    folder = os.environ.get("STACK_CHECKS")
    if not folder:
        pytest.skip("STACK_CHECKS does not name a directory with aws_provider_check.py")
    return Path(folder) / "aws_provider_check.py"


def test_the_real_provider_refuses_nothing(check: Path, full_stack: FullStack):
    answer = subprocess.run(
        [sys.executable, str(check)],
        input=json.dumps(translated(full_stack.exported_in_clear)), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if answer.returncode == _NOT_HERE:
        pytest.skip(answer.stdout.strip())
    assert answer.returncode == 0, answer.stdout + answer.stderr
