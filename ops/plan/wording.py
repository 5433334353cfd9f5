"""Words and numbers that Markdown and HTML share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from ops.cost.model import Range
from ops.cost.report import money
from ops.plan.preview import Action, Change, Difference
from ops.plan.report import CostChange, Limit, Report

SIGNS: Final[dict[Action, str]] = {
    "create": "+",
    "update": "~",
    "replace": "+-",
    "delete": "-",
    "import": "=",
    "read": ">",
}
NO_NUMBERS: Final = "No cost and no quotas: what the program had not declared before it failed is not known."
BOUNDS: Final = (("idle", "low"), ("expected", "expected"), ("at most", "high"))
_GRAVEST_FIRST: Final[tuple[Action, ...]] = ("replace", "delete", "update", "create", "import", "read")
LAYERS: Final = ("foundation", "platform", "workloads")


def verdict(report: Report) -> str:
    """The first sentence."""
    if report.objections:
        return "Look before you merge."
    return "Nothing changes." if not report.preview.changes else "Nothing speaks against it."


def counts(changes: Iterable[Change], unchanged: int | None = None) -> str:
    """How many resources, by what happens to them."""
    found = Counter(change.action for change in changes)
    parts = [
        f"{found[action]} to {action}"
        for action in ("replace", "delete", "update", "create", "import", "read")
        if found[action]
    ]
    if unchanged is not None:
        parts.append(f"{unchanged} unchanged")
    return ", ".join(parts)


def difference(usd: Range | None, bound: str) -> str:
    """Dollars added, with a sign; empty where it is not known."""
    if usd is None:
        return "not known"
    value: float = getattr(usd, bound)
    if round(value) == 0:
        return "0"
    return f"+{money(value)}" if value > 0 else money(value)


def cost_rows(total: CostChange) -> list[tuple[str, str, str, str]]:
    """Idle, expected and at most: before, after, difference."""
    return [
        (
            label,
            "not known" if total.before is None else money(getattr(total.before, bound)),
            money(getattr(total.after, bound)),
            difference(total.difference, bound),
        )
        for label, bound in BOUNDS
    ]


def limit_sentence(limit: Limit) -> str:
    """A limit on money, and how much of it is used."""
    share = f"{limit.actual / limit.usd:.0%}" if limit.usd else "more than all"
    state = "exceeded" if limit.exceeded else "kept"
    return f"{limit.name} {money(limit.usd)}: {state}, {limit.what} of {money(limit.actual)} is {share} of it"


def difference_text(one: Difference) -> str:
    """One property that changes, for people."""
    if one.old and one.new:
        text = f"{one.path}: {one.old} -> {one.new}"
    elif one.new:
        text = f"{one.path}: {one.new}"
    elif one.old:
        text = f"{one.path}: {one.old} -> none"
    else:
        text = one.path
    return f"{text} (forces replacement)" if one.replaces else text


def reasons(change: Change) -> str:
    """Why a resource is replaced or deleted."""
    if change.action == "delete":
        return "the program no longer declares it"
    forcing = [one for one in change.differences if one.replaces] or list(change.differences)
    return "; ".join(difference_text(one).removesuffix(" (forces replacement)") for one in forcing) or "not told"


def protection(change: Change) -> str:
    """Whether anything stands in the way."""
    return "protected: the engine refuses it" if change.protected else "not protected: it would happen"


def by_layer(changes: Sequence[Change]) -> list[tuple[str, list[Change]]]:
    """Changes by layer, in the order in which the layers are built."""
    return [(layer, found) for layer in LAYERS if (found := [one for one in changes if one.layer == layer])]
