"""The AWS foundation: every piece, wired together, behind the contract."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components import contract
from components.aws.alarms import Alarms, AlarmsArgs
from components.aws.budget import Budget, BudgetArgs
from components.aws.cache import Cache, CacheArgs
from components.aws.compute import ComputeArgs, build_compute
from components.aws.database import CA_BUNDLE_URL, Database, DatabaseArgs
from components.aws.database_replication import DatabaseReplication, DatabaseReplicationArgs
from components.aws.files import CSI_DRIVER, AccessPoint, Files, FilesArgs
from components.aws.identity import AwsIdentity
from components.aws.keys import KeyDomain, Keys, KeysArgs
from components.aws.links import ArtifactLinks, ArtifactLinksArgs
from components.aws.model_endpoints import AwsModelHosting
from components.aws.network import Network, NetworkArgs
from components.aws.objects import Objects, ObjectsArgs
from components.aws.policy import Account
from components.aws.registry import Registry, RegistryArgs
from components.aws.replication import REPLICATED, Replication, ReplicationArgs
from components.aws.secrets import Secrets, SecretsArgs, SecretVault
from components.buckets import LINKED, ROLES, key_domain
from components.credentials import declared
from components.settings import Settings


@dataclass(frozen=True, kw_only=True)
class AwsFoundationArgs:
    """What the foundation is built from.

    Attributes:
        settings: The stack's settings.
        project: Project name.
        stack: Stack name; with the project it prefixes the names that must be known in advance.
    """

    settings: Settings
    project: str
    stack: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", self.prefix):  # what S3, RDS and ECR take alike
            raise pulumi.RunError(
                f"project and stack name: {self.prefix} begins AWS names: lower-case letters, digits and single hyphens"
            )

    @property
    def prefix(self) -> str:
        """``<project>-<stack>``."""
        return f"{self.project}-{self.stack}"


class AwsFoundation(pulumi.ComponentResource):
    """An account's worth of network, cluster, stores, keys and identities; ``result`` is the contract."""

    result: contract.Foundation

    def __init__(self, name: str, args: AwsFoundationArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:aws:Foundation", name, None, opts)
        settings, prefix = args.settings, args.prefix
        tags = default_tags(args)
        provider = _provider(f"{name}-aws", settings.aws.region, settings, tags)
        account = _account(provider, settings)
        child = pulumi.ResourceOptions(parent=self, provider=provider)

        keys = Keys(
            f"{name}-keys",
            KeysArgs(
                prefix=prefix,
                account=account,
                deletion_window_days=settings.key_deletion_days,
                protect=settings.protect,
            ),
            child,
        )
        alarms = Alarms(
            f"{name}-alarms",
            AlarmsArgs(prefix=prefix, account=account, kms_key_arn=keys.arns["logs"], emails=settings.alarms.emails),
            child,
        )
        Budget(
            f"{name}-budget",
            BudgetArgs(
                prefix=prefix,
                monthly_usd=settings.budget.monthly_usd,
                tag_key="stack",
                tag_value=prefix,
                alert_percent=settings.budget.alert_percent,
                emails=settings.budget.emails,
                topic_arn=alarms.topic_arn,
            ),
            child,
        )
        network = Network(
            f"{name}-network",
            NetworkArgs(
                account=account,
                cidr=settings.network.cidr,
                zones=settings.zones,
                nat_gateways=settings.network.nat_gateways,
                interface_endpoints=settings.network.interface_endpoints,
                cluster_name=prefix,
                flow_logs_retention_days=settings.network.flow_logs_retention_days,
                logs_key_arn=keys.arns["logs"],
            ),
            child,
        )
        bucket_keys: Mapping[contract.BucketRole, pulumi.Output[str]] = {
            role: keys.arns[key_domain(role)] for role in ROLES
        }
        objects = Objects(
            f"{name}-objects",
            ObjectsArgs(
                prefix=prefix,
                account=account,
                kms_key_arns=bucket_keys,
                tier_after_days=settings.objects.infrequent_access_days,
                noncurrent_days=settings.objects.noncurrent_version_days,
                log_retention_days=settings.objects.log_retention_days,
                force_destroy=not settings.protect,
                protect=settings.protect,
            ),
            child,
        )
        abroad = self._second_region(name, args, account, tags)
        if abroad and settings.objects.replicate:
            Replication(
                f"{name}-replication",
                ReplicationArgs(
                    prefix=prefix,
                    source_account=account,
                    replica_account=abroad.account,
                    replica_provider=abroad.provider,
                    sources={role: objects.secure_buckets[role] for role in REPLICATED},
                    source_kms_key_arn=keys.arns["objects"],  # the key of all that is replicated
                    replica_kms_key_arn=abroad.keys["objects"],
                    force_destroy=not settings.protect,
                    protect=settings.protect,
                    alarm_topic_arn=alarms.topic_arn,
                ),
                child,
            )
        links = ArtifactLinks(
            f"{name}-links",
            ArtifactLinksArgs(
                account=account,
                bucket_arns=[objects.arns[role] for role in LINKED],
                kms_key_arn=keys.arns["objects"],  # the key of all of these
            ),
            child,
        )
        compute = build_compute(
            name,
            ComputeArgs(
                settings=settings,
                prefix=prefix,
                account=account,
                keys=keys,
                network=network,
                objects=objects,
                tags=tags,
            ),
            child,
        )
        clients = {"cluster": compute.security_group_id}
        vault = SecretVault(
            prefix=prefix,
            kms_key_arn=keys.arns["secrets"],
            recovery_window_days=settings.secret_recovery_days,
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
                account=account,
                vpc_id=network.vpc_id,
                subnet_ids=network.isolated_subnet_ids,
                client_security_group_ids=clients,
                kms_key_arn=keys.arns["database"],
                secrets_kms_key_arn=keys.arns["secrets"],
                logs_kms_key_arn=keys.arns["logs"],
                engine_version=settings.database.engine_version,
                instance_class=settings.database.instance_class,
                storage_gib=settings.database.storage_gib,
                highly_available=settings.database.highly_available,
                backup_retention_days=settings.database.backup_retention_days,
                log_retention_days=settings.database.log_retention_days,
                monitoring_seconds=settings.database.monitoring_seconds,
                protect=settings.protect,
                alarm_topic_arn=alarms.topic_arn,
            ),
            child,
        )
        if abroad and settings.database.has_replica(settings.objects):
            DatabaseReplication(
                f"{name}-database-replication",
                DatabaseReplicationArgs(
                    source_arn=database.arn,
                    replica_provider=abroad.provider,
                    replica_kms_key_arn=abroad.keys["database"],
                    retention_days=settings.database.backup_retention_days,
                ),
                child,
            )
        cache = Cache(
            f"{name}-cache",
            CacheArgs(
                vpc_id=network.vpc_id,
                subnet_ids=network.isolated_subnet_ids,
                client_security_group_ids=clients,
                kms_key_arn=keys.arns["database"],
                vault=vault,
                engine_version=settings.cache.engine_version,
                node_type=settings.cache.node_type,
                replicas=settings.cache.replicas,
                snapshot_retention_days=settings.cache.snapshot_retention_days,
                alarm_topic_arn=alarms.topic_arn,
            ),
            child,
        )
        files = Files(
            f"{name}-files",
            FilesArgs(
                account=account,
                vpc_id=network.vpc_id,
                subnet_ids=network.private_subnet_ids,
                client_security_group_ids=clients,
                kms_key_arn=keys.arns["storage"],
                throughput_mode=settings.files.throughput_mode,
                access_points=[AccessPoint(name=point) for point in settings.files.access_points],
                backups=settings.files.backups,
                protect=settings.protect,
                alarm_topic_arn=alarms.topic_arn,
            ),
            child,
        )
        registry = Registry(
            f"{name}-registry",
            RegistryArgs(
                prefix=prefix,
                account=account,
                kms_key_arn=keys.arns["storage"],
                tags=tags,
                repositories=settings.registry.repositories,
                keep_images=settings.registry.keep_images,
                force_delete=not settings.protect,
                upstreams={host: arn or None for host, arn in settings.registry.upstreams.items()},
                owns_account_settings=settings.registry.owns_account_settings,
            ),
            child,
        )
        entries: Mapping[str, contract.SecretRef] = {
            **secrets.entries,
            "database-admin": database.admin,
            "cache-auth": cache.auth,
        }
        zone = settings.aws.hosted_zone_id
        dns = contract.DnsZone(kind="route53", id=zone, region=settings.aws.region) if zone else None
        identity = AwsIdentity(
            account=account,
            issuer=compute.issuer,
            bucket_arns=objects.arns,
            bucket_key_arns=bucket_keys,
            secrets=entries,
            secrets_key_arn=keys.arns["secrets"],
            dns=dns,
        )
        self.result = contract.Foundation(
            cloud="aws",
            region=settings.aws.region,
            cluster=compute.cluster,
            objects=contract.ObjectStore(
                protocol="s3",
                endpoint=f"s3.{settings.aws.region}.amazonaws.com",
                region=settings.aws.region,
                buckets=objects.buckets,
                link_signer=links.role_arn,
            ),
            database=contract.Database(
                host=database.host, port=database.port, admin=database.admin, ca_bundle_url=CA_BUNDLE_URL
            ),
            cache=contract.Cache(host=cache.host, port=cache.port, auth=cache.auth),
            files=contract.SharedFiles(csi_driver=CSI_DRIVER, volumes=files.volumes),
            secrets=contract.SecretStore(kind="aws-secrets-manager", region=settings.aws.region, entries=entries),
            identity=identity,
            registry=contract.Registry(
                host=registry.host, repositories=registry.repositories, mirrors=registry.mirrors
            ),
            load_balancers=compute.load_balancers,
            dns=dns,
            model_hosting=AwsModelHosting(
                account=account,
                provider=provider,
                identity=identity,
                vpc_id=network.vpc_id,
                subnet_ids=network.private_subnet_ids,
                storage_key_arn=keys.arns["storage"],
                logs_key_arn=keys.arns["logs"],
                capture_bucket_arn=objects.arns["logs"],
                capture_bucket_url=objects.buckets["logs"].url,
                capture_key_arn=bucket_keys["logs"],
                alarm_topic_arn=alarms.topic_arn,
                repositories=registry.repositories,
                log_retention_days=settings.database.log_retention_days,
            ),
        )
        self.register_outputs({"clusterName": compute.cluster.name, "vpcId": network.vpc_id})

    def _second_region(
        self, name: str, args: AwsFoundationArgs, account: Account, tags: Mapping[str, str]
    ) -> _SecondRegion | None:
        """What copies of what has no other copy need there; keys of its own, for none leaves its region."""
        settings = args.settings
        domains = second_region_keys(settings)
        if not domains:
            return None
        provider = _provider(f"{name}-aws-dr", settings.aws.dr_region, settings, tags)
        there = Account(id=account.id, partition=account.partition, region=settings.aws.dr_region)
        keys = Keys(
            f"{name}-dr-keys",
            KeysArgs(
                prefix=args.prefix,
                account=there,
                deletion_window_days=settings.key_deletion_days,
                protect=settings.protect,
                domains=domains,
            ),
            pulumi.ResourceOptions(parent=self, provider=provider),
        )
        return _SecondRegion(provider=provider, account=there, keys=keys.arns)


@dataclass(frozen=True, kw_only=True)
class _SecondRegion:
    provider: aws.Provider
    account: Account
    keys: Mapping[KeyDomain, pulumi.Output[str]]


def second_region_keys(settings: Settings) -> tuple[KeyDomain, ...]:
    """What is copied into the second region, by the domain of its key; empty where nothing is."""
    copied: Mapping[KeyDomain, bool] = {
        "objects": settings.objects.replicate,
        "database": settings.database.has_replica(settings.objects),
    }
    return tuple(domain for domain, wanted in copied.items() if wanted)


def default_tags(args: AwsFoundationArgs) -> dict[str, str]:
    """Tags of everything: who owns it, who pays, and what made it."""
    settings = args.settings
    return {
        **settings.tags,
        "project": args.project,
        "stack": args.prefix,
        "owner": settings.owner,
        "cost-center": settings.cost_center,
        "managed-by": "pulumi",
    }


def _provider(name: str, region: str, settings: Settings, tags: Mapping[str, str]) -> aws.Provider:
    return aws.Provider(
        name,
        region=region,
        allowed_account_ids=[settings.aws.account_id] if settings.aws.account_id else None,
        default_tags={"tags": dict(tags)},
    )


def _account(provider: aws.Provider, settings: Settings) -> Account:
    """Say whose account this is; names and policies carry the number, and are to be known at preview.

    Where the settings name the account, the provider holds the credentials against it, and nobody need be asked.
    """
    account_id = settings.aws.account_id
    if not account_id:
        account_id = aws.get_caller_identity(opts=pulumi.InvokeOptions(provider=provider)).account_id
    # Every region that the settings take is in the commercial partition.
    return Account(id=account_id, partition="aws", region=settings.aws.region)
