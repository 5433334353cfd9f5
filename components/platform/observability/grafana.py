"""Grafana: what its chart needs beforehand, its dashboards, and how people reach it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes import core
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.meta import v1 as meta

from components.platform.databases import database
from components.platform.mesh import SECURITY_API
from components.platform.observability.dashboards import boards, files
from components.platform.observability.grafana_permissions import JOB, permissions
from components.platform.observability.grafana_values import (
    CONNECTIONS,
    DATABASE_SECRET,
    NAME,
    NAMESPACE,
    PODS,
    PORT,
    SECRET,
    SERVICE_PORT,
    config_map_of,
    published_at,
    values,
)
from components.platform.openings import GATEWAY, SCRAPER, Opening, Pods
from components.platform.routes import Backend, Rule, opening, route
from components.platform.secrets import external_secret
from components.platform.site import Site
from components.settings.platform import PlatformSettings
from components.settings.platform.grafana import SSO_ENTRY

__all__ = [
    "Dashboards",
    "DashboardsArgs",
    "openings",
    "own_sign_in",
    "publish",
    "published_at",
    "secret_entries",
    "values",
]

_ADMIN_ENTRY = "grafana-admin"
_NAMED = "app.kubernetes.io/name"


def openings(site: Site) -> tuple[Opening, ...]:
    """What Grafana reaches, and who reaches it; Loki and Tempo name it among theirs."""
    settings = site.settings
    if not settings.grafana.enabled:
        return ()
    ways = [
        Opening(source=PODS, target="stores", ports=(5432,), why="Users, their roles, and dashboards of their own."),
        *(
            Opening(source=PODS, target=Pods(namespace=NAMESPACE, labels={_NAMED: name}), ports=(port,), why=why)
            for name, port, why in (
                ("prometheus", 9090, "Metrics and the state of alerts."),
                ("alertmanager", 9093, "Alerts that were sent, and silences."),
            )
        ),
        Opening(source=JOB, target=PODS, ports=(PORT,), why="Permissions of folders are set."),
        Opening(source=SCRAPER, target=PODS, ports=(PORT,), why="Metrics: a dashboard that fails must be seen."),
    ]
    if published_at(settings):
        ways.append(opening(PODS, (PORT,), "People from outside."))
    if settings.grafana.sso:
        ways.append(Opening(source=PODS, target="internet", ports=(443,), why="The issuer's tokens."))
    return tuple(ways)


def own_sign_in(settings: PlatformSettings) -> tuple[str, ...]:
    """Hosts that the edge must let pass: Grafana has a sign-in of its own, and browsers send it no bearer token."""
    host = published_at(settings)
    return (host,) if host else ()


def secret_entries(settings: PlatformSettings) -> tuple[str, ...]:
    """Entries of the secret store that Grafana and its database job read."""
    if not settings.grafana.enabled:
        return ()
    return (_ADMIN_ENTRY, DATABASE_SECRET, *((SSO_ENTRY,) if settings.grafana.sso else ()))


@dataclass(frozen=True, kw_only=True)
class DashboardsArgs:
    """What Grafana needs before its chart is installed.

    Attributes:
        site: Where it is installed.
        secrets_ready: ``SecretSync.ready``.
        databases_ready: ``Databases.ready``.
    """

    site: Site
    secrets_ready: Sequence[pulumi.Resource]
    databases_ready: Sequence[pulumi.Resource]


class Dashboards(pulumi.ComponentResource):
    """Dashboards, credentials and the database: what Grafana's pods mount and name, so it comes before the chart."""

    ready: tuple[pulumi.Resource, ...]
    """What the release with Grafana in it waits for: its pods would wait for the same, and the release for them."""

    def __init__(self, name: str, args: DashboardsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:platform:Dashboards", name, None, opts)
        site = args.site
        tables = database(
            f"{name}-database",
            purpose=DATABASE_SECRET,
            database=NAME,
            namespace=NAMESPACE,
            site=site,
            parent=self,
            after=args.databases_ready,
            connections=CONNECTIONS,
        )
        self.ready = (*self._dashboards(name, site), self._credentials(name, args), *tables.ready)
        self.register_outputs({})

    def _dashboards(self, name: str, site: Site) -> list[core.v1.ConfigMap]:
        return [
            core.v1.ConfigMap(
                f"{name}-{board}",
                metadata=meta.ObjectMetaArgs(
                    name=config_map_of(board), namespace=NAMESPACE, labels={_NAMED: NAME, "llmops/dashboard": board}
                ),
                data={f"{board}.json": document},
                opts=pulumi.ResourceOptions(parent=self, depends_on=list(site.namespaces[NAMESPACE])),
            )
            for board, document in files(boards(site)).items()
        ]

    def _credentials(self, name: str, args: DashboardsArgs) -> CustomResource:
        data = {
            "admin-user": (_ADMIN_ENTRY, "username"),
            "admin-password": (_ADMIN_ENTRY, "password"),
            "secret-key": (_ADMIN_ENTRY, "secretKey"),
        }
        if args.site.settings.grafana.sso:
            data["client-secret"] = (SSO_ENTRY, "clientSecret")
        return external_secret(
            f"{name}-credentials",
            namespace=NAMESPACE,
            secret_name=SECRET,
            data=data,
            site=args.site,
            parent=self,
            after=args.secrets_ready,
        )


def publish(
    name: str,
    site: Site,
    *,
    parent: pulumi.Resource,
    running: Sequence[pulumi.Resource],
    edge_ready: Sequence[pulumi.Resource] | None,
) -> tuple[pulumi.Resource, ...]:
    """What comes after the chart: permissions of its folders, and its host at the gateway.

    Args:
        name: Beginning of the Pulumi resources' names.
        site: Where it is installed.
        parent: The component that installs it.
        running: The release with Grafana in it.
        edge_ready: ``Edge.ready``; none where there is no gateway.
    """
    job = permissions(name, site, pulumi.ResourceOptions(parent=parent, depends_on=list(running)))
    host = published_at(site.settings)
    if edge_ready is None or not host:
        return (job,)
    hidden = _hide_metrics(name, host, site, parent, edge_ready)
    # A question over many days takes Prometheus up to its own limit of two minutes.
    backend = Backend(namespace=NAMESPACE, service=NAME, port=SERVICE_PORT, timeout_seconds=150)
    return (
        job,
        *route(
            NAME,
            host=host,
            rules=[Rule(backend=backend)],
            site=site,
            parent=parent,
            after=[*edge_ready, hidden, *running],
        ),
    )


def _hide_metrics(
    name: str, host: str, site: Site, parent: pulumi.Resource, edge_ready: Sequence[pulumi.Resource]
) -> CustomResource:
    """Grafana asks nobody who reads its own metrics: from outside they cannot be."""
    operation = {"hosts": [host, f"{host}:*"], "paths": ["/metrics", "/metrics/*"]}
    return CustomResource(
        f"{name}-metrics-hidden",
        api_version=SECURITY_API,
        kind="AuthorizationPolicy",
        metadata=meta.ObjectMetaArgs(name="grafana-metrics", namespace=GATEWAY.namespace),
        spec={
            "selector": {"matchLabels": dict(GATEWAY.labels)},
            "action": "DENY",
            "rules": [{"to": [{"operation": operation}]}],
        },
        opts=pulumi.ResourceOptions(parent=parent, depends_on=[*site.namespaces["istio-ingress"], *edge_ready]),
    )
