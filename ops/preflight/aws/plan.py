"""Everything that is asked about an AWS account."""

from __future__ import annotations

from collections.abc import Iterator

from ops.preflight.aws import names, offers, permissions, quotas, regions
from ops.preflight.aws.account import Account
from ops.preflight.aws.regions import Identity
from ops.preflight.model import Check
from ops.preflight.target import Target


def checks(account: Account, target: Target, identity: Identity) -> Iterator[Check]:
    """All questions; names and permissions hang on who is calling."""
    yield from regions.checks(account, target, identity)
    yield from quotas.checks(account, target)
    yield from offers.checks(account, target)
    yield from permissions.checks(account, target, identity)
    yield from names.checks(account, target, identity)
