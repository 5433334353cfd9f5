"""Values of the Argo CD chart: sizes, configuration, and what its service accounts may do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import yaml

from components.contract import NodePool
from components.platform.placement import SPREAD
from components.platform.projects import policy_csv
from components.platform.site import Site
from components.settings.platform.delivery import SSO_ENTRY, SsoSettings

REDIS_SECRET: Final = "argocd-redis"  # the chart knows no other name

# Sentinels agree by majority: with fewer hosts, two of the three can be lost together.
_REDIS_HOSTS: Final = 3

_ALL: Final = ["*"]
_READ: Final = ["get", "list", "watch"]
_WRITE: Final = ["create", "update", "patch", "delete"]

# API groups of what workloads are made of; with `*` for resources, because a group's kinds grow with each version.
_WORKLOAD_GROUPS: Final = (
    "apps",
    "autoscaling",
    "batch",
    "batch.volcano.sh",
    "gateway.networking.k8s.io",
    "inference.networking.k8s.io",
    "jobset.x-k8s.io",
    "keda.sh",
    "kubeflow.org",
    "leaderworkerset.x-k8s.io",
    "milvus.io",
    "monitoring.coreos.com",
    "networking.istio.io",
    "networking.k8s.io",
    "policy",
    "ray.io",
    "scheduling.volcano.sh",
    "security.istio.io",
    "serving.kserve.io",
    "trainer.kubeflow.org",
)
_CORE_KINDS: Final = (
    "configmaps",
    "persistentvolumeclaims",
    "persistentvolumes",
    "pods",
    "serviceaccounts",
    "services",
)


def redis_is_replicated(site: Site) -> bool:
    """Whether there are always enough system nodes for three Redis servers on three of them.

    With fewer, a single one is as good: it is a cache, which the controllers fill again after a restart.
    """
    return site.highly_available and _always_there(site.foundation.cluster.pools) >= _REDIS_HOSTS


def _always_there(pools: tuple[NodePool, ...]) -> int:
    return sum(pool.min_size for pool in pools if pool.role == "system")


def values(site: Site) -> dict[str, Any]:
    """Values of the chart."""
    several = site.highly_available
    replicated = redis_is_replicated(site)
    stateless: dict[str, Any] = {
        "replicas": site.replicas,
        "pdb": {"enabled": several, "maxUnavailable": 1},
    }
    return {
        "global": {
            # Without a name of its own it is reached through a port-forward.
            "domain": site.settings.delivery.host or "localhost:8080",
            "logging": {"format": "json"},
            "nodeSelector": site.system_nodes,
            "topologySpreadConstraints": SPREAD if several else [],
            # The platform's own policies close and open every namespace.
            "networkPolicy": {"create": False},
        },
        "configs": _configuration(site),
        # One replica also where the rest has two: replicas share out clusters, and there is one cluster. Whoever takes
        # its place reads the whole state anew, within a minute or two.
        "controller": {
            "replicas": 1,
            "resources": _resources("250m", "768Mi", limit="2Gi"),
            "envFrom": _AFTER_THE_REDIS_SECRET,
            "clusterRoleRules": {"enabled": True, "rules": controller_rules()},
        },
        "server": {
            **stateless,
            "resources": _resources("50m", "128Mi", limit="512Mi"),
            "envFrom": _AFTER_THE_REDIS_SECRET,
            "clusterRoleRules": {"enabled": True, "rules": server_rules()},
        },
        "repoServer": {
            **stateless,
            "resources": _resources("100m", "256Mi", limit="1Gi"),
            "copyutil": {"resources": _resources("10m", "32Mi", limit="128Mi")},
            "envFrom": _AFTER_THE_REDIS_SECRET,
            # Renders what comes from Git: no token of the API server within its reach.
            "automountServiceAccountToken": False,
            "serviceAccount": {"automountServiceAccountToken": False},
        },
        "applicationSet": {
            **stateless,
            "resources": _resources("50m", "128Mi", limit="512Mi"),
            "livenessProbe": {"enabled": True},
            "readinessProbe": {"enabled": True},
        },
        "redis": {
            "resources": _resources("50m", "64Mi", limit="256Mi"),
            "livenessProbe": {"enabled": True},
            "readinessProbe": {"enabled": True},
            "automountServiceAccountToken": False,
        },
        "redis-ha": _replicated_redis(site) if replicated else {"enabled": False},
        # The password is in the secret store; a Job of the chart would make another one.
        "redisSecretInit": {"enabled": False},
        "dex": {"enabled": False},  # it would only stand between Argo CD and an issuer that speaks OpenID Connect
        "notifications": {"enabled": False},
    }


# Without the Job above the chart calls the password optional: a pod that starts before the Secret is there would go on
# without it, and be refused by Redis until somebody restarts it. Naming the Secret once more makes it wait.
_AFTER_THE_REDIS_SECRET: Final = [{"prefix": "REDIS_SECRET_", "secretRef": {"name": REDIS_SECRET}}]


def _configuration(site: Site) -> dict[str, Any]:
    delivery = site.settings.delivery
    settings: dict[str, Any] = {
        "admin.enabled": delivery.local_admin,
        # The controller's role leaves kinds out; it must pass them over instead of giving up.
        "resource.respectRBAC": "normal",
        "resource.exclusions": yaml.safe_dump(_EXCLUDED, sort_keys=False),
        # To try another revision than the declared one is a right of its own.
        "application.sync.requireOverridePrivilegeForRevisionSync": True,
    }
    if delivery.sso:
        settings["oidc.config"] = oidc_config(delivery.sso)
    return {
        "cm": settings,
        "params": {
            "server.insecure": True,  # TLS ends at the gateway; behind it the mesh encrypts
            "controller.diff.server.side": True,  # objects are compared as the API server would store them
            "reposerver.parallelism.limit": 2,  # renderings at a time, each with its own memory
        },
        "rbac": {
            "policy.default": "",  # who is in no group sees nothing
            "policy.csv": policy_csv(site),
            "scopes": f"[{delivery.sso.groups_claim}]" if delivery.sso else "[groups]",
        },
        "secret": {"createSecret": False},
    }


def oidc_config(sso: SsoSettings) -> str:
    """The issuer, as Argo CD reads it; the client secret stays in its Secret."""
    return yaml.safe_dump(
        {
            "name": sso.name,
            "issuer": sso.issuer,
            "clientID": sso.client_id,
            "clientSecret": f"${SSO_ENTRY}:clientSecret",
            "requestedScopes": list(sso.scopes),
            "requestedIDTokenClaims": {sso.groups_claim: {"essential": True}},
        },
        sort_keys=False,
    )


_EXCLUDED: Final[list[Mapping[str, Any]]] = [
    # Nothing from Git is a Secret, and the controller has no right to read any outside its namespace.
    {"apiGroups": [""], "kinds": ["Secret"]},
    # What the control plane and controllers write all the time.
    {"apiGroups": ["", "discovery.k8s.io"], "kinds": ["Endpoints", "EndpointSlice"]},
    {"apiGroups": ["coordination.k8s.io"], "kinds": ["Lease"]},
    {"apiGroups": ["", "events.k8s.io"], "kinds": ["Event"]},
    {"apiGroups": ["authentication.k8s.io", "authorization.k8s.io"], "kinds": ["*"]},
    {"apiGroups": ["metrics.k8s.io", "custom.metrics.k8s.io", "external.metrics.k8s.io"], "kinds": ["*"]},
    {
        "apiGroups": ["cert-manager.io", "certificates.k8s.io"],
        "kinds": ["CertificateRequest", "CertificateSigningRequest"],
    },
]


def controller_rules() -> list[dict[str, Any]]:
    """What the application controller may do in the cluster, instead of the chart's everything.

    The projects say who may deliver what; this is the outer limit, which holds even against a broken project: no
    Secrets, no namespaces, no nodes, no roles for the whole cluster, no definitions.
    """
    return [
        {"apiGroups": list(_WORKLOAD_GROUPS), "resources": _ALL, "verbs": [*_READ, *_WRITE]},
        {"apiGroups": [""], "resources": list(_CORE_KINDS), "verbs": [*_READ, *_WRITE]},
        {"apiGroups": ["external-secrets.io"], "resources": ["externalsecrets"], "verbs": [*_READ, *_WRITE]},
        # Kubernetes itself refuses to grant more than the granter has.
        {
            "apiGroups": ["rbac.authorization.k8s.io"],
            "resources": ["roles", "rolebindings"],
            "verbs": [*_READ, *_WRITE],
        },
        {"apiGroups": [""], "resources": ["namespaces", "limitranges", "resourcequotas"], "verbs": _READ},
        # New kinds are noticed by their definitions.
        {"apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"], "verbs": _READ},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
    ]


def server_rules() -> list[dict[str, Any]]:
    """What the user interface may do in people's name: look, read logs, restart; changes are made in Git."""
    return [
        {"apiGroups": list(_WORKLOAD_GROUPS), "resources": _ALL, "verbs": ["get"]},
        {"apiGroups": [""], "resources": [*_CORE_KINDS, "pods/log"], "verbs": ["get"]},
        {"apiGroups": ["external-secrets.io"], "resources": ["externalsecrets"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["list"]},
        {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets", "daemonsets"], "verbs": ["patch"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["delete"]},
    ]


def _replicated_redis(site: Site) -> dict[str, Any]:
    """Three servers with sentinels behind three proxies, each on its own host."""
    small = _resources("20m", "32Mi", limit="64Mi")
    return {
        "enabled": True,
        "nodeSelector": site.system_nodes,
        "init": {"resources": small},
        "redis": {"resources": _resources("50m", "64Mi", limit="256Mi")},
        "sentinel": {"resources": small},
        "splitBrainDetection": {"resources": small},
        "podDisruptionBudget": {"maxUnavailable": 1},
        "haproxy": {
            "nodeSelector": site.system_nodes,
            "init": {"resources": small},
            "resources": _resources("25m", "64Mi", limit="256Mi"),
            "podDisruptionBudget": {"maxUnavailable": 1},
            "serviceAccount": {"automountToken": False},
        },
    }


def _resources(cpu: str, memory: str, *, limit: str) -> dict[str, Any]:
    """Requests and the memory limit; without a CPU limit, which would slow down a sync while the node is idle."""
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": limit}}
