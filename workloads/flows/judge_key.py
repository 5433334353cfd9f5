"""The key that evaluations ask judges with: made at the model gateway, read by steps of releases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pulumi

from components.platform.model_gateway.names import PORT
from components.platform.openings import LITELLM, Namespace, Opening, Pods
from components.platform.secrets import external_secret
from components.platform.site import Site
from components.settings.fine_tunes import FineTuneSettings
from workloads import gateway_key
from workloads.evaluation import steps as evaluation
from workloads.flows.assembly import GATEWAY_KEY
from workloads.gateway_key import GatewayKey
from workloads.release.releases import NAMESPACE

ENTRY: Final = "litellm-evaluation-key"
"""Entry of the secret store with the key."""

ALIAS: Final = "evaluation"

_SERVING: Final[Namespace] = "mlops-serving"
_PIPELINES: Final[tuple[Namespace, ...]] = ("kubeflow",)
_LABELS: Final = {"app.kubernetes.io/name": "evaluation-key"}
_PODS: Final = Pods(namespace=_SERVING, labels=_LABELS)
_FOLDER: Final = "/etc/evaluation"

OPENINGS: Final = (Opening(source=_PODS, target=LITELLM, ports=(PORT,), why="The key of evaluations is made."),)


def asking(fine_tunes: Sequence[FineTuneSettings]) -> list[FineTuneSettings]:
    """Fine-tunes whose releases ask models of the gateway."""
    return [one for one in fine_tunes if one.release and one.evaluation and evaluation.models(one.evaluation)]


def wanted(fine_tunes: Sequence[FineTuneSettings]) -> dict[str, Any]:
    """The key as the gateway's API takes it: it can call the judges, and nothing else."""
    found = asking(fine_tunes)
    return {
        "key_alias": ALIAS,
        "models": sorted({model for one in found if one.evaluation for model in evaluation.models(one.evaluation)}),
        "max_budget": float(sum(one.release.judge_monthly_usd for one in found if one.release)),
        "budget_duration": "30d",
        "metadata": {"managed-by": "llmops"},
    }


def declare(
    name: str,
    fine_tunes: Sequence[FineTuneSettings],
    *,
    site: Site,
    parent: pulumi.Resource,
    secrets: Sequence[pulumi.Resource],
    gateway: Sequence[pulumi.Resource],
) -> tuple[pulumi.Resource, ...]:
    """Declare the Secrets, and the job that makes the key; nothing where nobody asks a judge.

    Args:
        name: Prefix of the Pulumi resources.
        fine_tunes: All fine-tunes.
        site: Where they are evaluated.
        parent: The component.
        secrets: ``SecretSync.ready``.
        gateway: The model gateway.
    """
    if not asking(fine_tunes):
        return ()
    secret, field = GATEWAY_KEY
    places: list[Namespace] = [_SERVING, NAMESPACE, *_PIPELINES[: site.settings.pipelines.enabled]]
    copies = [
        external_secret(
            f"{name}-key-{namespace}",
            namespace=namespace,
            secret_name=secret,
            data={field: (ENTRY, "key")},
            site=site,
            parent=parent,
            after=secrets,
        )
        for namespace in places
    ]
    key = GatewayKey(
        title="evaluation-key",
        namespace=_SERVING,
        labels=_LABELS,
        wanted=wanted(fine_tunes),
        secret=GATEWAY_KEY,
        folder=_FOLDER,
        volume="declared",
        retries=5,
    )
    job = gateway_key.declare(name, key, site=site, parent=parent, after=[*gateway, *copies])
    return (*copies, job)
