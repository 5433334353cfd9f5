"""May the caller do what ``up`` does: by IAM's own simulation, and by EC2's dry runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from ops.preflight.aws.account import Account, AwsError
from ops.preflight.aws.actions import ACTIONS, Actions
from ops.preflight.aws.regions import Identity
from ops.preflight.model import Check, Finding, UnansweredError
from ops.preflight.target import Target

_ASSUMED: Final = re.compile(r"arn:(?P<partition>[^:]+):sts::(?P<account>\d+):assumed-role/(?P<role>[^/]+)/.+")
_WOULD_DO: Final = "DryRunOperation"
_SHOWN: Final = 6  # refused actions that a line names


def checks(account: Account, target: Target, identity: Identity) -> Iterator[Check]:
    """One question for each kind of resource, and one for each dry run."""
    principal = _Principal(account, target, identity)
    settings = target.settings
    asked_for = {
        "objects.replicate": settings.objects.replicate,
        "database.replicateBackups": settings.database.has_replica(settings.objects),
    }
    for wanted in ACTIONS:
        if not wanted.only or asked_for[wanted.only]:
            yield _simulated(account, target, identity, principal, wanted)
    tags = [{"Key": "stack", "Value": target.prefix}]
    for name, operation, kind, parameters in _DRY_RUNS:
        tagged = {**parameters, "TagSpecifications": [{"ResourceType": kind, "Tags": tags}], "DryRun": True}
        yield _dry_run(account, target, name, operation, tagged)


# What needs nothing that would have to exist first. With tags, as the stack's are: they need ec2:CreateTags.
_DRY_RUNS: Final[tuple[tuple[str, str, str, Mapping[str, Any]], ...]] = (
    ("make a VPC", "create_vpc", "vpc", {"CidrBlock": "10.0.0.0/16"}),
    ("take an address", "allocate_address", "elastic-ip", {"Domain": "vpc"}),
    ("make an internet gateway", "create_internet_gateway", "internet-gateway", {}),
)


class _Principal:
    """The IAM identity behind the credentials: the simulation wants the role, not the session."""

    def __init__(self, account: Account, target: Target, identity: Identity) -> None:
        self._account, self._region, self._identity = account, target.settings.aws.region, identity

    def arn(self) -> str:
        """ARN of the user or role; ``root`` for the account itself.

        Raises:
            UnansweredError: A kind of identity that has no policies of its own to be simulated.
        """
        arn = self._identity.arn
        if arn.endswith(":root"):
            return "root"
        if ":user/" in arn and ":iam:" in arn:
            return arn
        if (match := _ASSUMED.fullmatch(arn)) is None:
            raise UnansweredError("the caller is neither a user nor a role: IAM cannot simulate what it may do")
        try:
            # The session's ARN leaves out the role's path.
            return str(self._account.call("iam", "get_role", self._region, RoleName=match["role"])["Role"]["Arn"])
        except AwsError as error:
            if not error.denied:
                raise
            return f"arn:{match['partition']}:iam::{match['account']}:role/{match['role']}"


def _simulated(account: Account, target: Target, identity: Identity, principal: _Principal, wanted: Actions) -> Check:
    region = target.settings.aws.region

    def ask() -> Iterator[Finding]:
        arn = principal.arn()
        if arn == "root":
            yield check.finding("ok", "the account's root user may do everything; a role would be safer")
            return
        resource = wanted.resource.format(account=identity.account_id, region=region, prefix=target.prefix)
        try:
            results = list(
                account.pages(
                    "iam",
                    "simulate_principal_policy",
                    "EvaluationResults",
                    region,
                    PolicySourceArn=arn,
                    ActionNames=list(wanted.actions),
                    ResourceArns=[resource],
                )
            )
        except AwsError as error:
            if error.code == "NoSuchEntity":  # a role with a path that the caller may not look up
                raise UnansweredError(f"IAM finds no {arn}; allow iam:GetRole on the caller's own role") from None
            raise
        yield _judge(check, wanted, results)

    check = Check(group="permission", subject=wanted.name, ask=ask)
    return check


def _judge(check: Check, wanted: Actions, results: list[Any]) -> Finding:
    decided = {str(one["EvalActionName"]): cast("Mapping[str, Any]", one) for one in results}
    refused = [action for action, one in decided.items() if _refused(one)]
    open_ = [action for action in wanted.actions if action not in decided or _depends(decided[action])]
    if refused:
        return check.finding("refused", f"not allowed: {_few(refused)}{_why(decided, refused)}")
    if open_:
        message = f"depends on conditions that the simulation does not know: {_few(open_)}"
        return check.finding("unknown", message)
    return check.finding("ok", "all allowed, by IAM's simulation")


def _refused(result: Mapping[str, Any]) -> bool:
    if result["EvalDecision"] == "allowed":
        return False
    # An explicit Deny holds whatever else is known; a missing Allow may hang on a tag or an address.
    return result["EvalDecision"] == "explicitDeny" or not result.get("MissingContextValues")


def _depends(result: Mapping[str, Any]) -> bool:
    return result["EvalDecision"] != "allowed" and not _refused(result)


def _why(decided: Mapping[str, Mapping[str, Any]], refused: list[str]) -> str:
    for action in refused:
        one = decided[action]
        if _detail(one, "OrganizationsDecisionDetail", "AllowedByOrganizations") is False:
            return " (by the organisation's service control policy)"
        if _detail(one, "PermissionsBoundaryDecisionDetail", "AllowedByPermissionsBoundary") is False:
            return " (by the permissions boundary)"
    return ""


def _detail(result: Mapping[str, Any], section: str, name: str) -> bool | None:
    return cast("Mapping[str, bool]", result.get(section) or {}).get(name)


def _few(actions: list[str]) -> str:
    more = f" and {len(actions) - _SHOWN} more" if len(actions) > _SHOWN else ""
    return ", ".join(actions[:_SHOWN]) + more


def _dry_run(account: Account, target: Target, name: str, operation: str, parameters: Mapping[str, Any]) -> Check:
    def ask() -> Iterator[Finding]:
        try:
            account.call("ec2", operation, target.settings.aws.region, **parameters)
        except AwsError as error:
            if error.code == _WOULD_DO:
                yield check.finding("ok", "EC2 would do it")
                return
            if error.denied:
                yield check.finding("refused", f"EC2 would not: {error.text}")
                return
            raise
        raise UnansweredError("EC2 did not say whether it would")

    check = Check(group="permission", subject=f"dry run: {name}", ask=ask)
    return check
