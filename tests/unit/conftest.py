"""Mocks for component tests: they answer like a provider and remember what was asked."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import pulumi
import pulumi._types as sdk_types
import pulumi.runtime
import pytest
from pulumi.runtime.mocks import MockMonitor

# The SDK works out the same type hints for every object of a class anew: a quarter of the time of a test with hundreds.
sdk_types._types_from_py_properties = functools.cache(  # pyright: ignore[reportPrivateUsage]  # no public way
    sdk_types._types_from_py_properties  # pyright: ignore[reportPrivateUsage]  # no public way
)

ACCOUNT = "123456789012"
REGION = "us-east-1"

Made = TypeVar("Made")


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """One registered resource, with the options that reach the engine.

    Attributes:
        parent: Logical name of the parent; empty for the stack.
        depends_on: Logical names of everything it waits for: explicit ``depends_on`` and inputs from other resources.
        provider: Name of an explicit provider; empty for the default one.
    """

    type: str
    name: str
    inputs: dict[str, Any]
    parent: str
    protect: bool
    depends_on: frozenset[str]
    aliases: tuple[str, ...]
    ignore_changes: tuple[str, ...]
    provider: str
    retain_on_delete: bool
    delete_before_replace: bool
    custom_timeouts: dict[str, str]


class Recorder(pulumi.runtime.Mocks):
    """Answers every resource and data source, and remembers every request.

    Attributes:
        resources: What was registered, in order.
        calls: Data sources that were asked, with their arguments.
        outputs: Extra outputs by resource type, merged over the inputs; set it in a test where a component reads
            a computed property that is not answered by default.
        component_outputs: What components registered with ``register_outputs``, by logical name.
    """

    def __init__(self) -> None:
        self.resources: list[Recorded] = []
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.outputs: dict[str, dict[str, Any]] = {}
        self.component_outputs: dict[str, dict[str, Any]] = {}

    def run(self, program: Callable[[], Made]) -> Made:
        """Run a program to its end, as the engine would: everything is registered and every output settled."""
        made: list[Made] = []
        pulumi.runtime.test(lambda: made.append(program()))()
        return made[0]

    def of(self, type_: str) -> dict[str, Recorded]:
        """Resources of a type by logical name."""
        return {resource.name: resource for resource in self.resources if resource.type == type_}

    def one(self, type_: str, name: str | None = None) -> Recorded:
        """The only resource of a type, or the one of that name."""
        found = [r for r in self.resources if r.type == type_ and name in (None, r.name)]
        assert len(found) == 1, f"expected one {type_} {name or ''}, found {[r.name for r in found]}"
        return found[0]

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        identifier = f"{args.name}-id"
        short = args.typ.rsplit(":", 1)[-1]
        service = args.typ.split(":")[1].split("/")[0] if args.typ.startswith("aws:") else args.typ.split(":")[0]
        computed = {
            "arn": f"arn:aws:{service}:{REGION}:{ACCOUNT}:{short.lower()}/{args.name}",
            "name": args.name,
            **_COMPUTED.get(args.typ, {}),
        }
        answer = {**computed, **args.inputs, **self.outputs.get(args.typ, {})}
        return identifier if args.custom else None, answer

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        self.calls.append((args.token, args.args))
        if args.token == "aws:iam/getPolicyDocument:getPolicyDocument":
            return {**args.args, "id": "document", "json": policy_json(args.args), "minifiedJson": ""}, []
        if args.token in _ANSWERS:
            return _ANSWERS[args.token], []
        raise AssertionError(f"no mock answer for {args.token}; add it to _ANSWERS in tests/unit/conftest.py")


class _Monitor(MockMonitor):
    """Keeps the options of each request, which the stock mocks drop."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(recorder)
        self._recorder = recorder

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 the protocol's name
        response = super().RegisterResource(request)
        if request.type != "pulumi:pulumi:Stack":
            timeouts = request.customTimeouts
            self._recorder.resources.append(
                Recorded(
                    type=request.type,
                    name=request.name,
                    inputs=pulumi.runtime.rpc.deserialize_properties(request.object),
                    parent=_name(request.parent),
                    protect=request.protect,
                    depends_on=frozenset(_name(urn) for urn in request.dependencies),
                    aliases=tuple(alias.urn or alias.spec.name for alias in request.aliases),
                    ignore_changes=tuple(request.ignoreChanges),
                    provider=_name(request.provider.rsplit("::", 1)[0]) if request.provider else "",
                    retain_on_delete=request.retainOnDelete,
                    delete_before_replace=request.deleteBeforeReplace,
                    custom_timeouts={
                        verb: getattr(timeouts, verb)
                        for verb in ("create", "update", "delete")
                        if getattr(timeouts, verb)
                    },
                )
            )
        return response

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802 the protocol's name
        outputs = pulumi.runtime.rpc.deserialize_properties(request.outputs)
        self._recorder.component_outputs[_name(request.urn)] = outputs
        return super().RegisterResourceOutputs(request)


def _name(urn: str) -> str:
    return urn.split("::", 3)[3] if urn and "::pulumi:pulumi:Stack::" not in urn else ""


def policy_json(args: dict[str, Any]) -> str:
    """What ``iam.getPolicyDocument`` renders, as far as tests compare it."""
    statements: list[dict[str, Any]] = []
    for given in args.get("statements", []):
        statement: dict[str, Any] = {"Effect": given.get("effect", "Allow")}
        if "sid" in given:
            statement["Sid"] = given["sid"]
        for key, name in (("actions", "Action"), ("notActions", "NotAction"), ("resources", "Resource")):
            if key in given:
                statement[name] = given[key][0] if len(given[key]) == 1 else given[key]
        for principal in given.get("principals", []):
            statement.setdefault("Principal", {})[principal["type"]] = principal["identifiers"]
        for condition in given.get("conditions", []):
            tests = statement.setdefault("Condition", {}).setdefault(condition["test"], {})
            tests[condition["variable"]] = condition["values"]
        statements.append(statement)
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


_ANSWERS: dict[str, dict[str, Any]] = {
    "gcp:logging/getProjectCmekSettings:getProjectCmekSettings": {
        "serviceAccountId": "cmek@gcp-sa-logging.iam.gserviceaccount.com"
    },
    "aws:index/getCallerIdentity:getCallerIdentity": {
        "accountId": ACCOUNT,
        "arn": f"arn:aws:iam::{ACCOUNT}:user/platform",
        "id": ACCOUNT,
        "userId": "AIDAEXAMPLE",
    },
    "aws:index/getPartition:getPartition": {
        "partition": "aws",
        "dnsSuffix": "amazonaws.com",
        "id": "aws",
        "reverseDnsPrefix": "com.amazonaws",
    },
    "aws:index/getRegion:getRegion": {
        "name": REGION,
        "region": REGION,
        "id": REGION,
        "description": "US East (N. Virginia)",
        "endpoint": f"ec2.{REGION}.amazonaws.com",
    },
    "aws:index/getAvailabilityZones:getAvailabilityZones": {
        "names": [f"{REGION}{letter}" for letter in "abc"],
        "zoneIds": ["use1-az1", "use1-az2", "use1-az3"],
        "groupNames": [REGION],
        "id": REGION,
        "region": REGION,
    },
}

_KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "kubernetes", "cluster": {"server": "https://EXAMPLE.gr7.us-east-1.eks.amazonaws.com"}}],
    "users": [{"name": "aws", "user": {"exec": {"command": "aws"}}}],
}
_ISSUER = "oidc.eks.us-east-1.amazonaws.com/id/EXAMPLE"

# Computed outputs that our components read; an ARN and a name are given to everything.
_COMPUTED: dict[str, dict[str, Any]] = {
    "aws:ec2/vpc:Vpc": {"defaultSecurityGroupId": "sg-default", "defaultRouteTableId": "rtb-default"},
    "aws:ec2/launchTemplate:LaunchTemplate": {"latestVersion": 1, "defaultVersion": 1},
    "aws:eks/nodeGroup:NodeGroup": {
        "resources": [{"autoscalingGroups": [{"name": "eks-group-asg"}], "remoteAccessSecurityGroupId": ""}],
        "status": "ACTIVE",
    },
    "aws:eks/cluster:Cluster": {
        "endpoint": "https://EXAMPLE.gr7.us-east-1.eks.amazonaws.com",
        "certificateAuthority": {"data": "Y2E="},
        "identities": [{"oidcs": [{"issuer": f"https://{_ISSUER}"}]}],
        "vpcConfig": {"clusterSecurityGroupId": "sg-cluster", "vpcId": "vpc-1", "subnetIds": ["subnet-1"]},
        "version": "1.35",
        "status": "ACTIVE",
    },
    "eks:index:Cluster": {
        "kubeconfig": _KUBECONFIG,
        "kubeconfigJson": json.dumps(_KUBECONFIG),
        "clusterSecurityGroupId": "sg-cluster",
        "nodeSecurityGroupId": "sg-node",
        "oidcProviderArn": f"arn:aws:iam::{ACCOUNT}:oidc-provider/{_ISSUER}",
        "oidcProviderUrl": f"https://{_ISSUER}",
        "oidcIssuer": _ISSUER,
    },
    "aws:rds/instance:Instance": {
        "address": "db.example.us-east-1.rds.amazonaws.com",
        "port": 5432,
        "masterUserSecrets": [
            {
                "secretArn": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:rds!db-1",
                "kmsKeyId": "",
                "secretStatus": "active",
            }
        ],
    },
    "aws:elasticache/replicationGroup:ReplicationGroup": {
        "primaryEndpointAddress": "master.cache.example.use1.cache.amazonaws.com",
        "readerEndpointAddress": "replica.cache.example.use1.cache.amazonaws.com",
        "port": 6379,
    },
    "aws:s3/bucket:Bucket": {"bucketRegionalDomainName": f"bucket.s3.{REGION}.amazonaws.com"},
    "aws:ecr/repository:Repository": {"repositoryUrl": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/repository"},
    "random:index/randomPassword:RandomPassword": {"result": "not-a-real-password", "bcryptHash": "$2a$"},
    "random:index/randomId:RandomId": {"hex": "0011223344556677", "b64Std": "ABEiM0RVZnc=", "b64Url": "ABEiM0RVZnc"},
}


def mocked() -> Recorder:
    """Mocks in the place of engine and providers, until others are set."""
    recorder = Recorder()
    pulumi.runtime.set_mocks(recorder, project="llmops", stack="test", preview=False, monitor=_Monitor(recorder))
    return recorder


@contextmanager
def recording() -> Iterator[Recorder]:
    """Mocks in the place of engine and providers; settings of the program are forgotten afterwards."""
    recorder = mocked()
    yield recorder
    pulumi.runtime.config.CONFIG.set({})


@pytest.fixture
def recorded() -> Iterator[Recorder]:
    """The program's resources under mocks; read ``recorded`` in an ``apply`` of the output that the test returns."""
    with recording() as recorder:
        yield recorder


@pytest.fixture(autouse=True)
def _no_settings_leak() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction] pytest calls it
    pulumi.runtime.set_all_config({})
    yield
    pulumi.runtime.set_all_config({})
