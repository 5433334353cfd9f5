"""What each step is told: the ``--config`` of the pod. One kind for each ``task``."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, TypeAdapter, model_validator

from workloads.artifacts.configuration import Key, Part, Url, parsed

Quantization = Literal["none", "fp8", "int8-weights", "int4-awq"]

CALIBRATED = ("fp8", "int4-awq")
"""Quantizations whose scales are found by running texts through the model."""


class Parallel(Part):
    """Over how many GPUs a server is spread.

    Attributes:
        tensor: GPUs over which each layer is spread.
        pipeline: GPUs over which layers are shared out.
    """

    tensor: Annotated[int, Field(ge=1)] = 1
    pipeline: Annotated[int, Field(ge=1)] = 1

    @property
    def gpus(self) -> int:
        """All of them."""
        return self.tensor * self.pipeline


class Convert(Part):
    """Weights of Hugging Face's layout, made into a checkpoint of TensorRT-LLM.

    Attributes:
        task: Which step.
        source: URL of the model's artifact: ``config.json``, safetensors, tokenizer.
        checkpoints: Folder that the checkpoint goes to.
        key: Its key there.
        dtype: Of the weights that are not quantized.
        parallel: How the engine will be spread.
        quantization: How weights are kept.
        kv_cache: How the KV cache is kept.
        calibration: File of JSON lines with ``text``, for quantizations that are calibrated; empty for the others.
        calibration_texts: How many texts of it are taken.
    """

    task: Literal["convert"]
    source: Url
    checkpoints: Url
    key: Key
    dtype: Literal["auto", "float16", "bfloat16"] = "auto"
    parallel: Parallel = Parallel()
    quantization: Quantization = "none"
    kv_cache: Literal["auto", "fp8"] = "auto"
    calibration: Annotated[str, Field(pattern=r"^((s3|gs|file)://\S+)?$")] = ""
    calibration_texts: Annotated[int, Field(ge=1, le=100_000)] = 512

    @model_validator(mode="after")
    def _calibration_is_there(self) -> Self:
        if self.calibrated and not self.calibration:
            raise ValueError(f"quantization {self.quantization} with kvCache {self.kv_cache} needs calibration")
        return self

    @property
    def calibrated(self) -> bool:
        """Whether texts are run through the model."""
        return self.quantization in CALIBRATED or self.kv_cache == "fp8"


class Build(Part):
    """An engine from a checkpoint.

    Attributes:
        task: Which step.
        checkpoint: URL of the checkpoint.
        source: URL of the model, for its tokenizer.
        engines: Folder that the engine goes to.
        key: Its key there.
        model: What it is; for people.
        gpu: Lower-case model of the GPUs that it is built on; others are refused.
        parallel: How it is spread.
        max_batch_size: Requests that run together at most.
        max_input_tokens: Tokens of a question at most.
        max_sequence_tokens: Tokens of question and answer at most.
        max_num_tokens: Tokens of one step at most.
        fp8_attention: Attention over long questions with an FP8 KV cache.
    """

    task: Literal["build"]
    checkpoint: Url
    source: Url
    engines: Url
    key: Key
    model: str = ""
    gpu: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    parallel: Parallel = Parallel()
    max_batch_size: Annotated[int, Field(ge=1)]
    max_input_tokens: Annotated[int, Field(ge=1)]
    max_sequence_tokens: Annotated[int, Field(ge=1)]
    max_num_tokens: Annotated[int, Field(ge=1)]
    fp8_attention: bool = False


class Server(Part):
    """How Triton is started.

    Attributes:
        command: Program, as the serving runtime has it.
        environment: Its variables.
        control: Root of Triton's own API.
        frontend: Root of the OpenAI API.
        start_seconds: How long it may take to answer at all.
    """

    command: tuple[str, ...]
    environment: dict[str, str]
    control: str = "http://127.0.0.1:8003"
    frontend: str = "http://127.0.0.1:8000"
    start_seconds: Annotated[int, Field(ge=1)] = 600


class Question(Part):
    """What is asked of the engine when it is loaded.

    Attributes:
        prompt: The question.
        expected: Regular expression that the answer must match.
        p99_seconds: Seconds that an answer may take.
    """

    prompt: str
    expected: str
    p99_seconds: Annotated[float, Field(gt=0)]


class Trial(Part):
    """Load a release into a Triton of this pod's own, by the loader that serves, and ask it.

    Attributes:
        task: Which step.
        release: URL of the release in the model repository.
        trials: Folder of what was tried and worked.
        key: Of this trial there.
        document: What the loader is told; its source is the release.
        cache: Folder of the loader and of the server.
        server: How Triton is started.
        question: What is asked.
    """

    task: Literal["trial"]
    release: Url
    trials: Url
    key: Key
    document: dict[str, Any]
    cache: str
    server: Server
    question: Question


Config = Convert | Build | Trial

_ADAPTER: TypeAdapter[Config] = TypeAdapter(Annotated[Config, Field(discriminator="task")])


def parse(text: str) -> Config:
    """Read ``--config``.

    Raises:
        ConfigError: It cannot be used.
    """
    return parsed(_ADAPTER.validate_json, text)
