"""RAGAS: a case and an answer in, a number between 0 and 1 out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from workloads.evaluation.cases import Case

from .answer import Answer
from .judge import Judge
from .libraries import Scorer
from .quiet import settle

settle()

from pydantic import BaseModel  # noqa: E402 - the environment comes first
from ragas.embeddings.base import BaseRagasEmbedding  # noqa: E402
from ragas.llms.base import InstructorBaseRagasLLM  # noqa: E402
from ragas.metrics import collections as ragas_metrics  # noqa: E402

Form = TypeVar("Form", bound=BaseModel)


class RagasJudge(InstructorBaseRagasLLM):
    """The judge, as RAGAS calls it."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    def generate(self, prompt: str, response_model: type[Form]) -> Form:
        """Not used: every metric here is asynchronous."""
        raise NotImplementedError

    async def agenerate(self, prompt: str, response_model: type[Form]) -> Form:
        """An answer in a form."""
        return await self._judge.ask(prompt, response_model)


class RagasEmbeddings(BaseRagasEmbedding):
    """The judge's embedding model, as RAGAS calls it."""

    def __init__(self, judge: Judge) -> None:
        super().__init__()
        self._judge = judge

    def embed_text(self, text: str, **_: Any) -> list[float]:
        """Not used: the metric that would wait for it gets :class:`Embedded`."""
        raise NotImplementedError

    async def aembed_text(self, text: str, **_: Any) -> list[float]:
        """One embedding."""
        return (await self._judge.embed([text]))[0]

    async def aembed_texts(self, texts: list[str], **_: Any) -> list[list[float]]:
        """Several."""
        return await self._judge.embed(texts)


class Embedded(BaseRagasEmbedding):
    """Embeddings that are known: one metric asks for them without letting others go on meanwhile."""

    def __init__(self, known: Mapping[str, list[float]]) -> None:
        super().__init__()
        self._known = known

    def embed_text(self, text: str, **_: Any) -> list[float]:
        """One of them."""
        return self._known[text]

    async def aembed_text(self, text: str, **_: Any) -> list[float]:
        """One of them."""
        return self._known[text]


_RAGAS: Mapping[str, tuple[type[Any], tuple[str, ...]]] = {
    "faithfulness": (ragas_metrics.Faithfulness, ("user_input", "response", "retrieved_contexts")),
    "answerRelevancy": (ragas_metrics.AnswerRelevancy, ("user_input", "response")),
    "answerAccuracy": (ragas_metrics.AnswerAccuracy, ("user_input", "response", "reference")),
    "contextPrecision": (
        ragas_metrics.ContextPrecisionWithReference,
        ("user_input", "reference", "retrieved_contexts"),
    ),
    "contextRecall": (ragas_metrics.ContextRecall, ("user_input", "retrieved_contexts", "reference")),
    "contextRelevance": (ragas_metrics.ContextRelevance, ("user_input", "retrieved_contexts")),
    "factualCorrectness": (ragas_metrics.FactualCorrectness, ("response", "reference")),
    "responseGroundedness": (ragas_metrics.ResponseGroundedness, ("response", "retrieved_contexts")),
    "semanticSimilarity": (ragas_metrics.SemanticSimilarity, ("reference", "response")),
    "exactMatch": (ragas_metrics.ExactMatch, ("reference", "response")),
}
_COMPUTED = frozenset({"semanticSimilarity", "exactMatch"})


def scorer(metric: str, judge: Judge | None) -> Scorer:
    """How a metric judges."""
    kind, wanted = _RAGAS[metric]
    more: dict[str, Any] = {}
    if judge is not None and metric not in _COMPUTED:
        more["llm"] = RagasJudge(judge)
    if judge is not None and metric == "answerRelevancy":
        more["embeddings"] = RagasEmbeddings(judge)

    async def score(case: Case, answer: Answer) -> float:
        fields = {
            "user_input": case.input,
            "response": answer.text,
            "reference": case.reference,
            "retrieved_contexts": list(answer.contexts or case.contexts),
        }
        if judge is not None and metric == "semanticSimilarity":
            texts = [case.reference, answer.text]
            known = Embedded(dict(zip(texts, await judge.embed(texts), strict=True)))
            result = await kind(embeddings=known).ascore(**{name: fields[name] for name in wanted})
            return float(result.value)
        result = await kind(**more).ascore(**{name: fields[name] for name in wanted})
        return float(result.value)

    return score
