"""What a SageMaker endpoint is made of, decided from plain values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from components.aws.alarms import Alarm
from workloads.managed.machines import Machine
from workloads.managed.names import shortened

Update = Literal["blue-green", "canary", "rolling"]

VARIANT: Final = "AllTraffic"
"""Variant of an endpoint whose models are inference components; SageMaker's own examples call it so."""

# How long an update may take in all, and the range of the API (CreateEndpoint, BlueGreenUpdatePolicy).
_UPDATE_SECONDS: Final = 7200
_BAKE_SECONDS: Final = 600  # the alarms need as long to see five bad minutes
_START_LIMITS: Final = (60, 3600)  # ProductionVariant: seconds that a download or a start may take

# Requests under way in one server, above which another is started: before the queue builds up.
_BUSY: Final = 0.7

# A server that is no longer needed stays so long; a cold start takes as long.
SCALE_IN_SECONDS: Final = 300
SCALE_OUT_SECONDS: Final = 60


def scales_to_zero(fewest: int) -> bool:
    """Whether the model is an inference component: only an endpoint of those may be without a machine."""
    return fewest == 0


def component_name(endpoint: str) -> str:
    """Name of the inference component of an endpoint."""
    return f"{shortened(endpoint, 63 - len('-model'))}-model"


def log_group(endpoint: str, fewest: int) -> str:
    """Log group that SageMaker writes the containers' output to."""
    if scales_to_zero(fewest):
        return f"/aws/sagemaker/InferenceComponents/{component_name(endpoint)}"
    return f"/aws/sagemaker/Endpoints/{endpoint}"


def start_timeout(seconds: float) -> int:
    """A time to start in, within what SageMaker takes."""
    least, most = _START_LIMITS
    return int(min(max(seconds, least), most))


def takes_our_key(machine: Machine) -> bool:
    """Whether volumes can be under our key: machines with a disk of their own have no volume that could be."""
    return machine.local_disk_gib == 0


def busy_requests(concurrency: int) -> float:
    """Requests under way in one server that another one is started above."""
    return max(1.0, round(_BUSY * concurrency, 1))


def update_policy(update: Update, alarms: Sequence[str]) -> dict[str, Any]:
    """How a new configuration takes over, and that it goes back by itself when an alarm says so."""
    rollback = {"alarms": [{"alarm_name": name} for name in alarms]}
    if update == "rolling":
        half = {"type": "CAPACITY_PERCENT", "value": 50}
        return {
            "rolling_update_policy": {
                "maximum_batch_size": half,
                "rollback_maximum_batch_size": {"type": "CAPACITY_PERCENT", "value": 100},
                "wait_interval_in_seconds": _BAKE_SECONDS,
                "maximum_execution_timeout_in_seconds": _UPDATE_SECONDS,
            },
            "auto_rollback_configuration": rollback,
        }
    routing: dict[str, Any] = {"type": "ALL_AT_ONCE", "wait_interval_in_seconds": _BAKE_SECONDS}
    if update == "canary":
        routing = {
            "type": "CANARY",
            "canary_size": {"type": "CAPACITY_PERCENT", "value": 10},
            "wait_interval_in_seconds": _BAKE_SECONDS,
        }
    return {
        "blue_green_update_policy": {
            "traffic_routing_configuration": routing,
            "termination_wait_in_seconds": 120,  # answers that are under way
            "maximum_execution_timeout_in_seconds": _UPDATE_SECONDS,
        },
        "auto_rollback_configuration": rollback,
    }


def error_alarm(endpoint: str, error_percent: float) -> Alarm:
    """Too many requests fail; the metric is 1 for one that does and 0 for others, so its average is their share."""
    return Alarm(
        description=f"More than {error_percent:g} % of the requests to {endpoint} fail. See docs/managed-endpoints.md.",
        namespace="AWS/SageMaker",
        metric="Invocation5XXErrors",
        statistic="Average",
        above=error_percent / 100,
        period_seconds=60,
        periods=5,
        missing_data="notBreaching",
    )


def component_state(
    *,
    endpoint: str,
    model: str,
    machine: Machine,
    start_seconds: float,
    alarms: Sequence[str],
    tags: Mapping[str, str],
) -> str:
    """The inference component, as its CloudFormation type spells it.

    One copy takes a whole machine. It starts with one copy, so that a first ``up`` sees it answer; the scaler then
    decides. What the scaler does to the number of copies is no drift: updates send what differs in this text.
    """
    return json.dumps(
        {
            "InferenceComponentName": component_name(endpoint),
            "EndpointName": endpoint,
            "VariantName": VARIANT,
            "Specification": {
                "ModelName": model,
                "ComputeResourceRequirements": {
                    "NumberOfAcceleratorDevicesRequired": machine.gpus,
                    # A least, not a limit: SageMaker keeps some of the machine's memory, and does not say how much.
                    "MinMemoryRequiredInMb": machine.memory_gib * 1024 // 2,
                },
                "StartupParameters": {
                    "ModelDataDownloadTimeoutInSeconds": start_timeout(start_seconds),
                    "ContainerStartupHealthCheckTimeoutInSeconds": start_timeout(start_seconds),
                },
            },
            "RuntimeConfig": {"CopyCount": 1},
            "DeploymentConfig": {
                "RollingUpdatePolicy": {
                    "MaximumBatchSize": {"Type": "COPY_COUNT", "Value": 1},
                    "MaximumExecutionTimeoutInSeconds": _UPDATE_SECONDS,
                    "WaitIntervalInSeconds": _BAKE_SECONDS,
                },
                "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in alarms]},
            },
            "Tags": [{"Key": key, "Value": value} for key, value in sorted(tags.items())],
        },
        sort_keys=True,
    )
