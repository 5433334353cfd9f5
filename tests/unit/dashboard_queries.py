"""What the tests of dashboards share: every dashboard of a stack with everything in it, and what its queries name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import promql_parser as parser

from components.capacity.ec2 import shape_of
from components.contract import NodePool, NodeRole
from components.platform.observability import catalogue
from components.platform.observability.dashboards import boards
from components.platform.observability.dashboards.model import Board, Panel, Query
from components.platform.observability.rules.recorded import LABELS as RECORDED
from components.settings.teams import TeamSettings
from tests.unit.platform_site import site

if TYPE_CHECKING:
    from tests.unit.conftest import Recorder


def _pool(name: str, role: NodeRole, *kinds: str) -> NodePool:
    return NodePool(
        name=name,
        role=role,
        shapes=tuple(shape_of(kind, 200) for kind in kinds),
        min_size=0,
        max_size=4,
        spot=False,
        labels={"llmops/role": role},
        taints=(),
    )


POOLS = [_pool("system", "system", "m6i.xlarge"), _pool("gpu", "gpu-inference", "g5.2xlarge", "g6.12xlarge")]
TEAMS = [TeamSettings(name="search")]

_DURATION = re.compile(r"\[\$\w+")


@dataclass(frozen=True)
class Asked:
    """One query and where it stands."""

    board: Board
    panel: Panel
    query: Query

    @property
    def where(self) -> str:
        return f"{self.board.title} / {self.panel.title}"


def made(recorded: Recorder, settings: dict[str, Any] | None = None) -> tuple[Board, ...]:
    """Dashboards with ``settings`` below ``platform``."""
    return recorded.run(lambda: boards(site(settings, pools=POOLS, teams=TEAMS)))


def asked(these: Sequence[Board]) -> list[Asked]:
    return [Asked(board, panel, query) for board in these for panel in board.panels for query in panel.queries]


def of_metrics(these: Sequence[Board]) -> list[Asked]:
    return [one for one in asked(these) if one.query.source == "metrics"]


def selector_of(choice_query: str) -> str:
    """The series of ``label_values(series, label)``."""
    found = re.fullmatch(r"label_values\((.+), (\w+)\)", choice_query)
    assert found, choice_query
    return found.group(1)


def label_of(choice_query: str) -> str:
    found = re.fullmatch(r"label_values\((.+), (\w+)\)", choice_query)
    assert found, choice_query
    return found.group(2)


def faults(one: Asked) -> list[str]:
    """What a query names that does not exist: series, labels in selectors, in groupings and in legends."""
    found = catalogue.problems(one.query.expression)
    plain = _DURATION.sub("[5m", one.query.expression)
    known = _labels(plain)
    for label in _grouped_by(parser.parse(plain)):
        if label not in known:
            found.append(f"groups by {label}, which none of its series has")
    left = _left(parser.parse(plain), known)
    for label in re.findall(r"\{\{(\w+)\}\}", one.query.legend):
        if label not in left:
            found.append(f"the legend names {label}, which the result does not have")
    return [f"{one.where}: {fault}" for fault in found]


def _labels(expression: str) -> set[str]:
    """Labels that any of the series has, or that the expression makes."""
    found = set(re.findall(r'label_replace\(.+?, "(\w+)", "', expression))
    for name in series(expression):
        if name in catalogue.METRICS:
            found.update(catalogue.METRICS[name].all_labels)
        else:
            found.update(RECORDED.get(name, ()))
    found.update(label for label in re.findall(r"\b(label_\w+)=", expression))
    return found


def series(expression: str) -> set[str]:
    """Names of the series that an expression reads."""
    names: set[str] = set()

    def visit(node: Any) -> bool:
        node = getattr(node, "vector_selector", node)
        if isinstance(node, parser.VectorSelector):
            names.add(node.name or "")
        return True

    parser.walk(parser.parse(_DURATION.sub("[5m", expression)), visit)
    return names


def _grouped_by(expression: Any) -> Iterator[str]:
    found: list[str] = []

    def visit(node: Any) -> bool:
        if isinstance(node, parser.AggregateExpr) and node.modifier is not None:
            found.extend(node.modifier.labels)
        return True

    parser.walk(expression, visit)
    yield from found


def _left(node: Any, known: set[str]) -> set[str]:
    """Labels that the result can have."""
    if isinstance(node, parser.ParenExpr):
        return _left(node.expr, known)
    if isinstance(node, parser.AggregateExpr):
        if str(node.op) in ("topk", "bottomk"):
            return _left(node.expr, known)
        return set(node.modifier.labels) if node.modifier is not None else set()
    if isinstance(node, parser.BinaryExpr):
        sides = _left(node.lhs, known), _left(node.rhs, known)
        return sides[0] | sides[1]
    if isinstance(node, parser.Call):
        if node.func.name == "label_replace":
            return _left(node.args[0], known) | {node.args[1].val}
        vectors = [argument for argument in node.args if not isinstance(argument, parser.NumberLiteral)]
        found: set[str] = set()
        for argument in vectors:
            found |= _left(argument, known)
        return found - ({"le"} if node.func.name == "histogram_quantile" else set())
    if isinstance(node, (parser.VectorSelector, parser.MatrixSelector)):
        return known
    return set()
