"""Policies over resources of Google Cloud: what those over AWS mean, in the words of the other cloud."""

from __future__ import annotations

from typing import Final

from policies.gcp import data, exposure, identities, recovery
from policies.registry import Rule

RULES: Final[tuple[Rule, ...]] = (*data.RULES, *exposure.RULES, *identities.RULES, *recovery.RULES)
