"""DeepEval: a case and an answer in, a number between 0 and 1 out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workloads.evaluation.cases import Case

from .answer import Answer
from .judge import Judge
from .libraries import Scorer
from .quiet import settle

settle()

from deepeval import metrics as deepeval_metrics  # noqa: E402 - the environment comes first
from deepeval.models import DeepEvalBaseLLM  # noqa: E402
from deepeval.test_case import LLMTestCase, SingleTurnParams  # noqa: E402
from pydantic import BaseModel  # noqa: E402


class DeepEvalJudge(DeepEvalBaseLLM):
    """The judge, as DeepEval calls it."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        super().__init__(judge.name)

    def load_model(self, *_: Any, **__: Any) -> Any:
        """Nothing to load."""
        return self

    def get_model_name(self, *_: Any, **__: Any) -> str:
        """Its name at the gateway."""
        return self._judge.name

    def supports_log_probs(self) -> bool:
        """Scores by schema: not every model behind the gateway gives probabilities."""
        return False

    def generate(self, *_: Any, **__: Any) -> Any:
        """Not used: every metric here is asynchronous."""
        raise NotImplementedError

    async def a_generate(self, prompt: str, schema: type[BaseModel] | None = None, **_: Any) -> Any:
        """An answer, in a form where one is asked for."""
        return await self._judge.ask(prompt, schema) if schema else await self._judge.say(prompt)


_DEEPEVAL: Mapping[str, type[Any]] = {
    "answerRelevancy": deepeval_metrics.AnswerRelevancyMetric,
    "faithfulness": deepeval_metrics.FaithfulnessMetric,
    "contextualPrecision": deepeval_metrics.ContextualPrecisionMetric,
    "contextualRecall": deepeval_metrics.ContextualRecallMetric,
    "contextualRelevancy": deepeval_metrics.ContextualRelevancyMetric,
    "hallucination": deepeval_metrics.HallucinationMetric,
    "bias": deepeval_metrics.BiasMetric,
    "toxicity": deepeval_metrics.ToxicityMetric,
}


def scorer(metric: str, judge: Judge | None) -> Scorer:
    """How a metric judges; a new one for each answer, because it keeps what it worked out."""
    if metric == "exactMatch":

        async def same(case: Case, answer: Answer) -> float:
            return await _measured(deepeval_metrics.ExactMatchMetric(), case, answer)

        return same
    if judge is None:
        raise ValueError(f"{metric} needs a judge")  # the configuration was checked
    model = DeepEvalJudge(judge)

    async def score(case: Case, answer: Answer) -> float:
        return await _measured(_DEEPEVAL[metric](model=model, include_reason=False), case, answer)

    return score


def criterion(name: str, text: str, judge: Judge | None) -> Scorer:
    """How a criterion in words is judged."""
    if judge is None:
        raise ValueError(f"{name} needs a judge")
    model = DeepEvalJudge(judge)

    async def score(case: Case, answer: Answer) -> float:
        looked_at = [SingleTurnParams.INPUT, SingleTurnParams.ACTUAL_OUTPUT]
        if case.reference:
            looked_at.append(SingleTurnParams.EXPECTED_OUTPUT)
        if answer.contexts or case.contexts:
            looked_at.append(SingleTurnParams.RETRIEVAL_CONTEXT)
        # As a step and not as criteria: of those the judge would first make steps, other ones each time.
        metric = deepeval_metrics.GEval(name=name, evaluation_params=looked_at, evaluation_steps=[text], model=model)
        return await _measured(metric, case, answer)

    return score


async def _measured(metric: Any, case: Case, answer: Answer) -> float:
    contexts = list(answer.contexts or case.contexts)
    judged = LLMTestCase(
        input=case.input,
        actual_output=answer.text,
        expected_output=case.reference or None,
        context=contexts or None,
        retrieval_context=contexts or None,
    )
    return float(await metric.a_measure(judged, _show_indicator=False))
