"""What a node of an emulated managed node group boots: its image and its user data."""

from __future__ import annotations

import pytest
import yaml

from sandbox.eks.images import IMAGES, ami_type_for, image_of, operating_system
from sandbox.eks.inputs import ComponentError
from sandbox.eks.userdata import Join, user_data

pytestmark = pytest.mark.unit

CLUSTER = {"name": "main", "endpoint": "https://main", "authority": "Q0E=", "service_cidr": "172.20.0.0/16"}


@pytest.mark.parametrize(
    ("system", "types", "gpu", "expected"),
    [
        ("AL2023", ["m6i.xlarge"], False, "AL2023_x86_64_STANDARD"),
        ("AL2023", ["m7g.large"], False, "AL2023_ARM_64_STANDARD"),
        ("AL2023", ["g5.xlarge", "g6.2xlarge"], True, "AL2023_x86_64_NVIDIA"),
        ("Bottlerocket", ["g5g.xlarge"], True, "BOTTLEROCKET_ARM_64_NVIDIA"),
        ("AL2023", [], False, "AL2023_x86_64_STANDARD"),
    ],
)
def test_the_image_follows_the_instances(system: str, types: list[str], gpu: bool, expected: str):
    assert ami_type_for(system, types, gpu=gpu) == expected


def test_instances_of_two_architectures_have_no_image_in_common():
    with pytest.raises(ComponentError, match="mix x86_64 and arm64"):
        ami_type_for("AL2023", ["m6i.large", "m7g.large"], gpu=False)


def test_the_newest_image_is_looked_up_where_aws_publishes_it():
    parameter = image_of("AL2023_x86_64_NVIDIA").parameter.format("1.33")
    assert parameter == "/aws/service/eks/optimized-ami/1.33/amazon-linux-2023/x86_64/nvidia/recommended/image_id"


def test_an_image_decides_the_operating_system_and_a_contradiction_is_refused():
    assert operating_system(None, None) == "AL2023"
    assert all(operating_system(ami_type, None) == image.system for ami_type, image in IMAGES.items())
    with pytest.raises(ComponentError, match="Bottlerocket is not the system of amiType AL2_x86_64"):
        operating_system("AL2_x86_64", "Bottlerocket")


def test_nodeadm_gets_the_cluster_the_flags_and_the_programs_own_sections_in_this_order():
    join = Join(
        **CLUSTER,
        labels={"role": "gpu"},
        taints=[{"key": "nvidia.com/gpu", "value": "present", "effect": "NO_SCHEDULE"}],
        kubelet_arguments="--max-pods=50",
        sections=[{"contentType": "text/x-shellscript", "content": "#!/bin/bash"}],
    )
    parts = user_data("AL2023", join).split("--BOUNDARY")
    documents = [yaml.safe_load(part.split("---\n", 1)[1]) for part in parts[1:3]]
    assert documents[0]["spec"]["cluster"]["certificateAuthority"] == "Q0E="
    assert documents[1]["spec"]["kubelet"]["flags"] == [
        "--max-pods=50",
        "--node-labels=role=gpu",
        "--register-with-taints=nvidia.com/gpu=present:NoSchedule",
    ]
    assert "#!/bin/bash" in parts[3]
    assert parts[4] == "--\n"


def test_al2_gets_its_bootstrap_script_and_bottlerocket_is_refused():
    script = user_data("AL2", Join(**CLUSTER, bootstrap_arguments="--use-max-pods false"))
    assert '--b64-cluster-ca "Q0E=" "main" --use-max-pods false' in script
    with pytest.raises(ComponentError, match="does not emulate user data for Bottlerocket"):
        user_data("Bottlerocket", Join(**CLUSTER))
