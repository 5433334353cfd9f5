"""Names that the provider makes up where the program gives none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from sandbox.values import Properties

# Input that names a resource, and how long it may be, where that is not ``name`` and the length of Compute Engine's.
_COMPUTE: Final = 63
NAMED_BY: Final[Mapping[str, tuple[str, int]]] = {
    "gcp:artifactregistry/repository:Repository": ("repositoryId", 63),
    "gcp:compute/address:Address": ("name", _COMPUTE),
    "gcp:compute/firewall:Firewall": ("name", _COMPUTE),
    "gcp:compute/globalAddress:GlobalAddress": ("name", _COMPUTE),
    "gcp:compute/network:Network": ("name", _COMPUTE),
    "gcp:compute/router:Router": ("name", _COMPUTE),
    "gcp:compute/routerNat:RouterNat": ("name", _COMPUTE),
    "gcp:compute/subnetwork:Subnetwork": ("name", _COMPUTE),
    "gcp:container/cluster:Cluster": ("name", 40),
    "gcp:container/nodePool:NodePool": ("name", 40),
    "gcp:filestore/instance:Instance": ("name", 63),
    "gcp:memorystore/instance:Instance": ("instanceId", 63),
    "gcp:projects/iAMCustomRole:IAMCustomRole": ("roleId", 64),
    "gcp:redis/instance:Instance": ("name", 40),
    "gcp:secretmanager/secret:Secret": ("secretId", 255),
    "gcp:serviceaccount/account:Account": ("accountId", 30),
    "gcp:sql/databaseInstance:DatabaseInstance": ("name", 98),
    "gcp:storage/bucket:Bucket": ("name", 63),
}
_FREE: Final = frozenset({"gcp:secretmanager/secret:Secret"})  # takes capitals


def tidied(type_token: str, inputs: Properties, given: Properties) -> Properties:
    """Return the inputs with a made-up name in the form that the service takes; a name of the program's stays."""
    name, _ = NAMED_BY.get(type_token, ("name", 0))
    made_up = inputs.get(name)
    if given.get(name) is not None or not isinstance(made_up, str) or type_token in _FREE:
        return inputs
    if type_token == "gcp:projects/iAMCustomRole:IAMCustomRole":
        return {**inputs, name: re.sub(r"\W", "_", made_up)}
    return {**inputs, name: re.sub(r"[^a-z0-9-]", "-", made_up.lower())}
