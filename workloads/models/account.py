"""The service account of one version of a model, and what it may read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pulumi
from pulumi_kubernetes.core import v1 as core
from pulumi_kubernetes.meta import v1 as meta

from components.contract import Grant, ServiceIdentity
from components.platform.site import Site


def service_account(
    name: str,
    account: str,
    namespace: str,
    *,
    grants: Sequence[Grant],
    labels: Mapping[str, str],
    site: Site,
    parent: pulumi.Resource,
    after: Sequence[pulumi.Resource],
) -> tuple[pulumi.Resource, ...]:
    """Declare a service account, and its identity at the cloud where it reads something there.

    Args:
        name: Prefix of the Pulumi resources.
        account: Its name.
        namespace: Its namespace.
        grants: What its pods may do; empty for no identity.
        labels: Its labels.
        site: Where it is installed.
        parent: The model's component.
        after: The namespace, and what admits objects into it.

    Returns:
        What must be there before a pod of it starts.
    """
    identity = (
        site.foundation.identity.grant(name, namespace=namespace, service_account=account, grants=grants, parent=parent)
        if grants
        else ServiceIdentity(annotations={}, ready=())
    )
    made = core.ServiceAccount(
        f"{name}-account",
        metadata=meta.ObjectMetaArgs(
            name=account, namespace=namespace, labels=dict(labels), annotations=dict(identity.annotations)
        ),
        automount_service_account_token=False,
        opts=pulumi.ResourceOptions(parent=parent, depends_on=list(after)),
    )
    return (made, *identity.ready)
