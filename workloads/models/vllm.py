"""vLLM on KServe: arguments, environment, and the objects of one version."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from components.platform import inference
from components.platform.inference import ModelServer, declare
from components.platform.model_gateway import Served
from components.platform.runtimes import MODELS
from workloads.models.backends import Deployed, VersionArgs
from workloads.models.in_cluster import objects_of, surroundings
from workloads.models.plan import Plan
from workloads.models.spec import ModelSpec, Version, location

HUB_LABEL: Final = "llmops/weights"
"""Label of pods that fetch weights from the public hub; only they may leave the cluster."""

HUB: Final = "hub"

# Of the quantizations, vLLM reads all from the checkpoint but this one, which it makes of 16 bit while it loads.
_ON_LOAD: Final = "fp8_per_tensor"

# Above it vLLM soon takes sequences back out of the batch and computes them again.
_FULL_PERCENT: Final = 80

# Readers of the streamer; its default. More help on nodes with more than 25 Gbit/s only.
_STREAMER_THREADS: Final = 16


def arguments(spec: ModelSpec, version: Version, plan: Plan) -> list[str]:
    """Arguments of ``vllm serve`` after the model: what was computed, then what the declaration adds."""
    settings, weights = spec.settings, location(version.source)
    assert plan.fit is not None
    found = [
        f"--max-model-len={settings.context}",
        f"--max-num-seqs={plan.sequences}",
        f"--gpu-memory-utilization={plan.utilization:g}",
        f"--tensor-parallel-size={plan.gpus}",
        f"--max-num-batched-tokens={plan.batched_tokens}",
        "--enable-prefix-caching",
    ]
    if settings.quantize_on_load:
        found.append(f"--quantization={_ON_LOAD}")
    if settings.kv_dtype != "auto":
        found.append(f"--kv-cache-dtype={settings.kv_dtype}")
    if weights.scheme in ("s3", "gs", "models"):
        # Tensors go from the object store to the GPU, over no disk. Several GPUs share the reading.
        extra = {
            "concurrency": _STREAMER_THREADS,
            "distributed": plan.gpus > 1,
            "memory_limit": plan.fit.host.read_ahead_mib * 2**20,
        }
        found += ["--load-format=runai_streamer", f"--model-loader-extra-config={json.dumps(extra)}"]
    if weights.scheme == "hf" and weights.revision:
        found += [f"--revision={weights.revision}", f"--tokenizer-revision={weights.revision}"]
    return [*found, *settings.arguments]


def environment(version: Version) -> Mapping[str, str]:
    """Variables besides those of the runtime: nobody but a model of the hub looks for the hub."""
    if location(version.source).scheme == "hf":
        return {}
    return {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}


def server(spec: ModelSpec, version: Version, plan: Plan) -> ModelServer:
    """What the servers of one version need; where their weights are is said when they are declared."""
    hub = {HUB_LABEL: HUB} if location(version.source).scheme == "hf" else {}
    return ModelServer(
        name=version.name,
        namespace=spec.namespace,
        runtime="vllm",
        waits=plan.waits,
        service_account=version.name,
        cpu_millicores=plan.cpu_millicores,
        memory_mib=plan.memory_mib,
        gpus=plan.gpus,
        gpu_model=plan.gpu_model,
        arguments=arguments(spec, version, plan),
        environment=environment(version),
        fewest=version.fewest,
        most=version.most,
        concurrency=spec.settings.concurrency,
        cache_percent=_FULL_PERCENT,
        shared_memory_mib=plan.shared_memory_mib,
        disk_gib=plan.disk_gib,
        labels={**spec.labels(version), **hub},
        annotations=plan.said(spec.settings),
    )


class Vllm:
    """Implements :class:`workloads.models.backends.ModelBackend`."""

    def target(self, spec: ModelSpec, version: Version) -> Served:
        """Its servers; while they are away, the activator under their name."""
        held = not version.fewest
        return Served(url=inference.url_of(version.name, spec.namespace, held=held), model=version.name, api="vllm")

    def declare(self, args: VersionArgs) -> Deployed:
        """Account, volume where there is one, servers."""
        wanted = server(args.spec, args.version, args.plan)
        uri = args.weights.uri
        if args.weights.volume is not None:
            path = uri.apply(lambda below: f"{MODELS}/{below}".rstrip("/"))
            wanted = replace(wanted, model=path, claim=args.version.name)
        else:
            wanted = replace(wanted, model=uri.apply(lambda uri: uri.removeprefix("hf://")))
        objects = objects_of(args, wanted)
        made = declare(wanted, objects, parent=args.parent, after=surroundings(args, args.weights.grants))
        return Deployed(url=objects.url, ready=made)
