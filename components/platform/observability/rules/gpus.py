"""GPUs: memory, faults, heat, and what is paid for and not used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from components.platform.observability.rules.facts import GPU_MEMORY_RATIO, ModelObjective, SiteFacts
from components.platform.observability.rules.model import DAY, HOUR, MINUTE, NOW, Alert, Group, RecordingRule, promql
from components.platform.observability.rules.promql import by_team, matching
from components.platform.observability.rules.recorded import GPU_MEMORY

# What a program cannot cause (NVIDIA, "XID Errors"): 48 double-bit error, 63 and 64 rows remapped or not, 74 NVLink, 79
# fallen off the bus, 92 too many single-bit errors, 94 and 95 errors contained or not, 119 and 120 firmware, 140 ECC.
_HARDWARE_FAULTS: Final = "48|63|64|74|79|92|94|95|119|120|140"

# Below the temperatures at which A10G, L4, L40S, A100 and H100 slow down (87 to 92 degrees by their data sheets).
_HOT_CELSIUS: Final = 85

_IDLE_PERCENT: Final = 5
_IDLE_HOURS: Final = 2 * HOUR

# Tenths of the time; the counters are in nanoseconds.
_SLOWED: Final = 0.1

_GPU: Final = "GPU {{ $labels.gpu }} of {{ $labels.Hostname }}"


def groups(facts: SiteFacts, objectives: Sequence[ModelObjective]) -> Iterator[Group]:
    """Rules about GPUs, where they are measured."""
    settings = facts.settings.gpus
    if not (settings.enabled and settings.metrics):
        return
    yield Group(
        name="gpus.recorded",
        rules=[
            RecordingRule(
                record=GPU_MEMORY,
                expression="DCGM_FI_DEV_FB_USED / (DCGM_FI_DEV_FB_USED + DCGM_FI_DEV_FB_FREE)",
            )
        ],
    )
    yield Group(name="gpus", rules=[_memory(objectives), *_ALERTS])


def _memory(objectives: Sequence[ModelObjective]) -> Alert:
    reserving = [one for one in objectives if one.reserves_gpu_memory]
    models = matching(one.name for one in reserving)
    selector = f'{{pod!~"({models})-predictor-.+"}}' if reserving else ""
    return Alert(
        name="GpuMemoryHigh",
        expression=by_team(f"{GPU_MEMORY}{selector} > {GPU_MEMORY_RATIO:g}"),
        lasting=5 * MINUTE,
        severity="critical",
        summary=f"The memory of {_GPU} is nearly full",
        description=(
            "{{ $value | humanizePercentage }} are in use by {{ $labels.namespace }}/{{ $labels.pod }}; the limit is "
            f"{GPU_MEMORY_RATIO:.0%}. What asks for more ends with an error."
        ),
        page="gpus",
        dashboard="gpus",
    )


_ALERTS: Final = (
    Alert(
        name="GpuFault",
        # The exporter repeats the last fault until it restarts: this lasts until somebody has dealt with the node.
        expression=f'DCGM_FI_DEV_XID_ERRORS{{err_code=~"{_HARDWARE_FAULTS}"}} > 0',
        lasting=NOW,
        severity="critical",
        summary=f"{_GPU} reports a fault of its hardware",
        description="Xid {{ $labels.err_code }}: {{ $labels.err_msg }}. What computes there fails, or is wrong.",
        page="gpus",
        dashboard="gpus",
    ),
    Alert(
        name="GpuMemoryErrors",
        expression=(
            f"increase(DCGM_FI_DEV_ECC_DBE_VOL_TOTAL[{promql(DAY)}]) > 0"
            f" or increase(DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS[{promql(DAY)}]) > 0"
            " or DCGM_FI_DEV_ROW_REMAP_FAILURE > 0"
        ),
        lasting=NOW,
        severity="warning",
        summary=f"The memory of {_GPU} has errors that cannot be corrected",
        description="Rows were taken out of use within a day, or could not be. More than one a week: replace the node.",
        page="gpus",
        dashboard="gpus",
    ),
    Alert(
        name="GpuHot",
        expression=f"DCGM_FI_DEV_GPU_TEMP > {_HOT_CELSIUS}",
        lasting=10 * MINUTE,
        severity="warning",
        summary=f"{_GPU} is hot",
        description=f"{{{{ $value }}}} degrees; above {_HOT_CELSIUS} it soon slows itself down.",
        page="gpus",
        dashboard="gpus",
    ),
    Alert(
        name="GpuSlowed",
        expression=(
            "(rate(DCGM_FI_DEV_THERMAL_VIOLATION[15m]) / 1e9)"
            f" > {_SLOWED:g} or (rate(DCGM_FI_DEV_POWER_VIOLATION[15m]) / 1e9) > {_SLOWED:g}"
        ),
        lasting=30 * MINUTE,
        severity="warning",
        summary=f"{_GPU} slows itself down",
        description="For {{ $value | humanizePercentage }} of the time heat or power kept it below its speed.",
        page="gpus",
        dashboard="gpus",
    ),
    Alert(
        name="GpuUnavailable",
        expression=(
            'max by (node) (kube_node_status_capacity{resource="nvidia_com_gpu"})'
            ' - max by (node) (kube_node_status_allocatable{resource="nvidia_com_gpu"}) > 0'
        ),
        lasting=10 * MINUTE,
        severity="warning",
        summary="{{ $value }} GPUs of {{ $labels.node }} are taken out of use",
        description="The device plugin found them unhealthy. They are paid for, and no pod gets them.",
        page="gpus",
        dashboard="gpus",
    ),
    Alert(
        name="GpuIdle",
        expression=by_team(
            "max by (namespace, pod, Hostname, gpu) "
            f'(max_over_time(DCGM_FI_DEV_GPU_UTIL{{pod!=""}}[{promql(_IDLE_HOURS)}])) < {_IDLE_PERCENT}'
        ),
        lasting=30 * MINUTE,
        severity="warning",
        summary="{{ $labels.namespace }}/{{ $labels.pod }} holds a GPU and does not use it",
        description=f"For two hours it was never busier than {{{{ $value }}}} %; below {_IDLE_PERCENT} % is idle.",
        page="money",
        dashboard="gpus",
    ),
)
