"""A SageMaker endpoint: what it is made of, what it may do, and how it goes back."""

from __future__ import annotations

import json
from typing import Any

import pulumi_aws as aws
import pytest
from aws_stack import HERE, KEY, OTHER_KEY, TOPIC, rendered, run, statements
from conftest import ACCOUNT, REGION, Recorder

from components.aws.identity import AwsIdentity, ClusterIssuer, endpoint_statements
from components.aws.model_endpoints import (
    AwsModelHosting,
    capture_statements,
    network_statements,
    repository_arn,
)
from components.contract import EndpointGrant, ObjectGrant
from workloads.managed.machines import Machine, machine
from workloads.managed.sagemaker import SageMakerEndpoint, SageMakerEndpointArgs, Variant
from workloads.managed.sagemaker_parts import component_name, takes_our_key, update_policy

pytestmark = pytest.mark.unit

NAME = "llmops-test-llama"
IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/llmops-test/managed-triton:26.07"
BUCKET = "arn:aws:s3:::llmops-test-models"


def hosting() -> AwsModelHosting:
    identity = AwsIdentity(
        account=HERE,
        issuer=ClusterIssuer(provider_arn=f"arn:aws:iam::{ACCOUNT}:oidc-provider/x", url="https://x"),
        bucket_arns={"models": BUCKET},
        bucket_key_arns={"models": OTHER_KEY},
        secrets={},
        secrets_key_arn=KEY,
    )
    return AwsModelHosting(
        account=HERE,
        provider=aws.Provider("aws", region=REGION),
        identity=identity,
        vpc_id="vpc-1",
        subnet_ids=("subnet-a", "subnet-b"),
        storage_key_arn=KEY,
        logs_key_arn=KEY,
        capture_bucket_arn="arn:aws:s3:::llmops-test-logs",
        capture_bucket_url="s3://llmops-test-logs",
        capture_key_arn=OTHER_KEY,
        alarm_topic_arn=TOPIC,
        repositories={},
        log_retention_days=30,
    )


def endpoint(**changes: Any) -> SageMakerEndpoint:
    kind = machine("sagemaker", "ml.g5.2xlarge")
    assert kind is not None
    given: dict[str, Any] = {
        "hosting": hosting(),
        "endpoint": NAME,
        "image": IMAGE,
        "variants": [Variant(name="stable", model_url="s3://llmops-test-models/llama/1")],
        "grants": [ObjectGrant(bucket="models", access="read", prefix="llama/1/")],
        "machine": kind,
        "fewest": 1,
        "most": 4,
        "concurrency": 8,
        "p99_seconds": 5,
        "error_percent": 2,
        "start_seconds": 900,
        "environment": {"MODEL_NAME": "llama"},
        **changes,
    }
    return SageMakerEndpoint("model", SageMakerEndpointArgs(**given))


ENDPOINT = "aws:sagemaker/endpoint:Endpoint"
CONFIGURATION = "aws:sagemaker/endpointConfiguration:EndpointConfiguration"
MODEL = "aws:sagemaker/model:Model"


def names(recorded: Recorder, kind: str) -> str:
    return recorded.one(kind).inputs["name"]


def test_the_container_stands_in_private_subnets_and_reaches_nothing(recorded: Recorder):
    run(endpoint)
    model = recorded.one(MODEL).inputs
    assert model["enableNetworkIsolation"] is True
    assert model["vpcConfig"]["subnets"] == ["subnet-a", "subnet-b"]
    (source,) = model["primaryContainer"]["modelDataSource"]["s3DataSources"]
    assert source == {
        "s3Uri": "s3://llmops-test-models/llama/1/", "s3DataType": "S3Prefix", "compressionType": "None",
    }  # fmt: skip


def test_what_cannot_be_changed_has_a_name_that_changes_with_it(recorded: Recorder):
    run(endpoint)
    first = names(recorded, MODEL), names(recorded, CONFIGURATION), names(recorded, ENDPOINT)
    recorded.resources.clear()
    run(endpoint)
    assert (names(recorded, MODEL), names(recorded, CONFIGURATION), names(recorded, ENDPOINT)) == first
    recorded.resources.clear()
    run(lambda: endpoint(variants=[Variant(name="stable", model_url="s3://llmops-test-models/llama/2")]))
    assert names(recorded, MODEL) != first[0]
    assert names(recorded, CONFIGURATION) != first[1]
    assert names(recorded, ENDPOINT) == first[2]


def test_a_machine_with_its_own_disk_takes_no_key_and_one_with_a_volume_takes_ours(recorded: Recorder):
    """SageMaker refuses a key for machines whose storage is their own."""
    run(endpoint)
    assert "kmsKeyArn" not in recorded.one(CONFIGURATION).inputs
    assert "VolumeKey" not in statements(recorded, "aws:iam/rolePolicy:RolePolicy")
    recorded.resources.clear()
    with_volume = Machine(
        name="ml.p3.2xlarge", service="sagemaker", gpu="v100", gpus=1, vcpu=8, memory_gib=61, local_disk_gib=0,
        usd_per_hour=3.825,
    )  # fmt: skip
    assert takes_our_key(with_volume)
    run(lambda: endpoint(machine=with_volume))
    assert recorded.one(CONFIGURATION).inputs["kmsKeyArn"] == KEY
    assert statements(recorded, "aws:iam/rolePolicy:RolePolicy")["VolumeKey"]["Resource"] == [KEY]


def test_the_role_reads_the_weights_and_the_image_of_this_endpoint_only(recorded: Recorder):
    run(endpoint)
    said = statements(recorded, "aws:iam/rolePolicy:RolePolicy")
    assert said["Objects0"]["Resource"] == [f"{BUCKET}/llama/1/*"]
    assert said["ObjectKey0"]["Resource"] == [OTHER_KEY]
    repository = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/llmops-test/managed-triton"
    assert said["PullImage"]["Resource"] == [repository]
    assert said["WriteLogs"]["Resource"] == [
        f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/sagemaker/Endpoints/{NAME}:*"
    ]
    assert "KeepRequests" not in said
    trust = json.loads(recorded.one("aws:iam/role:Role").inputs["assumeRolePolicy"])["Statement"][0]
    assert trust["Principal"] == {"Service": "sagemaker.amazonaws.com"}
    assert trust["Condition"]["StringEquals"] == {"aws:SourceAccount": ACCOUNT}


def test_network_interfaces_are_made_in_our_subnets_with_our_group_only(recorded: Recorder):
    said: list[Any] = []
    run(lambda: said.extend(network_statements(hosting(), "arn:aws:ec2:us-east-1:123456789012:security-group/sg-1")))
    joined = rendered(said)["JoinNetwork"]
    assert joined["Resource"] == [
        f"arn:aws:ec2:{REGION}:{ACCOUNT}:network-interface/*",
        f"arn:aws:ec2:{REGION}:{ACCOUNT}:security-group/sg-1",
        f"arn:aws:ec2:{REGION}:{ACCOUNT}:subnet/subnet-a",
        f"arn:aws:ec2:{REGION}:{ACCOUNT}:subnet/subnet-b",
    ]
    assert "Condition" in rendered(said)["LeaveNetwork"]


def test_captured_requests_go_below_the_endpoints_own_prefix_under_a_key(recorded: Recorder):
    run(lambda: endpoint(capture_percent=20))
    capture = recorded.one(CONFIGURATION).inputs["dataCaptureConfig"]
    assert capture["initialSamplingPercentage"] == 20
    assert capture["destinationS3Uri"] == f"s3://llmops-test-logs/captured/{NAME}"
    assert capture["kmsKeyId"] == OTHER_KEY
    said: list[Any] = []
    run(lambda: said.extend(capture_statements(hosting(), NAME)))
    assert rendered(said)["KeepRequests"]["Resource"] == [f"arn:aws:s3:::llmops-test-logs/captured/{NAME}/*"]


def test_an_update_goes_back_when_requests_fail_or_answers_are_late(recorded: Recorder):
    run(endpoint)
    alarms = recorded.of("aws:cloudwatch/metricAlarm:MetricAlarm")
    late, failing = alarms["model-slow"].inputs, alarms["model-errors"].inputs
    assert (late["threshold"], late["extendedStatistic"]) == (5e6, "p99"), "SageMaker counts in microseconds"
    assert failing["threshold"] == 0.02
    for alarm in (late, failing):
        assert alarm["dimensions"] == {"EndpointName": NAME, "VariantName": "stable"}
        assert alarm["alarmActions"] == [TOPIC]
    policy = recorded.one(ENDPOINT).inputs["deploymentConfig"]
    assert len(policy["autoRollbackConfiguration"]["alarms"]) == 2
    assert recorded.one(ENDPOINT).depends_on >= {"model-slow", "model-errors", "model-output"}


@pytest.mark.parametrize(
    ("update", "way"),
    [("blue-green", "ALL_AT_ONCE"), ("canary", "CANARY")],
)
def test_the_declared_way_of_updating_is_asked_for(update: Any, way: str):
    policy = update_policy(update, ["a"])
    assert policy["blue_green_update_policy"]["traffic_routing_configuration"]["type"] == way
    assert "rolling_update_policy" not in policy
    rolling = update_policy("rolling", ["a"])
    assert "blue_green_update_policy" not in rolling
    assert rolling["auto_rollback_configuration"] == policy["auto_rollback_configuration"]


def test_variants_share_the_requests_by_weight_and_grow_each_by_itself(recorded: Recorder):
    variants = [
        Variant(name="stable", model_url="s3://llmops-test-models/llama/1", weight=90),
        Variant(name="canary", model_url="s3://llmops-test-models/llama/2", weight=10),
    ]
    run(lambda: endpoint(variants=variants, fewest=2))
    made = recorded.one(CONFIGURATION).inputs["productionVariants"]
    assert [(one["variantName"], one["initialVariantWeight"]) for one in made] == [("stable", 90), ("canary", 10)]
    assert len({one["modelName"] for one in made}) == 2
    targets = recorded.of("aws:appautoscaling/target:Target").values()
    assert {target.inputs["resourceId"] for target in targets} == {
        f"endpoint/{NAME}/variant/stable", f"endpoint/{NAME}/variant/canary",
    }  # fmt: skip


def test_an_endpoint_of_fixed_size_has_no_scaler(recorded: Recorder):
    run(lambda: endpoint(fewest=2, most=2))
    assert not recorded.of("aws:appautoscaling/target:Target")


def test_scaling_to_zero_takes_an_inference_component_and_an_alarm_that_starts_the_first_copy(recorded: Recorder):
    run(lambda: endpoint(fewest=0))
    (variant,) = recorded.one(CONFIGURATION).inputs["productionVariants"]
    assert "modelName" not in variant
    assert variant["managedInstanceScaling"] == {"status": "ENABLED", "minInstanceCount": 0, "maxInstanceCount": 4}
    component = recorded.one("aws:cloudcontrol/resource:Resource").inputs
    assert component["typeName"] == "AWS::SageMaker::InferenceComponent"
    wanted = json.loads(component["desiredState"])
    assert wanted["Specification"]["ModelName"] == names(recorded, MODEL)
    assert wanted["Specification"]["ComputeResourceRequirements"]["NumberOfAcceleratorDevicesRequired"] == 1
    target = recorded.one("aws:appautoscaling/target:Target").inputs
    assert (target["minCapacity"], target["maxCapacity"]) == (0, 4)
    asked = recorded.of("aws:cloudwatch/metricAlarm:MetricAlarm")["model-asked"].inputs
    assert asked["metricName"] == "NoCapacityInvocationFailures"
    assert asked["dimensions"] == {"InferenceComponentName": component_name(NAME)}
    assert "okActions" not in asked, "the end of the alarm must not start another copy"


def test_an_endpoint_with_several_variants_cannot_scale_to_zero(recorded: Recorder):
    several = [Variant(name=name, model_url="s3://models/x") for name in ("stable", "canary")]
    with pytest.raises(ValueError, match="set fewest to 1"):
        recorded.run(lambda: endpoint(variants=several, fewest=0))


def test_everything_is_made_by_the_provider_of_the_foundation(recorded: Recorder):
    run(endpoint)
    made = [one for one in recorded.resources if one.type.startswith("aws:")]
    assert {one.provider for one in made} == {"aws"}


def test_an_image_from_elsewhere_than_ecr_is_refused():
    assert repository_arn(IMAGE, HERE).endswith("repository/llmops-test/managed-triton")
    for image in ("nvcr.io/nvidia/tritonserver:26.07", f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/x:1"):
        with pytest.raises(ValueError, match="ECR in us-east-1"):
            repository_arn(image, HERE)


def test_the_gateway_may_call_exactly_the_endpoints_that_it_is_told():
    grant = EndpointGrant(service="sagemaker", endpoints=(NAME,), components=(f"{NAME}-model",), region=REGION)
    (said,) = rendered(endpoint_statements(grant, HERE, 0)).values()
    assert said["Action"] == ["sagemaker:InvokeEndpoint", "sagemaker:InvokeEndpointWithResponseStream"]
    assert said["Resource"] == [
        f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint/{NAME}",
        f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:inference-component/{NAME}-model",
    ]
    abroad = EndpointGrant(service="vertex", endpoints=("x",), region="us-central1")
    assert endpoint_statements(abroad, HERE, 0) == []


def test_the_role_is_assumed_only_once_it_may_do_its_work(recorded: Recorder):
    """SageMaker reads weights and image as soon as a model is made."""
    run(endpoint)
    assert "model-identity-permissions" in recorded.one(MODEL).depends_on
