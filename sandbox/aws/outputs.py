"""Values that AWS computes: well-formed ones of the declared type for every output of a resource."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable, Mapping
from typing import Final

from sandbox.aws.identifiers import Place, dns_suffix, hexadecimal
from sandbox.values import Properties

# Time stamps are those of the first commit of 2026: an account that answers the same each time is easier to compare.
_TIMESTAMP: Final = "2026-01-01T00:00:00Z"
_ADDRESSES: Final = "192.0.2."  # TEST-NET-1: never routed


_WORDS: Final[Mapping[str, Callable[[Place], str]]] = {
    "region": lambda place: place.region,
    "ownerId": lambda place: place.account,
    "owner": lambda place: place.account,
    "accountId": lambda place: place.account,
    "registryId": lambda place: place.account,
    "expectedBucketOwner": lambda _: "",
    "status": lambda _: "ACTIVE",
    "state": lambda _: "available",
    "publicIp": lambda _: f"{_ADDRESSES}{1 + secrets.randbelow(254)}",
    "privateIp": lambda _: f"10.0.0.{4 + secrets.randbelow(250)}",
    "namePrefix": lambda _: "",
    "identifierPrefix": lambda _: "",
}
_EC2_PREFIXES: Final = {
    "vpcId": "vpc",
    "subnetId": "subnet",
    "networkInterfaceId": "eni",
    "associationId": "eipassoc",
    "allocationId": "eipalloc",
    "securityGroupId": "sg",
    "securityGroupRuleId": "sgr",
    "defaultSecurityGroupId": "sg",
    "defaultNetworkAclId": "acl",
    "defaultRouteTableId": "rtb",
    "mainRouteTableId": "rtb",
    "dhcpOptionsId": "dopt",
    "ipv6AssociationId": "vpc-cidr-assoc",
    "prefixListId": "pl",
    "hostedZoneId": "Z",
}


def text_for(place: Place) -> Callable[[str], str]:
    """Return what invents texts for outputs of resources at ``place``."""
    return lambda name: _text(name, place)


def _text(name: str, place: Place) -> str:
    if name in _WORDS:
        return _WORDS[name](place)
    if name in _EC2_PREFIXES:
        return hexadecimal(_EC2_PREFIXES[name])
    lowered = name.lower()
    if lowered.endswith(("date", "time", "at")):
        return _TIMESTAMP
    if lowered.endswith("arn"):
        return place.arn("sandbox", f"{name}/{secrets.token_hex(4)}")
    if lowered.endswith("id"):
        return secrets.token_hex(9)[:17]
    return ""


Computed = Callable[[Place, Properties, str], Properties]


def _subdomain(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _bucket(place: Place, inputs: Properties, _: str) -> Properties:
    name, suffix = inputs["bucket"], dns_suffix(place.region)
    return {
        "bucketDomainName": f"{name}.s3.{suffix}",
        "bucketRegionalDomainName": f"{name}.s3.{place.region}.{suffix}",
        "hostedZoneId": "Z3AQBSTGFYJSTF",  # S3 in us-east-1; every region has one
        "requestPayer": "BucketOwner",
    }


def _database(place: Place, inputs: Properties, resource_id: str) -> Properties:
    port = inputs.get("port") or 5432
    address = f"{inputs['identifier']}.{_subdomain(resource_id)}.{place.region}.rds.{dns_suffix(place.region)}"
    known: Properties = {
        "address": address,
        "endpoint": f"{address}:{port}",
        "port": port,
        "resourceId": resource_id,
        "status": "available",
        "engineVersionActual": inputs.get("engineVersion", ""),
        "storageType": "gp3",
    }
    if inputs.get("manageMasterUserPassword"):
        name = f"secret:rds!{resource_id}-{secrets.token_hex(3)}"
        known["masterUserSecrets"] = [
            {
                "kmsKeyId": inputs.get("masterUserSecretKmsKeyId", ""),
                "secretArn": place.arn("secretsmanager", name),
                "secretStatus": "active",
            }
        ]
    return known


def _replication_group(place: Place, inputs: Properties, resource_id: str) -> Properties:
    zone = f"{_subdomain(resource_id)[:6]}.{_region_code(place.region)}.cache.{dns_suffix(place.region)}"
    prefix = "master." if inputs.get("transitEncryptionEnabled") else ""
    return {
        "primaryEndpointAddress": f"{prefix}{resource_id}.{zone}",
        "readerEndpointAddress": f"{prefix.replace('master', 'replica')}{resource_id}.{zone}",
        "configurationEndpointAddress": "",
        "engineVersionActual": inputs.get("engineVersion", ""),
        "memberClusters": [f"{resource_id}-{n:03d}" for n in range(1, 1 + int(inputs.get("numCacheClusters") or 1))],
    }


def _region_code(region: str) -> str:
    area, *_, direction, number = region.split("-")
    return f"{area}{direction[0]}{number}"


def _cluster(place: Place, inputs: Properties, resource_id: str) -> Properties:
    unique = secrets.token_hex(16).upper()
    suffix = dns_suffix(place.region)
    certificate = base64.b64encode(f"certificate authority of {resource_id}".encode()).decode()
    return {
        "endpoint": f"https://{unique}.gr7.{place.region}.eks.{suffix}",
        "certificateAuthority": {"data": certificate},
        "identities": [{"oidcs": [{"issuer": f"https://oidc.eks.{place.region}.{suffix}/id/{unique}"}]}],
        "vpcConfig": {"clusterSecurityGroupId": hexadecimal("sg"), "vpcId": hexadecimal("vpc")},
        "platformVersion": "eks.1",
        "clusterId": "",
        "status": "ACTIVE",
        "version": inputs.get("version") or "1.35",
    }


def _node_group(_place: Place, inputs: Properties, _: str) -> Properties:
    name = f"eks-{inputs['nodeGroupName']}-{secrets.token_hex(4)}"
    return {
        "resources": [{"autoscalingGroups": [{"name": name}], "remoteAccessSecurityGroupId": ""}],
        "status": "ACTIVE",
        "capacityType": "ON_DEMAND",
    }


def _repository(place: Place, inputs: Properties, _: str) -> Properties:
    host = f"{place.account}.dkr.ecr.{place.region}.{dns_suffix(place.region)}"
    return {"repositoryUrl": f"{host}/{inputs['name']}", "registryId": place.account}


def _file_system(place: Place, _inputs: Properties, resource_id: str) -> Properties:
    return {"dnsName": f"{resource_id}.efs.{place.region}.{dns_suffix(place.region)}"}


def _endpoint(place: Place, inputs: Properties, resource_id: str) -> Properties:
    if inputs.get("vpcEndpointType") != "Interface":
        return {"prefixListId": hexadecimal("pl"), "cidrBlocks": ["198.51.100.0/24"], "state": "available"}
    service = str(inputs["serviceName"]).rsplit(".", maxsplit=1)[-1]
    dns = f"{resource_id}-{secrets.token_hex(4)}.{service}.{place.region}.vpce.{dns_suffix(place.region)}"
    return {
        "dnsEntries": [{"dnsName": dns, "hostedZoneId": "Z7HUB22UULQXV"}],
        "networkInterfaceIds": [hexadecimal("eni") for _ in inputs.get("subnetIds") or ()],
        "state": "available",
    }


def _topic_subscription(_place: Place, _inputs: Properties, resource_id: str) -> Properties:
    return {"arn": resource_id}


def _launch_template(_place: Place, _inputs: Properties, _: str) -> Properties:
    return {"latestVersion": 1, "defaultVersion": 1}


def _queue(place: Place, inputs: Properties, _: str) -> Properties:
    return {"url": f"https://sqs.{place.region}.{dns_suffix(place.region)}/{place.account}/{inputs['name']}"}


def _secret_version(_place: Place, inputs: Properties, resource_id: str) -> Properties:
    version = resource_id.rsplit("|", maxsplit=1)[-1]
    return {"versionId": version, "arn": inputs["secretId"], "versionStages": ["AWSCURRENT"]}


def _key(_place: Place, _inputs: Properties, resource_id: str) -> Properties:
    return {"keyId": resource_id, "keyUsage": "ENCRYPT_DECRYPT", "rotationPeriodInDays": 365}


COMPUTED: Final[Mapping[str, Computed]] = {
    "aws:s3/bucket:Bucket": _bucket,
    "aws:rds/instance:Instance": _database,
    "aws:elasticache/replicationGroup:ReplicationGroup": _replication_group,
    "aws:eks/cluster:Cluster": _cluster,
    "aws:eks/nodeGroup:NodeGroup": _node_group,
    "aws:ecr/repository:Repository": _repository,
    "aws:efs/fileSystem:FileSystem": _file_system,
    "aws:ec2/vpcEndpoint:VpcEndpoint": _endpoint,
    "aws:sns/topicSubscription:TopicSubscription": _topic_subscription,
    "aws:ec2/launchTemplate:LaunchTemplate": _launch_template,
    "aws:sqs/queue:Queue": _queue,
    "aws:secretsmanager/secretVersion:SecretVersion": _secret_version,
    "aws:kms/key:Key": _key,
}

# Outputs that change with every update in place: unknown when an update is previewed, one more after it.
COUNTERS: Final[Mapping[str, tuple[str, ...]]] = {"aws:ec2/launchTemplate:LaunchTemplate": ("latestVersion",)}
