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


def keys(name: str) -> SuppliedKeys:
    """A stack's secret such as ``onprem:objectKeys``: ``{"accessKey": …, "secretKey": …}``.

    Raises:
        pulumi.RunError: It is not there, is no secret, or is not of that form.
    """
    config = pulumi.Config(_NAMESPACE)
    how = f"""pulumi config set --secret {_NAMESPACE}:{name} '{{"accessKey": "...", "secretKey": "..."}}'"""
    if (raw := config.get(name)) is None:
        raise pulumi.RunError(f"{_NAMESPACE}:{name}: must be set: {how}")
    try:
        found: Any = json.loads(raw)
        access, secret = str(found["accessKey"]), str(found["secretKey"])
    except (json.JSONDecodeError, KeyError, TypeError):
        raise pulumi.RunError(f"{_NAMESPACE}:{name}: must have accessKey and secretKey: {how}") from None
    return SuppliedKeys(access=pulumi.Output.secret(access), secret=pulumi.Output.secret(secret))
