"""Lines of logs, for everybody who may look at dashboards."""

from __future__ import annotations

from components.platform.observability.dashboards.model import Board, Choice, Panel, Query, Row

_SELECTED = '{namespace=~"$namespace"} | pod=~"$pod"'
_FOUND = f'{_SELECTED} |~ "(?i)$search"'
_BAD = f'{_SELECTED} |~ "(?i)(error|fatal|panic|exception|traceback)"'


def board() -> Board:
    """The dashboard."""
    return Board(
        name="logs",
        title="Logs",
        description="Lines of pods by namespace. Open a line: a trace id in it leads to the trace of its request.",
        folder="platform",
        tags=["logs"],
        since="now-1h",
        choices=[
            Choice(
                name="namespace",
                title="Namespace",
                query="label_values(kube_namespace_status_phase, namespace)",
                everything=".+",  # Loki refuses a selector that nothing would match too
            ),
            Choice(name="pod", title="Pod", query='label_values(kube_pod_info{namespace=~"$namespace"}, pod)'),
            Choice(name="search", title="Search (regular expression)"),
        ],
        rows=[
            Row(
                title="How much",
                panels=[
                    Panel(
                        title="Lines",
                        description="Lines a second, by namespace.",
                        queries=[
                            Query(
                                expression=f"sum by (namespace) (rate({_FOUND} [$__auto]))",
                                legend="{{namespace}}",
                                source="logs",
                            )
                        ],
                        kind="stack",
                        unit="ops",
                        width=12,
                    ),
                    Panel(
                        title="Lines that speak of errors",
                        description="Lines a second with error, fatal, panic, exception or traceback in them, by "
                        "namespace.",
                        queries=[
                            Query(
                                expression=f"sum by (namespace) (rate({_BAD} [$__auto]))",
                                legend="{{namespace}}",
                                source="logs",
                            )
                        ],
                        kind="stack",
                        unit="ops",
                        width=12,
                    ),
                ],
            ),
            Row(
                title="Lines",
                panels=[
                    Panel(
                        title="Newest lines",
                        description="The newest 500 lines that hold what is searched for.",
                        queries=[Query(expression=_FOUND, source="logs")],
                        kind="logs",
                        width=24,
                        height=20,
                    )
                ],
            ),
        ],
    )
