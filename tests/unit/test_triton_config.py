"""``config.pbtxt``: what cannot work is refused while it is written, and two releases can stand side by side."""

from __future__ import annotations

from typing import Any

import pytest

from workloads.triton import pipeline as models
from workloads.triton.config import (
    DynamicBatching,
    InstanceGroup,
    ModelConfig,
    Step,
    Tensor,
    VersionPolicy,
    pbtxt,
)
from workloads.triton.pipeline import EngineOptions, Pipeline, front, parts

pytestmark = pytest.mark.unit

TEXT = Tensor(name="text", type="TYPE_STRING")
ANSWER = Tensor(name="answer", type="TYPE_STRING")


def pipeline(release: str = "r1", **changes: Any) -> Pipeline:
    return Pipeline(
        **{"name": "chat", "release": release, "folder": f"/c/{release}", "max_batch_size": 8, "max_queue_size": 64}
        | changes
    )


def ensemble(**changes: Any) -> ModelConfig:
    step = Step(model="a", inputs={"IN": "text"}, outputs={"OUT": "answer"})
    given: dict[str, Any] = {"inputs": (TEXT,), "outputs": (ANSWER,), "steps": (step,)}
    return ModelConfig(**{"name": "e", "max_batch_size": 1} | given | changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"steps": ()}, "a backend, or the steps"),
        ({"backend": "python"}, "a backend, or the steps"),
        ({"batching": DynamicBatching()}, "those of an ensemble's steps"),
        ({"instances": (InstanceGroup(),)}, "those of an ensemble's steps"),
        ({"decoupled": True}, "those of an ensemble's steps"),
        ({"inputs": (TEXT, TEXT)}, "input declared twice: text"),
        ({"outputs": (ANSWER, Tensor(name="more", type="TYPE_INT32"))}, "no step gives more"),
        ({"inputs": (ANSWER,)}, "takes text, which nobody gives"),
    ],
)
def test_a_model_that_triton_would_refuse_is_refused_before(changes: dict[str, Any], said: str):
    with pytest.raises(ValueError, match=said):
        ensemble(**changes)


def test_answers_that_are_streamed_are_not_cached():
    with pytest.raises(ValueError, match="cannot be cached"):
        ModelConfig(
            name="m",
            backend="tensorrtllm",
            max_batch_size=1,
            inputs=(),
            outputs=(),
            decoupled=True,
            response_cache=True,
        )


@pytest.mark.parametrize("versions", [{"latest": 0}, {"latest": 1, "specific": (1,)}])
def test_a_version_policy_says_one_thing(versions: dict[str, Any]):
    with pytest.raises(ValueError, match="latest, or specific"):
        VersionPolicy(**versions)


@pytest.mark.parametrize(
    "options",
    [
        {"kv_cache_fraction": 0.0},
        {"kv_cache_fraction": 1.0},
        {"batching": "V1", "kv_cache_reuse": False},
        {"batching": "V1", "chunked_context": False},
    ],
)
def test_options_that_the_engine_does_not_have_are_refused(options: dict[str, Any]):
    with pytest.raises(ValueError, match=r"kv_cache_fraction|V1"):
        EngineOptions(**options)


def test_what_stands_between_quotes_cannot_leave_them():
    config = ensemble(name='a"\n}', inputs=(TEXT,))

    assert pbtxt(config).splitlines()[0] == r'name: "a\"\n}"'


def test_two_releases_share_no_name_but_the_clients():
    names = [{config.name for config in parts(pipeline(release)).values()} for release in ("r1", "r2")]
    assert not names[0] & names[1]
    assert pipeline("r1").candidate != pipeline("r2").candidate


def test_the_candidate_is_what_clients_get_under_another_name():
    own = pipeline()
    tried, served = (pbtxt(front(own, name)) for name in (own.candidate, own.name))

    assert tried.replace('"chat-r1"', '"chat"') == served


def test_every_part_reads_its_own_release():
    text = "".join(pbtxt(config) for config in parts(pipeline("r7")).values())

    assert '"/c/r7/engine"' in text
    assert '"/c/r7/tokenizer"' in text
    assert "/c/r1" not in text


@pytest.mark.parametrize("streaming", [True, False])
def test_tokens_are_streamed_by_the_engine_alone(streaming: bool):
    found = {role: config.decoupled for role, config in parts(pipeline(streaming=streaming)).items()}

    assert found == {models.PREPROCESSING: False, models.ENGINE_MODEL: streaming, models.POSTPROCESSING: False}


def test_everything_that_the_frontend_sends_is_an_input():
    """``_create_trtllm_generate_request`` of the frontend of 26.07; more than that it sends for LoRA and tools only."""
    sent = {
        "text_input",
        "stream",
        "max_tokens",
        "stop_words",
        "top_p",
        "frequency_penalty",
        "presence_penalty",
        "seed",
        "temperature",
        "exclude_input_in_output",
        "return_num_input_tokens",
        "return_num_output_tokens",
    }
    served = front(pipeline(), "chat")

    assert sent <= {one.name for one in served.inputs}
    assert {one.name for one in served.inputs if not one.optional} == {"text_input", "max_tokens"}
    assert {one.name for one in served.outputs} == {"text_output", "num_input_tokens", "num_output_tokens"}
