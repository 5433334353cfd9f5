"""What the tests of the platform's systems share: a site on a foundation without a cloud."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import pulumi
import pulumi_kubernetes as kubernetes

from components import contract
from components.credentials import CATALOGUE
from components.platform.openings import Namespace
from components.platform.site import Site
from components.settings.platform import PlatformSettings
from components.settings.teams import TeamSettings
from workloads.images import NAMES as IMAGE_NAMES

NETWORKS = contract.Networks(
    api_server=(contract.AddressRange(cidr="172.20.0.1/32"), contract.AddressRange(cidr="10.0.0.0/18")),
    control_plane=(contract.AddressRange(cidr="10.0.0.0/18"),),
    nodes=(contract.AddressRange(cidr="10.0.0.0/17"),),
    load_balancers=(contract.AddressRange(cidr="10.0.192.0/20"),),
    stores=(contract.AddressRange(cidr="10.0.224.0/22"),),
    cloud_apis=(contract.AddressRange(cidr="10.0.0.0/17"), contract.AddressRange(cidr="0.0.0.0/0")),
    internet=(contract.AddressRange(cidr="0.0.0.0/0", excluding=("10.0.0.0/8",)),),
)


@dataclass(frozen=True)
class Granted:
    """One identity that a system asked for."""

    name: str
    namespace: str
    service_account: str
    grants: tuple[contract.Grant, ...]


@dataclass
class Identities:
    """Implements ``contract.Identity`` and remembers what was asked."""

    granted: list[Granted] = field(default_factory=list[Granted])

    def grant(
        self,
        name: str,
        *,
        namespace: str,
        service_account: str,
        grants: Sequence[contract.Grant],
        parent: pulumi.Resource,
    ) -> contract.ServiceIdentity:
        self.granted.append(Granted(name, namespace, service_account, tuple(grants)))
        return contract.ServiceIdentity(annotations={"test/identity": name}, ready=())


def _bucket(role: str) -> contract.Bucket:
    return contract.Bucket(name=pulumi.Output.from_input(role), url=pulumi.Output.from_input(f"s3://{role}"))


class _Anything(tuple[str, ...]):
    """Every property is there."""

    def __contains__(self, _: object) -> bool:
        return True


class _Entries(dict[str, contract.SecretRef]):
    """The catalogue's entries with their properties, and any other with any property; keys are ``test/<purpose>``."""

    def __missing__(self, purpose: str) -> contract.SecretRef:
        known = {credential.purpose: credential.properties for credential in CATALOGUE}
        key = pulumi.Output.from_input(f"test/{purpose}")
        return contract.SecretRef(key=key, properties=known.get(purpose, _Anything()))


def site(
    settings: Mapping[str, Any] | None = None,
    *,
    teams: Sequence[TeamSettings] = (),
    dns: contract.DnsZone | None = None,
    gpu_software: Any = "node-image",
    identities: Identities | None = None,
    pools: Sequence[contract.NodePool] = (),
    stores: Sequence[contract.StorePods] = (),
) -> Site:
    """A site with ``settings`` as in YAML below ``platform``; call it inside the program under test."""
    output = pulumi.Output.from_input
    secret = contract.SecretRef(key=output("test/admin"), properties=("username", "password"))
    foundation = contract.Foundation(
        cloud="aws",
        region="us-east-1",
        cluster=contract.Cluster(
            name=output("llmops-test"),
            kubernetes_version="1.35",
            endpoint=output("https://kubernetes.test"),
            kubeconfig=output("{}"),
            provider=kubernetes.Provider("cluster", kubeconfig="{}"),
            pools=tuple(pools),
            default_storage_class="gp3",
            snapshot_driver="ebs.csi.aws.com",
            gpu_software=gpu_software,
            access_groups={
                "platform-admin": "llmops:platform-admins",
                "ml-engineer": "llmops:ml-engineers",
                "viewer": "llmops:viewers",
            },
            team_groups={team.name: f"llmops:team-{team.name}" for team in teams},
            networks=NETWORKS,
            ready=(),
        ),
        objects=contract.ObjectStore(
            protocol="s3",
            endpoint="s3.us-east-1.amazonaws.com",
            region="us-east-1",
            buckets={role: _bucket(role) for role in get_args(contract.BucketRole)},
        ),
        database=contract.Database(
            host=output("database.test"), port=output(5432), admin=secret, ca_bundle_url="https://test/ca.pem"
        ),
        cache=contract.Cache(host=output("cache.test"), port=output(6379), auth=secret),
        files=contract.SharedFiles(csi_driver="efs.csi.aws.com", volumes={}),
        secrets=contract.SecretStore(kind="aws-secrets-manager", region="us-east-1", entries=_Entries()),
        identity=identities or Identities(),
        registry=contract.Registry(
            host=output("registry.test"),
            repositories={name: output(f"registry.test/{name}") for name in IMAGE_NAMES},
            mirrors={},
        ),
        load_balancers=contract.LoadBalancers(
            annotations={"internal": {"test/scheme": "internal"}, "internet-facing": {"test/scheme": "public"}},
            ready=(),
        ),
        dns=dns,
        store_pods=tuple(stores),
    )
    return Site(
        foundation=foundation,
        settings=PlatformSettings.model_validate(settings or {}),
        teams=tuple(teams),
        owner="ml-platform",
        namespaces=dict.fromkeys(get_args(Namespace), ()),
    )


def options(place: Site) -> pulumi.ResourceOptions:
    """Options of a system under test, as the platform gives them."""
    return pulumi.ResourceOptions(providers=[place.foundation.cluster.provider])
