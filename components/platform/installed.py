"""What is installed so far: the systems that others wait for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

Ready = Sequence[pulumi.Resource]
"""What to wait for before a system is used."""


@dataclass(kw_only=True)
class Installed:
    """Filled as the platform comes up; each is what to wait for, and empty where the system is not wanted.

    Attributes:
        secrets: External Secrets.
        databases: Databases and their users.
        certificates: cert-manager.
        mesh: Istio.
        edge: The guarded gateway; none where there is no gateway.
        scheduling: Volcano.
        autoscaling: KEDA.
        delivery: Argo CD; what an application of it needs.
        ray: KubeRay, with the accounts of clusters.
        vectors: Milvus.
        experiments: MLflow.
        workflows: Argo Workflows.
        training: The training operators.
        serving: What a model's servers need, their namespaces apart.
        model_gateway: LiteLLM.
        rules: What an object with alerting rules or a monitor needs; empty where nobody evaluates them.
    """

    secrets: Ready = ()
    databases: Ready = ()
    certificates: Ready = ()
    mesh: Ready = ()
    edge: Ready | None = None
    scheduling: Ready = ()
    autoscaling: Ready = ()
    delivery: Ready = ()
    ray: Ready = ()
    vectors: Ready = ()
    experiments: Ready = ()
    workflows: Ready = ()
    training: Ready = ()
    serving: Ready = ()
    model_gateway: Ready = ()
    rules: Ready = ()
