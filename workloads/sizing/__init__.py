"""Whether a model fits on GPUs and what it then needs; pure, so that settings are refused before anything exists."""

from workloads.sizing.architecture import Architecture, Experts, Latent
from workloads.sizing.catalogue import CATALOGUE, UnknownModelError, architecture_of
from workloads.sizing.engine import EngineRequest, EngineSizing, size_engine
from workloads.sizing.fit import Sizing
from workloads.sizing.from_config import ConfigError, from_config
from workloads.sizing.gpus import GPUS, Gpu
from workloads.sizing.host import HostNeeds, host_needs
from workloads.sizing.loading import LoadingStages, WeightSource, loading
from workloads.sizing.quantization import QUANTIZATIONS, KvDtype, Quantization, QuantizationName
from workloads.sizing.remedies import Misfit, Remedy, size
from workloads.sizing.request import Offer, SizingRequest
from workloads.sizing.throughput import Throughput, Traffic, throughput

__all__ = [
    "CATALOGUE",
    "GPUS",
    "QUANTIZATIONS",
    "Architecture",
    "ConfigError",
    "EngineRequest",
    "EngineSizing",
    "Experts",
    "Gpu",
    "HostNeeds",
    "KvDtype",
    "Latent",
    "LoadingStages",
    "Misfit",
    "Offer",
    "Quantization",
    "QuantizationName",
    "Remedy",
    "Sizing",
    "SizingRequest",
    "Throughput",
    "Traffic",
    "UnknownModelError",
    "WeightSource",
    "architecture_of",
    "from_config",
    "host_needs",
    "loading",
    "size",
    "size_engine",
    "throughput",
]
