"""The plan of an upgrade as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from ops.plan.preview import Change
from ops.plan.wording import difference_text
from ops.upgrade.minors import name
from ops.upgrade.planning import Plan, steps, way_back
from ops.upgrade.removed import GUIDE, Use

_SHOWN: Final = 3  # properties of a change that a line has room for


def render(plan: Plan) -> str:
    """The plan for people."""
    return "\n".join(_lines(plan)) + "\n"


def _lines(plan: Plan) -> Iterator[str]:
    yield f"## Upgrade of {plan.stack}: {_what(plan)}"
    yield ""
    if plan.objections:
        yield "**Refused.**"
        yield ""
        yield from (f"- {one}" for one in plan.objections)
    else:
        yield "Nothing speaks against it." if plan.previewed else "Nothing speaks against it, as far as versions tell."
    for one in plan.accepted:
        yield f"- accepted: {one}"
    if not plan.previewed:
        yield ""
        yield "_There was no preview: what is replaced, restarted or updated is not known._"
    yield from _section(
        "Versions", [f"{one.kind} {one.name}: {one.before or 'new'} → {one.after or 'gone'}" for one in plan.moved]
    )
    yield from _section("To look up", [f"{what}: {how}" for what, how in plan.stand_ins.items()])
    yield from _section(
        "Replaced or deleted",
        [
            f"{one.action}: `{one.name}` ({one.type}){_why(one)}{f'; **lost: {one.loses}**' if one.loses else ''}"
            for one in plan.replaced
        ],
    )
    yield from _section(
        "Restarts",
        [
            f"{one.what} ({one.because}){': ' + ', '.join(one.workloads) if one.workloads else ''}"
            for one in plan.restarts
        ],
    )
    yield from _section("Updated in place", [f"`{one.name}` ({one.type}){_why(one)}" for one in plan.updated])
    yield from _section("API versions that end with it", _uses(plan.removed))
    yield from _section("API versions that end later", _uses(plan.ending))
    if not plan.cluster_asked:
        yield ""
        yield (
            "_The live cluster was not asked: objects that others made, and clients of old API versions, are not in "
            f"this list. [What to move to]({GUIDE})._"
        )
    yield from _numbered("Steps", steps(plan))
    yield from _section("The way back", way_back(plan))


def _what(plan: Plan) -> str:
    if plan.current != plan.target:
        return f"Kubernetes {name(plan.current)} → {name(plan.target)}"
    return f"versions, on Kubernetes {name(plan.current)}"


def _why(change: Change) -> str:
    told = [difference_text(one) for one in change.differences]
    more = f"; {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
    return f": {'; '.join(told[:_SHOWN])}{more}" if told else ""


def _uses(found: Sequence[Use]) -> list[str]:
    return [one.sentence() for one in found]


def _section(title: str, items: Sequence[str]) -> Iterator[str]:
    if items:
        yield from ("", f"### {title}", "")
        yield from (f"- {one}" for one in items)


def _numbered(title: str, items: Sequence[str]) -> Iterator[str]:
    yield from ("", f"### {title}", "")
    yield from (f"{number}. {one}" for number, one in enumerate(items, 1))
