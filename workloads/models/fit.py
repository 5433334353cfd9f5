"""How a declared model fits its GPUs: the declaration in the words of :mod:`workloads.sizing`, and back. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from components.capacity import NodeShape
from components.settings.models import ModelSettings
from workloads.models.spec import Scheme, location
from workloads.sizing import (
    GPUS,
    QUANTIZATIONS,
    Architecture,
    ConfigError,
    Misfit,
    Offer,
    Sizing,
    SizingRequest,
    UnknownModelError,
    architecture_of,
    from_config,
    size,
)
from workloads.sizing.host import HostNeeds, host_needs
from workloads.sizing.loading import LoadingStages, WeightSource, loading
from workloads.sizing.memory import checkpoint_gib
from workloads.sizing.throughput import Throughput, Traffic, throughput

Finding = tuple[str, str]

# Gbit/s. The lowest baseline of the GPU types in components/capacity, that of g5.xlarge and g6.xlarge (EC2 user guide,
# network specifications of accelerated computing instances).
_NETWORK_GBITS: Final = 2.5

_FETCHED: Final[dict[Scheme, WeightSource]] = {
    "hf": "hub",
    "s3": "streamed",
    "gs": "streamed",
    "models": "streamed",
    "file": "shared-files",
    "hosted": "hub",  # refused; what is said of its size is right all the same
}


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A model on its GPUs.

    Attributes:
        sizing: Memory of each GPU, and what follows.
        stored_gib: Weights as they are stored and fetched.
        host: What its pod needs beside the GPUs.
        loading: How long its server takes to start.
        throughput: Estimate of what one busy server does.
    """

    sizing: Sizing
    stored_gib: float
    host: HostNeeds
    loading: LoadingStages
    throughput: Throughput

    @property
    def gpus(self) -> int:
        """GPUs of one server."""
        return self.sizing.tensor_parallel

    @property
    def weights_gib(self) -> float:
        """Weights on all GPUs together."""
        return self.sizing.memory.weights * self.gpus

    @property
    def kv_tokens(self) -> int:
        """Tokens that the KV cache holds, less the margin."""
        return self.sizing.promised_tokens

    @property
    def sequences(self) -> int:
        """Sequences that are computed together at most."""
        return self.sizing.max_num_seqs

    @property
    def batched_tokens(self) -> int:
        """Tokens of one step at most."""
        return self.sizing.max_num_batched_tokens

    @property
    def utilization(self) -> float:
        """Share of the GPU's memory that the server may take."""
        return self.sizing.utilization


@dataclass(frozen=True, kw_only=True)
class Unfit:
    """Why it does not fit.

    Attributes:
        findings: Paths below the model, and what is wrong with what to do.
    """

    findings: tuple[Finding, ...]


def architecture(settings: ModelSettings) -> Architecture | Unfit:
    """The declared architecture: the catalogue's, the source's where it is in the catalogue, or that of ``config``."""
    try:
        if settings.config:
            return from_config(settings.config, name=settings.name, source="config")
        source = location(settings.source)
        return architecture_of(settings.architecture or source.place)
    except ConfigError as error:
        return Unfit(findings=(("config", str(error)),))
    except UnknownModelError as error:
        if not settings.architecture:
            message = "must be set, or config: the source does not say what the model is (docs/sizing.md lists names)"
            return Unfit(findings=(("architecture", message),))
        return Unfit(findings=(("architecture", f"{error}; or set config, from the model's config.json"),))


def fit(settings: ModelSettings, offered: Sequence[NodeShape]) -> Fit | Unfit:
    """Size a declared model.

    Args:
        settings: The model; its GPUs are declared.
        offered: Nodes that there can be, for remedies.
    """
    assert settings.gpu is not None
    model = architecture(settings)
    if isinstance(model, Unfit):
        return model
    if settings.gpu.type not in GPUS:
        return Unfit(findings=(("gpu.type", f"must be one of {', '.join(GPUS)}; got {settings.gpu.type}"),))
    if settings.context > model.max_position:
        message = f"{model.name} was made for {model.max_position} tokens; lower it; got {settings.context}"
        return Unfit(findings=(("context", message),))
    count = settings.gpu.count
    offers = tuple(
        Offer(instance_type=shape.instance_type, gpu=shape.gpu_model, gpus=shape.gpus)
        for shape in sorted(offered, key=lambda shape: (shape.gpus, shape.cpu_millicores))
        if shape.gpus
    )
    most = count or max((offer.gpus for offer in offers if offer.gpu == settings.gpu.type), default=1)
    found = size(
        SizingRequest(
            architecture=model,
            gpu=GPUS[settings.gpu.type],
            quantization=QUANTIZATIONS[settings.quantization],
            context=settings.context,
            concurrency=settings.concurrency,
            gpus=most,
            tensor_parallel=count or 0,  # who names a number wants the cache of so many
            kv_dtype=settings.kv_dtype,
            eager="--enforce-eager" in settings.arguments,
            offers=offers,
        )
    )
    if isinstance(found, Misfit):
        return Unfit(findings=((_path(found), str(found)),))
    fetched = _FETCHED[location(settings.source).scheme]
    if settings.backend == "triton" and fetched == "streamed":
        fetched = "object-store"
    stored = QUANTIZATIONS["none" if settings.quantize_on_load else settings.quantization]
    return Fit(
        sizing=found,
        stored_gib=checkpoint_gib(model, stored),
        host=host_needs(found, weights_on_disk=fetched in ("hub", "object-store")),
        loading=loading(found, source=fetched, network_gbits=_NETWORK_GBITS),
        throughput=throughput(found, concurrency=settings.concurrency, traffic=Traffic()),
    )


def _path(misfit: Misfit) -> str:
    """The setting that the mildest remedy changes."""
    return misfit.remedies[0].setting if misfit.remedies else "gpu"
