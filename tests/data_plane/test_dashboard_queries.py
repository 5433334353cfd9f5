"""Every question of every dashboard, put to a real Prometheus that holds every series of the catalogue.

Two of each series are there, as of two pods on two nodes: a join that fits one only, a label that is lost on the way or
a question that Prometheus refuses shows up as an error or as no answer.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import promql_parser as parser
import pytest

from components.platform.observability import catalogue
from components.platform.observability.dashboards import costs
from components.platform.observability.dashboards.model import Board
from components.platform.observability.rules.recorded import LABELS as RECORDED
from tests.data_plane.ports import free_port
from tests.unit.conftest import Recorder, recording
from tests.unit.dashboard_queries import POOLS, label_of, made, of_metrics, selector_of
from tests.unit.platform_site import site

pytestmark = pytest.mark.data_plane

_PATIENCE_SECONDS = 60
_STEP_SECONDS = 15
_STEPS = 60
_TWINS = ("instance", "node", "pod", "Hostname", "uid", "UUID")
_USUAL = {
    "namespace": "mlops-serving",
    "deployment": "llama-predictor",
    "reporter": "source",
    "source_workload": "istio-ingress",
    "response_flags": "UT",
    "le": "",
}

_OTHERS = ("mlops-training",)

# What has no answer while all is well: each is a panel that says so.
_SILENT = frozenset({"Platform overview / Errors at the gateway"})


@dataclass(frozen=True)
class Prometheus:
    """A running server.

    Attributes:
        url: Its address.
        end: Time of its newest samples.
    """

    url: str
    end: float

    def ask(self, expression: str) -> list[dict[str, Any]]:
        return self._get("query", query=expression, time=f"{self.end:.0f}")["result"]

    def series(self, selector: str) -> list[dict[str, str]]:
        start = f"{self.end - 600:.0f}"
        return self._get("series", **{"match[]": selector, "start": start, "end": f"{self.end:.0f}"})

    def _get(self, path: str, **parameters: str) -> Any:
        address = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(address, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from None


@pytest.fixture(scope="module")
def dashboards() -> tuple[Board, ...]:
    with recording() as recorded:
        return made(recorded)


@pytest.fixture(scope="module")
def prometheus(dashboards: Sequence[Board], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    for program in ("prometheus", "promtool"):
        if shutil.which(program) is None:
            pytest.skip(f"no {program} on PATH; Debian has it in the package prometheus")
    folder = tmp_path_factory.mktemp("prometheus")
    end = time.time() // _STEP_SECONDS * _STEP_SECONDS
    samples = folder / "samples.txt"
    samples.write_text(_samples(dashboards, end))
    made_blocks = subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(samples), str(folder / "data")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made_blocks.returncode == 0, made_blocks.stderr[-2000:]
    (folder / "prometheus.yml").write_text("scrape_configs: []\n")
    port = free_port()
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _until_ready(url, server, folder / "log")
        yield Prometheus(url, end)
    finally:
        server.terminate()
        server.wait(timeout=30)


def _until_ready(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()[-2000:]
        try:
            with urllib.request.urlopen(f"{url}/-/ready", timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(log.read_text()[-2000:])


def _samples(dashboards: Sequence[Board], end: float) -> str:
    """Samples of every series that a dashboard names, with every label value that one asks for, in OpenMetrics."""
    wanted: dict[str, list[dict[str, str]]] = {}
    for expression in _expressions(dashboards):
        for name, matchers in _selectors(_filled(expression)):
            wanted.setdefault(name, [])
            for labels in _label_sets(name, matchers):
                if labels not in wanted[name]:
                    wanted[name].append(labels)
    lines: list[str] = []
    for name, series in sorted(wanted.items()):
        for labels in series:
            lines += _series(name, labels, end)
    return "\n".join([*lines, "# EOF", ""])


def _expressions(dashboards: Sequence[Board]) -> list[str]:
    choices = [selector_of(choice.query) for board in dashboards for choice in board.choices if choice.query]
    return [one.query.expression for one in of_metrics(dashboards)] + choices


def _filled(expression: str) -> str:
    """An expression as Grafana sends it when everything is chosen."""
    expression = expression.replace("$__rate_interval", "4m").replace("$__range", "10m")
    return re.sub(r"\$\w+", ".*", expression)


def _selectors(expression: str) -> list[tuple[str, list[Any]]]:
    found: list[tuple[str, list[Any]]] = []

    def visit(node: Any) -> bool:
        node = getattr(node, "vector_selector", node)
        if isinstance(node, parser.VectorSelector):
            found.append((node.name or "", list(node.matchers.matchers)))
        return True

    parser.walk(parser.parse(expression), visit)
    return found


def _label_sets(name: str, matchers: Sequence[Any]) -> Iterator[dict[str, str]]:
    labels = dict.fromkeys(_labels_of(name, matchers))
    for label in labels:
        labels[label] = _USUAL.get(label, f"{label.lower()}-1")
    chosen: dict[str, list[str]] = {}
    for matcher in matchers:
        kind = str(matcher.op)
        if kind.endswith("Equal") and "Not" not in kind and matcher.value:
            chosen[matcher.name] = [matcher.value]
        elif kind.endswith("Re") and "Not" not in kind and re.fullmatch(r"[\w|-]+", matcher.value):
            chosen[matcher.name] = matcher.value.split("|")
        elif kind.endswith("Re") and "Not" not in kind and not re.fullmatch(matcher.value, labels[matcher.name]):
            chosen[matcher.name] = [next(one for one in _OTHERS if re.fullmatch(matcher.value, one))]
    for values in product(*chosen.values()):
        picked = {**labels, **dict(zip(chosen, values, strict=True))}
        for twin in ("1", "2"):
            twins = {label: f"{label.lower()}-{twin}" for label in _TWINS if label in picked and label not in chosen}
            yield {label: value for label, value in {**picked, **twins}.items() if value}


def _labels_of(name: str, matchers: Sequence[Any]) -> list[str]:
    own = catalogue.METRICS[name].all_labels if name in catalogue.METRICS else RECORDED[name]
    return [*own, *(matcher.name for matcher in matchers if matcher.name.startswith("label_"))]


def _series(name: str, labels: dict[str, str], end: float) -> Iterator[str]:
    if name.endswith("_bucket"):
        for bound, share in (("0.5", 0.5), ("5", 0.9), ("+Inf", 1.0)):
            yield from _points(name, {**labels, "le": bound}, end, share)
        return
    yield from _points(name, labels, end, 1.0)


def _points(name: str, labels: dict[str, str], end: float, slope: float) -> Iterator[str]:
    rises = name.endswith("_bucket") or (name in catalogue.METRICS and catalogue.METRICS[name].kind != "gauge")
    text = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    for step in range(_STEPS):
        value = slope * step if rises else 1.0
        yield f"{name}{{{text}}} {value} {end - (_STEPS - 1 - step) * _STEP_SECONDS:.0f}"


def test_every_question_of_every_panel_is_answered(prometheus: Prometheus, dashboards: Sequence[Board]):
    unanswered = [
        f"{one.where}: {one.query.expression}"
        for one in of_metrics(dashboards)
        if one.where not in _SILENT and not prometheus.ask(_filled(one.query.expression))
    ]
    assert unanswered == []


def test_every_choice_has_something_to_choose(prometheus: Prometheus, dashboards: Sequence[Board]):
    for board in dashboards:
        for choice in board.choices:
            if choice.query:
                found = prometheus.series(_filled(selector_of(choice.query)))
                assert any(label_of(choice.query) in one for one in found), f"{board.title}: {choice.title}"


def test_legends_tell_series_apart(prometheus: Prometheus, dashboards: Sequence[Board]):
    alike: list[str] = []
    for one in of_metrics(dashboards):
        if one.panel.kind in ("table", "stat"):
            continue
        names = [
            re.sub(
                r"\{\{(\w+)\}\}",
                lambda found, labels=answer["metric"]: labels.get(found.group(1), ""),
                one.query.legend,
            )
            for answer in prometheus.ask(_filled(one.query.expression))
        ]
        if len(names) != len(set(names)):
            alike.append(f"{one.where}: {sorted(names)[:4]}")
    assert alike == [], "\n".join(alike)


def test_nodes_cost_their_number_times_their_prices(prometheus: Prometheus, recorded: Recorder):
    def program() -> tuple[str, str, dict[str, float]]:
        place = site(pools=POOLS)
        return costs.nodes_usd(place, POOLS), costs.idle_gpus_usd(place, POOLS), costs.prices(place, POOLS)

    hourly, idle, usd = recorded.run(program)
    (answer,) = prometheus.ask(hourly)
    assert float(answer["value"][1]) == pytest.approx(2 * sum(usd.values()), rel=1e-4)
    # Of each type one GPU on each of two nodes, and a container on each that has it.
    (free,) = prometheus.ask(idle)
    assert float(free["value"][1]) == pytest.approx(0, abs=1e-6)
