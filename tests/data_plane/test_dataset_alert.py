"""A run of a dataset that failed is told of, by Prometheus' own word; other jobs and old failures are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.platform.observability.rules import Links, spec
from tests.data_plane import promtool
from tests.data_plane.alert_case import Case, Series, level
from tests.data_plane.promtool import run, write
from workloads.preprocess.alerts import ALERT, group

pytestmark = pytest.mark.data_plane


def job(name: str, status: str, value: str, namespace: str = "mlops-data") -> Series:
    labels = f'name="{name}",namespace="{namespace}",deployment_status="{status}"'
    return {f"kuberay_job_deployment_status{{{labels}}}": value}


CASES = (
    Case(
        alert=ALERT, fires=job("dataset-wiki-x7k2p", "Failed", "_x30 1x40"), quiet=job("embed-1", "Failed", "_x30 1x40")
    ),
    Case(
        alert=ALERT,
        fires=job("dataset-wiki-x7k2p", "Failed", "0x40 1x40"),
        quiet=job("dataset-wiki-x7k2p", "Complete", level(1)),
    ),
    Case(
        alert=ALERT,
        fires=job("dataset-wiki-x7k2p", "Failed", "_x50 1x140"),
        quiet=job("dataset-wiki-x7k2p", "Failed", level(1, 140)),  # that was told an hour ago
        minutes=100,
    ),
)


def test_a_run_that_failed_within_the_hour_fires_and_other_jobs_and_old_failures_do_not(tmp_path: Path):
    write(tmp_path / "rules.yaml", spec([group()], Links(owner="ml", runbooks="https://example.com")))
    checks = [(case, fires) for case in CASES for fires in (True, False)]
    write(tmp_path / "tests.yaml", promtool.test_file("rules.yaml", checks, CASES))

    checked = run("check", "rules", "rules.yaml", cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tested = run("test", "rules", "tests.yaml", cwd=tmp_path)
    assert tested.returncode == 0, tested.stdout + tested.stderr
