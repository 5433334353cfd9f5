"""Names in the catalogue, held against the programs that export them."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import requests

from components.platform.observability.catalogue import METRICS
from components.platform.observability.catalogue.model import Metric
from tests.data_plane import alertmanager_programs, programs
from tests.data_plane.environments import environment
from tests.data_plane.ports import free_port

pytestmark = pytest.mark.data_plane

_PATIENCE_SECONDS = 120

_LITELLM = """
import json, litellm
litellm.service_callback = ["prometheus_system"]
litellm.callbacks = ["prometheus"]
from litellm.integrations.prometheus import PrometheusLogger
from litellm.integrations.prometheus_services import PrometheusServicesLogger
from prometheus_client import REGISTRY
PrometheusLogger(), PrometheusServicesLogger()
print(json.dumps([
    (one._name + ("_total" if one._type == "counter" else ""), one._type, list(one._labelnames))
    for one in set(REGISTRY._names_to_collectors.values())
    if getattr(one, "_name", "").startswith("litellm_")
]))
"""

# One request, as MLflow's own exporter counts it.
_MLFLOW = """
import json, os, tempfile
os.environ["PROMETHEUS_MULTIPROC_DIR"] = os.environ["prometheus_multiproc_dir"] = tempfile.mkdtemp()
from flask import Flask
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector
from mlflow.server.prometheus_exporter import activate_prometheus_exporter
app = Flask("asked")
activate_prometheus_exporter(app)
app.route("/api")(lambda: "ok")
assert app.test_client().get("/api").status_code == 200
registry = CollectorRegistry()
MultiProcessCollector(registry)
print(json.dumps([
    (one.name + ("_total" if one.type == "counter" else ""), one.type, sorted(one.samples[0].labels))
    for one in registry.collect() if one.samples
]))
"""

_RAY = """
import json
from ray.dashboard.modules.reporter.reporter_agent import METRICS_GAUGES
print(json.dumps(["ray_" + one.name for one in METRICS_GAUGES.values()]))
"""


Exported = tuple[str, str, list[str]]
"""Name, type and labels of one metric."""


def said(system: str, program: str, tmp_path: Path) -> Any:
    """What a program prints in a system's own environment."""
    done = subprocess.run(
        [environment(system) / "bin" / "python", "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def of(component: str) -> list[Metric]:
    """The catalogue's entries of a component."""
    return list({metric.name: metric for metric in METRICS.values() if metric.source.component == component}.values())


def wrong(component: str, exported: Sequence[Exported], *, besides: frozenset[str] = frozenset()) -> list[str]:
    """Entries whose name, type or labels are not those of the program."""
    real = {name: (kind, set(labels)) for name, kind, labels in exported}
    found: list[str] = []
    for metric in of(component):
        if metric.name in besides:
            continue
        if metric.name not in real:
            found.append(f"{metric.name} is not exported")
            continue
        kind, labels = real[metric.name]
        if kind != metric.kind or not set(metric.labels) <= labels:
            found.append(f"{metric.name}: {metric.kind} {metric.labels}, and not {kind} {sorted(labels)}")
    return found


def test_litellm_exports_what_the_catalogue_says(tmp_path: Path):
    """In the version of the image, with the callbacks of the emitted configuration."""
    # Counted by a part of the server that starts with it.
    later = frozenset({"litellm_in_flight_requests"})

    assert wrong("LiteLLM", said("litellm", _LITELLM, tmp_path), besides=later) == []


def test_mlflow_exports_what_the_catalogue_says(tmp_path: Path):
    exported = said("mlflow", _MLFLOW, tmp_path)

    assert wrong("MLflow", exported) == []


def test_rays_agent_exports_what_the_catalogue_says_of_nodes(tmp_path: Path):
    """Metrics of tasks, actors and objects come from Ray's core, which is no Python."""
    exported = set(said("ray", _RAY, tmp_path))
    asked = {one.name for one in of("Ray") if one.name.startswith(("ray_node_", "ray_cluster_"))}

    assert asked - exported - {"ray_node_manager_unexpected_worker_failure_total"} == set()


def types(page: str) -> Mapping[str, str]:
    """Type by name, of everything on a page of metrics."""
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", page, flags=re.MULTILINE))


def missing(component: str, page: str, besides: frozenset[str] = frozenset()) -> list[str]:
    exported = types(page)
    return [
        f"{one.name} ({one.kind}, and not {exported.get(one.name)})"
        for one in of(component)
        if one.name not in besides and exported.get(one.name) != one.kind
    ]


def test_prometheus_exports_what_the_catalogue_says(tmp_path: Path):
    """What it writes about targets and alerts by itself is on no page."""
    port = free_port()
    (tmp_path / "prometheus.yaml").write_text(
        "rule_files: [rules.yaml]\n"
        f"alerting: {{alertmanagers: [{{static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]}}\n"
    )
    rule = '{"record": "a:b:c", "expr": "1"}'
    (tmp_path / "rules.yaml").write_text(f'{{"groups": [{{"name": "g", "rules": [{rule}]}}]}}')
    with programs.running(
        [
            programs.program("PROMETHEUS", "prometheus"),
            f"--config.file={tmp_path / 'prometheus.yaml'}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        ready=f"http://127.0.0.1:{port}/-/ready",
        log=tmp_path / "log",
    ):
        by_itself = frozenset({"up", "scrape_duration_seconds", "scrape_samples_scraped", "ALERTS"})
        lacking = ["not asked yet"]
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while lacking and time.monotonic() < deadline:  # those about Alertmanager come when it has been discovered
            time.sleep(1)
            lacking = missing(
                "Prometheus", requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text, by_itself
            )

    assert lacking == []


def test_alertmanager_exports_what_the_catalogue_says(tmp_path: Path):
    port, cluster = free_port(), free_port()
    (tmp_path / "alertmanager.yaml").write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    with programs.running(
        [
            str(alertmanager_programs.program("alertmanager")),
            f"--config.file={tmp_path / 'alertmanager.yaml'}",
            f"--storage.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            f"--cluster.listen-address=127.0.0.1:{cluster}",
        ],
        ready=f"http://127.0.0.1:{port}/-/ready",
        log=tmp_path / "log",
    ):
        page = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text

    assert missing("Alertmanager", page) == []
    assert re.search(r'alertmanager_notifications_failed_total\{integration="webhook",reason="\w+"\}', page)


def test_the_node_exporter_exports_what_the_catalogue_says(tmp_path: Path):
    port = free_port()
    with programs.running(
        [
            programs.program("NODE_EXPORTER", "node_exporter", "prometheus-node-exporter"),
            f"--web.listen-address=:{port}",
        ],
        ready=f"http://127.0.0.1:{port}/metrics",
        log=tmp_path / "log",
    ):
        page = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
    # Exported as untyped where the kernel does not say what they are.
    exported = types(page)

    assert [one.name for one in of("node exporter") if one.name not in exported] == []
