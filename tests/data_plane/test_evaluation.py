"""Evaluations with the real RAGAS and DeepEval, a real MLflow and an S3 endpoint; a server plays model and judge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.data_plane.evaluation_bench import (
    CASES,
    CONFIGURATION,
    DONE,
    EACH,
    EVERYTHING,
    FAILED,
    MODEL,
    REFUSED,
    Bench,
    Questions,
    client,
    wanted,
)
from tests.data_plane.evaluation_bench import bench as bench  # noqa: PLC0414 a fixture, for this module too
from workloads.artifacts import key_of, publish

pytestmark = pytest.mark.data_plane


def test_a_good_model_gets_its_alias_and_doing_it_again_changes_nothing(bench: Bench):
    version = bench.registered()
    config = wanted(bench, version, "good")
    first = bench.run(config)
    assert first.code == DONE, first.log
    assert bench.aliases() == {"candidate": version}
    assert first.measure("ragas.faithfulness")["value"] == 1
    assert first.result("verdict") == "passed"
    assert bench.models.kept.get("good", 0) == 0, "an answer that the gateway has kept says nothing of the model"

    run, tags, asked = bench.run_of(version), bench.tags(version), dict(bench.models.asked)
    metrics = {one["key"]: one["value"] for one in run["data"]["metrics"]}
    assert (metrics["evaluation/ragas.faithfulness"], metrics["evaluation/ragas.faithfulness.cases"]) == (1, CASES)
    record = json.loads(tags["llmops.evaluation"])
    table = json.loads(
        client(bench.variables)
        .get_object(Bucket="mlflow", Key=f"artifacts/0/{record['run']}/artifacts/{record['folder']}/judgements.json")[
            "Body"
        ]
        .read()
    )
    assert len(table["data"]) == CASES

    again = bench.run(config)
    assert again.code == DONE, again.log
    assert (bench.run_of(version), bench.tags(version), bench.models.asked) == (run, tags, asked)


def test_a_bad_model_is_kept_from_its_alias_and_everybody_is_told_why(bench: Bench):
    before = bench.aliases()
    version = bench.registered()
    kept = bench.run(wanted(bench, version, "bad"))
    assert kept.code == REFUSED, kept.log
    assert bench.aliases() == before
    reason = "ragas.faithfulness is 0"
    run_tags = {one["key"]: one["value"] for one in bench.run_of(version)["data"]["tags"]}
    for place in (
        kept.message,
        kept.log,
        kept.result("reasons"),
        bench.tags(version)["llmops.evaluation.reasons"],
        run_tags["llmops.evaluation.reasons"],
    ):
        assert reason in place
    alone = bench.run({"task": "promote", "model": {"name": MODEL, "version": version}, "alias": "candidate"})
    assert alone.code == REFUSED
    assert bench.aliases() == before


def test_another_threshold_is_judged_without_asking_again_and_a_mean_that_is_luck_does_not_pass(bench: Bench):
    version = bench.registered()
    lucky = bench.run(wanted(bench, version, "mixed", thresholds={"ragas.faithfulness": {"min": 0.7}}, alias=""))
    measure = lucky.measure("ragas.faithfulness")
    assert measure["low"] < 0.7 < measure["value"]
    assert lucky.code == REFUSED
    asked = dict(bench.models.asked)
    bold = {"ragas.faithfulness": {"min": 0.7, "hold": "value"}}
    assert bench.run(wanted(bench, version, "mixed", thresholds=bold, alias="")).code == DONE
    assert bench.models.asked == asked


@pytest.mark.parametrize("silent", ["judge", "good"])
def test_a_judge_or_a_model_that_cannot_be_reached_is_an_error_and_no_verdict(silent: str, bench: Bench):
    before = bench.aliases()
    version = bench.registered()
    bench.models.silent.add(silent)
    try:
        failed = bench.run(wanted(bench, version, "good"))
    finally:
        bench.models.silent.clear()
    assert failed.code == FAILED, failed.log
    assert "cannot be reached; last: HTTP 503" in failed.message
    assert (bench.aliases(), bench.tags(version)) == (before, {})


def test_a_wrong_key_is_an_error_at_once(bench: Bench):
    failed = bench.run(wanted(bench, bench.registered(), "good"), GATEWAY_KEY="wrong")
    assert failed.code == FAILED
    assert "refuses: HTTP 401" in failed.message


@pytest.mark.parametrize(("unreadable", "code"), [(1, DONE), (2, REFUSED)])
def test_judgements_that_cannot_be_read_are_counted_and_refuse_above_a_share(unreadable: int, code: int, bench: Bench):
    version = bench.registered()
    file = Questions(unreadable).put(bench, f"unreadable-{unreadable}")
    config = wanted(bench, version, "good", file=file, alias="")
    ended = bench.run(config)
    assert ended.code == code, ended.log
    measure = ended.measure("ragas.faithfulness")
    assert (measure["cases"], measure["unjudged"]) == (CASES - unreadable, unreadable)
    if code == REFUSED:
        assert f"{unreadable} of {CASES} judgements could not be read; at most 5 %" in ended.message


@pytest.mark.parametrize(("subject", "best"), [("good", True), ("bad", False)])
def test_every_metric_of_both_libraries_tells_good_from_bad(subject: str, best: bool, bench: Bench):
    version = bench.registered()
    file = Questions().put(bench, "questions")
    suites = [{**suite, **file} for suite in EVERYTHING]
    thresholds = {"deep.short": {"min": 0.9}}
    ended = bench.run(wanted(bench, version, subject, suites=suites, thresholds=thresholds, minCases=3))
    assert ended.code == (DONE if best else REFUSED), ended.log
    follow_answers = {
        "ragas.faithfulness", "ragas.answerAccuracy", "ragas.factualCorrectness", "ragas.responseGroundedness",
        "deep.answerRelevancy", "deep.faithfulness", "deep.hallucination", "deep.bias", "deep.toxicity", "deep.short",
    }  # fmt: skip
    for suite in EVERYTHING:
        for metric in (*suite["metrics"], *(one["name"] for one in suite.get("criteria", []))):
            measure = ended.measure(f"{suite['name']}.{metric}")
            assert (measure["cases"], measure["unjudged"]) == (EACH, 0), f"{metric}: {measure}"
            assert 0 <= measure["value"] <= 1
            if f"{suite['name']}.{metric}" in follow_answers:
                assert measure["value"] == pytest.approx(float(best)), f"{metric}: {measure}"


def test_an_empty_answer_is_the_worst_and_not_left_out(bench: Bench):
    ended = bench.run(wanted(bench, bench.registered(), "empty"))
    assert ended.code == REFUSED
    measure = ended.measure("ragas.faithfulness")
    assert (measure["value"], measure["cases"]) == (0, CASES)


def test_a_model_that_is_worse_than_the_one_in_production_is_refused_case_by_case(bench: Bench):
    production = bench.registered()
    thresholds = {"ragas.faithfulness": {"maxDecrease": 0.05, "over": "production"}}
    first = bench.run(wanted(bench, production, "good", thresholds=thresholds, alias="production"))
    assert first.code == DONE, first.log
    assert bench.aliases()["production"] == production
    worse = bench.registered()
    assert bench.run(wanted(bench, worse, "mixed", thresholds=thresholds, alias="production")).code == REFUSED
    assert bench.aliases()["production"] == production
    equal = bench.registered()
    assert bench.run(wanted(bench, equal, "good", thresholds=thresholds, alias="production")).code == DONE
    assert bench.aliases()["production"] == equal
    other = Questions(style="Name the capital of").put(bench, "others")
    config = wanted(bench, bench.registered(), "good", thresholds=thresholds, alias="", file=other)
    incomparable = bench.run(config)
    assert incomparable.code == REFUSED
    assert "was evaluated with other cases" in incomparable.message


def test_answers_and_losses_that_were_made_where_the_weights_are_need_no_server(bench: Bench, tmp_path: Path):
    file = Questions().put(bench, "questions")
    folder = tmp_path / "answers"
    folder.mkdir()
    said = [{"suite": "ragas", "case": str(n), "text": f"It is City-{n}."} for n in range(CASES)]
    losses = [{"sequence": str(n), "loss": 2.0 + 0.01 * n, "tokens": 10} for n in range(30)]
    (folder / "answers.jsonl").write_text("".join(json.dumps(one) + "\n" for one in said))
    (folder / "losses.jsonl").write_text("".join(json.dumps(one) + "\n" for one in losses))
    key = key_of({"model": "weights", "cases": file["sha256"]})
    made = publish(folder, f"file://{tmp_path}", key, kind="answers", parents={}, facts={"heldOut": "d" * 64})
    thresholds = {"heldOut.loss": {"max": 2.2}, "ragas.faithfulness": {"min": 0.8}}
    config = wanted(
        bench, bench.registered(), "", subject=None, answers=made.url, heldOut=True, thresholds=thresholds, alias=""
    )
    asked = bench.models.asked.get("good", 0)
    ended = bench.run(config)
    assert ended.code == DONE, ended.log
    assert ended.measure("heldOut.loss")["value"] == pytest.approx(2.145)
    assert ended.measure("heldOut.perplexity")["value"] == pytest.approx(8.542, abs=0.01)
    assert bench.models.asked.get("good", 0) == asked


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sha256": "0" * 64}, "declared is 000000"),
        ({"data": "s3://data/evaluation/nowhere.jsonl"}, ""),
        ({"metrics": ["faithfulness", "charm"]}, "got charm"),
    ],
)
def test_what_cannot_be_evaluated_is_said_before_anybody_is_asked(change: dict[str, Any], said: str, bench: Bench):
    asked = dict(bench.models.asked)
    file = Questions().put(bench, "questions")
    suite = {"name": "ragas", "kind": "ragas", **file, "metrics": ["faithfulness"], **change}
    ended = bench.run(wanted(bench, bench.registered(), "good", suites=[suite]))
    assert ended.code == (CONFIGURATION if said else FAILED), ended.log
    assert said in ended.message
    assert bench.models.asked == asked


def test_nothing_reached_out_of_the_machine(bench: Bench):
    """The last test: a guard in the process has refused and noted every other address."""
    assert bench.runs
    assert bench.guard.read_text() == ""


def test_the_program_says_how_it_is_called_and_refuses_what_it_does_not_know(bench: Bench, tmp_path: Path):
    log = tmp_path / "log"
    assert bench.called(["--help"], log) == DONE
    assert "--config" in log.read_text()
    wrong = json.dumps({"model": {"name": "chat", "version": "latest"}, "colour": "red"})
    assert bench.called(["--config", wrong], log) == CONFIGURATION
    assert "model.version" in log.read_text()
    assert "colour" in log.read_text()
