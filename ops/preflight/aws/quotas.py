"""Is the quota there, less what others use of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from ops.preflight.aws.account import Account, AwsError
from ops.preflight.aws.inventory import Inventory, Usage
from ops.preflight.aws.needs import Need, needs
from ops.preflight.model import Check, Finding, UnansweredError
from ops.preflight.target import Target

_NO_APPLIED_VALUE: Final = "NoSuchResourceException"
_OPEN_REQUESTS: Final = frozenset({"PENDING", "CASE_OPENED"})


def checks(account: Account, target: Target) -> Iterator[Check]:
    """One question for each quota."""
    inventory = Inventory(account, target)
    for need in needs(target.settings):
        yield _check(account, inventory, need)


def _check(account: Account, inventory: Inventory, need: Need) -> Check:
    subject = f"{need.name} ({need.code}), {need.place or need.region}"

    def ask() -> Iterator[Finding]:
        yield _judge(check, account, inventory, need)

    check = Check(group="quota", subject=subject, ask=ask)
    return check


def _judge(check: Check, account: Account, inventory: Inventory, need: Need) -> Finding:
    link = console_link(need)
    try:
        answer = account.call(
            "service-quotas", "get_service_quota", need.region, ServiceCode=need.service, QuotaCode=need.code
        )
    except AwsError as error:
        if error.code != _NO_APPLIED_VALUE:
            raise
        return check.finding("unknown", _without_value(account, need), link=link, figures={"needed": need.amount})
    limit, adjustable = float(answer["Quota"]["Value"]), bool(answer["Quota"].get("Adjustable"))
    figures = {"needed": need.amount, "limit": limit}
    if need.amount > limit:
        # Whatever is in use: it does not even fit an empty account.
        usage = _known_usage(inventory, need)
        return _refusal(check, account, need, limit, usage, adjustable=adjustable)
    try:
        usage = inventory.used(need)
    except UnansweredError as error:
        message = f"needs {need.amount:g} of {limit:g}, but what others use of it is not known: {error}"
        return check.finding("unknown", message, link=link, figures=figures)
    if need.amount > limit - usage.others:
        return _refusal(check, account, need, limit, usage, adjustable=adjustable)
    return check.finding(
        "ok",
        f"needs {need.amount:g} of {limit:g}{_in_use(usage)}",
        link=link,
        figures={**figures, "usedByOthers": round(usage.others, 2), "usedByStack": round(usage.own, 2)},
    )


def _known_usage(inventory: Inventory, need: Need) -> Usage:
    try:
        return inventory.used(need)
    except UnansweredError:
        return Usage(0)


def _refusal(check: Check, account: Account, need: Need, limit: float, usage: Usage, *, adjustable: bool) -> Finding:
    message = f"needs {need.amount:g}, the quota is {limit:g}{_in_use(usage)}"
    if pending := _pending(account, need):
        message += f"; {pending}"
    if need.lower:
        message += f"; or lower {need.lower}"
    return check.finding(
        "refused",
        message,
        remedy=request_line(need, math.ceil(need.amount + usage.others)) if adjustable else "",
        link=console_link(need),
        figures={
            "needed": need.amount,
            "limit": limit,
            "usedByOthers": round(usage.others, 2),
            "usedByStack": round(usage.own, 2),
        },
    )


def _in_use(usage: Usage) -> str:
    parts = [f"others use {usage.others:.4g}"] if usage.others else []
    parts += [f"this stack has {usage.own:.4g} already"] if usage.own else []
    return f"; {', '.join(parts)}" if parts else ""


def _without_value(account: Account, need: Need) -> str:
    """Service Quotas knows no applied value: the default may hold, or support may have set another one."""
    try:
        default = account.call(
            "service-quotas",
            "get_aws_default_service_quota",
            need.region,
            ServiceCode=need.service,
            QuotaCode=need.code,
        )
    except UnansweredError:
        return f"needs {need.amount:g}; Service Quotas knows no value of this quota here"
    value = float(default["Quota"]["Value"])
    return f"needs {need.amount:g}; AWS's default is {value:g}, and whether it holds here Service Quotas does not say"


def _pending(account: Account, need: Need) -> str:
    """An increase that was asked for and is not decided; empty where there is none, or none to be seen."""
    try:
        requests = account.pages(
            "service-quotas",
            "list_requested_service_quota_change_history_by_quota",
            "RequestedQuotas",
            need.region,
            ServiceCode=need.service,
            QuotaCode=need.code,
        )
        for request in requests:
            if request.get("Status") in _OPEN_REQUESTS:
                return f"an increase to {request['DesiredValue']:g} is asked for and not decided"
    except UnansweredError:
        pass  # it would only add to what is said anyway
    return ""


def console_link(need: Need) -> str:
    """The quota's page in the console."""
    return f"https://{need.region}.console.aws.amazon.com/servicequotas/home/services/{need.service}/quotas/{need.code}"


def request_line(need: Need, desired: int) -> str:
    """The command that asks for more."""
    return (
        f"aws service-quotas request-service-quota-increase --region {need.region} --service-code {need.service} "
        f"--quota-code {need.code} --desired-value {desired}"
    )
