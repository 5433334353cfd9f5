"""What pods need to be clients of the stores: their keys, the store's address, and whom to trust.

On a cloud, its webhook writes into each pod what the identity of its service account needs. Here one mutating policy of
Kyverno does (docs/decisions/0016): whatever makes a pod (a chart, a workflow, an operator), the pod gets the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi
from pulumi_kubernetes import core
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.meta import v1 as meta

from components.charts import release
from components.contract import object_keys_secret
from components.onprem.names import KEYS_FILE, OPERATORS, TRUST
from components.onprem.rooms import Rooms

_TRUST_VOLUME: Final = "llmops-trust"
_TRUST_PATH: Final = "/etc/llmops-trust"
_KEYS_VOLUME: Final = "llmops-object-keys"
_KEYS_PATH: Final = "/etc/llmops-object-keys"
_FILE: Final = "ca.pem"
_PLATFORM: Final = {"app.kubernetes.io/part-of": "llmops"}
_WITHOUT: Final = "llmops/without-store-credentials"


@dataclass(frozen=True, kw_only=True)
class ClientsArgs:
    """What the policy needs.

    Attributes:
        rooms: Namespaces.
        endpoint: Host of the object store.
        region: What requests are signed for.
        highly_available: Several replicas of the webhook: without one no pod of the platform starts.
        node_selector: Nodes of the webhook.
    """

    rooms: Rooms
    endpoint: str
    region: str
    highly_available: bool
    node_selector: Mapping[str, str]


class Clients(pulumi.ComponentResource):
    """Kyverno, and its one policy."""

    ready: tuple[pulumi.Resource, ...]

    def __init__(self, name: str, args: ClientsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:onprem:Clients", name, None, opts)
        engine = release(
            f"{name}-release",
            "kyverno",
            release_name="kyverno",
            namespace=OPERATORS,
            values=values(args),
            parent=self,
            after=args.rooms.ready[OPERATORS],
        )
        policy = CustomResource(
            f"{name}-policy",
            api_version="policies.kyverno.io/v1",
            kind="MutatingPolicy",
            metadata=meta.ObjectMetaArgs(name="llmops-store-clients"),
            spec=policy_spec(args.endpoint, args.region),
            # The definition and the webhook come with the release.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[engine]),
        )
        self.ready = (policy,)
        self.register_outputs({})


def environment(endpoint: str, region: str) -> dict[str, str]:
    """Variables by which clients of S3 find a store that is no cloud's, and whom to trust."""
    url = f"https://{endpoint}"
    return {
        "AWS_ENDPOINT_URL_S3": url,  # AWS' SDKs, and boto3, which then names buckets in the path
        "AWS_ENDPOINT_URL": url,  # older ones, pyarrow and vLLM's streamer of weights
        "RUNAI_STREAMER_S3_USE_VIRTUAL_ADDRESSING": "0",
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_EC2_METADATA_DISABLED": "true",  # nobody answers there: asking costs seconds
        "AWS_SHARED_CREDENTIALS_FILE": f"{_KEYS_PATH}/{KEYS_FILE}",  # of pods that were granted something
        "AWS_CA_BUNDLE": f"{_TRUST_PATH}/{_FILE}",
        "SSL_CERT_FILE": f"{_TRUST_PATH}/{_FILE}",  # Go and OpenSSL, beside the image's own directory
    }


def policy_spec(endpoint: str, region: str) -> dict[str, Any]:
    """The mutation, in CEL. What a container says itself of these variables is replaced."""
    account = 'object.spec.?serviceAccountName.orValue("default")'
    secret = f'{account} + "{object_keys_secret("")}"'
    variables = [
        f"Object.spec.{{kind}}.env{{{{name: {json.dumps(key)}, value: {json.dumps(value)}}}}}"
        for key, value in environment(endpoint, region).items()
    ]
    parts = [
        _containers(kind, [one.format(kind=kind) for one in variables]) for kind in ("containers", "initContainers")
    ]
    # What to trust is not optional: the kubelet holds the pod back until it is there.
    trust = (
        f'Object.spec.volumes{{name: "{_TRUST_VOLUME}", configMap: Object.spec.volumes.configMap{{name: "{TRUST}"}}}}'
    )
    # A file and no variable: a reference from a variable to a Secret is atomic, and this kind of patch may not set it.
    keys = (
        f'Object.spec.volumes{{name: "{_KEYS_VOLUME}", '
        f"secret: Object.spec.volumes.secret{{secretName: {secret}, optional: true}}}}"
    )
    volume = f"volumes: [{trust}, {keys}]"
    return {
        "failurePolicy": "Fail",  # a pod without its keys would fail later, and less clearly
        "matchConstraints": {
            "namespaceSelector": {"matchLabels": _PLATFORM},
            "resourceRules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
            ],
        },
        "matchConditions": [
            {
                "name": "wanted",
                "expression": f'!("{_WITHOUT}" in object.metadata.?annotations.orValue({{}}))',
            }
        ],
        "mutations": [
            {
                "patchType": "ApplyConfiguration",
                "applyConfiguration": {"expression": f"Object{{spec: Object.spec{{{', '.join([*parts, volume])}}}}}"},
            }
        ],
    }


def _containers(kind: str, variables: Sequence[str]) -> str:
    mounts = ", ".join(
        f'Object.spec.{kind}.volumeMounts{{name: "{volume}", mountPath: "{path}", readOnly: true}}'
        for volume, path in ((_TRUST_VOLUME, _TRUST_PATH), (_KEYS_VOLUME, _KEYS_PATH))
    )
    listed = "object.spec.containers" if kind == "containers" else "object.spec.?initContainers.orValue([])"
    parts = f"name: c.name, env: [{', '.join(variables)}], volumeMounts: [{mounts}]"
    return f"{kind}: {listed}.map(c, Object.spec.{kind}{{{parts}}})"


def trust_in(
    namespaces: Mapping[str, Sequence[pulumi.Resource]], certificates: pulumi.Output[str], *, parent: pulumi.Resource
) -> dict[str, pulumi.Resource]:
    """What pods trust besides the public authorities, in each namespace."""
    return {
        title: core.v1.ConfigMap(
            f"trust-{title}",
            metadata=meta.ObjectMetaArgs(name=TRUST, namespace=title),
            data={_FILE: certificates},
            # The namespace.
            opts=pulumi.ResourceOptions(parent=parent, depends_on=list(there)),
        )
        for title, there in sorted(namespaces.items())
    }


def values(args: ClientsArgs) -> dict[str, Any]:
    """Values of the chart: its webhook alone; reports, clean-up and background changes are not used."""
    small = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}
    off = {"enabled": False}
    return {
        "admissionController": {
            "replicas": 3 if args.highly_available else 1,
            "nodeSelector": dict(args.node_selector),
            "container": {"resources": small},
            "initContainer": {"resources": small},
            "podDisruptionBudget": {"enabled": args.highly_available},
        },
        "backgroundController": off,
        "cleanupController": off,
        "reportsController": off,
        "features": {"admissionReports": off, "backgroundScan": off, "policyReports": off},
        # Only pods of the platform's namespaces are asked about: whatever else the cluster runs does not depend on it.
        "config": {"webhooks": {"namespaceSelector": {"matchLabels": _PLATFORM}}},
    }
