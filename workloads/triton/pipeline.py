"""The models of one release: text to tokens, the engine, tokens to text, and the ensemble that is served. Pure.

Names of inputs, outputs and parameters are those of the models' code in the image (``/app/all_models``,
TensorRT-LLM 1.2.1). Images, prompt tuning, LoRA, encoders, guided and speculative decoding are left out: nothing on the
way from the model gateway sends them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from workloads.triton.config import (
    DataType,
    DynamicBatching,
    InstanceGroup,
    ModelConfig,
    Step,
    Tensor,
    VersionPolicy,
)

BatchingStrategy = Literal["inflight_fused_batching", "V1"]
SchedulerPolicy = Literal["guaranteed_no_evict", "max_utilization"]

TOKENIZER: Final = "tokenizer"
"""Folder of the tokenizer in a release."""

ENGINE: Final = "engine"
"""Folder of the engine in a release."""


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """What the TensorRT-LLM backend is told about running the engine; none leaves its default.

    Attributes:
        batching: ``inflight_fused_batching``: a request joins the running batch at the next token; ``V1``: a batch is
            run to its end before the next.
        scheduler: ``guaranteed_no_evict``: a request that was started is never paused for lack of KV cache;
            ``max_utilization``: it may be, and more run together.
        kv_cache_fraction: Share of the GPU memory that the engine leaves which becomes KV cache (its default: 0.9).
        kv_cache_tokens: KV cache in tokens at most; the smaller of both counts.
        kv_cache_host_bytes: Host memory that KV cache is moved to.
        kv_cache_reuse: Requests that begin alike share KV cache. The engine must have paged context attention.
        chunked_context: Long prompts are computed in pieces between the tokens of others; the same condition.
        max_beam_width: Beams at most.
        cuda_graphs: Launches of kernels are recorded once; less CPU for small batches.
        stats_period_ms: How often its metrics are renewed.
    """

    batching: BatchingStrategy = "inflight_fused_batching"
    scheduler: SchedulerPolicy = "guaranteed_no_evict"
    kv_cache_fraction: float | None = 0.9
    kv_cache_tokens: int | None = None
    kv_cache_host_bytes: int | None = None
    kv_cache_reuse: bool = True
    chunked_context: bool = True
    max_beam_width: int = 1
    cuda_graphs: bool = True
    stats_period_ms: int = 1000

    def __post_init__(self) -> None:
        if self.kv_cache_fraction is not None and not 0 < self.kv_cache_fraction < 1:
            raise ValueError(f"kv_cache_fraction must be between 0 and 1; got {self.kv_cache_fraction}")
        if self.batching == "V1" and (self.chunked_context or self.kv_cache_reuse):
            raise ValueError("batching V1 has neither chunked_context nor kv_cache_reuse")

    def parameters(self) -> Iterator[tuple[str, str]]:
        """As parameters of the model."""
        yield "gpt_model_type", self.batching
        yield "batch_scheduler_policy", self.scheduler
        yield "max_beam_width", str(self.max_beam_width)
        yield "enable_kv_cache_reuse", _flag(self.kv_cache_reuse)
        yield "enable_chunked_context", _flag(self.chunked_context)
        yield "cuda_graph_mode", _flag(self.cuda_graphs)
        yield "stats_check_period_ms", str(self.stats_period_ms)
        for key, value in (
            ("kv_cache_free_gpu_mem_fraction", self.kv_cache_fraction),
            ("max_tokens_in_paged_kv_cache", self.kv_cache_tokens),
            ("kv_cache_host_memory_bytes", self.kv_cache_host_bytes),
        ):
            if value is not None:
                yield key, str(value)


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """What all models of a release have in common.

    Attributes:
        name: What clients call the model.
        release: Part of the name of everything that belongs to this release only; two releases can be loaded together.
        folder: Where the release's files are, in the pod.
        max_batch_size: Requests that run together at most: that of the engine.
        max_queue_size: Requests that wait at most; more are refused at once, and the model gateway asks elsewhere.
        queue_delay_microseconds: How long a request waits for others to start with.
        tokenizers: Processes that turn text to tokens, and as many that turn tokens to text.
        streaming: Tokens can be streamed.
        options: How the engine is run.
    """

    name: str
    release: str
    folder: str
    max_batch_size: int
    max_queue_size: int
    queue_delay_microseconds: int = 0
    tokenizers: int = 2
    streaming: bool = True
    options: EngineOptions = field(default_factory=EngineOptions)

    def part(self, role: str) -> str:
        """Name of one of the release's models."""
        return f"{role}-{self.release}"

    @property
    def candidate(self) -> str:
        """Name under which the release is tried before it is served."""
        return f"{self.name}-{self.release}"


PREPROCESSING: Final = "preprocessing"
ENGINE_MODEL: Final = "tensorrt_llm"
POSTPROCESSING: Final = "postprocessing"


def parts(pipeline: Pipeline) -> Mapping[str, ModelConfig]:
    """The models that do the work, by the folder of the image that has their code."""
    return {
        PREPROCESSING: _preprocessing(pipeline),
        ENGINE_MODEL: _engine(pipeline),
        POSTPROCESSING: _postprocessing(pipeline),
    }


def front(pipeline: Pipeline, name: str) -> ModelConfig:
    """The ensemble that takes requests: ``name`` is the candidate's, or the one that clients use."""
    return ModelConfig(
        name=name,
        max_batch_size=pipeline.max_batch_size,
        inputs=(
            _string("text_input"),
            Tensor(name="max_tokens", type="TYPE_INT32"),
            _optional("bad_words", "TYPE_STRING", dims=(-1,)),
            _optional("stop_words", "TYPE_STRING", dims=(-1,)),
            _optional("end_id", "TYPE_INT32"),
            _optional("pad_id", "TYPE_INT32"),
            *(_optional(name, kind) for name, _, kind in _SAMPLING),
        ),
        outputs=(
            Tensor(name="text_output", type="TYPE_STRING", dims=(-1,)),
            *(Tensor(name=name, type="TYPE_INT32") for name in _COUNTS),
        ),
        steps=(
            Step(
                model=pipeline.part(PREPROCESSING),
                inputs={
                    "QUERY": "text_input",
                    "REQUEST_OUTPUT_LEN": "max_tokens",
                    "BAD_WORDS_DICT": "bad_words",
                    "STOP_WORDS_DICT": "stop_words",
                    "END_ID": "end_id",
                    "PAD_ID": "pad_id",
                },
                outputs={
                    "INPUT_ID": "_input_ids",
                    "REQUEST_INPUT_LEN": "_input_lengths",
                    "DECODER_INPUT_ID": "_decoder_input_ids",
                    "REQUEST_DECODER_INPUT_LEN": "_decoder_input_lengths",
                    "REQUEST_OUTPUT_LEN": "_request_output_len",
                    "STOP_WORDS_IDS": "_stop_words",
                    "BAD_WORDS_IDS": "_bad_words",
                    "EMBEDDING_BIAS": "_embedding_bias",
                    "OUT_END_ID": "_end_id",
                    "OUT_PAD_ID": "_pad_id",
                },
            ),
            Step(
                model=pipeline.part(ENGINE_MODEL),
                inputs={
                    "input_ids": "_input_ids",
                    "input_lengths": "_input_lengths",
                    "decoder_input_ids": "_decoder_input_ids",
                    "decoder_input_lengths": "_decoder_input_lengths",
                    "request_output_len": "_request_output_len",
                    "stop_words_list": "_stop_words",
                    "bad_words_list": "_bad_words",
                    "embedding_bias": "_embedding_bias",
                    "end_id": "_end_id",
                    "pad_id": "_pad_id",
                    **{own: theirs for theirs, own, _ in _SAMPLING},
                },
                outputs={"output_ids": "_tokens", "sequence_length": "_lengths", **{same: same for same in _COUNTS}},
            ),
            Step(
                model=pipeline.part(POSTPROCESSING),
                inputs={"TOKENS_BATCH": "_tokens", "SEQUENCE_LENGTH": "_lengths"},
                outputs={"OUTPUT": "text_output"},
            ),
        ),
    )


def _preprocessing(pipeline: Pipeline) -> ModelConfig:
    return ModelConfig(
        name=pipeline.part(PREPROCESSING),
        backend="python",
        max_batch_size=pipeline.max_batch_size,
        batching=DynamicBatching(
            max_queue_delay_microseconds=pipeline.queue_delay_microseconds, max_queue_size=pipeline.max_queue_size
        ),
        instances=(InstanceGroup(count=pipeline.tokenizers),),
        inputs=(
            _string("QUERY"),
            _optional("DECODER_QUERY", "TYPE_STRING"),
            Tensor(name="REQUEST_OUTPUT_LEN", type="TYPE_INT32"),
            *(_optional(name, "TYPE_STRING", dims=(-1,)) for name in ("BAD_WORDS_DICT", "STOP_WORDS_DICT")),
            # Its code asks for the types of these two, whoever sends them.
            _optional("EMBEDDING_BIAS_WORDS", "TYPE_STRING", dims=(-1,)),
            _optional("EMBEDDING_BIAS_WEIGHTS", "TYPE_FP32", dims=(-1,)),
            _optional("END_ID", "TYPE_INT32"),
            _optional("PAD_ID", "TYPE_INT32"),
        ),
        outputs=(
            Tensor(name="INPUT_ID", type="TYPE_INT32", dims=(-1,)),
            Tensor(name="REQUEST_INPUT_LEN", type="TYPE_INT32"),
            Tensor(name="DECODER_INPUT_ID", type="TYPE_INT32", dims=(-1,)),
            Tensor(name="REQUEST_DECODER_INPUT_LEN", type="TYPE_INT32"),
            Tensor(name="BAD_WORDS_IDS", type="TYPE_INT32", dims=(2, -1)),
            Tensor(name="STOP_WORDS_IDS", type="TYPE_INT32", dims=(2, -1)),
            Tensor(name="EMBEDDING_BIAS", type="TYPE_FP32", dims=(-1,)),
            Tensor(name="REQUEST_OUTPUT_LEN", type="TYPE_INT32", dims=(-1,)),
            Tensor(name="OUT_END_ID", type="TYPE_INT32"),
            Tensor(name="OUT_PAD_ID", type="TYPE_INT32"),
            # Named in its code without a condition, too.
            Tensor(name="OUT_PROMPT_TABLE_EXTRA_IDS", type="TYPE_UINT64", dims=(-1,)),
            Tensor(name="PIXEL_VALUES", type="TYPE_FP16", dims=(-1, -1, -1, -1)),
            Tensor(name="IMAGE_SIZES", type="TYPE_INT64", dims=(-1, 2)),
        ),
        parameters={
            "tokenizer_dir": f"{pipeline.folder}/{TOKENIZER}",
            # The chat template has written the special tokens already; a second first token costs quality.
            "add_special_tokens": "false",
            "multimodal_model_path": "",
            "gpt_model_path": f"{pipeline.folder}/{ENGINE}",
        },
    )


# Options of sampling: what a client calls it, what the engine calls it, and its type.
_SAMPLING: Final[tuple[tuple[str, str, DataType], ...]] = (
    ("top_k", "runtime_top_k", "TYPE_INT32"),
    ("top_p", "runtime_top_p", "TYPE_FP32"),
    ("temperature", "temperature", "TYPE_FP32"),
    ("length_penalty", "len_penalty", "TYPE_FP32"),
    ("repetition_penalty", "repetition_penalty", "TYPE_FP32"),
    ("min_tokens", "min_tokens", "TYPE_INT32"),
    ("presence_penalty", "presence_penalty", "TYPE_FP32"),
    ("frequency_penalty", "frequency_penalty", "TYPE_FP32"),
    ("seed", "seed", "TYPE_UINT64"),
    ("beam_width", "beam_width", "TYPE_INT32"),
    ("stream", "streaming", "TYPE_BOOL"),
    # The frontend asks for these two: usage of tokens, from which clients and budgets are charged.
    ("return_num_input_tokens", "return_num_input_tokens", "TYPE_BOOL"),
    ("return_num_output_tokens", "return_num_output_tokens", "TYPE_BOOL"),
    ("exclude_input_in_output", "exclude_input_in_output", "TYPE_BOOL"),
)
_COUNTS: Final = ("num_input_tokens", "num_output_tokens")


def _engine(pipeline: Pipeline) -> ModelConfig:
    return ModelConfig(
        name=pipeline.part(ENGINE_MODEL),
        backend="tensorrtllm",
        max_batch_size=pipeline.max_batch_size,
        decoupled=pipeline.streaming,
        batching=DynamicBatching(
            max_queue_delay_microseconds=pipeline.queue_delay_microseconds,
            max_queue_size=pipeline.max_queue_size,
            preferred_batch_sizes=(pipeline.max_batch_size,),
        ),
        instances=(InstanceGroup(),),
        versions=VersionPolicy(latest=1),
        inputs=(
            _varying("input_ids", "TYPE_INT32", (-1,)),
            Tensor(name="input_lengths", type="TYPE_INT32", scalar=True),
            Tensor(name="request_output_len", type="TYPE_INT32", scalar=True),
            _varying("decoder_input_ids", "TYPE_INT32", (-1,)),
            _optional("decoder_input_lengths", "TYPE_INT32", scalar=True),
            _optional("end_id", "TYPE_INT32", scalar=True),
            _optional("pad_id", "TYPE_INT32", scalar=True),
            _varying("stop_words_list", "TYPE_INT32", (2, -1)),
            _varying("bad_words_list", "TYPE_INT32", (2, -1)),
            _varying("embedding_bias", "TYPE_FP32", (-1,)),
            *(_optional(name, kind, scalar=True) for _, name, kind in _SAMPLING),
            _optional("stop", "TYPE_BOOL", scalar=True),
        ),
        outputs=(
            Tensor(name="output_ids", type="TYPE_INT32", dims=(-1, -1)),
            Tensor(name="sequence_length", type="TYPE_INT32", dims=(-1,)),
            *(Tensor(name=name, type="TYPE_INT32") for name in _COUNTS),
        ),
        parameters={
            "gpt_model_path": f"{pipeline.folder}/{ENGINE}",
            # An answer is the answer, without the question before it.
            "exclude_input_in_output": "true",
            "FORCE_CPU_ONLY_INPUT_TENSORS": "no",
            "executor_worker_path": "/opt/tritonserver/backends/tensorrtllm/trtllmExecutorWorker",
            **dict(pipeline.options.parameters()),
        },
    )


def _postprocessing(pipeline: Pipeline) -> ModelConfig:
    return ModelConfig(
        name=pipeline.part(POSTPROCESSING),
        backend="python",
        max_batch_size=pipeline.max_batch_size,
        batching=DynamicBatching(),
        instances=(InstanceGroup(count=pipeline.tokenizers),),
        inputs=(
            Tensor(name="TOKENS_BATCH", type="TYPE_INT32", dims=(-1, -1)),
            Tensor(name="SEQUENCE_LENGTH", type="TYPE_INT32", dims=(-1,)),
        ),
        outputs=(Tensor(name="OUTPUT", type="TYPE_STRING", dims=(-1,)),),
        parameters={"tokenizer_dir": f"{pipeline.folder}/{TOKENIZER}", "skip_special_tokens": "true"},
    )


def _string(name: str) -> Tensor:
    return Tensor(name=name, type="TYPE_STRING")


def _optional(name: str, kind: DataType, *, dims: tuple[int, ...] = (1,), scalar: bool = False) -> Tensor:
    return Tensor(name=name, type=kind, dims=dims, scalar=scalar, optional=True)


def _varying(name: str, kind: DataType, dims: tuple[int, ...]) -> Tensor:
    return Tensor(name=name, type=kind, dims=dims, optional=True, ragged=True)


def _flag(value: bool) -> str:
    return str(value).lower()
