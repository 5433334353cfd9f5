"""Everything that is asked about a Google Cloud project."""

from __future__ import annotations

from collections.abc import Iterator

from ops.preflight.gcp import access, places, quotas
from ops.preflight.gcp.account import Account
from ops.preflight.model import Check
from ops.preflight.target import Target


def checks(account: Account, target: Target) -> Iterator[Check]:
    """All questions."""
    yield from places.checks(account, target)
    yield from quotas.checks(account, target)
    yield from access.checks(account, target)
