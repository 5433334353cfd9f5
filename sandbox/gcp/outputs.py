"""Values that Google Cloud computes: addresses, links, certificates, fingerprints."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final

from sandbox import tls_provider
from sandbox.gcp.identifiers import (
    PROJECT_NUMBER,
    Place,
    account_email,
    last,
    service_agent,
)
from sandbox.values import Properties, is_list, is_object

_TIMESTAMP: Final = "2026-01-01T00:00:00Z"  # the same each time: accounts are easier to compare
_PUBLIC: Final = "192.0.2."  # TEST-NET-1: never routed
_PEERED: Final = ipaddress.ip_network("10.200.0.0/16")  # where private services of other projects appear

_WORDS: Final[Mapping[str, Callable[[Place], str]]] = {
    "project": lambda place: place.project,
    "projectNumber": lambda _: PROJECT_NUMBER,
    "number": lambda _: PROJECT_NUMBER,
    "region": lambda place: place.region,
    "zone": lambda place: place.zone,
    "location": lambda place: place.region,
    "state": lambda _: "READY",
    "lifecycleState": lambda _: "ACTIVE",
    "status": lambda _: "READY",
    "etag": lambda _: secrets.token_urlsafe(8),
    "operation": lambda _: "",
}


def text_for(place: Place) -> Callable[[str], str]:
    """Return what invents texts for outputs of resources at ``place``."""

    def text(name: str) -> str:
        if name in _WORDS:
            return _WORDS[name](place)
        lowered = name.lower()
        if lowered.endswith(("time", "timestamp", "updated", "timecreated")):
            return _TIMESTAMP
        if lowered.endswith("fingerprint"):
            return secrets.token_urlsafe(6)
        if lowered.endswith(("id", "number")):
            return str(secrets.randbelow(9 * 10**18) + 10**18)
        return ""

    return text


Computed = Callable[[Place, Properties, str], Properties]


def _address(seed: str) -> str:
    """Return an address of a peered network, the same for the same resource."""
    digest = int(hashlib.sha256(seed.encode()).hexdigest(), 16)
    return str(_PEERED[4 + digest % (_PEERED.num_addresses - 8)])


def _network(place: Place, _: Properties, __: str) -> Properties:
    number = text_for(place)("id")
    return {"networkId": number, "numericId": number, "gatewayIpv4": ""}


def _subnetwork(_: Place, inputs: Properties, __: str) -> Properties:
    cidr = inputs.get("ipCidrRange")
    return {"gatewayAddress": str(ipaddress.ip_network(cidr)[1])} if isinstance(cidr, str) else {}


def _external_address(_: Place, inputs: Properties, resource_id: str) -> Properties:
    if inputs.get("addressType") == "INTERNAL":
        length = int(inputs.get("prefixLength") or 32)
        ranged = ipaddress.ip_network((_address(resource_id), length), strict=False)
        return {"address": str(ranged.network_address), "prefixLength": length}
    return {"address": f"{_PUBLIC}{1 + secrets.randbelow(254)}"}


def _cluster(place: Place, inputs: Properties, resource_id: str) -> Properties:
    authority = base64.b64encode(tls_provider.authority(f"cluster {last(resource_id)}").encode()).decode()
    version = inputs.get("minMasterVersion") or "1.35.5-gke.1000"
    private = inputs.get("privateClusterConfig")
    known: Properties = {
        "endpoint": f"{_PUBLIC}{1 + secrets.randbelow(254)}",
        "masterVersion": version,
        "nodeVersion": version,
        "servicesIpv4Cidr": "34.118.224.0/20",  # GKE's own range for services where none is given
        "masterAuth": {"clusterCaCertificate": authority, "clientCertificate": "", "clientKey": ""},
        "nodeLocations": [f"{place.region}-{letter}" for letter in "abc"],
        "workloadIdentityConfig": {"workloadPool": f"{place.project}.svc.id.goog"},
    }
    if is_object(private):
        known["privateClusterConfig"] = {
            "privateEndpoint": "10.200.255.2",
            "publicEndpoint": known["endpoint"],
            "peeringName": "",
        }
    return known


def _node_pool(place: Place, inputs: Properties, _: str) -> Properties:
    zones = inputs.get("nodeLocations") or [f"{place.region}-{letter}" for letter in "abc"]
    name = f"gke-{last(str(inputs['cluster']))}-{inputs.get('name')}-{secrets.token_hex(4)}-grp"
    base = "https://www.googleapis.com/compute/v1"
    urls = [f"{base}/projects/{place.project}/zones/{zone}/instanceGroupManagers/{name}" for zone in zones]
    return {"instanceGroupUrls": urls, "managedInstanceGroupUrls": urls, "nodeLocations": list(zones)}


def _authority(common_name: str) -> Properties:
    return {
        "cert": tls_provider.authority(common_name),
        "commonName": common_name,
        "createTime": _TIMESTAMP,
        "expirationTime": "2036-01-01T00:00:00Z",
        "expireTime": "2036-01-01T00:00:00Z",
        "sha1Fingerprint": secrets.token_hex(20),
        "serialNumber": "0",
    }


def _database(place: Place, inputs: Properties, resource_id: str) -> Properties:
    name, region = resource_id, place.region
    settings = _first(inputs.get("settings"))
    addressing = _first(settings.get("ipConfiguration"))
    private = _address(f"sql/{name}") if addressing.get("privateNetwork") else ""
    public = f"{_PUBLIC}{1 + secrets.randbelow(254)}" if addressing.get("ipv4Enabled", True) else ""
    unique = hashlib.sha256(name.encode()).hexdigest()[:12]
    found = [("PRIMARY", public), ("PRIVATE", private)]
    return {
        "connectionName": f"{place.project}:{region}:{name}",
        "dnsName": f"{unique}.{secrets.token_hex(6)}.{region}.sql.goog.",
        "firstIpAddress": public or private,
        "instanceType": "CLOUD_SQL_INSTANCE",
        "ipAddresses": [{"ipAddress": ip, "type": kind, "timeToRetire": ""} for kind, ip in found if ip],
        "privateIpAddress": private,
        "publicIpAddress": public,
        "serverCaCerts": [_authority(f"Google Cloud SQL Server CA {name}")],
        "serviceAccountEmailAddress": f"p{PROJECT_NUMBER}-{unique[:6]}@gcp-sa-cloud-sql.iam.gserviceaccount.com",
        "maintenanceVersion": f"{inputs['databaseVersion']}.R20260101.00_00",
    }


def _redis(place: Place, inputs: Properties, resource_id: str) -> Properties:
    encrypted = inputs.get("transitEncryptionMode") == "SERVER_AUTHENTICATION"
    host = _address(resource_id)
    known: Properties = {
        "host": host,
        "port": 6378 if encrypted else 6379,  # Memorystore for Redis, "In-transit encryption"
        "currentLocationId": f"{place.region}-a",
        "locationId": f"{place.region}-a",
        "persistenceIamIdentity": f"serviceAccount:{service_agent('redis')}",
        "effectiveReservedIpRange": f"{host.rsplit('.', 1)[0]}.0/28",
        "serverCaCerts": [_authority(f"Redis CA {last(resource_id)}")] if encrypted else [],
        "authString": secrets.token_hex(18) if inputs.get("authEnabled") else "",
    }
    if inputs.get("tier") == "STANDARD_HA":
        known |= {"readEndpoint": "", "alternativeLocationId": f"{place.region}-b"}
    return known


def _files(_: Place, inputs: Properties, resource_id: str) -> Properties:
    networks: list[Properties] = inputs.get("networks") or []
    return {"networks": [{"ipAddresses": [_address(f"{resource_id}/{n}")]} for n in range(len(networks))]}


def _bucket(_: Place, __: Properties, resource_id: str) -> Properties:
    return {"url": f"gs://{resource_id}", "projectNumber": PROJECT_NUMBER}


def _repository(place: Place, inputs: Properties, _: str) -> Properties:
    location, name = inputs.get("location") or place.region, inputs["repositoryId"]
    return {"name": name, "registryUri": f"{location}-docker.pkg.dev/{place.project}/{name}"}


def _service_account(place: Place, inputs: Properties, resource_id: str) -> Properties:
    email = account_email(place, inputs)
    return {"email": email, "member": f"serviceAccount:{email}", "name": resource_id}


def _service_identity(_: Place, inputs: Properties, __: str) -> Properties:
    email = service_agent(str(inputs["service"]))
    return {"email": email, "member": f"serviceAccount:{email}"}


def _secret_version(_: Place, __: Properties, resource_id: str) -> Properties:
    return {"name": resource_id, "version": last(resource_id), "destroyTime": ""}


def _sink(_: Place, __: Properties, ___: str) -> Properties:
    return {"writerIdentity": f"serviceAccount:service-{PROJECT_NUMBER}@gcp-sa-logging.iam.gserviceaccount.com"}


def _zone(_: Place, inputs: Properties, __: str) -> Properties:
    servers = [f"ns-cloud-{letter}1.googledomains.com." for letter in "abcd"]
    return {"nameServers": servers if inputs.get("visibility") != "private" else []}


def _named_by_id(_: Place, __: Properties, resource_id: str) -> Properties:
    return {"name": resource_id}


def _first(value: Any) -> Properties:
    """The object, also where it stands in a list of one."""
    if is_list(value):
        value = value[0] if value else {}
    return value if is_object(value) else {}


COMPUTED: Final[Mapping[str, Computed]] = {
    "gcp:artifactregistry/repository:Repository": _repository,
    "gcp:billing/budget:Budget": lambda _, __, i: {"name": last(i)},
    "gcp:compute/address:Address": _external_address,
    "gcp:compute/globalAddress:GlobalAddress": _external_address,
    "gcp:compute/network:Network": _network,
    "gcp:compute/subnetwork:Subnetwork": _subnetwork,
    "gcp:container/cluster:Cluster": _cluster,
    "gcp:container/nodePool:NodePool": _node_pool,
    "gcp:dns/managedZone:ManagedZone": _zone,
    "gcp:filestore/instance:Instance": _files,
    "gcp:logging/projectBucketConfig:ProjectBucketConfig": _named_by_id,
    "gcp:logging/projectSink:ProjectSink": _sink,
    "gcp:monitoring/alertPolicy:AlertPolicy": _named_by_id,
    "gcp:monitoring/notificationChannel:NotificationChannel": _named_by_id,
    "gcp:projects/iAMCustomRole:IAMCustomRole": _named_by_id,
    "gcp:projects/serviceIdentity:ServiceIdentity": _service_identity,
    "gcp:redis/instance:Instance": _redis,
    "gcp:secretmanager/secret:Secret": _named_by_id,
    "gcp:secretmanager/secretVersion:SecretVersion": _secret_version,
    "gcp:serviceaccount/account:Account": _service_account,
    "gcp:sql/databaseInstance:DatabaseInstance": _database,
    "gcp:storage/bucket:Bucket": _bucket,
}


def known_outputs(type_token: str, place: Place, inputs: Properties, resource_id: str) -> Properties:
    """Return what Google works out for a resource of this type."""
    known = COMPUTED[type_token](place, inputs, resource_id) if type_token in COMPUTED else {}
    return {"project": place.project, **known}
