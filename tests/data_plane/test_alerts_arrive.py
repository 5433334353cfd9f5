"""From a number to a message: a real Prometheus reads an exporter with the emitted rules, a real Alertmanager tells."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from components.platform.observability import alertmanager, rules
from components.platform.observability.rules import Links, ModelObjective, SiteFacts
from components.settings.platform import PlatformSettings
from components.settings.platform.alerting import AlertingSettings
from tests.data_plane import alertmanager_programs, programs
from tests.data_plane.ports import free_port

pytestmark = pytest.mark.data_plane

PATIENCE_SECONDS = 90
PATIENCE = 0.01
"""How long alerts wait here, of what they wait in a cluster: three seconds for five minutes."""

SETTINGS = AlertingSettings.model_validate(
    {
        "runbookBaseUrl": "https://git.example/docs/runbooks",
        "receivers": {"oncall": {"webhook": {}}, "research": {"webhook": {}}, "heart": {"webhook": {}}},
        "routes": {"critical": ["oncall"]},
        "teamRoutes": {"research": {"critical": ["research"]}},
        "deadMansSwitch": "heart",
        "heartbeatMinutes": 1,
        "groupWaitSeconds": 5,
    }
)
OBJECTIVES = (
    ModelObjective(name="llama", namespace="team-research", team="research", backend="vllm", error_ratio=0.02),
)


@dataclass
class Exporter:
    """Metrics of a platform in which things go wrong.

    Attributes:
        port: Where it is read.
        gpu_used: Memory of the GPU in use, of 100.
        reads: How often it was read.
    """

    port: int = 0
    gpu_used: int = 95
    reads: int = 0

    def page(self) -> str:
        self.reads += 1
        good, bad = 70 * self.reads, 30 * self.reads
        gpu = 'gpu="0",UUID="GPU-1",modelName="NVIDIA A10G",Hostname="node-1",namespace="mlops-training",pod="job-0"'
        lines = [
            *(
                f'litellm_proxy_total_requests_metric_total{{requested_model="{model}",status_code="{status}"}} {count}'
                for model in ("small", "llama")
                for status, count in (("200", good), ("500", bad))
            ),
            f"DCGM_FI_DEV_FB_USED{{{gpu}}} {self.gpu_used}",
            f"DCGM_FI_DEV_FB_FREE{{{gpu}}} {100 - self.gpu_used}",
        ]
        return "\n".join([*lines, ""])


@dataclass
class Receiver:
    """What was told, by the path that it was told to."""

    port: int = 0
    heard: list[tuple[str, dict[str, Any]]] = field(default_factory=list[tuple[str, dict[str, Any]]])

    def alerts(self, path: str) -> dict[str, dict[str, Any]]:
        """By name."""
        return {
            one["labels"]["alertname"]: one
            for where, message in list(self.heard)
            if where == path
            for one in message["alerts"]
        }


@contextmanager
def serving(exporter: Exporter, receiver: Receiver) -> Generator[None]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(exporter.page().encode())

        def do_POST(self) -> None:
            receiver.heard.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self._answer(b"ok")

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: pytest shows what is wrong."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    exporter.port = receiver.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


@dataclass(frozen=True)
class Watched:
    """Everything, running."""

    exporter: Exporter
    receiver: Receiver
    prometheus: str

    def firing(self) -> dict[str, dict[str, Any]]:
        """Alerts that fire in Prometheus, by name."""
        answer = requests.get(f"{self.prometheus}/api/v1/alerts", timeout=10).json()
        return {one["labels"]["alertname"]: one for one in answer["data"]["alerts"] if one["state"] == "firing"}


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    prometheus, folder = programs.program("PROMETHEUS", "prometheus"), tmp_path_factory.mktemp("alerts")
    manager = alertmanager_programs.program("alertmanager")
    exporter, receiver = Exporter(), Receiver()
    ports = [free_port(), free_port()]
    with ExitStack() as stack:
        stack.enter_context(serving(exporter, receiver))
        told = _alertmanager(folder, receiver)
        stack.enter_context(
            programs.running(
                [
                    str(manager),
                    f"--config.file={told}",
                    f"--storage.path={folder / 'alertmanager'}",
                    f"--web.listen-address=127.0.0.1:{ports[0]}",
                    "--cluster.listen-address=",
                ],
                ready=f"http://127.0.0.1:{ports[0]}/-/ready",
                log=folder / "alertmanager.log",
            )
        )
        read = _prometheus(folder, exporter, ports[0])
        stack.enter_context(
            programs.running(
                [
                    prometheus,
                    f"--config.file={read}",
                    f"--storage.tsdb.path={folder / 'prometheus'}",
                    f"--web.listen-address=127.0.0.1:{ports[1]}",
                ],
                ready=f"http://127.0.0.1:{ports[1]}/-/ready",
                log=folder / "prometheus.log",
            )
        )
        yield Watched(exporter, receiver, f"http://127.0.0.1:{ports[1]}")


def _alertmanager(folder: Path, receiver: Receiver) -> Path:
    """The emitted configuration; the operator has filled in the credentials."""
    for name, one in SETTINGS.receivers.items():
        place = folder / "credentials" / name
        place.mkdir(parents=True)
        (place / one.credential).write_text(f"http://127.0.0.1:{receiver.port}/{name}")
    for name, text in alertmanager.TEMPLATES.items():
        (folder / name).write_text(text)
    text = json.dumps(alertmanager.configuration(SETTINGS))
    text = text.replace(alertmanager.CREDENTIALS, str(folder / "credentials"))
    file = folder / "alertmanager.json"
    file.write_text(text.replace("/etc/alertmanager/config", str(folder)))
    return file


def _prometheus(folder: Path, exporter: Exporter, manager: int) -> Path:
    links = Links(owner="ml-platform", runbooks=SETTINGS.runbook_base_url, grafana="https://graphs.example")
    groups = rules.groups(SiteFacts(settings=PlatformSettings()), OBJECTIVES)
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules.spec(groups, links, patience=PATIENCE)))
    file = folder / "prometheus.yaml"
    file.write_text(
        yaml.safe_dump(
            {
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s", "external_labels": {"stack": "test"}},
                "rule_files": [str(folder / "rules.yaml")],
                "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{manager}"]}]}]},
                "scrape_configs": [
                    {
                        "job_name": "platform",
                        "honor_labels": True,
                        "static_configs": [{"targets": [f"127.0.0.1:{exporter.port}"]}],
                    }
                ],
            }
        )
    )
    return file


def until(done: Any, what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not done():
        assert time.monotonic() < deadline, what
        time.sleep(0.5)


def test_an_alert_reaches_people_with_what_to_do(watched: Watched):
    until(lambda: "ModelErrors" in watched.receiver.alerts("/oncall"), "nobody on call is told of a model's errors")

    told = watched.receiver.alerts("/oncall")["ModelErrors"]
    assert told["labels"]["model"] == "small", "llama's is the team's"
    assert told["labels"] | {"severity": "critical", "owner": "ml-platform", "source": "gateway"} == told["labels"]
    assert told["annotations"]["summary"] == "Requests to small fail"
    assert told["annotations"]["description"].startswith("30% of the requests fail")
    assert told["annotations"]["runbook_url"] == "https://git.example/docs/runbooks/models.md#modelerrors"
    assert told["annotations"]["dashboard_url"] == "https://graphs.example/d/llmops-serving"


def test_an_alert_about_a_teams_model_reaches_the_team(watched: Watched):
    until(lambda: "ModelErrors" in watched.receiver.alerts("/research"), "the team is not told of its model's errors")

    assert watched.receiver.alerts("/research")["ModelErrors"]["labels"]["model"] == "llama"


def test_who_watches_the_watchers_hears_that_they_are_alive(watched: Watched):
    until(lambda: "Watchdog" in watched.receiver.alerts("/heart"), "the dead man's switch hears nothing")

    assert "Watchdog" not in watched.receiver.alerts("/oncall")


def test_no_rule_fails_and_every_text_can_be_written(watched: Watched):
    until(lambda: {"ModelErrors", "GpuMemoryHigh"} <= set(watched.firing()), "what is wrong does not fire")

    groups = requests.get(f"{watched.prometheus}/api/v1/rules", timeout=10).json()["data"]["groups"]
    wrong = {rule["name"]: rule["lastError"] for group in groups for rule in group["rules"] if rule["health"] != "ok"}
    assert wrong == {}
    assert all("<error" not in json.dumps(one["annotations"]) for one in watched.firing().values())


def test_an_alert_ends_when_its_cause_does(watched: Watched):
    until(lambda: "GpuMemoryHigh" in watched.firing(), "a full GPU is not noticed")

    watched.exporter.gpu_used = 90

    until(lambda: "GpuMemoryHigh" not in watched.firing(), "90 % exactly is not above 90 %")
