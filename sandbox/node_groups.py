"""Groups of nodes of a stack, whichever cloud they are from."""

from __future__ import annotations

from collections.abc import Sequence

from sandbox.aws.node_groups import node_groups as of_aws
from sandbox.gcp.node_pools import node_pools as of_gcp
from sandbox.kubernetes.nodes import NodeGroupSpec
from sandbox.store import Store


def node_groups(store: Store, servers: Sequence[NodeGroupSpec] = ()) -> list[NodeGroupSpec]:
    """Return the groups of the account, and the servers of a cluster that was there before the program."""
    return [*of_aws(store), *of_gcp(store), *servers]
