"""A small stack that every policy accepts, and a way to break it at one point."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pulumi_policy import (
    PolicyCustomTimeouts,
    PolicyProviderResource,
    PolicyResource,
    PolicyResourceOptions,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE, unknown_checking_proxy

from components.settings import Settings, parse
from policies import pack
from policies.exemptions import Register
from policies.registry import Rule, Surroundings, to_sdk

LATER = UNKNOWN_STRING_VALUE
"""How the engine writes a value that becomes known only during the update."""

GONE = object()
"""As a new value: the property is not there."""

SETTINGS: dict[str, Any] = {
    "owner": "ml-platform",
    "costCenter": "ml-test",
    "quotas": {
        "gpus": {"a10g": 4},
        "vcpu": {"onDemandStandard": 16, "spotG": 64},
        "nodes": 8,
        "instanceTypes": ["m6i.*", "g5.*", "db.t4g.*", "cache.t4g.small"],
        "regions": ["us-east-1"],
        "storageGib": 1000,
        "loadBalancers": 1,
        "elasticIps": 1,
        "clusters": 1,
        "idleMonthlyUsd": 1000,
        "maxMonthlyUsd": 10000,
    },
    "budget": {"monthlyUsd": 3000},
    "teams": [{"name": "search", "gpus": 2, "vcpu": 8, "memoryGib": 32, "storageGib": 100}],
}

ACCOUNT = "123456789012"
KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/0a1b2c3d"
_TAGS = {"tags": {"owner": "ml-platform", "cost-center": "ml-test"}}
_PROVIDER = {"region": "us-east-1", "defaultTags": json.dumps(_TAGS)}


@dataclass(frozen=True)
class Given:
    """A resource as the engine hands it over.

    Attributes:
        sources: By property the names of the resources that its value comes from.
    """

    name: str
    type: str
    props: dict[str, Any]
    protect: bool = False
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    provider: Mapping[str, Any] = field(default_factory=dict)

    @property
    def urn(self) -> str:
        return f"urn:pulumi:test::llmops::{self.type}::{self.name}"


def settings(**changes: Any) -> Settings:
    return parse({**SETTINGS, **changes})


def allow(*actions: str, resource: str | list[str] = "*", **more: Any) -> str:
    """A policy document with one statement that allows."""
    statement = {"Sid": "It", "Effect": "Allow", "Action": list(actions), "Resource": resource, **more}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def trust(**conditions: str) -> str:
    who = {"Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/oidc.eks"}
    condition = {"StringEquals": {f"oidc.eks:{key}": value for key, value in conditions.items()}}
    return allow("sts:AssumeRoleWithWebIdentity", resource=[], Principal=who, Condition=condition)


_TLS_ONLY = json.dumps(
    {
        "Statement": [
            {
                "Effect": "Deny",
                "Principal": {"AWS": "*"},
                "Action": ["s3:*"],
                "Resource": ["arn:aws:s3:::models", "arn:aws:s3:::models/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ]
    }
)
_CONTAINER: dict[str, Any] = {
    "name": "server",
    "image": "registry.example/server:1.2.3@sha256:" + "a" * 64,
    "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
    "readinessProbe": {"httpGet": {"path": "/", "port": 8080}},
    "livenessProbe": {"httpGet": {"path": "/", "port": 8080}},
    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    "ports": [{"containerPort": 8080}],
}
_POD: dict[str, Any] = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname"}],
    "volumes": [{"name": "scratch", "emptyDir": {}}],
    "containers": [_CONTAINER],
}
_GPU = {"nvidia.com/gpu": "1"}
_GPU_CONTAINER = {
    **_CONTAINER,
    "resources": {"requests": {"cpu": "4", "memory": "24Gi", **_GPU}, "limits": {"memory": "24Gi", **_GPU}},
}
_SELECTOR = {"matchLabels": {"app": "server"}}
_HERE = {"namespace": "team-search"}


def _bucket_parts() -> Iterable[Given]:
    parts: dict[str, tuple[str, dict[str, Any]]] = {
        "encryption": (
            "bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
            {"rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": KEY}}]},
        ),
        "policy": ("bucketPolicy:BucketPolicy", {"policy": _TLS_ONLY}),
        "access": (
            "bucketPublicAccessBlock:BucketPublicAccessBlock",
            {
                "blockPublicAcls": True,
                "blockPublicPolicy": True,
                "ignorePublicAcls": True,
                "restrictPublicBuckets": True,
            },
        ),
        "versioning": ("bucketVersioning:BucketVersioning", {"versioningConfiguration": {"status": "Enabled"}}),
        "lifecycle": ("bucketLifecycleConfiguration:BucketLifecycleConfiguration", {"rules": []}),
    }
    for name, (kind, props) in parts.items():
        yield Given(f"bucket-{name}", f"aws:s3/{kind}", {"bucket": LATER, **props}, sources={"bucket": ("bucket",)})


def _aws() -> Iterable[Given]:
    yield Given("aws", "pulumi:providers:aws", dict(_PROVIDER))
    yield Given("vpc", "aws:ec2/vpc:Vpc", {"cidrBlock": "10.0.0.0/16"})
    yield Given(
        "default-group", "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
        {"ingress": [], "egress": []}, sources={"vpcId": ("vpc",)},
    )  # fmt: skip
    yield Given("flows", "aws:ec2/flowLog:FlowLog", {"trafficType": "ALL"}, sources={"vpcId": ("vpc",)})
    yield Given("subnet", "aws:ec2/subnet:Subnet", {"mapPublicIpOnLaunch": False})
    yield Given("address", "aws:ec2/eip:Eip", {})
    yield Given(
        "ingress", "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
        {"cidrIpv4": "10.0.0.0/16", "fromPort": 5432, "toPort": 5432},
    )  # fmt: skip
    yield Given(
        "group", "aws:ec2/securityGroup:SecurityGroup",
        {"ingress": [{"cidrBlocks": ["10.0.0.0/16"], "fromPort": 443, "toPort": 443}]},
    )  # fmt: skip
    yield Given("key", "aws:kms/key:Key", {
        "enableKeyRotation": True, "deletionWindowInDays": 30,
        "policy": allow("kms:*", Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:root"}),
    }, protect=True)  # fmt: skip
    yield Given("bucket", "aws:s3/bucket:Bucket", {"bucket": "models", "forceDestroy": False}, protect=True)
    yield from _bucket_parts()
    yield Given("database", "aws:rds/instance:Instance", {
        "storageEncrypted": True, "kmsKeyId": LATER, "manageMasterUserPassword": True,
        "masterUserSecretKmsKeyId": LATER, "publiclyAccessible": False, "backupRetentionPeriod": 7,
        "copyTagsToSnapshot": True, "deletionProtection": True, "skipFinalSnapshot": False, "multiAz": True,
        "instanceClass": "db.t4g.medium", "allocatedStorage": 20, "maxAllocatedStorage": 40, "engine": "postgres",
        "storageType": "gp3",
    }, protect=True)  # fmt: skip
    yield Given("backup-copies", "aws:rds/instanceAutomatedBackupsReplication:InstanceAutomatedBackupsReplication", {
        "sourceDbInstanceArn": LATER, "kmsKeyId": LATER, "retentionPeriod": 7,
    })  # fmt: skip
    yield Given("parameters", "aws:rds/parameterGroup:ParameterGroup", {
        "family": "postgres17", "parameters": [{"name": "rds.force_ssl", "value": "1"}],
    })  # fmt: skip
    yield Given("cache", "aws:elasticache/replicationGroup:ReplicationGroup", {
        "atRestEncryptionEnabled": True, "transitEncryptionEnabled": True, "transitEncryptionMode": "required",
        "kmsKeyId": LATER, "authToken": LATER, "nodeType": "cache.t4g.small", "snapshotRetentionLimit": 1,
        "automaticFailoverEnabled": True, "numCacheClusters": 2, "engine": "valkey",
    })  # fmt: skip
    yield Given("files", "aws:efs/fileSystem:FileSystem", {"encrypted": True, "kmsKeyId": LATER}, protect=True)
    yield Given("files-backups", "aws:efs/backupPolicy:BackupPolicy", {"backupPolicy": {"status": "ENABLED"}})
    yield Given("logs", "aws:cloudwatch/logGroup:LogGroup", {
        "name": "/aws/eks/llmops-test/cluster", "kmsKeyId": LATER, "retentionInDays": 365,
    })  # fmt: skip
    yield Given("topic", "aws:sns/topic:Topic", {"kmsMasterKeyId": LATER})
    yield Given("secret", "aws:secretsmanager/secret:Secret", {"kmsKeyId": LATER})
    yield Given("images", "aws:ecr/repository:Repository", {
        "encryptionConfigurations": [{"encryptionType": "KMS", "kmsKey": LATER}],
        "imageTagMutability": "IMMUTABLE", "imageScanningConfiguration": {"scanOnPush": True},
    })  # fmt: skip
    yield from _compute()
    yield Given("role", "aws:iam/role:Role", {
        "assumeRolePolicy": trust(sub="system:serviceaccount:velero:velero", aud="sts.amazonaws.com"),
    })  # fmt: skip
    yield Given("permissions", "aws:iam/rolePolicy:RolePolicy", {
        "policy": allow("s3:GetObject", "kms:GenerateDataKey*", resource=["arn:aws:s3:::models/*"]),
    })  # fmt: skip
    yield Given("attachment", "aws:iam/rolePolicyAttachment:RolePolicyAttachment", {
        "policyArn": "arn:aws:iam::aws:policy/AmazonEKSWorkerNodePolicy",
    })  # fmt: skip


def _compute() -> Iterable[Given]:
    yield Given("cluster", "aws:eks/cluster:Cluster", {
        "encryptionConfig": {"provider": {"keyArn": LATER}, "resources": ["secrets"]},
        "enabledClusterLogTypes": ["api", "audit", "authenticator"], "deletionProtection": True,
        "vpcConfig": {"endpointPrivateAccess": True, "endpointPublicAccess": False}, "version": "1.35",
        "upgradePolicy": {"supportType": "STANDARD"},
    })  # fmt: skip
    yield Given("template", "aws:ec2/launchTemplate:LaunchTemplate", {
        "blockDeviceMappings": [{"ebs": {"encrypted": "true", "volumeSize": 100, "volumeType": "gp3"}}],
        "metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 1},
    })  # fmt: skip
    groups: dict[str, dict[str, Any]] = {
        "system": {
            "instanceTypes": ["m6i.large"], "capacityType": "ON_DEMAND", "labels": {"llmops/role": "system"},
            "scalingConfig": {"minSize": 1, "maxSize": 4, "desiredSize": 1},
        },
        "training": {
            "instanceTypes": ["g5.xlarge", "g5.2xlarge"], "capacityType": "SPOT",
            "labels": {"llmops/role": "gpu-training"},
            "scalingConfig": {"minSize": 0, "maxSize": 4, "desiredSize": 0},
        },
    }  # fmt: skip
    for name, props in groups.items():
        template = {"launchTemplate": {"id": LATER}}
        yield Given(
            name, "aws:eks/nodeGroup:NodeGroup", {**props, **template}, sources={"launchTemplate": ("template",)}
        )


def _cluster() -> Iterable[Given]:
    yield Given("storage-class", "kubernetes:storage.k8s.io/v1:StorageClass", {
        "metadata": {"name": "gp3"}, "provisioner": "ebs.csi.aws.com", "parameters": {"encrypted": "true"},
    })  # fmt: skip
    yield Given("namespace", "kubernetes:core/v1:Namespace", {"metadata": {
        "name": "team-search",
        "labels": {
            "pod-security.kubernetes.io/enforce": "restricted", "istio.io/dataplane-mode": "ambient",
            "llmops/owner": "search", "llmops/team": "search", "llmops/cost-center": "ml-test",
        },
    }})  # fmt: skip
    yield Given("deny", "kubernetes:networking.k8s.io/v1:NetworkPolicy", {
        "metadata": {"name": "deny", **_HERE}, "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
    })  # fmt: skip
    yield Given("quota", "kubernetes:core/v1:ResourceQuota", {
        "metadata": {"name": "capacity", "namespace": LATER},
        "spec": {"hard": {
            "requests.nvidia.com/gpu": "2", "requests.cpu": "8", "requests.memory": "32Gi", "requests.storage": "100Gi",
        }},
    }, sources={"metadata": ("namespace",)})  # fmt: skip
    yield Given("limits", "kubernetes:core/v1:LimitRange", {
        "metadata": {"name": "defaults", **_HERE},
        "spec": {"limits": [{"type": "Container", "default": {"memory": "512Mi"}}]},
    })  # fmt: skip
    yield Given("deployment", "kubernetes:apps/v1:Deployment", {
        "metadata": {"name": "server", **_HERE, "labels": {}, "annotations": {}},
        "spec": {
            "replicas": 2, "selector": _SELECTOR,
            "template": {"metadata": {"labels": {"app": "server"}}, "spec": _POD},
        },
    })  # fmt: skip
    yield Given("budget", "kubernetes:policy/v1:PodDisruptionBudget", {
        "metadata": {"name": "server", **_HERE}, "spec": {"maxUnavailable": 1, "selector": _SELECTOR},
    })  # fmt: skip
    yield Given("claims", "kubernetes:apps/v1:StatefulSet", {
        "metadata": {"name": "store", **_HERE},
        "spec": {
            "replicas": 1, "template": {"metadata": {"labels": {"app": "store"}}, "spec": _POD},
            "volumeClaimTemplates": [{"spec": {"resources": {"requests": {"storage": "10Gi"}}}}],
        },
    })  # fmt: skip
    yield Given("job", "kubernetes:kubeflow.org/v1:PyTorchJob", {
        "metadata": {"name": "train", **_HERE},
        "spec": {"pytorchReplicaSpecs": {"Worker": {"template": {"spec": {**_POD, "containers": [_GPU_CONTAINER]}}}}},
    })  # fmt: skip
    yield Given("model", "kubernetes:serving.kserve.io/v1beta1:InferenceService", {
        "metadata": {
            "name": "llama", **_HERE, "labels": {"llmops/owner": "search"},
            "annotations": {"llmops/objective": "p99 < 2 s", "llmops/cold-start-seconds": "600"},
        },
        "spec": {"predictor": {
            "minReplicas": 0, "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "model": {"modelFormat": {"name": "vllm"}, "resources": _GPU_CONTAINER["resources"]},
        }},
    })  # fmt: skip
    yield Given("runtime", "kubernetes:serving.kserve.io/v1alpha1:ClusterServingRuntime", {
        "metadata": {"name": "vllm"},
        "spec": {"containers": [{key: value for key, value in _GPU_CONTAINER.items() if key != "resources"}]},
    })  # fmt: skip
    yield Given("run", "kubernetes:trainer.kubeflow.org/v1alpha1:TrainJob", {
        "metadata": {"name": "run", **_HERE}, "spec": {"trainer": {"resourcesPerNode": _GPU_CONTAINER["resources"]}},
    })  # fmt: skip
    yield Given("reader", "kubernetes:rbac.authorization.k8s.io/v1:ClusterRole", {
        "metadata": {"name": "reader"}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
    })  # fmt: skip
    yield Given("binding", "kubernetes:rbac.authorization.k8s.io/v1:ClusterRoleBinding", {
        "metadata": {"name": "reader"}, "roleRef": {"name": "reader"}, "subjects": [{"name": "llmops:viewers"}],
    })  # fmt: skip
    yield Given("token", "kubernetes:core/v1:Secret", {
        "metadata": {"name": "token"}, "type": "kubernetes.io/service-account-token",
    })  # fmt: skip
    yield Given("release", "kubernetes:helm.sh/v3:Release", {
        "chart": "velero", "version": "12.1.0", "atomic": True, "namespace": "velero", "createNamespace": False,
        "values": {"image": {"tag": "v1.18.2"}, "credentials": {"existingSecret": "velero"}},
    })  # fmt: skip
    yield Given("gateway", "kubernetes:helm.sh/v3:Release", {
        "chart": "oci://charts.example/gateway", "version": "1.30.3", "atomic": True, "namespace": "istio-ingress",
        "values": {},
    })  # fmt: skip


def world() -> list[Given]:
    """A fresh copy of all of it."""
    found = [*_aws(), *_cluster()]
    return [
        replace(one, props=copy.deepcopy(one.props), provider=_PROVIDER if one.type.startswith("aws:") else {})
        for one in found
    ]


def changed(resources: list[Given], name: str, path: tuple[str | int, ...], value: Any) -> list[Given]:
    """The same with one property of one resource set, or gone."""
    (one,) = (resource for resource in resources if resource.name == name)
    holder: Any = one.props
    for key in path[:-1]:
        holder = holder[key]
    if value is GONE:
        del holder[path[-1]]
    else:
        holder[path[-1]] = value
    return resources


def without(resources: list[Given], *names: str) -> list[Given]:
    """The same without some resources."""
    assert {one.name for one in resources} >= set(names)
    return [one for one in resources if one.name not in names]


def rule(name: str) -> Rule:
    """A policy by its name."""
    (found,) = (one for one in pack.rules(Register()) if one.name == name)
    return found


def judge(
    policy: Rule | str,
    resources: Iterable[Given],
    *,
    stack: Settings | None = None,
    config: Mapping[str, Any] | None = None,
    exempt: Register | None = None,
) -> list[str]:
    """What a policy says of resources, through the SDK and its guards around unknown values."""
    known = stack or settings()
    surroundings = Surroundings(settings=lambda: known, exempt=exempt or Register())
    sdk = to_sdk(rule(policy) if isinstance(policy, str) else policy, surroundings)
    said: list[str] = []

    def report(message: str, urn: str | None = None) -> None:
        said.append(message)

    if isinstance(sdk, StackValidationPolicy):
        sdk.validate(StackValidationArgs(_stack(resources), config), report)
    else:
        assert isinstance(sdk, ResourceValidationPolicy)
        for one in resources:
            sdk.validate(as_args(one, config), report)
    return said


def options(one: Given) -> PolicyResourceOptions:
    return PolicyResourceOptions(one.protect, [], None, [], PolicyCustomTimeouts(0, 0, 0), [], None)


def as_args(one: Given, config: Mapping[str, Any] | None = None, props: Any = None) -> ResourceValidationArgs:
    guarded = unknown_checking_proxy(copy.deepcopy(one.props)) if props is None else props
    provider = PolicyProviderResource("aws", unknown_checking_proxy(dict(one.provider)), "", "aws")
    return ResourceValidationArgs(one.type, guarded, one.urn, one.name, options(one), provider, config)


def _stack(resources: Iterable[Given]) -> list[PolicyResource]:
    made = {
        one.name: PolicyResource(
            one.type, unknown_checking_proxy(one.props), one.urn, one.name, options(one), None, None, [], {}
        )
        for one in resources
    }
    for one in resources:
        made[one.name].property_dependencies = {
            key: [made[name] for name in names if name in made] for key, names in one.sources.items()
        }
    return list(made.values())
