"""How it is decided whose something is, and what a finder gets to decide it with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ops.leftovers.model import Leftover
from ops.leftovers.record import Record
from ops.preflight.aws.account import Account, tags_of

# Tags with the cluster's name as value: of EKS, of the load balancer controller, of the network plugin, of the
# autoscaler, and of what came before them.
_CLUSTER_TAGS: Final[Mapping[str, str]] = {
    "elbv2.k8s.aws/cluster": "the AWS Load Balancer Controller, for a Service",
    "cluster.k8s.amazonaws.com/name": "the VPC CNI, for pods of a node",
    "eks:cluster-name": "EKS, for the cluster",
    "aws:eks:cluster-name": "EKS, for the cluster",
    "KubernetesCluster": "a controller in the cluster",
    "eks:eks-cluster-name": "EKS, for the cluster",
}
_VOLUME_TAG: Final = "kubernetes.io/created-for/pvc/name"
_SNAPSHOT_TAG: Final = "ebs.csi.aws.com/cluster"

UNKNOWN_MAKER: Final = "it has a name of the stack's and no tag of its own"


@dataclass(frozen=True, kw_only=True)
class Look:
    """One look at one region.

    Attributes:
        account: The account.
        record: What is known of the stack.
        region: Where.
        home: Whether it is the stack's own region; what is everywhere is looked for from there only.
    """

    account: Account
    record: Record
    region: str
    home: bool

    def call(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """Ask in this region."""
        return self.account.call(service, operation, self.region, **parameters)

    def pages(self, service: str, operation: str, key: str, **parameters: Any) -> Iterator[Any]:
        """Ask for a list in this region."""
        return self.account.pages(service, operation, key, self.region, **parameters)

    def others(self, tags: Any) -> str:
        """The stack that something is of, by its tag, where that is another one; else empty."""
        owner = tags_of(tags).get("stack", self.record.prefix)
        return "" if owner == self.record.prefix else owner

    def maker(self, tags: Any, *names: str) -> str:
        """What made something with these tags and identifiers, if it was of this stack; else empty.

        A tag of this stack's or its cluster's decides, and so does an identifier that the engine once gave it. Tags of
        another stack decide against it, whatever the name.
        """
        given = tags_of(tags)
        record = self.record
        if self.others(tags):
            return ""
        owner = given.get("stack")
        if any(name in record.ids for name in names if name):
            return "the engine, which no longer knows it"
        if record.cluster:
            if f"kubernetes.io/cluster/{record.cluster}" in given:
                return "a controller in the cluster"
            for tag, what in _CLUSTER_TAGS.items():
                if given.get(tag) == record.cluster:
                    return what
        if owner == record.prefix:
            if claim := given.get(_VOLUME_TAG):
                return (
                    f"the volume driver, for the claim {given.get('kubernetes.io/created-for/pvc/namespace')}/{claim}"
                )
            if _SNAPSHOT_TAG in given:
                return "the snapshot controller"
            return "this stack, by its tag"
        return ""

    def found(self, kind: str, name: str, made_by: str, command: str, **more: Any) -> Leftover:
        """A leftover here."""
        return Leftover(
            kind=kind,
            name=name,
            region=self.region,
            made_by=made_by,
            command=f"{command} --region {self.region}",
            **more,
        )
