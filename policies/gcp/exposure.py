"""Ways into Google Cloud: what can be reached, and from where."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pulumi_policy import Severity
from pydantic import Field

from policies.gcp.data import cis, cis_gke
from policies.gcp.types import BUCKET, CLUSTER, DATABASE, FIREWALL, NETWORK, NODE_POOL, SUBNETWORK
from policies.registry import Context, PolicyConfig, Rule
from policies.view import UNKNOWN, Resource, at, is_true

_ANYWHERE: Final = ("0.0.0.0/0", "::/0")


def _buckets_private(resource: Resource, _context: Context) -> Iterator[str]:
    if resource.get("publicAccessPrevention") != "enforced":
        yield "publicAccessPrevention must be enforced"
    if not is_true(resource.get("uniformBucketLevelAccess")):
        yield "uniformBucketLevelAccess must be true: access lists of single objects are in nobody's view"


def _database_private(resource: Resource, _context: Context) -> Iterator[str]:
    addressing = resource.get("settings", "ipConfiguration")
    if at(addressing, "ipv4Enabled") is not False:
        yield "settings.ipConfiguration.ipv4Enabled must be false: left out, the database has a public address"
    if not at(addressing, "privateNetwork") and at(addressing, "privateNetwork") is not UNKNOWN:
        yield "settings.ipConfiguration.privateNetwork must name the stack's network"


def _api_endpoint(resource: Resource, context: Context) -> Iterator[str]:
    declared = context.settings.cluster.public_access_cidrs
    if is_true(resource.get("privateClusterConfig", "enablePrivateEndpoint")):
        return
    if not declared:
        yield "privateClusterConfig.enablePrivateEndpoint must be true: cluster.publicAccessCidrs names no network"
        return
    networks = resource.get("masterAuthorizedNetworksConfig")
    if networks is None:
        yield "masterAuthorizedNetworksConfig must be set, or the API server is open to anywhere"
        return
    if at(networks, "gcpPublicCidrsAccessEnabled") is not False:
        yield "masterAuthorizedNetworksConfig.gcpPublicCidrsAccessEnabled must be false, or all of Google may knock"
    ours = (context.settings.network.cidr, context.settings.gcp.pod_cidr)
    open_to = [at(one, "cidrBlock") for one in resource.items("masterAuthorizedNetworksConfig", "cidrBlocks")]
    if wrong := [str(cidr) for cidr in open_to if cidr not in declared and not _inside(cidr, ours)]:
        yield f"the API server is open to {', '.join(wrong)}, cluster.publicAccessCidrs has {', '.join(declared)}"


def _inside(cidr: object, networks: tuple[str, ...]) -> bool:
    """Whether a range is a part of the stack's own networks, of nodes and of pods."""
    import ipaddress  # noqa: PLC0415 only clusters need it

    if not isinstance(cidr, str):
        return cidr is UNKNOWN
    return any(ipaddress.IPv4Network(cidr).subnet_of(ipaddress.IPv4Network(one)) for one in networks)


class NodeConfig(PolicyConfig):
    """Nodes.

    Attributes:
        secure_boot_with_gpus: GPU nodes boot verified kernels only, too; GKE signs the driver for its newest versions.
    """

    secure_boot_with_gpus: bool = False


def _nodes(resource: Resource, context: Context) -> Iterator[str]:
    config = resource.get("nodeConfig")
    if at(config, "workloadMetadataConfig", "mode") != "GKE_METADATA":
        yield "nodeConfig.workloadMetadataConfig.mode must be GKE_METADATA, or pods reach the credentials of the node"
    has_gpus = bool(resource.items("nodeConfig", "guestAccelerators"))
    shielded = at(config, "shieldedInstanceConfig")
    if not is_true(at(shielded, "enableIntegrityMonitoring")):
        yield "nodeConfig.shieldedInstanceConfig.enableIntegrityMonitoring must be true"
    demanded = context.config.secure_boot_with_gpus or not has_gpus
    if demanded and not is_true(at(shielded, "enableSecureBoot")):
        yield "nodeConfig.shieldedInstanceConfig.enableSecureBoot must be true"
    account = at(config, "serviceAccount")
    if account in (None, "", "default"):
        yield "nodeConfig.serviceAccount must name an account of its own: the default one may edit the whole project"
    if not is_true(resource.get("networkConfig", "enablePrivateNodes")):
        yield "networkConfig.enablePrivateNodes must be true: nodes need no public address"


class OpenConfig(PolicyConfig):
    """What may be open to everybody.

    Attributes:
        ports: TCP ports, as texts.
    """

    ports: tuple[str, ...] = Field(default=())


def _firewalls(resource: Resource, context: Context) -> Iterator[str]:
    if resource.get("direction") == "EGRESS" or is_true(resource.get("disabled")):
        return
    open_to = [cidr for cidr in resource.items("sourceRanges") if cidr in _ANYWHERE]
    from_somewhere = any(resource.items(name) for name in ("sourceRanges", "sourceTags", "sourceServiceAccounts"))
    if resource.get("sourceRanges") is None and not from_somewhere:
        open_to = ["anywhere"]  # Compute Engine's default where no source is named
    for rule in resource.items("allows") if open_to else ():
        ports = [str(port) for port in (at(rule, "ports") or ())]
        if not ports or any(port not in context.config.ports for port in ports):
            allowed = ", ".join(context.config.ports) or "none"
            shown = ", ".join(ports) or "all"
            yield f"ports {shown} are open to {', '.join(open_to)}; allowed to everybody: {allowed}"


def _network(resource: Resource, _context: Context) -> Iterator[str]:
    if resource.type == NETWORK:
        if resource.get("autoCreateSubnetworks") is not False:
            yield "autoCreateSubnetworks must be false: a subnet in every region is open to its peers"
        return
    if str(resource.get("purpose") or "PRIVATE") != "PRIVATE":
        return  # subnets of Google's own proxies record nothing
    if resource.get("logConfig") is None:
        yield "logConfig must be set: flow logs say who spoke to whom"
    if not is_true(resource.get("privateIpGoogleAccess")):
        yield "privateIpGoogleAccess must be true, or private nodes reach Google's APIs over the internet"


RULES: Final = (
    Rule(
        name="google-buckets-private", group="security", severity=Severity.CRITICAL, types=(BUCKET,),
        resource=_buckets_private, control=cis("5.1"),
        description="No bucket of Cloud Storage can be made public.",
    ),
    Rule(
        name="google-database-private", group="security", severity=Severity.CRITICAL, types=(DATABASE,),
        resource=_database_private, control=cis("6.6"),
        description="Cloud SQL has a private address only.",
    ),
    Rule(
        name="google-api-endpoint", group="security", severity=Severity.HIGH, types=(CLUSTER,), resource=_api_endpoint,
        control=cis_gke("5.6.3"),
        description="GKE serves its API to the networks that cluster.publicAccessCidrs names, and to no other.",
    ),
    Rule(
        name="google-nodes-guarded", group="security", severity=Severity.HIGH, types=(NODE_POOL,), resource=_nodes,
        config=NodeConfig, control=cis_gke("5.4.1"),
        description="GKE nodes are private and shielded, have an account of their own, and keep it from pods.",
    ),
    Rule(
        name="google-firewalls-closed", group="security", severity=Severity.HIGH, types=(FIREWALL,),
        resource=_firewalls, config=OpenConfig, control=cis("3.6"),
        description="No firewall rule is open to everybody.",
    ),
    Rule(
        name="google-network-guarded", group="security", severity=Severity.MEDIUM, types=(NETWORK, SUBNETWORK),
        resource=_network, control=cis("3.8"),
        description="Networks have the subnets that were asked for, which record flows and reach Google privately.",
    ),
)  # fmt: skip
