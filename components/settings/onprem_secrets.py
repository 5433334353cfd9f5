"""Credentials that an on-prem stack is given: secrets of the stack, outside of the settings that previews show."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pulumi

_NAMESPACE = "onprem"


@dataclass(frozen=True, kw_only=True)
class SuppliedKeys:
    """A pair of keys of an object store.

    Attributes:
        access: Who signs.
        secret: What is signed with.
    """

    access: pulumi.Output[str]
    secret: pulumi.Output[str]


def kubeconfig() -> str:
    """The stack's secret ``onprem:kubeconfig``; empty where there is none."""
    return pulumi.Config(_NAMESPACE).get("kubeconfig") or ""


def keys(*names: str) -> dict[str, SuppliedKeys]:
    """Stack's secrets such as ``onprem:objectKeys``: ``{"accessKey": …, "secretKey": …}``, by name.

    Raises:
        pulumi.RunError: Some are not there, or not of that form; all of them are named.
    """
    config = pulumi.Config(_NAMESPACE)
    found: dict[str, SuppliedKeys] = {}
    problems: list[str] = []
    for name in names:
        try:
            given: Any = json.loads(config.get(name) or "null")
            access, secret = str(given["accessKey"]), str(given["secretKey"])
        except (json.JSONDecodeError, KeyError, TypeError):
            problems.append(
                f"{_NAMESPACE}:{name}: must be set, with accessKey and secretKey: pulumi config set --secret "
                f"""{_NAMESPACE}:{name} '{{"accessKey": "...", "secretKey": "..."}}'"""
            )
        else:
            found[name] = SuppliedKeys(access=pulumi.Output.secret(access), secret=pulumi.Output.secret(secret))
    if problems:
        raise pulumi.RunError("\n".join(problems))
    return found
