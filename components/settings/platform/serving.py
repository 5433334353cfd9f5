"""Serving of models: KServe, scale to zero, how long a cold start may take."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from components.settings.base import Section

Stage = Annotated[int, Field(ge=0, le=3600)]
"""Seconds of one stage of a cold start."""


class ColdStartSettings(Section):
    """How long each stage of a cold start takes, in seconds, where a model does not say it of itself.

    The defaults are the slow ends of what was published for an 8B model in 16 bit on one A10G (``docs/serving.md``
    names the sources). Every timeout on the way of a request is computed from them.

    Attributes:
        node_seconds: From a pod that fits nowhere to a new GPU node that is ready.
        image_seconds: Pulling an image of 15-20 GB; 0 where the node's disk comes with it.
        weights_seconds: Fetching about 15 GB of weights.
        compile_seconds: Compilation of the model's graph; about 0 where its cache is kept on a volume.
        warm_up_seconds: Memory profiling, CUDA graphs, first token.
        margin_percent: What is added to the sum before a request is given up: stages vary from day to day.
    """

    node_seconds: Stage = 180
    image_seconds: Stage = 360
    weights_seconds: Stage = 250
    compile_seconds: Stage = 72
    warm_up_seconds: Stage = 48
    margin_percent: Annotated[int, Field(ge=10, le=300)] = 25

    @model_validator(mode="after")
    def _a_server_takes_time(self) -> Self:
        if not self.weights_seconds + self.compile_seconds + self.warm_up_seconds:
            raise ValueError(
                "weightsSeconds, compileSeconds, warmUpSeconds: one must be above 0; no server starts at once"
            )
        return self


class ActivationSettings(Section):
    """Scale to zero: requests for a model without a running server are held until it has one.

    Attributes:
        enabled: Install it. Without it every model keeps one server at least.
        idle_minutes: How long after its last request a model keeps its server. A cold start's length is the least,
            whatever stands here.
        max_replicas: Proxies at most; each holds requests and carries answers.
        requests_per_proxy: Requests under way in one proxy, held ones among them, before another proxy is started.
    """

    enabled: bool = True
    idle_minutes: Annotated[int, Field(ge=1, le=1440)] = 20
    max_replicas: Annotated[int, Field(ge=2, le=20)] = 4
    requests_per_proxy: Annotated[int, Field(ge=10, le=10_000)] = 200


class ServingSettings(Section):
    """Serving of models.

    Attributes:
        enabled: Install KServe.
        answer_seconds: How long the longest answer takes, from its request at a running server to its last token.
            What takes longer is cut off, and a server that must go waits as long for its last answers.
        prometheus_url: Where the autoscaler reads the models' own queues, if not from this stack's Prometheus, such as
            ``http://prometheus.example:9090``. Empty, and without metrics: by requests under way alone.
        registry_url: Where the program looks models of the registry up at preview, such as
            ``https://mlflow.example.com``; empty takes the variable ``MLFLOW_TRACKING_URI``. It signs in with
            ``MLFLOW_TRACKING_TOKEN``, or ``MLFLOW_TRACKING_USERNAME`` and ``MLFLOW_TRACKING_PASSWORD``.
        cold_start: What a cold start takes.
        activation: Scale to zero.
    """

    enabled: bool = True
    answer_seconds: Annotated[int, Field(ge=10, le=3600)] = 600
    prometheus_url: Annotated[str, Field(pattern=r"^(https?://[a-z0-9.:-]+)?$")] = ""
    registry_url: Annotated[str, Field(pattern=r"^(https?://\S+)?$")] = ""
    cold_start: ColdStartSettings = ColdStartSettings()
    activation: ActivationSettings = ActivationSettings()
