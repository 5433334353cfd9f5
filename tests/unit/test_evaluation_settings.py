"""Settings of an evaluation: what is refused, and that settings, pod and libraries speak of the same metrics."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from components.settings.evaluation import METRICS, EvaluationSettings
from workloads.evaluation.image.evaluation.metrics import NEEDS

pytestmark = pytest.mark.unit

SUITE = {"name": "ragas", "kind": "ragas", "data": "s3://data/evaluation/questions.jsonl", "metrics": ["faithfulness"]}
JUDGE = {"model": "judge"}


def said(**document: Any) -> str:
    with pytest.raises(ValidationError) as refused:
        EvaluationSettings.model_validate(document)
    return str(refused.value)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({}, "name suites or heldOut"),
        ({"suites": [SUITE]}, "judge must be set: ragas asks one"),
        ({"judge": JUDGE, "suites": [SUITE, SUITE]}, "twice: ragas"),
        ({"judge": JUDGE, "suites": [{**SUITE, "metrics": ["charm"]}]}, "got charm"),
        ({"judge": JUDGE, "suites": [{**SUITE, "metrics": []}]}, "name one of metrics or criteria"),
        ({"judge": JUDGE, "suites": [{**SUITE, "metrics": ["answerRelevancy"]}]}, r"judge.embeddings must be set"),
        ({"judge": JUDGE, "suites": [SUITE], "thresholds": {"ragas.bias": {"min": 1}}}, "got ragas.bias"),
        ({"judge": JUDGE, "suites": [SUITE], "thresholds": {"heldOut.loss": {"max": 1}}}, "got heldOut.loss"),
        ({"heldOut": {}, "thresholds": {"heldOut.loss": {}}}, "set one of min, max, maxDecrease, maxIncrease"),
        ({"heldOut": {}, "thresholds": {"heldOut.loss": {"min": 2, "max": 1}}}, "min 2 is above max 1"),
        ({"heldOut": {}, "thresholds": {"heldOut.perplexity": {"maxIncrease": 1}}}, "compare heldOut.loss"),
        (
            {"judge": JUDGE, "suites": [{**SUITE, "criteria": [{"name": "short", "text": "It is short."}]}]},
            "kind: deepeval",
        ),
        ({"judge": JUDGE, "suites": [{**SUITE, "data": "questions.jsonl"}]}, "must be a URL such as s3://"),
        (
            {
                "judge": JUDGE,
                "suites": [
                    {**SUITE, "kind": "deepeval", "criteria": [{"name": "faithfulness", "text": "It is faithful."}]}
                ],
            },
            "twice: faithfulness",
        ),
    ],
)
def test_what_cannot_be_evaluated_is_refused_with_the_remedy(document: dict[str, Any], reason: str):
    assert reason in said(**document)


def test_a_suite_that_only_computes_needs_no_judge():
    found = EvaluationSettings.model_validate({"suites": [{**SUITE, "metrics": ["exactMatch"]}], "heldOut": {}})
    assert found.measures == ("ragas.exactMatch", "heldOut.loss", "heldOut.perplexity")


def test_settings_and_pod_know_the_same_metrics():
    assert {kind: set(names) for kind, names in METRICS.items()} == {kind: set(names) for kind, names in NEEDS.items()}
