"""The real LiteLLM as a process of this machine, started as the program starts it in the cluster."""

from __future__ import annotations

import json
import os
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import requests

from components.platform.databases import Databases, DatabasesArgs
from components.platform.model_gateway import GatewayModel, ModelGateway, ModelGatewayArgs
from components.settings.teams import TeamSettings
from tests.data_plane.environments import environment
from tests.data_plane.ports import free_port
from tests.data_plane.redis_server import Redis
from tests.unit.conftest import Recorder
from tests.unit.platform_site import options, site

MASTER = "sk-master0123456789abcdefghijklmnopqrstuvwxyz"
START_SECONDS = 300  # importing LiteLLM is most of it
SETTINGS = {"modelGateway": {"routing": {"cooldownSeconds": 5}, "drainSeconds": 20, "logLevel": "INFO"}}
TEAM = TeamSettings.model_validate({"name": "research", "monthlyUsd": 1})


@dataclass(frozen=True)
class Emitted:
    """What the program declares for a pod."""

    configuration: dict[str, Any]
    modules: dict[str, str]
    containers: dict[str, dict[str, Any]]
    migrations: dict[str, Any]

    def led_to(self, parameters: Callable[[str, Mapping[str, Any]], Mapping[str, Any]]) -> Emitted:
        """The same with addresses of this machine where the cluster's names and the cloud's stand; without traces.

        Args:
            parameters: From a backend's id and its parameters to what they are here.
        """
        entries = [
            {**entry, "litellm_params": dict(parameters(entry["model_info"]["id"], entry["litellm_params"]))}
            for entry in self.configuration["model_list"]
        ]
        shared = self.configuration["litellm_settings"]
        callbacks = [one for one in shared["callbacks"] if one != "otel"]  # no collector stands here
        settings = {**shared, "callbacks": callbacks}
        changed = {**self.configuration, "model_list": entries, "litellm_settings": settings}
        return replace(self, configuration=changed)


def emitted(recorded: Recorder, declared_models: tuple[GatewayModel, ...]) -> Emitted:
    def program() -> None:
        place = site(SETTINGS, teams=(TEAM,))
        shared = Databases("databases", DatabasesArgs(site=place, secrets_ready=()), options(place))
        args = ModelGatewayArgs(site=place, models=declared_models, secrets_ready=(), databases_ready=shared.ready)
        ModelGateway("models", args, options(place))

    recorded.run(program)
    pod = recorded.one("kubernetes:apps/v1:Deployment").inputs["spec"]["template"]["spec"]
    files = recorded.of("kubernetes:core/v1:ConfigMap")["models-config"].inputs["data"]
    job = recorded.of("kubernetes:batch/v1:Job")["models-migrations"].inputs["spec"]["template"]["spec"]
    modules = {file: text for file, text in files.items() if file.endswith(".py")}
    return Emitted(
        json.loads(files["config.yaml"]), modules, {one["name"]: one for one in pod["containers"]}, job["containers"][0]
    )


@dataclass
class Replica:
    """A running LiteLLM."""

    url: str
    metrics: Path
    log: Path
    process: subprocess.Popen[bytes]

    def ask(
        self, model: str, text: str = "", *, key: str = MASTER, stream: bool = False, **more: Any
    ) -> requests.Response:
        """One question; without a text it is one that was never asked before."""
        message = {"role": "user", "content": text or uuid.uuid4().hex}
        headers = {"authorization": f"Bearer {key}"} if key else {}
        body = {"model": model, "messages": [message], "stream": stream, **more}
        return requests.post(f"{self.url}/v1/chat/completions", json=body, headers=headers, stream=stream, timeout=60)


def answer_of(response: requests.Response) -> str:
    assert response.status_code == 200, response.text
    return response.json()["choices"][0]["message"]["content"]


@contextmanager
def replica(given: Emitted, cache: Redis, folder: Path, database: str = "") -> Iterator[Replica]:
    """The container's own arguments and variables; what Secrets and the cluster's DNS would give stands here."""
    folder.mkdir(exist_ok=True)
    container = given.containers["model-gateway"]
    port = free_port()
    file = folder / "config.yaml"
    file.write_text(json.dumps(given.configuration))
    for title, code in given.modules.items():
        (folder / title).write_text(code)
    arguments = [*container["args"]]
    arguments[arguments.index("--config") + 1] = str(file)
    arguments[arguments.index("--port") + 1] = str(port)
    metrics = folder / "metrics"
    metrics.mkdir(exist_ok=True)
    secrets = {"masterKey": MASTER, "saltKey": "sk-salt0123456789", "cacheToken": cache.password}
    variables: dict[str, str] = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    for one in container["env"]:
        if "value" in one:
            variables[one["name"]] = one["value"]
        else:
            variables[one["name"]] = secrets.get(one["valueFrom"]["secretKeyRef"]["key"], "nobody")
    for name in [name for name in variables if name.startswith("DATABASE_")]:
        del variables[name]
    if database:  # its client needs an engine that is not on PyPI
        variables["DATABASE_URL"] = database
    assert variables["REDIS_HOST"] == "cache.test"
    variables |= {
        "REDIS_HOST": "127.0.0.1",
        "REDIS_PORT": str(cache.port),
        "REDIS_SSL_CA_CERTS": str(cache.authority),
        "PROMETHEUS_MULTIPROC_DIR": str(metrics),
    }
    log = folder / "log"
    program = environment("litellm") / "bin" / "litellm"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(program), *arguments], cwd=folder, env=variables, stdout=output, stderr=subprocess.STDOUT
        )
        found = Replica(f"http://127.0.0.1:{port}", metrics, log, process)
        try:
            startup = container["startupProbe"]["httpGet"]["path"]
            await_answer(found.url + startup, process, log)
            yield found
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(timeout=60)


def await_answer(url: str, process: subprocess.Popen[bytes], log: Path) -> requests.Response:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, f"it does not start: {log.read_text()[-3000:]}"
        try:
            answer = requests.get(url, timeout=5)
        except requests.RequestException:
            time.sleep(0.5)
            continue
        if answer.status_code == 200:
            return answer
    raise AssertionError(f"it does not answer: {log.read_text()[-3000:]}")


def events(response: requests.Response) -> Iterator[tuple[dict[str, Any], float]]:
    assert response.status_code == 200, response.text
    for line in response.iter_lines():
        if line.startswith(b"data: {"):
            event = json.loads(line.removeprefix(b"data: "))
            if event.get("choices"):
                yield event, time.monotonic()


def eventually(question: Callable[[], Any], patience_seconds: float = 30) -> Any:
    """The first answer that holds; answers are written to the cache after they were given."""
    deadline = time.monotonic() + patience_seconds
    while not (found := question()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found
