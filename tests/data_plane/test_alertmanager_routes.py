"""The emitted configuration, judged by Alertmanager's own tools, and then used by Alertmanager itself."""

from __future__ import annotations

import json
import subprocess
import threading
import time
import urllib.request
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from components.platform.observability import alertmanager
from components.platform.observability.metrics import Metrics, MetricsArgs
from tests.data_plane.alertmanager_programs import program
from tests.data_plane.ports import free_port
from tests.unit.conftest import Recorder
from tests.unit.platform_site import options, site

pytestmark = pytest.mark.data_plane

RELEASE = "kubernetes:helm.sh/v3:Release"
MAIL = {"to": ["ml@example.com"], "sender": "alerts@example.com", "server": "smtp.example.com", "username": "alerts"}
SETTINGS: Mapping[str, Any] = {
    "receivers": {
        "chat": {"slack": {"channel": "#ml-alerts"}},
        "oncall": {"pagerduty": {}},
        "mail": {"email": MAIL},
        "hook": {"webhook": {}},
        "nlp-chat": {"slack": {"channel": "#nlp"}},
        "heart": {"webhook": {}},
    },
    "routes": {"critical": ["oncall", "chat"], "warning": ["chat"], "info": ["mail"]},
    "teamRoutes": {"nlp": {"critical": ["nlp-chat", "hook"]}},
    "deadMansSwitch": "heart",
    "heartbeatMinutes": 1,
    "groupWaitSeconds": 5,
}
REACHED: list[tuple[dict[str, str], str]] = [
    ({"alertname": "ModelErrors", "severity": "critical", "owner": "ml-platform"}, "chat+oncall"),
    ({"alertname": "ModelErrors", "severity": "warning", "owner": "ml-platform"}, "chat"),
    ({"alertname": "NodeBusy", "severity": "info", "owner": "ml-platform"}, "mail"),
    ({"alertname": "ModelErrors", "severity": "critical", "owner": "ml-platform", "team": "nlp"}, "hook+nlp-chat"),
    ({"alertname": "Own", "severity": "critical", "owner": "nlp"}, "hook+nlp-chat"),
    ({"alertname": "ModelErrors", "severity": "warning", "team": "nlp"}, "chat"),
    ({"alertname": "ModelErrors", "severity": "critical", "team": "search"}, "chat+oncall"),
    ({"alertname": "Watchdog", "severity": "info"}, "dead-mans-switch"),
    ({"alertname": "Foreign"}, "nobody"),
]


@pytest.fixture
def configured(recorded: Recorder, tmp_path: Path) -> Path:
    """The emitted configuration in a folder; what is mounted in a pod lies beside it."""

    def emit() -> None:
        here = site({"alerting": SETTINGS})
        stack = MetricsArgs(site=here, grafana={"enabled": False}, secrets_ready=(), mesh_ready=(), certificates=())
        Metrics("metrics", stack, options(here))

    recorded.run(emit)
    values = recorded.one(RELEASE).inputs["values"]["alertmanager"]
    for name, text in values["templateFiles"].items():
        (tmp_path / name).write_text(text)
    text = json.dumps(values["config"]).replace("/etc/alertmanager/config", str(tmp_path))
    file = tmp_path / "alertmanager.json"  # JSON is YAML
    file.write_text(text.replace(alertmanager.CREDENTIALS, str(tmp_path / "credentials")))
    return file


def test_amtool_takes_the_configuration(configured: Path):
    checked = subprocess.run(
        [program("amtool"), "check-config", configured], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "1 templates" in checked.stdout


@pytest.mark.parametrize(("labels", "reached"), REACHED)
def test_every_alert_reaches_whom_the_settings_name(configured: Path, labels: Mapping[str, str], reached: str):
    command = [program("amtool"), "config", "routes", "test", f"--config.file={configured}"]
    told = subprocess.run(
        [*command, *(f"{name}={value}" for name, value in labels.items())], capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == reached


@dataclass
class Heard:
    """A server that remembers what it is told, by path."""

    port: int
    messages: list[tuple[str, dict[str, Any]]] = field(default_factory=list[tuple[str, dict[str, Any]]])

    def of(self, path: str) -> list[dict[str, Any]]:
        return [message for where, message in list(self.messages) if where == path]


@contextmanager
def listening() -> Generator[Heard]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            heard.messages.append((self.path, json.loads(body)))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: pytest shows what is wrong."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    heard = Heard(server.server_port)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield heard
    finally:
        server.shutdown()
        thread.join()


@pytest.fixture
def heard() -> Iterator[Heard]:
    with listening() as server:
        yield server


@pytest.fixture
def running(configured: Path, heard: Heard) -> Iterator[str]:
    """URL of a real Alertmanager; the credentials of all but ``chat`` are filled in."""
    for receiver, key in (("hook", "url"), ("nlp-chat", "url"), ("heart", "url")):
        folder = configured.parent / "credentials" / receiver
        folder.mkdir(parents=True)
        (folder / key).write_text(f"http://127.0.0.1:{heard.port}/{receiver}")
    address = f"127.0.0.1:{free_port()}"
    log = (configured.parent / "log").open("w")
    process = subprocess.Popen(
        [
            program("alertmanager"),
            f"--config.file={configured}",
            f"--storage.path={configured.parent / 'data'}",
            f"--web.listen-address={address}",
            "--cluster.listen-address=",
        ],
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        until(lambda: answers(f"http://{address}/-/ready"), 60)
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(timeout=30)
        log.close()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def until(done: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "what the test waits for never comes"
        time.sleep(0.2)


def fire(url: str, **labels: str) -> None:
    annotations = {
        "summary": f"{labels['alertname']} of the test",
        "description": "More than 1 % of the requests fail.",
        "runbook_url": "https://example.com/runbooks/models.md#modelerrors",
    }
    alert = {"labels": {"stack": "prod", **labels}, "annotations": annotations}
    request = urllib.request.Request(
        f"{url}/api/v2/alerts", json.dumps([alert]).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


def test_an_alert_arrives_with_what_to_do_and_a_missing_credential_keeps_no_other_receiver_from_it(
    running: str, heard: Heard
):
    fire(running, alertname="ModelErrors", severity="critical", model="small", namespace="team-nlp", team="nlp")
    fire(running, alertname="QueueLong", severity="warning", owner="ml-platform")  # its credential is missing
    fire(running, alertname="Watchdog", severity="info")
    until(lambda: heard.of("/hook") and heard.of("/nlp-chat") and heard.of("/heart"), 60)

    (message,) = heard.of("/hook")
    assert [one["labels"]["model"] for one in message["alerts"]] == ["small"]
    (said,) = heard.of("/nlp-chat")[0]["attachments"]
    assert said["title"] == "[CRITICAL] ModelErrors, model small, team-nlp on prod"
    assert said["title_link"].endswith("#modelerrors")
    assert "ModelErrors of the test" in said["text"]
    assert "Runbook: https://example.com/runbooks/models.md#modelerrors" in said["text"]
    assert heard.of("/heart")[0]["groupLabels"]["alertname"] == "Watchdog"


def test_a_critical_alert_silences_the_warning_about_the_same_model_and_no_other(running: str, heard: Heard):
    """Told to the team's receiver, where both would arrive."""
    fire(running, alertname="BudgetBurn", severity="critical", model="small", team="nlp")
    fire(running, alertname="BudgetBurn", severity="warning", model="small", team="nlp")
    fire(running, alertname="BudgetBurn", severity="warning", model="large", team="nlp")
    until(lambda: heard.of("/hook"), 60)
    with urllib.request.urlopen(f"{running}/api/v2/alerts", timeout=10) as answer:
        states = {
            (one["labels"]["model"], one["labels"]["severity"]): one["status"]["state"] for one in json.load(answer)
        }
    assert states == {
        ("small", "critical"): "active",
        ("small", "warning"): "suppressed",
        ("large", "warning"): "active",
    }
