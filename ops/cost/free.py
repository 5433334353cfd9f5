"""What costs nothing, and why. A type that stands neither here nor in a table of prices is reported as not priced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ops.cost import gcp

_CONFIGURES: Final = "configures another resource"
_NETWORK: Final = "part of a VPC, which is free"
_IAM: Final = "IAM is free"

FREE: Final[Mapping[str, str]] = {
    "aws:budgets/budget:Budget": "budgets without actions are free",
    "aws:cloudwatch/eventRule:EventRule": "rules on events of AWS services are free",
    "aws:cloudwatch/eventTarget:EventTarget": _CONFIGURES,
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": _NETWORK,
    "aws:ec2/flowLog:FlowLog": "its log group is priced",
    "aws:ec2/internetGateway:InternetGateway": _NETWORK,
    "aws:ec2/launchTemplate:LaunchTemplate": "its node group is priced, root volumes among it",
    "aws:ec2/route:Route": _NETWORK,
    "aws:ec2/routeTable:RouteTable": _NETWORK,
    "aws:ec2/routeTableAssociation:RouteTableAssociation": _NETWORK,
    "aws:ec2/securityGroup:SecurityGroup": _NETWORK,
    "aws:ec2/securityGroupRule:SecurityGroupRule": _NETWORK,
    "aws:ec2/subnet:Subnet": _NETWORK,
    "aws:ec2/tag:Tag": _CONFIGURES,
    "aws:ec2/vpc:Vpc": _NETWORK,
    "aws:ecr/lifecyclePolicy:LifecyclePolicy": _CONFIGURES,
    "aws:ecr/registryScanningConfiguration:RegistryScanningConfiguration": "basic scanning is free",
    "aws:ecr/repositoryCreationTemplate:RepositoryCreationTemplate": _CONFIGURES,
    "aws:efs/accessPoint:AccessPoint": "a directory of its file system",
    "aws:efs/fileSystemPolicy:FileSystemPolicy": _CONFIGURES,
    "aws:efs/mountTarget:MountTarget": "mount targets are free",
    "aws:eks/accessEntry:AccessEntry": _CONFIGURES,
    "aws:eks/accessPolicyAssociation:AccessPolicyAssociation": _CONFIGURES,
    "aws:eks/podIdentityAssociation:PodIdentityAssociation": _CONFIGURES,
    "aws:elasticache/parameterGroup:ParameterGroup": _CONFIGURES,
    "aws:elasticache/subnetGroup:SubnetGroup": _CONFIGURES,
    "aws:iam/instanceProfile:InstanceProfile": _IAM,
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider": _IAM,
    "aws:iam/policy:Policy": _IAM,
    "aws:iam/role:Role": _IAM,
    "aws:iam/rolePolicy:RolePolicy": _IAM,
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": _IAM,
    "aws:kms/alias:Alias": "aliases are free",
    "aws:lb/listener:Listener": "its load balancer is priced",
    "aws:lb/targetGroup:TargetGroup": "its load balancer is priced",
    "aws:rds/eventSubscription:EventSubscription": _CONFIGURES,
    "aws:rds/parameterGroup:ParameterGroup": _CONFIGURES,
    "aws:rds/subnetGroup:SubnetGroup": _CONFIGURES,
    "aws:route53/record:Record": "records are free",
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": _CONFIGURES,
    "aws:s3/bucketLogging:BucketLogging": _CONFIGURES,
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": _CONFIGURES,
    "aws:s3/bucketPolicy:BucketPolicy": _CONFIGURES,
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": _CONFIGURES,
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": _CONFIGURES,
    "aws:s3/bucketVersioning:BucketVersioning": _CONFIGURES,
    "aws:secretsmanager/secretPolicy:SecretPolicy": _CONFIGURES,
    "aws:secretsmanager/secretVersion:SecretVersion": "its secret is priced",
    "aws:sns/topic:Topic": "mails of alarms stay within the free thousand a month",
    "aws:sns/topicPolicy:TopicPolicy": _CONFIGURES,
    "aws:sns/topicSubscription:TopicSubscription": _CONFIGURES,
    "aws:sqs/queue:Queue": "interruption notices stay within the free million requests a month",
    "aws:sqs/queuePolicy:QueuePolicy": _CONFIGURES,
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": _NETWORK,
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": _NETWORK,
    # The only dynamic resource of this program without a type of its own.
    "pulumi-python:dynamic:Resource": "the pinned version of a registered model, kept in the state only",
}

PREFIXES: Final[Mapping[str, str]] = {
    "kubernetes:": "an object in the cluster; its pods run on nodes that are priced",
    "pulumi:": "the engine's own",
    "random:": "kept in the state only",
    "tls:": "kept in the state only",
}

# EKS add-ons are free but for what they send elsewhere.
ADDON: Final = "aws:eks/addon:Addon"
CHARGED_ADDONS: Final[Mapping[str, str]] = {
    "amazon-cloudwatch-observability": "metrics and logs of Container Insights",
    "adot": "metrics and traces that it sends",
    "aws-guardduty-agent": "runtime monitoring of GuardDuty",
}


def why_free(kind: str) -> str | None:
    """The reason why a type costs nothing; None where it is not known to be free."""
    if kind in FREE:
        return FREE[kind]
    if kind.startswith("gcp:"):
        return gcp.why_free(kind)
    return next((reason for prefix, reason in PREFIXES.items() if kind.startswith(prefix)), None)
