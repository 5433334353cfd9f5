"""A model of the registry is found in a real MLflow, by alias and by version."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.data_plane.environments import environment
from tests.data_plane.ports import free_port
from workloads.models.registry_client import RegistryError, look_up

pytestmark = pytest.mark.data_plane

START_SECONDS = 300
ROOT = "s3://mlflow/artifacts"


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("registry")
    programs = environment("mlflow") / "bin"
    port = free_port()
    arguments = [
        str(programs / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--default-artifact-root", ROOT,
    ]  # fmt: skip
    log = folder / "log"
    with log.open("wb") as output:
        variables = {"PATH": f"{programs}:/usr/bin:/bin", "HOME": str(folder)}
        process = subprocess.Popen(arguments, cwd=folder, env=variables, stdout=output, stderr=subprocess.STDOUT)
        try:
            url = f"http://127.0.0.1:{port}"
            answered(url, process, log)
            yield url
        finally:
            process.terminate()
            process.wait(timeout=60)


def answered(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            if requests.get(f"{url}/health", timeout=5).ok:
                return
        except requests.RequestException:
            time.sleep(0.5)
    raise AssertionError(log.read_text()[-3000:])


def call(url: str, path: str, **body: str) -> None:
    answer = requests.post(f"{url}/api/2.0/mlflow/{path}", json=body, timeout=30)
    assert answer.ok, answer.text


def test_an_alias_and_a_version_are_found_and_what_is_not_there_is_said(mlflow: str):
    call(mlflow, "registered-models/create", name="llama")
    for version in ("1", "2"):
        call(mlflow, "model-versions/create", name="llama", source=f"{ROOT}/{version}/model")
    call(mlflow, "registered-models/alias", name="llama", alias="champion", version="2")

    by_alias = look_up(mlflow, "llama", "@champion")
    assert (by_alias.version, by_alias.source) == ("2", f"{ROOT}/2/model")
    assert look_up(mlflow, "llama", "1").source == f"{ROOT}/1/model"
    for name, revision in (("llama", "@nobody"), ("llama", "9"), ("alpaca", "@champion")):
        with pytest.raises(RegistryError, match="register it first"):
            look_up(mlflow, name, revision)
