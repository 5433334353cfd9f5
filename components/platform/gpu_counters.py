"""What the DCGM exporter counts: what rules and dashboards ask for. Each counter is a series of every GPU."""

from __future__ import annotations

from typing import Final, Literal

# The chart's own list, without what nobody asks for (encoders, licences of shared GPUs) and with errors of memory and
# how long a GPU slows itself down, which it leaves out. Fields that a GPU does not have are left out by the exporter.
# https://github.com/NVIDIA/dcgm-exporter/blob/4.5.3-4.8.2/etc/default-counters.csv
COUNTERS: Final[dict[str, tuple[Literal["counter", "gauge"], str]]] = {
    "DCGM_FI_DEV_SM_CLOCK": ("gauge", "Clock of the multiprocessors in MHz."),
    "DCGM_FI_DEV_MEM_CLOCK": ("gauge", "Clock of the memory in MHz."),
    "DCGM_FI_DEV_MEMORY_TEMP": ("gauge", "Temperature of the memory in degrees Celsius."),
    "DCGM_FI_DEV_GPU_TEMP": ("gauge", "Temperature in degrees Celsius."),
    "DCGM_FI_DEV_POWER_USAGE": ("gauge", "Power in W."),
    "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION": ("counter", "Energy since boot in mJ."),
    "DCGM_FI_DEV_PCIE_REPLAY_COUNTER": ("counter", "Repeated transfers on PCIe."),
    "DCGM_FI_DEV_GPU_UTIL": ("gauge", "Share of the time with work in %."),
    "DCGM_FI_DEV_MEM_COPY_UTIL": ("gauge", "Share of the time with the memory in use in %."),
    "DCGM_FI_DEV_XID_ERRORS": ("gauge", "Number of the last fault."),
    "DCGM_FI_DEV_FB_FREE": ("gauge", "Free memory in MiB."),
    "DCGM_FI_DEV_FB_USED": ("gauge", "Used memory in MiB."),
    "DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL": ("counter", "Traffic of all NVLinks."),
    "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL": ("counter", "Errors of two bits since the driver was loaded."),
    "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS": ("counter", "Rows taken out of use for errors that stayed."),
    "DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS": ("counter", "Rows taken out of use for errors that were corrected."),
    "DCGM_FI_DEV_ROW_REMAP_FAILURE": ("gauge", "Whether a row could not be taken out of use."),
    "DCGM_FI_DEV_POWER_VIOLATION": ("counter", "Time below full speed for its power in ns."),
    "DCGM_FI_DEV_THERMAL_VIOLATION": ("counter", "Time below full speed for its heat in ns."),
    "DCGM_FI_PROF_GR_ENGINE_ACTIVE": ("gauge", "Share of the time with any engine at work."),
    "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE": ("gauge", "Share of the cycles with the tensor cores at work."),
    "DCGM_FI_PROF_DRAM_ACTIVE": ("gauge", "Share of the cycles with the memory at work."),
    "DCGM_FI_PROF_PCIE_TX_BYTES": ("gauge", "Bytes sent over PCIe a second."),
    "DCGM_FI_PROF_PCIE_RX_BYTES": ("gauge", "Bytes received over PCIe a second."),
}
"""Type and meaning by field."""


def csv() -> str:
    """The list as the exporter reads it."""
    return "".join(f"{field}, {kind}, {meaning}\n" for field, (kind, meaning) in COUNTERS.items())
