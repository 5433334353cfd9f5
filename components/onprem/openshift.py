"""What OpenShift does its own way: which pods it admits, GPUs, and how a service is published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import pulumi
from pulumi_kubernetes import core, rbac
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.meta import v1 as meta

from components.contract import GPU_TAINT
from components.onprem.names import BALANCERS, STORES
from components.onprem.rooms import Rooms
from components.settings.onprem import OpenShiftSettings

Constraint = Literal["nonroot-v2", "privileged"]
"""SecurityContextConstraints that come with OpenShift; every account may use ``restricted-v2`` without being told."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """Why service accounts need more than ``restricted-v2``.

    Attributes:
        namespace: Where they are.
        accounts: Their names; empty for all of the namespace.
        constraint: What they may use.
        why: What they do that ``restricted-v2`` refuses.
    """

    namespace: str
    accounts: tuple[str, ...]
    constraint: Constraint
    why: str


# Everything else of these namespaces runs as a user that its image names; none as root.
_OWN_USER: Final = "images whose files belong to a user of their own, which is not in the namespace's range"
NEEDS: Final[tuple[Need, ...]] = (
    Need(
        namespace="istio-system",
        accounts=("istio-cni", "ztunnel"),
        constraint="privileged",
        why="the CNI agent writes to the node's CNI directories; ztunnel opens sockets inside other pods' networks",
    ),
    Need(
        namespace="monitoring",
        accounts=("alloy", "metrics-prometheus-node-exporter"),
        constraint="privileged",
        why="the log collector reads the node's log files; the exporter reads /proc and /sys in the node's namespaces",
    ),
    Need(
        namespace="velero",
        accounts=("velero",),
        constraint="privileged",
        why="agents that copy volumes read and restore files of every owner",
    ),
    *(
        Need(namespace=namespace, accounts=(), constraint="nonroot-v2", why=_OWN_USER)
        for namespace in (
            "argo",
            "argocd",
            "cert-manager",
            "external-secrets",
            "istio-ingress",
            "istio-system",
            "keda",
            "kserve",
            "kubeflow",
            "kubeflow-system",
            "mlops-data",
            "mlops-serving",
            "mlops-system",
            "mlops-training",
            "monitoring",
            "velero",
            "volcano-system",
        )
    ),
)
"""Which system of the platform needs which constraint; teams' namespaces have ``nonroot-v2`` as well."""

_FOUNDATION_NEEDS: Final[tuple[Need, ...]] = (
    Need(namespace=STORES, accounts=(), constraint="nonroot-v2", why=_OWN_USER),
    Need(
        namespace=BALANCERS,
        accounts=("metallb-speaker",),
        constraint="privileged",
        why="it answers for addresses in the node's own network",
    ),
    Need(namespace=BALANCERS, accounts=("metallb-controller",), constraint="nonroot-v2", why=_OWN_USER),
)


def subjects(need: Need) -> list[rbac.v1.SubjectArgs]:
    """Whom a need is bound to."""
    if need.accounts:
        return [
            rbac.v1.SubjectArgs(kind="ServiceAccount", name=account, namespace=need.namespace)
            for account in need.accounts
        ]
    group = f"system:serviceaccounts:{need.namespace}"
    return [rbac.v1.SubjectArgs(api_group="rbac.authorization.k8s.io", kind="Group", name=group)]


def bind(name: str, need: Need, *, after: Sequence[pulumi.Resource], parent: pulumi.Resource) -> pulumi.Resource:
    """Let accounts use a constraint, in their namespace and nowhere else."""
    return rbac.v1.RoleBinding(
        f"{name}-{need.namespace}-{need.constraint}",
        metadata=meta.ObjectMetaArgs(
            name=f"llmops-{need.constraint}", namespace=need.namespace, annotations={"llmops/why": need.why}
        ),
        role_ref=rbac.v1.RoleRefArgs(
            api_group="rbac.authorization.k8s.io",
            kind="ClusterRole",
            name=f"system:openshift:scc:{need.constraint}",  # OpenShift keeps one for each
        ),
        subjects=subjects(need),
        # The namespace.
        opts=pulumi.ResourceOptions(parent=parent, depends_on=list(after)),
    )


@dataclass(frozen=True, kw_only=True)
class Admission:
    """What the platform's namespaces are given once they are there.

    Attributes:
        routes_of: Domain of the gateway where the cluster's router publishes it too; else empty.
    """

    routes_of: str

    def admit(self, namespaces: Mapping[str, Sequence[pulumi.Resource]], *, parent: pulumi.Resource) -> None:
        """Bind the constraints that the pods of ``namespaces`` need; publish the gateway."""
        teams = [
            Need(namespace=title, accounts=(), constraint="nonroot-v2", why="images of the team's own choice")
            for title in sorted(namespaces)
            if title.startswith("team-")
        ]
        for need in (*NEEDS, *teams):
            if need.namespace in namespaces:
                bind("openshift", need, after=namespaces[need.namespace], parent=parent)
        if self.routes_of and "istio-ingress" in namespaces:
            CustomResource(
                "openshift-route",
                api_version="route.openshift.io/v1",
                kind="Route",
                metadata=meta.ObjectMetaArgs(name="gateway", namespace="istio-ingress"),
                spec=route_spec(self.routes_of),
                opts=pulumi.ResourceOptions(parent=parent, depends_on=list(namespaces["istio-ingress"])),
            )


def route_spec(domain: str) -> dict[str, Any]:
    """Every host of the domain to the gateway, as it came in: the gateway ends TLS, as it does for a load balancer.

    The router must admit wildcards (``spec.routeAdmission.wildcardPolicy: WildcardsAllowed`` of its IngressController).
    """
    return {
        "host": f"wildcard.{domain}",
        "wildcardPolicy": "Subdomain",
        "to": {"kind": "Service", "name": "istio-ingress", "weight": 100},
        "port": {"targetPort": "https"},
        "tls": {"termination": "passthrough", "insecureEdgeTerminationPolicy": "Redirect"},
    }


@dataclass(frozen=True, kw_only=True)
class OpenShiftArgs:
    """What the cluster is given before the platform.

    Attributes:
        rooms: Namespaces of the foundation.
        settings: OpenShift's own.
        gpu_nodes: Nodes with GPUs.
    """

    rooms: Rooms
    settings: OpenShiftSettings
    gpu_nodes: int


class OpenShift(pulumi.ComponentResource):
    """Constraints for the stores, and NVIDIA's operator with its discovery, by OpenShift's own way of installing."""

    def __init__(self, name: str, args: OpenShiftArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:onprem:OpenShift", name, None, opts)
        for need in _FOUNDATION_NEEDS:
            if need.namespace in args.rooms.ready:
                bind(name, need, after=args.rooms.ready[need.namespace], parent=self)
        if args.gpu_nodes:
            self._gpus(name, args)
        self.register_outputs({})

    def _gpus(self, name: str, args: OpenShiftArgs) -> None:
        discovery = self._operator(
            f"{name}-discovery",
            package="nfd",
            namespace="openshift-nfd",
            channel="stable",
            catalogue="redhat-operators",
            gpus=0,
            labels=args.rooms.labels["privileged"],
        )
        found = CustomResource(
            f"{name}-discovery",
            api_version="nfd.openshift.io/v1",
            kind="NodeFeatureDiscovery",
            metadata=meta.ObjectMetaArgs(name="nfd-instance", namespace="openshift-nfd"),
            spec={"workerConfig": {"configData": ""}},
            opts=_eventually(self, discovery),
        )
        operator = self._operator(
            f"{name}-gpu-operator",
            package="gpu-operator-certified",
            namespace="nvidia-gpu-operator",
            channel=args.settings.gpu_operator_channel,
            catalogue="certified-operators",
            gpus=args.gpu_nodes,  # its validator tries one on each node
            labels=args.rooms.labels["privileged"],
        )
        CustomResource(
            f"{name}-gpus",
            api_version="nvidia.com/v1",
            kind="ClusterPolicy",
            metadata=meta.ObjectMetaArgs(name="gpu-cluster-policy"),
            spec=gpu_policy_spec(),
            opts=_eventually(self, operator, found),
        )

    def _operator(
        self,
        name: str,
        *,
        package: str,
        namespace: str,
        channel: str,
        catalogue: str,
        gpus: int,
        labels: Mapping[str, str],
    ) -> pulumi.Resource:
        """Subscribe to an operator; OpenShift installs it and keeps it up to date within its channel."""
        child = pulumi.ResourceOptions(parent=self)
        room = core.v1.Namespace(
            f"{name}-namespace",
            metadata=meta.ObjectMetaArgs(
                name=namespace,
                labels={**labels, "openshift.io/cluster-monitoring": "true"},
            ),
            opts=child,
        )
        after = pulumi.ResourceOptions(parent=self, depends_on=[room])
        core.v1.ResourceQuota(
            f"{name}-bound",
            metadata=meta.ObjectMetaArgs(name="bound", namespace=namespace),
            spec=core.v1.ResourceQuotaSpecArgs(hard={"requests.nvidia.com/gpu": str(gpus)}),
            opts=after,
        )
        group = CustomResource(
            f"{name}-group",
            api_version="operators.coreos.com/v1",
            kind="OperatorGroup",
            metadata=meta.ObjectMetaArgs(name=namespace, namespace=namespace),
            spec={"targetNamespaces": [namespace]},
            opts=after,
        )
        return CustomResource(
            f"{name}-subscription",
            api_version="operators.coreos.com/v1alpha1",
            kind="Subscription",
            metadata=meta.ObjectMetaArgs(name=package, namespace=namespace),
            spec={
                "name": package,
                "channel": channel,
                "source": catalogue,
                "sourceNamespace": "openshift-marketplace",
                "installPlanApproval": "Automatic",
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[group]),
        )


def _eventually(parent: pulumi.Resource, *after: pulumi.Resource) -> pulumi.ResourceOptions:
    """An object whose definition comes minutes after the subscription: its creation is tried again so long."""
    return pulumi.ResourceOptions(
        parent=parent, depends_on=list(after), custom_timeouts=pulumi.CustomTimeouts(create="20m")
    )


def gpu_policy_spec() -> dict[str, Any]:
    """Specification of the ClusterPolicy: driver, toolkit, device plugin, discovery and metrics on GPU nodes."""
    tolerations = [{"key": GPU_TAINT.key, "operator": "Exists", "effect": GPU_TAINT.effect}]
    on = {"enabled": True}
    return {
        "operator": {"defaultRuntime": "crio", "use_ocp_driver_toolkit": True},
        "daemonsets": {"tolerations": tolerations, "updateStrategy": "RollingUpdate"},
        "driver": on,
        "toolkit": on,
        "devicePlugin": on,
        "gfd": on,
        "dcgm": on,
        "dcgmExporter": {**on, "serviceMonitor": {"enabled": False}},
        "migManager": on,
        "nodeStatusExporter": on,
        "mig": {"strategy": "single"},
        "validator": {},
    }
