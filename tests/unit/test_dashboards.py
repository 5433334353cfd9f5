"""Dashboards: what they ask exists, what they warn of is what alerts say, and Grafana can load them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from math import prod
from typing import Any

import pytest
from conftest import Recorder
from dashboard_queries import POOLS, Asked, asked, faults, label_of, made, of_metrics, selector_of
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from platform_site import site

from components.capacity.prices import load
from components.platform.observability import catalogue, rules
from components.platform.observability.dashboards import boards, costs, files
from components.platform.observability.dashboards.model import FOLDERS, WIDTH, Board, Panel, Query, Row, Threshold
from components.platform.observability.dashboards.render import logs_url, render
from components.platform.observability.grafana_values import data_sources
from components.platform.observability.rules.facts import SiteFacts
from components.platform.observability.rules.model import DASHBOARD_UIDS, Alert

pytestmark = pytest.mark.unit

_BUILT_IN = re.compile(r"__(rate_interval|range|interval|from|to|auto|all)")
_LIMIT = re.compile(r"(?:[<>]=?|==)\s*(\d[\d.]*(?:\s*\*\s*\d[\d.]*)*)\s*(?:$|\)|,| and | or )")


def alerts(recorded: Recorder) -> list[Alert]:
    facts = recorded.run(lambda: SiteFacts.of(site(pools=POOLS)))
    return [alert for group in rules.groups(facts, []) for alert in group.alerts]


def a_board(*queries: Query, **panel: Any) -> Board:
    one = Panel(title="One", description="One.", queries=queries, **panel)
    return Board(
        name="logs", title="Test", description="A test.", folder="platform", rows=[Row(title="Row", panels=[one])]
    )


def test_every_series_and_every_label_that_a_panel_names_is_one_that_its_source_exports(recorded: Recorder):
    these = made(recorded)
    assert len(of_metrics(these)) > 100
    assert [fault for one in of_metrics(these) for fault in faults(one)] == []


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        (Query(expression="rate(vllm:no_such_total[5m])"), "unknown series vllm:no_such_total"),
        (Query(expression='up{no_such="a"}'), "up has no label no_such"),
        (Query(expression="sum by (no_such) (up)"), "groups by no_such"),
        (Query(expression="sum by (job) (up)", legend="{{instance}}"), "the legend names instance"),
    ],
)
def test_a_name_that_nobody_exports_is_noticed(query: Query, fault: str):
    (one,) = asked([a_board(query)])
    assert any(fault in found for found in faults(one))


def test_every_choice_is_of_a_label_that_its_series_has(recorded: Recorder):
    for board in made(recorded):
        for choice in board.choices:
            if choice.query:
                series = selector_of(choice.query)
                probe = Asked(board, board.panels[0], Query(expression=f"sum by ({label_of(choice.query)}) ({series})"))
                assert faults(probe) == []


def test_every_panel_asks_something_and_says_what_it_means(recorded: Recorder):
    for board in made(recorded):
        titles = [panel.title for panel in board.panels]
        assert len(titles) == len(set(titles)), f"{board.title}: two panels have one title"
        for panel in board.panels:
            assert panel.queries, f"{board.title} / {panel.title} asks nothing"
            assert panel.description.endswith("."), f"{board.title} / {panel.title}"
            assert all((query.source == "logs") == (panel.queries[0].source == "logs") for query in panel.queries)
            assert panel.kind != "logs" or panel.queries[0].source == "logs"


def test_every_variable_in_a_query_is_one_that_the_reader_can_set(recorded: Recorder):
    for one in asked(made(recorded)):
        named = set(re.findall(r"\$\{?(\w+)", one.query.expression))
        offered = {choice.name for choice in one.board.choices}
        assert {name for name in named if not _BUILT_IN.fullmatch(name)} <= offered, one.where


def test_colours_change_where_alerts_fire(recorded: Recorder):
    fired = alerts(recorded)
    thresholds = [
        (f"{board.title} / {panel.title}", threshold)
        for board in made(recorded)
        for panel in board.panels
        for threshold in panel.thresholds
        if threshold.alert
    ]
    assert len(thresholds) > 10
    for where, threshold in thresholds:
        assert _agrees(threshold, fired), f"{where}: no alert {threshold.alert} with {threshold}"


def _agrees(threshold: Threshold, fired: list[Alert]) -> bool:
    wanted = threshold.value if threshold.limit is None else threshold.limit
    return any(
        alert.name == threshold.alert
        and alert.severity == threshold.severity
        and any(abs(limit - wanted) < 1e-9 for limit in _limits(alert.expression))
        for alert in fired
    )


def _limits(expression: str) -> list[float]:
    return [prod(map(float, re.split(r"\s*\*\s*", found))) for found in _LIMIT.findall(expression)]


@pytest.mark.parametrize("changed", [{"value": 0.02}, {"alert": "NoSuchAlert"}, {"severity": "warning"}])
def test_a_colour_that_changes_elsewhere_is_noticed(recorded: Recorder, changed: dict[str, Any]):
    right = Threshold(value=0.01, alert="ModelErrors")
    assert _agrees(right, alerts(recorded))
    assert not _agrees(replace(right, **changed), alerts(recorded))


def test_thresholds_rise(recorded: Recorder):
    for board in made(recorded):
        for panel in board.panels:
            values = [threshold.value for threshold in panel.thresholds]
            assert values == sorted(values), f"{board.title} / {panel.title}"


def test_every_alert_leads_to_a_dashboard_that_there_is(recorded: Recorder):
    there = {board.uid for board in made(recorded)}
    assert {DASHBOARD_UIDS[alert.dashboard] for alert in alerts(recorded) if alert.dashboard} <= there


def test_a_system_that_is_not_there_has_no_dashboard(recorded: Recorder):
    off = {"enabled": False}
    without = {board.name for board in made(recorded, {"gpus": off, "logs": off, "gateway": off})}
    assert not without & {"gpus", "logs", "gateway"}
    everything = {board.name for board in made(recorded)}
    assert everything - without == {"gpus", "logs", "gateway"}


def panels_of(document: str) -> list[dict[str, Any]]:
    return json.loads(document)["panels"]


def test_panels_do_not_overlap_and_stay_within_the_grid(recorded: Recorder):
    for name, document in files(made(recorded)).items():
        taken: dict[tuple[int, int], str] = {}
        for panel in panels_of(document):
            place = panel["gridPos"]
            assert place["x"] + place["w"] <= WIDTH, (name, panel["title"])
            for x in range(place["x"], place["x"] + place["w"]):
                for y in range(place["y"], place["y"] + place["h"]):
                    assert (x, y) not in taken, f"{name}: {panel['title']} lies upon {taken[x, y]}"
                    taken[x, y] = panel["title"]
        # A line that ends early looks as if something were missing.
        assert len(taken) == WIDTH * (max(y for _, y in taken) + 1), name
        numbers = [panel["id"] for panel in panels_of(document)]
        assert len(numbers) == len(set(numbers))


def test_documents_are_what_grafanas_own_types_read_and_write(recorded: Recorder):
    for document in files(made(recorded)).values():
        read = Dashboard.from_json(json.loads(document))
        assert json.loads(json.dumps(read, cls=JSONEncoder)) == json.loads(document)


def test_documents_fit_into_a_config_map_and_are_the_same_every_time(recorded: Recorder):
    these = made(recorded)
    first = files(these)
    assert first == files(these)
    assert all(len(document.encode()) < 2**20 * 0.9 for document in first.values())
    assert len({board.uid for board in these}) == len(these)
    assert all(len(board.uid) <= 40 for board in these)  # Grafana's limit
    assert {board.folder for board in these} <= set(FOLDERS)


def test_panels_ask_the_data_sources_that_are_provisioned(recorded: Recorder):
    sources = {one["uid"]: one["type"] for one in recorded.run(lambda: data_sources(site()))}

    def references(node: Any) -> list[dict[str, str]]:
        if isinstance(node, list):
            return [found for one in node for found in references(one)]
        if not isinstance(node, dict):
            return []
        here = [node["datasource"]] if isinstance(node.get("datasource"), dict) else []
        return here + [found for one in node.values() for found in references(one)]

    found = [one for document in files(made(recorded)).values() for one in references(json.loads(document))]
    assert found
    assert all(sources[one["uid"]] == one["type"] for one in found)


def test_dashboards_lead_to_their_logs_which_viewers_may_see(recorded: Recorder):
    these = made(recorded)
    logs = next(board for board in these if board.name == "logs")
    assert any(choice.name == "namespace" for choice in logs.choices)
    linked = 0
    for board in these:
        links = [one["url"] for one in json.loads(render(board))["links"] if one.get("url")]
        assert links == ([logs_url(board.logs)] if board.logs else [])
        assert all(url.startswith(f"/d/{logs.uid}?var-namespace=") for url in links)
        linked += len(links)
    assert linked >= 6


def test_points_of_latency_lead_to_traces(recorded: Recorder):
    with_traces = [one.where for one in asked(made(recorded)) if one.query.exemplars]
    assert with_traces == ["Model serving / Latency"]


def test_a_node_costs_what_the_price_table_says_unless_the_settings_know_better(recorded: Recorder):
    def program() -> tuple[dict[str, float], dict[str, float]]:
        usual = site(pools=POOLS)
        cheaper = site({"grafana": {"nodePrices": {"g5.2xlarge": 0.5}}}, pools=POOLS)
        return costs.prices(usual, POOLS), costs.prices(cheaper, POOLS)

    listed, chosen = recorded.run(program)
    assert set(listed) == {"m6i.xlarge", "g5.2xlarge", "g6.12xlarge"}
    assert listed["g5.2xlarge"] == load().find("ec2/g5.2xlarge", "us-east-1")
    assert chosen == {**listed, "g5.2xlarge": 0.5}


def test_a_stack_without_node_groups_costs_nothing_and_asks_nothing_wrong(recorded: Recorder):
    these = recorded.run(lambda: boards(site()))
    assert [fault for one in of_metrics(these) for fault in faults(one)] == []


def test_the_catalogue_is_the_one_that_rules_use():
    assert catalogue.unknown("no_such_metric") == ["no_such_metric"]
    assert catalogue.unknown('rate(no_such_total{a=~"$b"}[$__rate_interval])') == ["no_such_total"]


def test_loading_dashboards_alone_does_not_load_the_builders():
    # `preview` with dashboards off must not pay for them.
    import subprocess
    import sys

    code = "import sys, components.platform.observability.grafana as _; print('grafana_foundation_sdk' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
