"""Customer-managed keys in Cloud KMS, one for each domain of data; the GCP twin of ``Keys``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

import pulumi
from pulumi_gcp import kms, projects

from components.gcp.project import AGENT_SERVICES, Agent, Project, unique

KeyDomain = Literal["cluster", "storage", "database", "objects", "backups", "secrets"]
"""What a key encrypts: Kubernetes secrets, and logs of the control plane; disks of nodes and volumes, shared files and
images; the database and the cache; buckets; the bucket of backups; Secret Manager."""

ALL_DOMAINS: tuple[KeyDomain, ...] = get_args(KeyDomain)

# Who encrypts and decrypts with the key of a domain. Pods need no grant of their own: the service that holds the data
# decrypts for whoever may read it.
USERS: Final[Mapping[KeyDomain, tuple[Agent, ...]]] = {
    "cluster": ("container",),
    "storage": ("compute", "container", "filestore", "artifact-registry"),
    "database": ("sql", "redis"),
    "objects": ("storage",),
    "backups": ("storage",),
    "secrets": ("secret-manager",),
}

_ROTATION_DAYS: Final = 90
_DAY: Final = 86400  # seconds


@dataclass(frozen=True, kw_only=True)
class KeysArgs:
    """What the keys need.

    Attributes:
        prefix: ``<project>-<stack>``; begins the key rings' names.
        project: Where the keys live.
        deletion_window_days: How long a deleted key version can be brought back.
        protect: Refuse deletion: without its key, data is gone.
        bucket_location: Location of the buckets' keys: the region, or the multi-region of buckets in two regions.
    """

    prefix: str
    project: Project
    deletion_window_days: int
    protect: bool
    bucket_location: str


class Keys(pulumi.ComponentResource):
    """Keys that rotate every 90 days, each open to the services that use it and to nobody else."""

    ids: Mapping[KeyDomain, pulumi.Output[str]]
    """Full names, known once the services may use the keys."""

    def __init__(self, name: str, args: KeysArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:gcp:Keys", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        ring_name = unique(f"{name}-ring", args.prefix, self)
        locations = {domain: location_of(domain, args) for domain in ALL_DOMAINS}
        rings = {
            location: kms.KeyRing(f"{name}-{location}", name=ring_name, location=location, opts=child)
            for location in dict.fromkeys(locations.values())
        }
        members = self._agents(name, args)
        keys: dict[KeyDomain, pulumi.Output[str]] = {}
        for domain in ALL_DOMAINS:
            key = kms.CryptoKey(
                f"{name}-{domain}",
                name=domain,
                key_ring=rings[locations[domain]].id,
                purpose="ENCRYPT_DECRYPT",
                rotation_period=f"{_ROTATION_DAYS * _DAY}s",
                destroy_scheduled_duration=f"{args.deletion_window_days * _DAY}s",
                opts=pulumi.ResourceOptions(parent=self, protect=args.protect),
            )
            grants = [
                kms.CryptoKeyIAMMember(
                    f"{name}-{domain}-{agent}",
                    crypto_key_id=key.id,
                    role="roles/cloudkms.cryptoKeyEncrypterDecrypter",
                    member=members[agent],
                    opts=child,
                )
                for agent in USERS[domain]
            ]
            # A key is of use once its service may use it: who takes the name waits for that.
            keys[domain] = pulumi.Output.all(key.id, *(grant.etag for grant in grants)).apply(lambda ids: str(ids[0]))
        self.ids = keys
        self.register_outputs({"ids": dict(self.ids)})

    def _agents(self, name: str, args: KeysArgs) -> dict[Agent, pulumi.Input[str]]:
        members: dict[Agent, pulumi.Input[str]] = {}
        agents: tuple[Agent, ...] = get_args(Agent)
        for agent in agents:
            member = args.project.agent(agent)
            if agent not in AGENT_SERVICES:
                members[agent] = member
                continue
            identity = projects.ServiceIdentity(
                f"{name}-{agent}", service=AGENT_SERVICES[agent], opts=pulumi.ResourceOptions(parent=self)
            )
            # The API leaves out the address of some agents, so it is put together here, once the agent exists.
            members[agent] = pulumi.Output.all(member, identity.id).apply(lambda values: str(values[0]))
        return members


def location_of(domain: KeyDomain, args: KeysArgs) -> str:
    """A key lies where its data does: Cloud KMS refuses others (Cloud Storage, "Customer-managed encryption keys")."""
    return args.bucket_location if domain in ("objects", "backups") else args.project.region


def multi_region(continent: str) -> str:
    """The location of keys for buckets of a continent: Cloud KMS calls Europe by its whole name."""
    return "europe" if continent == "eu" else continent
