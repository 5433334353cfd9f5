"""Memory of a training, on each GPU and on each node. Pure: what cannot fit is refused before anything exists.

Estimates from published formulas, with allowances where there is none; not measured here. Sources:

- bytes of weights, gradients and Adam's state, and how ZeRO shares them out: arXiv:1910.02054, sections 3 and 5;
- what offloading moves to the host: arXiv:2101.06840, section 3;
- activations with and without recomputation: arXiv:2205.05198, sections 4 and 5, without the attention matrix, which
  PyTorch's fused attention does not keep;
- weights of 4 bit: arXiv:2305.14314, section 3 (0.127 bit for each weight besides).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from components.settings.fine_tunes import LearningSettings, LoraSettings, Method, ZeroSettings
from workloads.sizing import QUANTIZATIONS, Architecture
from workloads.sizing.memory import CUDA_CONTEXT_GIB, GIB

_GRADIENT_AND_ADAM: Final = 4 + 8
"""Bytes of 32-bit gradients, and of Adam's two moments."""

_AUTOCAST_COPY: Final = 2
"""Bytes of the 16-bit copy that PyTorch's autocast keeps of a 32-bit weight during a pass."""

_LIVE_PARAMETERS: Final = 1_000_000_000
_BUCKET: Final = 200_000_000
"""Elements that ZeRO gathers at most, and sends together: workloads/training/image/finetune/zero.py."""

_LIBRARIES_GIB: Final = 0.3
"""cuBLAS workspaces, and the same again for NCCL's buffers where there are several GPUs; an allowance."""

_FRAGMENTATION: Final = 0.1
"""Share of what comes and goes that PyTorch's allocator holds and cannot hand out; an allowance."""

_PROCESS_MIB: Final = 2560  # PyTorch and CUDA loaded, as in workloads/sizing/host.py
_LOADERS_MIB: Final = 2 * 768  # two processes of each GPU that read data
_SHARD_GIB: Final = 5  # one file of published weights, which is read whole
_DATA_GIB: Final = 10  # the dataset and its cache; an allowance: 1.25e9 tokens of 4 bytes, twice
_CPU_MILLICORES: Final = 3000  # of each GPU: the process, and two that read data


@dataclass(frozen=True, kw_only=True)
class Training:
    """What decides the memory.

    Attributes:
        architecture: The model.
        method: What is learned.
        lora: The adapters.
        zero: Sharing out.
        learning: Batch, length, recomputation.
        gpus: GPUs of a node.
        nodes: Nodes.
        merge: Adapters are merged at the end.
    """

    architecture: Architecture
    method: Method
    lora: LoraSettings
    zero: ZeroSettings | None
    learning: LearningSettings
    gpus: int
    nodes: int
    merge: bool

    @property
    def world(self) -> int:
        """All GPUs."""
        return self.gpus * self.nodes

    @property
    def stage(self) -> int:
        """Stage of ZeRO; 0 without it."""
        return self.zero.stage if self.zero else 0

    @property
    def offload(self) -> str:
        """What the hosts hold."""
        return self.zero.offload if self.zero else "none"

    @property
    def learned(self) -> int:
        """Parameters that are learned."""
        return self.architecture.parameters.total if self.method == "full" else adapter_parameters(self)


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """Memory of one GPU in GiB.

    Attributes:
        weights: Parameters, those that are learned and those that are not.
        gradients: Gradients.
        optimizer: Adam's state, and the 32-bit copy of what is learned.
        activations: What the way back needs, the widest layer, and the scores of all words.
        buffers: What ZeRO gathers and sends, CUDA, libraries, and what cannot be handed out.
    """

    weights: float
    gradients: float
    optimizer: float
    activations: float
    buffers: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.buffers

    def __str__(self) -> str:
        return (
            f"weights {self.weights:.1f}, gradients {self.gradients:.1f}, optimizer {self.optimizer:.1f}, "
            f"activations {self.activations:.1f}, buffers {self.buffers:.1f}"
        )


@dataclass(frozen=True, kw_only=True)
class Host:
    """What the pod of one node asks for beside its GPUs.

    Attributes:
        cpu_millicores: CPU.
        memory_mib: Memory, shared memory included.
        disk_gib: Disk: base weights, data, a checkpoint that goes and one that comes, the finished model.
    """

    cpu_millicores: int
    memory_mib: int
    disk_gib: int


def adapter_parameters(training: Training) -> int:
    """Parameters of the adapters: for each target, rank times what goes in and what comes out."""
    return training.architecture.layers * sum(
        training.lora.rank * (into + out) for into, out in _targets(training).values()
    )


def _targets(training: Training) -> dict[str, tuple[int, int]]:
    """Linear layers of one layer that get adapters: inputs and outputs. Experts are no linear layers to PEFT."""
    model = training.architecture
    q, kv = model.heads * model.head_dim, model.kv_heads * model.head_dim
    known = {"q_proj": (model.hidden, q), "k_proj": (model.hidden, kv), "v_proj": (model.hidden, kv)}
    known["o_proj"] = (q, model.hidden)
    inner = model.experts.shared_intermediate if model.experts else model.intermediate
    if inner:
        known |= {"up_proj": (model.hidden, inner), "down_proj": (inner, model.hidden)}
        if model.gated:
            known["gate_proj"] = (model.hidden, inner)
    chosen = {name: size for name, size in known.items() if name in training.lora.targets}
    # Names of other architectures are not in the table: then as many as there can be.
    return chosen if training.lora.targets and len(chosen) == len(training.lora.targets) else known


def footprint(training: Training) -> Footprint:
    """Memory of each GPU."""
    total, learned, world = training.architecture.parameters.total, training.learned, training.world
    gradient_share = world if training.stage else 1
    weight_share = world if training.stage == 3 else 1
    offloaded = training.offload != "none"
    if training.method == "full" and not training.stage:
        weights = (4 + (_AUTOCAST_COPY if _sixteen_bit(training) else 0)) * total
        gradients, optimizer = 4.0 * total, 8.0 * total
    elif training.method == "full":
        weights = 0 if training.offload == "all" else 2 * total / weight_share
        gradients = 0 if offloaded else 2 * learned / gradient_share
        optimizer = 0 if offloaded else (4 + 8) * learned / gradient_share
    else:
        frozen = _four_bit_bytes(training.architecture) if training.method == "qlora" else 2 * total / weight_share
        weights = (0 if training.offload == "all" else frozen) + 4 * learned / weight_share
        gradients = 0 if offloaded else 4 * learned / gradient_share
        optimizer = 0 if offloaded else 8 * learned / gradient_share
    live = 0.0
    if training.stage == 3:
        live = 2 * min(total, _LIVE_PARAMETERS)
    if training.stage:
        live += 2 * 2 * min(learned, _BUCKET)  # one bucket is filled while the other is sent
    activations = _activations(training)
    return Footprint(
        weights=weights / GIB,
        gradients=gradients / GIB,
        optimizer=optimizer / GIB,
        activations=activations / GIB,
        buffers=(live + _FRAGMENTATION * (gradients + activations + live)) / GIB
        + CUDA_CONTEXT_GIB
        + _LIBRARIES_GIB * (2 if world > 1 else 1),
    )


def _sixteen_bit(training: Training) -> bool:
    return training.learning.precision != "float32"


def _four_bit_bytes(model: Architecture) -> float:
    """Linear layers in 4 bit; all else in 32, as PEFT prepares a model of 4 bit for training."""
    counted = model.parameters
    quantized = counted.linear + counted.kv + counted.copied
    bits = QUANTIZATIONS["bitsandbytes"].bits
    # Experts are no linear layers to bitsandbytes either: they stay in 16 bit.
    return bits / 8 * quantized + 2 * counted.experts + 4 * (counted.embeddings + counted.vectors + counted.other)


def _activations(training: Training) -> float:
    """Bytes that are kept for the way back, and the scores of all words."""
    model, learning = training.architecture, training.learning
    tokens = learning.batch_size * learning.sequence_length
    width = 2 if _sixteen_bit(training) else 4
    layer = tokens * _layer_bytes(training, width)
    # In 16 bit; their softmax, and the gradients of both in 32 (transformers/loss/loss_utils.py).
    scores = tokens * model.vocab * (width + 3 * 4)
    if not learning.recompute:
        return layer * model.layers + scores
    # Only what goes into each layer is kept. When the way back comes to the layers, the scores are gone.
    return tokens * model.hidden * width * model.layers + max(layer, scores)


def _layer_bytes(training: Training, width: int) -> float:
    """Bytes that one token needs in one layer when nothing is computed again."""
    model = training.architecture
    q, kv = model.heads * model.head_dim, model.kv_heads * model.head_dim
    inner = model.intermediate
    if model.experts is not None:
        inner = model.experts.per_token * model.experts.intermediate + model.experts.shared_intermediate
    # Residuals and normalized inputs, twice; queries, keys and values before and after rotation; the feed-forward part.
    kept = width * (6 * model.hidden + 2 * (q + 2 * kv) + q + (4 if model.gated else 2) * inner)
    kept += 4 * 2 * model.norms * model.hidden  # normalization computes in 32 bit
    if training.method != "full":
        # Adapters are 32 bit: what goes into them is widened, and kept once more with the dropout.
        kept += sum((8 if training.lora.dropout else 4) * into for into, _ in _targets(training).values())
    return kept


def host(training: Training, *, shared_memory_gib: int) -> Host:
    """What one node's pod asks for.

    Args:
        training: The training.
        shared_memory_gib: ``/dev/shm``, which counts as memory.
    """
    total, learned = training.architecture.parameters.total, training.learned
    stored = 2 * total / GIB
    processes = training.gpus * (_PROCESS_MIB + _LOADERS_MIB) / 1024
    return Host(
        cpu_millicores=training.gpus * _CPU_MILLICORES,
        memory_mib=1024
        * math.ceil(processes + shared_memory_gib + max(_loading(training), _kept(training), _merging(training))),
        disk_gib=math.ceil(
            stored
            + _DATA_GIB
            + 2 * _checkpoint(training, learned)
            + stored * (training.method == "full" or training.merge)
        ),
    )


def _loading(training: Training) -> float:
    """GiB while weights are on their way to the GPUs."""
    total = training.architecture.parameters.total
    if training.method == "qlora" or training.stage == 3:
        return training.gpus * _SHARD_GIB
    width = 4 if training.method == "full" and not training.stage else 2
    return training.gpus * width * total / GIB


def _kept(training: Training) -> float:
    """GiB that are offloaded to one node."""
    share = training.gpus / training.world
    total, learned = training.architecture.parameters.total, training.learned
    found = 0.0
    if training.offload != "none":
        found += (2 + 4 + 8) * learned * share
    if training.offload == "all":
        found += 2 * total * share
    return found / GIB


def _merging(training: Training) -> float:
    """GiB of the first node at the end: the weights as they were published, and one file of them."""
    if training.method == "full" and training.stage != 3:
        return _SHARD_GIB
    if training.method != "full" and not training.merge:
        return 0
    return 2 * training.architecture.parameters.total / GIB + _SHARD_GIB


def _checkpoint(training: Training, learned: int) -> float:
    """GiB of a checkpoint on one node's disk."""
    if not training.stage:
        return (4 + 8) * learned / GIB  # the first node writes it all
    share = training.gpus / training.world
    return ((4 + 8) * learned * share + 2 * learned) / GIB
