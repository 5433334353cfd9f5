"""The emitted rules, judged by Prometheus' own tool: for every alert series that fire it and series that do not."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components.contract import NodePool
from components.platform.observability import rules
from components.platform.observability.rules import ModelObjective
from components.settings.teams import TeamSettings
from tests.data_plane import promtool
from tests.data_plane.alert_case import Case, level
from tests.data_plane.alert_cases_drills import CASES as DRILLS
from tests.data_plane.alert_cases_platform import CASES as PLATFORM
from tests.data_plane.alert_cases_platform import SPOT
from tests.data_plane.alert_cases_stores import CASES as OF_STORES
from tests.data_plane.alert_cases_watchers import CASES as WATCHERS
from tests.data_plane.alert_cases_work import CASES as WORK
from tests.data_plane.alert_cases_work import (
    COLD_START_SECONDS,
    ERROR_RATIO,
    LLAMA,
    P99_SECONDS,
    TEAM,
    answers,
    gpu,
    late,
)
from tests.unit.conftest import Recorder
from tests.unit.platform_site import options, site
from tests.unit.platform_stores import STORES

pytestmark = pytest.mark.data_plane

CASES = (*WORK, *PLATFORM, *WATCHERS, *DRILLS, *OF_STORES)
OBJECTIVES = (
    ModelObjective(
        name=LLAMA,
        namespace=f"team-{TEAM}",
        team=TEAM,
        backend="vllm",
        error_ratio=ERROR_RATIO,
        p99_seconds=P99_SECONDS,
        cold_start_seconds=COLD_START_SECONDS,
    ),
    ModelObjective(
        name="greedy",
        namespace="mlops-serving",
        team=TEAM,
        backend="vllm",
        error_ratio=0.05,
        reserves_gpu_memory=True,
    ),
)
Emitted = dict[str, dict[str, Any]]


@pytest.fixture
def emitted(recorded: Recorder) -> Emitted:
    """Specifications of the PrometheusRules by name, as the program declares them for a stack with everything on."""
    spot = NodePool(
        name="gpu-training-spot",
        role="gpu-training",
        shapes=(),
        min_size=0,
        max_size=4,
        spot=True,
        labels=SPOT,
        taints=(),
    )

    def program() -> None:
        place = site(teams=(TeamSettings(name=TEAM),), pools=(spot,), stores=STORES)
        parent = pulumi.ComponentResource("test:index:Parent", "rules", None, options(place))
        rules.declare("rules", site=place, objectives=OBJECTIVES, parent=parent, after=())

    recorded.run(program)
    made = recorded.of("kubernetes:monitoring.coreos.com/v1:PrometheusRule")
    return {one.inputs["metadata"]["name"]: one.inputs["spec"] for one in made.values()}


@pytest.fixture
def folder(emitted: Emitted, tmp_path: Path) -> Path:
    """A folder with one file of rules for each object."""
    for name, spec in emitted.items():
        promtool.write(tmp_path / f"{name}.yaml", spec)
    return tmp_path


def alerts(emitted: Emitted) -> dict[tuple[str, frozenset[tuple[str, str]]], str]:
    """Every alerting rule, by its name and the labels that tell it from others, with the object that holds it."""
    return {
        (rule["alert"], frozenset((k, v) for k, v in rule["labels"].items() if k not in ("severity", "owner"))): name
        for name, spec in emitted.items()
        for group in spec["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }


def test_prometheus_takes_the_rules(emitted: Emitted, folder: Path):
    done = promtool.run("check", "rules", *(f"{name}.yaml" for name in emitted), cwd=folder)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "duplicate" not in done.stdout + done.stderr


def test_every_alert_has_series_that_fire_it_and_series_that_do_not(emitted: Emitted):
    """The second model repeats the first one's rules with other numbers; its own are tested for what differs."""
    there = {rule for rule in alerts(emitted) if ("model", "greedy") not in rule[1]}
    tested = {case.rule for case in CASES}

    assert there - tested == set(), "alerts without a test"
    assert tested - there == set(), "tests without an alert"
    assert [case.alert for case in CASES if case.quiet is None] == ["Watchdog"]


def test_every_alert_fires_for_its_series_and_not_for_those_beside_them(emitted: Emitted, folder: Path):
    where = alerts(emitted)
    files: dict[tuple[str, int], list[tuple[Case, bool]]] = defaultdict(list)
    for case in CASES:
        outcomes = [(case, True), *([(case, False)] if case.quiet is not None else [])]
        files[where[case.rule], case.every] += outcomes
    written = [
        promtool.write(folder / f"test-{name}-{every}.yaml", promtool.test_file(f"{name}.yaml", checks, CASES)).name
        for (name, every), checks in files.items()
    ]

    done = promtool.run("test", "rules", *written, cwd=folder)

    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]


TEXT = re.compile(r"Labels:(\{.*\})\s+Annotations:(\{.*\})")


def test_texts_name_labels_that_the_alerts_have(emitted: Emitted, folder: Path):
    """A label that an alert lacks is an empty word in what people read. promtool prints what it did not expect."""
    where = alerts(emitted)
    files: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    # Rules that differ in the values of their labels have the same texts; the quickest to reckon speaks for them.
    quickest: dict[tuple[str, frozenset[str]], Case] = {}
    for case in sorted(CASES, key=lambda one: one.minutes / one.every):
        quickest.setdefault((case.alert, frozenset(case.labels)), case)
    for case in quickest.values():
        files[where[case.rule], case.every].append(promtool.fired(case))
    written = [
        promtool.write(
            folder / f"texts-{name}-{every}.yaml",
            {"rule_files": [f"{name}.yaml"], "evaluation_interval": f"{every}m", "tests": tests},
        ).name
        for (name, every), tests in files.items()
    ]

    done = promtool.run("test", "rules", *written, cwd=folder)
    said = done.stdout + done.stderr

    assert "<error" not in said
    assert "<no value>" not in said
    seen: dict[str, set[str]] = {}
    for labels, _ in TEXT.findall(said):
        names = set(re.findall(r'(\w+)="', labels))
        (name,) = re.findall(r'alertname="(\w+)"', labels)
        seen[name] = seen.get(name, names) & names
    assert set(seen) == {case.alert for case in CASES}
    for spec in emitted.values():
        for rule in (rule for group in spec["groups"] for rule in group["rules"] if "alert" in rule):
            named = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())))
            if len([one for one in where if one[0] == rule["alert"]]) == 1:
                assert named <= seen[rule["alert"]], rule["alert"]


CRITICAL = {
    "model serving errors above 1 %": ("ModelErrors", "models", answers("m", good=99, bad=1)),
    "latency of the slowest hundredth above 2 s": (
        "ModelLatencyHigh",
        "models",
        late('litellm_request_total_latency_metric{requested_model="m"}', "2.0", "5.0", in_time=99),
    ),
    "GPU memory above 90 %": (
        "GpuMemoryHigh",
        "gpus",
        {gpu("DCGM_FI_DEV_FB_USED"): level(90), gpu("DCGM_FI_DEV_FB_FREE"): level(10)},
    ),
    "training job failures": (
        "TrainingJobFailed",
        "training",
        {'training_operator_jobs_failed_total{job_namespace="mlops-training",framework="pytorch"}': level(0)},
    ),
    "pipeline failures": (
        "PipelineFailed",
        "pipelines",
        {'argo_workflows_total_count{namespace="argo",phase="Failed"}': level(0)},
    ),
}


@pytest.mark.parametrize("promise", CRITICAL)
def test_at_the_boundary_itself_the_architectures_alerts_are_quiet(promise: str, folder: Path, emitted: Emitted):
    """Exactly 1 %, 2 s and 90 %, and no failure: the limits are exceeded, or they are not."""
    name, concern, series = CRITICAL[promise]
    severities = {
        rule["labels"]["severity"]
        for group in emitted[f"llmops-{concern}"]["groups"]
        for rule in group["rules"]
        if rule.get("alert") == name
    }
    assert severities == {"critical"}, promise
    checks = [(Case(alert=name, fires={}, quiet=series), False)]
    file = promtool.write(folder / "boundary.yaml", promtool.test_file(f"llmops-{concern}.yaml", checks, CASES))

    done = promtool.run("test", "rules", file.name, cwd=folder)

    assert done.returncode == 0, done.stdout + done.stderr


EXEMPT = {
    "mistakes of clients are no errors of the model": (
        "ModelErrors",
        "models",
        answers("m", good=50, bad=50, status="400"),
    ),
    "limits of clients are no errors of the model": (
        "ModelErrors",
        "models",
        answers("m", good=50, bad=50, status="429"),
    ),
    "a model with limits of its own is not judged by the stack's": (
        "ModelErrors",
        "models",
        answers("greedy", good=96, bad=4),
    ),
    "memory that a server reserves says nothing of how full it is": (
        "GpuMemoryHigh",
        "gpus",
        {
            series.replace('pod="job-0"', 'pod="greedy-predictor-1"'): value
            for series, value in (
                (gpu("DCGM_FI_DEV_FB_USED"), level(95)),
                (gpu("DCGM_FI_DEV_FB_FREE"), level(5)),
            )
        },
    ),
    "a counter that stood at its first failure already is no news": (
        "PipelineFailed",
        "pipelines",
        {'argo_workflows_total_count{namespace="argo",phase="Failed"}': level(3)},
    ),
}


@pytest.mark.parametrize("promise", EXEMPT)
def test_what_is_meant_for_nobody_is_told_to_nobody(promise: str, folder: Path):
    name, concern, series = EXEMPT[promise]
    checks = [(Case(alert=name, fires={}, quiet=series, minutes=65), False)]
    file = promtool.write(folder / "exempt.yaml", promtool.test_file(f"llmops-{concern}.yaml", checks, CASES))

    done = promtool.run("test", "rules", file.name, cwd=folder)

    assert done.returncode == 0, done.stdout + done.stderr
