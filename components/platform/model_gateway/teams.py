"""Teams of the model gateway: budgets and rates from the one declaration, kept by a job."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pulumi
from pulumi_kubernetes import batch, core
from pulumi_kubernetes.meta import v1 as meta

from components.platform.confinement import config_files, container_security, from_secret, mount, plain, resources
from components.platform.jobs import awaited_job, errand, job_spec
from components.platform.model_gateway.names import (
    KEYS_SECRET,
    NAMESPACE,
    SERVICE_URL,
    SMOKE_SECRET,
    TEAMS_LABELS,
    USER,
)
from components.platform.names import name_of
from components.platform.site import Site
from components.settings.teams import TeamSettings
from components.versions import IMAGES

_NAME: Final = "model-gateway-teams"
_FOLDER: Final = "/etc/teams"
_SCRIPT: Final = Path(__file__).with_name("reconcile.py")
_DEADLINE_SECONDS: Final = 600

# Somebody may change a team by hand, in the pages or by the API: within the hour it is as declared again.
_SCHEDULE: Final = "17 * * * *"


def declared(teams: Sequence[TeamSettings]) -> list[dict[str, Any]]:
    """Teams as LiteLLM's API takes them; a team is known by its name.

    A budget of 0 stands for no calls: such a team is blocked.
    """
    return [
        {
            "team_id": team.name,
            "team_alias": team.name,
            "max_budget": float(team.monthly_usd),
            "budget_duration": "1mo",
            "rpm_limit": team.requests_per_minute,
            "tpm_limit": team.tokens_per_minute,
            "blocked": team.monthly_usd == 0,
        }
        for team in teams
    ]


def keep_teams(
    name: str, *, site: Site, parent: pulumi.Resource, after: Sequence[pulumi.Resource]
) -> tuple[pulumi.Resource, ...]:
    """Bring the teams into LiteLLM: now, so that ``up`` says whether it went well, and every hour.

    Args:
        name: Prefix of the Pulumi resources.
        site: Where the gateway is; its teams.
        parent: The gateway's component.
        after: The gateway and its Service: the job calls them.
    """
    files = {"reconcile.py": _SCRIPT.read_text(), "teams.json": json.dumps(declared(site.teams), indent=2) + "\n"}
    named = meta.ObjectMetaArgs(name=_NAME, namespace=NAMESPACE, labels=TEAMS_LABELS)
    child = pulumi.ResourceOptions(parent=parent, depends_on=list(site.namespaces[NAMESPACE]))
    configuration = core.v1.ConfigMap(f"{name}-teams", metadata=named, data=files, opts=child)
    digest = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:16]
    spec = _job(site, configuration, digest)
    now = awaited_job(
        f"{name}-teams",
        spec,
        namespace=NAMESPACE,
        labels=TEAMS_LABELS,
        deadline_seconds=_DEADLINE_SECONDS,
        opts=pulumi.ResourceOptions(parent=parent, depends_on=list(after)),
    )
    hourly = batch.v1.CronJob(
        f"{name}-teams-hourly",
        metadata=named,
        spec=batch.v1.CronJobSpecArgs(
            schedule=_SCHEDULE,
            concurrency_policy="Forbid",
            starting_deadline_seconds=600,
            successful_jobs_history_limit=1,
            failed_jobs_history_limit=2,
            job_template=batch.v1.JobTemplateSpecArgs(
                metadata=meta.ObjectMetaArgs(labels=TEAMS_LABELS),
                spec=spec,
            ),
        ),
        opts=child,
    )
    return (now, hourly)


def _job(site: Site, configuration: core.v1.ConfigMap, digest: str) -> batch.v1.JobSpecArgs:
    container = core.v1.ContainerArgs(
        name="reconcile",
        image=IMAGES["litellm"],  # for its Python; the nodes have it already
        command=["python3", f"{_FOLDER}/reconcile.py", f"{_FOLDER}/teams.json"],
        env=[
            *plain({"LITELLM_URL": SERVICE_URL}),
            from_secret("LITELLM_MASTER_KEY", KEYS_SECRET, "masterKey"),
            from_secret("SMOKE_KEY", SMOKE_SECRET, "key"),
        ],
        resources=resources("10m", "48Mi", "128Mi"),
        security_context=container_security(),
        volume_mounts=[mount("teams", _FOLDER, read_only=True)],
    )
    volumes = [config_files("teams", name_of(configuration))]
    return job_spec(
        errand(container, user=USER, nodes=site.system_nodes, volumes=volumes),
        labels=TEAMS_LABELS,
        deadline_seconds=_DEADLINE_SECONDS,
        retries=4,
        # The files are no part of the job: with other ones it is another job.
        annotations={"llmops/teams": digest},
    )
