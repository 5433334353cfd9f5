"""The cost of the shipped stacks: everything has a price, and the document's sums are the program's."""

from __future__ import annotations

import math
import re

import pytest
from golden_stack import STACKS as OF_AWS
from golden_stack import resources

from ops.cost import Range, estimate
from ops.cost.estimation import PRICERS
from ops.cost.free import ADDON, why_free
from ops.cost.read import read
from tests.unit.cost_resources import FIXTURES, ROOT, same

pytestmark = pytest.mark.unit

STACKS = (*OF_AWS, "gcp")

# The whole of the shipped stacks


@pytest.mark.parametrize("stack", STACKS)
def test_every_type_of_the_shipped_stacks_has_a_price_or_a_reason_to_be_free(stack: str):
    kinds = {one.type for one in resources(stack) if one.custom}
    assert kinds
    nowhere = [kind for kind in kinds if kind not in PRICERS and kind != ADDON and why_free(kind) is None]
    assert not nowhere


@pytest.mark.parametrize("stack", STACKS)
def test_nothing_of_the_shipped_stacks_is_left_without_a_price(stack: str):
    assert estimate(resources(stack)).unpriced == ()


@pytest.mark.parametrize("stack", STACKS)
def test_idle_is_never_above_expected_nor_expected_above_at_most(stack: str):
    found = estimate(resources(stack))
    for line in found.lines:
        assert 0 <= line.usd.low <= line.usd.expected <= line.usd.high, line
        assert 0 <= line.quantity.low <= line.quantity.expected <= line.quantity.high, line


@pytest.mark.parametrize("stack", STACKS)
def test_every_way_to_divide_the_bill_gives_the_same_total(stack: str):
    found = estimate(resources(stack))
    for parts in (found.by_layer, found.by_team, found.by_model, found.by_resource):
        assert same(Range.total(parts.values()), found.total)


@pytest.mark.parametrize("stack", STACKS)
def test_the_order_of_resources_does_not_matter(stack: str):
    assert estimate(reversed(resources(stack))) == estimate(resources(stack))


def test_a_preview_and_an_export_of_the_same_stack_cost_the_same():
    exported = estimate(read(FIXTURES / "prod.state.json"))
    previewed = estimate(read(FIXTURES / "nothing.json", before=FIXTURES / "prod.state.json"))
    assert previewed == exported
    assert exported.total.low > 0


def test_a_first_preview_where_nothing_has_an_identifier_costs_what_the_stack_costs_later():
    first = estimate(read(FIXTURES / "first.json"))
    assert same(first.total, estimate(read(FIXTURES / "dev.state.json")).total)


# The document


def tables(text: str) -> dict[tuple[str, str], list[list[str]]]:
    """Rows by stack and layer."""
    found: dict[tuple[str, str], list[list[str]]] = {}
    key = ("", "")
    for line in text.splitlines():
        if match := re.match(r"### (\w+): (\w+)$", line):
            key = (match[1], match[2])
        elif line.startswith("#"):
            key = ("", "")
        elif key[0] and line.startswith("|") and "---" not in line and "USD each" not in line:
            found.setdefault(key, []).append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def numbers(cell: str) -> list[float]:
    parts = [float(part.replace(",", "")) for part in re.findall(r"[\d,]*\.?\d+", cell.replace("*", ""))]
    return parts * 3 if len(parts) == 1 else parts


HAND = tables((ROOT / "docs" / "cost.md").read_text())


@pytest.mark.parametrize(
    ("stack", "layer"), [(stack, layer) for stack in STACKS for layer in estimate(resources(stack)).by_layer]
)
def test_the_sums_reckoned_by_hand_in_the_document_are_those_of_the_program(stack: str, layer: str):
    found = estimate(resources(stack))
    mine = [f"{line.name}: {line.item} {line.usd.rounded()}" for line in found.lines if line.layer == layer]
    assert (stack, layer) in HAND, f"docs/cost.md has no table '### {stack}: {layer}' for:\n" + "\n".join(mine)
    *rows, total = HAND[stack, layer]
    sums = [numbers(cell)[0] for cell in total[-3:]]
    for what, quantity, each, *amounts in rows:
        by_hand = [count * price for count, price in zip(numbers(quantity), numbers(each), strict=True)]
        assert by_hand == pytest.approx([numbers(amount)[0] for amount in amounts], abs=0.02), what
    for column in range(3):
        assert math.fsum(numbers(row[3 + column])[0] for row in rows) == pytest.approx(sums[column], abs=0.1)
    program = found.by_layer[layer]
    assert [program.low, program.expected, program.high] == pytest.approx(sums, abs=0.02), "\n".join(mine)
