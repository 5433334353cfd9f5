"""What stacks leave in an AWS account, planted with the tags and names that its makers give: once for each stack."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from moto.ec2.models import ec2_backends

from tests.unit.moto_account import ACCOUNT, REGION, World

TRUST: Final = json.dumps({"Version": "2012-10-17", "Statement": []})
POLICY: Final = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
)
_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
KUBECTL: Final = """#!/bin/sh
case "$*" in
  *persistentvolumes*) cat "$(dirname "$0")/volumes.json" ;;
  *jsonpath*) ;;
  *) echo '{"items": []}' ;;
esac
"""
"""A cluster that has volumes, and otherwise nothing."""


def tags(**given: str) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in given.items()]


@dataclass
class Planted:
    """One stack's share of an account: what its engine made, and what it does not know.

    Attributes:
        world: The account.
        prefix: ``<project>-<stack>``, and the name of its cluster.
        network: First two numbers of its addresses.
        made: Identifiers by a short name.
        resources: What the engine knows, as its state has it, in the order in which it was made.
    """

    world: World
    prefix: str
    network: str
    made: dict[str, str] = field(default_factory=dict)
    resources: list[dict[str, Any]] = field(default_factory=list)

    @property
    def own(self) -> list[dict[str, str]]:
        """Tags of the engine, and of what the volume driver is told to tag."""
        return tags(stack=self.prefix)

    @property
    def of_cluster(self) -> list[dict[str, str]]:
        """Tags of what EKS, the volume driver and the network plugin make."""
        return [{"Key": f"kubernetes.io/cluster/{self.prefix}", "Value": "owned"}]

    @property
    def of_balancer(self) -> list[dict[str, str]]:
        """Tags of the load balancer controller."""
        return [
            {"Key": "elbv2.k8s.aws/cluster", "Value": self.prefix},
            {"Key": "service.k8s.aws/stack", "Value": "chat/door"},
        ]

    def _know(self, type_: str, id_: str, **outputs: Any) -> None:
        self.resources.append(
            {
                "type": type_,
                "id": id_,
                "urn": f"urn:pulumi:dev::llmops::{type_}::{id_}",
                "custom": True,
                "outputs": {"region": REGION, **outputs},
            }
        )

    def engine(self) -> Planted:
        """What the program declares, as far as a destroy has to do with it."""
        world, prefix = self.world, self.prefix
        ec2, eks = world.client("ec2"), world.client("eks")
        vpc = ec2.create_vpc(CidrBlock=f"{self.network}.0.0/16", TagSpecifications=_tagged("vpc", self.own))["Vpc"]
        self.made["vpc"] = vpc["VpcId"]
        self._know("aws:ec2/vpc:Vpc", vpc["VpcId"])
        for number, zone in enumerate("ab"):
            subnet = ec2.create_subnet(
                VpcId=vpc["VpcId"],
                CidrBlock=f"{self.network}.{number}.0/24",
                AvailabilityZone=f"{REGION}{zone}",
                TagSpecifications=_tagged("subnet", self.own),
            )["Subnet"]["SubnetId"]
            self.made[f"subnet-{zone}"] = subnet
            self._know("aws:ec2/subnet:Subnet", subnet)
        group = ec2.create_security_group(
            GroupName=f"{prefix}-nodes",
            Description="nodes",
            VpcId=vpc["VpcId"],
            TagSpecifications=_tagged("security-group", self.own),
        )["GroupId"]
        self.made["nodes-group"] = group
        self._know("aws:ec2/securityGroup:SecurityGroup", group)
        name = f"{prefix}-data-{ACCOUNT}-{REGION}"
        fill(world, name, self.own)
        self.made["bucket"] = name
        self._know("aws:s3/bucket:Bucket", name, forceDestroy=True)
        log = f"/aws/eks/{prefix}/cluster"
        world.client("logs").create_log_group(logGroupName=log, tags={"stack": prefix})
        self._know("aws:cloudwatch/logGroup:LogGroup", log)
        secret = world.client("secretsmanager").create_secret(
            Name=f"{prefix}/grafana", SecretString="x", Tags=self.own
        )["ARN"]
        self._know("aws:secretsmanager/secret:Secret", secret, name=f"{prefix}/grafana", recoveryWindowInDays=7)
        world.client("rds").create_db_instance(
            DBInstanceIdentifier=f"{prefix}-postgres",
            DBInstanceClass="db.t4g.small",
            Engine="postgres",
            MasterUsername="platform",
            MasterUserPassword="x" * 12,
            AllocatedStorage=20,
            Tags=self.own,
        )
        self._know("aws:rds/instance:Instance", f"{prefix}-postgres", deletionProtection=False, skipFinalSnapshot=True)
        files = f"fs-{prefix}"
        arn = f"arn:aws:elasticfilesystem:{REGION}:{ACCOUNT}:file-system/{files}"
        self._know("aws:efs/fileSystem:FileSystem", files, arn=arn)
        role = world.client("iam").create_role(
            RoleName=f"{prefix}-cluster", AssumeRolePolicyDocument=TRUST, Tags=self.own
        )["Role"]
        self._know("aws:iam/role:Role", f"{prefix}-cluster", arn=role["Arn"])
        subnets = [self.made["subnet-a"], self.made["subnet-b"]]
        eks.create_cluster(name=prefix, roleArn=role["Arn"], resourcesVpcConfig={"subnetIds": subnets})
        self._know("aws:eks/cluster:Cluster", prefix)
        return self

    def leave(self) -> Planted:
        """What controllers in the cluster and services of AWS make, and the engine does not know."""
        world, prefix, vpc, subnet = self.world, self.prefix, self.made["vpc"], self.made["subnet-a"]
        ec2, elbv2 = world.client("ec2"), world.client("elbv2")
        # The volume driver: a volume of a claim that went without it, its snapshot, and a disk without any tag.
        claim = [*self.own, *self.of_cluster, *tags(**{"kubernetes.io/created-for/pvc/name": "index"})]
        self.made["volume"] = ec2.create_volume(
            AvailabilityZone=f"{REGION}a", Size=8, TagSpecifications=_tagged("volume", claim)
        )["VolumeId"]
        self.made["untagged"] = ec2.create_volume(AvailabilityZone=f"{REGION}a", Size=8)["VolumeId"]
        self.made["snapshot"] = ec2.create_snapshot(
            VolumeId=self.made["volume"],
            TagSpecifications=_tagged("snapshot", [*self.own, *tags(**{"ebs.csi.aws.com/cluster": "true"})]),
        )["SnapshotId"]
        # The load balancer controller: one for a Service, with its own group and the one that all share.
        for what in ("door", "traffic"):
            self.made[f"{what}-group"] = ec2.create_security_group(
                GroupName=f"k8s-{what}-{prefix}", Description="by the controller", VpcId=vpc,
                TagSpecifications=_tagged("security-group", self.of_balancer),
            )["GroupId"]  # fmt: skip
        # Each names the other: neither goes before the rules do.
        for one, other in (("door", "traffic"), ("traffic", "door")):
            pairs = [{"GroupId": self.made[f"{other}-group"]}]
            rule = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "UserIdGroupPairs": pairs}
            ec2.authorize_security_group_ingress(GroupId=self.made[f"{one}-group"], IpPermissions=[rule])
        subnets = [subnet, self.made["subnet-b"]]
        kinds = {"alb": "application", "nlb": "network"}
        for short, kind in kinds.items():
            self.made[short] = elbv2.create_load_balancer(
                Name=f"k8s-{short}-{prefix}", Type=kind, Subnets=subnets, Tags=self.of_balancer
            )["LoadBalancers"][0]["LoadBalancerArn"]
            self.made[f"{short}-targets"] = elbv2.create_target_group(
                Name=f"k8s-{short}-{prefix}", Protocol="HTTP" if short == "alb" else "TCP", Port=443, VpcId=vpc,
                TargetType="ip", Tags=self.of_balancer,
            )["TargetGroups"][0]["TargetGroupArn"]  # fmt: skip
        # The network plugin: an interface of a node that is gone.
        self.made["interface"] = ec2.create_network_interface(
            SubnetId=subnet,
            Description=f"aws-K8S-{prefix}",
            Groups=[self.made["door-group"]],
            TagSpecifications=_tagged("network-interface", tags(**{"cluster.k8s.amazonaws.com/name": prefix})),
        )["NetworkInterface"]["NetworkInterfaceId"]
        self._scale(subnet)
        self._store()
        return self

    def _scale(self, subnet: str) -> None:
        """A group of nodes that the cluster autoscaler knows, with a node."""
        group = f"eks-gpu-{self.prefix}"
        owned = {f"kubernetes.io/cluster/{self.prefix}": "owned", "eks:cluster-name": self.prefix}
        scaling = self.world.client("autoscaling")
        scaling.create_launch_configuration(
            LaunchConfigurationName=group, ImageId="ami-12c6146b", InstanceType="g5.xlarge"
        )
        scaling.create_auto_scaling_group(
            AutoScalingGroupName=group, LaunchConfigurationName=group, MinSize=1, MaxSize=2,
            VPCZoneIdentifier=subnet,
            Tags=[
                {"ResourceId": group, "ResourceType": "auto-scaling-group", "Key": key, "Value": value,
                 "PropagateAtLaunch": True}
                for key, value in owned.items()
            ],
        )  # fmt: skip
        self.made["nodes"] = group
        (node,) = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[group])["AutoScalingGroups"][0][
            "Instances"
        ]
        self.made["node"] = node["InstanceId"]
        machine: Any = ec2_backends[ACCOUNT][REGION].get_instance(node["InstanceId"])
        machine.nics[0].delete_on_termination = True  # AWS deletes a machine's first interface with it; moto keeps it

    def _store(self) -> None:
        """What holds data, or the name of something that did."""
        world, prefix = self.world, self.prefix
        self.made["recovery-point"] = f"arn:aws:backup:{REGION}:{ACCOUNT}:recovery-point:{prefix}"
        files = f"arn:aws:elasticfilesystem:{REGION}:{ACCOUNT}:file-system/fs-{prefix}"
        world.recovery_points[self.made["recovery-point"]] = ("aws/efs/automatic-backup-vault", files)
        self.made["final"] = f"{prefix}-postgres-final-ab12"
        world.client("rds").create_db_snapshot(
            DBSnapshotIdentifier=self.made["final"], DBInstanceIdentifier=f"{prefix}-postgres"
        )
        ecr = world.client("ecr")
        self.made["images"] = f"{prefix}/hub/library/redis"
        ecr.create_repository(repositoryName=self.made["images"], tags=self.own)
        manifest = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": {"digest": "sha256:0"}, "layers": []}
        ecr.put_image(repositoryName=self.made["images"], imageManifest=json.dumps(manifest), imageTag="7")
        self.made["log"] = f"/aws/containerinsights/{prefix}/performance"
        world.client("logs").create_log_group(logGroupName=self.made["log"])
        self.made["forgotten"] = f"{prefix}/forgotten"
        secrets = world.client("secretsmanager")
        secrets.create_secret(Name=self.made["forgotten"], SecretString="x")
        secrets.delete_secret(SecretId=self.made["forgotten"], RecoveryWindowInDays=7)

    def volumes(self) -> str:
        """The cluster's volumes as kubectl lists them: somebody took over the disk without a tag by hand."""
        csi = {"driver": "ebs.csi.aws.com", "volumeHandle": self.made["untagged"]}
        one = {
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "taken-over", "uid": "1"},
            "spec": {"csi": csi, "persistentVolumeReclaimPolicy": "Retain"},
        }  # fmt: skip
        return json.dumps({"items": [one]})


def _tagged(kind: str, given: list[dict[str, str]]) -> list[dict[str, Any]]:
    return [{"ResourceType": kind, "Tags": given}]


def fill(world: World, bucket: str, given: list[dict[str, str]], versions: int = 3) -> None:
    """A bucket with versions, a delete marker and half an upload."""
    s3 = world.client("s3")
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": given})
    for number in range(versions):
        s3.put_object(Bucket=bucket, Key="kept", Body=str(number).encode())
    s3.delete_object(Bucket=bucket, Key="kept")
    s3.create_multipart_upload(Bucket=bucket, Key="half")


def inventory(world: World) -> set[str]:
    """Everything that is in the account and costs, holds data, or holds a name."""
    ec2, elbv2, s3 = world.client("ec2"), world.client("elbv2"), world.client("s3")
    alive = [{"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]}]
    found: set[str] = set(world.recovery_points)
    found |= {one["VpcId"] for one in ec2.describe_vpcs()["Vpcs"]}
    found |= {one["SubnetId"] for one in ec2.describe_subnets()["Subnets"]}
    found |= {one["VolumeId"] for one in ec2.describe_volumes()["Volumes"]}
    found |= {one["SnapshotId"] for one in ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]}
    found |= {one["NetworkInterfaceId"] for one in ec2.describe_network_interfaces()["NetworkInterfaces"]}
    for group in ec2.describe_security_groups()["SecurityGroups"]:
        rules = len(group["IpPermissions"]) + len(group["IpPermissionsEgress"])
        found.add(f"{group['GroupId']} with {rules} rules")
    for reservation in ec2.describe_instances(Filters=alive)["Reservations"]:
        found |= {one["InstanceId"] for one in reservation["Instances"]}
    found |= {one["LoadBalancerArn"] for one in elbv2.describe_load_balancers()["LoadBalancers"]}
    found |= {one["TargetGroupArn"] for one in elbv2.describe_target_groups()["TargetGroups"]}
    scaling = world.client("autoscaling")
    found |= {one["AutoScalingGroupARN"] for one in scaling.describe_auto_scaling_groups()["AutoScalingGroups"]}
    for bucket in s3.list_buckets()["Buckets"]:
        listed: Mapping[str, Any] = s3.list_object_versions(Bucket=bucket["Name"])
        versions = [*listed.get("Versions", ()), *listed.get("DeleteMarkers", ())]
        found |= {f"s3://{bucket['Name']}", *(f"s3://{bucket['Name']}#{one['VersionId']}" for one in versions)}
    secrets = world.client("secretsmanager").list_secrets(IncludePlannedDeletion=True)["SecretList"]
    found |= {f"{one['Name']} deleted {bool(one.get('DeletedDate'))}" for one in secrets}
    found |= {one["logGroupName"] for one in world.client("logs").describe_log_groups()["logGroups"]}
    rds = world.client("rds")
    found |= {one["DBInstanceArn"] for one in rds.describe_db_instances()["DBInstances"]}
    found |= {one["DBSnapshotArn"] for one in rds.describe_db_snapshots()["DBSnapshots"]}
    ecr = world.client("ecr")
    for repository in ecr.describe_repositories()["repositories"]:
        images = ecr.list_images(repositoryName=repository["repositoryName"])["imageIds"]
        found |= {repository["repositoryArn"], *(f"{repository['repositoryName']}@{one}" for one in images)}
    found |= {one["RoleName"] for one in world.client("iam").list_roles()["Roles"]}
    found |= set(world.client("eks").list_clusters()["clusters"])
    return found
