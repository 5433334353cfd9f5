"""Alerting rules, everything about them that needs no Prometheus; tests/data_plane asks Prometheus itself."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pulumi
import pytest
from generated_section import assert_current
from platform_site import options, site

from components.contract import NodePool
from components.platform.observability import rules
from components.platform.observability.rules import Alert, Group, Links, ModelObjective, RecordingRule, SiteFacts
from components.platform.observability.rules.model import promql, spec
from components.platform.observability.rules.objectives import BURNS
from components.settings.platform import PlatformSettings
from components.settings.teams import TeamSettings
from tests.unit import workload_alerts
from tests.unit.conftest import Recorder
from tests.unit.platform_stores import STORES

pytestmark = pytest.mark.unit

PAGE = Path(__file__).resolve().parents[2] / "docs" / "alerts.md"
RULE = "kubernetes:monitoring.coreos.com/v1:PrometheusRule"
LINKS = Links(owner="ml-platform", runbooks="https://git.example/docs/runbooks")
SPOT = {"llmops/role": "gpu-training", "llmops/node-group": "spot", "k8s.amazonaws.com/accelerator": "a10g"}
LLAMA = ModelObjective(
    name="llama", namespace="team-research", team="research", backend="vllm", p99_seconds=8, cold_start_seconds=600
)


def groups(settings: dict[str, Any] | None = None, *objectives: ModelObjective) -> tuple[Group, ...]:
    ours = {key: value for key, value in SPOT.items() if key.startswith("llmops/")}
    facts = SiteFacts(settings=PlatformSettings.model_validate(settings or {}), spot_pools=(ours,), stores=STORES)
    return rules.groups(facts, objectives)


def alerts(settings: dict[str, Any] | None = None, *objectives: ModelObjective) -> list[Alert]:
    return [alert for group in groups(settings, *objectives) for alert in group.alerts]


def named(name: str, *objectives: ModelObjective) -> list[Alert]:
    return [alert for alert in alerts(None, *objectives) if alert.name == name]


@pytest.mark.parametrize(
    ("alert", "limit"),
    [
        ("ModelErrors", "> 0.01"),
        ("ModelLatencyHigh", "> 2"),
        ("GpuMemoryHigh", "> 0.9"),
        ("TrainingJobFailed", "> 0"),
        ("PipelineFailed", "> 0"),
    ],
)
def test_the_architectures_critical_alerts_are_there_with_its_numbers(alert: str, limit: str):
    found = named(alert)

    assert found
    assert {one.severity for one in found} == {"critical"}
    assert all(re.search(re.escape(limit) + r"(?![\d.])", one.expression) for one in found)


def test_every_alert_says_whose_it_is_how_bad_it_is_and_where_to_read_on(recorded: Recorder):
    def program() -> None:
        settings = {"alerting": {"runbookBaseUrl": "https://git.example/runbooks"}}
        place = site(settings, teams=(TeamSettings(name="x"),), stores=STORES)
        parent = pulumi.ComponentResource("test:index:Parent", "rules", None, options(place))
        rules.declare("rules", site=place, objectives=(LLAMA,), parent=parent, after=(), grafana_url="https://graphs")

    recorded.run(program)

    declared = [
        rule
        for one in recorded.of(RULE).values()
        for group in one.inputs["spec"]["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]
    assert len(declared) == len(alerts(None, LLAMA)) - 2, "no spot nodes here, so neither of their alerts"
    for rule in declared:
        assert rule["labels"]["owner"] == "ml-platform"
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]
        assert rule["annotations"]["runbook_url"].startswith("https://git.example/runbooks/")
        assert rule["annotations"]["runbook_url"].endswith(f".md#{rule['alert'].lower()}")
        if rule["alert"] != "Watchdog":
            assert rule["annotations"]["dashboard_url"].startswith("https://graphs/d/llmops-"), rule["alert"]


def test_rules_lie_where_prometheus_looks_for_them_one_object_for_each_concern(recorded: Recorder):
    def program() -> None:
        place = site()
        parent = pulumi.ComponentResource("test:index:Parent", "rules", None, options(place))
        rules.declare("rules", site=place, objectives=(), parent=parent, after=())

    recorded.run(program)

    made = recorded.of(RULE)
    assert {one.inputs["metadata"]["namespace"] for one in made.values()} == {"monitoring"}
    assert {"llmops-models", "llmops-kubernetes", "llmops-metrics"} <= {
        one.inputs["metadata"]["name"] for one in made.values()
    }
    names = [group["name"] for one in made.values() for group in one.inputs["spec"]["groups"]]
    assert len(names) == len(set(names)), "Prometheus takes groups of one file by their names"


@pytest.mark.parametrize(
    ("off", "gone"),
    [
        ({"modelGateway": {"enabled": False}}, "BudgetUsed"),
        ({"vectors": {"enabled": False}}, "VectorBackupMissed"),
        ({"gpus": {"metrics": False}}, "GpuMemoryHigh"),
        ({"backups": {"enabled": False}}, "BackupMissed"),
        ({"delivery": {"enabled": False}}, "ApplicationOutOfSync"),
        ({"workflows": {"enabled": False}, "pipelines": {"enabled": False}}, "PipelineFailed"),
        ({"serving": {"enabled": False}}, "ModelNotReady"),
        ({"training": {"pytorchJobs": False}}, "TrainingJobRestarting"),
        ({"traces": {"enabled": False}}, "TracesLost"),
    ],
)
def test_a_system_that_is_off_has_no_alerts(off: dict[str, Any], gone: str):
    assert gone in {alert.name for alert in alerts()}
    assert gone not in {alert.name for alert in alerts(off)}


def test_a_stack_without_spot_nodes_has_no_alerts_about_them():
    without = rules.groups(SiteFacts(settings=PlatformSettings()))

    assert "SpotNodeTaken" not in {alert.name for group in without for alert in group.alerts}
    assert named("SpotNodeTaken")


def test_spot_nodes_are_known_by_labels_that_are_exported(recorded: Recorder):
    pool = NodePool(
        name="spot", role="gpu-training", shapes=(), min_size=0, max_size=1, spot=True, labels=SPOT, taints=()
    )
    seen: list[SiteFacts] = []
    recorded.run(lambda: seen.append(SiteFacts.of(site(pools=(pool,)))))

    (labels,) = seen[0].spot_pools
    assert labels == {"llmops/role": "gpu-training", "llmops/node-group": "spot"}


def test_a_models_own_limits_take_the_place_of_the_stacks():
    everybody, llama = named("ModelLatencyHigh", LLAMA)

    assert 'model!~"llama"' in everybody.expression
    assert everybody.expression.endswith("> 2")
    assert 'model="llama"' in llama.expression
    assert llama.expression.endswith("> 8")
    assert llama.labels["team"] == "research"


def test_each_objective_burns_over_four_pairs_of_windows():
    for burn in BURNS:
        assert burn.long == 12 * burn.short
    of_llama = [one for one in named("ModelErrorBudgetBurn", LLAMA) if one.labels.get("model") == "llama"]
    assert [(one.labels["burn"], one.severity) for one in of_llama] == [
        ("14.4", "critical"),
        ("6", "critical"),
        ("3", "warning"),
        ("1", "warning"),
    ]


def test_an_objective_that_no_burn_can_exceed_has_no_alert_that_never_fires():
    loose = ModelObjective(name="draft", namespace="mlops-serving", team="x", backend="vllm", error_ratio=0.1)

    burns = {one.labels["burn"] for one in named("ModelErrorBudgetBurn", loose) if one.labels.get("model") == "draft"}
    assert burns == {"6", "3", "1"}, "14.4 times 10 % is more than all requests"


def test_hosted_models_have_no_servers_to_watch():
    hosted = ModelObjective(
        name="claude", namespace="", team="x", backend="hosted", cold_start_seconds=60, p99_seconds=30
    )

    watched = {one.name for one in alerts(None, hosted) if one.labels.get("model") == "claude"}
    assert watched == {"ModelErrors", "ModelLatencyHigh", "ModelErrorBudgetBurn"}


@pytest.mark.parametrize(("error_ratio", "p99_seconds"), [(0, 2), (1, 2), (0.01, 0)])
def test_an_objective_that_cannot_be_is_refused(error_ratio: float, p99_seconds: float):
    with pytest.raises(ValueError, match="model m: "):
        ModelObjective(
            name="m", namespace="n", team="t", backend="vllm", error_ratio=error_ratio, p99_seconds=p99_seconds
        )


@pytest.mark.parametrize(
    ("duration", "written"),
    [
        (timedelta(minutes=5), "5m"),
        (timedelta(minutes=90), "90m"),
        (timedelta(hours=6), "6h"),
        (timedelta(days=3), "3d"),
        (timedelta(seconds=45), "45s"),
    ],
)
def test_durations_are_written_as_prometheus_reads_them(duration: timedelta, written: str):
    assert promql(duration) == written


def test_no_duration_is_nothing_and_none_is_negative():
    with pytest.raises(ValueError, match="must be positive"):
        promql(timedelta(0))


def test_names_are_refused_that_break_the_conventions():
    with pytest.raises(ValueError, match="level:metric:operation"):
        RecordingRule(record="errors", expression="1")
    with pytest.raises(ValueError, match="camel case"):
        Alert(
            name="model_errors",
            expression="1",
            lasting=timedelta(0),
            severity="info",
            summary="",
            description="",
            page="models",
        )


def test_patience_shortens_how_long_alerts_wait_and_nothing_else():
    group = Group(name="g", rules=named("ModelErrors"), interval=timedelta(minutes=1))

    usual, hurried = (spec([group], LINKS, patience=factor)["groups"][0] for factor in (1, 0.01))

    assert (usual["rules"][0]["for"], hurried["rules"][0]["for"]) == ("5m", "3s")
    assert (usual["interval"], hurried["interval"]) == ("1m", "1s")
    assert usual["rules"][0]["expr"] == hurried["rules"][0]["expr"]


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("\n", " ")


def _table(found: list[Alert]) -> str:
    lines = ["| Alert | For | Severity | Expression | Owner | Runbook |", "| --- | --- | --- | --- | --- | --- |"]
    for alert in sorted(found, key=lambda one: (one.page, one.name, one.expression)):
        lasting = promql(alert.lasting) if alert.lasting else "at once"
        owner = "the team" if alert.labels.get("team") or '"team"' in alert.expression else "`owner` of the stack"
        link = f"[{alert.page}](runbooks/{alert.page}.md#{alert.name.lower()})"
        lines.append(
            f"| {alert.name} | {lasting} | {alert.severity} | `{_cell(alert.expression)}` | {owner} | {link} |"
        )
    return "\n".join(lines)


def _recorded() -> str:
    lines = ["| Series | Expression |", "| --- | --- |"]
    for group in groups():
        for rule in group.rules:
            if isinstance(rule, RecordingRule):
                labels = ", ".join(f'{key}="{value}"' for key, value in rule.labels.items())
                name = rule.record + (f"{{{labels}}}" if labels else "")
                lines.append(f"| `{name}` | `{_cell(rule.expression)}` |")
    return "\n".join(lines)


def test_the_page_of_alerts_is_current(request: pytest.FixtureRequest, recorded: Recorder):
    of_workloads = [alert for group in workload_alerts.groups(recorded).values() for alert in group.alerts]

    assert_current(PAGE, "alerts", _table(alerts()), request)
    assert_current(PAGE, "workloads", _table(of_workloads), request)
    assert_current(PAGE, "recorded", _recorded(), request)
