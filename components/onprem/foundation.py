"""The on-prem foundation: an existing cluster, and in it what takes the place of a cloud's services."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

import pulumi

from components import contract
from components.credentials import declared
from components.onprem import checks, cluster, load_balancers
from components.onprem.authority import Authority
from components.onprem.cache import Cache, CacheArgs
from components.onprem.clients import Clients, ClientsArgs
from components.onprem.database import Database, DatabaseArgs
from components.onprem.facts import ClusterFacts, UnreachableError, find_kubeconfig, read
from components.onprem.files import Files, FilesArgs
from components.onprem.identity import KeyRing, Keys, OnPremIdentity
from components.onprem.load_balancers import MetalLb, MetalLbArgs
from components.onprem.metrics_server import MetricsServer, MetricsServerArgs
from components.onprem.names import OBJECTS_HOST, SECRETS
from components.onprem.objects import Backup, Objects, ObjectsArgs, bucket
from components.onprem.openshift import Admission, OpenShift, OpenShiftArgs
from components.onprem.rooms import Rooms, RoomsArgs
from components.onprem.secrets import Secrets, SecretsArgs
from components.settings import Settings
from components.settings.onprem_secrets import SuppliedKeys, keys, kubeconfig
from components.settings.onprem_stores import OnPremObjectSettings

_OPENSHIFT_REGISTRY = "image-registry.openshift-image-registry.svc:5000"
_DATABASE_USER = "llmops-database"
_OBJECT_KEYS = "objectKeys"  # secrets of the stack
_BACKUP_KEYS = "backupKeys"


@dataclass(frozen=True, kw_only=True)
class OnPremFoundationArgs:
    """What the foundation is built from.

    Attributes:
        settings: The stack's settings.
        project: Project name.
        stack: Stack name; with the project it prefixes names of buckets.
        kubeconfig: The kubeconfig; none to take the one that the settings say.
        facts: What the cluster has; none to ask it, unless the settings say not to.
    """

    settings: Settings
    project: str
    stack: str
    kubeconfig: str | None = None
    facts: ClusterFacts | None = None

    @property
    def prefix(self) -> str:
        """``<project>-<stack>``."""
        return f"{self.project}-{self.stack}"


class OnPremFoundation(pulumi.ComponentResource):
    """Stores, credentials and identities on a cluster that is there; ``result`` is the contract."""

    result: contract.Foundation

    def __init__(self, name: str, args: OnPremFoundationArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        settings, here = args.settings, args.settings.onprem
        config = _checked(args)
        given = keys(*_keys_needed(here.objects))
        super().__init__("llmops:onprem:Foundation", name, None, opts)
        provider = cluster.provider_of(name, pulumi.Output.secret(config), here.kubeconfig.context, self)
        child = pulumi.ResourceOptions(parent=self, provider=provider)
        system = {contract.ROLE_LABEL: "system"}
        several = settings.platform.highly_available
        networks = cluster.networks(here)

        rooms = Rooms(
            f"{name}-rooms",
            RoomsArgs(
                networks=networks,
                owner=settings.owner,
                cost_center=settings.cost_center,
                balancers=here.load_balancer.kind == "metallb",
                kubernetes_version=settings.cluster.kubernetes_version,
                outside=networks.cloud_apis,
                metrics_server=here.installs_metrics_server,
            ),
            child,
        )
        authority = Authority(f"{name}-authority", child)
        secrets = Secrets(
            f"{name}-secrets",
            SecretsArgs(
                rooms=rooms,
                more=list(declared(settings)),
                protect=settings.protect,
                rotation=settings.rotation,
            ),
            child,
        )
        store = _store(name, args, given, rooms, authority, system, child)
        clients = Clients(
            f"{name}-clients",
            ClientsArgs(
                rooms=rooms,
                endpoint=store.endpoint,
                region=here.objects.region,
                highly_available=several,
                node_selector=system,
            ),
            child,
        )
        database = Database(
            f"{name}-database",
            DatabaseArgs(
                rooms=rooms,
                authority=authority,
                secrets=secrets,
                backup=store.database_backup(self),
                archive=here.database_archive,
                storage_class=here.storage.block_class,
                engine_version=settings.database.engine_version,
                storage_gib=settings.database.storage_gib,
                cpu_millicores=here.database.cpu_millicores,
                memory_mib=here.database.memory_mib,
                highly_available=settings.database.highly_available,
                backup_retention_days=settings.database.backup_retention_days,
                node_selector=system,
                restricted_ids=here.openshift,
                protect=settings.protect,
            ),
            child,
        )
        cache = Cache(
            f"{name}-cache",
            CacheArgs(
                rooms=rooms,
                authority=authority,
                secrets=secrets,
                cpu_millicores=here.cache.cpu_millicores,
                memory_mib=here.cache.memory_mib,
                node_selector=system,
            ),
            child,
        )
        files = Files(
            f"{name}-files",
            FilesArgs(settings=here.files, access_points=settings.files.access_points, node_selector=system),
            child,
        )
        balancers = (
            MetalLb(
                f"{name}-load-balancers",
                MetalLbArgs(rooms=rooms, settings=here.load_balancer, node_selector=system),
                child,
            ).result
            if here.load_balancer.kind == "metallb"
            else load_balancers.existing(here.load_balancer)
        )
        if here.openshift:
            OpenShift(
                f"{name}-openshift",
                OpenShiftArgs(
                    rooms=rooms,
                    settings=here.openshift_options,
                    gpu_nodes=sum(
                        group.max_size
                        for group in settings.node_groups
                        if any(shape.gpus for shape in settings.shapes(group))
                    ),
                ),
                child,
            )
        if here.installs_metrics_server:
            MetricsServer(
                f"{name}-metrics-server",
                MetricsServerArgs(
                    rooms=rooms, authority=authority, settings=here.metrics_server, highly_available=several
                ),
                child,
            )
        entries: Mapping[str, contract.SecretRef] = {
            **secrets.entries,
            "database-admin": database.admin,
            "cache-auth": cache.auth,
        }
        host = here.registry.host or _OPENSHIFT_REGISTRY
        known = pulumi.Output.from_input
        self.result = contract.Foundation(
            cloud="onprem",
            region=here.site,
            cluster=contract.Cluster(
                name=known(args.prefix),
                kubernetes_version=settings.cluster.kubernetes_version,
                endpoint=known(cluster.endpoint(config, here.kubeconfig.context)),
                kubeconfig=known(cluster.without_credentials(config)),
                provider=provider,
                pools=cluster.pools(settings),
                default_storage_class=here.storage.block_class,
                snapshot_driver=here.storage.snapshot_driver,
                node_layout="openshift" if here.openshift else "",
                gpu_software="provided" if here.openshift else "operator",
                access_groups={
                    "platform-admin": here.groups.platform_admins,
                    "ml-engineer": here.groups.ml_engineers,
                    "viewer": here.groups.viewers,
                },
                team_groups={team.name: f"{here.groups.team_prefix}{team.name}" for team in settings.teams},
                networks=networks,
                ready=(*clients.ready, *files.ready),
            ),
            objects=contract.ObjectStore(
                protocol="s3",
                endpoint=store.endpoint,
                region=here.objects.region,
                buckets=store.buckets,
                signing="keys",
                path_style=True,
            ),
            database=contract.Database(
                host=database.host,
                port=database.port,
                admin=database.admin,
                ca_bundle_url="",
                ca_certificates=database.ca_certificates,
            ),
            cache=contract.Cache(
                host=cache.host, port=cache.port, auth=cache.auth, ca_certificates=cache.ca_certificates
            ),
            files=files.result,
            secrets=contract.SecretStore(kind="in-cluster", region=SECRETS, entries=entries),
            identity=OnPremIdentity(
                rooms=rooms,
                buckets=store.names,
                secrets=entries,
                ring=store.ring,
                shared=store.shared,
                store_ready=store.ready,
                trust=pulumi.Output.concat(authority.certificate, here.objects.ca),
                openshift=Admission(routes_of=settings.platform.gateway.domain if here.openshift_options.routes else "")
                if here.openshift
                else None,
            ),
            registry=contract.Registry(
                host=known(host),
                repositories={
                    short: known(f"{host}/{here.registry.prefix}/{short}") for short in settings.registry.repositories
                },
                mirrors={},
            ),
            load_balancers=balancers,
            dns=None,
            store_pods=(*database.pods, *cache.pods, *store.pods),
        )
        self.register_outputs({"clusterName": self.result.cluster.name})


@dataclass(frozen=True, kw_only=True)
class _Store:
    """The object store, in the cluster or not.

    Attributes:
        endpoint: Its host.
        names: Names of its buckets.
        buckets: The same, as the contract has them.
        ring: Whom the store in the cluster knows.
        shared: Keys of an existing store.
        ca: Certificates that sign its own (PEM).
        ready: What must exist before it answers.
        elsewhere: Another store, for backups.
        pods: Its pods; none outside of the cluster.
    """

    endpoint: str
    names: Mapping[contract.BucketRole, str]
    buckets: Mapping[contract.BucketRole, contract.Bucket]
    ring: KeyRing
    shared: Keys | None
    ca: pulumi.Input[str]
    ready: tuple[pulumi.Resource, ...]
    elsewhere: Backup | None
    pods: tuple[contract.StorePods, ...] = ()

    def database_backup(self, parent: pulumi.Resource) -> Backup:
        """Where the database's backups go: elsewhere, where there is such a place."""
        if self.elsewhere is not None:
            return self.elsewhere
        place = f"{self.names['backups']}/postgresql"
        held = self.shared or self.ring.add(
            _DATABASE_USER,
            [f"{verb}:{place}*" for verb in ("Read", "List", "Write", "Tagging")],
            name="database-backups",
            parent=parent,
        )
        return Backup(
            url=f"s3://{place}",
            endpoint=self.endpoint,
            access_key=held.access,
            secret_key=held.secret,
            ca=self.ca,
            ready=self.ready,
        )


def _keys_needed(settings: OnPremObjectSettings) -> list[str]:
    """Which keys somebody must give: of a store that is there, and of one that backups leave the cluster for."""
    needed = {_OBJECT_KEYS: settings.kind == "existing", _BACKUP_KEYS: settings.backup is not None}
    return [name for name, wanted in needed.items() if wanted]


def _store(
    name: str,
    args: OnPremFoundationArgs,
    given: Mapping[str, SuppliedKeys],
    rooms: Rooms,
    authority: Authority,
    nodes: Mapping[str, str],
    child: pulumi.ResourceOptions,
) -> _Store:
    settings = args.settings.onprem.objects
    prefix = settings.bucket_prefix or args.prefix
    names: dict[contract.BucketRole, str] = {role: f"{prefix}-{role}" for role in get_args(contract.BucketRole)}
    ring = KeyRing()
    elsewhere: Backup | None = None
    if (second := settings.backup) is not None:
        elsewhere = Backup(
            url=f"s3://{second.bucket}/postgresql",
            endpoint=second.endpoint,
            access_key=given[_BACKUP_KEYS].access,
            secret_key=given[_BACKUP_KEYS].secret,
            ca=settings.ca,
            ready=(),
        )
    if settings.kind == "existing":
        return _Store(
            endpoint=settings.endpoint,
            names=names,
            buckets={role: bucket(found) for role, found in names.items()},
            ring=ring,
            shared=Keys(access=given[_OBJECT_KEYS].access, secret=given[_OBJECT_KEYS].secret),
            ca=settings.ca,
            ready=(),
            elsewhere=elsewhere,
        )
    storage = args.settings.onprem.storage
    objects = Objects(
        f"{name}-objects",
        ObjectsArgs(
            rooms=rooms,
            authority=authority,
            prefix=prefix,
            identities=ring.document(),
            servers=settings.servers,
            disk_gib=settings.disk_gib,
            storage_class=storage.object_class or storage.block_class,
            cpu_millicores=settings.size.cpu_millicores,
            memory_mib=settings.size.memory_mib,
            node_selector=nodes,
            restricted_ids=args.settings.onprem.openshift,
        ),
        child,
    )
    return _Store(
        endpoint=OBJECTS_HOST,
        names=names,
        buckets=objects.buckets,
        ring=ring,
        shared=None,
        ca=authority.certificate,
        ready=objects.ready,
        elsewhere=elsewhere,
        pods=objects.pods,
    )


def _checked(args: OnPremFoundationArgs) -> str:
    """The kubeconfig of a cluster that has what the settings say.

    Raises:
        pulumi.RunError: It does not, with all that is missing, or it does not answer.
    """
    settings = args.settings.onprem
    try:
        config = args.kubeconfig
        if config is None:
            config = kubeconfig() or find_kubeconfig(settings.kubeconfig.path, settings.kubeconfig.environment)
        facts = args.facts
        if facts is None and settings.check:
            facts = read(config, settings.kubeconfig.context)
    except UnreachableError as error:
        raise pulumi.RunError(str(error)) from None
    if facts is not None and (found := checks.problems(facts, args.settings)):
        count = f"{len(found)} problem" + ("s" if len(found) > 1 else "")
        raise pulumi.RunError(f"{count} with the cluster:\n" + "\n".join(f"  {line}" for line in found))
    return config
