"""All finders, in every region of the stack, at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from ops.leftovers.aws import compute, everywhere, stores
from ops.leftovers.aws.look import Look
from ops.leftovers.model import Leftover, Proof, Unseen, proof
from ops.leftovers.record import Record
from ops.preflight.aws.account import Account, AwsError
from ops.preflight.model import UnansweredError

Finder = Callable[[Look], Iterator[Leftover]]

# What controllers in the cluster make, and must have removed before the network can go.
MADE_BY_CONTROLLERS: Final[Mapping[str, Finder]] = {
    "load balancers": compute.load_balancers,
    "classic load balancers": compute.classic_load_balancers,
    "target groups": compute.target_groups,
}

# With one of them in it a network cannot go; nobody looks after them once the cluster is gone.
HOLD_THE_NETWORK: Final[Mapping[str, Finder]] = {
    **MADE_BY_CONTROLLERS,
    "instance groups": compute.instance_groups,
    "instances": compute.instances,
    "network interfaces": compute.network_interfaces,
    "security groups": compute.security_groups,
}

# What a destroy takes along when the engine is done. Neither addresses, which others may have in their lists, nor
# roles, which may be those of whoever destroys.
AFTER_THE_ENGINE: Final[Mapping[str, Finder]] = {**HOLD_THE_NETWORK, "log groups": stores.log_groups}

FINDERS: Final[Mapping[str, Finder]] = {
    **AFTER_THE_ENGINE,
    "addresses": compute.addresses,
    "volumes": stores.volumes,
    "snapshots": stores.snapshots,
    "buckets": stores.buckets,
    "database backups": stores.databases,
    "recovery points": stores.recovery_points,
    "secrets": stores.secrets,
    "repositories": stores.repositories,
    "keys": stores.keys,
    "roles": everywhere.roles,
    "identity providers": everywhere.identity_providers,
    "everything with the stack's tag": everywhere.tagged,
}

_AT_ONCE: Final = 8
_NO_SUCH: Final = ("NotFound", "NotFoundException", "NotFoundFault")  # it went while it was looked at


def search(account: Account, record: Record, finders: Mapping[str, Finder] = FINDERS) -> Proof:
    """Ask every finder in every region; a question that is not answered is told, and stops no other."""
    looks = [
        Look(account=account, record=record, region=region, home=index == 0)
        for index, region in enumerate(record.regions)
    ]
    found: list[Leftover] = []
    unseen: list[Unseen] = []

    def ask(look: Look, what: str, finder: Finder) -> tuple[list[Leftover], Unseen | None]:
        try:
            return list(finder(look)), None
        except UnansweredError as error:
            if isinstance(error, AwsError) and error.code.endswith(_NO_SUCH):
                return [], Unseen(what=f"{what} in {look.region}", why=f"{error}; look again")
            return [], Unseen(what=f"{what} in {look.region}", why=str(error))

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        asked = [pool.submit(ask, look, what, finder) for look in looks for what, finder in finders.items()]
        for one in asked:
            some, missing = one.result()
            found += some
            unseen += [missing] if missing else []
    return proof(found, unseen)
