"""Container images on ECR: our own, plus copies of upstream images that nodes pull through it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi_aws import ecr, iam

from components.aws.policy import Account, Statement, render, service_trust

_MAX_CACHE_PREFIX_LENGTH = 30  # ECR API, CreatePullThroughCacheRule


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """A public registry.

    Attributes:
        host: Host in image names.
        endpoint: Host that ECR pulls from.
        path: Last part of the prefix under which ECR keeps the copies.
        anonymous: ECR pulls from it without credentials.
    """

    host: str
    endpoint: str
    path: str
    anonymous: bool


# ECR user guide, "Sync an upstream registry": which registries, and which of them need credentials.
UPSTREAMS: Final = (
    Upstream(host="public.ecr.aws", endpoint="public.ecr.aws", path="public", anonymous=True),
    Upstream(host="registry.k8s.io", endpoint="registry.k8s.io", path="k8s", anonymous=True),
    Upstream(host="quay.io", endpoint="quay.io", path="quay", anonymous=True),
    Upstream(host="docker.io", endpoint="registry-1.docker.io", path="hub", anonymous=False),
    Upstream(host="ghcr.io", endpoint="ghcr.io", path="ghcr", anonymous=False),
)


@dataclass(frozen=True, kw_only=True)
class RegistryArgs:
    """What the registry needs.

    Attributes:
        prefix: ``<project>-<stack>``; our repositories are ``<prefix>/<name>``.
        account: Where the registry is.
        kms_key_arn: Key of our own images.
        tags: Tags of the caches' repositories, which ECR makes and default tags do not reach.
        repositories: Short names of our own images.
        keep_images: Newest images kept in each repository; older ones expire.
        force_delete: Delete the images with their repository.
        upstreams: Hosts of the public registries to mirror. docker.io and ghcr.io come with the ARN of a secret, which
            the operator makes and whose name ECR wants to start with ``ecr-pullthroughcache/``; the others with None.
        owns_account_settings: This stack sets what a registry has once for the account and region: how images are
            scanned. At most one stack of an account may.
    """

    prefix: str
    account: Account
    kms_key_arn: pulumi.Input[str]
    tags: Mapping[str, str]
    repositories: Sequence[str]
    keep_images: int
    force_delete: bool
    upstreams: Mapping[str, str | None]
    owns_account_settings: bool


class Registry(pulumi.ComponentResource):
    """Immutable, scanned, encrypted repositories that clean up behind themselves, and pull-through caches."""

    host: pulumi.Output[str]
    repositories: Mapping[str, pulumi.Output[str]]
    mirrors: Mapping[str, pulumi.Output[str]]

    def __init__(self, name: str, args: RegistryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:aws:Registry", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        upstreams = mirrored(args.upstreams)
        host = f"{args.account.id}.dkr.ecr.{args.account.region}.amazonaws.com"

        repositories = {
            image: ecr.Repository(
                f"{name}-{image}",
                name=f"{args.prefix}/{image}",
                image_tag_mutability="IMMUTABLE",
                image_scanning_configuration={"scan_on_push": True},
                encryption_configurations=[{"encryption_type": "KMS", "kms_key": args.kms_key_arn}],
                force_delete=args.force_delete,
                opts=child,
            )
            for image in args.repositories
        }
        for image, repository in repositories.items():
            ecr.LifecyclePolicy(
                f"{name}-{image}", repository=repository.name, policy=lifecycle_policy(args.keep_images), opts=child
            )
        rules = {
            upstream.host: ecr.PullThroughCacheRule(
                f"{name}-{upstream.path}",
                ecr_repository_prefix=cache_prefix(args.prefix, upstream),
                upstream_registry_url=upstream.endpoint,
                credential_arn=args.upstreams[upstream.host],
                opts=child,
            )
            for upstream in upstreams
        }
        template_role = self._template_role(name, args)
        for upstream in upstreams:
            ecr.RepositoryCreationTemplate(
                f"{name}-{upstream.path}",
                prefix=cache_prefix(args.prefix, upstream),
                description=f"Copies of images of {upstream.host}",
                applied_fors=["PULL_THROUGH_CACHE"],
                image_tag_mutability="MUTABLE",  # ECR must be able to follow a tag that moves upstream
                # Not our key: these repositories outlive the stack, and the next stack of the same name would find
                # copies of public images that nobody can read any more.
                encryption_configurations=[{"encryption_type": "AES256"}],
                resource_tags=dict(args.tags),
                lifecycle_policy=lifecycle_policy(args.keep_images),
                custom_role_arn=template_role,
                opts=child,
            )
        if args.owns_account_settings:
            ecr.RegistryScanningConfiguration(
                f"{name}-scanning",
                scan_type="BASIC",
                rules=[
                    {
                        "scan_frequency": "SCAN_ON_PUSH",
                        "repository_filters": [{"filter": "*", "filter_type": "WILDCARD"}],  # every repository
                    }
                ],
                opts=child,
            )
        self.host = pulumi.Output.from_input(host)
        self.repositories = {image: repository.repository_url for image, repository in repositories.items()}
        self.mirrors = {
            upstream: pulumi.Output.concat(host, "/", rule.ecr_repository_prefix) for upstream, rule in rules.items()
        }
        self.register_outputs(
            {"host": self.host, "repositories": dict(self.repositories), "mirrors": dict(self.mirrors)}
        )

    def _template_role(self, name: str, args: RegistryArgs) -> pulumi.Output[str]:
        """Role in which ECR makes the repositories of a cache; it needs one where they carry tags."""
        child = pulumi.ResourceOptions(parent=self)
        role = iam.Role(f"{name}-templates", assume_role_policy=service_trust("ecr.amazonaws.com"), opts=child)
        permissions = iam.RolePolicy(
            f"{name}-templates",
            role=role.name,
            policy=render(template_permissions(args.prefix, args.account)),
            opts=child,
        )
        # ECR needs the role with its permissions, so the ARN is known only once both exist.
        return pulumi.Output.all(role.arn, permissions.id).apply(lambda values: str(values[0]))


def mirrored(wanted: Mapping[str, str | None]) -> list[Upstream]:
    """The upstreams to mirror, by host with credentials or None; refuses those that ECR would refuse."""
    known = {upstream.host: upstream for upstream in UPSTREAMS}
    errors = [
        f"{host}: must be one of {', '.join(known)}"
        if host not in known
        else f"{host}: needs the ARN of a secret with credentials"
        if credentials is None
        else f"{host}: takes no credentials"
        for host, credentials in wanted.items()
        if host not in known or known[host].anonymous != (credentials is None)
    ]
    if errors:
        raise pulumi.RunError("\n".join(f"image mirror {error}" for error in errors))
    return [known[host] for host in wanted]


def cache_prefix(prefix: str, upstream: Upstream) -> str:
    """Repository prefix of the copies of ``upstream``; refuses one that ECR would refuse."""
    path = f"{prefix}/{upstream.path}"
    if len(path) > _MAX_CACHE_PREFIX_LENGTH:
        excess = len(path) - _MAX_CACHE_PREFIX_LENGTH
        raise pulumi.RunError(
            f"image cache prefix {path} has {len(path)} characters, ECR allows {_MAX_CACHE_PREFIX_LENGTH}: "
            f"shorten the project or stack name by {excess}"
        )
    return path


def lifecycle_policy(keep_images: int) -> str:
    """Untagged images go after two weeks, and the oldest when there are more than ``keep_images``."""
    return json.dumps(
        {
            "rules": [
                {
                    "rulePriority": 1,
                    "description": "untagged",
                    "selection": {
                        "tagStatus": "untagged",
                        "countType": "sinceImagePushed",
                        "countUnit": "days",
                        "countNumber": 14,
                    },
                    "action": {"type": "expire"},
                },
                {
                    "rulePriority": 2,
                    "description": "oldest",
                    "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": keep_images},
                    "action": {"type": "expire"},
                },
            ]
        }
    )


def template_permissions(prefix: str, account: Account) -> list[Statement]:
    """What ECR does in our name when a pull makes a repository (ECR user guide, "Repository creation templates")."""
    return [
        Statement(
            sid="MakeRepositories",
            actions=("ecr:CreateRepository", "ecr:ReplicateImage", "ecr:TagResource"),
            resources=(_caches(prefix, account),),
        ),
    ]


def pull_through_permissions(prefix: str, account: Account) -> list[Statement]:
    """What nodes need besides pulling, so that the first pull of an image makes its copy."""
    return [
        Statement(
            sid="PullThrough",
            actions=("ecr:BatchImportUpstreamImage", "ecr:CreateRepository"),
            resources=(_caches(prefix, account),),
        )
    ]


def _caches(prefix: str, account: Account) -> str:
    """Every repository below the stack's prefix; their names are known only when they are pulled."""
    return f"arn:{account.partition}:ecr:{account.region}:{account.id}:repository/{prefix}/*"
