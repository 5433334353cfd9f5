"""The cluster and its add-ons, everything about them that can be decided without a cloud."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pulumi_kubernetes as kubernetes
import pytest
from pulumi_aws import iam

from components import versions
from components.aws.addons import Addons, AddonsArgs
from components.aws.cluster import ACCESS_GROUPS, Access, Cluster, ClusterArgs, access, access_entries, team_group
from components.aws.identity import ClusterIssuer
from components.settings.cluster import AccessSettings

pytestmark = pytest.mark.unit

KEY = "arn:aws:kms:us-east-1:123456789012:key/"
ARGS = ClusterArgs(
    name="llmops-test",
    kubernetes_version="1.35",
    vpc_id="vpc-1",
    subnet_ids=["subnet-a", "subnet-b"],
    service_cidr="172.20.0.0/16",
    public_access_cidrs=[],
    access=[Access(principal_arn="arn:aws:iam::123456789012:role/ml/engineers", policy="edit", namespaces=["serving"])],
    support="standard",
    addon_versions=versions.EKS_ADDONS,
    secrets_key_arn=f"{KEY}cluster",
    logs_key_arn=f"{KEY}logs",
    log_retention_days=90,
    protect=True,
)


def test_the_api_server_is_private_unless_networks_are_named(recorded):
    recorded.run(lambda: Cluster("cluster", ARGS))

    inputs = recorded.one("eks:index:Cluster").inputs
    assert inputs["endpointPrivateAccess"] is True
    assert inputs["endpointPublicAccess"] is False
    assert "publicAccessCidrs" not in inputs, "pulumi-eks refuses a list without public access"


def test_named_networks_reach_the_api_server_and_nobody_else(recorded):
    recorded.run(lambda: Cluster("cluster", replace(ARGS, public_access_cidrs=["203.0.113.0/24"])))

    inputs = recorded.one("eks:index:Cluster").inputs
    assert inputs["endpointPublicAccess"] is True
    assert inputs["publicAccessCidrs"] == ["203.0.113.0/24"]


def test_secrets_are_enveloped_everything_is_logged_and_deletion_is_refused(recorded):
    recorded.run(lambda: Cluster("cluster", ARGS))

    inputs = recorded.one("eks:index:Cluster").inputs
    assert inputs["encryptionConfigKeyArn"] == f"{KEY}cluster"
    assert set(inputs["enabledClusterLogTypes"]) == {
        "api",
        "audit",
        "authenticator",
        "controllerManager",
        "scheduler",
    }
    assert inputs["deletionProtection"] is True
    assert inputs["authenticationMode"] == "API"
    assert inputs["upgradePolicy"] == {"supportType": "STANDARD"}


def test_the_log_group_exists_with_key_and_retention_before_eks_would_make_one_without(recorded):
    recorded.run(lambda: Cluster("cluster", ARGS))

    logs = recorded.one("aws:cloudwatch/logGroup:LogGroup")
    assert logs.inputs["name"] == "/aws/eks/llmops-test/cluster"
    assert logs.inputs["kmsKeyId"] == f"{KEY}logs"
    assert logs.inputs["retentionInDays"] == 90
    assert logs.name in recorded.one("eks:index:Cluster").depends_on


def test_access_is_given_by_entries_confined_to_namespaces(recorded):
    recorded.run(lambda: Cluster("cluster", ARGS))

    (entry,) = recorded.one("eks:index:Cluster").inputs["accessEntries"].values()
    assert entry["principalArn"] == "arn:aws:iam::123456789012:role/ml/engineers"
    policy = entry["accessPolicies"]["edit"]
    assert policy["policyArn"] == "arn:aws:eks::aws:cluster-access-policy/AmazonEKSEditPolicy"
    assert policy["accessScope"] == {"type": "namespace", "namespaces": ["serving"]}


def test_roles_of_one_name_in_two_accounts_both_get_in():
    accounts = ("111111111111", "222222222222")
    entries = access_entries(
        [Access(principal_arn=f"arn:aws:iam::{account}:role/admin", policy="admin") for account in accounts]
    )

    assert set(entries) == {f"{account}-role-admin" for account in accounts}


def entry(**setting: Any) -> dict[str, Any]:
    """The access entry of a setting, as pulumi-eks is given it."""
    principal = "arn:aws:iam::123456789012:role/somebody"
    (made,) = access_entries([access(AccessSettings.model_validate({"principalArn": principal, **setting}))]).values()
    return {"groups": made.kubernetes_groups, "policies": sorted(made.access_policies or {})}


def test_a_role_of_the_platform_is_a_kubernetes_group_and_brings_no_policy_of_eks():
    """The platform's own RBAC decides; a policy of EKS beside it would give more."""
    assert entry(policy="ml-engineer") == {"groups": ["llmops:ml-engineers"], "policies": []}
    assert entry(policy="viewer") == {"groups": ["llmops:viewers"], "policies": []}
    assert entry(policy="platform-admin") == {"groups": ["llmops:platform-admins"], "policies": []}


def test_teams_add_their_groups_to_whatever_else_somebody_is():
    assert entry(teams=["search"]) == {"groups": ["llmops:team-search"], "policies": []}
    assert entry(policy="viewer", teams=["search", "ads"])["groups"] == [
        "llmops:viewers",
        "llmops:team-search",
        "llmops:team-ads",
    ]
    assert entry(policy="edit", teams=["ads"]) == {"groups": ["llmops:team-ads"], "policies": ["edit"]}


def test_no_group_has_a_name_that_eks_keeps_for_itself():
    names = [*ACCESS_GROUPS.values(), team_group("search")]
    assert not [name for name in names if name.startswith(("system:", "eks:", "aws:", "amazon:", "iam:"))]


def test_the_network_plugin_hands_out_prefixes_and_enforces_network_policies(recorded):
    recorded.run(lambda: Cluster("cluster", ARGS))

    plugin = recorded.one("aws:eks/addon:Addon", "cluster-vpc-cni")
    values = json.loads(plugin.inputs["configurationValues"])
    assert values["enableNetworkPolicy"] == "true"
    assert values["env"]["ENABLE_PREFIX_DELEGATION"] == "true"
    assert values["env"]["NETWORK_POLICY_ENFORCING_MODE"] == "standard", "strict would cut off EKS' own add-ons"
    assert plugin.inputs["addonVersion"] == versions.EKS_ADDONS["vpc-cni"]
    attachment = recorded.one("aws:iam/rolePolicyAttachment:RolePolicyAttachment")
    assert attachment.name in plugin.depends_on
    trust = json.loads(recorded.one("aws:iam/role:Role").inputs["assumeRolePolicy"])["Statement"][0]
    (subject,) = [v for k, v in trust["Condition"]["StringEquals"].items() if k.endswith(":sub")]
    assert subject == "system:serviceaccount:kube-system:aws-node"


def test_pulumi_eks_installs_nothing_that_we_pin_ourselves(recorded):
    recorded.run(lambda: Cluster("cluster", ARGS))

    inputs = recorded.one("eks:index:Cluster").inputs
    assert inputs["bootstrapSelfManagedAddons"] is False
    assert inputs["useDefaultVpcCni"] is True, "its way to say: no VPC CNI from pulumi-eks"
    assert inputs["kubeProxyAddonOptions"] == {"enabled": False}
    assert inputs["corednsAddonOptions"] == {"enabled": False}
    assert inputs["skipDefaultNodeGroup"] is True
    assert {a.inputs["addonName"] for a in recorded.of("aws:eks/addon:Addon").values()} == {
        "vpc-cni",
        "kube-proxy",
        "eks-pod-identity-agent",
    }


def test_the_cluster_is_known_by_its_kubeconfig(recorded):
    recorded.run(lambda: Cluster("cluster", ARGS))

    outputs = recorded.component_outputs["cluster"]
    assert outputs["clusterName"] == "llmops-test"
    assert outputs["endpoint"].startswith("https://")
    assert outputs["securityGroupId"] == "sg-cluster"
    assert recorded.one("pulumi:providers:kubernetes").inputs["clusterIdentifier"] == "llmops-test"


def addons(**changes: Any) -> Addons:
    nodes = iam.Role("nodes", assume_role_policy="{}")  # stands for node groups: any resource to wait for
    args = AddonsArgs(
        cluster_name="llmops-test",
        provider=kubernetes.Provider("kubernetes", kubeconfig="{}"),
        issuer=ClusterIssuer(provider_arn="arn:aws:iam::123456789012:oidc-provider/issuer", url="https://issuer"),
        versions=versions.EKS_ADDONS,
        system_node_labels={"llmops/role": "system"},
        storage_key_arn=f"{KEY}storage",
        volume_tags={"stack": "llmops-test"},
        mounted_bucket_arns=["arn:aws:s3:::models"],
        objects_key_arn=f"{KEY}objects",
        nodes=[nodes],
    )
    return Addons("addons", replace(args, **changes))


def test_add_ons_with_controllers_wait_for_nodes_and_are_pinned(recorded):
    recorded.run(addons)

    found = recorded.of("aws:eks/addon:Addon")
    assert {a.inputs["addonName"] for a in found.values()} == {
        "coredns",
        "snapshot-controller",
        "metrics-server",
        "aws-ebs-csi-driver",
        "aws-efs-csi-driver",
        "aws-mountpoint-s3-csi-driver",
    }
    for one in found.values():
        assert one.inputs["addonVersion"] == versions.EKS_ADDONS[one.inputs["addonName"]]
        assert "nodes" in one.depends_on
        assert not one.depends_on & found.keys(), "add-ons come up side by side"


def test_each_driver_has_a_role_of_its_own_with_the_key_beside_the_data(recorded):
    recorded.run(addons)

    def actions(name: str) -> set[str]:
        policy = json.loads(recorded.one("aws:iam/rolePolicy:RolePolicy", name).inputs["policy"])
        return {action for statement in policy["Statement"] for action in statement["Action"]}

    assert {"kms:CreateGrant", "kms:Decrypt"} <= actions("addons-ebs-csi-permissions")
    assert actions("addons-s3-csi-permissions") == {"s3:ListBucket", "s3:GetObject", "kms:Decrypt"}
    roles = {a.inputs["serviceAccountRoleArn"] for a in recorded.of("aws:eks/addon:Addon").values() if "csi" in a.name}
    assert len(roles) == 3


def test_volumes_of_pods_carry_the_tags_by_which_they_are_paid_and_found(recorded):
    recorded.run(addons)

    driver = recorded.one("aws:eks/addon:Addon", "addons-aws-ebs-csi-driver")
    controller = json.loads(driver.inputs["configurationValues"])["controller"]
    assert controller == {"nodeSelector": {"llmops/role": "system"}, "extraVolumeTags": {"stack": "llmops-test"}}


def test_without_buckets_to_mount_the_s3_driver_may_do_nothing(recorded):
    recorded.run(lambda: addons(mounted_bucket_arns=[]))

    assert "addons-s3-csi-permissions" not in recorded.of("aws:iam/rolePolicy:RolePolicy")


def test_buckets_can_be_mounted_on_tainted_gpu_nodes(recorded):
    recorded.run(addons)

    driver = recorded.one("aws:eks/addon:Addon", "addons-aws-mountpoint-s3-csi-driver")
    assert json.loads(driver.inputs["configurationValues"])["node"]["tolerateAllTaints"] is True


def test_the_default_storage_class_is_encrypted_gp3_with_our_key(recorded):
    recorded.run(addons)

    default = recorded.one("kubernetes:storage.k8s.io/v1:StorageClass")
    assert default.inputs["metadata"]["annotations"] == {"storageclass.kubernetes.io/is-default-class": "true"}
    assert default.inputs["parameters"] == {"type": "gp3", "encrypted": "true", "kmsKeyId": f"{KEY}storage"}
    assert default.inputs["volumeBindingMode"] == "WaitForFirstConsumer"
    assert default.provider == "kubernetes"
