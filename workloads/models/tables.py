"""The table of the examples in ``docs/models.md``: ``python -m workloads.models.tables [--check]``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, cast

import yaml

from components.settings import parse
from workloads.models.facts import facts_of
from workloads.models.plan import Plan, Refusal, plan
from workloads.models.spec import ModelSpec, specs_of

_ROOT: Final = Path(__file__).parents[2]
EXAMPLES: Final = _ROOT / "examples"
PAGE: Final = _ROOT / "docs" / "models.md"

_BEGIN: Final = "<!-- examples: begin -->"
_END: Final = "<!-- examples: end -->"


def settings_of(example: Path) -> dict[str, Any]:
    """An example's settings as they are read from a stack file."""
    document = cast("dict[str, dict[str, Any]]", yaml.safe_load(example.read_text()))
    return {key.removeprefix("llmops:"): value for key, value in document["config"].items()}


def render() -> str:
    """The table."""
    head = (
        "| Example | Model, GPUs of a server | Weights | KV cache | Cold start | Machine | $/hour, fewest to most "
        "| $ per million tokens |"
    )
    return "\n".join([head, "| " + " | ".join(["---"] * 8) + " |", *_rows()])


def _rows() -> Iterator[str]:
    for example in sorted(EXAMPLES.glob("*.yaml")):
        settings = parse(settings_of(example))
        facts = facts_of(settings)
        for spec in specs_of(settings.models, prefix="llmops-example", region=facts.region, owner=settings.owner):
            found = plan(spec, facts)
            assert not isinstance(found, Refusal), found
            link = f"[{example.name}](../examples/{example.name})"
            yield f"| {link} | " + " | ".join(_cells(spec, found)) + " |"


def _cells(spec: ModelSpec, found: Plan) -> Iterator[str]:
    fitted, cost = found.fit, found.cost
    if fitted is None:
        yield f"{spec.settings.source.rpartition('/')[2]}, none"
        yield from ("the cloud's",) * 2
        yield from ("none", "none", "by tokens", "the provider's price")
        return
    name = fitted.sizing.request.architecture.name
    stored = spec.settings.quantization if spec.settings.quantization != "none" else "16 bit"
    yield f"{name} in {stored}, {found.gpus} x {found.gpu_model}"
    yield f"{fitted.weights_gib:.1f} GiB"
    yield f"{fitted.kv_tokens:,} tokens"
    # What the cloud does to start its own machines is not known here.
    yield f"{found.cold_start.total_seconds} s" if found.group else "the cloud's"
    yield found.instance_type or "none"
    if cost.minimum_hourly_usd is None or cost.maximum_hourly_usd is None or cost.million_tokens_usd is None:
        yield from ("not known",) * 2
        return
    yield f"{cost.minimum_hourly_usd:.2f} to {cost.maximum_hourly_usd:.2f}"
    yield f"{cost.million_tokens_usd:.2f} at {cost.tokens_per_second:.0f} tokens/s"


def placed(page: str) -> str:
    """A page with the current table between its two comments."""
    before, rest = page.split(_BEGIN)
    return f"{before}{_BEGIN}\n\n{render()}\n\n{_END}{rest.split(_END)[1]}"


def main() -> int:
    """Write the page, or say whether it is current."""
    text = PAGE.read_text()
    now = placed(text)
    if "--check" in sys.argv[1:]:
        if text != now:
            print(f"{PAGE.name} is not current: python -m workloads.models.tables writes it anew")
        return int(text != now)
    PAGE.write_text(now)
    return 0


if __name__ == "__main__":
    sys.exit(main())
