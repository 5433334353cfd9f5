"""Models that somebody else serves: no GPU of one's own, on the first day."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from components.capacity.clouds import Cloud
from components.settings.base import Section

ModelName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$")]
"""What clients put into ``model``."""

CloudProvider = Literal["bedrock", "vertex"]
"""A cloud that serves models; called with the platform's own identity there, so that there is no key to keep."""

HostedProvider = Literal["bedrock", "vertex", "openai"]
"""Who serves it: a cloud, or a server that speaks the OpenAI API and asks for no key."""

HOSTING: Final[Mapping[Cloud, tuple[CloudProvider, ...]]] = {"aws": ("bedrock",), "gcp": ("vertex",), "onprem": ()}
"""Which clouds know the identity that the platform has. On machines of one's own it has none."""

Usd = Annotated[float, Field(ge=0)]


class HostedModelSettings(Section):
    """A model that somebody else serves, behind the same API as the stack's own.

    Attributes:
        name: What clients put into ``model``; unique among all models of the stack.
        provider: Who serves it: ``bedrock`` is Amazon Bedrock, for stacks on AWS, where access to the model must have
            been granted to the account once; ``vertex`` is Vertex AI, for stacks on Google Cloud;
            ``openai`` is a server that speaks the OpenAI API, by its ``url``.
        model: The provider's identifier: a model such as ``anthropic.claude-3-haiku-20240307-v1:0``, or an inference
            profile of Bedrock, which is a model with its geography in front: ``us.anthropic.claude-sonnet-4-5-…``; at
            Vertex AI a model of Google's, such as ``gemini-2.5-flash``; at a server the name that it goes by there.
        url: The server of provider ``openai``, without a path, such as ``https://embeddings.dc1.internal:8443``. No key
            is sent: it is for servers of one's own network.
        region: Region of the endpoint; the stack's where it is not set.
        mode: What it does.
        fallbacks: Models that are asked, in this order, when this one did not answer.
        timeout_seconds: From the request to the end of the answer.
        requests_per_minute: Requests that it takes a minute, the account's quota at the provider.
        tokens_per_minute: Tokens that it takes a minute, the same.
        input_usd_per_million: Price of a million input tokens, which the teams' budgets are charged with. Both prices
            or none: without, LiteLLM's own table of public prices is taken.
        output_usd_per_million: Price of a million output tokens.
    """

    name: ModelName
    provider: HostedProvider = "bedrock"
    model: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.:_/-]*$")]
    url: Annotated[str, Field(pattern=r"^(https?://[a-zA-Z0-9.-]+(:\d{1,5})?)?$")] = ""
    region: Annotated[str, Field(pattern=r"^([a-z]{2,}(-[a-z]+)+-?\d+|global)$")] | None = None
    mode: Literal["chat", "completion", "embedding"] = "chat"
    fallbacks: tuple[ModelName, ...] = ()
    timeout_seconds: Annotated[int, Field(ge=1, le=3600)] = 600
    requests_per_minute: Annotated[int, Field(ge=1)] | None = None
    tokens_per_minute: Annotated[int, Field(ge=1)] | None = None
    input_usd_per_million: Usd | None = None
    output_usd_per_million: Usd | None = None

    @model_validator(mode="after")
    def _prices_come_together(self) -> Self:
        if (self.input_usd_per_million is None) != (self.output_usd_per_million is None):
            raise ValueError("set inputUsdPerMillion and outputUsdPerMillion, or neither")
        return self

    @model_validator(mode="after")
    def _a_server_has_an_address(self) -> Self:
        if self.provider == "openai" and not self.url:
            raise ValueError("url must be set for provider openai: where the server is")
        if self.provider != "openai" and self.url:
            raise ValueError(f"url is for provider openai; leave it out; got {self.url}")
        if self.provider == "openai" and self.region:
            raise ValueError("region is for providers that are clouds; leave it out")
        return self
