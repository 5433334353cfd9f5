"""How logs are collected: Alloy on every node, and one that watches the cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pulumi

from components.contract import AuditLog
from components.platform.observability.alloy import cluster_configuration, node_configuration
from components.platform.site import Site

NODE_RELEASE: Final = "alloy"
"""The agents: one on every node."""

CLUSTER_RELEASE: Final = "alloy-cluster"
"""The one that watches the cluster; also its service account."""

PORT: Final = 12345
"""Metrics and readiness of both."""

_STATE: Final = "/var/lib/alloy"


def audit_log(site: Site) -> AuditLog | None:
    """The record of API calls that is collected; none where the settings or the foundation have none."""
    return site.foundation.cluster.audit_log if site.settings.logs.audit else None


def watches_cluster(site: Site) -> bool:
    """Whether there is anything to collect that belongs to no node."""
    return site.settings.logs.events or audit_log(site) is not None


# Log files belong to root, and nobody else may read them. Of root's rights it keeps none but that.
_AS_ROOT: Final[Mapping[str, Any]] = {"runAsUser": 0, "runAsGroup": 0}
_AS_ITSELF: Final[Mapping[str, Any]] = {
    "runAsNonRoot": True,
    "runAsUser": 473,
    "runAsGroup": 473,
}  # the image's `alloy`
_WATCH: Final = ("get", "list", "watch")
_METRICS: Final = {"nonResourceURLs": ["/metrics"], "verbs": ["get"]}
_TMP: Final = {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}
_TMP_MOUNT: Final = {"name": "tmp", "mountPath": "/tmp"}


def node_values(site: Site, push_url: str) -> dict[str, Any]:
    """Values of the agents.

    Positions are kept on the node: a new agent goes on where the last one stopped, and neither loses nor repeats lines.
    """
    return {
        **_common(watched=("pods",)),
        "controller": {
            "type": "daemonset",
            "tolerations": [{"operator": "Exists"}],
            "priorityClassName": "platform-critical",
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}},
            "volumes": {
                "extra": [{"name": "state", "hostPath": {"path": _STATE, "type": "DirectoryOrCreate"}}, _TMP],
            },
        },
        "alloy": {
            **_agent(node_configuration(site.settings.logs, push_url), user=_AS_ROOT),
            "storagePath": _STATE,
            "mounts": {"varlog": True, "extra": [{"name": "state", "mountPath": _STATE}, _TMP_MOUNT]},
            "resources": {"requests": {"cpu": "60m", "memory": "176Mi"}, "limits": {"memory": "512Mi"}},
        },
    }


def cluster_values(
    site: Site, push_url: str, annotations: Mapping[str, pulumi.Input[str]] | None = None
) -> dict[str, Any]:
    """Values of the one that watches the cluster; two of them would collect everything twice.

    Args:
        site: Where it is installed.
        push_url: Where lines go.
        annotations: Of its service account: the identity that reads the record of API calls.
    """
    audit = audit_log(site)
    return {
        **_common(watched=("events",)),
        "serviceAccount": {"name": CLUSTER_RELEASE, "annotations": dict(annotations or {})},
        "controller": {
            "type": "deployment",
            "replicas": 1,
            "nodeSelector": site.system_nodes,
            "volumes": {"extra": [_TMP]},
        },
        "alloy": {
            **_agent(cluster_configuration(site.settings.logs, push_url, audit), user=_AS_ITSELF),
            # What reads the record of API calls is experimental in Alloy: nothing else runs in this process.
            **({"stabilityLevel": "experimental"} if audit is not None else {}),
            "mounts": {"extra": [_TMP_MOUNT]},
            "resources": {"requests": {"cpu": "50m", "memory": "160Mi"}, "limits": {"memory": "512Mi"}},
        },
    }


def _common(watched: Sequence[str]) -> dict[str, Any]:
    return {
        "crds": {"create": False},
        # Not the chart's rules, by which it could read every Secret of the cluster.
        "rbac": {
            "rules": [{"apiGroups": [""], "resources": list(watched), "verbs": list(_WATCH)}],
            "clusterRules": [_METRICS],
        },
        "configReloader": {"enabled": False},  # another configuration, other pods
    }


def _agent(configuration: str, *, user: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "configMap": {"content": configuration},
        "enableReporting": False,
        "securityContext": {
            **user,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
