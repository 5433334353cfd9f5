"""Identifiers and ARNs as AWS forms them."""

from __future__ import annotations

import json
import secrets
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from sandbox.values import Properties

_BASE32: Final = "abcdefghijklmnopqrstuvwxyz234567"
ACCOUNT_ID: Final = "123456789012"  # the account number of AWS's own documentation


def partition_of(region: str) -> str:
    """Return the partition of a region: ``aws``, ``aws-cn`` or ``aws-us-gov``."""
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"


def dns_suffix(region: str) -> str:
    """Return the domain of a region's endpoints."""
    return "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"


def hexadecimal(prefix: str) -> str:
    """Return an EC2-style identifier, such as ``vpc-`` and 17 hexadecimal digits."""
    return f"{prefix}-{secrets.token_hex(9)[:17]}"


@dataclass(frozen=True)
class Place:
    """Where a resource is.

    Attributes:
        region: Its region.
        account: Account number.
    """

    region: str
    account: str = ACCOUNT_ID

    @property
    def partition(self) -> str:
        """Partition of the region."""
        return partition_of(self.region)

    def arn(self, service: str, resource: str, *, regional: bool = True, owned: bool = True) -> str:
        """Return an ARN; global services have no region in it, S3 no account."""
        region = self.region if regional else ""
        return f"arn:{self.partition}:{service}:{region}:{self.account if owned else ''}:{resource}"


@dataclass(frozen=True)
class Identified:
    """How AWS names a type of resource.

    Attributes:
        new_id: Makes the identifier from the inputs and, where it has one, the ARN.
        arn: Makes the ARN from the inputs and a raw identifier; None for types without.
        raw: Makes the raw identifier that goes into the ARN.
        service: Region-less services have no region in their records.
    """

    new_id: Callable[[Properties, str], str]
    arn: Callable[[Place, Properties, str], str] | None = None
    raw: Callable[[Properties], str] = lambda _: ""
    is_global: bool = False


def _ec2(prefix: str, kind: str | None = None) -> Identified:
    return Identified(
        raw=lambda _: hexadecimal(prefix),
        new_id=lambda _inputs, raw: raw,
        arn=None if kind is None else lambda place, _, raw: place.arn("ec2", f"{kind}/{raw}"),
    )


def _named(
    service: str,
    resource: Callable[[Properties], str],
    new_id: Callable[[Properties, str], str],
    *,
    is_global: bool = False,
    owned: bool = True,
) -> Identified:
    return Identified(
        raw=resource,
        new_id=new_id,
        arn=lambda place, _, raw: place.arn(service, raw, regional=not is_global, owned=owned),
        is_global=is_global,
    )


def _field(*names: str, separator: str = ",") -> Callable[[Properties, str], str]:
    return lambda inputs, _: separator.join(str(inputs.get(name) or "") for name in names)


def _of(template: str) -> Callable[[Properties], str]:
    return lambda inputs: template.format_map(_Blank(inputs))


class _Blank(dict[str, object]):
    def __missing__(self, key: str) -> str:
        return ""


def _arn_id(service: str, template: str, *, is_global: bool = False) -> Identified:
    """Return the naming of types whose identifier is their ARN; it is filled in after the ARN is known."""
    return _named(service, _of(template), lambda _inputs, _raw: "", is_global=is_global)


def _uuid(service: str, kind: str) -> Identified:
    return Identified(
        raw=lambda _: str(uuid.uuid4()),
        new_id=lambda _inputs, raw: raw,
        arn=lambda place, _, raw: place.arn(service, f"{kind}/{raw}"),
    )


def _secret_raw(inputs: Properties) -> str:
    return f"secret:{inputs['name']}-{secrets.token_urlsafe(4).replace('_', 'a').replace('-', 'b')[:6]}"


def _rule(inputs: Properties, _raw: str) -> str:
    del inputs
    return f"sgrule-{secrets.randbelow(10**10)}"


def _component(inputs: Properties) -> str:
    return str(json.loads(inputs["desiredState"]).get("InferenceComponentName") or secrets.token_hex(9)[:17])


def _region_of(inputs: Properties) -> str:
    return str(inputs.get("region") or "us-east-1")


IDENTIFIED: Final[Mapping[str, Identified]] = {
    "aws:ec2/vpc:Vpc": _ec2("vpc", "vpc"),
    "aws:ec2/subnet:Subnet": _ec2("subnet", "subnet"),
    "aws:ec2/internetGateway:InternetGateway": _ec2("igw", "internet-gateway"),
    "aws:ec2/natGateway:NatGateway": _ec2("nat", "natgateway"),
    "aws:ec2/eip:Eip": _ec2("eipalloc", "elastic-ip"),
    "aws:ec2/routeTable:RouteTable": _ec2("rtb", "route-table"),
    "aws:ec2/routeTableAssociation:RouteTableAssociation": _ec2("rtbassoc"),
    "aws:ec2/securityGroup:SecurityGroup": _ec2("sg", "security-group"),
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": _ec2("sg", "security-group"),
    "aws:ec2/vpcEndpoint:VpcEndpoint": _ec2("vpce", "vpc-endpoint"),
    "aws:ec2/flowLog:FlowLog": _ec2("fl", "vpc-flow-log"),
    "aws:ec2/launchTemplate:LaunchTemplate": _ec2("lt", "launch-template"),
    "aws:ec2/networkAcl:NetworkAcl": _ec2("acl", "network-acl"),
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": _ec2("sgr", "security-group-rule"),
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": _ec2("sgr", "security-group-rule"),
    "aws:ec2/securityGroupRule:SecurityGroupRule": Identified(new_id=_rule),
    "aws:ec2/route:Route": Identified(new_id=lambda i, _: f"r-{i['routeTableId']}{secrets.randbelow(10**10)}"),
    "aws:kms/key:Key": _uuid("kms", "key"),
    "aws:kms/alias:Alias": _named("kms", _of("{name}"), _field("name")),
    "aws:eks/cluster:Cluster": _named("eks", _of("cluster/{name}"), _field("name")),
    "aws:eks/nodeGroup:NodeGroup": Identified(
        raw=lambda i: f"nodegroup/{i['clusterName']}/{i['nodeGroupName']}/{uuid.uuid4()}",
        new_id=_field("clusterName", "nodeGroupName", separator=":"),
        arn=lambda place, _, raw: place.arn("eks", raw),
    ),
    "aws:eks/addon:Addon": Identified(
        raw=lambda i: f"addon/{i['clusterName']}/{i['addonName']}/{uuid.uuid4()}",
        new_id=_field("clusterName", "addonName", separator=":"),
        arn=lambda place, _, raw: place.arn("eks", raw),
    ),
    "aws:eks/accessEntry:AccessEntry": Identified(new_id=_field("clusterName", "principalArn", separator=":")),
    "aws:eks/accessPolicyAssociation:AccessPolicyAssociation": Identified(
        new_id=_field("clusterName", "principalArn", "policyArn", separator="#")
    ),
    "aws:eks/podIdentityAssociation:PodIdentityAssociation": Identified(
        raw=lambda _: f"a-{secrets.token_hex(9)[:17]}",
        new_id=lambda _inputs, raw: raw,
        arn=lambda place, i, raw: place.arn("eks", f"podidentityassociation/{i['clusterName']}/{raw}"),
    ),
    "aws:iam/role:Role": _named("iam", _of("role/{name}"), _field("name"), is_global=True),
    "aws:iam/policy:Policy": _arn_id("iam", "policy/{name}", is_global=True),
    "aws:iam/instanceProfile:InstanceProfile": _named(
        "iam", _of("instance-profile/{name}"), _field("name"), is_global=True
    ),
    "aws:iam/rolePolicy:RolePolicy": Identified(new_id=_field("role", "name", separator=":"), is_global=True),
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": Identified(
        new_id=_field("role", "policyArn", separator="/"), is_global=True
    ),
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider": Identified(
        raw=lambda i: f"oidc-provider/{str(i['url']).removeprefix('https://')}",
        new_id=lambda _inputs, _raw: "",
        arn=lambda place, _, raw: place.arn("iam", raw, regional=False),
        is_global=True,
    ),
    "aws:s3/bucket:Bucket": _named("s3", _of("{bucket}"), _field("bucket"), is_global=True, owned=False),
    "aws:rds/instance:Instance": Identified(
        raw=lambda _: f"db-{secrets.token_hex(13).upper()}",
        new_id=lambda _inputs, raw: raw,
        arn=lambda place, i, _: place.arn("rds", f"db:{i['identifier']}"),
    ),
    "aws:rds/instanceAutomatedBackupsReplication:InstanceAutomatedBackupsReplication": Identified(
        raw=lambda _: f"auto-backup:ab-{''.join(secrets.choice(_BASE32) for _ in range(39))}",
        new_id=lambda _inputs, _raw: "",
        arn=lambda place, _, raw: place.arn("rds", raw),
    ),
    "aws:rds/subnetGroup:SubnetGroup": _named("rds", _of("subgrp:{name}"), _field("name")),
    "aws:rds/parameterGroup:ParameterGroup": _named("rds", _of("pg:{name}"), _field("name")),
    "aws:rds/eventSubscription:EventSubscription": _named("rds", _of("es:{name}"), _field("name")),
    "aws:elasticache/subnetGroup:SubnetGroup": _named("elasticache", _of("subnetgroup:{name}"), _field("name")),
    "aws:elasticache/parameterGroup:ParameterGroup": _named(
        "elasticache", _of("parametergroup:{name}"), _field("name")
    ),
    "aws:elasticache/replicationGroup:ReplicationGroup": _named(
        "elasticache", _of("replicationgroup:{replicationGroupId}"), _field("replicationGroupId")
    ),
    "aws:efs/fileSystem:FileSystem": Identified(
        raw=lambda _: hexadecimal("fs"),
        new_id=lambda _inputs, raw: raw,
        arn=lambda place, _, raw: place.arn("elasticfilesystem", f"file-system/{raw}"),
    ),
    "aws:efs/accessPoint:AccessPoint": Identified(
        raw=lambda _: hexadecimal("fsap"),
        new_id=lambda _inputs, raw: raw,
        arn=lambda place, _, raw: place.arn("elasticfilesystem", f"access-point/{raw}"),
    ),
    "aws:efs/mountTarget:MountTarget": _ec2("fsmt"),
    "aws:efs/backupPolicy:BackupPolicy": Identified(new_id=_field("fileSystemId")),
    "aws:efs/fileSystemPolicy:FileSystemPolicy": Identified(new_id=_field("fileSystemId")),
    "aws:secretsmanager/secret:Secret": Identified(
        raw=_secret_raw,
        new_id=lambda _inputs, _raw: "",
        arn=lambda place, _, raw: place.arn("secretsmanager", raw),
    ),
    "aws:secretsmanager/secretVersion:SecretVersion": Identified(
        raw=lambda _: f"terraform-{secrets.token_hex(13)}", new_id=lambda i, raw: f"{i['secretId']}|{raw}"
    ),
    "aws:secretsmanager/secretPolicy:SecretPolicy": Identified(new_id=_field("secretArn")),
    "aws:cloudwatch/logGroup:LogGroup": _named("logs", _of("log-group:{name}"), _field("name")),
    "aws:cloudwatch/metricAlarm:MetricAlarm": _named("cloudwatch", _of("alarm:{name}"), _field("name")),
    "aws:cloudwatch/eventRule:EventRule": _named("events", _of("rule/{name}"), _field("name")),
    "aws:cloudwatch/eventTarget:EventTarget": Identified(new_id=_field("rule", "targetId", separator="-")),
    "aws:cloudwatch/logResourcePolicy:LogResourcePolicy": Identified(new_id=_field("policyName")),
    "aws:sns/topic:Topic": _arn_id("sns", "{name}"),
    "aws:sns/topicPolicy:TopicPolicy": Identified(new_id=_field("arn")),
    "aws:sns/topicSubscription:TopicSubscription": Identified(new_id=lambda i, _: f"{i['topic']}:{uuid.uuid4()}"),
    "aws:sqs/queue:Queue": _named("sqs", _of("{name}"), _field("name")),
    "aws:sqs/queuePolicy:QueuePolicy": Identified(new_id=_field("queueUrl")),
    "aws:ecr/repository:Repository": _named("ecr", _of("repository/{name}"), _field("name")),
    "aws:ecr/lifecyclePolicy:LifecyclePolicy": Identified(new_id=_field("repository")),
    "aws:ecr/repositoryPolicy:RepositoryPolicy": Identified(new_id=_field("repository")),
    "aws:ecr/pullThroughCacheRule:PullThroughCacheRule": Identified(new_id=_field("ecrRepositoryPrefix")),
    "aws:ecr/repositoryCreationTemplate:RepositoryCreationTemplate": Identified(new_id=_field("prefix")),
    "aws:ecr/registryScanningConfiguration:RegistryScanningConfiguration": Identified(new_id=lambda _i, _: ACCOUNT_ID),
    "aws:ecr/registryPolicy:RegistryPolicy": Identified(new_id=lambda _i, _: ACCOUNT_ID),
    "aws:budgets/budget:Budget": Identified(
        raw=lambda i: f"budget/{i['name']}",
        new_id=lambda i, _: f"{ACCOUNT_ID}:{i['name']}",
        arn=lambda place, _, raw: place.arn("budgets", raw, regional=False),
        is_global=True,
    ),
    "aws:sagemaker/model:Model": _named("sagemaker", _of("model/{name}"), _field("name")),
    "aws:sagemaker/endpointConfiguration:EndpointConfiguration": _named(
        "sagemaker", _of("endpoint-config/{name}"), _field("name")
    ),
    "aws:sagemaker/endpoint:Endpoint": _named("sagemaker", _of("endpoint/{name}"), _field("name")),
    "aws:appautoscaling/target:Target": Identified(
        raw=lambda _: f"scalable-target/{secrets.token_hex(16)[:26]}",
        new_id=_field("resourceId"),
        arn=lambda place, _, raw: place.arn("application-autoscaling", raw),
    ),
    "aws:appautoscaling/policy:Policy": Identified(
        raw=lambda i: f"resource/{i['serviceNamespace']}/{i['resourceId']}:policyName/{i['name']}",
        new_id=_field("name"),
        arn=lambda place, _, raw: place.arn("autoscaling", f"scalingPolicy:{uuid.uuid4()}:{raw}"),
    ),
    # Cloud Control gives a resource the identifier of its own type; that of an inference component is its ARN.
    "aws:cloudcontrol/resource:Resource": Identified(
        raw=_component,
        new_id=lambda i, raw: Place(_region_of(i)).arn("sagemaker", f"inference-component/{raw}"),
    ),
    "aws:autoscaling/tag:Tag": Identified(new_id=lambda i, _: f"{i['autoscalingGroupName']},{i['tag']['key']}"),
}

# The Terraform type of these is keyed by the bucket; one record a bucket.
_BUCKET_PARTS: Final = (
    "bucketVersioning:BucketVersioning",
    "bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
    "bucketPublicAccessBlock:BucketPublicAccessBlock",
    "bucketOwnershipControls:BucketOwnershipControls",
    "bucketLifecycleConfiguration:BucketLifecycleConfiguration",
    "bucketLogging:BucketLogging",
    "bucketPolicy:BucketPolicy",
    "bucketReplicationConfig:BucketReplicationConfig",
    "bucketNotification:BucketNotification",
    "bucketMetric:BucketMetric",
)


def identified(type_token: str) -> Identified:
    """Return how AWS names ``type_token``; types without a rule of their own get a generic identifier and ARN."""
    if type_token in IDENTIFIED:
        return IDENTIFIED[type_token]
    module, name = type_token.split(":")[1:]
    service = module.split("/", maxsplit=1)[0]
    if service == "s3" and f"{module.split('/')[1]}:{name}" in _BUCKET_PARTS:
        return Identified(new_id=_field("bucket"))
    return Identified(
        raw=lambda inputs: str(inputs.get("name") or secrets.token_hex(9)[:17]),
        new_id=lambda _inputs, raw: raw,
        arn=lambda place, _, raw: place.arn(service, f"{name[:1].lower()}{name[1:]}/{raw}"),
    )
