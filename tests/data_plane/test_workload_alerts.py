"""Alerts that come with workloads, by Prometheus' own word: at the boundary, and which of several is told."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import pytest

from components.platform.observability import rules
from components.platform.observability.rules import Group, Links, SiteFacts, spec
from components.settings.platform import PlatformSettings
from tests.data_plane import promtool
from tests.data_plane.alert_case import Case, Series, appears, level
from tests.data_plane.alert_cases_workloads import CASES, ray_job
from tests.unit.conftest import Recorder
from tests.unit.workload_alerts import constants, groups, modules

pytestmark = pytest.mark.data_plane

HERE = Path(__file__).resolve().parent
GOLDEN = HERE.parent / "golden"
LINKS = Links(owner="ml", runbooks="https://example.com")


@pytest.fixture
def made(recorded: Recorder) -> dict[str, Group]:
    return groups(recorded)


def written(folder: Path, name: str, some: Sequence[Group]) -> str:
    """Write groups as Prometheus reads them; the file's name."""
    return promtool.write(folder / f"{name}.yaml", spec(some, LINKS)).name


def test_every_alert_of_a_workload_has_series_that_fire_it_and_series_that_do_not(made: dict[str, Group]):
    there = {(alert.name, frozenset(alert.labels.items())) for group in made.values() for alert in group.alerts}

    assert modules() == sorted(made), "modules of alerts without a test"
    assert there == {case.rule for case in CASES}
    assert all(case.quiet is not None for case in CASES)
    for module, group in made.items():
        assert {alert.name for alert in group.alerts} == constants(module)


def test_every_alert_of_a_shipped_stack_has_a_test():
    """Whoever declares it: the snapshots of the stacks have what the program really emits."""
    emitted = {name for page in GOLDEN.glob("*.yaml") for name in re.findall(r"alert: (\w+)", page.read_text())}
    modules_of_cases = [import_module(f"tests.data_plane.{page.stem}") for page in HERE.glob("alert_cases_*.py")]
    tested = {case.alert for module in modules_of_cases for case in module.CASES}

    assert emitted
    assert emitted - tested == set()


def test_they_fire_for_their_series_and_not_for_those_beside_them(made: dict[str, Group], tmp_path: Path):
    rules_of = {alert.name: module for module, group in made.items() for alert in group.alerts}
    names = {module: written(tmp_path, module, [group]) for module, group in made.items()}
    files: dict[tuple[str, int], list[tuple[Case, bool]]] = defaultdict(list)
    for case in CASES:
        files[rules_of[case.alert], case.every] += [(case, True), (case, False)]
    tests = [
        promtool.write(tmp_path / f"test-{module}-{every}.yaml", promtool.test_file(names[module], checks, CASES)).name
        for (module, every), checks in files.items()
    ]

    checked = promtool.run("check", "rules", *names.values(), cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tested = promtool.run("test", "rules", *tests, cwd=tmp_path)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def run_of(name: str, namespace: str) -> Series:
    """A run of Ray's that failed: its own state, and the job that KubeRay submits it with."""
    job = f'namespace="{namespace}",job_name="{name}"'
    return {
        **ray_job(name, "Failed", appears(1), namespace),
        f'kube_job_failed{{{job},condition="true"}}': level(1),
        f'kube_job_owner{{{job},owner_kind="RayJob",owner_name="{name}",owner_is_controller="true"}}': level(1),
    }


ONE_EACH = {
    "a run of a dataset": (run_of("dataset-wiki-x7k2p", "mlops-data"), "DatasetFailed"),
    "a run that brings documents in": (run_of("ingest-handbook-x7k2p", "mlops-data"), "RetrievalIngestionFailed"),
    "another job of Ray's beside them": (run_of("tokenize", "mlops-data"), "TrainingJobFailed"),
    "a team's own job with such a name": (run_of("dataset-mine", "team-research"), "TrainingJobFailed"),
    "a job that nothing of Ray's submits": (
        {'kube_job_failed{namespace="mlops-data",job_name="dataset-by-hand",condition="true"}': level(1)},
        "JobFailed",
    ),
}


@pytest.mark.parametrize("what", ONE_EACH)
def test_what_failed_is_told_of_by_one_alert(what: str, made: dict[str, Group], tmp_path: Path):
    series, expected = ONE_EACH[what]
    facts = SiteFacts(settings=PlatformSettings())
    file = written(tmp_path, "all", [*rules.groups(facts), *made.values()])
    firing = 'count by (alertname) (ALERTS{alertstate="firing",alertname=~".*(Failed|Failing)"})'
    check = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": firing,
                "eval_time": "60m",
                "exp_samples": [{"labels": f'{{alertname="{expected}"}}', "value": 1}],
            }
        ],
    }
    promtool.write(tmp_path / "test.yaml", {"rule_files": [file], "evaluation_interval": "1m", "tests": [check]})

    done = promtool.run("test", "rules", "test.yaml", cwd=tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
