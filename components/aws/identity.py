"""Least-privilege identities for pods (IRSA): the AWS twin of ``Identity``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import iam

from components.aws.policy import Account, Statement, render
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

_READ = ("s3:GetObject", "s3:GetObjectVersion")
_WRITE = ("s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")


@dataclass(frozen=True, kw_only=True)
class ClusterIssuer:
    """The cluster's OpenID Connect issuer, as IAM knows it.

    Attributes:
        provider_arn: ARN of the IAM OIDC provider.
        url: Issuer, with or without ``https://``.
    """

    provider_arn: pulumi.Input[str]
    url: pulumi.Input[str]


@dataclass(frozen=True, kw_only=True)
class WorkloadIdentityArgs:
    """What an identity needs.

    Attributes:
        issuer: Who signs the pods' tokens.
        namespace: Namespace of the service account.
        service_account: Name of the service account.
        statements: What it may do; empty for an identity that may do nothing yet.
        permissions_boundary_arn: Policy that limits every role of the stack, where the account demands one.
    """

    issuer: ClusterIssuer
    namespace: str
    service_account: str
    statements: Sequence[Statement]
    permissions_boundary_arn: str | None = None


class WorkloadIdentity(pulumi.ComponentResource):
    """One role that exactly one Kubernetes service account can assume."""

    role_arn: pulumi.Output[str]
    role_name: pulumi.Output[str]
    ready: tuple[pulumi.Resource, ...]

    def __init__(self, name: str, args: WorkloadIdentityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:aws:WorkloadIdentity", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        role = iam.Role(
            f"{name}-role",
            description=f"Pods of {args.namespace}/{args.service_account}",
            assume_role_policy=trust(args.issuer, args.namespace, args.service_account),
            permissions_boundary=args.permissions_boundary_arn,
            opts=child,
        )
        self.ready = (role,)
        if args.statements:
            permissions = iam.RolePolicy(
                f"{name}-permissions", role=role.name, policy=render(args.statements), opts=child
            )
            self.ready = (role, permissions)
        self.role_arn = role.arn
        self.role_name = role.name
        self.register_outputs({"roleArn": self.role_arn, "roleName": self.role_name})


@dataclass(frozen=True, kw_only=True)
class AwsIdentity:
    """Implements ``contract.Identity`` with IAM roles for service accounts.

    Attributes:
        account: Where buckets, secrets and keys live.
        issuer: Who signs the pods' tokens.
        bucket_arns: Buckets that can be granted.
        bucket_key_arns: Key of each of them.
        secrets: Entries that can be granted.
        secrets_key_arn: Key of the entries.
        dns: The zone that can be granted; none where the stack has none.
        permissions_boundary_arn: Policy that limits every role of the stack, where the account demands one.
    """

    account: Account
    issuer: ClusterIssuer
    bucket_arns: Mapping[BucketRole, pulumi.Input[str]]
    bucket_key_arns: Mapping[BucketRole, pulumi.Input[str]]
    secrets: Mapping[str, SecretRef]
    secrets_key_arn: pulumi.Input[str]
    dns: DnsZone | None = None
    permissions_boundary_arn: str | None = None

    def grant(
        self, name: str, *, namespace: str, service_account: str, grants: Sequence[Grant], parent: pulumi.Resource
    ) -> ServiceIdentity:
        """Create the identity of ``namespace/service_account``; it can do what ``grants`` say and no more."""
        identity = WorkloadIdentity(
            f"{name}-identity",
            WorkloadIdentityArgs(
                issuer=self.issuer,
                namespace=namespace,
                service_account=service_account,
                statements=self.statements(grants),
                permissions_boundary_arn=self.permissions_boundary_arn,
            ),
            pulumi.ResourceOptions(parent=parent),
        )
        return ServiceIdentity(annotations={"eks.amazonaws.com/role-arn": identity.role_arn}, ready=identity.ready)

    def statements(self, grants: Sequence[Grant]) -> list[Statement]:
        """What IAM must allow for ``grants``: the data, with the key that encrypts it."""
        statements: list[Statement] = []
        for number, one in enumerate(grants):
            match one:
                case ObjectGrant():
                    arn, key_arn = self.bucket_arns[one.bucket], self.bucket_key_arns[one.bucket]
                    statements += object_statements(one, arn, key_arn, self.account, number)
                case SecretGrant():
                    statements += secret_statements(
                        self._secret_arns(one.entries), self.secrets_key_arn, self.account, number
                    )
                case DnsGrant():
                    if self.dns is None:
                        raise pulumi.RunError("a DNS grant needs a zone: set aws.hostedZoneId")
                    statements += dns_statements(self.dns, self.account, number)
                case HostedModelGrant():
                    statements += hosted_model_statements(one, self.account, number)
                case EndpointGrant():
                    statements += endpoint_statements(one, self.account, number)
                case AuditLogGrant():
                    statements.append(audit_statement(one, self.account, number))
        return statements

    def _secret_arns(self, entries: Sequence[str]) -> list[pulumi.Input[str]]:
        if unknown := sorted(set(entries) - set(self.secrets)):
            known = ", ".join(sorted(self.secrets))
            raise pulumi.RunError(f"no secret entry {', '.join(unknown)}; there are {known}")
        return [self.secrets[entry].key for entry in entries]


def trust(issuer: ClusterIssuer, namespace: str, service_account: str) -> pulumi.Output[str]:
    """Trust policy: tokens of exactly this service account, made for STS."""

    def document(values: Sequence[str]) -> dict[str, object]:
        provider_arn, url = values
        host = url.removeprefix("https://")
        return {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Sid": "ServiceAccountAssumes",
                    "Effect": "Allow",
                    "Principal": {"Federated": provider_arn},
                    "Action": "sts:AssumeRoleWithWebIdentity",
                    "Condition": {
                        "StringEquals": {
                            f"{host}:sub": f"system:serviceaccount:{namespace}:{service_account}",
                            f"{host}:aud": "sts.amazonaws.com",
                        }
                    },
                }
            ],
        }

    return pulumi.Output.json_dumps(pulumi.Output.all(issuer.provider_arn, issuer.url).apply(document))


def object_statements(
    grant: ObjectGrant, bucket_arn: pulumi.Input[str], key_arn: pulumi.Input[str], account: Account, number: int
) -> list[Statement]:
    """Objects below the prefix, listing them, and the key, for this bucket and through S3 only."""
    writes = grant.access == "read-write"
    return [
        Statement(
            sid=f"Objects{number}",
            actions=_READ + (_WRITE if writes else ()),
            resources=(pulumi.Output.concat(bucket_arn, "/", grant.prefix, "*"),),
        ),
        Statement(
            sid=f"List{number}",
            actions=("s3:ListBucket",),
            resources=(bucket_arn,),
            conditions=(
                {"StringLike": {"s3:prefix": f"{grant.prefix}*"}} if grant.prefix and not grant.lists_bucket else {}
            ),
        ),
        Statement(
            sid=f"Locate{number}",
            actions=("s3:GetBucketLocation", *(("s3:ListBucketMultipartUploads",) if writes else ())),
            resources=(bucket_arn,),
        ),
        Statement(
            sid=f"ObjectKey{number}",
            actions=("kms:Decrypt", *(("kms:GenerateDataKey",) if writes else ())),
            resources=(key_arn,),
            conditions={
                "StringEquals": {"kms:ViaService": f"s3.{account.region}.amazonaws.com"},
                # The context is the bucket's ARN with bucket keys, and the object's ARN without.
                "StringLike": {
                    "kms:EncryptionContext:aws:s3:arn": [bucket_arn, pulumi.Output.concat(bucket_arn, "/*")]
                },
            },
        ),
    ]


def secret_statements(
    secret_arns: Sequence[pulumi.Input[str]], key_arn: pulumi.Input[str], account: Account, number: int
) -> list[Statement]:
    """Reading these entries, and the key for them, through Secrets Manager only."""
    return [
        Statement(
            sid=f"Secrets{number}",
            actions=("secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"),
            resources=secret_arns,
        ),
        Statement(
            sid=f"SecretKey{number}",
            actions=("kms:Decrypt",),
            resources=(key_arn,),
            conditions={
                "StringEquals": {
                    "kms:ViaService": f"secretsmanager.{account.region}.amazonaws.com",
                    "kms:EncryptionContext:SecretARN": secret_arns,
                }
            },
        ),
    ]


def dns_statements(zone: DnsZone, account: Account, number: int) -> list[Statement]:
    """Proving to a certificate authority that the zone is ours, and changing nothing else in it.

    cert-manager is told the zone's id, so that it need not list the account's zones.
    """
    return [
        Statement(
            sid=f"DnsProof{number}",
            actions=("route53:ChangeResourceRecordSets",),
            resources=(f"arn:{account.partition}:route53:::hostedzone/{zone.id}",),
            conditions={
                "ForAllValues:StringEquals": {
                    "route53:ChangeResourceRecordSetsRecordTypes": ["TXT"],
                    "route53:ChangeResourceRecordSetsActions": ["UPSERT", "DELETE"],
                },
                # The one label under which ACME looks for a proof (RFC 8555, 8.4); of any name in the zone.
                "ForAllValues:StringLike": {
                    "route53:ChangeResourceRecordSetsNormalizedRecordNames": ["_acme-challenge.*"]
                },
            },
        ),
        Statement(
            sid=f"DnsProgress{number}",
            actions=("route53:GetChange",),
            # Whether a change has arrived everywhere; its number is known only then, and says nothing of records.
            resources=(f"arn:{account.partition}:route53:::change/*",),
        ),
    ]


def audit_statement(grant: AuditLogGrant, account: Account, number: int) -> Statement:
    """Reading one log group. CloudWatch decrypts for whoever may read it: the key is not the reader's."""
    group = f"arn:{account.partition}:logs:{grant.log.region}:{account.id}:log-group:{grant.log.place}"
    return Statement(sid=f"AuditLog{number}", actions=("logs:FilterLogEvents",), resources=(group, f"{group}:*"))


# Inference profiles of Bedrock: a model's identifier with the geography in front in which it may be computed.
_GEOGRAPHIES = ("us", "us-gov", "eu", "apac", "jp", "au", "ca", "global")


def hosted_model_statements(grant: HostedModelGrant, account: Account, number: int) -> list[Statement]:
    """Asking these models of Bedrock. An inference profile needs its models too, in every region that it may choose."""
    arn = f"arn:{account.partition}:bedrock"
    plain = [model for model in grant.models if not _geography(model)]
    profiles = [model for model in grant.models if _geography(model)]
    actions = ("bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream")
    statements: list[Statement] = []
    if plain:
        statements.append(
            Statement(
                sid=f"HostedModels{number}",
                actions=actions,
                resources=[f"{arn}:{grant.region}::foundation-model/{model}" for model in plain],
            )
        )
    if profiles:
        named = [f"{arn}:{grant.region}:{account.id}:inference-profile/{model}" for model in profiles]
        bases = sorted({model.partition(".")[2] for model in profiles})
        statements += [
            Statement(sid=f"ModelProfiles{number}", actions=actions, resources=named),
            Statement(
                sid=f"ProfiledModels{number}",
                actions=actions,
                # Any region: which ones a profile chooses from, AWS decides and changes; "" is that of a global one.
                # Only through the profiles above.
                resources=[f"{arn}:{region}::foundation-model/{base}" for base in bases for region in ("*", "")],
                conditions={"StringEquals": {"bedrock:InferenceProfileArn": named}},
            ),
        ]
    return statements


def _geography(model: str) -> str:
    prefix = model.partition(".")[0]
    return prefix if prefix in _GEOGRAPHIES else ""


def endpoint_statements(grant: EndpointGrant, account: Account, number: int) -> list[Statement]:
    """Asking these endpoints. Those of another cloud trust the role by its name: nothing is allowed here for them."""
    if grant.service != "sagemaker":
        return []
    arn = f"arn:{account.partition}:sagemaker:{grant.region}:{account.id}"
    return [
        Statement(
            sid=f"ModelEndpoints{number}",
            actions=("sagemaker:InvokeEndpoint", "sagemaker:InvokeEndpointWithResponseStream"),
            # IAM sees names of SageMaker in lower case.
            resources=[
                *(f"{arn}:endpoint/{name.lower()}" for name in grant.endpoints),
                *(f"{arn}:inference-component/{name.lower()}" for name in grant.components),
            ],
        )
    ]
