"""What a server's pod needs beside the GPU: CPU, memory, shared memory, disk. Allowances, not measurements."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from workloads.sizing.architecture import Architecture
from workloads.sizing.fit import Sizing
from workloads.sizing.memory import GIB, checkpoint_gib

# The HTTP server, the scheduler, and for each GPU a process with PyTorch and CUDA loaded.
_SERVER_MIB: Final = 4096
_WORKER_MIB: Final = 2560

_READ_AHEAD_MIB: Final = 2048
"""Buffer of weights on their way to the GPU; the loader's limit should be set to it."""

# Compiled kernels, tokenizer, logs, temporary files.
_DISK_GIB: Final = 6


@dataclass(frozen=True, kw_only=True)
class HostNeeds:
    """What one pod requests; units as in ``components.platform.inference.ModelServer``.

    Attributes:
        cpu_millicores: CPU.
        memory_mib: Memory, shared memory included.
        shared_memory_mib: ``/dev/shm``: messages between processes, collectives without NVLink.
        disk_gib: Local disk, with the weights where they are kept on it.
        read_ahead_mib: Limit of the loader's buffer, part of ``memory_mib``.
    """

    cpu_millicores: int
    memory_mib: int
    shared_memory_mib: int
    disk_gib: int
    read_ahead_mib: int = _READ_AHEAD_MIB


def host_needs(sizing: Sizing, *, weights_on_disk: bool) -> HostNeeds:
    """What the pod of a server requests.

    Args:
        sizing: The server.
        weights_on_disk: The weights are copied to the node before they are loaded; else they are streamed.
    """
    gpus = sizing.tensor_parallel
    shared = 1024 if gpus == 1 else 1024 * (1 + gpus // 2)
    memory = _SERVER_MIB + gpus * _WORKER_MIB + _READ_AHEAD_MIB + 2 * _largest_mib(sizing.request.architecture) + shared
    weights = checkpoint_gib(sizing.request.architecture, sizing.request.quantization)
    return HostNeeds(
        cpu_millicores=2000 + 1000 * gpus,
        memory_mib=_up(memory, 256),
        shared_memory_mib=shared,
        disk_gib=math.ceil((1.05 * weights if weights_on_disk else 0) + _DISK_GIB),
    )


def _largest_mib(architecture: Architecture) -> int:
    """The largest single tensor, in 16 bit; it stands in memory once as read and once as converted."""
    matrices = [architecture.vocab * architecture.hidden, architecture.hidden * architecture.intermediate]
    return math.ceil(max(matrices) * 2 / GIB * 1024)


def _up(number: int, step: int) -> int:
    return math.ceil(number / step) * step
