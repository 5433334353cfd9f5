"""What would make a model fit; every remedy was sized before it is named."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from workloads.sizing.fit import DEGREES, Sizing, fit
from workloads.sizing.gpus import GPUS
from workloads.sizing.quantization import QUANTIZATIONS, QuantizationName
from workloads.sizing.request import SizingRequest

_SHORTEST: Final = 1024
"""Tokens; a shorter context is no remedy."""


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """One change that makes a model fit; it was tried.

    Attributes:
        setting: ``quantization``, ``context``, ``concurrency``, ``kvDtype``, ``gpu.count`` or ``gpu.type``.
        value: To what.
        text: The same in words.
        sizing: How the model then fits.
    """

    setting: str
    value: str
    text: str
    sizing: Sizing


@dataclass(frozen=True, kw_only=True)
class Misfit:
    """A model that does not fit.

    Attributes:
        request: What was asked.
        reason: Why not, with the numbers.
        remedies: What would make it fit; none where nothing known does.
    """

    request: SizingRequest
    reason: str
    remedies: tuple[Remedy, ...]

    def __str__(self) -> str:
        if not self.remedies:
            return f"{self.reason}; no single change makes it fit: take a smaller model"
        return f"{self.reason}; what makes it fit: {'; or '.join(remedy.text for remedy in self.remedies)}"


def size(request: SizingRequest) -> Sizing | Misfit:
    """How a model runs on GPUs, or why it does not and what would help."""
    found = fit(request)
    if isinstance(found, Sizing):
        return found
    return Misfit(request=request, reason=found, remedies=tuple(_remedies(request)))


def _remedies(request: SizingRequest) -> Iterator[Remedy]:
    """Single changes that make it fit, the mildest first; each was sized."""
    yield from _smaller_context(request)
    yield from _smaller_concurrency(request)
    yield from _quantized(request)
    yield from _more_gpus(request)
    yield from _other_gpus(request)


def _smaller_context(request: SizingRequest) -> Iterator[Remedy]:
    highest = min(request.context, request.architecture.max_position) // _SHORTEST
    low, high, best = 1, highest, None
    while low <= high:
        middle = (low + high) // 2
        context = middle * _SHORTEST
        found = fit(replace(request, context=context, tokens_per_sequence=min(request.tokens_per_sequence, context)))
        if isinstance(found, Sizing):
            low, best = middle + 1, found
        else:
            high = middle - 1
    if best is not None:
        context = best.request.context
        yield Remedy(setting="context", value=str(context), text=f"context <= {context}", sizing=best)


def _smaller_concurrency(request: SizingRequest) -> Iterator[Remedy]:
    low, high, best = 1, request.concurrency - 1, None
    while low <= high:
        middle = (low + high) // 2
        found = fit(replace(request, concurrency=middle))
        if isinstance(found, Sizing):
            low, best = middle + 1, found
        else:
            high = middle - 1
    if best is not None:
        number = best.request.concurrency
        yield Remedy(setting="concurrency", value=str(number), text=f"concurrency <= {number}", sizing=best)


def _quantized(request: SizingRequest) -> Iterator[Remedy]:
    milder: dict[QuantizationName, tuple[QuantizationName, ...]] = {
        "none": ("fp8", "awq"),
        "fp8": ("awq",),
        "int8": ("awq",),
    }
    for name in milder.get(request.quantization.name, ()):
        found = fit(replace(request, quantization=QUANTIZATIONS[name]))
        if isinstance(found, Sizing):
            yield Remedy(setting="quantization", value=name, text=f"quantize to {name}", sizing=found)
    if request.kv_dtype == "auto":
        found = fit(replace(request, kv_dtype="fp8"))
        if isinstance(found, Sizing):
            yield Remedy(setting="kvDtype", value="fp8", text="an fp8 KV cache", sizing=found)


def _more_gpus(request: SizingRequest) -> Iterator[Remedy]:
    for gpus in DEGREES:
        if gpus <= request.gpus:
            continue
        found = fit(replace(request, gpus=gpus, tensor_parallel=0))
        nodes = _nodes(request, request.gpu.name, gpus)
        if isinstance(found, Sizing) and (nodes or not request.offers):
            text = f"{gpus} {request.gpu.name} GPUs{nodes}"
            yield Remedy(setting="gpu.count", value=str(gpus), text=text, sizing=found)
            return


def _other_gpus(request: SizingRequest) -> Iterator[Remedy]:
    known = {offer.gpu for offer in request.offers} or set(GPUS)
    for gpu in sorted(GPUS.values(), key=lambda gpu: gpu.memory_gib):
        nodes = _nodes(request, gpu.name, request.gpus)
        if gpu.name == request.gpu.name or gpu.name not in known or (request.offers and not nodes):
            continue
        found = fit(replace(request, gpu=gpu))
        if isinstance(found, Sizing):
            text = f"{request.gpus} {gpu.name} GPU{'s' if request.gpus > 1 else ''}{nodes}"
            yield Remedy(setting="gpu.type", value=gpu.name, text=text, sizing=found)
            return


def _nodes(request: SizingRequest, gpu: str, gpus: int) -> str:
    """Smallest of the offered nodes with so many such GPUs, in words; empty where there is none."""
    fitting = [offer for offer in request.offers if offer.gpu == gpu and offer.gpus >= gpus]
    if not fitting:
        return ""
    # Offers come in order of preference; the fewest GPUs first.
    return f" (instance type {min(fitting, key=lambda offer: offer.gpus).instance_type})"
