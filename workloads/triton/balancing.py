"""Requests of one model, balanced over its servers by how many each is busy with.

Between pods of the mesh it is connections that are shared out, and a connection of the activator or of the model
gateway carries one request after another. A waypoint of the mesh sees the requests: it stands in front of one service,
and nothing that calls the service knows of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.core import v1 as core
from pulumi_kubernetes.meta import v1 as meta

from components.platform.inference import ModelServer
from components.platform.mesh import NETWORKING_API
from components.platform.names import name_of
from components.platform.placement import spread
from components.platform.site import Site

GATEWAY_API: Final = "gateway.networking.k8s.io/v1"

USED: Final = "istio.io/use-waypoint"
"""Label of a service: which waypoint stands in front of it."""

_TUNNEL: Final = 15008
_PROXY: Final = "istio-proxy"


def waypoint_of(name: str) -> str:
    """Name of the waypoint of a model."""
    return f"{name}-waypoint"


def gateway_of(parameters: pulumi.Input[str]) -> dict[str, Any]:
    """Specification of the waypoint; istiod makes its Deployment."""
    return {
        "gatewayClassName": "istio-waypoint",
        "listeners": [{"name": "mesh", "port": _TUNNEL, "protocol": "HBONE"}],
        "infrastructure": {"parametersRef": {"group": "", "kind": "ConfigMap", "name": parameters}},
    }


def parameters_of(name: str, *, site: Site) -> Mapping[str, str]:
    """What istiod puts over the Deployment that it makes: two proxies, as restricted as its namespace asks for."""
    labels = {"gateway.networking.k8s.io/gateway-name": waypoint_of(name)}
    deployment = {
        "spec": {
            "replicas": site.replicas,
            "template": {
                "spec": {
                    "priorityClassName": "serving",
                    "nodeSelector": site.system_nodes,
                    "topologySpreadConstraints": spread(labels) if site.highly_available else [],
                    "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
                    "containers": [
                        {
                            "name": _PROXY,
                            "resources": {
                                "requests": {"cpu": "25m", "memory": "96Mi"},
                                "limits": {"cpu": "1", "memory": "256Mi"},  # its threads follow its limit
                            },
                        }
                    ],
                }
            },
        }
    }
    budget = {"spec": {"maxUnavailable": 1, "selector": {"matchLabels": labels}}}
    return {
        "deployment": json.dumps(deployment),
        **({"podDisruptionBudget": json.dumps(budget)} if site.highly_available else {}),
    }


def rule_of(wanted: ModelServer) -> dict[str, Any]:
    """Of two servers the one with fewer requests under way gets the next."""
    return {
        "host": f"{wanted.target}.{wanted.namespace}.svc.cluster.local",
        "trafficPolicy": {"loadBalancer": {"simple": "LEAST_REQUEST"}},
    }


def balanced(
    name: str, wanted: ModelServer, *, site: Site, parent: pulumi.Resource, after: Sequence[pulumi.Resource]
) -> tuple[pulumi.Resource, ...]:
    """Declare the waypoint of a model.

    Args:
        name: Prefix of the Pulumi resources.
        wanted: The model's servers; :data:`USED` is one of their labels.
        site: Where they are.
        parent: The model's component.
        after: The definitions of the Gateway API, the mesh, the namespace.
    """
    options = pulumi.ResourceOptions(parent=parent, depends_on=list(after))

    def place(title: str, **more: str) -> meta.ObjectMetaArgs:
        return meta.ObjectMetaArgs(name=title, namespace=wanted.namespace, labels={**wanted.labels, **more})

    title = waypoint_of(wanted.name)
    parameters = core.ConfigMap(
        f"{name}-waypoint", metadata=place(title), data=parameters_of(wanted.name, site=site), opts=options
    )
    gateway = CustomResource(
        f"{name}-waypoint",
        api_version=GATEWAY_API,
        kind="Gateway",
        metadata=place(title, **{"istio.io/waypoint-for": "service"}),
        spec=gateway_of(name_of(parameters)),
        opts=options,
    )
    rule = CustomResource(
        f"{name}-balance",
        api_version=NETWORKING_API,
        kind="DestinationRule",
        metadata=place(wanted.target),
        spec=rule_of(wanted),
        opts=options,
    )
    return (gateway, rule)
