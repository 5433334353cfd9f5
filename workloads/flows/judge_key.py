"""The key that evaluations ask judges with: made at the model gateway, read by steps of releases."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pulumi
from pulumi_kubernetes import core
from pulumi_kubernetes.meta import v1 as meta

from components.platform.confinement import config_files, container_security, from_secret, mount, plain, resources
from components.platform.jobs import awaited_job, errand, job_spec
from components.platform.model_gateway import reconcile
from components.platform.model_gateway.names import KEYS_SECRET, PORT, SERVICE_URL
from components.platform.names import name_of
from components.platform.openings import LITELLM, Namespace, Opening, Pods
from components.platform.secrets import external_secret
from components.platform.site import Site
from components.settings.fine_tunes import FineTuneSettings
from components.versions import IMAGES
from workloads.evaluation import steps as evaluation
from workloads.flows.assembly import GATEWAY_KEY
from workloads.release.releases import NAMESPACE
from workloads.retrieval import keys_pod

ENTRY: Final = "litellm-evaluation-key"
"""Entry of the secret store with the key."""

ALIAS: Final = "evaluation"

_SERVING: Final[Namespace] = "mlops-serving"
_PIPELINES: Final[tuple[Namespace, ...]] = ("kubeflow",)
_LABELS: Final = {"app.kubernetes.io/name": "evaluation-key"}
_PODS: Final = Pods(namespace=_SERVING, labels=_LABELS)
_FOLDER: Final = "/etc/evaluation"
_DEADLINE_SECONDS: Final = 900
_NOBODY: Final = 65534

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
    # The program that keeps a key as it is declared is the one of retrievals.
    files = {
        "reconcile.py": Path(reconcile.__file__).read_text(),
        "keys_pod.py": Path(keys_pod.__file__).read_text(),
        "key.json": json.dumps(wanted(fine_tunes), indent=2) + "\n",
    }
    configuration = core.v1.ConfigMap(
        f"{name}-key",
        metadata=meta.ObjectMetaArgs(name="evaluation-key", namespace=_SERVING, labels=_LABELS),
        data=files,
        opts=pulumi.ResourceOptions(parent=parent, depends_on=list(site.namespaces[_SERVING])),
    )
    container = core.v1.ContainerArgs(
        name="key",
        image=IMAGES["litellm"],  # for its Python; the nodes have it already
        command=["python3", f"{_FOLDER}/keys_pod.py", f"{_FOLDER}/key.json"],
        env=[
            *plain({"LITELLM_URL": SERVICE_URL}),
            from_secret("LITELLM_MASTER_KEY", KEYS_SECRET, "masterKey"),
            from_secret("RETRIEVAL_KEY", secret, field),  # as that program calls it
        ],
        resources=resources("10m", "48Mi", "128Mi"),
        security_context=container_security(),
        volume_mounts=[mount("declared", _FOLDER, read_only=True)],
    )
    pod = errand(
        container,
        user=_NOBODY,
        nodes=site.system_nodes,
        volumes=[config_files("declared", name_of(configuration))],
    )
    digest = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:16]
    job = awaited_job(
        f"{name}-key",
        job_spec(
            pod,
            labels=_LABELS,
            deadline_seconds=_DEADLINE_SECONDS,
            retries=5,
            annotations={"llmops/declaration": digest},
        ),
        namespace=_SERVING,
        labels=_LABELS,
        deadline_seconds=_DEADLINE_SECONDS,
        # The gateway must answer; nothing of it flows into the job.
        opts=pulumi.ResourceOptions(parent=parent, depends_on=[*gateway, *copies]),
    )
    return (*copies, job)
