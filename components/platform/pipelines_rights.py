"""Kubeflow Pipelines: what its accounts, its steps and its people may do in the cluster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import pulumi
from pulumi_kubernetes import rbac
from pulumi_kubernetes.meta import v1 as meta

from components.platform.names import name_of
from components.platform.openings import Namespace
from components.platform.pipelines_manifests import (
    AGENT,
    API_SERVER,
    LAUNCHER,
    NAMESPACE,
    RUNNER,
    SCHEDULER,
    USER_INTERFACE,
)

_RBAC: Final = "rbac.authorization.k8s.io"


def bound(
    name: str,
    title: str,
    namespace: str,
    rules: Sequence[rbac.v1.PolicyRuleArgs],
    subject: rbac.v1.SubjectArgs,
    opts: pulumi.ResourceOptions,
) -> tuple[pulumi.Resource, ...]:
    """Make a role in a namespace and give it to somebody; both are called ``title`` there."""
    metadata = meta.ObjectMetaArgs(name=title, namespace=namespace)
    role = rbac.v1.Role(name, metadata=metadata, rules=list(rules), opts=opts)
    return (
        rbac.v1.RoleBinding(
            name,
            metadata=metadata,
            role_ref=rbac.v1.RoleRefArgs(api_group=_RBAC, kind="Role", name=name_of(role)),
            subjects=[subject],
            opts=opts,
        ),
    )


def account(name: str, namespace: str = NAMESPACE) -> rbac.v1.SubjectArgs:
    """A service account as the holder of a role."""
    return rbac.v1.SubjectArgs(kind="ServiceAccount", name=name, namespace=namespace)


def group(name: str) -> rbac.v1.SubjectArgs:
    """People as the holders of a role."""
    return rbac.v1.SubjectArgs(kind="Group", name=name, api_group=_RBAC)


def may(
    group: str, resources: Iterable[str], verbs: Iterable[str], names: Iterable[str] = ()
) -> rbac.v1.PolicyRuleArgs:
    """One rule of a role; ``names`` restricts it to objects of that name."""
    return rbac.v1.PolicyRuleArgs(
        api_groups=[group], resources=list(resources), verbs=list(verbs), resource_names=list(names) or None
    )


READ: Final = ("get", "list", "watch")
WRITE: Final = ("create", "delete", "get", "list", "patch", "update", "watch")
_SCHEDULED: Final = ("scheduledworkflows", "scheduledworkflows/finalizers")

SERVER_RIGHTS: Final = (
    may("argoproj.io", ("workflows",), WRITE),
    may("kubeflow.org", _SCHEDULED, WRITE),
    may("", ("configmaps",), ("get",), (LAUNCHER,)),
)
"""What the API server does wherever pipelines run, besides what it does with pods."""

SCHEDULER_RIGHTS: Final = (
    may("argoproj.io", ("workflows",), WRITE),
    may("kubeflow.org", _SCHEDULED, WRITE),
    may("", ("events",), ("create", "patch")),
)
"""What the controller of recurring runs does wherever pipelines run."""

RUNNER_RIGHTS: Final = (
    may("argoproj.io", ("workflowtaskresults",), ("create", "patch")),
    may("", ("configmaps",), ("get",), (LAUNCHER,)),
    may("", ("pods",), ("get",)),  # a step finds out its own place
    may("", ("persistentvolumeclaims",), ("create", "get", "delete")),  # volumes that a pipeline makes
)
"""What steps do in their own namespace."""

_INTERFACE_RIGHTS: Final = (
    may("", ("pods", "pods/log"), ("get",)),
    may("", ("events",), ("list",)),
    may("", ("configmaps",), ("get",), (LAUNCHER,)),
    may("argoproj.io", ("workflows",), ("get", "list")),
)

STEP_RIGHTS: Final[Mapping[Namespace, tuple[rbac.v1.PolicyRuleArgs, ...]]] = {
    "mlops-training": (
        may("kubeflow.org", ("pytorchjobs",), WRITE),
        may("trainer.kubeflow.org", ("trainjobs",), WRITE),
        may("", ("pods", "pods/log"), READ),
    ),
    "mlops-data": (
        may("ray.io", ("rayjobs",), WRITE),
        may("", ("pods", "pods/log"), READ),
    ),
}
"""What steps may do in other namespaces: start jobs there, and watch them."""

USER_RIGHTS: Final = (
    may("", ("events", "pods", "services"), READ),
    may("", ("pods/log",), ("get",)),
    may("", ("pods/portforward",), ("get", "create")),
    may("argoproj.io", ("workflows",), READ),
    may("kubeflow.org", ("scheduledworkflows",), READ),
)
"""What ML engineers may do in the namespace of pipelines: forward a port to the API, and look."""


def rights(*, multi_user: bool) -> Mapping[str, tuple[rbac.v1.PolicyRuleArgs, ...]]:
    """Rights of each account in the namespace of pipelines.

    Less than what is published: no Secrets for anybody, no rights on all of a group, nothing for parts that are left
    out. With several users the API server reads no logs: whoever knows the number of a run would get them from it.
    """
    logs = () if multi_user else ("pods/log",)
    return {
        API_SERVER: (may("", ("pods", *logs), ("get", "list", "delete")), *SERVER_RIGHTS),
        AGENT: (
            may("argoproj.io", ("workflows",), READ),
            may("kubeflow.org", ("scheduledworkflows",), READ),
        ),
        SCHEDULER: SCHEDULER_RIGHTS,
        **({} if multi_user else {USER_INTERFACE: _INTERFACE_RIGHTS}),
        RUNNER: RUNNER_RIGHTS,
    }
