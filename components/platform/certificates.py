"""Certificates: cert-manager, and the two authorities that it asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.meta import v1 as meta

from components.charts import release
from components.contract import DnsGrant, DnsZone
from components.platform.openings import SCRAPER, Opening, Pods
from components.platform.placement import ON_DIFFERENT_NODES, selecting
from components.platform.site import Site
from components.settings.platform.certificates import AcmeSettings

IssuerKind = Literal["private", "acme"]
"""The cluster's own authority, or a public one that speaks ACME; also the names of the ClusterIssuers."""

API: Final = "cert-manager.io/v1"

_NAMESPACE: Final = "cert-manager"
_SERVICE_ACCOUNT: Final = "cert-manager"
_PODS: Final = Pods(namespace=_NAMESPACE)
_CONTROLLER: Final = Pods(namespace=_NAMESPACE, labels={"app.kubernetes.io/component": "controller"})
_WEBHOOK: Final = Pods(namespace=_NAMESPACE, labels={"app.kubernetes.io/component": "webhook"})
_AUTHORITY: Final = "private-ca"

# Let's Encrypt, "ACME endpoints" and "Staging environment".
_ACME: Final[Mapping[str, str]] = {
    "production": "https://acme-v02.api.letsencrypt.org/directory",
    "staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
}

# Durations as Go writes them, which is what the API server gives back: another spelling would be drift for ever.
_TEN_YEARS: Final = "87600h0m0s"
_TWO_YEARS: Final = "17520h0m0s"
_NINETY_DAYS: Final = "2160h0m0s"
_THIRTY_DAYS: Final = "720h0m0s"

OPENINGS: Final[tuple[Opening, ...]] = (
    Opening(source=_PODS, target="api-server", ports=(443,), why="All of cert-manager watches and writes objects."),
    Opening(
        source="control-plane",
        target=_WEBHOOK,
        ports=(10250,),
        why="The API server asks before it stores a certificate or an issuer.",
    ),
    Opening(
        source=_CONTROLLER,
        target="internet",
        ports=(443,),
        why="The ACME authority signs, after it has checked the DNS.",
    ),
    Opening(
        source=_CONTROLLER, target="cloud-apis", ports=(443,), why="The DNS zone is written, with a token of its own."
    ),
    Opening(source=SCRAPER, target=_PODS, ports=(9402,), why="Metrics: when certificates expire."),
)
"""What cert-manager reaches, and who reaches it."""


@dataclass(frozen=True, kw_only=True)
class CertManagerArgs:
    """What certificates need.

    Attributes:
        site: Where they are issued.
    """

    site: Site


class CertManager(pulumi.ComponentResource):
    """cert-manager with the ClusterIssuers ``private`` and, where the settings ask for it, ``acme``."""

    ready: tuple[pulumi.Resource, ...]

    def __init__(self, name: str, args: CertManagerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:platform:CertManager", name, None, opts)
        site = args.site
        annotations: Mapping[str, pulumi.Input[str]] = {}
        needed = [*site.namespaces[_NAMESPACE]]
        if wants_acme(site):
            identity = site.foundation.identity.grant(
                f"{name}-dns",
                namespace=_NAMESPACE,
                service_account=_SERVICE_ACCOUNT,
                grants=[DnsGrant()],
                parent=self,
            )
            annotations = identity.annotations
            needed += identity.ready
        manager = release(
            f"{name}-release",
            "cert-manager",
            release_name="cert-manager",
            namespace=_NAMESPACE,
            values=values(site, annotations),
            parent=self,
            after=needed,
        )
        # The definitions and the webhook come with the release.
        child = pulumi.ResourceOptions(parent=self, depends_on=[manager])
        bootstrap = CustomResource(
            f"{name}-bootstrap",
            api_version=API,
            kind="Issuer",
            metadata=meta.ObjectMetaArgs(name="bootstrap", namespace=_NAMESPACE),
            spec={"selfSigned": {}},
            opts=child,
        )
        root = CustomResource(
            f"{name}-root",
            api_version=API,
            kind="Certificate",
            metadata=meta.ObjectMetaArgs(name=_AUTHORITY, namespace=_NAMESPACE),
            spec=authority(site.owner),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[manager, bootstrap]),
        )
        self._issuers: dict[IssuerKind, CustomResource] = {
            "private": CustomResource(
                f"{name}-private",
                api_version=API,
                kind="ClusterIssuer",
                metadata=meta.ObjectMetaArgs(name="private"),
                spec={"ca": {"secretName": _AUTHORITY}},
                # Before its secret is there the issuer is not ready, and asks again only minutes later.
                opts=pulumi.ResourceOptions(parent=self, depends_on=[manager, root]),
            )
        }
        if wants_acme(site):
            self._issuers["acme"] = CustomResource(
                f"{name}-acme",
                api_version=API,
                kind="ClusterIssuer",
                metadata=meta.ObjectMetaArgs(name="acme"),
                spec=acme_issuer(site.settings.certificates.acme, site.foundation.dns, site.settings.gateway.domain),
                opts=child,
            )
        self.ready = (manager, *self._issuers.values())
        self.register_outputs({})

    def issuer(self, kind: IssuerKind) -> CustomResource:
        """The ClusterIssuer of a kind, named like it; certificates of it wait for it.

        Raises:
            pulumi.RunError: There is none: the settings do not ask for the ACME authority.
        """
        if kind not in self._issuers:
            raise pulumi.RunError(f"platform.certificates.issuer: must be {kind} for a certificate of {kind}")
        return self._issuers[kind]

    def certificate(
        self,
        name: str,
        *,
        namespace: str,
        secret_name: str,
        dns_names: Sequence[str],
        issuer: IssuerKind = "private",
        parent: pulumi.Resource,
        after: Sequence[pulumi.Resource],
        usages: Sequence[str] = ("digital signature", "key encipherment", "server auth"),
    ) -> CustomResource:
        """Have a certificate kept, and renewed, in a Secret.

        Args:
            name: Name of the Pulumi resource.
            namespace: Where the Secret is wanted.
            secret_name: Name of the Certificate and of the Secret (``tls.crt``, ``tls.key``, ``ca.crt``).
            dns_names: Names that it is for; the first is only one of them.
            issuer: Who signs.
            parent: The component that wants it.
            after: The namespace.
            usages: What the key may do.
        """
        return CustomResource(
            name,
            api_version=API,
            kind="Certificate",
            metadata=meta.ObjectMetaArgs(name=secret_name, namespace=namespace),
            spec={
                "secretName": secret_name,
                "dnsNames": list(dns_names),
                "issuerRef": {"group": "cert-manager.io", "kind": "ClusterIssuer", "name": issuer},
                # The public authority sets the lifetime itself: 90 days.
                "duration": _NINETY_DAYS,
                "renewBefore": _THIRTY_DAYS,
                "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
                "revisionHistoryLimit": 1,
                "usages": list(usages),
            },
            opts=pulumi.ResourceOptions(parent=parent, depends_on=[*after, self.issuer(issuer)]),
        )


def wants_acme(site: Site) -> bool:
    """Whether the public authority is used; without it nothing may write the DNS zone."""
    return site.settings.certificates.issuer == "acme"


def authority(owner: str) -> dict[str, Any]:
    """The root of the private authority: a certificate that signs itself.

    Its key stays when it is renewed. Certificates that it signed, and clients that trust it, go on working then: the
    new root has the same name and the same key. A new key is made on purpose, as ``docs/gateway.md`` says.
    """
    return {
        "secretName": _AUTHORITY,
        "isCA": True,
        "commonName": f"{owner} private CA",
        "issuerRef": {"group": "cert-manager.io", "kind": "Issuer", "name": "bootstrap"},
        "duration": _TEN_YEARS,
        "renewBefore": _TWO_YEARS,
        "privateKey": {"algorithm": "ECDSA", "size": 384, "rotationPolicy": "Never"},
        "revisionHistoryLimit": 1,
        "usages": ["cert sign", "crl sign", "digital signature"],
    }


def acme_issuer(settings: AcmeSettings, zone: DnsZone | None, domain: str) -> dict[str, Any]:
    """The public authority; domains are proven by TXT records that the controller's own identity writes.

    Raises:
        pulumi.RunError: There is no zone to prove a domain in, or nobody to write to.
    """
    if zone is None or settings.email is None:
        raise pulumi.RunError("platform.certificates.issuer: acme needs a public DNS zone and acme.email")
    return {
        "acme": {
            "server": _ACME[settings.server],
            "email": settings.email,
            "privateKeySecretRef": {"name": f"acme-account-{settings.server}"},
            "solvers": [{"selector": {"dnsZones": [domain]}, "dns01": _solver(zone)}],
        }
    }


def _solver(zone: DnsZone) -> dict[str, Any]:
    match zone.kind:
        case "route53":
            return {"route53": {"region": zone.region, "hostedZoneID": zone.id}}
        case "cloud-dns":
            # The zone's id is its resource name: projects/<project>/managedZones/<zone>.
            _, project, _, named = zone.id.split("/")
            return {"cloudDNS": {"project": project, "hostedZoneName": named}}


def values(site: Site, annotations: Mapping[str, pulumi.Input[str]]) -> dict[str, Any]:
    """Values of the chart.

    Memory: each part caches the Secrets and certificates that it watches, some ten MiB in a cluster of this size; the
    limits leave room for thousands.
    """
    several = site.highly_available

    def part(component: str, *, memory: str, limit: str) -> dict[str, Any]:
        return {
            "replicaCount": site.replicas,
            "podDisruptionBudget": {"enabled": several},  # of one replica; the chart's default
            "resources": {"requests": {"cpu": "10m", "memory": memory}, "limits": {"memory": limit}},
            "topologySpreadConstraints": [_spread(component)] if several else [],
            "config": {"logging": {"format": "json"}},
        }

    return {
        "global": {
            "nodeSelector": site.system_nodes,
            "leaderElection": {"namespace": _NAMESPACE},  # the default, kube-system, is closed on some platforms
        },
        "crds": {"enabled": True, "keep": True},
        **part("controller", memory="64Mi", limit="256Mi"),
        "serviceAccount": {"name": _SERVICE_ACCOUNT, "annotations": dict(annotations)},
        # Self-checks of DNS records ask the cluster's DNS, and not name servers all over the internet on port 53.
        "dns01RecursiveNameserversOnly": True,
        "webhook": part("webhook", memory="32Mi", limit="128Mi"),
        "cainjector": part("cainjector", memory="64Mi", limit="256Mi"),
        # A hook that waits until the webhook answers with a certificate that the API server trusts. The pods are ready
        # before that, and the first issuer would be refused.
        "startupapicheck": {"resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}}},
    }


def _spread(component: str) -> dict[str, Any]:
    """Replicas of one part stand on different nodes."""
    labels = {"app.kubernetes.io/instance": "cert-manager", "app.kubernetes.io/component": component}
    return selecting(ON_DIFFERENT_NODES, labels)
