"""Security: data, ways in, identities, recovery."""

from __future__ import annotations

from typing import Final

from policies.registry import Rule
from policies.security import data, exposure, identities, recovery

RULES: Final[tuple[Rule, ...]] = (*data.RULES, *exposure.RULES, *identities.RULES, *recovery.RULES)
