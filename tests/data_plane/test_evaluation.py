"""Evaluations with the real RAGAS and DeepEval, a real MLflow and an S3 endpoint; a server plays model and judge."""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import boto3
import pytest
import requests
from moto.server import ThreadedMotoServer

from tests.data_plane import judge_server
from tests.data_plane.environments import environment
from tests.data_plane.ports import free_port
from workloads.artifacts import key_of, publish

pytestmark = pytest.mark.data_plane

ROOT = Path(__file__).resolve().parents[2]
IMAGE = ROOT / "workloads" / "evaluation" / "image"
DONE, FAILED, CONFIGURATION, REFUSED = 0, 1, 2, 3
CASES = 24
EACH = 3
"""Cases where every metric of both libraries is asked for: the least that a threshold rests on."""

MODEL = "chat"
_START_SECONDS = 300


@dataclass
class Bench:
    """Everything that an evaluation talks to.

    Attributes:
        models: The server with the models and the judge.
        mlflow: Address of the registry's server.
        variables: Environment of a pod.
        driver: The process that evaluates.
        folder: For logs.
        guard: Where connections to the outside are noted.
        runs: How many evaluations there were.
    """

    models: judge_server.Server
    mlflow: str
    variables: Mapping[str, str]
    driver: subprocess.Popen[str]
    folder: Path
    guard: Path
    runs: int = 0

    def run(self, document: Mapping[str, Any], **variables: str) -> Ended:
        """One evaluation."""
        self.runs += 1
        log = self.folder / f"{self.runs}.log"
        results = self.folder / f"results-{self.runs}"
        message = self.folder / f"message-{self.runs}"
        config = {"messageFile": str(message), "results": str(results), **document}
        code = self.called(["--config", json.dumps(config)], log, **variables)
        return Ended(code, log.read_text(), message.read_text() if message.exists() else "", results)

    def called(self, arguments: Sequence[str], log: Path, **variables: str) -> int:
        """The program with these arguments; its exit code."""
        line = {"arguments": arguments, "environment": variables, "log": str(log)}
        assert self.driver.stdin
        assert self.driver.stdout
        self.driver.stdin.write(json.dumps(line) + "\n")
        self.driver.stdin.flush()
        return int(self.driver.stdout.readline())

    def registered(self, source: str = "") -> str:
        """A new version of the model, with a run of its own as training leaves it."""
        run = self.call("runs/create", experiment_id="0")["run"]["info"]
        source = source or f"{run['artifact_uri']}/model"
        body = {"name": MODEL, "source": source, "run_id": run["run_id"]}
        return str(self.call("model-versions/create", **body)["model_version"]["version"])

    def call(self, path: str, method: str = "POST", **body: Any) -> Any:
        more: dict[str, Any] = {"json": body} if method == "POST" else {"params": body}
        answer = requests.request(method, f"{self.mlflow}/api/2.0/mlflow/{path}", timeout=60, **more)
        assert answer.ok, answer.text
        return answer.json()

    def aliases(self) -> dict[str, str]:
        found = self.call("registered-models/get", "GET", name=MODEL)["registered_model"].get("aliases", [])
        return {one["alias"]: str(one["version"]) for one in found}

    def tags(self, version: str) -> dict[str, str]:
        found = self.call("model-versions/get", "GET", name=MODEL, version=version)["model_version"]
        return {one["key"]: one["value"] for one in found.get("tags", [])}

    def run_of(self, version: str) -> Any:
        found = self.call("model-versions/get", "GET", name=MODEL, version=version)["model_version"]
        return self.call("runs/get", "GET", run_id=found["run_id"])["run"]


@dataclass(frozen=True)
class Ended:
    """How an evaluation ended."""

    code: int
    log: str
    message: str
    results: Path

    measures: ClassVar[str] = '{"measure"'

    def measure(self, name: str) -> dict[str, Any]:
        lines = [json.loads(line) for line in self.log.splitlines() if line.startswith(self.measures)]
        return next(one for one in lines if one["measure"] == name)

    def result(self, name: str) -> str:
        return (self.results / name).read_text()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("evaluation")
    python = environment("evaluation", IMAGE / "requirements.txt") / "bin" / "python"
    with ExitStack() as stack:
        bucket = stack.enter_context(object_store())
        port = free_port()
        models = stack.enter_context(judge_server.serving())
        guard = folder / "reached-out"
        guard.touch()
        variables = {
            **bucket,
            "HOME": str(folder),
            "PATH": f"{python.parent}:/usr/bin:/bin",
            "PYTHONPATH": f"{ROOT}:{IMAGE}",
            "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}",
            "GATEWAY_KEY": models.key,
            "REACHED_OUT": str(guard),
        }
        driver = subprocess.Popen(
            [str(python), "-W", "ignore", str(ROOT / "tests" / "data_plane" / "evaluation_driver.py")],
            cwd=folder,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(folder / "driver.log").open("w"),
            text=True,
        )
        stack.callback(ended, driver)
        mlflow = stack.enter_context(tracking(folder, bucket, port))  # both take their time: side by side
        assert driver.stdout
        while (said := driver.stdout.readline().strip()) != "ready":
            assert driver.poll() is None, (folder / "driver.log").read_text()[-3000:] + said
        made = Bench(models, mlflow, variables, driver, folder, guard)
        made.call("registered-models/create", name=MODEL)
        yield made


def ended(driver: subprocess.Popen[str]) -> None:
    assert driver.stdin
    driver.stdin.close()
    driver.wait(timeout=60)


def object_store() -> Any:
    return _ObjectStore()


class _ObjectStore:
    def __enter__(self) -> dict[str, str]:
        self._server = ThreadedMotoServer(port=0, verbose=False)
        self._server.start()
        _, port = self._server.get_host_and_port()
        found = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "MLFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        for name in ("mlflow", "data"):
            client(found).create_bucket(Bucket=name)
        return found

    def __exit__(self, *_: object) -> None:
        self._server.stop()


def client(variables: Mapping[str, str]) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


class tracking:  # noqa: N801 - reads as what it does
    """A real MLflow server, whose clients write artifacts to the object store themselves."""

    def __init__(self, folder: Path, bucket: Mapping[str, str], port: int) -> None:
        self._folder, self._bucket, self._port = folder, bucket, port

    def __enter__(self) -> str:
        programs = environment("mlflow") / "bin"
        port = self._port
        arguments = [
            str(programs / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
            "--backend-store-uri", f"sqlite:///{self._folder}/mlflow.db",
            "--default-artifact-root", "s3://mlflow/artifacts",
        ]  # fmt: skip
        variables = {**self._bucket, "PATH": f"{programs}:/usr/bin:/bin", "HOME": str(self._folder)}
        log = self._folder / "mlflow.log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                arguments, cwd=self._folder, env=variables, stdout=output, stderr=subprocess.STDOUT
            )
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            assert self._process.poll() is None, log.read_text()[-3000:]
            try:
                if requests.get(f"{url}/health", timeout=5).ok:
                    return url
            except requests.RequestException:
                time.sleep(0.5)
        raise AssertionError(log.read_text()[-3000:])

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(timeout=60)


@dataclass
class Questions:
    """A file of cases in the object store.

    Attributes:
        unreadable: Cases that the judge says nothing readable of.
        style: How they are asked.
    """

    unreadable: int = 0
    style: str = "What is the capital of"

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The cases."""
        kinds = (judge_server.UNREADABLE, judge_server.OVERLONG)
        return [
            {
                "id": str(n),
                "input": f"{self.style} {kinds[n % 2] if n < self.unreadable else ''} country {n}?",
                "contexts": [f"The capital of country {n} is City-{n}."],
                "reference": f"City-{n}",
            }
            for n in range(CASES)
        ]

    def put(self, bench: Bench, name: str) -> dict[str, str]:
        """Upload it; what a suite says of it."""
        data = "".join(json.dumps(line) + "\n" for line in self.lines).encode()
        client(bench.variables).put_object(Bucket="data", Key=f"evaluation/{name}.jsonl", Body=data)
        return {"data": f"s3://data/evaluation/{name}.jsonl", "sha256": hashlib.sha256(data).hexdigest()}


def wanted(bench: Bench, version: str, model: str, **more: Any) -> dict[str, Any]:
    """A configuration; the threshold is on faithfulness."""
    file = more.pop("file", None) or Questions().put(bench, "questions")
    return {
        "model": {"name": MODEL, "version": version},
        "subject": {"url": bench.models.url, "model": model, "patienceSeconds": 2},
        "judge": {
            "url": bench.models.url,
            "model": "judge",
            "embeddings": "embed",
            "patienceSeconds": 2,
            "attempts": 2,
        },
        "suites": [{"name": "ragas", "kind": "ragas", **file, "metrics": ["faithfulness"]}],
        "thresholds": {"ragas.faithfulness": {"min": 0.8}},
        "resamples": 500,
        "alias": "candidate",
        **more,
    }


EVERYTHING: list[dict[str, Any]] = [
    {
        "name": "ragas",
        "kind": "ragas",
        "metrics": [
            "faithfulness", "answerRelevancy", "answerAccuracy", "contextPrecision", "contextRecall",
            "contextRelevance", "factualCorrectness", "responseGroundedness", "semanticSimilarity", "exactMatch",
        ],
        "maxCases": EACH,
    },
    {
        "name": "deep",
        "kind": "deepeval",
        "metrics": [
            "answerRelevancy", "faithfulness", "contextualPrecision", "contextualRecall", "contextualRelevancy",
            "hallucination", "bias", "toxicity", "exactMatch",
        ],
        "criteria": [{"name": "short", "text": "The answer is one short sentence and names a real city."}],
        "maxCases": EACH,
    },
]  # fmt: skip


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
