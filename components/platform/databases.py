"""Databases of the systems on the foundation's PostgreSQL: one each, with a user of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi
from pulumi_kubernetes import batch, core
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.meta import v1 as meta

from components.platform.confinement import container_security, from_secret, mount, plain, resources, secret_files
from components.platform.jobs import awaited_job, errand, job_spec
from components.platform.openings import Namespace, Opening, Pods
from components.platform.secrets import API, external_secret
from components.platform.site import Site
from components.versions import IMAGES

NAMESPACE: Final[Namespace] = "mlops-system"
"""Where the jobs run. Nobody but the platform's administrators starts pods or reads secrets there: the administrator of
the database server is needed nowhere else."""

ADMIN_ENTRY: Final = "database-admin"
"""Entry of the secret store that the jobs read."""

CA_STORE: Final = "database-ca"
"""Name of the ClusterSecretStore that serves the certificates of those who sign the server's."""

CA_KEY: Final = "ca.pem"
"""Key of those certificates in a Secret."""

_ADMIN_SECRET: Final = "database-admin"
_LABELS: Final[dict[str, str]] = {"app.kubernetes.io/name": "database-job"}
_JOBS: Final = Pods(namespace=NAMESPACE, labels=_LABELS)
_MOUNTS: Final = "/run/secrets/llmops"
_POSTGRES: Final = 70  # `postgres` of the image
_DEADLINE_SECONDS: Final = 900  # seven tries, the pauses between them doubling from ten seconds

OPENINGS: tuple[Opening, ...] = (
    Opening(source=_JOBS, target="stores", ports=(5432,), why="Databases and their users are created there."),
)
"""What the jobs reach. The certificates come with External Secrets, which has its own way out."""


@dataclass(frozen=True, kw_only=True)
class DatabasesArgs:
    """What all databases share.

    Attributes:
        site: Where the platform is installed.
        secrets_ready: ``SecretSync.ready``.
    """

    site: Site
    secrets_ready: Sequence[pulumi.Resource]


class Databases(pulumi.ComponentResource):
    """What jobs need before any database is made: the administrator's credentials, the certificates of the server."""

    ready: tuple[pulumi.Resource, ...]
    """What :func:`database` comes after."""

    def __init__(self, name: str, args: DatabasesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:platform:Databases", name, None, opts)
        site = args.site
        admin = external_secret(
            f"{name}-admin",
            namespace=NAMESPACE,
            secret_name=_ADMIN_SECRET,
            data={key: (ADMIN_ENTRY, key) for key in ("username", "password")},
            site=site,
            parent=self,
            after=args.secrets_ready,
        )
        if site.foundation.database.ca_certificates is not None:
            self.ready = (admin,)
        else:
            certificates = CustomResource(
                f"{name}-certificates",
                api_version=API,
                kind="ClusterSecretStore",
                metadata=meta.ObjectMetaArgs(name=CA_STORE),
                spec=certificate_store(site.foundation.database.ca_bundle_url),
                # The definition and its webhook.
                opts=pulumi.ResourceOptions(parent=self, depends_on=list(args.secrets_ready)),
            )
            self.ready = (admin, certificates)
        self.register_outputs({})


@dataclass(frozen=True, kw_only=True)
class DatabaseAccess:
    """How one system reaches its database.

    Attributes:
        host: DNS name; the server's certificate holds it, so clients can and must verify it (``verify-full``).
        port: TCP port.
        name: Name of the database; plain.
        entry: Entry of the secret store with ``username`` and ``password``; for a Secret of another form.
        secret_name: Secret in the system's namespace with ``username`` and ``password``.
        ca_secret_name: Secret in the system's namespace whose key :data:`CA_KEY` holds the certificates to trust.
        ready: The job that makes database and user, and both Secrets; for ``depends_on``.
    """

    host: pulumi.Output[str]
    port: pulumi.Output[int]
    name: str
    entry: str
    secret_name: str
    ca_secret_name: str
    ready: tuple[pulumi.Resource, ...]


def database(
    name: str,
    *,
    purpose: str,
    database: str,
    namespace: Namespace,
    site: Site,
    parent: pulumi.Resource,
    after: Sequence[pulumi.Resource],
    connections: int = 40,
) -> DatabaseAccess:
    """Make a database and its user, and bring what a client needs into its namespace.

    It can be run again at any time, and does so when its arguments change. Nothing here deletes a database: it stays
    when the call is removed.

    Args:
        name: Name of the Pulumi resources.
        purpose: Entry of the secret store with the user's ``username`` and ``password``, such as ``mlflow-database``.
        database: Name of the database; the user owns it, and nobody else may connect to it.
        namespace: Where the system runs.
        site: Where the platform is installed.
        parent: The system's component.
        after: ``Databases.ready``.
        connections: Connections of the user at most: one system's pools must not take those of the others (the server
            has 200 of them on the smallest class).
    """
    login = {key: (purpose, key) for key in ("username", "password")}
    secret_name, ca_secret_name = purpose, f"{purpose}-ca"
    places: set[Namespace] = {NAMESPACE, namespace}
    logins = {
        place: external_secret(
            name if place == namespace else f"{name}-job",
            namespace=place,
            secret_name=secret_name,
            data=login,
            site=site,
            parent=parent,
            after=after,
        )
        for place in sorted(places)
    }
    authorities = {
        place: _certificates(
            f"{name}-ca" if place == namespace else f"{name}-job-ca", place, ca_secret_name, site, parent, after
        )
        for place in sorted(places)
    }
    job = awaited_job(
        name,
        database_job(site, purpose=purpose, database=database, connections=connections),
        namespace=NAMESPACE,
        labels=_LABELS,
        deadline_seconds=_DEADLINE_SECONDS,
        opts=pulumi.ResourceOptions(
            parent=parent,
            depends_on=[logins[NAMESPACE], authorities[NAMESPACE], *site.namespaces[NAMESPACE], *after],
        ),
    )
    return DatabaseAccess(
        host=site.foundation.database.host,
        port=site.foundation.database.port,
        name=database,
        entry=purpose,
        secret_name=secret_name,
        ca_secret_name=ca_secret_name,
        ready=(job, logins[namespace], authorities[namespace]),
    )


def client_environment(access: DatabaseAccess, *, ca_path: str) -> list[core.v1.EnvVarArgs]:
    """Environment of a client that is built on libpq, such as psycopg: an address without a user is then enough.

    Args:
        access: The database.
        ca_path: Where the container has the file :data:`CA_KEY`.
    """
    return [
        *plain(
            {
                "PGHOST": access.host,
                "PGPORT": access.port.apply(str),
                "PGDATABASE": access.name,
                "PGSSLMODE": "verify-full",
                "PGSSLROOTCERT": ca_path,
            }
        ),
        from_secret("PGUSER", access.secret_name, "username"),
        from_secret("PGPASSWORD", access.secret_name, "password"),
    ]


def certificate_store(url: str) -> dict[str, Any]:
    """A store of External Secrets that answers every key with the document at ``url``.

    So no pod of a system fetches it when it starts: the operator does, keeps the last one when the address does not
    answer, and notices a new one. The address is verified with the operator's own list of public authorities.
    """
    return {"provider": {"webhook": {"url": url, "method": "GET", "timeout": "30s", "result": {}}}}


def _certificates(
    name: str,
    namespace: Namespace,
    secret_name: str,
    site: Site,
    parent: pulumi.Resource,
    after: Sequence[pulumi.Resource],
) -> pulumi.Resource:
    if (known := site.foundation.database.ca_certificates) is not None:
        return core.v1.Secret(
            name,
            metadata=meta.ObjectMetaArgs(name=secret_name, namespace=namespace),
            string_data={CA_KEY: known},
            opts=pulumi.ResourceOptions(parent=parent, depends_on=list(site.namespaces[namespace])),
        )
    return CustomResource(
        name,
        api_version=API,
        kind="ExternalSecret",
        metadata=meta.ObjectMetaArgs(name=secret_name, namespace=namespace),
        spec={
            "refreshInterval": "24h",  # new authorities are announced years before they sign
            "secretStoreRef": {"kind": "ClusterSecretStore", "name": CA_STORE},
            "target": {"name": secret_name, "creationPolicy": "Owner", "deletionPolicy": "Retain"},
            "data": [{"secretKey": CA_KEY, "remoteRef": {"key": "certificates"}}],
        },
        opts=pulumi.ResourceOptions(parent=parent, depends_on=[*site.namespaces[namespace], *after]),
    )


def database_job(site: Site, *, purpose: str, database: str, connections: int) -> batch.v1.JobSpecArgs:
    """Specification of the job; any change of it makes a new job."""
    server = site.foundation.database
    environment: dict[str, pulumi.Input[str]] = {
        "PGHOST": server.host,
        "PGPORT": server.port.apply(str),
        "PGDATABASE": "postgres",
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": f"{_MOUNTS}/ca/{CA_KEY}",
        "PGCONNECT_TIMEOUT": "10",
        "SECRETS": _MOUNTS,
        "DATABASE": database,
        "CONNECTIONS": str(connections),
    }
    mounts = {"admin": _ADMIN_SECRET, "owner": purpose, "ca": f"{purpose}-ca"}
    container = core.v1.ContainerArgs(
        name="database",
        image=IMAGES["postgres-client"],
        command=["/bin/sh", "-c", SCRIPT],
        env=plain(environment),
        resources=resources("10m", "32Mi", "128Mi"),
        security_context=container_security(),
        volume_mounts=[mount(volume, f"{_MOUNTS}/{volume}", read_only=True) for volume in mounts],
    )
    volumes = [secret_files(volume, secret) for volume, secret in mounts.items()]
    return job_spec(
        errand(container, user=_POSTGRES, nodes=site.system_nodes, volumes=volumes),
        labels=_LABELS,
        deadline_seconds=_DEADLINE_SECONDS,
        retries=6,
    )


# The administrator need not be a superuser, and on managed services is none: it has CREATEDB and CREATEROLE.
#
# The password goes through psql's own \password, which asks twice on standard input: psql hashes it, so that the server
# never sees it and no log of a statement can show it. The statements come in on another descriptor, therefore.
SCRIPT: Final = r"""
set -eu
PGUSER="$(cat "$SECRETS/admin/username")"
PGPASSWORD="$(cat "$SECRETS/admin/password")"
export PGUSER PGPASSWORD
{ cat "$SECRETS/owner/password"; echo; cat "$SECRETS/owner/password"; echo; } |
psql --no-psqlrc --quiet --tuples-only --set=ON_ERROR_STOP=1 --set=database="$DATABASE" \
  --set=owner="$(cat "$SECRETS/owner/username")" --set=connections="$CONNECTIONS" --file=/dev/fd/3 3<<'SQL'
-- Jobs of several systems may run at once, and roles are shared by all databases. Released when the session ends.
SELECT pg_advisory_lock(7313);

-- A name that is taken by another system is a mistake in the settings.
SELECT format('DO $do$ BEGIN RAISE EXCEPTION %L; END $do$',
    format('database %s belongs to %s, not to %s', datname, pg_get_userbyid(datdba), :'owner'))
  FROM pg_database WHERE datname = :'database' AND pg_get_userbyid(datdba) <> :'owner' \gexec

SELECT format('CREATE ROLE %I', :'owner')
  WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'owner') \gexec
ALTER ROLE :"owner" LOGIN CONNECTION LIMIT :connections;
\password :"owner"

-- Who makes a database for another must be able to become the other.
SET client_min_messages = warning;
GRANT :"owner" TO CURRENT_USER;
SELECT format('CREATE DATABASE %I OWNER %I', :'database', :'owner')
  WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database') \gexec
SET ROLE :"owner";
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
SQL
echo "database $DATABASE is ready"
"""
