"""MLflow: experiment tracking and the model registry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi_kubernetes import core
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.meta import v1 as meta

from components.contract import ObjectGrant
from components.platform.databases import database
from components.platform.experiments.jobs import accounts, migrations
from components.platform.experiments.names import (
    ARTIFACT_PREFIX,
    JOB_LABELS,
    JOBS_SECRET,
    LABELS,
    METRICS_PORT,
    NAME,
    NAMESPACE,
    PORT,
    SERVER_SECRET,
    TRACKING_URI,
    published_at,
    storage_environment,
)
from components.platform.experiments.server import connections, server
from components.platform.openings import MLFLOW, SCRAPER, Namespace, Opening, Pods
from components.platform.routes import Backend, Rule, opening, route
from components.platform.secrets import external_secret
from components.platform.site import Site
from components.settings.platform import PlatformSettings

DATABASE_ENTRY: Final = "mlflow-database"
ENTRIES: Final = (DATABASE_ENTRY, "mlflow-admin", "mlflow-flask", "mlflow-jobs")
"""Entries of the secret store that MLflow and its clients read."""

ARTIFACTS: Final = ObjectGrant(bucket="mlflow", access="read-write", prefix=f"{ARTIFACT_PREFIX}/")
"""What a pod must be granted that logs artifacts or loads models: clients move them, MLflow says where they are."""

CLIENT_SECRET: Final = "mlflow-client"
"""Secret with the environment of a client: ``MLFLOW_TRACKING_URI``, an account, and where artifacts are."""

CLIENT_NAMESPACES: Final[tuple[Namespace, ...]] = ("kubeflow", "mlops-data", "mlops-training")
"""Where :data:`CLIENT_SECRET` is. Teams have accounts of their own: what is here, whoever runs jobs there can read."""

_JOBS: Final = Pods(namespace=NAMESPACE, labels=JOB_LABELS)


def openings(site: Site) -> tuple[Opening, ...]:
    """What MLflow reaches, and who reaches it; training, data processing and teams are in ``common_openings``."""
    outside = (opening(MLFLOW, (PORT,), "People and programs from outside."),) if published_at(site.settings) else ()
    return (
        Opening(source=MLFLOW, target="stores", ports=(5432,), why="Runs, registered models, accounts."),
        Opening(source=MLFLOW, target="cloud-apis", ports=(443,), why="Artifacts that its pages show."),
        Opening(source=_JOBS, target="stores", ports=(5432,), why="Tables are brought to the version of the server."),
        Opening(source=_JOBS, target=MLFLOW, ports=(PORT,), why="Accounts are made."),
        Opening(source=SCRAPER, target=MLFLOW, ports=(METRICS_PORT,), why="Metrics: rates, errors, times of requests."),
        *outside,
    )


def own_sign_in(settings: PlatformSettings) -> tuple[str, ...]:
    """Hosts that the edge must let pass: MLflow has a sign-in of its own, and browsers send it no bearer token."""
    host = published_at(settings)
    return (host,) if host else ()


@dataclass(frozen=True, kw_only=True)
class ExperimentsArgs:
    """What MLflow needs.

    Attributes:
        site: Where it is installed.
        secrets_ready: ``SecretSync.ready``.
        databases_ready: ``Databases.ready``.
        edge_ready: ``Edge.ready``; none where there is no gateway.
    """

    site: Site
    secrets_ready: Sequence[pulumi.Resource]
    databases_ready: Sequence[pulumi.Resource]
    edge_ready: Sequence[pulumi.Resource] | None = None


class Experiments(pulumi.ComponentResource):
    """The server with its database, its accounts, and what clients need to reach it."""

    tracking_uri: pulumi.Output[str]
    """Where pods of the platform and of teams reach it."""
    ready: tuple[pulumi.Resource, ...]

    def __init__(self, name: str, args: ExperimentsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:platform:Experiments", name, None, opts)
        site = args.site
        namespace = list(site.namespaces[NAMESPACE])
        tables = database(
            f"{name}-database",
            purpose=DATABASE_ENTRY,
            database="mlflow",
            namespace=NAMESPACE,
            site=site,
            parent=self,
            after=args.databases_ready,
            connections=connections(site),
        )
        credentials = self._credentials(name, args)
        identity = site.foundation.identity.grant(
            name,
            namespace=NAMESPACE,
            service_account=NAME,
            # Writing too: clients without an identity of their own upload with addresses that the server signs.
            grants=[ARTIFACTS],
            parent=self,
        )
        account = core.v1.ServiceAccount(
            f"{name}-account",
            metadata=meta.ObjectMetaArgs(
                name=NAME, namespace=NAMESPACE, labels=LABELS, annotations=dict(identity.annotations)
            ),
            automount_service_account_token=False,
            opts=pulumi.ResourceOptions(parent=self, depends_on=namespace),
        )
        migrated = migrations(
            name,
            site,
            tables,
            # The database, and the Secrets that the pod names.
            pulumi.ResourceOptions(parent=self, depends_on=[*namespace, *tables.ready]),
        )
        running = server(
            name,
            site,
            tables,
            account,
            parent=self,
            # Replicas must find the tables as they want them, or each would change them by itself.
            after=[*namespace, *tables.ready, *credentials, *identity.ready, migrated],
        )
        made = accounts(
            name, site, pulumi.ResourceOptions(parent=self, depends_on=[*namespace, *credentials, *running])
        )
        clients = self._clients(name, args)
        self.tracking_uri = pulumi.Output.from_input(TRACKING_URI)
        self.ready = (*running, made, *clients, *self._publish(site, running, args))
        self.register_outputs({"trackingUri": self.tracking_uri})

    def _credentials(self, name: str, args: ExperimentsArgs) -> list[CustomResource]:
        """Secrets of the server, and of the job that makes accounts."""
        admin = {"username": ("mlflow-admin", "username"), "password": ("mlflow-admin", "password")}
        wanted = {
            SERVER_SECRET: {**admin, "secretKey": ("mlflow-flask", "secretKey")},
            JOBS_SECRET: {"username": ("mlflow-jobs", "username"), "password": ("mlflow-jobs", "password")},
        }
        return [
            external_secret(
                f"{name}-{secret_name.removeprefix(f'{NAME}-')}",
                namespace=NAMESPACE,
                secret_name=secret_name,
                data=data,
                site=args.site,
                parent=self,
                after=args.secrets_ready,
            )
            for secret_name, data in wanted.items()
        ]

    def _clients(self, name: str, args: ExperimentsArgs) -> list[CustomResource]:
        """The environment of clients, in one Secret for ``envFrom``."""
        plain = {"MLFLOW_TRACKING_URI": TRACKING_URI, **storage_environment(args.site)}
        return [
            external_secret(
                f"{name}-client-{namespace}",
                namespace=namespace,
                secret_name=CLIENT_SECRET,
                data={"username": ("mlflow-jobs", "username"), "password": ("mlflow-jobs", "password")},
                template={
                    "data": {
                        **plain,
                        "MLFLOW_TRACKING_USERNAME": "{{ .username }}",
                        "MLFLOW_TRACKING_PASSWORD": "{{ .password }}",
                    }
                },
                site=args.site,
                parent=self,
                after=args.secrets_ready,
            )
            for namespace in CLIENT_NAMESPACES
        ]

    def _publish(
        self, site: Site, running: Sequence[pulumi.Resource], args: ExperimentsArgs
    ) -> tuple[pulumi.Resource, ...]:
        host = published_at(site.settings)
        if args.edge_ready is None or not host:
            return ()
        # Large artifacts do not come this way; a search over many runs does, and takes its time.
        backend = Backend(namespace=NAMESPACE, service=NAME, port=PORT, timeout_seconds=300)
        return route(
            NAME,
            host=host,
            rules=[Rule(backend=backend)],
            site=site,
            parent=self,
            after=[*args.edge_ready, *running],
        )
