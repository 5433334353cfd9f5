"""Properties whose change replaces a resource in the real AWS provider.

Read off the plans of the Terraform AWS provider 5.100, which pulumi-aws bridges: every property of every type that the
program uses was changed in a plan of its own, and those that the plan called the cause of a replacement stand here. A
few whose other value the plan would not take are from the provider's documentation. Names and name prefixes are left
out: :class:`~sandbox.emulated.EmulatedProvider` replaces for those by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

REPLACING: Final[Mapping[str, Sequence[str]]] = {
    "aws:budgets/budget:Budget": ("accountId",),
    "aws:cloudwatch/logGroup:LogGroup": ("logGroupClass",),
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": ("vpcId",),
    "aws:ec2/eip:Eip": (
        "address",
        "domain",
        "ipamPoolId",
        "networkBorderGroup",
        "publicIpv4Pool",
    ),
    "aws:ec2/flowLog:FlowLog": (
        "deliverCrossAccountRole",
        "destinationOptions.fileFormat",
        "destinationOptions.hiveCompatiblePartitions",
        "destinationOptions.perHourPartition",
        "eniId",
        "iamRoleArn",
        "logDestination",
        "logDestinationType",
        "logFormat",
        "maxAggregationInterval",
        "subnetId",
        "trafficType",
        "vpcId",
    ),
    "aws:ec2/natGateway:NatGateway": (
        "allocationId",
        "connectivityType",
        "privateIp",
        "subnetId",
    ),
    "aws:ec2/route:Route": (
        "destinationCidrBlock",
        "destinationIpv6CidrBlock",
        "destinationPrefixListId",
        "routeTableId",
    ),
    "aws:ec2/routeTable:RouteTable": ("vpcId",),
    "aws:ec2/routeTableAssociation:RouteTableAssociation": (
        "gatewayId",
        "subnetId",
    ),
    "aws:ec2/securityGroup:SecurityGroup": (
        "description",
        "vpcId",
    ),
    "aws:ec2/securityGroupRule:SecurityGroupRule": (
        "cidrBlocks",
        "fromPort",
        "ipv6CidrBlocks",
        "prefixListIds",
        "protocol",
        "securityGroupId",
        "self",
        "sourceSecurityGroupId",
        "toPort",
        "type",
    ),
    "aws:ec2/subnet:Subnet": (
        "availabilityZone",
        "availabilityZoneId",
        "cidrBlock",
        "ipv6Native",
        "outpostArn",
        "vpcId",
    ),
    "aws:ec2/vpc:Vpc": (
        "cidrBlock",
        "instanceTenancy",
        "ipv4IpamPoolId",
    ),
    "aws:ec2/vpcEndpoint:VpcEndpoint": (
        "serviceName",
        "serviceRegion",
        "vpcEndpointType",
        "vpcId",
    ),
    "aws:ecr/lifecyclePolicy:LifecyclePolicy": (
        "policy",
        "repository",
    ),
    "aws:ecr/pullThroughCacheRule:PullThroughCacheRule": (
        "ecrRepositoryPrefix",
        "upstreamRegistryUrl",
        "upstreamRepositoryPrefix",
    ),
    "aws:ecr/repository:Repository": (
        "encryptionConfigurations.encryptionType",
        "encryptionConfigurations.kmsKey",
    ),
    "aws:ecr/repositoryCreationTemplate:RepositoryCreationTemplate": ("prefix",),
    "aws:efs/accessPoint:AccessPoint": (
        "fileSystemId",
        "posixUser.gid",
        "posixUser.secondaryGids",
        "posixUser.uid",
        "rootDirectory.creationInfo.ownerGid",
        "rootDirectory.creationInfo.ownerUid",
        "rootDirectory.creationInfo.permissions",
        "rootDirectory.path",
    ),
    "aws:efs/backupPolicy:BackupPolicy": ("fileSystemId",),
    "aws:efs/fileSystem:FileSystem": (
        "availabilityZoneName",
        "creationToken",
        "encrypted",
        "kmsKeyId",
        "performanceMode",
    ),
    "aws:efs/fileSystemPolicy:FileSystemPolicy": ("fileSystemId",),
    "aws:efs/mountTarget:MountTarget": (
        "fileSystemId",
        "ipAddress",
        "subnetId",
    ),
    "aws:eks/accessEntry:AccessEntry": (
        "clusterName",
        "principalArn",
        "type",
    ),
    "aws:eks/accessPolicyAssociation:AccessPolicyAssociation": (
        "accessScope.namespaces",
        "accessScope.type",
        "clusterName",
        "policyArn",
        "principalArn",
    ),
    "aws:eks/addon:Addon": (
        "addonName",
        "clusterName",
    ),
    "aws:eks/cluster:Cluster": (
        "bootstrapSelfManagedAddons",
        "kubernetesNetworkConfig.ipFamily",
        "kubernetesNetworkConfig.serviceIpv4Cidr",
        "outpostConfig",
        "remoteNetworkConfig.remoteNodeNetworks.cidrs",
        "remoteNetworkConfig.remotePodNetworks.cidrs",
        "roleArn",
    ),
    "aws:eks/nodeGroup:NodeGroup": (
        "amiType",
        "capacityType",
        "clusterName",
        "diskSize",
        "instanceTypes",
        "launchTemplate.id",
        "launchTemplate.name",
        "nodeRoleArn",
        "remoteAccess.ec2SshKey",
        "remoteAccess.sourceSecurityGroupIds",
        "subnetIds",
    ),
    "aws:eks/podIdentityAssociation:PodIdentityAssociation": (
        "clusterName",
        "namespace",
        "serviceAccount",
    ),
    "aws:elasticache/parameterGroup:ParameterGroup": (
        "description",
        "family",
    ),
    "aws:elasticache/replicationGroup:ReplicationGroup": (
        "atRestEncryptionEnabled",
        "dataTieringEnabled",
        "engine",
        "globalReplicationGroupId",
        "kmsKeyId",
        "networkType",
        "port",
        "securityGroupNames",
        "snapshotArns",
        "snapshotName",
        "subnetGroupName",
    ),
    "aws:iam/instanceProfile:InstanceProfile": ("path",),
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider": ("url",),
    "aws:iam/policy:Policy": (
        "description",
        "path",
    ),
    "aws:iam/role:Role": ("path",),
    "aws:iam/rolePolicy:RolePolicy": ("role",),
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": (
        "policyArn",
        "role",
    ),
    "aws:kms/key:Key": (
        "customKeyStoreId",
        "customerMasterKeySpec",
        "keyUsage",
        "multiRegion",
        "xksKeyId",
    ),
    "aws:rds/instance:Instance": (
        "availabilityZone",
        "backupTarget",
        "characterSetName",
        "customIamInstanceProfile",
        "dbName",
        "engine",
        "kmsKeyId",
        "ncharCharacterSetName",
        "performanceInsightsKmsKeyId",
        "restoreToPointInTime",
        "s3Import.bucketName",
        "s3Import.bucketPrefix",
        "s3Import.ingestionRole",
        "s3Import.sourceEngine",
        "s3Import.sourceEngineVersion",
        "snapshotIdentifier",
        "storageEncrypted",
        "timezone",
        "username",
    ),
    "aws:rds/parameterGroup:ParameterGroup": (
        "description",
        "family",
    ),
    "aws:s3/bucket:Bucket": (
        "objectLockConfiguration.objectLockEnabled",
        "objectLockEnabled",
    ),
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": (
        "bucket",
        "expectedBucketOwner",
    ),
    "aws:s3/bucketLogging:BucketLogging": (
        "bucket",
        "expectedBucketOwner",
    ),
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": ("bucket",),
    "aws:s3/bucketPolicy:BucketPolicy": ("bucket",),
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": ("bucket",),
    "aws:s3/bucketReplicationConfig:BucketReplicationConfig": ("bucket",),
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": (
        "bucket",
        "expectedBucketOwner",
    ),
    "aws:s3/bucketVersioning:BucketVersioning": (
        "bucket",
        "expectedBucketOwner",
    ),
    "aws:secretsmanager/secretVersion:SecretVersion": (
        "secretId",
        "secretString",
    ),
    "aws:sns/topic:Topic": ("fifoTopic",),
    "aws:sns/topicPolicy:TopicPolicy": ("arn",),
    "aws:sns/topicSubscription:TopicSubscription": (
        "endpoint",
        "protocol",
        "topic",
    ),
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": ("securityGroupId",),
}

# Types that nothing but another name replaces, by the same reading.
ONLY_BY_NAME: Final = frozenset(
    {
        "aws:cloudwatch/metricAlarm:MetricAlarm",
        "aws:ec2/internetGateway:InternetGateway",
        "aws:ec2/launchTemplate:LaunchTemplate",
        "aws:ecr/registryScanningConfiguration:RegistryScanningConfiguration",
        "aws:elasticache/subnetGroup:SubnetGroup",
        "aws:kms/alias:Alias",
        "aws:rds/eventSubscription:EventSubscription",
        "aws:rds/subnetGroup:SubnetGroup",
        "aws:secretsmanager/secret:Secret",
    }
)
