"""How models, checks and lineages are shown to people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from ops.models.promotion import Prepared
from ops.models.served import Row

_STYLES: Final = {"passed": "green", "refused": "red", "skipped": "yellow"}
_PATCH: Final = {"+": "green", "-": "red", "@": "cyan"}
_SHORT: Final = 24  # entries of a branch that are shown; JSON has all
_NONE: Final = "-"


def models(rows: Sequence[Row], *, asked: bool) -> Table:
    """What is served, beside what the registry has; ``asked`` says whether the registry answered."""
    table = Table(box=None, pad_edge=False)
    for heading in ("model", "role", "backend", "share", "serves", "aliases", "newest", "passed", "state", "fallbacks"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        serves = f"{row.registered} {row.version or '?'}" if row.registered else row.source
        table.add_row(
            row.model,
            row.role,
            row.backend,
            _NONE if row.percent is None else f"{row.percent:g} %",
            escape(serves),
            escape(", ".join(row.aliases)) or _NONE,
            row.newest or _NONE,
            row.newest_passed or _NONE,
            _state(row, asked=asked),
            ", ".join(row.fallbacks) or _NONE,
        )
    return table


def _state(row: Row, *, asked: bool) -> str:
    if not row.registered:
        return "not of the registry"
    if row.behind is None:
        return "not known" if asked else "registry not asked"
    return "[yellow]behind[/yellow]" if row.behind else "newest"


def prepared(found: Prepared, console: Console, *, done: bool) -> None:
    """Every check with its result, what moves, and the edit."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for column in ("check", "result", "detail"):
        table.add_column(column, overflow="fold")
    for one in found.checks:
        table.add_row(one.name, f"[{_STYLES[one.result]}]{one.result}[/]", escape(one.detail))
    console.print(table)
    if not found.allowed:
        return
    for move in found.aliases:
        console.print(str(move), markup=False)
    if found.step is not None:
        console.print(found.step.what, markup=False)
    for line in found.difference.splitlines():
        console.print(line, style=_PATCH.get(line[:1], ""), markup=False, soft_wrap=True)
    if done and found.difference and found.file is not None:
        console.print(f"{found.file.path} is edited; nothing is applied: open a pull request with it", markup=False)
    if found.step is not None and found.step.after:
        console.print(f"then: {found.step.after}", markup=False)


def lineage(found: Mapping[str, Any]) -> Tree:
    """A lineage as a tree; what is missing stands at the end."""
    tree = Tree(_title(found))
    _fill(tree, found)
    return tree


def _title(found: Mapping[str, Any]) -> str:
    served = f", {found['servedAs']}" if found.get("servedAs") else ""
    return f"[bold]{escape(str(found['model']))} {escape(str(found['version']))}[/bold]{escape(served)}"


def _fill(tree: Tree, found: Mapping[str, Any]) -> None:
    for key in ("source", "registered"):
        if found.get(key):
            tree.add(escape(f"{key}: {found[key]}"))
    if found.get("aliases"):
        tree.add(escape("aliases: " + ", ".join(f"@{one}" for one in found["aliases"])))
    for promotion in found.get("promotions", ()):
        _branch(tree, f"@{promotion['alias']}", {k: v for k, v in promotion.items() if k != "alias"})
    for key in ("run", "data", "code", "evaluation"):
        if found.get(key):
            _branch(tree, key, found[key])
    if base := found.get("base"):
        below = tree.add(escape(f"base: {base['source']}"))
        if "lineage" in base:
            _fill(below, base["lineage"])
    if found.get("missing"):
        missing = tree.add("[yellow]missing[/yellow]")
        for one in found["missing"]:
            missing.add(escape(one))


def _branch(tree: Tree, name: str, values: Mapping[str, Any]) -> None:
    below = tree.add(escape(name))
    entries = [(key, value) for key, value in values.items() if value not in (None, [], {})]
    for key, value in entries[:_SHORT]:
        if isinstance(value, Mapping):
            _branch(below, key, cast("Mapping[str, Any]", value))
        elif isinstance(value, list):
            _branch(below, key, {str(number): one for number, one in enumerate(cast("Iterable[Any]", value), 1)})
        else:
            below.add(escape(f"{key}: {value}"))
    if len(entries) > _SHORT:
        below.add(f"… and {len(entries) - _SHORT} more; --json has them")
