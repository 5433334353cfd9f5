"""Makes fixtures of real previews and exports: what a report reads stays, and nothing else.

python -m tests.plan.reduce preview.json > tests/plan/fixtures/<name>.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ops.cost.estimation import PRICERS

KEPT = ("urn", "type", "custom", "parent", "provider", "protect")
STEP = ("op", "urn", "detailedDiff", "diffReasons", "replaceReasons")
DROPPED = ("policy", "userData", "tagSpecifications", "tags", "tagsAll", "authToken", "__defaults")
TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
SECRET = "4dabf18193072939515e22adb298388d"


def state(full: dict[str, Any], changing: frozenset[str] = frozenset()) -> dict[str, Any]:
    """A resource without what nobody reads."""
    small = {key: full[key] for key in KEPT if full.get(key)}
    kind, inputs = full["type"], full.get("inputs") or {}
    if kind in PRICERS or changing:
        small["inputs"] = {key: value for key, value in inputs.items() if key not in DROPPED and not _secret(value)}
    elif kind == TEMPLATE:
        small["inputs"] = {"blockDeviceMappings": inputs["blockDeviceMappings"]}
    elif kind == "pulumi:providers:aws":
        small["inputs"] = {"region": inputs["region"]}
    templates = [urn for urn in full.get("dependencies") or () if f"${TEMPLATE}::" in urn]
    return {**small, "dependencies": templates} if templates else small


def _secret(value: Any) -> bool:
    return isinstance(value, dict) and SECRET in value


def step(full: dict[str, Any]) -> dict[str, Any]:
    """A step without what nobody reads."""
    small = {key: full[key] for key in STEP if full.get(key)}
    changing = frozenset(full.get("detailedDiff") or ())
    for side in ("oldState", "newState"):
        if full.get(side):
            small[side] = state(full[side], changing)
    return small


def reduce(content: dict[str, Any]) -> dict[str, Any]:
    """A preview or an export, reduced."""
    if "steps" in content:
        kept = {key: content[key] for key in ("config", "diagnostics", "changeSummary") if key in content}
        return {**kept, "steps": [step(one) for one in content["steps"]]}
    return {
        "version": content["version"],
        "deployment": {"resources": [state(one) for one in content["deployment"]["resources"]]},
    }


if __name__ == "__main__":
    json.dump(reduce(json.loads(Path(sys.argv[1]).read_text())), sys.stdout, indent=None, separators=(",", ":"))
    print()
