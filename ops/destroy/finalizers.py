"""Finalizers that may be taken away once nobody is there any more who would: each with its reason."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A finalizer that may go.

    Attributes:
        pattern: The finalizer; one that ends with ``*`` stands for all that begin so.
        controller: Value of the label ``app.kubernetes.io/name`` (or ``app``, ``control-plane``, ``k8s-app``) of the
            pods that would take it away, or the name of what makes them; of these pods only. A volume driver's pods on
            the nodes have the driver's name too, and take nothing away.
        reason: What it guards, and why that is not missed in a destroy.
        leaves: What may stay in the account without it; empty for nothing.
    """

    pattern: str
    controller: tuple[str, ...]
    reason: str
    leaves: str = ""

    def matches(self, finalizer: str) -> bool:
        """Whether the rule is about this finalizer."""
        if self.pattern.endswith("*"):
            return finalizer.startswith(self.pattern[:-1])
        return finalizer == self.pattern


_IN_CLUSTER: Final = "it guards objects of the cluster, which go too"

RULES: Final[Sequence[Rule]] = (
    Rule(
        pattern="resources-finalizer.argocd.argoproj.io*",
        controller=("argocd-application-controller",),
        reason="Argo CD removes an application's objects first; they lie in namespaces that go too",
    ),
    Rule(
        pattern="post-delete-finalizer.argocd.argoproj.io*",
        controller=("argocd-application-controller",),
        reason="Argo CD runs an application's last hooks; there is nobody to run them",
    ),
    Rule(
        pattern="service.k8s.aws/resources",
        controller=("aws-load-balancer-controller",),
        reason="the load balancer of a Service is removed first",
        leaves="load balancer",
    ),
    Rule(
        pattern="ingress.k8s.aws/resources",
        controller=("aws-load-balancer-controller",),
        reason="the load balancer of an Ingress is removed first",
        leaves="load balancer",
    ),
    Rule(
        pattern="elbv2.k8s.aws/resources",
        controller=("aws-load-balancer-controller",),
        reason="targets are taken out of a target group first",
        leaves="target group",
    ),
    Rule(
        pattern="networking.k8s.aws/resources",
        controller=("aws-load-balancer-controller",),
        reason="rules of the nodes' security group are taken back first; the group goes too",
    ),
    Rule(pattern="finalizer.keda.sh", controller=("keda-operator",), reason=f"KEDA stops scaling: {_IN_CLUSTER}"),
    Rule(
        pattern="inferenceservice.finalizers",
        controller=("kserve-controller-manager",),
        reason=f"KServe takes a model out of its servers: {_IN_CLUSTER}",
    ),
    Rule(
        pattern="trainedmodel.finalizer",
        controller=("kserve-controller-manager",),
        reason=f"KServe takes a model out of its servers: {_IN_CLUSTER}",
    ),
    Rule(
        pattern="serving.kserve.io/llmisvc-finalizer",
        controller=("llmisvc-controller-manager", "kserve-llmisvc-controller-manager", "kserve-controller-manager"),
        reason=f"KServe removes what a model's service made in other namespaces: {_IN_CLUSTER}",
    ),
    Rule(
        pattern="ray.io/gcs-ft-redis-cleanup-finalizer",
        controller=("kuberay-operator",),
        reason="KubeRay empties the cluster's keys in Redis, which goes too",
    ),
    Rule(pattern="ray.io/*", controller=("kuberay-operator",), reason=f"KubeRay stops a job: {_IN_CLUSTER}"),
    Rule(
        pattern="externalsecrets.external-secrets.io/externalsecret-cleanup",
        controller=("external-secrets",),
        reason=f"External Secrets removes the Secret: {_IN_CLUSTER}",
    ),
    Rule(
        pattern="acme.cert-manager.io/finalizer",
        controller=("cert-manager",),
        reason="cert-manager takes back the DNS record of a proof; it is of no use to anybody",
        leaves="a TXT record _acme-challenge",
    ),
    Rule(
        pattern="finalizer.acme.cert-manager.io",
        controller=("cert-manager",),
        reason="cert-manager takes back the DNS record of a proof; it is of no use to anybody",
        leaves="a TXT record _acme-challenge",
    ),
    Rule(
        pattern="restores.velero.io/external-resources-finalizer",
        controller=("velero",),
        reason="Velero deletes a restore's log from the bucket, which goes too",
    ),
    Rule(
        pattern="velero.io/*",
        controller=("velero",),
        reason="Velero ends a copy of a volume; the bucket that it goes to is destroyed",
    ),
    Rule(
        pattern="snapshot.storage.kubernetes.io/*",
        controller=("snapshot-controller",),
        reason="the snapshot controller removes a volume's snapshot first",
        leaves="snapshot",
    ),
    Rule(
        pattern="external-attacher/ebs-csi-aws-com",
        controller=("ebs-csi-controller",),
        reason="the volume driver detaches a disk; the node that it hangs on goes too",
    ),
    Rule(
        pattern="external-provisioner.volume.kubernetes.io/finalizer",
        controller=(
            "ebs-csi-controller",
            "efs-csi-controller",
            "gcp-compute-persistent-disk-csi-driver",  # on the nodes: Google runs its controller where nobody sees it
        ),
        reason="the volume driver deletes the disk first",
        leaves="volume",
    ),
    Rule(
        pattern="workflows.argoproj.io/*",
        controller=("argo-workflows-workflow-controller", "workflow-controller"),
        reason="Argo Workflows reads a pod's end, or deletes its artifacts from a bucket that goes too",
    ),
    Rule(
        pattern="karpenter.sh/termination",
        controller=("karpenter",),
        reason="Karpenter ends the machine first",
        leaves="instance",
    ),
)
"""In the order in which they are asked; the first that matches counts. What Kubernetes itself guards with is not here:
``kubernetes.io/pvc-protection``, ``foregroundDeletion`` and their kind go when what they wait for is gone."""

KUBERNETES: Final = (
    "kubernetes.io/",
    "foregroundDeletion",
    "orphan",
    "customresourcecleanup.apiextensions.k8s.io",
    "kubernetes",  # of namespaces
    "batch.kubernetes.io/",
    "service.kubernetes.io/load-balancer-cleanup",  # of the cloud's own controller, which is no pod in the cluster
)
"""Beginnings of Kubernetes' own finalizers, whose controllers no destroy removes before the cluster."""


def rule_of(finalizer: str) -> Rule | None:
    """The rule about a finalizer; none where it is not known."""
    return next((rule for rule in RULES if rule.matches(finalizer)), None)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is to become of an object's finalizers.

    Attributes:
        kept: Those that stay.
        gone: Rules of those that are taken away.
        unknown: Those that no rule is about, and that nobody seems to care for.
    """

    kept: tuple[str, ...]
    gone: tuple[Rule, ...]
    unknown: tuple[str, ...]


def judge(finalizers: Iterable[str], running: frozenset[str]) -> Verdict:
    """Judge an object that is to go and does not.

    Args:
        finalizers: The object's.
        running: Names by which controllers are known that have a ready pod.
    """
    kept: list[str] = []
    gone: list[Rule] = []
    unknown: list[str] = []
    for one in finalizers:
        rule = rule_of(one)
        if rule is None:
            kept.append(one)
            unknown += [] if one.startswith(KUBERNETES) else [one]
        elif running & set(rule.controller):
            kept.append(one)
        else:
            gone.append(rule)
    return Verdict(kept=tuple(kept), gone=tuple(gone), unknown=tuple(unknown))
