"""Prometheus' own tools, and what they say of rules."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.data_plane.alert_case import Case, Series

_PATIENCE_SECONDS = 900  # beside other work; alone it takes a minute


def program(name: str, *others: str) -> str:
    """Path of a program; the test is skipped where it is missing (Debian: prometheus, prometheus-alertmanager)."""
    found = next((path for each in (name, *others) if (path := shutil.which(each))), None)
    if not found:
        pytest.skip(f"{name} is not installed")
    return found


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run promtool."""
    return subprocess.run(
        [program("promtool"), *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=_PATIENCE_SECONDS,
        check=False,
    )


def selector(case: Case) -> str:
    """The alert while it fires, by the rule that it is from."""
    labels = {"alertname": case.alert, "alertstate": "firing", **case.labels}
    return "ALERTS{" + ",".join(f'{key}="{value}"' for key, value in sorted(labels.items())) + "}"


def others(case: Case, cases: Sequence[Case]) -> list[str]:
    """Labels that other rules of the same name add, and this one does not; not those that its series have anyway."""
    named = {key for one in cases if one.alert == case.alert for key in one.labels}
    return sorted(named - set(case.labels) - {"model", "team", "schedule"})


def test_file(rules: str, checks: Sequence[tuple[Case, bool]], cases: Sequence[Case]) -> dict[str, Any]:
    """A file for ``promtool test rules``: for each case its series and whether the alert fires."""
    every = {case.every for case, _ in checks}
    assert len(every) == 1, "one file has one interval"
    return {
        "rule_files": [rules],
        "evaluation_interval": f"{every.pop()}m",
        "tests": [_test(case, fires=fires, unnamed=others(case, cases)) for case, fires in checks],
    }


def _test(case: Case, *, fires: bool, unnamed: Sequence[str]) -> dict[str, Any]:
    series: Series = case.fires if fires else (case.quiet or {})
    rule = selector(case)[:-1] + "".join(f',{label}=""' for label in unnamed) + "}"
    return {
        "name": f"{case.alert} {dict(case.labels)} {'fires' if fires else 'is quiet'}",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in _twins(series).items()],
        "promql_expr_test": [
            {
                "expr": f"count({rule}) > bool 0",
                "eval_time": f"{case.minutes}m",
                "exp_samples": [{"labels": "{}", "value": 1}] if fires else [],
            }
        ],
    }


def fired(case: Case) -> dict[str, Any]:
    """A test with the series that fire an alert. It expects that nothing is said, so that promtool prints what is."""
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in _twins(case.fires).items()],
        "alert_rule_test": [{"eval_time": f"{case.minutes}m", "alertname": case.alert, "exp_alerts": []}],
    }


def _twins(series: Series) -> Series:
    """What kube-state-metrics says twice while one of it takes over from the other: no rule may stumble over that."""
    found: dict[str, str] = {}
    for name, values in series.items():
        if name.startswith("kube_"):
            found |= {name.replace("{", f'{{instance="{one}",', 1): values for one in ("a", "b")}
        else:
            found[name] = values
    return found


def write(path: Path, content: Mapping[str, Any]) -> Path:
    """Write YAML."""
    path.write_text(yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True))
    return path
