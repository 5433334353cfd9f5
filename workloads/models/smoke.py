"""A real request to a model with every ``up`` that changes it: the Job, its files and its key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pulumi
from pulumi_kubernetes import core
from pulumi_kubernetes.meta import v1 as meta

from components.platform.confinement import config_files, container_security, from_secret, mount, resources
from components.platform.jobs import awaited_job, errand, job_spec
from components.platform.model_gateway.names import (
    NAMESPACE,
    PORT,
    SERVICE_URL,
    SMOKE_SECRET,
    USER,
)
from components.platform.names import name_of
from components.platform.openings import LITELLM, Opening, Pods, team_namespace
from components.platform.site import Site
from components.versions import IMAGES
from workloads.models.plan import Plan
from workloads.models.spec import MODEL_LABEL, ModelSpec

LABELS: Final = {"app.kubernetes.io/name": "model-smoke"}
PODS: Final = Pods(namespace=NAMESPACE, labels=LABELS)

_FOLDER: Final = "/etc/smoke"
_SCRIPT: Final = Path(__file__).with_name("smoke_pod.py")

# Answers after the first one, at a server that is there: three for each endpoint, and the pod's own start.
_MARGIN_SECONDS: Final = 300


def openings(teams: Sequence[str]) -> tuple[Opening, ...]:
    """Ways of the smoke tests; those to models in their own namespace are open already."""
    return (
        Opening(source=PODS, target=LITELLM, ports=(PORT,), why="Smoke tests ask models through the gateway."),
        *(
            Opening(
                source=PODS,
                target=Pods(namespace=team_namespace(team)),
                ports=(8000, 8001),
                why="Smoke tests ask the team's models themselves.",
            )
            for team in teams
        ),
    )


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A server that is asked itself; it speaks the OpenAI API.

    Attributes:
        name: What it calls the model.
        url: Its root.
    """

    name: str
    url: str


def wanted(spec: ModelSpec, plan: Plan, probes: Sequence[Probe]) -> dict[str, Any]:
    """What the pod reads."""
    settings = spec.settings
    return {
        "model": spec.name,
        "gateway": SERVICE_URL,
        "backends": [{"name": probe.name, "url": probe.url} for probe in probes],
        "prompt": settings.smoke.prompt,
        "expected": settings.smoke.expected,
        "p99Seconds": settings.objective.p99_seconds,
        "coldStartSeconds": plan.waits.route,
    }


def deadline_seconds(spec: ModelSpec, plan: Plan, probes: Sequence[Probe]) -> int:
    """When the Job has failed, whatever it is waiting for: versions may wake one after the other."""
    answers = round((len(probes) + 1) * 3 * max(4 * spec.settings.objective.p99_seconds, 30))
    return (len(probes) + 1) * plan.waits.route + answers + _MARGIN_SECONDS


def smoke_test(
    name: str,
    *,
    spec: ModelSpec,
    plan: Plan,
    probes: Sequence[Probe],
    site: Site,
    parent: pulumi.Resource,
    after: Sequence[pulumi.Resource],
) -> tuple[pulumi.Resource, ...]:
    """Declare the test; the ``up`` waits for its end.

    Args:
        name: Prefix of the Pulumi resources.
        spec: The model.
        plan: Its waits.
        probes: Servers that are asked themselves.
        site: Where it runs.
        parent: The model's component.
        after: The servers and the gateway.
    """
    files = {"smoke_pod.py": _SCRIPT.read_text(), "smoke.json": json.dumps(wanted(spec, plan, probes), indent=2) + "\n"}
    labels = {**LABELS, MODEL_LABEL: spec.name}
    room = pulumi.ResourceOptions(parent=parent, depends_on=list(site.namespaces[NAMESPACE]))
    configuration = core.v1.ConfigMap(
        f"{name}-smoke",
        metadata=meta.ObjectMetaArgs(name=f"smoke-{spec.name}", namespace=NAMESPACE, labels=labels),
        data=files,
        opts=room,
    )
    account = core.v1.ServiceAccount(
        f"{name}-smoke",
        metadata=meta.ObjectMetaArgs(name=f"smoke-{spec.name}", namespace=NAMESPACE, labels=labels),
        automount_service_account_token=False,
        opts=room,
    )
    # Another source or another argument is another model, though the question is the same.
    declared = spec.settings.model_dump(mode="json", exclude={"smoke", "budget", "fallbacks"})
    digest = hashlib.sha256(json.dumps([files, declared], sort_keys=True).encode()).hexdigest()[:16]
    seconds = deadline_seconds(spec, plan, probes)
    job = awaited_job(
        f"{name}-smoke",
        job_spec(
            _pod(site, configuration, account),
            labels=labels,
            deadline_seconds=seconds,
            retries=0,  # it waits by itself; a wrong answer stays wrong
            annotations={"llmops/declaration": digest},
        ),
        namespace=NAMESPACE,
        labels=labels,
        deadline_seconds=seconds,
        opts=pulumi.ResourceOptions(parent=parent, depends_on=list(after)),
    )
    return (job,)


def _pod(site: Site, configuration: core.v1.ConfigMap, account: core.v1.ServiceAccount) -> core.v1.PodSpecArgs:
    container = core.v1.ContainerArgs(
        name="smoke",
        image=IMAGES["litellm"],  # for its Python; the nodes have it already
        command=["python3", f"{_FOLDER}/smoke_pod.py", f"{_FOLDER}/smoke.json"],
        env=[from_secret("GATEWAY_KEY", SMOKE_SECRET, "key")],
        resources=resources("10m", "48Mi", "128Mi"),
        security_context=container_security(),
        volume_mounts=[mount("smoke", _FOLDER, read_only=True)],
    )
    return errand(
        container,
        user=USER,
        nodes=site.system_nodes,
        volumes=[config_files("smoke", name_of(configuration))],
        service_account=name_of(account),
    )
