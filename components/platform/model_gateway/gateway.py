"""The component: LiteLLM with its credentials, database, identity, teams and routes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi_kubernetes.core import v1 as core
from pulumi_kubernetes.meta import v1 as meta

from components.contract import ServiceIdentity
from components.platform import telemetry
from components.platform.databases import database
from components.platform.model_gateway import config, models
from components.platform.model_gateway.models import GatewayModel
from components.platform.model_gateway.names import (
    KEYS_SECRET,
    LABELS,
    METRICS_PORT,
    MIGRATIONS,
    NAME,
    NAMESPACE,
    PORT,
    SERVICE_URL,
    SMOKE_SECRET,
    TEAMS,
)
from components.platform.model_gateway.server import migrations, server
from components.platform.model_gateway.teams import keep_teams
from components.platform.openings import LITELLM, SCRAPER, Opening
from components.platform.routes import Backend as RoutedService
from components.platform.routes import Rule, opening, route
from components.platform.secrets import external_secret
from components.platform.site import Site
from components.settings.platform import PlatformSettings

_POSTGRES: Final = 5432
_HTTPS: Final = 443
_DATABASE: Final = "litellm"
_DATABASE_ENTRY: Final = "litellm-database"

_SMOKE_KEY: Final = {"key": ("litellm-smoke-key", "key")}
_KEYS: Final = {
    "masterKey": ("litellm-master-key", "key"),
    "saltKey": ("litellm-salt-key", "key"),
    "uiUsername": ("litellm-ui", "username"),
    "uiPassword": ("litellm-ui", "password"),
    "cacheToken": ("cache-auth", "token"),
}

# Above the longest answer of any model: the model gateway answers with a reason, the gateway in front only hangs up.
_MARGIN_SECONDS: Final = 30


def openings(site: Site) -> tuple[Opening, ...]:
    """Ways of LiteLLM and its jobs. Those to models are declared with the namespaces, where models are."""
    ways = (
        Opening(
            source=LITELLM,
            target="stores",
            ports=(_POSTGRES, site.foundation.cache.tcp_port),
            why="Keys, budgets, answers, limits.",
        ),
        Opening(source=LITELLM, target="cloud-apis", ports=(_HTTPS,), why="Hosted models, and the token for them."),
        Opening(source=MIGRATIONS, target="stores", ports=(_POSTGRES,), why="Tables are brought to the release's."),
        Opening(source=TEAMS, target=LITELLM, ports=(PORT,), why="Teams are made as they are declared."),
        Opening(source=SCRAPER, target=LITELLM, ports=(METRICS_PORT,), why="Metrics: tokens, money, failures."),
    )
    published = opening(LITELLM, (PORT,), "Every call of a model from outside.")
    return (
        *ways,
        *((published,) if site.settings.gateway.enabled else ()),
        *telemetry.spans_from(site, LITELLM, (telemetry.HTTP_PORT,)),
    )


def entries() -> tuple[str, ...]:
    """Entries of the secret store that it reads."""
    keys = (*_KEYS.values(), *_SMOKE_KEY.values())
    return tuple(sorted({entry for entry, _ in keys} | {_DATABASE_ENTRY}))


def own_sign_in(settings: PlatformSettings) -> tuple[str, ...]:
    """Hosts whose requests need no key at the edge: browsers send none."""
    gateway = settings.model_gateway
    return (gateway.admin_host,) if gateway.enabled and gateway.admin_host else ()


@dataclass(frozen=True, kw_only=True)
class ModelGatewayArgs:
    """What the model gateway needs.

    Attributes:
        site: Where it is installed.
        models: Everything that clients can name, served and hosted.
        secrets_ready: ``SecretSync.ready``.
        databases_ready: ``Databases.ready``.
        edge_ready: ``Edge.ready``, where the gateway is there; else nothing is published.
    """

    site: Site
    models: Sequence[GatewayModel]
    secrets_ready: Sequence[pulumi.Resource]
    databases_ready: Sequence[pulumi.Resource]
    edge_ready: Sequence[pulumi.Resource] = ()


class ModelGateway(pulumi.ComponentResource):
    """LiteLLM: tables first, then replicas, then teams and routes."""

    url: pulumi.Output[str]
    """Where pods of the platform and of teams reach it."""
    ready: tuple[pulumi.Resource, ...]

    def __init__(self, name: str, args: ModelGatewayArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:platform:ModelGateway", name, None, opts)
        site, settings = args.site, args.site.settings.model_gateway
        if found := list(models.problems(args.models)):
            raise pulumi.RunError("models: " + "; ".join(found))
        after_namespace = list(site.namespaces[NAMESPACE])

        keys = external_secret(
            f"{name}-keys",
            namespace=NAMESPACE,
            secret_name=KEYS_SECRET,
            data=_KEYS,
            site=site,
            parent=self,
            after=args.secrets_ready,
        )
        tables = database(
            f"{name}-database",
            purpose=_DATABASE_ENTRY,
            database=_DATABASE,
            namespace=NAMESPACE,
            site=site,
            parent=self,
            after=args.databases_ready,
            connections=connections(site),
        )
        identity = self._identity(name, args)
        account = core.ServiceAccount(
            f"{name}-account",
            metadata=meta.ObjectMetaArgs(
                name=NAME, namespace=NAMESPACE, labels=LABELS, annotations=dict(identity.annotations)
            ),
            automount_service_account_token=False,
            opts=pulumi.ResourceOptions(parent=self, depends_on=after_namespace),
        )
        migrated = migrations(
            name,
            site=site,
            database=tables,
            # The database and the Secrets that the pod names.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*after_namespace, *tables.ready]),
        )
        running = server(
            name,
            site=site,
            document=config.configuration(args.models, settings, traced=telemetry.traced(site)),
            account=account,
            database=tables,
            parent=self,
            after=[keys, migrated, *tables.ready, *identity.ready],
        )
        smoke = external_secret(
            f"{name}-smoke-key",
            namespace=NAMESPACE,
            secret_name=SMOKE_SECRET,
            data=_SMOKE_KEY,
            site=site,
            parent=self,
            after=args.secrets_ready,
        )
        teams = keep_teams(name, site=site, parent=self, after=[*running, smoke])
        self.ready = (*running, *teams)
        if args.edge_ready:
            self._publish(args, running)
        self.url = pulumi.Output.from_input(SERVICE_URL)
        self.register_outputs({"url": self.url})

    def _identity(self, name: str, args: ModelGatewayArgs) -> ServiceIdentity:
        """What may ask the cloud's models; none is made where no model is hosted."""
        if not (grants := models.grants(args.models)):
            return ServiceIdentity(annotations={}, ready=())
        return args.site.foundation.identity.grant(
            name, namespace=NAMESPACE, service_account=NAME, grants=grants, parent=self
        )

    def _publish(self, args: ModelGatewayArgs, running: Sequence[pulumi.Resource]) -> None:
        """Publish the API: what clients need for all, administration where the settings say so."""
        site, settings = args.site, args.site.settings.model_gateway
        longest = models.longest_answer_seconds(args.models)
        backend = RoutedService(
            namespace=NAMESPACE,
            service=NAME,
            port=PORT,
            timeout_seconds=longest + _MARGIN_SECONDS if longest else 0,
            retries=1,  # LiteLLM has tried the models again already
            ejection=None,  # its 503 and 504 are a model's; every replica gives the same
        )
        hosts = {"api": (settings.host or f"api.{site.settings.gateway.domain}", settings.paths)}
        if settings.admin_host:
            hosts["models-admin"] = (settings.admin_host, ("/",))
        for route_name, (host, paths) in hosts.items():
            route(
                route_name,
                host=host,
                rules=[Rule(backend=backend, prefix=path) for path in paths],
                site=site,
                parent=self,
                after=[*args.edge_ready, *running],
            )


def connections(site: Site) -> int:
    """Connections to the database at most: all replicas, one more in a roll-out, and the migrations."""
    replicas = site.settings.model_gateway.max_replicas if site.highly_available else 1
    return (replicas + 1) * config.DATABASE_CONNECTIONS + 5
