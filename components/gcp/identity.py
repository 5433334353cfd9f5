"""Least-privilege identities for pods (Workload Identity Federation for GKE): the GCP twin of ``Identity``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
from pulumi_gcp import dns, projects, secretmanager, serviceaccount, storage

from components.contract import (
    AuditLogGrant,
    BucketRole,
    DnsGrant,
    DnsZone,
    EndpointGrant,
    Grant,
    HostedModelGrant,
    ObjectGrant,
    SecretGrant,
    SecretRef,
    ServiceIdentity,
)
from components.gcp.project import Project, account_id

ANNOTATION = "iam.gke.io/gcp-service-account"

_OBJECT_ROLES = {"read": "roles/storage.objectViewer", "read-write": "roles/storage.objectUser"}
_BUCKET_READER = "roles/storage.legacyBucketReader"  # the bucket's metadata, and names of all objects

# What a predefined role would give besides is said in docs/gcp.md; these are roles of the stack's own.
PREDICTOR = ("aiplatform.endpoints.predict", "aiplatform.endpoints.explain")
DNS_PROVER = (
    "dns.changes.create",
    "dns.changes.get",
    "dns.changes.list",
    "dns.managedZones.get",
    "dns.resourceRecordSets.create",
    "dns.resourceRecordSets.delete",
    "dns.resourceRecordSets.list",
    "dns.resourceRecordSets.update",
)


@dataclass(frozen=True)
class Condition:
    """A condition of IAM.

    Attributes:
        title: Shown beside the binding; 100 characters at most.
        expression: In the Common Expression Language.
    """

    title: str
    expression: str


def below(bucket: str, prefix: str) -> Condition:
    """Objects below ``prefix``, and lists of them; a list is of the bucket, and names its prefix as an attribute."""
    objects = json.dumps(f"projects/_/buckets/{bucket}/objects/{prefix}")
    listed = 'api.getAttribute("storage.googleapis.com/objectListPrefix", "")'
    return Condition(
        title=f"below {prefix}"[:100],
        expression=f"resource.name.startsWith({objects}) || {listed}.startsWith({json.dumps(prefix)})",
    )


@dataclass(frozen=True)
class CustomRoles:
    """Roles of the stack's own, where Google's would allow more than is needed.

    Attributes:
        predictor: Asks models of Vertex AI.
        dns_prover: Writes records of a zone; none where the stack has none.
    """

    predictor: pulumi.Output[str]
    dns_prover: pulumi.Output[str] | None


def custom_roles(name: str, prefix: str, *, dns_zone: bool, opts: pulumi.ResourceOptions) -> CustomRoles:
    """Make the roles; ids take letters, digits, ``.`` and ``_``."""

    def role(purpose: str, title: str, permissions: Sequence[str]) -> pulumi.Output[str]:
        made = projects.IAMCustomRole(
            f"{name}-{purpose}",
            role_id=f"{prefix}-{purpose}".replace("-", "_"),
            title=f"{prefix}: {title}",
            permissions=list(permissions),
            opts=opts,
        )
        return made.name

    return CustomRoles(
        predictor=role("predictor", "asks models", PREDICTOR),
        dns_prover=role("dns-prover", "proves the domain", DNS_PROVER) if dns_zone else None,
    )


class WorkloadIdentity(pulumi.ComponentResource):
    """One service account that exactly one Kubernetes service account can act as."""

    email: pulumi.Output[str]
    member: pulumi.Output[str]
    ready: tuple[pulumi.Resource, ...]

    def __init__(
        self,
        name: str,
        *,
        prefix: str,
        project: Project,
        namespace: str,
        service_account: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("llmops:gcp:WorkloadIdentity", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        account = serviceaccount.Account(
            f"{name}-account",
            account_id=account_id(prefix, name),
            display_name=f"Pods of {namespace}/{service_account}",
            opts=child,
        )
        trust = serviceaccount.IAMMember(
            f"{name}-trust",
            service_account_id=account.name,
            role="roles/iam.workloadIdentityUser",
            member=f"serviceAccount:{project.workload_pool}[{namespace}/{service_account}]",
            opts=child,
        )
        self.email = account.email
        self.member = pulumi.Output.concat("serviceAccount:", account.email)
        self.ready = (account, trust)
        self.register_outputs({"email": self.email})


@dataclass(frozen=True, kw_only=True)
class GcpIdentity:
    """Implements ``contract.Identity`` with service accounts of Google Cloud.

    Attributes:
        prefix: ``<project>-<stack>``; tells the stack's accounts from others.
        project: Where buckets, secrets and accounts live.
        buckets: Names of the buckets that can be granted; plain, because conditions are made of them.
        bucket_names: The same, known once the buckets exist.
        secrets: Entries that can be granted.
        roles: Roles of the stack's own.
        dns: The zone that can be granted; none where the stack has none.
    """

    prefix: str
    project: Project
    buckets: Mapping[BucketRole, str]
    bucket_names: Mapping[BucketRole, pulumi.Input[str]]
    secrets: Mapping[str, SecretRef]
    roles: CustomRoles
    dns: DnsZone | None = None

    def grant(
        self, name: str, *, namespace: str, service_account: str, grants: Sequence[Grant], parent: pulumi.Resource
    ) -> ServiceIdentity:
        """Create the identity of ``namespace/service_account``; it can do what ``grants`` say and no more."""
        identity = WorkloadIdentity(
            f"{name}-identity",
            prefix=self.prefix,
            project=self.project,
            namespace=namespace,
            service_account=service_account,
            opts=pulumi.ResourceOptions(parent=parent),
        )
        held: set[str] = (
            set()
        )  # what two grants ask for is bound once: of two equal members, one's end is the other's too
        bindings = [
            binding
            for number, one in enumerate(grants)
            for binding in self._bind(f"{name}-identity-{number}", one, identity, held)
        ]
        return ServiceIdentity(annotations={ANNOTATION: identity.email}, ready=(*identity.ready, *bindings))

    def _bind(self, name: str, grant: Grant, identity: WorkloadIdentity, held: set[str]) -> list[pulumi.Resource]:
        """What IAM must allow for ``grant``. Keys need nothing: Google's services decrypt for whoever may read."""
        child = pulumi.ResourceOptions(parent=identity)
        match grant:
            case ObjectGrant():
                return self._objects(name, grant, identity, held)
            case SecretGrant():
                return [
                    secretmanager.SecretIamMember(
                        f"{name}-{entry}",
                        secret_id=self._secret(entry),
                        role="roles/secretmanager.secretAccessor",
                        member=identity.member,
                        opts=child,
                    )
                    for entry in grant.entries
                    if _first(held, f"secret {entry}")
                ]
            case DnsGrant():
                if self.dns is None or self.roles.dns_prover is None:
                    raise pulumi.RunError("a DNS grant needs a zone: set gcp.dnsZone")
                return [
                    dns.DnsManagedZoneIamMember(
                        f"{name}-dns",
                        managed_zone=self.dns.id.rpartition("/")[2],
                        role=self.roles.dns_prover,
                        member=identity.member,
                        opts=child,
                    )
                ]
            case HostedModelGrant():
                return self._asks_models(name, identity, held)
            case EndpointGrant():
                # Endpoints of another cloud trust the account by its name: nothing is allowed here for them.
                return self._asks_models(name, identity, held) if grant.service == "vertex" else []
            case AuditLogGrant():
                raise pulumi.RunError("pods cannot read the record of API calls here: it is in Cloud Logging")

    def _objects(
        self, name: str, grant: ObjectGrant, identity: WorkloadIdentity, held: set[str]
    ) -> list[pulumi.Resource]:
        child = pulumi.ResourceOptions(parent=identity)
        condition = below(self.buckets[grant.bucket], grant.prefix) if grant.prefix else None
        bindings: list[pulumi.Resource] = []
        if _first(held, f"{grant.access} {grant.bucket}/{grant.prefix}"):
            bindings.append(
                storage.BucketIAMMember(
                    f"{name}-objects",
                    bucket=self.bucket_names[grant.bucket],
                    role=_OBJECT_ROLES[grant.access],
                    member=identity.member,
                    condition={"title": condition.title, "expression": condition.expression} if condition else None,
                    opts=child,
                )
            )
        if (not grant.prefix or grant.lists_bucket) and _first(held, f"bucket {grant.bucket}"):
            bindings.append(
                storage.BucketIAMMember(
                    f"{name}-bucket",
                    bucket=self.bucket_names[grant.bucket],
                    role=_BUCKET_READER,
                    member=identity.member,
                    opts=child,
                )
            )
        return bindings

    def _asks_models(self, name: str, identity: WorkloadIdentity, held: set[str]) -> list[pulumi.Resource]:
        """Asking any model of the project: IAM takes no condition on an endpoint's or a model's name."""
        if not _first(held, "models"):
            return []
        return [
            projects.IAMMember(
                f"{name}-models",
                project=self.project.id,
                role=self.roles.predictor,
                member=identity.member,
                opts=pulumi.ResourceOptions(parent=identity),
            )
        ]

    def _secret(self, entry: str) -> pulumi.Output[str]:
        try:
            return self.secrets[entry].key
        except KeyError:
            known = ", ".join(sorted(self.secrets))
            raise pulumi.RunError(f"no secret entry {entry}; there are {known}") from None


def _first(held: set[str], what: str) -> bool:
    """Whether nobody has bound this yet; from now on somebody has."""
    if what in held:
        return False
    held.add(what)
    return True
