"""Remove leftovers, in order, and say of each what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from ops.leftovers.aws import buckets
from ops.leftovers.model import Leftover
from ops.preflight.aws.account import Account, AwsError
from ops.preflight.model import UnansweredError

Remover = Callable[[Account, str, str], None]
"""Account, region, name."""

# Something still holds on to it, which AWS is removing: a load balancer's interfaces go minutes after it.
_HELD: Final = frozenset({"DependencyViolation", "ResourceInUse", "InvalidParameterValue", "VolumeInUse"})
_GONE: Final = ("NotFound", "NoSuchEntity", "NoSuchBucket", "NotFoundException", "NotFoundFault")
_PAUSE_SECONDS: Final = 5.0


def _one(service: str, operation: str, parameter: str, *, many: bool = False, **more: Any) -> Remover:
    def remove(account: Account, region: str, name: str) -> None:
        account.call(service, operation, region, **{parameter: [name] if many else name}, **more)

    return remove


def _bucket(account: Account, region: str, name: str) -> None:
    buckets.empty(account, name, region)
    account.call("s3", "delete_bucket", region, Bucket=name)


def _recovery_point(account: Account, region: str, name: str) -> None:
    told = account.pages("backup", "list_backup_vaults", "BackupVaultList", region)
    for vault in (str(one["BackupVaultName"]) for one in told):
        try:
            account.call("backup", "delete_recovery_point", region, BackupVaultName=vault, RecoveryPointArn=name)
        except AwsError as error:
            if not error.code.endswith(("NotFoundException", "InvalidParameterValueException")):
                raise
        else:
            return


def _role(account: Account, region: str, name: str) -> None:
    for one in account.pages("iam", "list_attached_role_policies", "AttachedPolicies", region, RoleName=name):
        account.call("iam", "detach_role_policy", region, RoleName=name, PolicyArn=one["PolicyArn"])
    for policy in list(account.pages("iam", "list_role_policies", "PolicyNames", region, RoleName=name)):
        account.call("iam", "delete_role_policy", region, RoleName=name, PolicyName=policy)
    profiles = account.pages("iam", "list_instance_profiles_for_role", "InstanceProfiles", region, RoleName=name)
    for profile in list(profiles):
        known = str(profile["InstanceProfileName"])
        account.call("iam", "remove_role_from_instance_profile", region, RoleName=name, InstanceProfileName=known)
        account.call("iam", "delete_instance_profile", region, InstanceProfileName=known)
    account.call("iam", "delete_role", region, RoleName=name)


def _security_group(account: Account, region: str, name: str) -> None:
    """Groups may name one another; without their rules they do not."""
    (group,) = account.call("ec2", "describe_security_groups", region, GroupIds=[name])["SecurityGroups"]
    for rules, operation in (("IpPermissions", "ingress"), ("IpPermissionsEgress", "egress")):
        if group.get(rules):
            account.call("ec2", f"revoke_security_group_{operation}", region, GroupId=name, IpPermissions=group[rules])
    account.call("ec2", "delete_security_group", region, GroupId=name)


_REMOVERS: Final[Mapping[str, Remover]] = {
    "instance group": _one("autoscaling", "delete_auto_scaling_group", "AutoScalingGroupName", ForceDelete=True),
    "instance": _one("ec2", "terminate_instances", "InstanceIds", many=True),
    "load balancer": _one("elbv2", "delete_load_balancer", "LoadBalancerArn"),
    "classic load balancer": _one("elb", "delete_load_balancer", "LoadBalancerName"),
    "target group": _one("elbv2", "delete_target_group", "TargetGroupArn"),
    "address": _one("ec2", "release_address", "AllocationId"),
    "network interface": _one("ec2", "delete_network_interface", "NetworkInterfaceId"),
    "security group": _security_group,
    "recovery point": _recovery_point,
    "automated backup": _one("rds", "delete_db_instance_automated_backup", "DbiResourceId"),
    "database snapshot": _one("rds", "delete_db_snapshot", "DBSnapshotIdentifier"),
    "snapshot": _one("ec2", "delete_snapshot", "SnapshotId"),
    "volume": _one("ec2", "delete_volume", "VolumeId"),
    "bucket": _bucket,
    "repository": _one("ecr", "delete_repository", "repositoryName", force=True),
    "secret": _one("secretsmanager", "delete_secret", "SecretId", ForceDeleteWithoutRecovery=True),
    "log group": _one("logs", "delete_log_group", "logGroupName"),
    "role": _role,
    "identity provider": _one("iam", "delete_open_id_connect_provider", "OpenIDConnectProviderArn"),
}


def removable(one: Leftover, *, data: bool) -> bool:
    """Whether ``--remove`` takes it; what holds data only where that is wanted."""
    return one.kind in _REMOVERS and (one.fate == "safe" or (data and one.fate == "data"))


def remove(
    account: Account,
    leftovers: Iterable[Leftover],
    home: str,
    tell: Callable[[str], None],
    *,
    seconds: float,
    pause: Callable[[float], None] = time.sleep,
) -> list[str]:
    """Remove them in the order given; what is held is tried again until the time is up.

    Args:
        account: The account.
        leftovers: What is removed.
        home: Region to ask for what has none.
        tell: Hears of each that is gone.
        seconds: How long all of them may take.
        pause: Waits before the next round.

    Returns:
        What could not be removed, and why.
    """
    waiting, deadline = list(leftovers), time.monotonic() + seconds
    while True:
        refused: list[tuple[Leftover, str, bool]] = []
        for one in waiting:
            try:
                _REMOVERS[one.kind](account, one.region or home, one.name)
            except UnansweredError as error:
                code = error.code if isinstance(error, AwsError) else ""
                if any(word in code for word in _GONE):
                    continue
                refused.append((one, str(error), code in _HELD))
            else:
                tell(f"{one.kind} {one.name}: removed")
        held = [one for one, _, again in refused if again]
        if not held or time.monotonic() >= deadline:
            return [f"{one.kind} {one.name}: {why}" for one, why, _ in refused]
        waiting = held if len(held) == len(refused) else [one for one, _, _ in refused]
        pause(_PAUSE_SECONDS)
