"""External Secrets: credentials go from the cloud's store into the cluster, past the program and its state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

import pulumi
from pulumi_kubernetes import rbac
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.meta import v1 as meta

from components.charts import release
from components.contract import SecretGrant, SecretRef, SecretStore
from components.platform.names import name_of
from components.platform.openings import SCRAPER, Namespace, Opening, Pods
from components.platform.placement import SPREAD
from components.platform.priorities import PriorityName
from components.platform.site import Site

STORE: Final = "platform"
"""Name of the ClusterSecretStore that every ExternalSecret reads."""

API: Final = "external-secrets.io/v1"

_NAMESPACE: Final = "external-secrets"
_SERVICE_ACCOUNT: Final = "external-secrets"
_CONTROLLER = Pods(namespace=_NAMESPACE, labels={"app.kubernetes.io/name": "external-secrets"})
_WEBHOOK = Pods(namespace=_NAMESPACE, labels={"app.kubernetes.io/name": "external-secrets-webhook"})
_CERT_CONTROLLER = Pods(namespace=_NAMESPACE, labels={"app.kubernetes.io/name": "external-secrets-cert-controller"})
_METRICS_PORT = 8080
_PRIORITY: PriorityName = "platform-critical"

OPENINGS: tuple[Opening, ...] = (
    Opening(
        source=Pods(namespace=_NAMESPACE),
        target="api-server",
        ports=(443,),
        why="All three watch their objects; the controller writes Secrets.",
    ),
    Opening(
        source=_CONTROLLER,
        target="cloud-apis",
        ports=(443,),
        why="Values are read from the secret store, with a token of the token service.",
    ),
    Opening(
        source="control-plane",
        target=_WEBHOOK,
        ports=(10250,),
        why="The API server asks before it stores an ExternalSecret or a store, and before it deletes one.",
    ),
    *(
        Opening(source=SCRAPER, target=pods, ports=(_METRICS_PORT,), why="Metrics: failed refreshes must be seen.")
        for pods in (_CONTROLLER, _WEBHOOK, _CERT_CONTROLLER)
    ),
)
"""What External Secrets needs to reach, and who reaches it."""


@dataclass(frozen=True, kw_only=True)
class SecretSyncArgs:
    """What the operator needs.

    Attributes:
        site: Where it is installed.
        entries: Entries of the secret store that any system reads; the operator's identity can read these and no
            others.
    """

    site: Site
    entries: Sequence[str]


class SecretSync(pulumi.ComponentResource):
    """The operator, and the one store that it reads."""

    ready: tuple[pulumi.Resource, ...]

    def __init__(self, name: str, args: SecretSyncArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:platform:SecretSync", name, None, opts)
        site = args.site
        entries = tuple(sorted(set(args.entries)))
        for entry in entries:
            reference(site, entry)

        identity = site.foundation.identity.grant(
            name,
            namespace=_NAMESPACE,
            service_account=_SERVICE_ACCOUNT,
            grants=[SecretGrant(entries=entries)] if entries else [],
            parent=self,
        )
        operator = release(
            f"{name}-release",
            "external-secrets",
            release_name="external-secrets",
            namespace=_NAMESPACE,
            values=values(site, identity.annotations),
            parent=self,
            after=(*site.namespaces[_NAMESPACE], *identity.ready),
        )
        tokens = self._may_ask_for_its_own_tokens(name, site)
        store = CustomResource(
            f"{name}-store",
            api_version=API,
            kind="ClusterSecretStore",
            metadata=meta.ObjectMetaArgs(name=STORE),
            spec={
                "provider": provider_of(site.foundation.secrets),
                # Not the teams': whoever may create an ExternalSecret in a namespace named here can read any entry.
                "conditions": [{"namespaces": sorted(get_args(Namespace))}],
            },
            # The definition and the webhook come with the release; without the token the store reports an error, and
            # is tried again only minutes later.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[operator, tokens]),
        )
        self.ready = (store,)
        self.register_outputs({})

    def _may_ask_for_its_own_tokens(self, name: str, site: Site) -> pulumi.Resource:
        """Let the operator make tokens of its own service account; the chart's rule would be for every one."""
        child = pulumi.ResourceOptions(parent=self, depends_on=list(site.namespaces[_NAMESPACE]))
        metadata = meta.ObjectMetaArgs(name="external-secrets-token", namespace=_NAMESPACE)
        role = rbac.v1.Role(
            f"{name}-token",
            metadata=metadata,
            rules=[
                rbac.v1.PolicyRuleArgs(
                    api_groups=[""],
                    resources=["serviceaccounts/token"],
                    resource_names=[_SERVICE_ACCOUNT],
                    verbs=["create"],
                )
            ],
            opts=child,
        )
        return rbac.v1.RoleBinding(
            f"{name}-token",
            metadata=metadata,
            role_ref=rbac.v1.RoleRefArgs(
                api_group="rbac.authorization.k8s.io",
                kind="Role",
                name=name_of(role),
            ),
            subjects=[rbac.v1.SubjectArgs(kind="ServiceAccount", name=_SERVICE_ACCOUNT, namespace=_NAMESPACE)],
            opts=child,
        )


def external_secret(
    name: str,
    *,
    namespace: Namespace,
    secret_name: str,
    data: Mapping[str, tuple[str, str]],
    site: Site,
    parent: pulumi.Resource,
    after: Sequence[pulumi.Resource],
    template: Mapping[str, Any] | None = None,
) -> CustomResource:
    """Have the operator keep one Kubernetes Secret for one consumer.

    The Secret appears seconds later: a pod that names it waits for it, unless it calls the reference optional.

    Args:
        name: Name of the Pulumi resource.
        namespace: Where the consumer runs.
        secret_name: Name of the ExternalSecret and of the Secret.
        data: Key in the Secret to the entry of the secret store and its property.
        site: Where the platform is installed.
        parent: The consumer's component.
        after: ``SecretSync.ready``: the definition, the webhook and the store.
        template: Type, labels or computed keys of the Secret, as ``spec.target.template`` of the ExternalSecret.

    Raises:
        pulumi.RunError: There is no such entry or property; at preview.
    """
    if not site.settings.secrets.enabled:
        raise pulumi.RunError(f"platform.secrets.enabled: must be true, {namespace}/{secret_name} is read through it")
    target: dict[str, Any] = {
        "name": secret_name,
        "creationPolicy": "Owner",  # goes with the ExternalSecret
        "deletionPolicy": "Retain",  # stays when the entry is deleted at the cloud: what runs keeps running
    }
    if template is not None:
        target["template"] = {"engineVersion": "v2", **template}
    return CustomResource(
        name,
        api_version=API,
        kind="ExternalSecret",
        metadata=meta.ObjectMetaArgs(name=secret_name, namespace=namespace),
        spec={
            "refreshInterval": f"{site.settings.secrets.refresh_minutes}m",
            "secretStoreRef": {"kind": "ClusterSecretStore", "name": STORE},
            "target": target,
            "data": [
                {
                    "secretKey": key,
                    "remoteRef": {"key": reference(site, entry, named).key, "property": named},
                }
                for key, (entry, named) in sorted(data.items())
            ],
        },
        opts=pulumi.ResourceOptions(parent=parent, depends_on=[*site.namespaces[namespace], *after]),
    )


def reference(site: Site, entry: str, named: str | None = None) -> SecretRef:
    """Where an entry is kept; refused when it, or its property ``named``, does not exist."""
    entries = site.foundation.secrets.entries
    try:
        found = entries[entry]
    except KeyError:
        raise pulumi.RunError(f"no secret entry {entry}; there are {', '.join(sorted(entries))}") from None
    if named is not None and named not in found.properties:
        raise pulumi.RunError(f"secret entry {entry} has no property {named}; it has {', '.join(found.properties)}")
    return found


def provider_of(store: SecretStore) -> dict[str, Any]:
    """The store as the operator addresses it, with the operator's own cloud identity."""
    account = {"name": _SERVICE_ACCOUNT, "namespace": _NAMESPACE}
    match store.kind:
        case "aws-secrets-manager":
            return {
                "aws": {
                    "service": "SecretsManager",
                    "region": store.region,
                    "auth": {"jwt": {"serviceAccountRef": account}},
                }
            }
        case "gcp-secret-manager":
            # Cluster and location are read from the metadata server.
            return {
                "gcpsm": {
                    "projectID": store.account,
                    "auth": {"workloadIdentity": {"serviceAccountRef": account}},
                }
            }
        case "in-cluster":
            # Secrets of one namespace, which the operator's account may get by name and nobody else may read.
            return {
                "kubernetes": {
                    "remoteNamespace": store.region,
                    "server": {
                        "url": "https://kubernetes.default.svc",
                        "caProvider": {
                            "type": "ConfigMap",
                            "name": "kube-root-ca.crt",  # Kubernetes keeps it in every namespace
                            "namespace": _NAMESPACE,
                            "key": "ca.crt",
                        },
                    },
                    "auth": {"serviceAccount": account},
                }
            }


def values(site: Site, annotations: Mapping[str, pulumi.Input[str]]) -> dict[str, Any]:
    """Values of the chart.

    Memory: a replica holds its objects and, without the cache of Secrets, little else; limits are twice what a cluster
    with some hundred ExternalSecrets shows.
    """
    several = site.highly_available
    common: dict[str, Any] = {
        "replicaCount": site.replicas,
        "podDisruptionBudget": {"enabled": several, "minAvailable": 1},
        "priorityClassName": _PRIORITY,
    }
    small = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}}
    return {
        **common,
        "global": {
            "nodeSelector": site.system_nodes,
            "topologySpreadConstraints": SPREAD if several else [],
        },
        "leaderElect": several,
        "resources": {"requests": {"cpu": "25m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
        "livenessProbe": {"enabled": True},
        "readinessProbe": {"enabled": True},
        "serviceAccount": {"name": _SERVICE_ACCOUNT, "annotations": dict(annotations)},
        "rbac": {
            # Its own, narrower role stands beside the release.
            "serviceAccountTokenCreate": False,
            # People who may edit a namespace would get any entry of the store by naming it.
            "aggregateToEdit": False,
            "aggregateToAdmin": False,
        },
        # What nothing here uses, with the rights to change namespaces and to write to the store.
        "processClusterExternalSecret": False,
        "processPushSecret": False,
        "processClusterPushSecret": False,
        "processClusterGenerator": False,
        "crds": {
            "createClusterExternalSecret": False,
            "createPushSecret": False,
            "createClusterPushSecret": False,
            "createClusterGenerator": False,
        },
        "webhook": {**common, "resources": small},
        # It makes and renews the webhook's certificate, so that this system needs no other one.
        "certController": {**common, "resources": small},
    }
