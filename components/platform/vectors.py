"""Milvus, the vector database; docs/data.md says how it is backed up and restored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi
from pulumi_kubernetes import policy
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.meta import v1 as meta

from components.charts import release
from components.contract import ObjectGrant
from components.platform.mesh import SECURITY_API
from components.platform.openings import Namespace, Opening
from components.platform.secrets import external_secret
from components.platform.site import Site
from components.platform.vectors_backups import BACKUP_ACCOUNT, RESTORE_ACCOUNT, VectorBackups
from components.platform.vectors_values import (
    ACCOUNT,
    METADATA_ACCOUNT,
    RELEASE,
    ROOT_SECRET,
    mode,
    part_labels,
    parts,
    values,
)

_NAMESPACE: Final[Namespace] = "mlops-data"
_ROOT_ENTRY: Final = "milvus-root"
_PORT: Final = 19530
_MANAGEMENT_PORT: Final = 9091

OPENINGS: tuple[Opening, ...] = ()
"""None of its own: its parts find each other, the object store and Prometheus by the ways of their namespace, and
``components.platform.openings.MILVUS`` is who is called from elsewhere."""

ENTRIES: Final = (_ROOT_ENTRY,)
"""Entries of the secret store that are read."""


@dataclass(frozen=True, kw_only=True)
class VectorsArgs:
    """What Milvus needs.

    Attributes:
        site: Where it is installed.
        secrets_ready: ``SecretSync.ready``.
        mesh_ready: ``Mesh.ready``: it encrypts Milvus' traffic, and keeps others from its metadata.
    """

    site: Site
    secrets_ready: Sequence[pulumi.Resource]
    mesh_ready: Sequence[pulumi.Resource]


class Vectors(pulumi.ComponentResource):
    """Milvus with its metadata servers, and what may speak to them."""

    ready: tuple[pulumi.Resource, ...]

    def __init__(self, name: str, args: VectorsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:platform:Vectors", name, None, opts)
        site = args.site
        if not site.settings.mesh.enabled:
            raise pulumi.RunError(
                "platform.vectors.enabled: needs platform.mesh.enabled, which encrypts its traffic and keeps others "
                "from its metadata"
            )
        identity = site.foundation.identity.grant(
            name,
            namespace=_NAMESPACE,
            service_account=ACCOUNT,
            # The whole bucket: a restore puts its files beside Milvus' own prefix, and Milvus reads them there.
            grants=[ObjectGrant(bucket="vectors", access="read-write")],
            parent=self,
        )
        root = external_secret(
            f"{name}-root",
            namespace=_NAMESPACE,
            secret_name=ROOT_SECRET,
            data={key: (_ROOT_ENTRY, key) for key in ("username", "password")},
            site=site,
            parent=self,
            after=args.secrets_ready,
        )
        guards = self._guards(name, args)
        milvus = release(
            f"{name}-release",
            "milvus",
            release_name=RELEASE,
            namespace=_NAMESPACE,
            values=values(site, identity.annotations),
            parent=self,
            # The guards before what they guard: its metadata must never be open.
            after=(*site.namespaces[_NAMESPACE], *identity.ready, root, *guards),
            timeout_seconds=1500,  # nodes may have to be started, the image has 2 GiB, and probes begin after 90 s
        )
        self.ready = (milvus,)
        self._budgets(name, site)
        if site.settings.vectors.backups.enabled:
            backups = VectorBackups(f"{name}-backups", site, milvus, pulumi.ResourceOptions(parent=self))
            self.ready = (*self.ready, *backups.ready)
        self.register_outputs({})

    def _guards(self, name: str, args: VectorsArgs) -> tuple[pulumi.Resource, ...]:
        """Who may speak to Milvus and its metadata servers; jobs of users run in the same namespace."""
        after = pulumi.ResourceOptions(parent=self, depends_on=[*args.site.namespaces[_NAMESPACE], *args.mesh_ready])
        return tuple(
            CustomResource(
                f"{name}-guard-{title}",
                api_version=SECURITY_API,
                kind="AuthorizationPolicy",
                metadata=meta.ObjectMetaArgs(name=title, namespace=_NAMESPACE),
                spec=spec,
                opts=after,
            )
            for title, spec in guards().items()
        )

    def _budgets(self, name: str, site: Site) -> None:
        """Disruption budgets of what has replicas; the chart has one for the metadata servers only."""
        deployed = parts(site.settings.vectors, cluster=mode(site) == "cluster", highly_available=site.highly_available)
        for part in deployed:
            if part.replicas > 1:
                policy.v1.PodDisruptionBudget(
                    f"{name}-{part.component}",
                    metadata=meta.ObjectMetaArgs(name=f"{RELEASE}-{part.component}", namespace=_NAMESPACE),
                    spec={"max_unavailable": 1, "selector": {"match_labels": part_labels(part)}},
                    opts=pulumi.ResourceOptions(parent=self, depends_on=list(site.namespaces[_NAMESPACE])),
                )


def guards() -> dict[str, dict[str, Any]]:
    """Specifications of the AuthorizationPolicies by name.

    Milvus asks for a password on its service port only. Its parts trust each other, the port with metrics also pauses
    and dumps things, and the metadata servers have no users. Probes of the kubelet are not judged in the mesh.
    """
    own = _from(ACCOUNT)
    return {
        "milvus": {
            "selector": {"matchLabels": {"app.kubernetes.io/name": "milvus", "app.kubernetes.io/instance": RELEASE}},
            "action": "ALLOW",
            "rules": [
                {"from": [own]},
                {"to": [_to(_PORT)]},
                {
                    "from": [_from(BACKUP_ACCOUNT, RESTORE_ACCOUNT), {"source": {"namespaces": ["monitoring"]}}],
                    "to": [_to(_MANAGEMENT_PORT)],
                },
            ],
        },
        "milvus-metadata": {
            "selector": {"matchLabels": {"app.kubernetes.io/name": "etcd", "app.kubernetes.io/instance": RELEASE}},
            "action": "ALLOW",
            "rules": [{"from": [_from(ACCOUNT, METADATA_ACCOUNT)]}],
        },
    }


def _from(*accounts: str) -> dict[str, Any]:
    return {"source": {"principals": [f"cluster.local/ns/{_NAMESPACE}/sa/{account}" for account in accounts]}}


def _to(port: int) -> dict[str, Any]:
    return {"operation": {"ports": [str(port)]}}
