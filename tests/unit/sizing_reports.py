"""What others measured (``tests/sizing``), beside what sizing says; the tables of ``docs/sizing.md``."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, cast

from workloads.sizing import (
    GPUS,
    QUANTIZATIONS,
    Gpu,
    KvDtype,
    QuantizationName,
    Sizing,
    SizingRequest,
    Traffic,
    architecture_of,
    size,
    throughput,
)
from workloads.sizing.memory import Deployment, Memory, cache_of, memory_of
from workloads.sizing.versions import parse

DATA: Final = Path(__file__).parents[1] / "sizing"

# GPUs of reports that no cloud of ours offers; their memory stands in the report.
_OTHERS: Final = {
    "rtx4090": replace(GPUS["l4"], name="rtx4090"),
}


def table(name: str) -> list[dict[str, str]]:
    """Rows of a data file."""
    with (DATA / name).open(newline="") as lines:
        return list(csv.DictReader(lines, delimiter="\t"))


@dataclass(frozen=True)
class Report:
    """One start of vLLM, as it was logged, and as it is computed."""

    row: dict[str, str]
    memory: Memory
    reported_tokens: int
    computed_tokens: int

    @property
    def error_percent(self) -> float:
        return 100 * (self.computed_tokens / self.reported_tokens - 1)

    @property
    def weights_error_percent(self) -> float | None:
        reported = float(self.row["weights_gib"] or 0)
        return 100 * (self.memory.weights / reported - 1) if reported else None

    @property
    def held_out(self) -> bool:
        """Not used to set a constant."""
        return self.row["use"] == "held-out"

    @property
    def warm(self) -> bool:
        return self.row["start"].startswith("warm")

    @property
    def title(self) -> str:
        row = self.row
        return f"{row['model']} {row['quantization']} on {row['gpus']} {row['gpu']}, vLLM {row['vllm']}, {row['start']}"


def reports() -> Iterator[Report]:
    """Every report, computed."""
    for row in table("vllm-reports.tsv"):
        gpu: Gpu = replace((GPUS | _OTHERS)[row["gpu"]], memory_gib=float(row["physical_gib"]))
        deployment = Deployment(
            architecture=architecture_of(row["model"]),
            quantization=QUANTIZATIONS[cast("QuantizationName", row["quantization"])],
            gpu=gpu,
            tensor_parallel=int(row["gpus"]),
            kv_dtype=cast("KvDtype", row["kv_dtype"]),
            version=parse(row["vllm"]),
            context=int(row["max_model_len"]),
            max_num_batched_tokens=int(row["max_num_batched_tokens"]),
            max_num_seqs=int(row["max_num_seqs"]),
        )
        memory, cache = memory_of(deployment, float(row["utilization"])), cache_of(deployment)
        assert cache is not None
        reported = int(row["kv_tokens"]) if row["kv_tokens"] else cache.tokens(float(row["kv_gib"]))
        yield Report(row, memory, reported, cache.tokens(memory.kv))


@dataclass(frozen=True)
class Measured:
    """A measured rate, and the estimate."""

    row: dict[str, str]
    ms_per_token: float
    tokens_per_second: float

    @property
    def error_percent(self) -> float:
        """Of the time between tokens where it was measured, else of the rate turned over."""
        if self.row["ms_per_token"]:
            return 100 * (self.ms_per_token / float(self.row["ms_per_token"]) - 1)
        return 100 * (float(self.row["tokens_per_second"]) / self.tokens_per_second - 1)


def measured() -> Iterator[Measured]:
    """Every measured rate, estimated."""
    for row in table("measured-throughput.tsv"):
        gpus, concurrency = int(row["gpus"]), int(row["concurrency"])
        traffic = Traffic(prompt_tokens=int(row["prompt_tokens"]), answer_tokens=int(row["answer_tokens"]))
        sizing = size(
            SizingRequest(
                architecture=architecture_of(row["model"]),
                gpu=GPUS[row["gpu"]],
                quantization=QUANTIZATIONS[cast("QuantizationName", row["quantization"])],
                context=2048,
                tokens_per_sequence=traffic.held_tokens,
                concurrency=concurrency,
                gpus=gpus,
                tensor_parallel=gpus,
            )
        )
        assert isinstance(sizing, Sizing), str(sizing)
        found = throughput(sizing, concurrency=concurrency, traffic=traffic)
        yield Measured(row, 1000 * found.seconds_per_token, found.tokens_per_second)
