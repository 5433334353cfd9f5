"""From a dashboard's parts to the JSON that Grafana loads, by the typed builders of its makers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final, TypeVar
from urllib.parse import quote

from grafana_foundation_sdk.builders import bargauge, common, dashboard, logs, loki, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog import variants
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as shared
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import loki as loki_models
from grafana_foundation_sdk.models import prometheus as prometheus_models

from components.platform.observability.dashboards.model import (
    DATA_SOURCES,
    WIDTH,
    Board,
    Choice,
    Panel,
    Query,
    Threshold,
)
from components.platform.observability.rules.model import DASHBOARD_UIDS

TAG: Final = "llmops"

_GREEN: Final = "green"
_COLOURS: Final = {"warning": "orange", "critical": "red"}
_NONE_YET: Final = "No data"

# Panels of all kinds have these methods; the builders share no base that says so.
_Any = TypeVar("_Any", bargauge.Panel, logs.Panel, stat.Panel, table.Panel, timeseries.Panel)
_Measured = TypeVar("_Measured", bargauge.Panel, stat.Panel, table.Panel, timeseries.Panel)


def render(board: Board) -> str:
    """The dashboard's JSON; the same for the same parts, byte for byte."""
    built = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags([TAG, *board.tags])
        .readonly()
        .timezone("browser")
        .time(board.since, "now")
        .refresh("1m")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .links(_links(board))
        .annotation(_annotations())
    )
    for choice in board.choices:
        built = built.with_variable(_choice(choice))
    number, top = 1, 0
    for row in board.rows:
        heading = dashboard.Row(row.title).id(number).grid_pos(models.GridPos(h=1, w=WIDTH, x=0, y=top))
        built = built.with_row(heading)
        number, top, left, tallest = number + 1, top + 1, 0, 0
        for panel in row.panels:
            if left + panel.width > WIDTH:
                top, left, tallest = top + tallest, 0, 0
            place = models.GridPos(h=panel.height, w=panel.width, x=left, y=top)
            built = built.with_panel(_panel(panel, number, place))
            number, left, tallest = number + 1, left + panel.width, max(tallest, panel.height)
        top += tallest
    return json.dumps(built.build(), cls=JSONEncoder, indent=1, sort_keys=True)


def _source(role: str) -> models.DataSourceRef:
    uid = DATA_SOURCES[role]
    return models.DataSourceRef(type_val=uid, uid=uid)  # a source's type and its uid are the same word here


def _panel(panel: Panel, number: int, place: models.GridPos) -> Builder[models.Panel]:
    match panel.kind:
        case "graph" | "stack":
            return _graph(_measured(timeseries.Panel(), panel, number, place), panel)
        case "stat":
            return (
                _measured(stat.Panel(), panel, number, place)
                .reduce_options(_last_value())
                .graph_mode(shared.BigValueGraphMode.AREA)
                .color_mode(shared.BigValueColorMode.VALUE)
            )
        case "bars":
            return (
                _measured(bargauge.Panel(), panel, number, place)
                .reduce_options(_last_value())
                .orientation(shared.VizOrientation.HORIZONTAL)
                .display_mode(shared.BarGaugeDisplayMode.BASIC)
            )
        case "table":
            return _table(_measured(table.Panel(), panel, number, place), panel)
        case "logs":
            return (
                _common(logs.Panel(), panel, number, place)
                .show_time(True)
                .wrap_log_message(True)
                .enable_log_details(True)
                .sort_order(shared.LogsSortOrder.DESCENDING)
            )


def _common(built: _Any, panel: Panel, number: int, place: models.GridPos) -> _Any:
    built = (
        built.id(number)
        .title(panel.title)
        .description(panel.description)
        .grid_pos(place)
        .datasource(_source("logs" if panel.queries and panel.queries[0].source == "logs" else "metrics"))
    )
    for letter, query in zip("ABCDEFGH", panel.queries, strict=False):
        built = built.with_target(_target(panel, query, letter))
    return built


def _measured(built: _Measured, panel: Panel, number: int, place: models.GridPos) -> _Measured:
    built = _common(built, panel, number, place).unit(panel.unit).no_value(panel.nothing or _NONE_YET)
    built = built.thresholds(
        dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(_steps(panel.thresholds))
    )
    if panel.least is not None:
        built = built.min(panel.least)
    if panel.most is not None:
        built = built.max(panel.most)
    if panel.decimals is not None:
        built = built.decimals(panel.decimals)
    return built


def _graph(built: timeseries.Panel, panel: Panel) -> timeseries.Panel:
    legend = common.VizLegendOptions().show_legend(True).placement(shared.LegendPlacement.BOTTOM)
    built = (
        built.line_width(1)
        .show_points(shared.VisibilityMode.NEVER)
        .legend(legend.display_mode(shared.LegendDisplayMode.LIST))
        .tooltip(common.VizTooltipOptions().mode(shared.TooltipDisplayMode.MULTI).sort(shared.SortOrder.DESCENDING))
    )
    if panel.kind == "stack":
        built = built.fill_opacity(40).stacking(common.StackingConfig().mode(shared.StackingMode.NORMAL))
    if panel.thresholds:
        style = common.GraphThresholdsStyleConfig().mode(shared.GraphThresholdsStyleMode.DASHED)
        built = built.thresholds_style(style)
    return built


def _table(built: table.Panel, panel: Panel) -> table.Panel:
    hidden = dict.fromkeys(("Time", *panel.hidden_labels), True)
    return built.transformations(
        [
            models.DataTransformerConfig(id_val="merge", options={}),
            models.DataTransformerConfig(id_val="organize", options={"excludeByName": hidden}),
        ]
    )


def _last_value() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)


def _steps(thresholds: Sequence[Threshold]) -> list[models.Threshold]:
    """Colours from the lowest value up: each threshold colours the side that is wrong."""
    if any(one.below for one in thresholds):
        # From the worst up to the best: what is above the last is right.
        colours = [*(_COLOURS[one.severity] for one in thresholds), _GREEN]
        return [
            models.Threshold(value=value, color=colour)
            for value, colour in zip([None, *(one.value for one in thresholds)], colours, strict=True)
        ]
    return [
        models.Threshold(value=None, color=_GREEN),
        *(models.Threshold(value=one.value, color=_COLOURS[one.severity]) for one in thresholds),
    ]


def _target(panel: Panel, query: Query, letter: str) -> Builder[variants.Dataquery]:
    legend = query.legend or "__auto"
    if query.source == "logs":
        asked = loki.Dataquery().ref_id(letter).datasource(_source("logs")).expr(query.expression)
        if panel.kind == "logs":
            return asked.query_type("range").max_lines(500).direction(loki_models.LokiQueryDirection.BACKWARD)
        return asked.query_type("range").legend_format(legend)
    asked = prometheus.Dataquery().ref_id(letter).datasource(_source("metrics")).expr(query.expression)
    asked = asked.legend_format(legend)
    if panel.kind == "table":
        return asked.instant().format(prometheus_models.PromQueryFormat.TABLE)
    if panel.kind == "bars":
        return asked.instant()
    return asked.range().exemplar(True) if query.exemplars else asked.range()


def _choice(choice: Choice) -> Builder[models.VariableModel]:
    if not choice.query:
        return dashboard.TextBoxVariable(choice.name).label(choice.title).default_value("")
    built = (
        dashboard.QueryVariable(choice.name)
        .label(choice.title)
        .datasource(_source("metrics"))
        .query({"query": choice.query, "refId": "values", "qryType": 1})
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_CASE_INSENSITIVE_ASC)
    )
    if choice.several:
        everything = models.VariableOption(selected=True, text=["All"], value=["$__all"])
        built = built.multi(True).include_all(True).all_value(choice.everything).current(everything)
    return built


def _links(board: Board) -> list[Builder[models.DashboardLink]]:
    """To the other dashboards, and to the lines of what this one is about."""
    found: list[Builder[models.DashboardLink]] = [
        dashboard.DashboardLink("Dashboards")
        .type(models.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(True)
        .keep_time(True)
    ]
    if board.logs:
        found.append(
            dashboard.DashboardLink("Logs")
            .type(models.DashboardLinkType.LINK)
            .icon("doc")
            .tooltip("Log lines of what this dashboard is about; each leads on to its trace")
            .url(logs_url(board.logs))
            .keep_time(True)
            .target_blank(True)
        )
    return found


def logs_url(namespaces: Sequence[str]) -> str:
    """The dashboard with log lines, at these namespaces. Viewers may not open Grafana's own page for them."""
    return f"/d/{DASHBOARD_UIDS['logs']}?" + "&".join(f"var-namespace={quote(name)}" for name in namespaces)


def _annotations() -> dashboard.AnnotationQuery:
    """Critical alerts, marked in every graph."""
    return (
        dashboard.AnnotationQuery()
        .name("Critical alerts")
        .datasource(_source("metrics"))
        .enable(True)
        .icon_color("red")
        .expr('ALERTS{alertstate="firing",severity="critical"}')
    )
