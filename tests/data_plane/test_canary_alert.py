"""A canary against its baseline, by Prometheus' own word: worse fires, as bad as allowed does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.platform.observability.rules import Links, spec
from tests.data_plane import promtool
from tests.data_plane.alert_case import Case, Series, grows
from tests.data_plane.promtool import run, write
from tests.unit.stack_models import CANARY, chat, planned
from workloads.models.alerts import ALERT, canaries

pytestmark = pytest.mark.data_plane

# The canary of the tests may fail one percentage point more often, and be 1.5 times as slow, over 10 minutes and at
# least 50 requests.
CHAT = chat(canary={**CANARY, "baseline": {}})


def of(metric: str, role: str, more: str = "") -> str:
    return f'litellm_deployment_{metric}_total{{model_id="chat/{role}"{more}}}'


def counted(canary: float, failing: float, stable_failing: float = 0) -> Series:
    """Requests a minute of the canary, and failures a minute of both; 180 a minute are the stable version's."""
    return {
        of("total_requests", "canary"): grows(canary),
        of("total_requests", "stable"): grows(180),
        **({of("failure_responses", "canary", ',exception_status="500"'): grows(failing)} if failing else {}),
        **({of("failure_responses", "stable"): grows(stable_failing)} if stable_failing else {}),
    }


def timed(role: str, quick: float) -> Series:
    """Of twenty answers a minute so many within 2 s, and all within 3 s."""
    name = f'litellm_llm_api_latency_metric_bucket{{model_id="chat/{role}",le="%s"}}'
    return {name % "2.0": grows(quick), name % "3.0": grows(20), name % "+Inf": grows(20)}


CASES = (
    Case(
        alert=ALERT,
        labels={"model": "chat", "comparison": "errors"},
        fires=counted(100, 1.1),
        quiet=counted(100, 1),
    ),
    Case(
        alert=ALERT,
        labels={"model": "chat", "comparison": "errors"},
        fires=counted(20, 5),
        quiet=counted(4, 4),  # all fail, but nothing is concluded of forty requests
    ),
    Case(
        alert=ALERT,
        labels={"model": "chat", "comparison": "errors"},
        fires=counted(100, 12, stable_failing=18),
        quiet=counted(100, 11, stable_failing=18),  # the model itself fails in 10 of 100
    ),
    Case(
        alert=ALERT,
        labels={"model": "chat", "comparison": "latency"},
        fires={**counted(20, 0), **timed("canary", 0), **timed("stable", 20)},
        quiet={**counted(20, 0), **timed("canary", 0), **timed("stable", 0)},
    ),
)


def test_a_canary_that_is_worse_than_its_baseline_fires_and_one_that_is_not_does_not(tmp_path: Path):
    rules = spec([canaries(planned(CHAT).specs)], Links(owner="ml", runbooks="https://example.com"))
    write(tmp_path / "rules.yaml", rules)
    checks = [(case, fires) for case in CASES for fires in (True, False)]
    write(tmp_path / "tests.yaml", promtool.test_file("rules.yaml", checks, CASES))

    checked = run("check", "rules", "rules.yaml", cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tested = run("test", "rules", "tests.yaml", cwd=tmp_path)
    assert tested.returncode == 0, tested.stdout + tested.stderr
