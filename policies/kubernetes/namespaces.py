"""Namespaces: closed, bounded, in the mesh, and somebody's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from pulumi_policy import Severity
from pydantic import Field

from policies.objects import NAMESPACE, Namespaces, label, object_name
from policies.registry import Context, Control, Finding, PolicyConfig, Rule, pod_security
from policies.view import UNKNOWN, Resource, at, mapping

NETWORK_POLICY: Final = "kubernetes:networking.k8s.io/v1:NetworkPolicy"
QUOTA: Final = "kubernetes:core/v1:ResourceQuota"
LIMITS: Final = "kubernetes:core/v1:LimitRange"


_SELECTOR: Final = ("spec", "podSelector")


def _selects_all(policy: Resource) -> bool:
    selector = policy.get(*_SELECTOR)
    return selector is None or (isinstance(selector, dict) and not any(mapping(policy.get(*_SELECTOR)).values()))


def _denies(policy: Resource, direction: str) -> bool:
    """Whether a policy closes a direction for all pods of its namespace and opens nothing in it."""
    types = policy.items("spec", "policyTypes") or ["Ingress"]
    return direction in types and _selects_all(policy) and not policy.items("spec", direction.lower())


class ClosedConfig(PolicyConfig):
    """Network policies.

    Attributes:
        open: Reason by name of each namespace that somebody else's operator fills, whose ways are not known here.
    """

    open: dict[str, str] = Field(default_factory=dict[str, str])


def _closed(resources: Sequence[Resource], context: Context) -> Iterator[Finding]:
    if not context.settings.platform.isolation.network_policies:
        return  # a cluster whose network plugin enforces none
    namespaces = Namespaces(resources)
    policies = [resource for resource in resources if resource.type == NETWORK_POLICY]
    for namespace in (one for one in namespaces.all if object_name(one) not in context.config.open):
        mine = [policy for policy in policies if object_name(namespace) in namespaces.of(policy)]
        for direction in ("Ingress", "Egress"):
            if not any(_denies(policy, direction) for policy in mine):
                yield Finding(f"no NetworkPolicy denies all {direction.lower()} by default", namespace)


def _bounded(resources: Sequence[Resource], _context: Context) -> Iterator[Finding]:
    namespaces = Namespaces(resources)
    for namespace in namespaces.all:
        mine = [resource for resource in resources if object_name(namespace) in namespaces.of(resource)]
        quotas = [one for one in mine if one.type == QUOTA and not one.get("spec", "scopeSelector")]
        if not any(one.get("spec", "hard") for one in quotas):
            yield Finding("no ResourceQuota bounds what it may ask for", namespace)
        elif not any("requests.nvidia.com/gpu" in (one.get("spec", "hard") or {}) for one in quotas):
            yield Finding("its ResourceQuota does not count requests.nvidia.com/gpu: it may take all GPUs", namespace)
    for limits in (resource for resource in resources if resource.type == LIMITS):
        for one in limits.items("spec", "limits"):
            named = [key for key in ("max", "default", "defaultRequest") if at(one, key, "nvidia.com/gpu") is not None]
            if named:
                yield Finding(f"{', '.join(named)} must not name nvidia.com/gpu: every pod would ask for GPUs", limits)


class LevelConfig(PolicyConfig):
    """Pod Security levels.

    Attributes:
        privileged: Reason by name of each namespace that may have level ``privileged``.
    """

    privileged: dict[str, str] = Field(
        default_factory=lambda: {
            "gpu-system": "the device plugin registers with the kubelet; the exporter reads devices",
            "istio-system": "the CNI agent and ztunnel work on the node's network",
            "monitoring": "node exporter and log collector read files of the node",
        }
    )


_ENFORCE: Final = "pod-security.kubernetes.io/enforce"


def _pod_security_level(resource: Resource, context: Context) -> Iterator[str]:
    level = label(resource, _ENFORCE)
    if level is None:
        yield f"label {_ENFORCE} must say which pods are admitted"
    elif level == "privileged" and object_name(resource) not in context.config.privileged:
        named = ", ".join(context.config.privileged) or "none"
        yield f"{_ENFORCE} must be baseline or restricted; privileged are {named}"


class MeshConfig(PolicyConfig):
    """The mesh.

    Attributes:
        outside: Reason by name of each namespace that is not in it.
    """

    outside: dict[str, str] = Field(
        default_factory=lambda: (
            dict.fromkeys(
                ("cert-manager", "external-secrets", "keda", "kserve", "kubeflow-system", "volcano-system"),
                "the API server calls its webhooks, and has no identity in the mesh",
            )
            | {
                "gpu-system": "its pods speak to the kubelet and are scraped, no more",
                "istio-ingress": "the gateway is a proxy of the mesh by itself",
                "istio-system": "the mesh's own control plane",
                "velero": "it speaks to the API server and the object store, no more",
            }
        )
    )


_MESH: Final = "istio.io/dataplane-mode"


def _in_the_mesh(resource: Resource, context: Context) -> Iterator[str]:
    if label(resource, _MESH) in ("ambient", UNKNOWN) or label(resource, "istio-injection") == "enabled":
        return
    if object_name(resource) not in context.config.outside:
        yield f"label {_MESH} must be ambient; outside the mesh are {', '.join(context.config.outside) or 'none'}"


OWNER: Final = "llmops/owner"
TEAM: Final = "llmops/team"


def _somebodys(resource: Resource, context: Context) -> Iterator[str]:
    name: Any = object_name(resource)
    if not label(resource, OWNER) and label(resource, OWNER) is not UNKNOWN:
        yield f"label {OWNER} must name the team that answers for it"
    if isinstance(name, str) and name.startswith("team-"):
        team = name.removeprefix("team-")
        if label(resource, TEAM) != team:
            yield f"label {TEAM} must be {team}"
        if team not in [one.name for one in context.settings.teams]:
            yield f"there is no team {team} in the settings"


RULES: Final = (
    Rule(
        name="namespaces-closed", group="kubernetes", severity=Severity.HIGH, types=(NAMESPACE, NETWORK_POLICY),
        stack=_closed, config=ClosedConfig,
        control=Control(standard="CIS Kubernetes Benchmark", version="1.8", reference="5.3.2"),
        description="Every namespace is closed in both directions but for what is opened by name.",
    ),
    Rule(
        name="namespaces-bounded", group="kubernetes", severity=Severity.HIGH, types=(NAMESPACE, QUOTA, LIMITS),
        stack=_bounded,
        description="Every namespace has a ResourceQuota that counts GPUs; no LimitRange hands GPUs out.",
    ),
    Rule(
        name="pod-security-level", group="kubernetes", severity=Severity.HIGH, types=(NAMESPACE,),
        resource=_pod_security_level, config=LevelConfig, control=pod_security("levels"),
        description="Every namespace has a Pod Security level, privileged only those of a named list.",
    ),
    Rule(
        name="mesh-membership", group="kubernetes", severity=Severity.MEDIUM, types=(NAMESPACE,), resource=_in_the_mesh,
        config=MeshConfig,
        description="Every namespace is in the mesh, or on the list of those that are not.",
    ),
    Rule(
        name="namespace-owner", group="kubernetes", severity=Severity.MEDIUM, types=(NAMESPACE,), resource=_somebodys,
        description="Every namespace is somebody's.",
    ),
)  # fmt: skip
