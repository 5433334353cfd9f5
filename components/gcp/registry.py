"""Container images in Artifact Registry: our own, plus copies of upstream images that nodes pull through it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi_gcp import artifactregistry

from components.gcp.project import Project

# Last part of each mirror's name, by the host in image names.
PATHS: Final[Mapping[str, str]] = {
    "public.ecr.aws": "public",
    "registry.k8s.io": "k8s",
    "quay.io": "quay",
    "docker.io": "hub",
    "ghcr.io": "ghcr",
}

_UNTAGGED: Final = f"{14 * 86400}s"


@dataclass(frozen=True, kw_only=True)
class RegistryArgs:
    """What the registry needs.

    Attributes:
        prefix: ``<project>-<stack>``; begins the repositories' names.
        project: Where the registry is.
        kms_key: Key of our own images.
        node_member: The nodes, as a member of IAM: they pull.
        repositories: Short names of our own images.
        keep_images: Newest versions kept of each image; older ones go.
        upstreams: Hosts of the public registries to mirror.
    """

    prefix: str
    project: Project
    kms_key: pulumi.Input[str]
    node_member: pulumi.Input[str]
    repositories: Sequence[str]
    keep_images: int
    upstreams: Sequence[str]


class Registry(pulumi.ComponentResource):
    """One repository with immutable tags for our images, and a pull-through mirror of each upstream."""

    host: pulumi.Output[str]
    repositories: Mapping[str, pulumi.Output[str]]
    mirrors: Mapping[str, pulumi.Output[str]]
    ready: tuple[pulumi.Resource, ...]
    """The nodes' permissions to pull; for ``depends_on``."""

    def __init__(self, name: str, args: RegistryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:gcp:Registry", name, None, opts)
        host = f"{args.project.region}-docker.pkg.dev"
        base = f"{host}/{args.project.id}"
        own = artifactregistry.Repository(
            f"{name}-images",
            repository_id=f"{args.prefix}-images",
            location=args.project.region,
            description="Our own images",
            format="DOCKER",
            mode="STANDARD_REPOSITORY",
            docker_config={"immutable_tags": True},
            kms_key_name=args.kms_key,
            cleanup_policies=cleanup(args.keep_images),
            opts=pulumi.ResourceOptions(parent=self),
        )
        mirrors = {
            upstream: artifactregistry.Repository(
                f"{name}-{PATHS[upstream]}",
                repository_id=f"{args.prefix}-{PATHS[upstream]}",
                location=args.project.region,
                description=f"Copies of images of {upstream}",
                format="DOCKER",
                mode="REMOTE_REPOSITORY",
                remote_repository_config={"docker_repository": _upstream(upstream)},
                # Copies of public images: what was not pulled for a while is fetched again when it is wanted.
                cleanup_policies=[
                    {"id": "old", "action": "DELETE", "condition": {"tag_state": "ANY", "older_than": f"{90 * 86400}s"}}
                ],
                opts=pulumi.ResourceOptions(parent=self),
            )
            for upstream in args.upstreams
        }
        readers = {
            key: artifactregistry.RepositoryIamMember(
                f"{name}-{key}-nodes",
                project=repository.project,
                location=repository.location,
                repository=repository.name,
                role="roles/artifactregistry.reader",
                member=args.node_member,
                opts=pulumi.ResourceOptions(parent=self),
            )
            for key, repository in {
                "images": own,
                **{PATHS[upstream]: repository for upstream, repository in mirrors.items()},
            }.items()
        }
        self.host = pulumi.Output.from_input(host)
        self.repositories = {
            image: pulumi.Output.concat(base, "/", own.repository_id, f"/{image}") for image in args.repositories
        }
        self.mirrors = {
            upstream: pulumi.Output.concat(base, "/", repository.repository_id)
            for upstream, repository in mirrors.items()
        }
        self.ready = tuple(readers.values())
        self.register_outputs(
            {"host": self.host, "repositories": dict(self.repositories), "mirrors": dict(self.mirrors)}
        )


def _upstream(host: str) -> artifactregistry.RepositoryRemoteRepositoryConfigDockerRepositoryArgsDict:
    if host == "docker.io":
        return {"public_repository": "DOCKER_HUB"}
    return {"custom_repository": {"uri": f"https://{host}"}}


def cleanup(keep_images: int) -> list[artifactregistry.RepositoryCleanupPolicyArgsDict]:
    """Untagged images go after two weeks, tagged ones when there are ``keep_images`` newer; keeping wins."""
    return [
        {
            "id": "untagged",
            "action": "DELETE",
            "condition": {"tag_state": "UNTAGGED", "older_than": _UNTAGGED},
        },
        {"id": "older", "action": "DELETE", "condition": {"tag_state": "TAGGED", "older_than": _UNTAGGED}},
        {"id": "newest", "action": "KEEP", "most_recent_versions": {"keep_count": keep_images}},
    ]
