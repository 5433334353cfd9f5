"""What a leftover is, and what all of them together say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from ops.cli import EXIT_REFUSED, EXIT_UNUSABLE

Fate = Literal["safe", "data", "waits", "by hand"]
"""What may be done with a leftover: ``safe`` holds nothing that is missed, ``data`` does, ``waits`` goes by itself at a
date, ``by hand`` needs somebody who knows whose it is."""

# What holds on to the others goes first.
REMOVAL_ORDER: Final = (
    "cluster",
    "instance group",
    "instance",
    "instance template",
    "load balancer",
    "classic load balancer",
    "forwarding rule",
    "target group",
    "target pool",
    "backend service",
    "health check",
    "endpoint group",
    "address",
    "network interface",
    "security group",
    "firewall rule",
    "recovery point",
    "automated backup",
    "database snapshot",
    "snapshot",
    "volume",
    "database",
    "cache",
    "file backup",
    "file system",
    "router",
    "subnet",
    "network peering",
    "network",
    "bucket",
    "repository",
    "secret",
    "log sink",
    "log group",
    "alarm",
    "notification channel",
    "DNS record",
    "zone",
    "custom role",
    "role",
    "identity provider",
    "key",
)


@dataclass(frozen=True, kw_only=True)
class Leftover:
    """Something that is still there.

    Attributes:
        kind: As people say it: ``load balancer``.
        name: What the cloud knows it by.
        region: Where it is; empty for what is everywhere.
        made_by: What made it, and so why the engine did not remove it.
        command: What removes it.
        fate: What may be done with it.
        note: What else is to be known.
    """

    kind: str
    name: str
    region: str
    made_by: str
    command: str
    fate: Fate
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Unseen:
    """A question that the account did not answer; without it nothing is proven.

    Attributes:
        what: What was looked for, and where.
        why: The account's words.
    """

    what: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Proof:
    """Everything that was found, and everything that could not be seen.

    Attributes:
        found: In the order in which it has to go.
        unseen: Questions without an answer.
    """

    found: tuple[Leftover, ...]
    unseen: tuple[Unseen, ...] = ()

    @property
    def remains(self) -> list[Leftover]:
        """What does not go by itself."""
        return [one for one in self.found if one.fate != "waits"]

    @property
    def exit_code(self) -> int:
        """0: proven that nothing remains; 1: something does; 2: it could not be proven."""
        if self.remains:
            return EXIT_REFUSED
        return EXIT_UNUSABLE if self.unseen else 0

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "clean": self.exit_code == 0,
            "leftovers": [asdict(one) for one in self.found],
            "unseen": [asdict(one) for one in self.unseen],
        }


def proof(found: Sequence[Leftover], unseen: Sequence[Unseen]) -> Proof:
    """Put what was found into the order of its removal; what was found twice is said once."""
    once = {(one.kind, one.region, one.name): one for one in found}
    return Proof(found=tuple(sorted(once.values(), key=_place)), unseen=tuple(unseen))


def _place(one: Leftover) -> tuple[int, str, str, str]:
    known = one.kind in REMOVAL_ORDER
    return REMOVAL_ORDER.index(one.kind) if known else len(REMOVAL_ORDER), one.kind, one.region, one.name
