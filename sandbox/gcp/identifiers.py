"""Identifiers, self links and e-mail addresses as Google Cloud forms them."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sandbox.values import Properties

PROJECT_ID: Final = "llmops-sandbox"
PROJECT_NUMBER: Final = "123456789012"  # the project number of Google's own documentation
_REGION: Final = "us-central1"


@dataclass(frozen=True)
class Place:
    """What a provider instance fills in where the program says nothing.

    Attributes:
        project: Project id.
        region: Default region.
        zone: Default zone.
    """

    project: str = PROJECT_ID
    region: str = _REGION
    zone: str = f"{_REGION}-a"

    def of(self, inputs: Properties) -> Place:
        """Return the place of a resource with these inputs."""
        project, region, zone = (inputs.get(name) for name in ("project", "region", "zone"))
        return Place(
            last(project) if isinstance(project, str) else self.project,
            last(region) if isinstance(region, str) else self.region,
            last(zone) if isinstance(zone, str) else self.zone,
        )


def last(path: str) -> str:
    """Return the last part of a path or a self link: its resource's short name."""
    return path.rstrip("/").rsplit("/", maxsplit=1)[-1]


def bare(reference: str) -> str:
    """Return a reference without its scheme and host: ``projects/…``; self links and identifiers compare so."""
    found = re.search(r"projects/.*", reference)
    return found[0] if found else reference


def service_agent(service: str) -> str:
    """Return the e-mail address of the account that a Google service acts with in the project."""
    number = PROJECT_NUMBER
    agents = {
        "storage": f"service-{number}@gs-project-accounts.iam.gserviceaccount.com",
        "compute": f"service-{number}@compute-system.iam.gserviceaccount.com",
        "container": f"service-{number}@container-engine-robot.iam.gserviceaccount.com",
        "redis": f"service-{number}@cloud-redis.iam.gserviceaccount.com",
        "file": f"service-{number}@cloud-filer.iam.gserviceaccount.com",
    }
    name = service.removesuffix(".googleapis.com")
    return agents.get(name, f"service-{number}@gcp-sa-{_AGENTS.get(name, name)}.iam.gserviceaccount.com")


# "Service agents" in the IAM reference: those whose domain is not the service's own name.
_AGENTS: Final = {
    "sqladmin": "cloud-sql",
    "monitoring": "monitoring-notification",
    "cloudkms": "cloudkms",
}

_Template = str | Callable[[Place, Properties], str]


def _subject(place: Place, inputs: Properties) -> str:
    """What a grant is made on, as its identifier begins."""
    project = place.project
    if "bucket" in inputs:
        return f"b/{inputs['bucket']}"
    for name in ("cryptoKeyId", "keyRingId", "serviceAccountId"):
        if name in inputs:
            return str(inputs[name])
    if "repository" in inputs:
        location = inputs.get("location") or place.region
        return f"projects/{project}/locations/{location}/repositories/{last(str(inputs['repository']))}"
    for name, kind in (("secretId", "secrets"), ("managedZone", "managedZones"), ("topic", "topics")):
        if name in inputs:
            return f"projects/{project}/{kind}/{last(str(inputs[name]))}"
    return project


def _grant(place: Place, inputs: Properties) -> str:
    parts = [_subject(place, inputs), str(inputs.get("role") or "policy")]
    if member := inputs.get("member"):
        parts.append(str(member))
    if condition := inputs.get("condition"):
        parts.append(str(condition.get("title") or ""))
    return "/".join(parts)


def _located(kind: str, name: str = "name", location: str = "location") -> _Template:
    def identifier(place: Place, inputs: Properties) -> str:
        where = inputs.get(location) or inputs.get("location") or inputs.get("zone") or place.region
        return f"projects/{place.project}/locations/{last(str(where))}/{kind}/{inputs.get(name)}"

    return identifier


def _node_pool(place: Place, inputs: Properties) -> str:
    cluster = bare(str(inputs["cluster"]))
    if not cluster.startswith("projects/"):
        cluster = f"projects/{place.project}/locations/{inputs.get('location') or place.region}/clusters/{cluster}"
    return f"{cluster}/nodePools/{inputs.get('name')}"


def _numbered(prefix: str) -> _Template:
    return lambda place, _: f"{prefix.format(project=place.project)}/{secrets.randbelow(9 * 10**18) + 10**18}"


def _connection(_: Place, inputs: Properties) -> str:
    return f"{str(inputs['network']).replace('/', '%2F')}:{inputs['service']}"


IDENTIFIERS: Final[Mapping[str, _Template]] = {
    "gcp:artifactregistry/repository:Repository": _located("repositories", "repositoryId"),
    "gcp:billing/budget:Budget": lambda _, i: f"billingAccounts/{last(i['billingAccount'])}/budgets/{_uuid()}",
    "gcp:compute/address:Address": "projects/{project}/regions/{region}/addresses/{name}",
    "gcp:compute/firewall:Firewall": "projects/{project}/global/firewalls/{name}",
    "gcp:compute/globalAddress:GlobalAddress": "projects/{project}/global/addresses/{name}",
    "gcp:compute/network:Network": "projects/{project}/global/networks/{name}",
    "gcp:compute/router:Router": "projects/{project}/regions/{region}/routers/{name}",
    "gcp:compute/routerNat:RouterNat": "{project}/{region}/{router}/{name}",
    "gcp:compute/securityPolicy:SecurityPolicy": "projects/{project}/global/securityPolicies/{name}",
    "gcp:compute/subnetwork:Subnetwork": "projects/{project}/regions/{region}/subnetworks/{name}",
    "gcp:container/cluster:Cluster": _located("clusters"),
    "gcp:container/nodePool:NodePool": _node_pool,
    "gcp:dns/managedZone:ManagedZone": "projects/{project}/managedZones/{name}",
    "gcp:dns/recordSet:RecordSet": "projects/{project}/managedZones/{managedZone}/rrsets/{name}/{type}",
    "gcp:filestore/backup:Backup": _located("backups"),
    "gcp:filestore/instance:Instance": _located("instances"),
    "gcp:gkebackup/backupPlan:BackupPlan": _located("backupPlans"),
    "gcp:kms/cryptoKey:CryptoKey": "{keyRing}/cryptoKeys/{name}",
    "gcp:kms/keyRing:KeyRing": _located("keyRings"),
    "gcp:logging/metric:Metric": "{name}",
    "gcp:logging/projectBucketConfig:ProjectBucketConfig": _located("buckets", "bucketId"),
    "gcp:logging/projectSink:ProjectSink": "projects/{project}/sinks/{name}",
    "gcp:memorystore/instance:Instance": _located("instances", "instanceId"),
    "gcp:monitoring/alertPolicy:AlertPolicy": _numbered("projects/{project}/alertPolicies"),
    "gcp:monitoring/notificationChannel:NotificationChannel": _numbered("projects/{project}/notificationChannels"),
    "gcp:networkconnectivity/serviceConnectionPolicy:ServiceConnectionPolicy": _located("serviceConnectionPolicies"),
    "gcp:projects/iAMCustomRole:IAMCustomRole": "projects/{project}/roles/{roleId}",
    "gcp:projects/service:Service": "{project}/{service}",
    "gcp:projects/serviceIdentity:ServiceIdentity": "projects/{project}/services/{service}",
    "gcp:pubsub/subscription:Subscription": "projects/{project}/subscriptions/{name}",
    "gcp:pubsub/topic:Topic": "projects/{project}/topics/{name}",
    "gcp:redis/instance:Instance": _located("instances", location="region"),
    "gcp:secretmanager/secret:Secret": "projects/{project}/secrets/{secretId}",
    "gcp:serviceaccount/account:Account": lambda place, i: (
        f"projects/{place.project}/serviceAccounts/{account_email(place, i)}"
    ),
    "gcp:servicenetworking/connection:Connection": _connection,
    "gcp:sql/database:Database": "projects/{project}/instances/{instance}/databases/{name}",
    "gcp:sql/databaseInstance:DatabaseInstance": "{name}",
    "gcp:sql/user:User": lambda _, i: f"{i.get('name')}/{i.get('host') or ''}/{i['instance']}",
    "gcp:storage/bucket:Bucket": "{name}",
    "gcp:storage/bucketObject:BucketObject": "{bucket}-{name}",
}

_GLOBAL: Final = frozenset({"gcp:storage/bucket:Bucket"})  # names are unique among all customers


def _uuid() -> str:
    import uuid  # noqa: PLC0415 only budgets need it

    return str(uuid.uuid4())


def account_email(place: Place, inputs: Properties) -> str:
    """Return a service account's e-mail address."""
    return f"{inputs['accountId']}@{place.project}.iam.gserviceaccount.com"


class _Filled(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return ""


def identifier(type_token: str, place: Place, inputs: Properties, versions: int) -> str:
    """Return the identifier of a new resource.

    Args:
        type_token: Its type.
        place: Where the provider puts it.
        inputs: Checked inputs.
        versions: How many versions its secret has so far, for versions of secrets.
    """
    place = place.of(inputs)
    if type_token == "gcp:secretmanager/secretVersion:SecretVersion":
        return f"{inputs['secret']}/versions/{versions + 1}"
    if is_grant(type_token):
        return _grant(place, inputs)
    template = IDENTIFIERS.get(type_token)
    if template is None:
        kind = last(type_token.split(":")[1])
        return f"projects/{place.project}/{kind}s/{inputs.get('name') or secrets.token_hex(8)}"
    if callable(template):
        return template(place, inputs)
    values = {k: v for k, v in inputs.items() if v is not None}
    values |= {"project": place.project, "region": place.region}
    if "managedZone" in values:
        values["managedZone"] = last(str(values["managedZone"]))
    return template.format_map(_Filled(values))


_GRANT: Final = re.compile(r"gcp:\w+/\w*[iI](am|AM)(Member|Binding|Policy):\w+")


def is_grant(type_token: str) -> bool:
    """Whether resources of this type give roles on another resource."""
    return _GRANT.fullmatch(type_token) is not None


def is_global(type_token: str) -> bool:
    """Whether identifiers of this type are unique everywhere, not in one project."""
    return type_token in _GLOBAL


_LINKS: Final = {
    "compute": "https://www.googleapis.com/compute/v1/{id}",
    "container": "https://container.googleapis.com/v1/{id}",
    "storage": "https://www.googleapis.com/storage/v1/b/{id}",
    "sql": "https://sqladmin.googleapis.com/sql/v1beta4/projects/{project}/instances/{id}",
}


def self_link(type_token: str, place: Place, resource_id: str) -> str | None:
    """Return a resource's self link; None where its service has none."""
    service = type_token.split(":")[1].split("/", maxsplit=1)[0]
    link = _LINKS.get(service)
    return None if link is None else link.format(id=resource_id, project=place.project)
