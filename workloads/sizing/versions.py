"""Which rules of memory a version of vLLM follows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from components.versions import IMAGES

Version = tuple[int, int]
"""Major and minor version; patches have not changed the rules."""

OLDEST: Final[Version] = (0, 8)
"""First version whose V1 engine is the default; before it the rules were others, and nobody should start there."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Constants that fit what a range of versions reported (``docs/sizing.md`` says from which reports).

    Attributes:
        since: First version.
        logit_bytes: Peak of the sampler while memory is profiled, for each logit of the largest batch.
        compile_bytes: Peak while kernels are compiled and timed, for each token of a step and each element of the
            feed-forward width. 0 where that happens before the profile. It is seen at a start with an empty compile
            cache only, so it must fit.
        non_torch_gib: What CUDA libraries hold beside PyTorch.
        nvlink_gib: The same, in addition, with several GPUs on NVLink (buffers of the collectives).
        graph_share: CUDA graphs as a share of what runner V1 takes for them.
        graphs_inside: CUDA graphs are taken from the budget before the cache is sized; else they lie on top of it.
    """

    since: Version
    logit_bytes: int
    compile_bytes: int
    non_torch_gib: float
    nvlink_gib: float
    graphs_inside: bool
    graph_share: float = 1


PEER_GIB: Final = 0.15
"""What CUDA libraries hold in addition with several GPUs on PCIe."""

_DENSE: Final = (
    Rules(since=OLDEST, logit_bytes=39, compile_bytes=0, non_torch_gib=0.13, nvlink_gib=0.1, graphs_inside=False),
    Rules(since=(0, 17), logit_bytes=14, compile_bytes=0, non_torch_gib=0.13, nvlink_gib=0.1, graphs_inside=False),
    Rules(since=(0, 18), logit_bytes=14, compile_bytes=0, non_torch_gib=0.25, nvlink_gib=1.85, graphs_inside=False),
    # vllm-project/vllm#30515; on by default since 0.21 as its own log says.
    Rules(since=(0, 21), logit_bytes=14, compile_bytes=0, non_torch_gib=0.25, nvlink_gib=1.85, graphs_inside=True),
    # Model runner V2 for dense models (vllm-project/vllm#39337, #44443): it does not estimate graphs.
    Rules(since=(0, 24), logit_bytes=4, compile_bytes=43, non_torch_gib=0.34, nvlink_gib=1.85, graphs_inside=False),
    # It does again (vllm-project/vllm#53183, release notes of 0.29).
    Rules(
        since=(0, 29),
        logit_bytes=4,
        compile_bytes=43,
        non_torch_gib=0.34,
        nvlink_gib=1.85,
        graphs_inside=True,
        graph_share=0.5,
    ),
)
# Mixtures of experts stay with runner V1 until 0.29 (vllm/config/vllm.py of 0.28.0).
_EXPERTS: Final = tuple(rules for rules in _DENSE if rules.since != (0, 24))


def rules_of(version: Version, *, experts: bool) -> Rules:
    """Rules of a version.

    Args:
        version: Of vLLM.
        experts: The model is a mixture of experts.

    Raises:
        ValueError: The version is older than :data:`OLDEST`.
    """
    if version < OLDEST:
        raise ValueError(f"vLLM {version[0]}.{version[1]} is older than {OLDEST[0]}.{OLDEST[1]}, where sizing begins")
    return max((rules for rules in (_EXPERTS if experts else _DENSE) if rules.since <= version), key=lambda r: r.since)


def parse(version: str) -> Version:
    """Major and minor version of a text such as ``v0.28.0`` or an image reference that ends in one.

    Raises:
        ValueError: There is no version in it.
    """
    found = re.search(r"v?(\d+)\.(\d+)(?:\.\S*)?$", version.split("@", maxsplit=1)[0])
    if not found:
        raise ValueError(f"no version in {version!r}; expected one such as 0.28.0")
    return int(found[1]), int(found[2])


PINNED: Final = parse(IMAGES["vllm"])
"""Version that the platform runs."""
