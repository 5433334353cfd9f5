"""An AWS account served by moto over HTTP, with what moto leaves out added to moto's own classes.

Added, because moto answers them with "not implemented" or with fixed values: Service Quotas (a table that tests set),
``iam:SimulatePrincipalPolicy`` (by moto's own evaluation of the policies attached in moto), EKS's versions and add-ons,
PostgreSQL's orderable options, ECR's pull-through cache rules, the dry run of ``CreateVpc``, recovery points of AWS
Backup. Everything else is moto's own: instances, buckets, tags, offers of instance types, and, where a test asks for
it, who may call what.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import boto3
import pytest
from botocore import loaders, session
from moto import settings as moto_settings
from moto.backup import urls as backup_urls
from moto.backup.exceptions import BackupClientError as ClientError
from moto.backup.responses import BackupResponse
from moto.core.authorization import ActionAuthenticatorMixin
from moto.core.responses import ActionResult, EmptyResult
from moto.ec2.responses.vpcs import VPCs
from moto.ecr.responses import ECRResponse
from moto.eks import urls as eks_urls
from moto.eks.responses import EKSResponse
from moto.iam.access_control import IAMPolicy, IAMRequestBase, PermissionResult
from moto.iam.responses import IamResponse
from moto.moto_api._internal import moto_api_backend
from moto.rds.models import RDSBackend
from moto.server import ThreadedMotoServer
from moto.servicequotas.exceptions import NoSuchResource
from moto.servicequotas.models import ServiceQuotasBackend
from moto.servicequotas.responses import ServiceQuotasResponse

from components import versions
from ops.preflight.aws.account import BotoAccount
from ops.preflight.aws.needs import needs
from ops.preflight.target import Target

ACCOUNT = "123456789012"
REGION = "us-east-1"


@dataclass
class World:
    """What the account answers beside what is in moto.

    Attributes:
        endpoint: Address of the server.
        quotas: Applied value by region, service and quota code; what is not here has none.
        defaults: AWS's default by service and code.
        pending: Increases that were asked for, by quota code.
        cache_rules: Prefixes of the registry's pull-through cache rules.
        recovery_points: Vault and resource of each, by its ARN.
        guarded: Vaults whose policy lets nobody delete from them.
        numbers: For names that must differ.
    """

    endpoint: str = ""
    quotas: dict[tuple[str, str, str], float] = field(default_factory=dict)
    defaults: dict[tuple[str, str], float] = field(default_factory=dict)
    pending: dict[str, float] = field(default_factory=dict)
    cache_rules: set[str] = field(default_factory=set)
    recovery_points: dict[str, tuple[str, str]] = field(default_factory=dict)
    guarded: set[str] = field(default_factory=set)
    numbers: Iterator[int] = field(default_factory=itertools.count)
    _clients: dict[tuple[str, str], Any] = field(default_factory=dict, repr=False)

    def allow(self, target: Target, *, times: float = 1) -> None:
        """Set every quota of a stack to what it needs, or to a multiple of it."""
        for need in needs(target.settings):
            key = (need.region, need.service, need.code)
            self.quotas[key] = max(self.quotas.get(key, 0), need.amount * times)

    def reset(self) -> None:
        """Forget everything."""
        moto_api_backend.reset()
        tables = (self.quotas, self.defaults, self.pending, self.cache_rules, self.recovery_points, self.guarded)
        for table in tables:
            table.clear()

    def client(self, service: str, region: str = REGION) -> Any:
        """A client of the account's administrator; making one takes longer than most calls."""
        if (service, region) not in self._clients:
            self._clients[service, region] = boto3.client(
                service,
                region_name=region,
                endpoint_url=self.endpoint,
                aws_access_key_id="AKIAADMINISTRATOR000",
                aws_secret_access_key="administrator",  # moto takes anything
            )
        return self._clients[service, region]


@contextmanager
def served() -> Iterator[World]:
    """Serve an empty account."""
    world = World()
    with pytest.MonkeyPatch.context() as patch:
        _extend(world, patch)
        loader = loaders.create_loader()  # reading AWS's service models takes longer than the tests
        patch.setattr(session, "create_loader", lambda *_arguments, **_named: loader)
        # Settled when the server starts: which paths belong to which service.
        patch.setitem(eks_urls.url_paths, "{0}/cluster-versions$", eks_urls.response.dispatch)
        patch.setitem(eks_urls.url_paths, "{0}/addons/supported-versions$", eks_urls.response.dispatch)
        for path in ("resources/(?P<of>.+)/recovery-points/$", "backup-vaults/(?P<of>.+)/recovery-points/(?P<arn>.+)$"):
            patch.setitem(backup_urls.url_paths, f"{{0}}/{path}", backup_urls.response.dispatch)
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        world.endpoint = f"http://{host}:{port}"
        try:
            yield world
        finally:
            server.stop()


@contextmanager
def clients(*services: str, region: str = REGION) -> Iterator[dict[str, Any]]:
    """Serve an empty account, with keys of its administrator in the environment; clients by the service's name.

    Making a client takes longer than most tests, so a module makes them once; ``moto_api_backend.reset()`` empties the
    account between two tests.
    """
    with served() as world, pytest.MonkeyPatch.context() as patch:
        _use(patch, world, "AKIAADMINISTRATOR000", "administrator")
        patch.setenv("AWS_DEFAULT_REGION", region)
        yield {service: boto3.client(service, region_name=region) for service in services}


@contextmanager
def acting_as(world: World, policy: Mapping[str, Any], *, enforced: bool, path: str = "/") -> Iterator[None]:
    """Run with the credentials of a role that has one policy; ``enforced``: moto refuses what it does not allow."""
    iam, sts = world.client("iam"), world.client("sts")
    name = f"deployer-{next(world.numbers)}"
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole"}]}
    role = iam.create_role(RoleName=name, Path=path, AssumeRolePolicyDocument=json.dumps(trust))["Role"]
    made = iam.create_policy(PolicyName=name, PolicyDocument=json.dumps(policy))["Policy"]
    iam.attach_role_policy(RoleName=name, PolicyArn=made["Arn"])
    lent = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="somebody@example.org")["Credentials"]
    with pytest.MonkeyPatch.context() as patch:
        _use(patch, world, lent["AccessKeyId"], lent["SecretAccessKey"], token=lent["SessionToken"])
        if enforced:
            _enforce(patch)
            patch.setattr(ActionAuthenticatorMixin, "request_count", 0)
            patch.setattr(moto_settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0)
        yield


@contextmanager
def sharing_clients(world: World) -> Iterator[None]:
    """Let all accounts that commands open use the same clients, with an administrator's keys.

    To make them takes longer than most tests. Without credentials there is no account, as ever.
    """
    own = BotoAccount._client  # pyright: ignore[reportPrivateUsage]  # the one place that makes clients

    def client(self: BotoAccount, service: str, region: str) -> Any:
        return world.client(service, region) if self.secrets else own(self, service, region)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BotoAccount, "_client", client)
        yield


@contextmanager
def acting_as_administrator(world: World) -> Iterator[None]:
    """Run with the credentials of a role that may do everything."""
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    with acting_as(world, everything, enforced=False):
        yield


# Actions that IAM calls otherwise than the API does (Service Authorization Reference); moto knows only the API's names.
IAM_NAMES = {
    "budgets:DescribeBudget": "budgets:ViewBudget",
    "s3:HeadBucket": "s3:ListBucket",
    "s3:ListBuckets": "s3:ListAllMyBuckets",
}


def _enforce(patch: pytest.MonkeyPatch) -> None:
    judge = IAMRequestBase.check_action_permitted

    def by_iam_name(self: IAMRequestBase, resource: str) -> None:
        self._action = IAM_NAMES.get(self._action, self._action)
        judge(self, resource)

    patch.setattr(IAMRequestBase, "check_action_permitted", by_iam_name)
    # moto reckons wrong signatures for REST requests without a body, and refuses them. Permissions are what is tested.
    patch.setattr(IAMRequestBase, "check_signature", lambda _self: None)


def _use(patch: pytest.MonkeyPatch, world: World, key: str, secret: str, *, token: str = "") -> None:
    patch.setenv("AWS_ENDPOINT_URL", world.endpoint)
    patch.setenv("AWS_ACCESS_KEY_ID", key)
    patch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    if token:
        patch.setenv("AWS_SESSION_TOKEN", token)
    else:
        patch.delenv("AWS_SESSION_TOKEN", raising=False)
    for variable in ("AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        patch.delenv(variable, raising=False)
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def _extend(world: World, patch: pytest.MonkeyPatch) -> None:
    def get_service_quota(self: ServiceQuotasBackend, service_code: str, quota_code: str) -> dict[str, Any]:
        key = (self.region_name, service_code, quota_code)
        if key not in world.quotas:
            raise NoSuchResource
        return {"QuotaCode": quota_code, "Value": world.quotas[key], "Adjustable": True}

    def get_aws_default_service_quota(self: ServiceQuotasResponse) -> str:
        asked = json.loads(self.body)
        value = world.defaults.get((asked["ServiceCode"], asked["QuotaCode"]))
        if value is None:
            raise NoSuchResource
        return json.dumps({"Quota": {"QuotaCode": asked["QuotaCode"], "Value": value, "Adjustable": True}})

    def list_requested_service_quota_change_history_by_quota(self: ServiceQuotasResponse) -> str:
        wanted = world.pending.get(json.loads(self.body)["QuotaCode"])
        requested = [{"Status": "CASE_OPENED", "DesiredValue": wanted}] if wanted else []
        return json.dumps({"RequestedQuotas": requested})

    def simulate_principal_policy(self: IamResponse) -> ActionResult:
        name = self.params["PolicySourceArn"].rsplit("/", 1)[1]
        attached, _ = self.backend.list_attached_role_policies(name)
        policies = [IAMPolicy(one) for one in attached]
        resource = self.params["ResourceArns"][0]
        results = [
            {
                "EvalActionName": action,
                "EvalResourceName": resource,
                "EvalDecision": _decide(policies, action, resource),
            }
            for action in self.params["ActionNames"]
        ]
        return ActionResult({"EvaluationResults": results, "IsTruncated": False})

    def describe_cluster_versions(self: EKSResponse) -> ActionResult:
        known = [{"clusterVersion": one, "versionStatus": "STANDARD_SUPPORT"} for one in versions.KUBERNETES_SUPPORTED]
        return ActionResult({"clusterVersions": known})

    def describe_addon_versions(self: EKSResponse) -> ActionResult:
        name = self._get_param("addonName")
        listed = [{"addonVersion": versions.EKS_ADDONS[name]}]
        return ActionResult({"addons": [{"addonName": name, "addonVersions": listed}]})

    def describe_pull_through_cache_rules(self: ECRResponse) -> str:
        asked = json.loads(self.body)["ecrRepositoryPrefixes"]
        rules = [{"ecrRepositoryPrefix": one} for one in asked if one in world.cache_rules]
        return json.dumps({"pullThroughCacheRules": rules})

    def list_recovery_points_by_resource(self: BackupResponse) -> ActionResult:
        asked = unquote(self.path.split("/resources/")[1].split("/recovery-points")[0])
        points = [
            {"RecoveryPointArn": arn, "BackupVaultName": vault, "Status": "COMPLETED"}
            for arn, (vault, resource) in world.recovery_points.items()
            if resource == asked
        ]
        return ActionResult({"RecoveryPoints": points})

    def delete_recovery_point(self: BackupResponse) -> EmptyResult:
        vault, _, arn = unquote(self.path.split("/backup-vaults/")[1]).partition("/recovery-points/")
        if vault in world.guarded:
            raise ClientError("AccessDeniedException", "the policy of the vault denies it")
        if world.recovery_points.get(arn, ("",))[0] != vault:
            raise ClientError("ResourceNotFoundException", f"no such recovery point in {vault}")
        del world.recovery_points[arn]
        return EmptyResult()

    create_vpc = VPCs.create_vpc

    def create_vpc_unless_dry_run(self: VPCs) -> Any:
        self.error_on_dryrun()  # moto forgets it here, and makes the VPC
        return create_vpc(self)

    def describe_orderable(self: RDSBackend, engine: str, _version: str) -> list[dict[str, Any]]:
        zones = [{"Name": f"{self.region_name}{letter}"} for letter in "abc"]
        option = {"Engine": engine, "StorageType": "gp3", "MultiAZCapable": True, "AvailabilityZones": zones}
        return [{**option, "EngineVersion": version} for version in ("16.9", "17.5")]

    patch.setattr(ServiceQuotasBackend, "get_service_quota", get_service_quota)
    patch.setattr(VPCs, "create_vpc", create_vpc_unless_dry_run)
    patch.setattr(RDSBackend, "describe_orderable_db_instance_options", describe_orderable)
    for added, function in (
        (ServiceQuotasResponse, get_aws_default_service_quota),
        (ServiceQuotasResponse, list_requested_service_quota_change_history_by_quota),
        (IamResponse, simulate_principal_policy),
        (EKSResponse, describe_cluster_versions),
        (EKSResponse, describe_addon_versions),
        (ECRResponse, describe_pull_through_cache_rules),
        (BackupResponse, list_recovery_points_by_resource),
        (BackupResponse, delete_recovery_point),
    ):
        patch.setattr(added, function.__name__, function, raising=False)


def _decide(policies: list[IAMPolicy], action: str, resource: str) -> str:
    results = {policy.is_action_permitted(action, resource) for policy in policies}
    if PermissionResult.DENIED in results:
        return "explicitDeny"
    return "allowed" if PermissionResult.PERMITTED in results else "implicitDeny"
