"""The kubeconfig of an EKS cluster: no credential in it, ``aws eks get-token`` fetches one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi_aws import eks


def kubeconfig(cluster: eks.Cluster, credentials: Any, *, with_profile: bool) -> pulumi.Output[dict[str, Any]]:
    """Return the kubeconfig of ``cluster``.

    Args:
        cluster: Which cluster.
        credentials: The component's ``providerCredentialOpts``; may be late, may be None.
        with_profile: Name the AWS profile. The component's own Kubernetes provider needs it; what users get leaves it
            out, so that everybody takes their own.
    """
    authority = cluster.certificate_authority.apply(lambda known: known.data)
    return pulumi.Output.all(cluster.name, cluster.endpoint, cluster.arn, authority, credentials).apply(
        lambda known: _document(
            name=known[0],
            endpoint=known[1],
            region=known[2].split(":")[3],
            authority=known[3],
            credentials=known[4] or {},
            with_profile=with_profile,
        )
    )


def default_credentials() -> dict[str, str] | None:
    """Return the profile of the environment or of the stack's ``aws:profile``, where the program names none."""
    profile = pulumi.Config("aws").get("profile") or os.environ.get("AWS_PROFILE")
    return {"profileName": profile} if profile else None


def _document(
    *, name: str, endpoint: str, region: str, authority: str | None, credentials: Mapping[str, str], with_profile: bool
) -> dict[str, Any]:
    arguments = ["--region", region, "eks", "get-token", "--cluster-name", name, "--output", "json"]
    if role := credentials.get("roleArn"):
        arguments += ["--role", role]
    if with_profile and (profile := credentials.get("profileName")):
        arguments += ["--profile", profile]
    token = {
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "command": "aws",
        "args": arguments,
        "env": [{"name": "KUBERNETES_EXEC_INFO", "value": '{"apiVersion": "client.authentication.k8s.io/v1beta1"}'}],
    }
    return {
        "apiVersion": "v1",
        "clusters": [{"cluster": {"server": endpoint, "certificate-authority-data": authority}, "name": "kubernetes"}],
        "contexts": [{"context": {"cluster": "kubernetes", "user": "aws"}, "name": "aws"}],
        "current-context": "aws",
        "kind": "Config",
        "users": [{"name": "aws", "user": {"exec": token}}],
    }
