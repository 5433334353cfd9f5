"""How long a server takes to start, by stages of a cold start. Estimates for where nobody has measured yet."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

from workloads.sizing.fit import Sizing
from workloads.sizing.memory import checkpoint_gib

WeightSource = Literal["hub", "object-store", "streamed", "shared-files", "local-disk"]
"""Where weights come from: a public hub; an object store, copied to disk first; the same, streamed to the GPU; NFS,
EFS or GPFS; a disk of the node that has them already."""

# GB/s. What was published for 15-16 GB (docs/serving.md): 250 s from a hub; 4.6-4.9 s streamed with 32 readers from S3
# on a node with 40 Gbit/s. The rest are cautious values of what the services promise to one client.
_RATES: Final[dict[WeightSource, float]] = {
    "hub": 0.064,
    "object-store": 0.25,
    "streamed": 3.2,
    "shared-files": 0.5,
    "local-disk": 1.0,
}

_NETWORK_SHARE: Final = 0.6
"""Share of a node's network that one download reaches."""

# Imports, engine, tokenizer, weights to the GPU: 20-30 s passed before and after the weights in a log of 0.29.
_PROCESS_SECONDS: Final = 30
_WARM_SECONDS: Final = 20
_GRAPH_SECONDS: Final = 0.15  # 51 graphs in 5-7 s

# 41 s for 40 layers and 47 s for 36 in logs of 0.27 and 0.29; less than a second where compiled kernels are found.
_COMPILE_SECONDS: Final = (25, 0.6)
_COMPILED_SECONDS: Final = 5


@dataclass(frozen=True, kw_only=True)
class LoadingStages:
    """Stages of a cold start inside the container, in whole seconds; names as in ``ColdStartBudget``.

    Attributes:
        weights: Fetching the weights.
        compile: Compiling the model's graph.
        warm_up: Starting processes, memory profiling, CUDA graphs, first token.
    """

    weights: int
    compile: int
    warm_up: int


def loading(sizing: Sizing, *, source: WeightSource, network_gbits: float, compiled: bool = False) -> LoadingStages:
    """Estimate how long a server takes from its container's start to its first answer.

    Args:
        sizing: The server.
        source: Where its weights come from.
        network_gbits: Baseline bandwidth of the node in Gbit/s; bursts are not counted on.
        compiled: Its compile cache is kept between starts.
    """
    gigabytes = checkpoint_gib(sizing.request.architecture, sizing.request.quantization) * 2**30 / 1e9
    rate = _RATES[source]
    if source != "local-disk":
        rate = min(rate, network_gbits / 8 * _NETWORK_SHARE)
    first, each = _COMPILE_SECONDS
    layers = sizing.request.architecture.layers
    graphs = 0 if sizing.deployment.eager else sizing.deployment.captured_sizes
    eager = sizing.deployment.eager
    return LoadingStages(
        weights=math.ceil(gigabytes / rate),
        compile=0 if eager else math.ceil(_COMPILED_SECONDS if compiled else first + each * layers),
        warm_up=math.ceil(_PROCESS_SECONDS + _WARM_SECONDS + _GRAPH_SECONDS * graphs),
    )
