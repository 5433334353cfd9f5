"""What clients of the model gateway can name: models, and the backends that answer for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from components.contract import EndpointGrant, HostedModelGrant
from components.platform.openings import LITELLM, Opening
from components.settings.hosted_models import HostedModelSettings

Api = Literal["vllm", "openai", "triton"]
"""What a served model speaks: vLLM's dialect of the OpenAI API (its own parameters are passed on), the plain OpenAI API
(Triton's own frontend for it too), or Triton's ``generate`` endpoint, which takes text and knows no chat roles."""

Mode = Literal["chat", "completion", "embedding"]

HostedService = Literal["bedrock", "sagemaker", "vertex"]
"""Who serves a model outside of the cluster: Bedrock, SageMaker, or Vertex AI."""

_HTTP: Final = 80
_HTTPS: Final = 443


@dataclass(frozen=True, kw_only=True)
class Served:
    """A model that the cluster serves.

    Attributes:
        url: Root of its server, without a path: ``http://llama-predictor.mlops-serving.svc.cluster.local:8080``.
        model: Its name at that server.
        api: What the server speaks.
    """

    url: str
    model: str
    api: Api = "vllm"


@dataclass(frozen=True, kw_only=True)
class Hosted:
    """A model that a cloud serves; the gateway's own cloud identity is the credential.

    Attributes:
        provider: Who serves it.
        model: The provider's identifier, such as ``anthropic.claude-sonnet-4-5-20250929-v1:0``; the endpoint's name
            where it is on one of the stack's own.
        region: Region of the endpoint.
        component: Inference component of a SageMaker endpoint; empty where it has none.
        url: Root of the OpenAI API at a Vertex AI endpoint of the stack's own; empty for a model that Google offers.
        project: Project of a Vertex AI endpoint.
        sign_in: How the gateway's identity becomes one of Google's, as an ``external_account`` document, which holds no
            credential; empty where the cluster gives it one.
    """

    provider: HostedService
    model: str
    region: str
    component: str = ""
    url: str = ""
    project: str = ""
    sign_in: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def offered(self) -> bool:
        """Whether the cloud offers it to everybody, by a list price; the others are endpoints of the stack's own."""
        return self.provider == "bedrock" or (self.provider == "vertex" and not self.url)


@dataclass(frozen=True, kw_only=True)
class Backend:
    """One of the places that answer for a model.

    Attributes:
        name: Unique in the model; metrics and logs say ``<model>/<name>``.
        target: What is called.
        timeout_seconds: From the request to the end of the answer. For a model that scales from zero it holds the cold
            start too.
        weight: Share of the requests among backends of the same order.
        order: Lower ones are asked first; the next order is asked when they all failed or are set aside.
        requests_per_minute: What it takes; None for no limit. Above it the next order, the fallbacks or 429.
        tokens_per_minute: The same for tokens.
    """

    name: str
    target: Served | Hosted
    timeout_seconds: float
    weight: int = 1
    order: int = 1
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


@dataclass(frozen=True, kw_only=True)
class GatewayModel:
    """One model, by the name that clients send.

    Attributes:
        name: What clients put into ``model``.
        backends: Who answers; at least one.
        fallbacks: Models that are asked, in this order, when no backend answered.
        mode: What it does.
        input_usd_per_million: Price of a million input tokens, which budgets of teams are charged with. None takes
            LiteLLM's own table, which knows hosted models; a served model without a price costs nothing.
        output_usd_per_million: The same for output tokens.
        sticky: Requests with the same session (header ``x-litellm-session-id``) and key stay with one backend.
    """

    name: str
    backends: Sequence[Backend]
    fallbacks: Sequence[str] = ()
    mode: Mode = "chat"
    input_usd_per_million: float | None = None
    output_usd_per_million: float | None = None
    sticky: bool = False


def hosted_models(settings: Sequence[HostedModelSettings], region: str) -> tuple[GatewayModel, ...]:
    """Models of the settings; ``region`` is that of the stack, for those that name none."""
    return tuple(
        GatewayModel(
            name=one.name,
            backends=(
                Backend(
                    name=one.provider,
                    target=_target(one, region),
                    timeout_seconds=one.timeout_seconds,
                    requests_per_minute=one.requests_per_minute,
                    tokens_per_minute=one.tokens_per_minute,
                ),
            ),
            fallbacks=one.fallbacks,
            mode=one.mode,
            input_usd_per_million=one.input_usd_per_million,
            output_usd_per_million=one.output_usd_per_million,
        )
        for one in settings
    )


def _target(one: HostedModelSettings, region: str) -> Served | Hosted:
    if one.provider == "openai":
        return Served(url=one.url, model=one.model, api="openai")
    return Hosted(provider=one.provider, model=one.model, region=one.region or region)


def hosted_openings(settings: Sequence[HostedModelSettings]) -> tuple[Opening, ...]:
    """Ways to servers outside of the cluster: policies know addresses and no names, so theirs is told by its port."""
    ports = {
        found.port or (_HTTPS if found.scheme == "https" else _HTTP)
        for one in settings
        if one.provider == "openai"
        for found in [urlsplit(one.url)]
    }
    return tuple(
        Opening(source=LITELLM, target="anywhere", ports=(port,), why="Models of servers outside of the cluster.")
        for port in sorted(ports)
    )


def problems(models: Sequence[GatewayModel]) -> Iterator[str]:
    """What cannot work, one line each."""
    counts = Counter(model.name for model in models)
    yield from (f"model {name} is declared {times} times" for name, times in counts.items() if times > 1)
    for model in models:
        if not model.backends:
            yield f"model {model.name} has no backend"
        backends = Counter(backend.name for backend in model.backends)
        yield from (f"model {model.name} has {times} backends {name}" for name, times in backends.items() if times > 1)
        for name in model.fallbacks:
            if name == model.name:
                yield f"model {model.name} falls back to itself"
            elif name not in counts:
                yield f"model {model.name} falls back to {name}, which is not declared; there are {', '.join(counts)}"


def grants(models: Sequence[GatewayModel]) -> tuple[HostedModelGrant | EndpointGrant, ...]:
    """What the gateway must be allowed to call at the cloud; one grant for each service and region."""
    places: dict[tuple[HostedService, str, bool], list[Hosted]] = {}
    for model in models:
        for backend in model.backends:
            if isinstance(one := backend.target, Hosted):
                places.setdefault((one.provider, one.region, one.offered), []).append(one)
    # By place alone: models that stand in the same one cannot be compared.
    ordered = sorted(places.items(), key=lambda place: place[0])
    return tuple(_grant(service, region, asked, offered=offered) for (service, region, offered), asked in ordered)


def _grant(
    service: HostedService, region: str, asked: Sequence[Hosted], *, offered: bool
) -> HostedModelGrant | EndpointGrant:
    names = tuple(sorted({one.model for one in asked}))
    if offered or service == "bedrock":  # the second says to type checkers what the first says to people
        return HostedModelGrant(models=names, region=region)
    components = tuple(sorted({one.component for one in asked if one.component}))
    return EndpointGrant(service=service, endpoints=names, components=components, region=region)


def longest_answer_seconds(models: Sequence[GatewayModel]) -> float:
    """The longest that any request may take when everything that is asked times out: who waits must wait longer.

    A timeout is not retried on the same order, so each order and each fallback is waited for once.
    """
    by_name = {model.name: model for model in models}

    def own(model: GatewayModel) -> float:
        orders: dict[int, float] = {}
        for backend in model.backends:
            orders[backend.order] = max(orders.get(backend.order, 0), backend.timeout_seconds)
        return sum(orders.values())

    return max(
        (own(model) + sum(own(by_name[name]) for name in model.fallbacks if name in by_name) for model in models),
        default=0,
    )
