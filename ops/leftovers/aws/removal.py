"""Remove leftovers, in order, and say of each what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from ops.leftovers.aws import buckets
from ops.leftovers.model import Leftover
from ops.preflight.aws.account import Account, AwsError
from ops.preflight.model import UnansweredError

Remover = Callable[[Account, str, Leftover], None]
"""Account, region, and what is removed."""

# Something still holds on to it, which AWS is removing: a load balancer's interfaces go minutes after it.
_HELD: Final = frozenset(
    {"DependencyViolation", "InvalidParameterValue", "ResourceInUse", "ScalingActivityInProgress", "VolumeInUse"}
)
_IN_USE: Final = ".InUse"  # of EC2: an interface, a snapshot
_GONE: Final = ("NotFound", "NoSuchEntity", "NoSuchBucket", "NotFoundException", "NotFoundFault")
_PAUSE_SECONDS: Final = 5.0


def _one(service: str, operation: str, parameter: str, *, many: bool = False, **more: Any) -> Remover:
    def remove(account: Account, region: str, one: Leftover) -> None:
        account.call(service, operation, region, **{parameter: [one.name] if many else one.name}, **more)

    return remove


def _bucket(account: Account, region: str, one: Leftover) -> None:
    buckets.empty(account, one.name, region)
    account.call("s3", "delete_bucket", region, Bucket=one.name)


def _recovery_point(account: Account, region: str, one: Leftover) -> None:
    """Its vault is in the note; a vault may forbid it to everybody, and EFS's own may do so (not tried)."""
    try:
        account.call("backup", "delete_recovery_point", region, BackupVaultName=one.note, RecoveryPointArn=one.name)
    except AwsError as error:
        if not error.denied:
            raise
        raise UnansweredError(
            f"{error.action} in {region} is refused: by your permissions, or by the policy of the vault. "
            f"aws backup get-backup-vault-access-policy --region {region} --backup-vault-name {one.note} shows it, "
            "put-backup-vault-access-policy changes it, for every stack whose backups are there"
        ) from None


def _role(account: Account, region: str, role: Leftover) -> None:
    name = role.name
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


def _security_group(account: Account, region: str, one: Leftover) -> None:
    """Groups may name one another; without their rules they do not."""
    own = [{"Name": "group-id", "Values": [one.name]}]
    rules = list(account.pages("ec2", "describe_security_group_rules", "SecurityGroupRules", region, Filters=own))
    for egress, operation in ((False, "revoke_security_group_ingress"), (True, "revoke_security_group_egress")):
        # By number: a rule may name a group that is gone, which AWS would not find again.
        if some := [str(rule["SecurityGroupRuleId"]) for rule in rules if rule["IsEgress"] is egress]:
            account.call("ec2", operation, region, GroupId=one.name, SecurityGroupRuleIds=some)
    account.call("ec2", "delete_security_group", region, GroupId=one.name)


def _automated_backup(account: Account, region: str, one: Leftover) -> None:
    """By the server's resource id; copies in another region by their ARN."""
    parameter = "DBInstanceAutomatedBackupsArn" if one.name.startswith("arn:") else "DbiResourceId"
    account.call("rds", "delete_db_instance_automated_backup", region, **{parameter: one.name})


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
    "automated backup": _automated_backup,
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
                _REMOVERS[one.kind](account, one.region or home, one)
            except UnansweredError as error:
                code, why = "", str(error)
                if isinstance(error, AwsError):
                    code = error.code
                    why = f"not allowed: {error.action} in {error.region}" if error.denied else why
                if any(word in code for word in _GONE):
                    continue
                refused.append((one, why, code in _HELD or code.endswith(_IN_USE)))
            else:
                tell(f"{one.kind} {one.name}: removed")
        held = [one for one, _, again in refused if again]
        if not held or time.monotonic() >= deadline:
            return [f"{one.kind} {one.name}: {why}" for one, why, _ in refused]
        waiting = held if len(held) == len(refused) else [one for one, _, _ in refused]
        pause(_PAUSE_SECONDS)
