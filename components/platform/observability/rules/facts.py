"""What rules need to know of a stack: plain values, read once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from components.contract import StorePods
from components.platform.site import Site
from components.settings.platform import PlatformSettings

_OUR_LABELS: Final = "llmops/"

ServedBy = Literal["vllm", "triton", "hosted"]
"""What answers for a model: a server in the cluster, or the cloud."""

ERROR_RATIO: Final = 0.01
"""Share of a model's requests that may fail, where it states no objective: 1 % (the architecture's alert)."""

P99_SECONDS: Final = 2.0
"""Latency of the slowest hundredth of a model's requests, where it states no objective (the architecture's alert)."""

GPU_MEMORY_RATIO: Final = 0.9
"""Share of a GPU's memory above which it is as good as full (the architecture's alert)."""


@dataclass(frozen=True, kw_only=True)
class ModelObjective:
    """What is promised of one model; it takes the place of the stack's own limits.

    Attributes:
        name: Name that clients send.
        namespace: Where its servers run; empty for a hosted one.
        team: Who answers for it.
        backend: What serves it.
        p99_seconds: Of a hundred answers 99 take at most this long, from the request to the end of the answer.
        error_ratio: Share of the requests that may fail, over 30 days.
        cold_start_seconds: From a request that finds no server to a server that answers; 0 for a model that always has
            one.
        always_on: It has a server at all times: none ready is an alert, and not the end of the work.
        reserves_gpu_memory: Its server takes more than 90 % of the GPU's memory beforehand, as vLLM does with
            ``--gpu-memory-utilization`` above that. How full the memory is then says nothing; how full its cache is
            does.
    """

    name: str
    namespace: str
    team: str
    backend: ServedBy
    p99_seconds: float = P99_SECONDS
    error_ratio: float = ERROR_RATIO
    cold_start_seconds: int = 0
    always_on: bool = True
    reserves_gpu_memory: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.error_ratio < 1:
            raise ValueError(f"model {self.name}: error_ratio must be between 0 and 1; got {self.error_ratio}")
        if self.p99_seconds <= 0:
            raise ValueError(f"model {self.name}: p99_seconds must be positive; got {self.p99_seconds}")


@dataclass(frozen=True, kw_only=True)
class SiteFacts:
    """The stack, as far as rules depend on it.

    Attributes:
        settings: Which systems there are.
        spot_pools: Labels of the nodes of each spot group.
        teams: Names of the teams.
        highly_available: Whether controllers have replicas.
        stores: Stores that run in the cluster; none where a cloud runs them.
    """

    settings: PlatformSettings
    spot_pools: Sequence[Mapping[str, str]] = ()
    teams: Sequence[str] = ()
    highly_available: bool = field(default=True)
    stores: Sequence[StorePods] = ()

    @classmethod
    def of(cls, site: Site) -> SiteFacts:
        """The facts of a site."""
        return cls(
            settings=site.settings,
            spot_pools=tuple(_ours(pool.labels) for pool in site.foundation.cluster.pools if pool.spot),
            teams=tuple(team.name for team in site.teams),
            highly_available=site.highly_available,
            stores=site.foundation.store_pods,
        )


def _ours(labels: Mapping[str, str]) -> dict[str, str]:
    """Our own labels of nodes: kube-state-metrics tells of those, and not of what a cloud adds for itself."""
    return {key: value for key, value in labels.items() if key.startswith(_OUR_LABELS)}
