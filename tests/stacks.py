"""The settings of the shipped stacks, as their files have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]


def settings_of(stack: str) -> dict[str, Any]:
    """Settings of ``Pulumi.<stack>.yaml``, without the program's prefix."""
    content: dict[str, Any] = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())
    return {key.removeprefix("llmops:"): value for key, value in content["config"].items()}
