"""Words of the cost model: resources that go in, lines that come out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

HOURS: Final = 730
"""Hours in a month, as AWS reckons (8,760 / 12)."""

SHARED: Final = "shared"
"""Team or model of what nobody has for himself."""

Layer = Literal["foundation", "platform", "workloads"]

_LAYERS: Final[tuple[tuple[str, Layer], ...]] = (
    ("llmops:workload", "workloads"),
    ("llmops:platform:", "platform"),
    ("llmops:", "foundation"),
    ("kubernetes:", "platform"),
)


@dataclass(frozen=True, kw_only=True)
class Range:
    """A quantity or a sum of money a month, idle, as expected, and at most."""

    low: float
    expected: float
    high: float

    @classmethod
    def of(cls, value: float) -> Range:
        """A value that does not vary."""
        return cls(low=value, expected=value, high=value)

    @classmethod
    def total(cls, ranges: Iterable[Range]) -> Range:
        """The sum; exact, so that it does not depend on the order."""
        found = list(ranges)
        return cls(
            low=math.fsum(one.low for one in found),
            expected=math.fsum(one.expected for one in found),
            high=math.fsum(one.high for one in found),
        )

    def times(self, other: Range | float) -> Range:
        """The product, bound by bound."""
        by = other if isinstance(other, Range) else Range.of(other)
        return Range(low=self.low * by.low, expected=self.expected * by.expected, high=self.high * by.high)

    def plus(self, other: Range) -> Range:
        """The sum, bound by bound."""
        return Range.total((self, other))

    def minus(self, other: Range) -> Range:
        """The difference, bound by bound; it may be negative and out of order."""
        return Range(low=self.low - other.low, expected=self.expected - other.expected, high=self.high - other.high)

    def rounded(self) -> dict[str, float]:
        """For JSON: cents."""
        return {"min": round(self.low, 2), "expected": round(self.expected, 2), "max": round(self.high, 2)}


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One resource of a stack, wherever it was read.

    Attributes:
        urn: Its name in the stack; its chain of types tells the layer.
        type: Type token such as ``aws:rds/instance:Instance``.
        properties: Its inputs, plain. What is unknown at preview may be anything: the model reads plain inputs only.
        custom: False for components, which cost nothing themselves.
        parent: URN of its parent; empty for none.
        dependencies: URNs of what it depends on, through any property.
        region: Cloud region; empty where it has none or where it is not known.
    """

    urn: str
    type: str
    properties: Mapping[str, Any] = field(default_factory=dict[str, Any])
    custom: bool = True
    parent: str = ""
    dependencies: tuple[str, ...] = ()
    region: str = ""

    @property
    def name(self) -> str:
        """Its name in the program."""
        return self.urn.rsplit("::", 1)[-1]

    def get(self, *path: str | int) -> Any:
        """The value at a path, None where there is none."""
        return at(self.properties, *path)

    def text(self, *path: str | int, default: str = "") -> str:
        """The text at a path."""
        value = self.get(*path)
        return value if isinstance(value, str) else default

    def number(self, *path: str | int) -> float | None:
        """The number at a path; None where there is none, or where it is not known yet."""
        value = self.get(*path)
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            return None
        try:
            return float(value)
        except ValueError:
            return None

    def items(self, *path: str | int) -> list[Any]:
        """The list at a path; empty where there is none."""
        value = self.get(*path)
        return cast("list[Any]", value) if isinstance(value, list) else []

    def table(self, *path: str | int) -> Mapping[str, Any]:
        """The object at a path; empty where there is none."""
        value = self.get(*path)
        return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}

    def flag(self, *path: str | int) -> bool:
        """The truth value at a path; providers also take it as text."""
        return self.get(*path) in (True, "true")


def at(value: Any, *path: str | int) -> Any:
    """What :meth:`Resource.get` does, for a part of a resource."""
    for key in path:
        if isinstance(value, Mapping):
            value = cast("Mapping[Any, Any]", value).get(key)
        elif isinstance(value, list) and isinstance(key, int) and key < len(cast("list[Any]", value)):
            value = cast("list[Any]", value)[key]
        else:
            return None
    return value


def layer_of(urn: str) -> Layer:
    """Who asked for a resource: the outermost component of ours above it."""
    for kind in urn.split("::")[2].split("$") if urn.count("::") >= 3 else [urn]:
        for prefix, layer in _LAYERS:
            if kind.startswith(prefix):
                return layer
    return "foundation"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One item of the bill.

    Attributes:
        urn: The resource that it is for.
        type: Its type.
        item: What is paid for.
        quantity: How much of it a month.
        unit: Unit of the quantity.
        usd: Dollars a month.
        price: Key in the price table.
        layer: Foundation, platform or workloads.
        team: Who has it; ``shared`` for all.
        model: The model that it serves; ``shared`` for none in particular.
        assumed: Whether the quantity is an assumption and not a property of the stack.
    """

    urn: str
    type: str
    item: str
    quantity: Range
    unit: str
    usd: Range
    price: str
    layer: Layer
    team: str = SHARED
    model: str = SHARED
    assumed: bool = False

    @property
    def name(self) -> str:
        """Name of the resource in the program."""
        return self.urn.rsplit("::", 1)[-1]


@dataclass(frozen=True, kw_only=True)
class Unpriced:
    """What is in the stack and not in the sum.

    Attributes:
        urn: The resource.
        type: Its type.
        reason: Why it has no price.
    """

    urn: str
    type: str
    reason: str

    @property
    def name(self) -> str:
        """Name of the resource in the program."""
        return self.urn.rsplit("::", 1)[-1]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a stack costs a month.

    Attributes:
        lines: The bill.
        unpriced: What is not in it, with reasons.
        free: Types in the stack that cost nothing, and why.
        notes: What a reader must know of the numbers.
        date: Date of the price table.
        region: Region that most of the stack is in.
    """

    lines: tuple[Line, ...]
    unpriced: tuple[Unpriced, ...]
    free: Mapping[str, str]
    notes: tuple[str, ...]
    date: str
    region: str

    @property
    def total(self) -> Range:
        """All lines together."""
        return Range.total(line.usd for line in self.lines)

    def by(self, key: Callable[[Line], str]) -> dict[str, Range]:
        """Totals by layer, team, model or whatever ``key`` tells, the dearest at its maximum first."""
        groups: dict[str, list[Range]] = {}
        for line in self.lines:
            groups.setdefault(key(line), []).append(line.usd)
        totals = {name: Range.total(found) for name, found in groups.items()}
        return dict(sorted(totals.items(), key=lambda pair: (-pair[1].high, pair[0])))

    @property
    def by_layer(self) -> dict[str, Range]:
        """Totals of foundation, platform and workloads."""
        return self.by(lambda line: line.layer)

    @property
    def by_team(self) -> dict[str, Range]:
        """Totals by team."""
        return self.by(lambda line: line.team)

    @property
    def by_model(self) -> dict[str, Range]:
        """Totals by model."""
        return self.by(lambda line: line.model)

    @property
    def by_resource(self) -> dict[str, Range]:
        """Totals by the resource's name."""
        return self.by(lambda line: line.name)
