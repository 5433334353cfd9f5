"""Recovery drills: restores that are rehearsed on a schedule beside what lives, and what tells of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi_kubernetes import apps, batch, core, rbac
from pulumi_kubernetes.meta import v1 as meta

from components.contract import Grant, ObjectGrant
from components.platform.confinement import (
    config_files,
    container_security,
    from_secret,
    mount,
    plain,
    pod_security,
    resources,
    secret_files,
)
from components.platform.databases import CA_KEY, DatabaseAccess, database
from components.platform.drill_names import DATABASE, OBJECTIVES, RECORDS, RECORDS_NAMESPACE, REGISTRY, VECTORS
from components.platform.drill_pods import PROGRAMS, USER, programs, registry_pod, vectors_pod
from components.platform.experiments.component import DATABASE_ENTRY
from components.platform.jobs import awaited_job, errand, job_spec
from components.platform.openings import MLFLOW, SCRAPER, Namespace, Opening, Outside, Pods
from components.platform.quotas import Allowance
from components.platform.site import Site
from components.platform.vectors_backups import RESTORE_GRANTS
from components.settings.platform import PlatformSettings
from components.versions import IMAGES

ENTRY: Final = "registry-drill-database"
"""Entry of the secret store with the user of the scratch database."""

METRICS_PORT: Final = 9108
"""Port of the metrics of drills."""

METRICS_LABELS: Final[dict[str, str]] = {"app.kubernetes.io/name": RECORDS}
"""Labels of the pod that serves them."""

_SYSTEM: Final[Namespace] = "mlops-system"
_DATA: Final[Namespace] = "mlops-data"
_SOURCE: Final = "mlflow"
_REGISTRY_LABELS: Final[dict[str, str]] = {"app.kubernetes.io/name": REGISTRY}
_VECTORS_LABELS: Final[dict[str, str]] = {"app.kubernetes.io/name": VECTORS}
_REGISTRY_PODS: Final = Pods(namespace=_SYSTEM, labels=_REGISTRY_LABELS)
_CA: Final = "/etc/database-ca"
_RECORDS_FOLDER: Final = "/records"
_RIGHTS_SECONDS: Final = 900
_REGISTRY_SECONDS: Final = 3 * 3600
_VECTORS_SECONDS: Final = 8 * 3600
_CONNECTIONS: Final = 10

# Models and what was logged with runs; versions in the registry name places in this bucket.
_REGISTRY_GRANTS: Final[tuple[Grant, ...]] = (ObjectGrant(bucket="mlflow", access="read"),)


@dataclass(frozen=True, kw_only=True)
class DrillsArgs:
    """What drills need.

    Attributes:
        site: Where they are installed.
        databases_ready: ``Databases.ready``.
        experiments_ready: ``Experiments.ready``: the user of MLflow's tables, who lets the drill read them.
        vectors_ready: ``Vectors.ready``: the backups' configuration.
    """

    site: Site
    databases_ready: Sequence[pulumi.Resource]
    experiments_ready: Sequence[pulumi.Resource]
    vectors_ready: Sequence[pulumi.Resource]


def rehearses_registry(settings: PlatformSettings) -> bool:
    """Whether the registry's restore is rehearsed on a schedule."""
    return settings.drills.enabled and settings.drills.registry.enabled and settings.experiments.enabled


def rehearses_vectors(settings: PlatformSettings) -> bool:
    """Whether the vector database's restore is rehearsed on a schedule."""
    wanted = settings.drills.enabled and settings.drills.vectors.enabled
    return wanted and settings.vectors.enabled and settings.vectors.backups.enabled


def openings(site: Site) -> Iterator[Opening]:
    """What drills reach, and who reads their metrics. Pods of ``mlops-data`` have the ways of their namespace."""
    if not site.settings.drills.enabled:
        return
    metrics = Pods(namespace=_SYSTEM, labels=METRICS_LABELS)
    yield Opening(source=SCRAPER, target=metrics, ports=(METRICS_PORT,), why="Metrics: a restore that does not work.")
    if rehearses_registry(site.settings):
        ways: tuple[tuple[Outside, int, str], ...] = (
            ("stores", 5432, "The registry is dumped, and restored beside itself."),
            ("cloud-apis", 443, "Files of registered models are read."),
            ("api-server", 443, "What a drill found is kept in a ConfigMap."),
        )
        for target, port, why in ways:
            yield Opening(source=_REGISTRY_PODS, target=target, ports=(port,), why=why)
        yield Opening(source=_REGISTRY_PODS, target=MLFLOW, ports=(5000,), why="What a drill found is logged as a run.")


def entries(settings: PlatformSettings) -> Iterator[str]:
    """Entries of the secret store that are read."""
    if rehearses_registry(settings):
        yield ENTRY


def allowances(settings: PlatformSettings) -> dict[Namespace, Allowance]:
    """What drills may ask for besides their namespaces' shares; ``mlops-data`` has room for its own."""
    if not settings.drills.enabled:
        return {}
    drill = 256 if rehearses_registry(settings) else 0
    return {_SYSTEM: Allowance(cpu_millicores=110, memory_mib=32 + drill, disk_gib=0, volumes_gib=0)}


class Drills(pulumi.ComponentResource):
    """Scheduled drills, the record of each kind's last one, and metrics of the records."""

    ready: tuple[pulumi.Resource, ...]

    def __init__(self, name: str, args: DrillsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:platform:Drills", name, None, opts)
        site = args.site
        self._child = pulumi.ResourceOptions(parent=self, depends_on=list(site.namespaces[_SYSTEM]))
        records = core.v1.ConfigMap(
            f"{name}-records",
            metadata=meta.ObjectMetaArgs(
                name=RECORDS,
                namespace=RECORDS_NAMESPACE,
                labels=METRICS_LABELS,
                annotations={OBJECTIVES: _cluster_objective(site)},
            ),
            # What drills write into it is theirs.
            opts=pulumi.ResourceOptions.merge(self._child, pulumi.ResourceOptions(ignore_changes=["data"])),
        )
        accounts: list[tuple[Namespace, str]] = []
        made: list[pulumi.Resource] = [records, *self._metrics(name, site, records)]
        if rehearses_registry(site.settings):
            made += self._registry(name, args)
            accounts.append((_SYSTEM, REGISTRY))
        if rehearses_vectors(site.settings):
            made += self._vectors(name, args)
            accounts.append((_DATA, VECTORS))
        self.ready = (*made, *self._rights(name, accounts))
        self.register_outputs({})

    def _metrics(self, name: str, site: Site, records: core.v1.ConfigMap) -> tuple[pulumi.Resource, ...]:
        """The pod that serves metrics: it reads a mounted ConfigMap, and has neither identity nor token."""
        program = core.v1.ConfigMap(
            f"{name}-metrics-program",
            metadata=meta.ObjectMetaArgs(name=f"{RECORDS}-metrics", namespace=_SYSTEM),
            data=programs("drill_metrics.py"),
            opts=self._child,
        )
        container = core.v1.ContainerArgs(
            name="metrics",
            image=IMAGES["mlflow"],  # for its Python; it is on these nodes already
            command=["python", "/opt/drill/drill_metrics.py"],
            env=plain({"RECORDS": _RECORDS_FOLDER, "PORT": str(METRICS_PORT), "PYTHONUNBUFFERED": "1"}),
            ports=[core.v1.ContainerPortArgs(name="metrics", container_port=METRICS_PORT)],
            readiness_probe=core.v1.ProbeArgs(
                tcp_socket=core.v1.TCPSocketActionArgs(port="metrics"), period_seconds=10
            ),
            liveness_probe=core.v1.ProbeArgs(
                http_get=core.v1.HTTPGetActionArgs(path="/metrics", port="metrics"),
                initial_delay_seconds=15,
                period_seconds=60,
            ),
            resources=resources("10m", "32Mi", "96Mi"),
            security_context=container_security(),
            volume_mounts=[
                mount("program", "/opt/drill", read_only=True),
                mount("records", _RECORDS_FOLDER, read_only=True),
            ],
        )
        deployment = apps.v1.Deployment(
            f"{name}-metrics",
            metadata=meta.ObjectMetaArgs(name=RECORDS, namespace=_SYSTEM, labels=METRICS_LABELS),
            spec=apps.v1.DeploymentSpecArgs(
                replicas=1,  # the records are in the ConfigMap: another pod says the same
                selector=meta.LabelSelectorArgs(match_labels=METRICS_LABELS),
                template=core.v1.PodTemplateSpecArgs(
                    metadata=meta.ObjectMetaArgs(labels=METRICS_LABELS),
                    spec=core.v1.PodSpecArgs(
                        automount_service_account_token=False,
                        enable_service_links=False,
                        node_selector=site.system_nodes,
                        security_context=pod_security(USER),
                        containers=[container],
                        volumes=[
                            config_files("program", f"{RECORDS}-metrics"),
                            config_files("records", RECORDS),
                        ],
                    ),
                ),
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*site.namespaces[_SYSTEM], records, program]),
        )
        return program, deployment

    def _registry(self, name: str, args: DrillsArgs) -> list[pulumi.Resource]:
        site = args.site
        access = database(
            f"{name}-database",
            purpose=ENTRY,
            database=DATABASE,
            namespace=_SYSTEM,
            site=site,
            parent=self,
            after=args.databases_ready,
            connections=_CONNECTIONS,
        )
        rights = awaited_job(
            f"{name}-rights",
            rights_job(site, access),
            namespace=_SYSTEM,
            labels=_REGISTRY_LABELS,
            deadline_seconds=_RIGHTS_SECONDS,
            opts=pulumi.ResourceOptions(
                parent=self,
                # Both users, and what MLflow made: the rights are its user's to give.
                depends_on=[*site.namespaces[_SYSTEM], *access.ready, *args.experiments_ready],
            ),
        )
        pod = registry_pod(site, access, source=_SOURCE, account=REGISTRY, deadline_seconds=_REGISTRY_SECONDS)
        drill = self._job(
            f"{name}-registry",
            REGISTRY,
            _SYSTEM,
            site,
            pod,
            schedule=site.settings.drills.registry.schedule,
            deadline_seconds=_REGISTRY_SECONDS,
            grants=_REGISTRY_GRANTS,
            programs_of=(
                *("drill_report.py", "drill_claim.py", "drill_registry.py"),
                *("drill_model.py", "drill_objects.py", "drill_weights.py"),
            ),
            after=[rights, *access.ready],
        )
        return [rights, drill]

    def _vectors(self, name: str, args: DrillsArgs) -> list[pulumi.Resource]:
        site = args.site
        drill = self._job(
            f"{name}-vectors",
            VECTORS,
            _DATA,
            site,
            vectors_pod(site, account=VECTORS, deadline_seconds=_VECTORS_SECONDS),
            schedule=site.settings.drills.vectors.schedule,
            deadline_seconds=_VECTORS_SECONDS,
            grants=RESTORE_GRANTS,
            programs_of=("drill_report.py", "drill_claim.py", "drill_vectors.py"),
            after=args.vectors_ready,
        )
        return [drill]

    def _job(
        self,
        name: str,
        title: str,
        namespace: Namespace,
        site: Site,
        pod: core.v1.PodSpecArgs,
        *,
        schedule: str,
        deadline_seconds: int,
        grants: Sequence[Grant],
        programs_of: Sequence[str],
        after: Sequence[pulumi.Resource],
    ) -> batch.v1.CronJob:
        there = list(site.namespaces[namespace])
        identity = site.foundation.identity.grant(
            name, namespace=namespace, service_account=title, grants=grants, parent=self
        )
        account = core.v1.ServiceAccount(
            f"{name}-account",
            metadata=meta.ObjectMetaArgs(name=title, namespace=namespace, annotations=dict(identity.annotations)),
            automount_service_account_token=False,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*there, *identity.ready]),
        )
        program = core.v1.ConfigMap(
            f"{name}-programs",
            metadata=meta.ObjectMetaArgs(name=PROGRAMS, namespace=namespace),
            data=programs(*programs_of),
            opts=pulumi.ResourceOptions(parent=self, depends_on=there),
        )
        labels = {"app.kubernetes.io/name": title}
        return batch.v1.CronJob(
            name,
            metadata=meta.ObjectMetaArgs(name=title, namespace=namespace, labels=labels),
            spec=batch.v1.CronJobSpecArgs(
                schedule=schedule,
                time_zone="Etc/UTC",
                concurrency_policy="Forbid",
                starting_deadline_seconds=3600,  # after an outage of the control plane
                successful_jobs_history_limit=1,
                failed_jobs_history_limit=2,
                job_template=batch.v1.JobTemplateSpecArgs(
                    metadata=meta.ObjectMetaArgs(labels=labels),
                    # Not tried again: what failed is looked at, and the next try is a drill of its own.
                    spec=job_spec(pod, labels=labels, deadline_seconds=deadline_seconds, retries=0),
                ),
            ),
            # What its pods name, and what they restore from.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[account, program, *after]),
        )

    def _rights(self, name: str, accounts: Sequence[tuple[Namespace, str]]) -> tuple[pulumi.Resource, ...]:
        """To read and to change one ConfigMap, and nothing else in the cluster."""
        if not accounts:
            return ()
        role = rbac.v1.Role(
            f"{name}-records-role",
            metadata=meta.ObjectMetaArgs(name=RECORDS, namespace=RECORDS_NAMESPACE),
            rules=[
                rbac.v1.PolicyRuleArgs(
                    api_groups=[""], resources=["configmaps"], resource_names=[RECORDS], verbs=["get", "patch"]
                )
            ],
            opts=self._child,
        )
        binding = rbac.v1.RoleBinding(
            f"{name}-records-binding",
            metadata=meta.ObjectMetaArgs(name=RECORDS, namespace=RECORDS_NAMESPACE),
            role_ref=rbac.v1.RoleRefArgs(api_group="rbac.authorization.k8s.io", kind="Role", name=RECORDS),
            subjects=[
                rbac.v1.SubjectArgs(kind="ServiceAccount", namespace=namespace, name=account)
                for namespace, account in accounts
            ],
            opts=pulumi.ResourceOptions(parent=self, depends_on=[role]),  # a binding names it, and refers to nothing
        )
        return role, binding


def _cluster_objective(site: Site) -> str:
    """What the operator's command measures against; drills of pods have it in their environment."""
    objective = site.settings.drills.cluster.objective
    return json.dumps({"timeSeconds": objective.time_minutes * 60, "pointSeconds": objective.point_minutes * 60})


def rights_job(site: Site, access: DatabaseAccess) -> batch.v1.JobSpecArgs:
    """Specification of the job that lets the drill's user read the registry; it acts as the registry's own user."""
    container = core.v1.ContainerArgs(
        name="rights",
        image=IMAGES["postgres-client"],
        command=["/bin/sh", "-c", RIGHTS_SCRIPT],
        env=[
            *plain(
                {
                    "PGHOST": access.host,
                    "PGPORT": access.port.apply(str),
                    "PGDATABASE": _SOURCE,
                    "PGSSLMODE": "verify-full",
                    "PGSSLROOTCERT": f"{_CA}/{CA_KEY}",
                    "PGCONNECT_TIMEOUT": "10",
                    "READER": DATABASE,
                }
            ),
            from_secret("PGUSER", DATABASE_ENTRY, "username"),
            from_secret("PGPASSWORD", DATABASE_ENTRY, "password"),
        ],
        resources=resources("10m", "32Mi", "128Mi"),
        security_context=container_security(),
        volume_mounts=[mount("ca", _CA, read_only=True)],
    )
    volumes = [secret_files("ca", f"{ENTRY}-ca")]
    return job_spec(
        errand(container, user=USER, nodes=site.system_nodes, volumes=volumes),
        labels=_REGISTRY_LABELS,
        deadline_seconds=_RIGHTS_SECONDS,
        retries=6,
    )


# Tables that a later version of MLflow makes are readable too.
RIGHTS_SCRIPT: Final = r"""
set -eu
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --set=reader="$READER" --set=source="$PGDATABASE" <<'SQL'
GRANT CONNECT ON DATABASE :"source" TO :"reader";
GRANT USAGE ON SCHEMA public TO :"reader";
GRANT SELECT ON ALL TABLES IN SCHEMA public TO :"reader";
GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO :"reader";
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO :"reader";
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON SEQUENCES TO :"reader";
SQL
echo "$READER reads $PGDATABASE"
"""
