"""What the platform must know of retrievals before they exist: follows from their settings alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from components.capacity import Request
from components.platform import telemetry
from components.platform.model_gateway import Backend, GatewayModel, Served
from components.platform.model_gateway.names import PORT as GATEWAY_PORT
from components.platform.openings import LITELLM, MILVUS, SCRAPER, Namespace, Opening
from components.platform.quotas import Allowance
from components.settings.platform import PlatformSettings
from components.settings.retrieval import RetrievalSettings
from workloads.retrieval.answering import url
from workloads.retrieval.names import ENTRIES, KEYS, PORT, SERVICES, SERVING

_MILVUS_PORT: Final = 19530
_HIGHLY_AVAILABLE: Final = 2
_JOB: Final = Request(cpu_millicores=10, memory_mib=48)

# The service answers with a reason; the gateway in front only gives up.
_MARGIN_SECONDS: Final = 10


@dataclass(frozen=True, kw_only=True)
class StackRetrievals:
    """The retrievals of a stack.

    Attributes:
        gateway: What the model gateway offers of them.
        openings: Ways that their pods need.
        entries: Entries of the secret store that are read for them.
        allowances: What their servers may ask for besides their namespace's share.
    """

    gateway: Sequence[GatewayModel] = ()
    openings: Sequence[Opening] = ()
    entries: Sequence[str] = ()
    allowances: Mapping[Namespace, Allowance] = field(default_factory=dict[Namespace, Allowance])


def stack_retrievals(retrievals: Sequence[RetrievalSettings], platform: PlatformSettings) -> StackRetrievals:
    """The retrievals of settings that were accepted; nothing where there is none."""
    if not retrievals:
        return StackRetrievals()
    return StackRetrievals(
        gateway=[gateway_model(one) for one in retrievals],
        openings=openings(platform),
        entries=ENTRIES,
        allowances={SERVING: allowance(retrievals)},
    )


def allowance(retrievals: Sequence[RetrievalSettings]) -> Allowance:
    """What all servers request at their most, with one more of each in a roll-out, and the job that makes the key."""
    services = [one.service for one in retrievals]
    servers = [max(one.max_replicas, _HIGHLY_AVAILABLE) + 1 for one in services]
    return Allowance(
        cpu_millicores=_JOB.cpu_millicores
        + sum(one.cpu_millicores * most for one, most in zip(services, servers, strict=True)),
        memory_mib=_JOB.memory_mib + sum(one.memory_mib * most for one, most in zip(services, servers, strict=True)),
        disk_gib=0,
        volumes_gib=0,
    )


def gateway_model(retrieval: RetrievalSettings) -> GatewayModel:
    """A model as clients see it; which it asks itself is its own affair."""
    answer = retrieval.answer
    return GatewayModel(
        name=retrieval.name,
        backends=(
            Backend(
                name="retrieval",
                target=Served(url=url(retrieval), model=retrieval.name, api="openai"),
                timeout_seconds=answer.timeout_seconds + _MARGIN_SECONDS,
            ),
        ),
        input_usd_per_million=answer.input_usd_per_million,
        output_usd_per_million=answer.output_usd_per_million,
    )


def openings(platform: PlatformSettings) -> tuple[Opening, ...]:
    """Ways of the answering pods. Those of ingestions are their namespace's: Milvus is in it."""
    traced = (
        (Opening(source=SERVICES, target=telemetry.COLLECTOR, ports=(telemetry.HTTP_PORT,), why=_SPANS),)
        if platform.traces.enabled
        else ()
    )
    return (
        Opening(source=LITELLM, target=SERVICES, ports=(PORT,), why="The model gateway calls them."),
        Opening(source=SERVICES, target=LITELLM, ports=(GATEWAY_PORT,), why="Questions are embedded, answers written."),
        Opening(source=SERVICES, target=MILVUS, ports=(_MILVUS_PORT,), why="Passages are looked up."),
        Opening(source=KEYS, target=LITELLM, ports=(GATEWAY_PORT,), why="The key of retrieval is made."),
        Opening(source=SCRAPER, target=SERVICES, ports=(PORT,), why="Metrics: failures, and questions without answer."),
        *traced,
    )


_SPANS: Final = "It reports the parts of requests it served."
