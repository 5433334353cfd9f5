"""The pulumi-eks components, constructed for a real engine by the sandbox's stand-in."""

from __future__ import annotations

import json
import subprocess
import textwrap
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sandbox import engine as engines
from sandbox import paths, project
from sandbox.aws.provider import AwsProvider
from sandbox.eks import EksProvider
from sandbox.provider import Diff, Provider, ProviderError, Resource
from sandbox.serving import serve
from sandbox.store import Store
from sandbox.values import Properties

pytestmark = pytest.mark.engine

GROUPS = 4
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"  # how the engine's JSON shows a value that only exists later
PROGRAM = f"""
    import json
    import pulumi, pulumi_aws as aws, pulumi_eks as eks

    explicit = aws.Provider("explicit", region="eu-west-1")

    class Platform(pulumi.ComponentResource):
        def __init__(self):
            super().__init__("test:index:Platform", "platform", None, pulumi.ResourceOptions(providers=[explicit]))
            child = pulumi.ResourceOptions(parent=self)
            trust = {{"Version": "2012-10-17", "Statement": [
                {{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {{"Service": "ec2.amazonaws.com"}}}}]}}
            vpc = aws.ec2.Vpc("vpc", cidr_block="10.0.0.0/16", opts=child)
            subnets = [
                aws.ec2.Subnet(f"s{{i}}", vpc_id=vpc.id, cidr_block=f"10.0.{{i}}.0/24", opts=child) for i in range(2)
            ]
            role = aws.iam.Role("nodes", assume_role_policy=json.dumps(trust), opts=child)
            self.cluster = eks.Cluster(
                "main",
                vpc_id=vpc.id,
                private_subnet_ids=[subnet.id for subnet in subnets],
                skip_default_node_group=True,
                create_oidc_provider=True,
                authentication_mode=eks.AuthenticationMode.API,
                access_entries={{"admins": {{"principal_arn": role.arn, "access_policies": {{"all": {{
                    "policy_arn": "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy",
                    "access_scope": {{"type": "cluster"}}}}}}}}}},
                version="1.33",
                vpc_cni_options={{"addon_version": "v1.20.0-eksbuild.1", "enable_prefix_delegation": True}},
                kube_proxy_addon_options={{"version": "v1.33.0-eksbuild.2"}},
                provider_credential_opts={{"profile_name": "operator"}},
                opts=child,
            )
            self.groups = [
                eks.ManagedNodeGroup(
                    f"group{{i}}", cluster=self.cluster, node_role_arn=role.arn, instance_types=["m6i.large"],
                    labels={{"group": str(i)}}, scaling_config={{"min_size": 0, "max_size": i + 1, "desired_size": 0}},
                    ignore_scaling_changes=True, opts=child,
                )
                for i in range({GROUPS})
            ]
            eks.Addon("ebs", cluster=self.cluster, addon_name="aws-ebs-csi-driver",
                      addon_version="v1.50.0-eksbuild.1", configuration_values={{"b": 1, "a": 2}}, opts=child)
            self.register_outputs({{}})

    platform = Platform()
    pulumi.export("kubeconfig", platform.cluster.kubeconfig)
    pulumi.export("issuer", platform.cluster.oidc_issuer)
    pulumi.export("groups", [group.node_group.arn for group in platform.groups])
"""

CLUSTER = "test:index:Platform$eks:index:Cluster"
REAL_CHILDREN = {
    f"{CLUSTER}::main",
    f"{CLUSTER}$eks:index:ServiceRole::main-eksRole",
    f"{CLUSTER}$eks:index:ServiceRole$aws:iam/role:Role::main-eksRole-role",
    f"{CLUSTER}$eks:index:ServiceRole$aws:iam/rolePolicyAttachment:RolePolicyAttachment::main-eksRole-4b490823",
    f"{CLUSTER}$aws:ec2/securityGroup:SecurityGroup::main-eksClusterSecurityGroup",
    f"{CLUSTER}$aws:ec2/securityGroupRule:SecurityGroupRule::main-eksClusterInternetEgressRule",
    f"{CLUSTER}$aws:ec2/securityGroup:SecurityGroup::main-nodeSecurityGroup",
    f"{CLUSTER}$aws:ec2/securityGroupRule:SecurityGroupRule::main-eksNodeIngressRule",
    f"{CLUSTER}$aws:ec2/securityGroupRule:SecurityGroupRule::main-eksNodeClusterIngressRule",
    f"{CLUSTER}$aws:ec2/securityGroupRule:SecurityGroupRule::main-eksExtApiServerClusterIngressRule",
    f"{CLUSTER}$aws:ec2/securityGroupRule:SecurityGroupRule::main-eksNodeInternetEgressRule",
    f"{CLUSTER}$aws:ec2/securityGroupRule:SecurityGroupRule::main-eksClusterIngressRule",
    f"{CLUSTER}$aws:eks/cluster:Cluster::main-eksCluster",
    f"{CLUSTER}$aws:eks/addon:Addon::main-kube-proxy",
    f"{CLUSTER}$pulumi:providers:kubernetes::main-eks-k8s",
    f"{CLUSTER}$aws:eks/accessEntry:AccessEntry::main-admins",
    f"{CLUSTER}$aws:eks/accessEntry:AccessEntry"
    "$aws:eks/accessPolicyAssociation:AccessPolicyAssociation::main-admins-all",
    f"{CLUSTER}$eks:index:VpcCniAddon::main-vpc-cni",
    f"{CLUSTER}$eks:index:VpcCniAddon$aws:eks/addon:Addon::main-vpc-cni",
    f"{CLUSTER}$aws:iam/openIdConnectProvider:OpenIdConnectProvider::main-oidcProvider",
    f"{CLUSTER}$eks:index:Addon::ebs",
    f"{CLUSTER}$eks:index:Addon$aws:eks/addon:Addon::ebs",
    *(f"test:index:Platform$eks:index:ManagedNodeGroup::group{i}" for i in range(GROUPS)),
    *(f"test:index:Platform$eks:index:ManagedNodeGroup$aws:eks/nodeGroup:NodeGroup::group{i}" for i in range(GROUPS)),
}


class Kubernetes(Provider):
    """Configured by the component, but no object reaches it."""

    name = "kubernetes"

    def diff(self, resource: Resource, resource_id: str, old: Properties, new: Properties, outputs: Properties) -> Diff:
        return Diff()


class MeetingAws(AwsProvider):
    """The emulated AWS; a node group is only created once all of them are being created."""

    meeting: threading.Barrier | None = None
    failing: str = ""

    def create(
        self, resource: Resource, inputs: Properties, timeout_seconds: float, *, preview: bool
    ) -> tuple[str, Properties]:
        if not preview and resource.name == self.failing:
            raise ProviderError("Instance profile quota reached")
        if not preview and self.meeting and resource.type == "aws:eks/nodeGroup:NodeGroup":
            self.meeting.wait(timeout=120)
        return super().create(resource, inputs, timeout_seconds, preview=preview)


@dataclass(frozen=True)
class Answer:
    code: int
    output: str


class Sandbox:
    """A project of its own, an account of its own, and the engine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._store = Store(folder / "account.sqlite")
        served = {
            "aws": serve("aws", lambda: MeetingAws(self._store)),
            "eks": serve("eks", EksProvider),
            "kubernetes": serve("kubernetes", Kubernetes),
        }
        self._stop = [each.stop for each in served.values()]
        self._engine = engines.find_or_get(paths.cache_dir(), print)
        attachments = ",".join(f"{name}:{each.port}" for name, each in served.items())
        self._environment = project.environment(self._engine, attachments)
        (folder / "Pulumi.yaml").write_text("name: eks-test\nruntime: python\n")
        (folder / "Pulumi.test.yaml").write_text("config:\n  aws:region: us-east-1\n")
        assert self.run("stack", "init", "test").code == 0

    def program(self, text: str) -> None:
        (self._folder / "__main__.py").write_text(textwrap.dedent(text))

    def run(self, *arguments: str) -> Answer:
        answer = subprocess.run(
            [str(self._engine.pulumi), *arguments, "--non-interactive"],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return Answer(answer.returncode, answer.stdout + answer.stderr)

    def resources(self) -> list[dict[str, Any]]:
        exported = subprocess.run(
            [str(self._engine.pulumi), "stack", "export", "--show-secrets"],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(exported.stdout)["deployment"].get("resources") or []

    def close(self) -> None:
        for stop in self._stop:
            stop()
        self._store.close()


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    folder = tmp_path_factory.mktemp("eks")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SANDBOX_HOME", str(folder / "home"))
        made = Sandbox(folder)
        yield made
        made.close()


@pytest.fixture(scope="module")
def deployed(sandbox: Sandbox) -> dict[str, dict[str, Any]]:
    """Resources after one update, by qualified type and name; node groups wait for each other while it runs."""
    sandbox.program(PROGRAM)
    MeetingAws.meeting = threading.Barrier(GROUPS)
    answer = sandbox.run("up", "--yes", "--skip-preview", "--parallel", "16")
    MeetingAws.meeting = None
    assert answer.code == 0, answer.output
    return {resource["urn"].split("::", 2)[2]: resource for resource in sandbox.resources()}


def test_a_cluster_has_the_children_that_the_real_package_registers(deployed: dict[str, dict[str, Any]]):
    ours = {name for name in deployed if "eks:index:" in name}
    assert ours == REAL_CHILDREN


def test_node_groups_are_constructed_at_the_same_time_and_do_not_mix(deployed: dict[str, dict[str, Any]]):
    """The barrier in the emulated AWS opens only when all groups are being created, so their constructions overlap."""
    for i in range(GROUPS):
        name = f"test:index:Platform$eks:index:ManagedNodeGroup$aws:eks/nodeGroup:NodeGroup::group{i}"
        group = deployed[name]
        assert group["parent"].endswith(f"eks:index:ManagedNodeGroup::group{i}")
        assert group["inputs"]["labels"] == {"group": str(i)}
        assert group["inputs"]["scalingConfig"]["maxSize"] == i + 1
        assert group["outputs"]["clusterName"] == deployed[f"{CLUSTER}$aws:eks/cluster:Cluster::main-eksCluster"]["id"]


def test_children_use_the_provider_that_the_component_inherits(deployed: dict[str, dict[str, Any]]):
    children = [r for name, r in deployed.items() if "eks:index:" in name and r["type"].startswith("aws:")]
    assert {child["provider"].split("::")[-2] for child in children} == {"explicit"}


def test_the_cluster_waits_for_its_role_to_have_its_policies(deployed: dict[str, dict[str, Any]]):
    cluster = deployed[f"{CLUSTER}$aws:eks/cluster:Cluster::main-eksCluster"]
    assert any(urn.endswith("main-eksRole-4b490823") for urn in cluster["dependencies"])


def test_the_kubeconfig_fetches_a_token_and_only_the_component_itself_names_a_profile(
    deployed: dict[str, dict[str, Any]],
):
    cluster = deployed[f"{CLUSTER}$aws:eks/cluster:Cluster::main-eksCluster"]
    outputs = deployed[f"{CLUSTER}::main"]["outputs"]
    command = outputs["kubeconfig"]["users"][0]["user"]["exec"]
    expected = ["--region", "eu-west-1", "eks", "get-token", "--cluster-name", cluster["id"], "--output", "json"]
    assert (command["command"], command["args"]) == ("aws", expected)
    assert json.loads(outputs["kubeconfigJson"]) == outputs["kubeconfig"]
    own = json.loads(deployed[f"{CLUSTER}$pulumi:providers:kubernetes::main-eks-k8s"]["inputs"]["kubeconfig"])
    assert own["users"][0]["user"]["exec"]["args"] == [*expected, "--profile", "operator"]


def test_the_outputs_of_the_cluster_are_those_of_the_real_package(deployed: dict[str, dict[str, Any]]):
    outputs = deployed[f"{CLUSTER}::main"]["outputs"]
    cluster = deployed[f"{CLUSTER}$aws:eks/cluster:Cluster::main-eksCluster"]
    issuer = cluster["outputs"]["identities"][0]["oidcs"][0]["issuer"]
    assert outputs["oidcProviderUrl"] == issuer
    assert outputs["oidcIssuer"] == issuer.removeprefix("https://")
    group = deployed[f"{CLUSTER}$aws:ec2/securityGroup:SecurityGroup::main-eksClusterSecurityGroup"]
    assert outputs["clusterSecurityGroupId"] == group["id"]
    assert outputs["eksCluster"]["urn"] == cluster["urn"]
    assert outputs["core"]["cluster"]["urn"] == cluster["urn"]
    assert outputs["core"]["subnetIds"] == cluster["inputs"]["vpcConfig"]["subnetIds"]


def test_a_second_update_changes_nothing(sandbox: Sandbox, deployed: dict[str, dict[str, Any]]):
    answer = sandbox.run("preview", "--expect-no-changes")
    assert answer.code == 0, answer.output


def test_refused_arguments_are_named_all_at_once(sandbox: Sandbox, deployed: dict[str, dict[str, Any]]):
    sandbox.program(
        """
        import pulumi_eks as eks

        eks.Cluster(
            "bad",
            version=1,
            fargate=True,
            access_entries={"admins": {"principal": "arn:aws:iam::123456789012:role/admins"}},
            skip_default_node_group=True,
            vpc_id="vpc-1",
        )
        """
    )
    answer = sandbox.run("preview")
    assert answer.code != 0
    assert 'eks:index:Cluster "bad" is refused:' in answer.output
    for line in (
        "version: must be a string; got 1",
        "accessEntries.admins.principal: no such argument",
        "accessEntries.admins.principalArn: required",
        "accessEntries: needs authenticationMode API or API_AND_CONFIG_MAP",
        "fargate: not emulated by the sandbox",
    ):
        assert line in answer.output


def test_a_child_that_fails_ends_the_update_in_the_clouds_words_and_the_next_one_goes_on(
    sandbox: Sandbox, deployed: dict[str, dict[str, Any]]
):
    sandbox.program(PROGRAM)
    assert sandbox.run("destroy", "--yes", "--skip-preview").code == 0
    MeetingAws.failing = "main-kube-proxy"
    failed = sandbox.run("up", "--yes", "--skip-preview")
    MeetingAws.failing = ""
    assert failed.code != 0
    assert "Instance profile quota reached" in failed.output
    assert "defect in the sandbox" not in failed.output
    resumed = sandbox.run("up", "--yes", "--skip-preview")
    assert resumed.code == 0, resumed.output
    present = {resource["urn"].split("::", 2)[2] for resource in sandbox.resources()}
    assert not REAL_CHILDREN - present


def test_destroy_leaves_nothing(sandbox: Sandbox, deployed: dict[str, dict[str, Any]]):
    sandbox.program(PROGRAM)
    answer = sandbox.run("destroy", "--yes", "--skip-preview")
    assert answer.code == 0, answer.output
    assert sandbox.resources() == []


def test_a_first_preview_leaves_unknown_what_only_the_cloud_can_tell(
    sandbox: Sandbox, deployed: dict[str, dict[str, Any]]
):
    sandbox.program(PROGRAM)
    assert sandbox.run("destroy", "--yes", "--skip-preview").code == 0
    answer = sandbox.run("preview", "--json")
    assert answer.code == 0, answer.output
    steps = {step["urn"].split("::", 2)[2]: step for step in json.loads(answer.output)["steps"]}
    assert not REAL_CHILDREN - set(steps)
    group = steps["test:index:Platform$eks:index:ManagedNodeGroup$aws:eks/nodeGroup:NodeGroup::group1"]
    inputs = group["newState"]["inputs"]
    assert inputs["scalingConfig"] == {"desiredSize": 0, "maxSize": 2, "minSize": 0}
    assert inputs["nodeRoleArn"] == inputs["clusterName"] == UNKNOWN
