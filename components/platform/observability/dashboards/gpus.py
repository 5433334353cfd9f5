"""The GPU fleet: how busy it is, how full, how healthy, and what it costs."""

from __future__ import annotations

from components.platform.observability.dashboards.costs import (
    GPUS,
    RUNNING_GPUS,
    WAITING_GPUS,
    gpu_pools,
    idle_gpus_usd,
    nodes_usd,
)
from components.platform.observability.dashboards.model import Board, Choice, Panel, Query, Row, Threshold
from components.platform.observability.dashboards.queries import or_zero, rate, sums
from components.platform.observability.rules.facts import GPU_MEMORY_RATIO
from components.platform.observability.rules.recorded import GPU_MEMORY
from components.platform.site import Site

_GPU = '{Hostname=~"$node",namespace=~"$namespace"}'
_ANY = '{Hostname=~"$node"}'
_LEGEND = "{{Hostname}} {{gpu}}"


def board(site: Site) -> Board:
    """The dashboard."""
    return Board(
        name="gpus",
        title="GPU fleet",
        description="Which GPUs there are, who has them, how busy and how full they are, and what they cost.",
        folder="platform",
        tags=["gpus"],
        choices=[
            Choice(name="node", title="Node", query="label_values(DCGM_FI_DEV_GPU_UTIL, Hostname)"),
            Choice(name="namespace", title="Namespace", query="label_values(DCGM_FI_DEV_GPU_UTIL, namespace)"),
        ],
        rows=[_fleet(site), _work(), _memory(), _health()],
        logs=("gpu-system",),
    )


def _fleet(site: Site) -> Row:
    pools = gpu_pools(site)
    return Row(
        title="Fleet",
        panels=[
            Panel(
                title="GPUs there",
                description="GPUs of all nodes that are in the cluster now.",
                queries=[Query(expression=or_zero(sums(f"kube_node_status_allocatable{{{GPUS}}}")))],
                kind="stat",
                width=4,
                height=4,
                decimals=0,
            ),
            Panel(
                title="GPUs taken",
                description="GPUs that pods have. One that is taken and idle costs as much as a busy one.",
                queries=[Query(expression=or_zero(sums(RUNNING_GPUS)))],
                kind="stat",
                width=4,
                height=4,
                decimals=0,
            ),
            Panel(
                title="GPUs waited for",
                description="GPUs that pods ask for and do not have. More than none for long: the quota, the maximum "
                "of the node group, or no capacity at the cloud.",
                queries=[Query(expression=or_zero(sums(WAITING_GPUS)))],
                kind="stat",
                width=4,
                height=4,
                decimals=0,
                thresholds=[Threshold(value=1, severity="warning")],
            ),
            Panel(
                title="Mean utilisation",
                description="Share of the time in which GPUs did anything at all, over those that are there.",
                queries=[Query(expression="avg(DCGM_FI_DEV_GPU_UTIL) / 100")],
                kind="stat",
                unit="percentunit",
                width=4,
                height=4,
                most=1,
            ),
            Panel(
                title="Cost of GPU nodes now",
                description="USD an hour at on-demand list prices for the GPU nodes that are there. Spot nodes cost "
                "less.",
                queries=[Query(expression=nodes_usd(site, pools))],
                kind="stat",
                unit="currencyUSD",
                width=4,
                height=4,
                decimals=2,
            ),
            Panel(
                title="Cost of idle GPUs now",
                description="The part of it for GPUs that no pod has.",
                queries=[Query(expression=idle_gpus_usd(site, pools))],
                kind="stat",
                unit="currencyUSD",
                width=4,
                height=4,
                decimals=2,
            ),
            Panel(
                title="Cost by instance type",
                description="USD an hour at on-demand list prices, by instance type.",
                queries=[Query(expression=nodes_usd(site, pools, by_type=True), legend="{{instance_type}}")],
                kind="stack",
                unit="currencyUSD",
                width=12,
            ),
            Panel(
                title="GPUs by namespace",
                description="GPUs that running pods have, by namespace.",
                queries=[
                    Query(
                        expression=sums(RUNNING_GPUS, "namespace"),
                        legend="{{namespace}}",
                    )
                ],
                kind="stack",
                width=12,
                decimals=0,
            ),
        ],
    )


def _work() -> Row:
    return Row(
        title="Work",
        panels=[
            Panel(
                title="Utilisation",
                description="Share of the time in which a GPU ran anything, by GPU. It says busy, not well used: a "
                "single small kernel counts as 100 %.",
                queries=[Query(expression=f"DCGM_FI_DEV_GPU_UTIL{_GPU} / 100", legend=_LEGEND)],
                unit="percentunit",
                most=1,
            ),
            Panel(
                title="Tensor cores",
                description="Share of cycles in which tensor cores worked: how well a busy GPU is used. Training that "
                "stays below a quarter waits for data or for its peers.",
                queries=[Query(expression=f"DCGM_FI_PROF_PIPE_TENSOR_ACTIVE{_GPU}", legend=_LEGEND)],
                unit="percentunit",
                most=1,
            ),
            Panel(
                title="Memory bandwidth",
                description="Share of cycles in which the memory moved data. Decoding of LLMs is bound by it.",
                queries=[Query(expression=f"DCGM_FI_PROF_DRAM_ACTIVE{_GPU}", legend=_LEGEND)],
                unit="percentunit",
                most=1,
            ),
            Panel(
                title="Who has which GPU",
                description="Pods and the utilisation of their GPUs now.",
                queries=[
                    Query(
                        # A GPU that nobody has is listed with the exporter's own pod.
                        expression='DCGM_FI_DEV_GPU_UTIL{Hostname=~"$node",namespace=~"$namespace",'
                        'namespace!="gpu-system"} / 100'
                    )
                ],
                kind="table",
                unit="percentunit",
                width=24,
                hidden_labels=("__name__", "UUID", "device", "pci_bus_id", "job", "instance", "endpoint", "service"),
            ),
        ],
    )


def _memory() -> Row:
    return Row(
        title="Memory",
        panels=[
            Panel(
                title="Memory in use",
                description="Share of a GPU's memory in use, by GPU; the line is the limit of the critical alert. "
                "A vLLM server takes its share when it starts: look at its KV cache instead.",
                queries=[Query(expression=f"{GPU_MEMORY}{_ANY}", legend=_LEGEND)],
                unit="percentunit",
                most=1,
                thresholds=[Threshold(value=GPU_MEMORY_RATIO, alert="GpuMemoryHigh")],
                width=12,
            ),
            Panel(
                title="Memory used",
                description="MiB in use, by GPU.",
                queries=[Query(expression=f"DCGM_FI_DEV_FB_USED{_GPU}", legend=_LEGEND)],
                unit="mbytes",
                width=12,
            ),
        ],
    )


def _health() -> Row:
    return Row(
        title="Health",
        panels=[
            Panel(
                title="Temperature",
                description="Degrees Celsius of the chip. Above its limit a GPU slows itself down.",
                queries=[Query(expression=f"DCGM_FI_DEV_GPU_TEMP{_ANY}", legend=_LEGEND)],
                unit="celsius",
                least=None,
                thresholds=[Threshold(value=85, alert="GpuHot", severity="warning")],
            ),
            Panel(
                title="Power",
                description="Watts of each GPU.",
                queries=[Query(expression=f"DCGM_FI_DEV_POWER_USAGE{_ANY}", legend=_LEGEND)],
                unit="watt",
            ),
            Panel(
                title="Last Xid error",
                description="Number of the driver's last error, 0 for none; NVIDIA's list says what it means. 48, 63, "
                "64, 74, 79 and 95 mean hardware: the node should go.",
                queries=[Query(expression=f"max by (Hostname, gpu) (DCGM_FI_DEV_XID_ERRORS{_ANY})", legend=_LEGEND)],
                kind="bars",
                thresholds=[Threshold(value=1)],
                decimals=0,
            ),
            Panel(
                title="Rows of memory replaced",
                description="Rows that were replaced after errors that could not be corrected. A few are normal over "
                "years; when a replacement fails, the GPU is worn out.",
                width=12,
                queries=[
                    Query(
                        expression=f"max by (Hostname, gpu) (DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS{_ANY})",
                        legend=_LEGEND,
                    )
                ],
                kind="bars",
                decimals=0,
            ),
            Panel(
                title="Repeated transfers",
                description="Transfers over PCIe that had to be repeated, a second: a bad slot or riser.",
                width=12,
                queries=[Query(expression=f"{rate(f'DCGM_FI_DEV_PCIE_REPLAY_COUNTER{_ANY}')}", legend=_LEGEND)],
                unit="ops",
            ),
        ],
    )
