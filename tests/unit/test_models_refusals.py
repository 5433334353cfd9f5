"""Models that cannot work are refused with the settings: where, why, and what to do."""

from __future__ import annotations

from typing import Any

import pytest

from components.settings import SettingsError, parse
from tests.unit.stack_models import LLAMA, chat

pytestmark = pytest.mark.unit

CANARY = {"source": "s3://models/llama-2", "baseline": {}}
TEAM = {"name": "research", "gpus": 1}


def problems(*models: dict[str, Any], **stack: Any) -> list[tuple[str, str]]:
    try:
        parse({"owner": "ml", "costCenter": "1", "teams": [TEAM], **stack, "models": list(models)})
    except SettingsError as error:
        return [(problem.path, problem.message) for problem in error.problems]
    return []


def platform(**sections: Any) -> dict[str, Any]:
    return {"platform": sections}


# name of the case, models, rest of the stack, path, what the message must tell: the reason and the remedy
CASES: list[tuple[str, list[dict[str, Any]], dict[str, Any], str, str]] = [
    (
        "requests balanced without the definitions of the Gateway API",
        [chat(backend="triton", triton={"balance": "requests"})],
        {},
        "models[0].triton.balance",
        "platform.mesh.waypoints: true",
    ),
    # sources
    ("a source without a scheme", [chat(source="llama")], {}, "models[0].source", "hf://org/name"),
    (
        "somebody else's bucket at another cloud",
        [chat(source="gs://acme/x")],
        {},
        "models[0].source",
        "copy the weights to s3://models/x",
    ),
    (
        "somebody else's bucket",
        [chat(source="s3://acme/x")],
        {},
        "models[0].source",
        "copy the weights to s3://models/x",
    ),
    ("an unknown file system", [chat(source="file:///gpfs/x")], {}, "models[0].source", "models (files.accessPoints)"),
    (
        "weights for a hosted model",
        [chat(backend="hosted", gpu=None, architecture=None)],
        {},
        "models[0].source",
        "must be hosted://bedrock/<model>",
    ),
    (
        "a hosted source for vLLM",
        [chat(source="hosted://bedrock/x.y-v1:0")],
        {},
        "models[0].source",
        "set backend: hosted",
    ),
    (
        "an unknown provider",
        [{"name": "c", "backend": "hosted", "source": "hosted://acme/x"}],
        {},
        "models[0].source",
        "must be hosted by bedrock",
    ),
    # what the model is
    ("no architecture", [chat(architecture=None)], {}, "models[0].architecture", "must be set, or config"),
    (
        "an unknown architecture",
        [chat(architecture="meta-llama/Llama-3.1-8B-Instrukt")],
        {},
        "models[0].architecture",
        f"did you mean {LLAMA}",
    ),
    ("two architectures", [chat(config={"model_type": "llama"})], {}, "models[0].architecture", "not both"),
    (
        "an incomplete config.json",
        [chat(architecture=None, config={"model_type": "llama"})],
        {},
        "models[0].config",
        "",
    ),
    (
        "a context above the model's",
        [chat(context=200_000)],
        {},
        "models[0].context",
        "was made for 131072 tokens; lower it",
    ),
    # what it runs on
    ("no GPU", [chat(gpu=None)], {}, "models[0].gpu", "must be set: type and count"),
    ("an unknown GPU", [chat(gpu={"type": "b17"})], {}, "models[0].gpu.type", "must be one of"),
    (
        "a GPU that no node group has",
        [chat(gpu={"type": "l4"})],
        {},
        "models[0].gpu.type",
        "add a group with instanceTypes [g6.12xlarge]",
    ),
    (
        "weights above the GPU",
        [chat(architecture="Qwen/Qwen2.5-14B-Instruct")],
        {},
        "models[0].quantization",
        "quantize to fp8",
    ),
    ("a cache above the GPU", [chat(concurrency=64)], {}, "models[0].concurrency", "concurrency <= 3"),
    ("a quantization that the GPU cannot", [chat(kvDtype="fp8")], {}, "models[0].gpu.type", "compute capability 8.9"),
    ("mxfp4 without experts", [chat(quantization="mxfp4")], {}, "models[0].gpu", "mxfp4 is for routed experts"),
    (
        "a degree that does not divide the heads",
        [chat(gpu={"type": "a10g", "count": 3})],
        {},
        "models[0].gpu.count",
        "cannot be divided",
    ),
    (
        "a pod that fits no node",
        [chat(gpu={"type": "a10g", "count": 4})],
        {},
        "models[0].gpu",
        "add a node group with role gpu-inference and instanceTypes [g5.12xlarge]",
    ),
    (
        "quantizing 16 bit to awq",
        [chat(quantization="awq", quantizeOnLoad=True)],
        {},
        "models[0].quantizeOnLoad",
        "needs quantization fp8",
    ),
    # how many
    ("a range upside down", [chat(replicas={"min": 3, "max": 2})], {}, "models[0].replicas", "raise max or lower min"),
    (
        "zero without an activator",
        [chat()],
        platform(serving={"activation": {"enabled": False}}),
        "models[0].replicas.min",
        "platform.serving.activation.enabled",
    ),
    (
        "servers that follow nothing",
        [chat(replicas={"min": 1, "max": 2})],
        platform(metrics={"enabled": False}),
        "models[0].replicas",
        "platform.serving.prometheusUrl",
    ),
    (
        "more servers than nodes",
        [chat(replicas={"min": 0, "max": 50})],
        {},
        "models[0].replicas.max",
        "raise maxSize of",
    ),
    ("more GPUs than the team has", [chat(team="research")], {}, "models[0].replicas.max", "raise gpus of the team"),
    ("a team that is none", [chat(team="sales")], {}, "models[0].team", "must be one of the stack's teams research"),
    # money
    (
        "servers above the budget",
        [chat(budget={"monthlyUsd": 1000})],
        {},
        "models[0].budget.monthlyUsd",
        "lower replicas.max to 1",
    ),
    (
        "a budget above the team's",
        [chat(team="research", replicas={"max": 1}, budget={"monthlyUsd": 2000})],
        {},
        "models[0].budget.monthlyUsd",
        "raise monthlyUsd of the team",
    ),
    (
        "a budget for a hosted model",
        [{"name": "c", "backend": "hosted", "source": "hosted://bedrock/x.y", "budget": {"monthlyUsd": 5}}],
        {},
        "models[0].budget.monthlyUsd",
        "leave it out",
    ),
    # traffic
    (
        "a canary without a baseline",
        [chat(canary={"source": "s3://models/b"})],
        {},
        "models[0].canary.baseline",
        "must be set, if only as {}",
    ),
    (
        "a canary of the same weights",
        [chat(canary={**CANARY, "source": "s3://models/llama"})],
        {},
        "models[0].canary.source",
        "must differ",
    ),
    (
        "a canary that takes most requests",
        [chat(canary={**CANARY, "percent": 80})],
        {},
        "models[0].canary.percent",
        "at most 50",
    ),
    (
        "a canary beside an A/B test",
        [chat(canary=CANARY, ab={"variants": [{"name": "b", "source": "s3://models/b"}]})],
        {},
        "models[0].canary",
        "leave out canary or ab.variants",
    ),
    (
        "a canary where weights do not count",
        [chat(canary=CANARY)],
        platform(modelGateway={"routing": {"strategy": "least-busy"}}),
        "models[0].canary",
        "strategy weighted",
    ),
    (
        "sessions that nobody remembers",
        [chat(ab={"variants": [{"name": "b", "source": "s3://models/b"}]})],
        platform(modelGateway={"cache": {"enabled": False}}),
        "models[0].ab.sticky",
        "sticky: false",
    ),
    (
        "variants of one name",
        [chat(ab={"variants": [{"name": "b", "source": "s3://models/b"}] * 2})],
        {},
        "models[0].ab",
        "must have different names",
    ),
    (
        "variants of one source",
        [chat(ab={"variants": [{"name": "b", "source": "s3://models/llama"}]})],
        {},
        "models[0].ab.variants[0].source",
        "must differ",
    ),
    (
        "a variant that is called canary",
        [chat(ab={"variants": [{"name": "canary", "source": "s3://models/b"}]})],
        {},
        "models[0].ab",
        "must not be named canary",
    ),
    # names and fallbacks
    ("two models of one name", [chat(), chat(source="s3://models/b")], {}, "models[1].name", "take another name"),
    (
        "a hosted model's name",
        [chat()],
        {"hostedModels": [{"name": "chat", "model": "x.y"}]},
        "models[0].name",
        "must differ from the hosted models' names",
    ),
    ("the name of another one's canary", [chat(), chat(name="chat-canary")], {}, "models[1].name", "take another name"),
    ("a name for no cluster", [chat(name="Chat_1")], {}, "models[0].name", "must match"),
    ("an unknown fallback", [chat(fallbacks=["cheap"])], {}, "models[0].fallbacks[0]", "must be one of"),
    ("itself as fallback", [chat(fallbacks=["chat"])], {}, "models[0].fallbacks[0]", "must be another model"),
    (
        "fallbacks in a circle",
        [chat(fallbacks=["b"]), chat(name="b", fallbacks=["chat"])],
        {},
        "models[0].fallbacks[0]",
        "leads back to chat",
    ),
    # arguments
    (
        "an argument that is computed",
        [chat(arguments=["--max-model-len=99"])],
        {},
        "models[0].arguments[0]",
        "follows from context; set that instead",
    ),
    (
        "an argument that trusts anybody",
        [chat(arguments=["--trust-remote-code"])],
        {},
        "models[0].arguments[0]",
        "must be one of",
    ),
    ("an argument in two parts", [chat(arguments=["--seed", "7"])], {}, "models[0].arguments[1]", "--name=value"),
    ("an argument twice", [chat(arguments=["--seed=7", "--seed=8"])], {}, "models[0].arguments[1]", "named twice"),
    (
        "arguments of vLLM for Triton",
        [chat(backend="triton", arguments=["--seed=7"])],
        {},
        "models[0].arguments",
        "only for backend vllm",
    ),
    ("settings of Triton for vLLM", [chat(triton={})], {}, "models[0].triton", "only for backend triton"),
    ("settings of endpoints for vLLM", [chat(managed={})], {}, "models[0].managed", "only for backend sagemaker"),
    # what it needs
    ("no KServe", [chat()], platform(serving={"enabled": False}), "models", "platform.serving.enabled"),
    (
        "no model gateway",
        [chat()],
        platform(modelGateway={"enabled": False}),
        "models",
        "platform.modelGateway.enabled",
    ),
    ("a test that cannot be read", [chat(smoke={"expected": "("})], {}, "models[0].smoke", "regular expression"),
    (
        "less than half a cent of errors",
        [chat(objective={"errorPercent": 0})],
        {},
        "models[0].objective.errorPercent",
        "greater than 0",
    ),
]


def test_the_model_that_all_cases_start_from_is_accepted():
    assert problems(chat()) == []


@pytest.mark.parametrize(
    ("models", "stack", "path", "told"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_what_cannot_work_is_refused_with_path_and_remedy(models, stack, path, told):
    found = problems(*models, **stack)

    assert any(at == path and told in message for at, message in found), found


def test_there_are_thirty_ways_at_least():
    assert len({case[3] + case[4] for case in CASES}) >= 30


def test_all_problems_of_all_models_come_at_once():
    found = problems(chat(context=200_000), chat(name="b", gpu={"type": "l4"}), chat(name="c", team="sales"))

    assert {path for path, _ in found} >= {"models[0].context", "models[1].gpu.type", "models[2].team"}


@pytest.mark.parametrize(
    "more",
    [
        {"gpu": {"type": "a10g"}},
        {"source": f"hf://{LLAMA}", "architecture": None},
        {"source": "models:/llama@champion"},
        {"source": "models:/llama/3"},
        {"source": "file:///models/llama"},
        {"canary": {**CANARY, "state": "promoted"}, "replicas": {"min": 0, "max": 1}},
        {"canary": {**CANARY, "state": "rolled-back"}},
        {"ab": {"variants": [{"name": "b", "source": "s3://models/b", "weight": 3}]}, "replicas": {"min": 0, "max": 1}},
        {"arguments": ["--seed=7", "--no-async-scheduling"]},
        {"quantization": "fp8", "quantizeOnLoad": True},
        {"team": "research", "replicas": {"min": 0, "max": 1}},
        {"budget": {"monthlyUsd": 2000}},
    ],
)
def test_what_works_is_accepted(more):
    assert problems(chat(**more)) == []
