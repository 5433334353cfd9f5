"""The project: its numbers and names, and the APIs that must be on before anything else."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import pulumi
from pulumi_gcp import projects
from pulumi_random import RandomId

Agent = Literal["compute", "container", "storage", "sql", "redis", "filestore", "artifact-registry", "secret-manager"]
"""Google's own service accounts in the project, which encrypt and decrypt in our name."""

# IAM, "Service agents": account of each service, by the project's number.
_AGENT_DOMAINS: Final[dict[Agent, str]] = {
    "compute": "compute-system",
    "container": "container-engine-robot",
    "storage": "gs-project-accounts",
    "sql": "gcp-sa-cloud-sql",
    "redis": "cloud-redis",
    "filestore": "cloud-filer",
    "artifact-registry": "gcp-sa-artifactregistry",
    "secret-manager": "gcp-sa-secretmanager",
}

# Those that appear only when they are asked for; the others come with their API.
AGENT_SERVICES: Final[dict[Agent, str]] = {
    "sql": "sqladmin.googleapis.com",
    "redis": "redis.googleapis.com",
    "filestore": "file.googleapis.com",
    "artifact-registry": "artifactregistry.googleapis.com",
    "secret-manager": "secretmanager.googleapis.com",
    "storage": "storage.googleapis.com",
}

SERVICES: Final = (
    "aiplatform.googleapis.com",
    "artifactregistry.googleapis.com",
    "billingbudgets.googleapis.com",
    "cloudkms.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "compute.googleapis.com",
    "container.googleapis.com",
    "dns.googleapis.com",
    "file.googleapis.com",
    "iam.googleapis.com",
    "iamcredentials.googleapis.com",
    "logging.googleapis.com",
    "monitoring.googleapis.com",
    "redis.googleapis.com",
    "secretmanager.googleapis.com",
    "servicenetworking.googleapis.com",
    "sqladmin.googleapis.com",
    "storage.googleapis.com",
)
"""APIs that the foundation uses."""


@dataclass(frozen=True, kw_only=True)
class Project:
    """Where a stack lives; names and conditions carry it, and are to be known at preview.

    Attributes:
        id: Project id.
        number: Project number.
        region: Region of everything.
    """

    id: str
    number: str
    region: str

    def agent(self, agent: Agent) -> str:
        """The account of a service, as a member of IAM."""
        return f"serviceAccount:service-{self.number}@{_AGENT_DOMAINS[agent]}.iam.gserviceaccount.com"

    @property
    def workload_pool(self) -> str:
        """The pool whose principals are the cluster's service accounts."""
        return f"{self.id}.svc.id.goog"


@dataclass(frozen=True, kw_only=True)
class ApisArgs:
    """What the APIs need.

    Attributes:
        project: The project.
        services: Which ones; empty where somebody else switches them on.
    """

    project: Project
    services: Sequence[str] = SERVICES


class Apis(pulumi.ComponentResource):
    """The project's APIs, switched on and never off: other stacks of the project may use them."""

    project_id: pulumi.Output[str]
    """The project's id, once its APIs answer: the provider of everything else takes it from here, and so waits."""

    def __init__(self, name: str, args: ApisArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:gcp:Apis", name, None, opts)
        services = [
            projects.Service(
                f"{name}-{service.partition('.')[0]}",
                project=args.project.id,
                service=service,
                disable_on_destroy=False,
                opts=pulumi.ResourceOptions(parent=self),
            )
            for service in args.services
        ]
        self.project_id = pulumi.Output.all(args.project.id, *(service.project for service in services)).apply(
            lambda ids: str(ids[0])
        )
        self.register_outputs({"projectId": self.project_id})


def unique(name: str, prefix: str, parent: pulumi.Resource) -> pulumi.Output[str]:
    """``<prefix>-<six hex digits>``, for what Google keeps a name of after it is deleted.

    A Cloud SQL name is taken for a week, that of a log bucket too, and a key ring's for ever: without it a stack could
    not be destroyed and built again.
    """
    suffix = RandomId(f"{name}-suffix", byte_length=3, opts=pulumi.ResourceOptions(parent=parent))
    return pulumi.Output.concat(prefix, "-", suffix.hex)


def account_id(prefix: str, name: str) -> str:
    """Id of a service account: readable, unique, 6 to 30 characters (IAM, "Create service accounts")."""
    digest = hashlib.sha256(f"{prefix}/{name}".encode()).hexdigest()[:8]
    readable = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    stack = prefix[:10].rstrip("-")
    return f"{stack}-{readable[: 30 - len(stack) - len(digest) - 2].rstrip('-')}-{digest}"
