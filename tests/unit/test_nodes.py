"""Node groups, everything about them that can be decided without a cloud."""

from __future__ import annotations

import base64
import email
import json
from typing import Any

import pytest
from pulumi_aws import eks

from components.aws.nodes import NodeGroup, NodeGroupArgs, NodeRole, autoscaler_tags, node_config, pool_of, user_data
from components.capacity.ec2 import shape_of
from components.settings.nodes import NodeGroupSettings

pytestmark = pytest.mark.unit

PREFIX = "k8s.io/cluster-autoscaler/node-template/"


def settings(**values: Any) -> NodeGroupSettings:
    return NodeGroupSettings.model_validate(
        {"name": "training", "role": "gpu-training", "instanceTypes": ["g5.4xlarge", "g5.8xlarge"], "maxSize": 8}
        | values
    )


SYSTEM = settings(name="system", role="system", instanceTypes=["m6i.xlarge"], minSize=2, maxSize=6)


def group(of: NodeGroupSettings) -> NodeGroup:
    plugin = eks.Addon("plugin", addon_name="vpc-cni", cluster_name="llmops-test")
    return NodeGroup(
        of.name,
        NodeGroupArgs(
            settings=of,
            cluster_name="llmops-test",
            kubernetes_version="1.35",
            node_role_arn="arn:aws:iam::123456789012:role/nodes",
            subnet_ids=["subnet-a", "subnet-b"],
            volume_key_arn="arn:aws:kms:us-east-1:123456789012:key/storage",
            tags={"stack": "test"},
            after=[plugin],
        ),
    )


def test_gpu_nodes_have_nvidias_image_a_taint_and_labels(recorded):
    recorded.run(lambda: group(settings(capacity="spot")))

    inputs = recorded.one("aws:eks/nodeGroup:NodeGroup").inputs
    assert inputs["amiType"] == "AL2023_x86_64_NVIDIA"
    assert inputs["taints"] == [{"key": "nvidia.com/gpu", "value": "present", "effect": "NO_SCHEDULE"}]
    assert inputs["labels"] == {
        "k8s.amazonaws.com/accelerator": "a10g",
        "llmops/role": "gpu-training",
        "llmops/node-group": "training",
        "llmops/gpu-model": "a10g",
    }
    assert inputs["capacityType"] == "SPOT"
    assert inputs["instanceTypes"] == ["g5.4xlarge", "g5.8xlarge"]


def test_nodes_without_a_gpu_are_not_tainted(recorded):
    recorded.run(lambda: group(SYSTEM))

    inputs = recorded.one("aws:eks/nodeGroup:NodeGroup").inputs
    assert inputs["amiType"] == "AL2023_x86_64_STANDARD"
    assert inputs["taints"] == []
    assert inputs["scalingConfig"] == {"minSize": 2, "maxSize": 6, "desiredSize": 2}


def test_pods_cannot_reach_the_nodes_credentials_and_its_disk_is_encrypted(recorded):
    recorded.run(lambda: group(settings()))

    template = recorded.one("aws:ec2/launchTemplate:LaunchTemplate").inputs
    assert template["metadataOptions"]["httpTokens"] == "required"
    assert template["metadataOptions"]["httpPutResponseHopLimit"] == 1
    (root,) = template["blockDeviceMappings"]
    assert root["ebs"]["encrypted"] == "true"
    assert root["ebs"]["kmsKeyId"].endswith("key/storage")
    assert root["ebs"]["volumeType"] == "gp3"
    assert {spec["resourceType"] for spec in template["tagSpecifications"]} == {
        "instance",
        "volume",
        "network-interface",
    }


def test_the_autoscaler_owns_the_desired_size(recorded):
    recorded.run(lambda: group(settings()))

    assert recorded.one("aws:eks/nodeGroup:NodeGroup").ignore_changes == ("scalingConfig.desiredSize",)


def test_a_size_in_the_settings_moves_the_group_at_once(recorded):
    """EKS refuses a minimum above the desired size, which is otherwise never sent again."""
    recorded.run(lambda: group(settings(minSize=2, desiredSize=3)))

    made = recorded.one("aws:eks/nodeGroup:NodeGroup")
    assert made.inputs["scalingConfig"] == {"minSize": 2, "maxSize": 8, "desiredSize": 3}
    assert made.ignore_changes == ()


def test_no_nodes_at_all_is_a_size_too(recorded):
    recorded.run(lambda: group(settings(desiredSize=0)))

    assert recorded.one("aws:eks/nodeGroup:NodeGroup").ignore_changes == ()


def test_an_empty_group_tells_the_autoscaler_what_its_nodes_would_have(recorded):
    """What pods can have, and not what the instance has: else it starts nodes that the pod then does not fit."""
    recorded.run(lambda: group(settings()))

    tags = recorded.one("aws:eks/nodeGroup:NodeGroup").inputs["tags"]
    told = {key.removeprefix(PREFIX): value for key, value in tags.items() if key.startswith(PREFIX)}
    smallest = shape_of("g5.4xlarge", 100)
    assert told == {
        "resources/cpu": f"{smallest.cpu_millicores}m",
        "resources/memory": f"{smallest.memory_mib}Mi",
        "resources/ephemeral-storage": "501Gi",
        "resources/nvidia.com/gpu": "1",
    }
    assert smallest.cpu_millicores < 16_000


def test_the_autoscaler_waits_for_the_gpus_of_a_node_that_has_come():
    """Without this label it takes the node for one without GPUs, and starts another for the same pod."""
    assert pool_of(settings()).labels["k8s.amazonaws.com/accelerator"] == "a10g"
    assert "k8s.amazonaws.com/accelerator" not in pool_of(SYSTEM).labels


def test_nodes_come_after_the_network_plugin_and_go_before_it(recorded):
    recorded.run(lambda: group(settings()))

    assert "plugin" in recorded.one("aws:eks/nodeGroup:NodeGroup").depends_on


def test_a_group_that_always_has_a_node_needs_no_tags():
    assert autoscaler_tags(pool_of(SYSTEM)) == {}


def test_the_pool_says_what_a_node_offers():
    pool = pool_of(settings(capacity="spot"))
    assert [shape.instance_type for shape in pool.shapes] == ["g5.4xlarge", "g5.8xlarge"]
    assert (pool.min_size, pool.max_size, pool.spot) == (0, 8, True)
    assert [taint.key for taint in pool.taints] == ["nvidia.com/gpu"]


def test_the_instance_store_is_striped_where_there_is_one():
    assert node_config(settings())["spec"]["instance"] == {"localStorage": {"strategy": "RAID0"}}
    assert "instance" not in node_config(SYSTEM)["spec"]


def test_user_data_is_a_mime_document_with_one_node_config():
    message = email.message_from_bytes(base64.b64decode(user_data(settings())))
    (part,) = message.get_payload()
    assert part.get_content_type() == "application/node.eks.aws"
    config = json.loads(part.get_payload())
    assert config["kind"] == "NodeConfig"
    assert config["spec"]["kubelet"]["config"]["maxPods"] == 110


def test_nodes_may_join_and_pull_images_and_nothing_else(recorded):
    recorded.run(lambda: NodeRole("nodes", []))

    attached = recorded.of("aws:iam/rolePolicyAttachment:RolePolicyAttachment").values()
    assert {a.inputs["policyArn"].rpartition("/")[2] for a in attached} == {
        "AmazonEKSWorkerNodePolicy",
        "AmazonEC2ContainerRegistryPullOnly",
    }
