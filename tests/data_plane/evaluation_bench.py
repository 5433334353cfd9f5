"""What tests of evaluations share: the servers that one talks to, the process that evaluates, cases, configurations."""

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
        # Half a dozen processes that run jobs of MLflow's own; the platform's server has none of them either.
        variables = {
            **self._bucket,
            "PATH": f"{programs}:/usr/bin:/bin",
            "HOME": str(self._folder),
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
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
