"""What SageMaker endpoints need of the foundation: an identity of their own, a place in the network, keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pulumi
import pulumi_aws as aws
from pulumi_aws import ec2, iam, vpc

from components.aws.identity import AwsIdentity
from components.aws.policy import Account, Statement, render
from components.contract import Grant

_SERVICE = "sagemaker.amazonaws.com"


@dataclass(frozen=True, kw_only=True)
class AwsModelHosting:
    """Implements ``contract.ModelHosting`` with SageMaker.

    Attributes:
        account: Where endpoints are.
        provider: Makes them.
        identity: Knows what a grant means here.
        vpc_id: Network that the containers stand in.
        subnet_ids: Private subnets, in at least two zones.
        storage_key_arn: Key of the machines' volumes, where they have volumes.
        logs_key_arn: Key of log groups.
        capture_bucket_arn: Bucket of logs; captured requests go there.
        capture_bucket_url: The same as ``s3://…``.
        capture_key_arn: Its key.
        alarm_topic_arn: Who is told.
        repositories: URLs of our own images, by short name.
        log_retention_days: How long the containers' output is kept.
        permissions_boundary_arn: Policy that limits every role of the stack, where the account demands one.
    """

    account: Account
    provider: aws.Provider
    identity: AwsIdentity
    vpc_id: pulumi.Input[str]
    subnet_ids: Sequence[pulumi.Input[str]]
    storage_key_arn: pulumi.Input[str]
    logs_key_arn: pulumi.Input[str]
    capture_bucket_arn: pulumi.Input[str]
    capture_bucket_url: pulumi.Input[str]
    capture_key_arn: pulumi.Input[str]
    alarm_topic_arn: pulumi.Input[str]
    repositories: Mapping[str, pulumi.Input[str]]
    log_retention_days: int
    permissions_boundary_arn: str | None = None

    @property
    def service(self) -> Literal["sagemaker"]:
        """Which service it is."""
        return "sagemaker"


@dataclass(frozen=True, kw_only=True)
class EndpointIdentityArgs:
    """What one endpoint may do and reach.

    Attributes:
        hosting: The foundation's part.
        endpoint: Name of the endpoint; names of what belongs to it start with it.
        image: Container image in ECR.
        log_group: Name of the log group that SageMaker writes the containers' output to.
        grants: Weights that it reads.
        captures: It keeps requests and answers.
        has_volumes: Its machines have volumes under our key.
    """

    hosting: AwsModelHosting
    endpoint: str
    image: pulumi.Input[str]
    log_group: str
    grants: Sequence[Grant]
    captures: bool
    has_volumes: bool


class EndpointIdentity(pulumi.ComponentResource):
    """The role that SageMaker assumes for one endpoint, and the security group of its containers."""

    role_arn: pulumi.Output[str]
    """Known once the role has its permissions: SageMaker tries them when a model is made."""
    security_group_id: pulumi.Output[str]

    def __init__(self, name: str, args: EndpointIdentityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:aws:EndpointIdentity", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        hosting = args.hosting

        group = ec2.SecurityGroup(
            f"{name}-containers",
            vpc_id=hosting.vpc_id,
            description=f"Containers of the model endpoint {args.endpoint}",
            tags={"Name": args.endpoint},
            opts=child,
        )
        # SageMaker fetches the weights through the containers' network interfaces. Nothing comes in this way: requests
        # reach the containers from SageMaker's side.
        vpc.SecurityGroupEgressRule(
            f"{name}-weights",
            security_group_id=group.id,
            description="Weights from S3, over the gateway endpoint",
            ip_protocol="tcp",
            from_port=443,
            to_port=443,
            cidr_ipv4="0.0.0.0/0",  # S3's addresses change; the containers themselves have no way out (isolation)
            opts=child,
        )
        role = iam.Role(
            f"{name}-role",
            description=f"Model endpoint {args.endpoint}",
            assume_role_policy=trust(hosting.account),
            permissions_boundary=hosting.permissions_boundary_arn,
            opts=child,
        )
        permissions = iam.RolePolicy(
            f"{name}-permissions",
            role=role.name,
            policy=render(
                [
                    *hosting.identity.statements(args.grants),
                    *image_statements(args.image, hosting.account),
                    *output_statements(args.log_group, hosting.account),
                    *network_statements(hosting, group.arn),
                    *(volume_statements(hosting.storage_key_arn) if args.has_volumes else ()),
                    *(capture_statements(hosting, args.endpoint) if args.captures else ()),
                ]
            ),
            opts=child,
        )
        self.role_arn = pulumi.Output.all(role.arn, permissions.id).apply(lambda values: str(values[0]))
        self.security_group_id = group.id
        self.register_outputs({"roleArn": self.role_arn, "securityGroupId": self.security_group_id})


def trust(account: Account) -> pulumi.Output[str]:
    """Trust policy: SageMaker, for resources of this account and region."""
    return pulumi.Output.json_dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Sid": "SageMakerAssumes",
                    "Effect": "Allow",
                    "Principal": {"Service": _SERVICE},
                    "Action": "sts:AssumeRole",
                    "Condition": {
                        "StringEquals": {"aws:SourceAccount": account.id},
                        # Models, configurations, endpoints and their parts all assume it.
                        "ArnLike": {
                            "aws:SourceArn": f"arn:{account.partition}:sagemaker:{account.region}:{account.id}:*"
                        },
                    },
                }
            ],
        }
    )


def repository_arn(image: str, account: Account) -> str:
    """ARN of the ECR repository of ``image``; refuses images from elsewhere, which SageMaker does not pull."""
    host, _, rest = image.partition("/")
    registry, _, domain = host.partition(".")
    repository = rest.partition("@")[0].partition(":")[0]
    if not repository or not domain.startswith(f"dkr.ecr.{account.region}."):
        raise ValueError(f"SageMaker pulls images from ECR in {account.region}: not {image}")
    return f"arn:{account.partition}:ecr:{account.region}:{registry}:repository/{repository}"


def image_statements(image: pulumi.Input[str], account: Account) -> list[Statement]:
    """Pulling this image."""
    return [
        Statement(
            sid="PullImage",
            actions=("ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage"),
            resources=(pulumi.Output.from_input(image).apply(lambda found: repository_arn(found, account)),),
        ),
        Statement(
            sid="SignInAtRegistry",
            actions=("ecr:GetAuthorizationToken",),
            resources=("*",),  # a question about no resource; ECR takes nothing else
        ),
    ]


def output_statements(log_group: str, account: Account) -> list[Statement]:
    """The containers' output and metrics."""
    group = f"arn:{account.partition}:logs:{account.region}:{account.id}:log-group:{log_group}"
    return [
        Statement(
            sid="WriteLogs",
            actions=("logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"),
            resources=(f"{group}:*",),  # its streams, which are named by the machines
        ),
        Statement(
            sid="WriteMetrics",
            actions=("cloudwatch:PutMetricData",),
            resources=("*",),  # metrics are no resources; the condition says which
            conditions={"StringLike": {"cloudwatch:namespace": ["AWS/SageMaker", "/aws/sagemaker/*"]}},
        ),
    ]


def network_statements(hosting: AwsModelHosting, security_group_arn: pulumi.Input[str]) -> list[Statement]:
    """Network interfaces in our subnets, with this security group (SageMaker guide, "Access resources in your VPC")."""
    account = hosting.account
    arn = f"arn:{account.partition}:ec2:{account.region}:{account.id}"
    return [
        Statement(
            sid="JoinNetwork",
            actions=("ec2:CreateNetworkInterface",),
            resources=(
                f"{arn}:network-interface/*",  # it has no name before it is there
                security_group_arn,
                *(pulumi.Output.concat(arn, ":subnet/", subnet) for subnet in hosting.subnet_ids),
            ),
        ),
        Statement(
            sid="LeaveNetwork",
            actions=(
                "ec2:CreateNetworkInterfacePermission",
                "ec2:DeleteNetworkInterface",
                "ec2:DeleteNetworkInterfacePermission",
            ),
            resources=(f"{arn}:network-interface/*",),
            # Only interfaces in this network.
            conditions={"ArnEquals": {"ec2:Vpc": pulumi.Output.concat(arn, ":vpc/", hosting.vpc_id)}},
        ),
        Statement(
            sid="LookAround",
            actions=(
                "ec2:DescribeDhcpOptions",
                "ec2:DescribeNetworkInterfaces",
                "ec2:DescribeSecurityGroups",
                "ec2:DescribeSubnets",
                "ec2:DescribeVpcs",
            ),
            resources=("*",),  # EC2's lists take no resource
        ),
    ]


def volume_statements(key_arn: pulumi.Input[str]) -> list[Statement]:
    """Volumes under our key: SageMaker hands the key on to the machines."""
    return [
        Statement(
            sid="VolumeKey",
            actions=("kms:CreateGrant",),
            resources=(key_arn,),
            conditions={"Bool": {"kms:GrantIsForAWSResource": "true"}},
        )
    ]


def capture_prefix(endpoint: str) -> str:
    """Where captured requests of an endpoint lie in the bucket."""
    return f"captured/{endpoint}/"


def capture_statements(hosting: AwsModelHosting, endpoint: str) -> list[Statement]:
    """Writing captured requests, and nothing else, below the endpoint's own prefix."""
    return [
        Statement(
            sid="KeepRequests",
            actions=("s3:PutObject",),
            resources=(pulumi.Output.concat(hosting.capture_bucket_arn, "/", capture_prefix(endpoint), "*"),),
        ),
        Statement(
            sid="KeptRequestsKey",
            actions=("kms:GenerateDataKey",),
            resources=(hosting.capture_key_arn,),
            conditions={"StringEquals": {"kms:ViaService": f"s3.{hosting.account.region}.amazonaws.com"}},
        ),
    ]
