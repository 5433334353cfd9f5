"""What ``pulumi up`` and ``pulumi destroy`` do with the account: IAM actions, and what they are done to.

Not every action that the provider calls: for each kind of resource what makes, reads, changes and deletes it, and what
is commonly left out of a role (tags, passing a role, service-linked roles, key grants). Names are those of the Service
Authorization Reference, November 2026.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Actions:
    """Actions on one kind of resource.

    Attributes:
        name: What they are for.
        actions: IAM actions.
        resource: An ARN as the stack's would be, with ``{account}``, ``{region}`` and ``{prefix}``; ``*`` where roles
            are not narrowed by resource.
        only: Setting that asks for them; empty for always.
    """

    name: str
    actions: tuple[str, ...]
    resource: str = "*"
    only: str = ""


def _of(service: str, actions: str) -> tuple[str, ...]:
    return tuple(f"{service}:{action}" for action in actions.split())


ACTIONS: Final = (
    Actions(
        name="network",
        actions=_of(
            "ec2",
            "CreateVpc DescribeVpcs ModifyVpcAttribute DeleteVpc CreateSubnet DescribeSubnets DeleteSubnet "
            "CreateRouteTable CreateRoute AssociateRouteTable DescribeRouteTables DeleteRouteTable "
            "CreateInternetGateway AttachInternetGateway DetachInternetGateway DeleteInternetGateway "
            "AllocateAddress ReleaseAddress CreateNatGateway DescribeNatGateways DeleteNatGateway "
            "CreateVpcEndpoint DescribeVpcEndpoints "
            "DeleteVpcEndpoints CreateSecurityGroup AuthorizeSecurityGroupIngress RevokeSecurityGroupIngress "
            "RevokeSecurityGroupEgress DescribeSecurityGroups DeleteSecurityGroup CreateFlowLogs DescribeFlowLogs "
            "DeleteFlowLogs CreateTags",
        ),
    ),
    Actions(
        name="nodes",
        # EKS checks RunInstances of whoever makes a group with a launch template of its own.
        actions=_of(
            "ec2",
            "CreateLaunchTemplate CreateLaunchTemplateVersion DescribeLaunchTemplates DescribeLaunchTemplateVersions "
            "DeleteLaunchTemplate RunInstances",
        ),
    ),
    Actions(
        name="cluster",
        actions=_of(
            "eks",
            "CreateCluster DescribeCluster UpdateClusterConfig UpdateClusterVersion DeleteCluster TagResource "
            "CreateNodegroup DescribeNodegroup UpdateNodegroupConfig UpdateNodegroupVersion DeleteNodegroup "
            "CreateAddon DescribeAddon UpdateAddon DeleteAddon CreateAccessEntry AssociateAccessPolicy "
            "DeleteAccessEntry CreatePodIdentityAssociation DeletePodIdentityAssociation",
        ),
        resource="arn:aws:eks:{region}:{account}:cluster/{prefix}",
    ),
    Actions(
        name="roles",
        actions=_of(
            "iam",
            "CreateRole GetRole TagRole UpdateAssumeRolePolicy DeleteRole PassRole PutRolePolicy GetRolePolicy "
            "DeleteRolePolicy AttachRolePolicy DetachRolePolicy ListRolePolicies ListAttachedRolePolicies "
            "ListInstanceProfilesForRole",
        ),
        resource="arn:aws:iam::{account}:role/foundation-nodes-role-0123456",
    ),
    Actions(
        name="issuer of pod identities",
        actions=_of("iam", "CreateOpenIDConnectProvider GetOpenIDConnectProvider DeleteOpenIDConnectProvider"),
        resource="arn:aws:iam::{account}:oidc-provider/oidc.eks.{region}.amazonaws.com/id/0123456789ABCDEF",
    ),
    Actions(
        name="service-linked roles",
        actions=_of("iam", "CreateServiceLinkedRole"),  # the first cluster, node group or cache of an account needs it
        resource="arn:aws:iam::{account}:role/aws-service-role/eks-nodegroup.amazonaws.com/AWSServiceRoleForAmazonEKSNodegroup",
    ),
    Actions(
        name="keys",
        actions=_of(
            "kms",
            "CreateKey DescribeKey PutKeyPolicy GetKeyPolicy EnableKeyRotation GetKeyRotationStatus TagResource "
            "CreateAlias DeleteAlias ListAliases CreateGrant ScheduleKeyDeletion",
        ),
    ),
    Actions(
        name="buckets",
        actions=_of(
            "s3",
            "CreateBucket ListBucket PutBucketPolicy GetBucketPolicy PutBucketVersioning PutEncryptionConfiguration "
            "PutLifecycleConfiguration PutBucketPublicAccessBlock PutBucketOwnershipControls PutBucketLogging "
            "PutBucketTagging GetBucketTagging DeleteBucket",
        ),
        resource="arn:aws:s3:::{prefix}-data-{account}-{region}",
    ),
    Actions(
        name="copies of buckets",
        actions=_of("s3", "PutReplicationConfiguration GetReplicationConfiguration"),
        resource="arn:aws:s3:::{prefix}-data-{account}-{region}",
        only="objects.replicate",
    ),
    Actions(
        name="copies of database backups",
        actions=_of("rds", "StartDBInstanceAutomatedBackupsReplication StopDBInstanceAutomatedBackupsReplication"),
        resource="arn:aws:rds:{region}:{account}:db:{prefix}-postgres",
        only="database.replicateBackups",
    ),
    Actions(
        name="database",
        actions=_of("rds", "CreateDBInstance DescribeDBInstances ModifyDBInstance DeleteDBInstance AddTagsToResource"),
        resource="arn:aws:rds:{region}:{account}:db:{prefix}-postgres",
    ),
    Actions(
        name="database parameters",
        actions=_of("rds", "CreateDBParameterGroup ModifyDBParameterGroup DeleteDBParameterGroup"),
        resource="arn:aws:rds:{region}:{account}:pg:foundation-database-parameters-0123456",
    ),
    Actions(
        name="database subnets",
        actions=_of("rds", "CreateDBSubnetGroup DeleteDBSubnetGroup"),
        resource="arn:aws:rds:{region}:{account}:subgrp:foundation-database-subnets-0123456",
    ),
    Actions(
        name="cache",
        actions=_of(
            "elasticache",
            "CreateReplicationGroup DescribeReplicationGroups ModifyReplicationGroup DeleteReplicationGroup "
            "AddTagsToResource",
        ),
        resource="arn:aws:elasticache:{region}:{account}:replicationgroup:foundation-cache-group-0123456",
    ),
    Actions(
        name="shared files",
        actions=_of(
            "elasticfilesystem",
            "CreateFileSystem DescribeFileSystems CreateMountTarget CreateAccessPoint PutFileSystemPolicy "
            "PutBackupPolicy TagResource DeleteFileSystem",
        ),
    ),
    Actions(
        name="credentials",
        actions=_of(
            "secretsmanager", "CreateSecret DescribeSecret PutSecretValue GetSecretValue TagResource DeleteSecret"
        ),
        resource="arn:aws:secretsmanager:{region}:{account}:secret:{prefix}/litellm-master-key-012345",
    ),
    Actions(
        name="images",
        actions=_of("ecr", "CreateRepository DescribeRepositories PutLifecyclePolicy TagResource DeleteRepository"),
        resource="arn:aws:ecr:{region}:{account}:repository/{prefix}/serving",
    ),
    Actions(
        name="image caches",
        actions=_of(
            "ecr",
            "CreatePullThroughCacheRule DescribePullThroughCacheRules DeletePullThroughCacheRule "
            "CreateRepositoryCreationTemplate DeleteRepositoryCreationTemplate",
        ),
    ),
    Actions(
        name="logs",
        actions=_of("logs", "CreateLogGroup PutRetentionPolicy AssociateKmsKey TagResource DeleteLogGroup"),
        resource="arn:aws:logs:{region}:{account}:log-group:/aws/eks/{prefix}/cluster",
    ),
    Actions(
        name="alarms",
        actions=(
            *_of("cloudwatch", "PutMetricAlarm DescribeAlarms DeleteAlarms"),
            *_of("sns", "CreateTopic SetTopicAttributes GetTopicAttributes TagResource DeleteTopic"),
        ),
    ),
    Actions(name="budget", actions=_of("budgets", "ModifyBudget ViewBudget")),
)
