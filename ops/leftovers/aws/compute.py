"""Leftovers that hold on to the network: machines, load balancers, network interfaces, security groups, addresses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from ops.leftovers.aws.look import Look
from ops.leftovers.model import Leftover
from ops.preflight.aws.account import AwsError, tags_of

_TAGGED_AT_ONCE: Final = 20  # what elasticloadbalancing:DescribeTags takes in one call
_ALIVE: Final = ("pending", "running", "stopping", "stopped")


def instance_groups(look: Look) -> Iterator[Leftover]:
    """Groups that make new nodes as often as one goes."""
    for one in look.pages("autoscaling", "describe_auto_scaling_groups", "AutoScalingGroups"):
        name = str(one["AutoScalingGroupName"])
        if made_by := look.maker(one.get("Tags"), name):
            command = f"aws autoscaling delete-auto-scaling-group --force-delete --auto-scaling-group-name {name}"
            status = str(one.get("Status") or "")  # only a group that is being deleted has one
            yield look.found("instance group", name, made_by, command, fate="waits" if status else "safe", note=status)


def instances(look: Look) -> Iterator[Leftover]:
    """Nodes."""
    alive = [{"Name": "instance-state-name", "Values": list(_ALIVE)}]
    for reservation in look.pages("ec2", "describe_instances", "Reservations", Filters=alive):
        for one in reservation["Instances"]:
            name = str(one["InstanceId"])
            if made_by := look.maker(one.get("Tags"), name):
                command = f"aws ec2 terminate-instances --instance-ids {name}"
                yield look.found("instance", name, made_by, command, fate="safe", note=str(one["InstanceType"]))


def load_balancers(look: Look) -> Iterator[Leftover]:
    """Load balancers of Services and Ingresses; each costs by the hour and holds interfaces in the subnets."""
    found = {
        str(one["LoadBalancerArn"]): one for one in look.pages("elbv2", "describe_load_balancers", "LoadBalancers")
    }
    for arn, tags in _tags_of_balancers(look, list(found)):
        if made_by := look.maker(tags, arn):
            note = _service(tags)
            command = f"aws elbv2 delete-load-balancer --load-balancer-arn {arn}"
            yield look.found("load balancer", arn, made_by, command, fate="safe", note=note)


def classic_load_balancers(look: Look) -> Iterator[Leftover]:
    """Load balancers of Services that no controller of ours looked after: Kubernetes made them itself."""
    names = [
        str(one["LoadBalancerName"]) for one in look.pages("elb", "describe_load_balancers", "LoadBalancerDescriptions")
    ]
    for some in _by(names, _TAGGED_AT_ONCE):
        for one in look.call("elb", "describe_tags", LoadBalancerNames=some)["TagDescriptions"]:
            name = str(one["LoadBalancerName"])
            if made_by := look.maker(one["Tags"]):
                command = f"aws elb delete-load-balancer --load-balancer-name {name}"
                yield look.found(
                    "classic load balancer", name, made_by, command, fate="safe", note=_service(one["Tags"])
                )


def target_groups(look: Look) -> Iterator[Leftover]:
    """Target groups; they stay when their load balancer goes."""
    found = [str(one["TargetGroupArn"]) for one in look.pages("elbv2", "describe_target_groups", "TargetGroups")]
    for arn, tags in _tags_of_balancers(look, found):
        if made_by := look.maker(tags, arn):
            command = f"aws elbv2 delete-target-group --target-group-arn {arn}"
            yield look.found("target group", arn, made_by, command, fate="safe", note=_service(tags))


def addresses(look: Look) -> Iterator[Leftover]:
    """Addresses; one that nothing uses costs most."""
    for one in look.call("ec2", "describe_addresses")["Addresses"]:
        name = str(one.get("AllocationId") or one["PublicIp"])
        if made_by := look.maker(one.get("Tags"), name):
            command = f"aws ec2 release-address --allocation-id {name}"
            yield look.found("address", name, made_by, command, fate="safe", note=str(one["PublicIp"]))


def network_interfaces(look: Look) -> Iterator[Leftover]:
    """Network interfaces: with one of them in it, neither subnet nor security group can go."""
    groups = {one.name for one in security_groups(look) if one.fate == "safe"}
    networks = _networks(look)
    for one in look.pages("ec2", "describe_network_interfaces", "NetworkInterfaces"):
        name = str(one["NetworkInterfaceId"])
        made_by = look.maker(one.get("TagSet"), name)
        if not made_by and groups & {str(group["GroupId"]) for group in one.get("Groups") or ()}:
            made_by = "something with a security group of this stack"
        if not made_by and one.get("VpcId") in networks:
            made_by = "something in this stack's network"
        if not made_by:
            continue
        free = one.get("Status") == "available"
        user = str(one.get("Description") or one.get("InterfaceType") or "something")
        note = user if free else f"in use: {user}; it goes with what uses it"
        if owner := look.others(one.get("TagSet")):
            free, note = False, f"{note}; by its tag it is of {owner}"
        command = f"aws ec2 delete-network-interface --network-interface-id {name}"
        yield look.found("network interface", name, made_by, command, fate="safe" if free else "by hand", note=note)


def security_groups(look: Look) -> Iterator[Leftover]:
    """Security groups, by tag or by the stack's network."""
    networks = _networks(look)
    for one in look.pages("ec2", "describe_security_groups", "SecurityGroups"):
        name = str(one["GroupId"])
        if one["GroupName"] == "default":  # goes with the network, and not before
            continue
        made_by = look.maker(one.get("Tags"), name)
        if not made_by and one.get("VpcId") in networks:
            made_by = "something in this stack's network"
        if made_by:
            command = f"aws ec2 delete-security-group --group-id {name}"
            # The network cannot go with it; whose it is has to say whether it may.
            owner = look.others(one.get("Tags"))
            note = f"{one['GroupName']}; by its tag it is of {owner}" if owner else str(one["GroupName"])
            yield look.found("security group", name, made_by, command, fate="by hand" if owner else "safe", note=note)


def _networks(look: Look) -> frozenset[str]:
    return frozenset(one.id for one in look.record.of("aws:ec2/vpc:Vpc"))


def _tags_of_balancers(look: Look, arns: list[str]) -> Iterator[tuple[str, Any]]:
    for some in _by(arns, _TAGGED_AT_ONCE):
        try:
            answer = look.call("elbv2", "describe_tags", ResourceArns=some)
        except AwsError as error:
            if not error.code.endswith("NotFound"):
                raise
            continue  # one of them went just now; whoever looks again sees the others
        for one in answer["TagDescriptions"]:
            yield str(one["ResourceArn"]), one["Tags"]


def _service(tags: Any) -> str:
    given = tags_of(tags)
    service = given.get("service.k8s.aws/stack") or given.get("kubernetes.io/service-name")
    ingress = given.get("ingress.k8s.aws/stack")
    return f"Service {service}" if service else f"Ingress {ingress}" if ingress else ""


def _by(values: list[str], most: int) -> Iterable[list[str]]:
    return (values[start : start + most] for start in range(0, len(values), most))
