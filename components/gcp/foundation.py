"""The Google Cloud foundation: every piece, wired together, behind the contract."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from components import contract
from components.buckets import ROLES, key_domain
from components.capacity.gce import REGIONS
from components.credentials import declared
from components.gcp.alarms import Alarms, AlarmsArgs
from components.gcp.budget import Budget, BudgetArgs
from components.gcp.cache import PORT as CACHE_PORT
from components.gcp.cache import Cache, CacheArgs
from components.gcp.compute import ComputeArgs, build_compute
from components.gcp.database import Database, DatabaseArgs
from components.gcp.files import CSI_DRIVER, Files, FilesArgs
from components.gcp.identity import GcpIdentity, custom_roles
from components.gcp.keys import Keys, KeysArgs, multi_region
from components.gcp.load_balancers import load_balancers
from components.gcp.logs import ClusterLogs, ClusterLogsArgs
from components.gcp.network import Network, NetworkArgs
from components.gcp.nodes import NodeAccount
from components.gcp.objects import Objects, ObjectsArgs
from components.gcp.project import SERVICES, Apis, ApisArgs, Project
from components.gcp.registry import Registry, RegistryArgs
from components.gcp.secrets import Secrets, SecretsArgs, SecretVault
from components.settings import Settings


@dataclass(frozen=True, kw_only=True)
class GcpFoundationArgs:
    """What the foundation is built from.

    Attributes:
        settings: The stack's settings.
        project: Project name of Pulumi.
        stack: Stack name; with the project it prefixes the names that must be known in advance.
    """

    settings: Settings
    project: str
    stack: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", self.prefix):  # what Google's services take alike
            raise pulumi.RunError(
                f"project and stack name: {self.prefix} begins Google Cloud names: lower-case letters, digits and "
                "single hyphens"
            )
        if len(self.prefix) > 40:
            raise pulumi.RunError(
                f"project and stack name: {self.prefix} has {len(self.prefix)} characters, GKE allows 40 for a cluster"
            )

    @property
    def prefix(self) -> str:
        """``<project>-<stack>``."""
        return f"{self.project}-{self.stack}"


@dataclass(frozen=True, kw_only=True)
class GcpModelHosting:
    """Implements ``contract.ModelHosting`` with Vertex AI; its adapter takes what it needs from a model's settings.

    Attributes:
        project: Where endpoints are.
        provider: Makes them.
    """

    project: Project
    provider: gcp.Provider

    @property
    def service(self) -> contract.ModelService:
        """Which service it is."""
        return "vertex"


class GcpFoundation(pulumi.ComponentResource):
    """A project's worth of network, cluster, stores, keys and identities; ``result`` is the contract."""

    result: contract.Foundation

    def __init__(self, name: str, args: GcpFoundationArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:gcp:Foundation", name, None, opts)
        settings, prefix = args.settings, args.prefix
        labels = default_labels(args)
        project, provider = self._project(name, settings, labels)
        child = pulumi.ResourceOptions(parent=self, provider=provider)
        location, data_regions = bucket_place(settings)

        keys = Keys(
            f"{name}-keys",
            KeysArgs(
                prefix=prefix,
                project=project,
                deletion_window_days=settings.key_deletion_days,
                protect=settings.protect,
                bucket_location=multi_region(location),
            ),
            child,
        )
        alarms = Alarms(f"{name}-alarms", AlarmsArgs(prefix=prefix, emails=settings.alarms.emails), child)
        if settings.gcp.billing_account:
            told = Alarms(f"{name}-budget-channels", AlarmsArgs(prefix=prefix, emails=settings.budget.emails), child)
            Budget(
                f"{name}-budget",
                BudgetArgs(
                    prefix=prefix,
                    project=project,
                    billing_account=settings.gcp.billing_account,
                    monthly_usd=settings.budget.monthly_usd,
                    alert_percent=settings.budget.alert_percent,
                    channels=(*told.channels, *alarms.channels),
                ),
                child,
            )
        network = Network(
            f"{name}-network",
            NetworkArgs(
                prefix=prefix,
                region=project.region,
                cidr=settings.network.cidr,
                pod_cidr=settings.gcp.pod_cidr,
                service_cidr=settings.cluster.service_cidr,
                zones=settings.zones,
                nat_gateways=settings.network.nat_gateways,
            ),
            child,
        )
        bucket_keys: Mapping[contract.BucketRole, pulumi.Output[str]] = {
            role: keys.ids[key_domain(role)] for role in ROLES
        }
        objects = Objects(
            f"{name}-objects",
            ObjectsArgs(
                prefix=prefix,
                project=project,
                location=location,
                data_regions=data_regions,
                kms_keys=bucket_keys,
                tier_after_days=settings.objects.infrequent_access_days,
                noncurrent_days=settings.objects.noncurrent_version_days,
                log_retention_days=settings.objects.log_retention_days,
                force_destroy=not settings.protect,
                protect=settings.protect,
            ),
            child,
        )
        ClusterLogs(
            f"{name}-logs",
            ClusterLogsArgs(
                prefix=prefix,
                project=project,
                kms_key=keys.ids["cluster"],
                retention_days=settings.cluster.log_retention_days,
            ),
            child,
        )
        nodes = NodeAccount(f"{name}-nodes", prefix=prefix, project=project, opts=child)
        registry = Registry(
            f"{name}-registry",
            RegistryArgs(
                prefix=prefix,
                project=project,
                kms_key=keys.ids["storage"],
                node_member=nodes.member,
                repositories=settings.registry.repositories,
                keep_images=settings.registry.keep_images,
                upstreams=tuple(settings.registry.upstreams),
            ),
            child,
        )
        cluster = build_compute(
            name,
            ComputeArgs(
                settings=settings,
                prefix=prefix,
                project=project,
                keys=keys,
                network=network,
                account=nodes,
                images=registry.ready,
                labels=labels,
            ),
            child,
        )
        vault = SecretVault(
            prefix=prefix,
            project=project,
            kms_key=keys.ids["secrets"],
            recovery_window_days=settings.secret_recovery_days,
            protect=settings.protect,
            rotation=settings.rotation,
        )
        secrets = Secrets(
            f"{name}-secrets",
            SecretsArgs(
                vault=vault,
                more=list(declared(settings)),
            ),
            child,
        )
        database = Database(
            f"{name}-database",
            DatabaseArgs(
                prefix=prefix,
                project=project,
                network_id=network.private_services_network_id,
                allocated_range=network.private_services_range,
                kms_key=keys.ids["database"],
                vault=vault,
                labels=labels,
                engine_version=settings.database.engine_version,
                instance_class=settings.database.instance_class,
                storage_gib=settings.database.storage_gib,
                highly_available=settings.database.highly_available,
                backup_retention_days=settings.database.backup_retention_days,
                protect=settings.protect,
                channels=alarms.channels,
            ),
            child,
        )
        cache = Cache(
            f"{name}-cache",
            CacheArgs(
                prefix=prefix,
                project=project,
                network_id=network.private_services_network_id,
                allocated_range=network.private_services_range,
                kms_key=keys.ids["database"],
                vault=vault,
                memory_gib=settings.gcp.cache_memory_gib,
                replicas=settings.cache.replicas,
                snapshot_retention_days=settings.cache.snapshot_retention_days,
                protect=settings.protect,
                channels=alarms.channels,
            ),
            child,
        )
        files = Files(
            f"{name}-files",
            FilesArgs(
                prefix=prefix,
                project=project,
                zone=settings.zones[0],
                network_id=network.private_services_network_id,
                allocated_range=network.private_services_range,
                client_cidrs=[network.plan.nodes],
                kms_key=keys.ids["storage"],
                tier=settings.gcp.files_tier,
                capacity_gib=settings.gcp.files_capacity_gib,
                access_points=settings.files.access_points,
                protect=settings.protect,
            ),
            child,
        )
        entries: Mapping[str, contract.SecretRef] = {
            **secrets.entries,
            "database-admin": database.admin,
            "cache-auth": cache.auth,
        }
        zone = settings.gcp.dns_zone
        dns = (
            contract.DnsZone(kind="cloud-dns", id=f"projects/{project.id}/managedZones/{zone}", region=project.region)
            if zone
            else None
        )
        self.result = contract.Foundation(
            cloud="gcp",
            region=project.region,
            cluster=cluster,
            objects=contract.ObjectStore(
                protocol="gcs",
                endpoint="storage.googleapis.com",
                region=project.region,
                buckets=objects.buckets,
            ),
            database=contract.Database(
                host=database.host,
                port=database.port,
                admin=database.admin,
                ca_bundle_url="",
                ca_certificates=database.ca_certificates,
            ),
            cache=contract.Cache(
                host=cache.host,
                port=cache.port,
                auth=cache.auth,
                ca_certificates=cache.ca_certificates,
                tcp_port=CACHE_PORT,
            ),
            files=contract.SharedFiles(csi_driver=CSI_DRIVER, volumes=files.volumes, attributes=files.attributes),
            secrets=contract.SecretStore(
                kind="gcp-secret-manager", region=project.region, entries=entries, account=project.id
            ),
            identity=GcpIdentity(
                prefix=prefix,
                project=project,
                buckets=objects.names,
                bucket_names={role: bucket.name for role, bucket in objects.buckets.items()},
                secrets=entries,
                roles=custom_roles(f"{name}-roles", prefix, dns_zone=bool(zone), opts=child),
                dns=dns,
            ),
            registry=contract.Registry(
                host=registry.host, repositories=registry.repositories, mirrors=registry.mirrors
            ),
            load_balancers=load_balancers(),
            dns=dns,
            model_hosting=GcpModelHosting(project=project, provider=provider),
        )
        self.register_outputs({"clusterName": cluster.name, "networkId": network.network_id})

    def _project(self, name: str, settings: Settings, labels: Mapping[str, str]) -> tuple[Project, gcp.Provider]:
        """The project, and the provider of all that is in it, which waits for the APIs."""
        first = _provider(f"{name}-gcp-apis", settings.gcp.project, settings.gcp.region, labels)
        number = settings.gcp.project_number or _number(settings.gcp.project, first)
        project = Project(id=settings.gcp.project, number=number, region=settings.gcp.region)
        apis = Apis(
            f"{name}-apis",
            ApisArgs(project=project, services=SERVICES if settings.gcp.enable_apis else ()),
            pulumi.ResourceOptions(parent=self, provider=first),
        )
        return project, _provider(f"{name}-gcp", apis.project_id, settings.gcp.region, labels)


def default_labels(args: GcpFoundationArgs) -> dict[str, str]:
    """Labels of everything: who owns it, who pays, and what made it."""
    settings = args.settings
    return {
        **settings.tags,
        "project": args.project,
        "stack": args.prefix,
        "owner": settings.owner,
        "cost-center": settings.cost_center,
        "managed-by": "pulumi",
    }


def bucket_place(settings: Settings) -> tuple[str, tuple[str, ...]]:
    """Location of the buckets, and the two regions where it is a continent."""
    if not settings.objects.replicate:
        return settings.gcp.region, ()
    return REGIONS[settings.gcp.region].continent, (settings.gcp.region, settings.gcp.dr_region)


def _provider(name: str, project: pulumi.Input[str], region: str, labels: Mapping[str, str]) -> gcp.Provider:
    return gcp.Provider(
        name,
        project=project,
        region=region,
        default_labels=dict(labels),
        add_pulumi_attribution_label=False,  # `managed-by` says it
        # Calls count against this project and not against that of the caller's credentials: budgets demand it.
        user_project_override=True,
        billing_project=project,
    )


def _number(project: str, provider: gcp.Provider) -> str:
    """Ask for the project's number; service agents are called by it, and names are to be known at preview."""
    found = gcp.organizations.get_project(project_id=project, opts=pulumi.InvokeOptions(provider=provider))
    return found.number
