"""Resources of the shipped stacks, from the reviewed graphs in tests/golden."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from ops.cost import Resource

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
STACKS = ("dev", "prod")


@cache
def resources(stack: str) -> tuple[Resource, ...]:
    """The stack's resources, as the cost model sees them."""
    graph: dict[str, dict[str, Any]] = yaml.load((GOLDEN / f"{stack}.yaml").read_text(), yaml.CSafeLoader)

    def types(name: str) -> str:
        parent = graph[name].get("parent")
        kind = name.split(" ", 1)[0]
        return kind if parent is None or "pulumi:pulumi:Stack" in parent else f"{types(parent)}${kind}"

    def urn(name: str) -> str:
        return f"urn:pulumi:{stack}::llmops::{types(name)}::{name.split(' ', 1)[1]}"

    def region(node: dict[str, Any]) -> str:
        provider = graph.get(node.get("provider", ""), {})
        return str(provider.get("inputs", {}).get("region", ""))

    return tuple(
        Resource(
            urn=urn(name),
            type=name.split(" ", 1)[0],
            properties=node.get("inputs") or {},
            custom="provider" in node or name.startswith("pulumi:providers:"),
            parent=urn(node["parent"]) if "parent" in node else "",
            dependencies=tuple(urn(other) for other in node.get("dependsOn", ()) if other in graph),
            region=region(node),
        )
        for name, node in graph.items()
    )
