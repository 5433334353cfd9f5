"""Managed endpoints with the real engine: up, changed, a canary, promoted, scaled to zero, destroyed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from sandbox.store import Record
from tests.data_plane import vertex_server
from tests.data_plane.environments import environment
from tests.data_plane.vertex_server import Vertex
from tests.engine.harness import ROOT, Sandbox
from tests.engine.test_provider_checks import translated

pytestmark = pytest.mark.engine

SAGEMAKER = """
    import json
    import os

    import pulumi
    import pulumi_aws as aws
    from pulumi_aws import ec2, kms, sns

    from components.aws.identity import AwsIdentity, ClusterIssuer
    from components.aws.model_endpoints import AwsModelHosting
    from components.aws.policy import Account
    from components.contract import ObjectGrant
    from workloads.managed.machines import machine
    from workloads.managed.sagemaker import SageMakerEndpoint, SageMakerEndpointArgs, Variant

    given = json.loads(os.environ["GIVEN"])
    provider = aws.Provider("aws", region="us-east-1")
    options = pulumi.ResourceOptions(provider=provider)
    account = Account(id="123456789012", partition="aws", region="us-east-1")
    vpc = ec2.Vpc("vpc", cidr_block="10.0.0.0/16", opts=options)
    subnets = [
        ec2.Subnet(f"subnet-{zone}", vpc_id=vpc.id, cidr_block=f"10.0.{number}.0/24", opts=options)
        for number, zone in enumerate("ab")
    ]
    key = kms.Key("key", opts=options)
    bucket_arn = "arn:aws:s3:::models"
    hosting = AwsModelHosting(
        account=account,
        provider=provider,
        identity=AwsIdentity(
            account=account,
            issuer=ClusterIssuer(provider_arn="arn:aws:iam::123456789012:oidc-provider/x", url="https://x"),
            bucket_arns={"models": bucket_arn},
            bucket_key_arns={"models": key.arn},
            secrets={},
            secrets_key_arn=key.arn,
        ),
        vpc_id=vpc.id,
        subnet_ids=[subnet.id for subnet in subnets],
        storage_key_arn=key.arn,
        logs_key_arn=key.arn,
        capture_bucket_arn="arn:aws:s3:::logs",
        capture_bucket_url="s3://logs",
        capture_key_arn=key.arn,
        alarm_topic_arn=sns.Topic("alarms", opts=options).arn,
        repositories={},
        log_retention_days=30,
    )
    made = SageMakerEndpoint(
        "model",
        SageMakerEndpointArgs(
            hosting=hosting,
            endpoint=given["endpoint"],
            image="123456789012.dkr.ecr.us-east-1.amazonaws.com/llmops/managed-triton:26.07",
            variants=[Variant(**one) for one in given["variants"]],
            grants=[ObjectGrant(bucket="models", access="read", prefix="llama/")],
            machine=machine("sagemaker", "ml.g5.2xlarge"),
            fewest=given["fewest"],
            most=4,
            concurrency=8,
            p99_seconds=5,
            error_percent=1,
            start_seconds=900,
            environment={"MODEL_NAME": "llama"},
            update=given.get("update", "blue-green"),
            capture_percent=given.get("capture", 0),
            tags={"llmops/model": "llama"},
        ),
    )
    pulumi.export("endpoint", made.endpoint_name)
"""

VERTEX = """
    import json
    import os

    import pulumi

    from workloads.managed.machines import machine
    from workloads.managed.vertex.endpoint import Place, Share, VertexEndpoint, VertexEndpointArgs

    given = json.loads(os.environ["GIVEN"])
    made = VertexEndpoint(
        "model",
        VertexEndpointArgs(
            place=Place(project="llmops-test", project_number=given["number"], location="us-central1"),
            endpoint="llmops-dev-llama",
            owner="llmops-dev",
            image="us-docker.pkg.dev/llmops-test/models/managed-triton:26.07",
            shares=[Share(**one) for one in given["shares"]],
            environment={"MODEL_NAME": "llama"},
            machine=machine("vertex", "g2-standard-12"),
            fewest=1,
            most=given.get("most", 2),
            service_account="models@llmops-test.iam.gserviceaccount.com",
        ),
    )
    pulumi.export("endpoint", made.endpoint_name)
"""


def give(sandbox: Sandbox, **given: Any) -> None:
    sandbox.variables["GIVEN"] = json.dumps(given)


def of(sandbox: Sandbox, kind: str) -> dict[str, Record]:
    """Records of a type by identifier."""
    return {record.id: record for record in sandbox.account() if record.type == kind}


def one(sandbox: Sandbox, kind: str) -> Record:
    (record,) = of(sandbox, kind).values()
    return record


def variant(url: str, name: str = "stable", weight: int = 1) -> dict[str, Any]:
    return {"name": name, "model_url": url, "weight": weight}


ENDPOINT = "aws:sagemaker/endpoint:Endpoint"
CONFIGURATION = "aws:sagemaker/endpointConfiguration:EndpointConfiguration"
MODEL = "aws:sagemaker/model:Model"
TARGET = "aws:appautoscaling/target:Target"
COMPONENT = "aws:cloudcontrol/resource:Resource"


def provider_accepts(sandbox: Sandbox, newer: Sequence[str] = ()) -> None:
    """The real provider's schema and validation take what was asked for; where the check is there.

    Types in ``newer`` are left out: what is asked of them came after the provider that the check holds.
    """
    if folder := os.environ.get("STACK_CHECKS"):
        state = translated(sandbox.export("--show-secrets"))
        kept = [one for one in state["deployment"]["resources"] if one["type"] not in newer]
        state["deployment"]["resources"] = kept
        answer = subprocess.run(
            [sys.executable, str(Path(folder) / "aws_provider_check.py")],
            input=json.dumps(state), capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert answer.returncode in (0, 2), answer.stdout + answer.stderr


def test_a_sagemaker_endpoint_lives_from_its_first_version_to_its_end(sandbox: Sandbox):
    sandbox.write(SAGEMAKER)
    give(sandbox, endpoint="llmops-dev-llama", variants=[variant("s3://models/llama/1")], fewest=1, capture=10)
    sandbox.up()
    first = one(sandbox, ENDPOINT)
    assert first.id == sandbox.outputs()["endpoint"] == "llmops-dev-llama"
    configuration = one(sandbox, CONFIGURATION)
    assert first.inputs["endpointConfigName"] == configuration.id
    provider_accepts(sandbox)
    sandbox.up("--expect-no-changes")

    # Changed: what cannot be changed is made anew, and the endpoint goes over to it.
    give(sandbox, endpoint="llmops-dev-llama", variants=[variant("s3://models/llama/2")], fewest=1, capture=10)
    preview = sandbox.succeed("preview", "--diff")
    assert "sagemaker/endpoint:Endpoint: (replace)" not in preview
    old_model = one(sandbox, MODEL).id
    sandbox.up()
    assert one(sandbox, MODEL).id != old_model
    assert one(sandbox, ENDPOINT).inputs["endpointConfigName"] == one(sandbox, CONFIGURATION).id != configuration.id

    # A canary by the weights of variants, promoted by taking the old one out.
    both = [variant("s3://models/llama/2", "stable", 90), variant("s3://models/llama/3", "canary", 10)]
    give(sandbox, endpoint="llmops-dev-llama", variants=both, fewest=2, update="rolling")
    sandbox.up()
    shares = {
        made["variantName"]: made["initialVariantWeight"]
        for made in one(sandbox, CONFIGURATION).inputs["productionVariants"]
    }
    assert shares == {"stable": 90, "canary": 10}
    assert set(of(sandbox, TARGET)) == {f"endpoint/llmops-dev-llama/variant/{name}" for name in shares}
    provider_accepts(sandbox)
    give(sandbox, endpoint="llmops-dev-llama", variants=[variant("s3://models/llama/3", "canary")], fewest=2)
    sandbox.up()
    assert len(of(sandbox, MODEL)) == 1

    sandbox.destroy()
    assert sandbox.account() == []


def test_an_endpoint_that_scales_to_zero_is_another_one_with_an_inference_component(sandbox: Sandbox):
    sandbox.write(SAGEMAKER)
    give(sandbox, endpoint="llmops-dev-llama", variants=[variant("s3://models/llama/1")], fewest=1)
    sandbox.up()
    give(sandbox, endpoint="llmops-dev-llama-zero", variants=[variant("s3://models/llama/1")], fewest=0)
    sandbox.up()
    assert set(of(sandbox, ENDPOINT)) == {"llmops-dev-llama-zero"}
    component = one(sandbox, COMPONENT)
    wanted = json.loads(component.inputs["desiredState"])
    assert wanted["EndpointName"] == "llmops-dev-llama-zero"
    assert wanted["Specification"]["ModelName"] == one(sandbox, MODEL).id
    target = one(sandbox, TARGET)
    assert (target.id, target.inputs["minCapacity"]) == ("inference-component/llmops-dev-llama-zero-model", 0)
    provider_accepts(sandbox, newer=(COMPONENT, CONFIGURATION))

    # A new model is an update of the component, in place.
    give(sandbox, endpoint="llmops-dev-llama-zero", variants=[variant("s3://models/llama/2")], fewest=0)
    sandbox.up()
    assert one(sandbox, COMPONENT).id == component.id
    assert json.loads(one(sandbox, COMPONENT).inputs["desiredState"])["Specification"]["ModelName"] == (
        one(sandbox, MODEL).id
    )
    sandbox.destroy()
    assert sandbox.account() == []


@pytest.fixture
def vertex(sandbox: Sandbox) -> Iterator[Vertex]:
    """A local server that speaks Vertex AI's API, and Google's client for the engine's provider process."""
    (packages,) = (environment("vertex") / "lib").glob("python*/site-packages")
    sandbox.variables["PYTHONPATH"] = os.pathsep.join((str(ROOT), str(packages)))
    with vertex_server.running() as server:
        sandbox.variables["VERTEX_EMULATOR"] = server.url
        sandbox.write(VERTEX)
        yield server


def share(version: int, percent: int = 100, name: str = "stable") -> dict[str, Any]:
    return {"name": name, "artifact_uri": f"gs://models/llama/{version}", "percent": percent}


def on_endpoint(vertex: Vertex) -> dict[str, int]:
    """Share of the requests by where the model's weights lie."""
    (endpoint,) = vertex.endpoints.values()
    split = endpoint["trafficSplit"]
    return {
        vertex.models[made["model"]]["artifactUri"]: split.get(made["id"], 0) for made in endpoint["deployedModels"]
    }


def test_a_vertex_endpoint_lives_from_its_first_version_to_its_end(sandbox: Sandbox, vertex: Vertex):
    give(sandbox, number=vertex_server.NUMBER, shares=[share(1)])
    sandbox.up()
    assert on_endpoint(vertex) == {"gs://models/llama/1": 100}
    endpoint = "projects/llmops-test/locations/us-central1/endpoints/llmops-dev-llama"
    assert sandbox.outputs()["endpoint"] == endpoint
    sandbox.up("--expect-no-changes")

    give(sandbox, number=vertex_server.NUMBER, shares=[share(1, 90), share(2, 10, "canary")])
    sandbox.up()
    assert on_endpoint(vertex) == {"gs://models/llama/1": 90, "gs://models/llama/2": 10}
    give(sandbox, number=vertex_server.NUMBER, shares=[share(2)], most=3)
    sandbox.up()
    assert on_endpoint(vertex) == {"gs://models/llama/2": 100}
    assert [model["artifactUri"] for model in vertex.models.values()] == ["gs://models/llama/2"]

    # Somebody changed something by hand: it is seen, and put right.
    (deployed,) = vertex.endpoints[endpoint]["deployedModels"]
    deployed["dedicatedResources"]["maxReplicaCount"] = 50
    assert "maxReplicas" in sandbox.succeed("refresh", "--yes", "--diff")
    sandbox.up()
    assert vertex.endpoints[endpoint]["deployedModels"][0]["dedicatedResources"]["maxReplicaCount"] == 3

    sandbox.destroy()
    assert (vertex.endpoints, vertex.models) == ({}, {})


def test_nothing_of_a_credential_or_of_code_is_in_the_state_of_a_vertex_endpoint(sandbox: Sandbox, vertex: Vertex):
    """What stands there beside the inputs is the name of the provider's class: new code is no new provider."""
    give(sandbox, number=vertex_server.NUMBER, shares=[share(1)])
    sandbox.variables["GOOGLE_APPLICATION_CREDENTIALS"] = "/nowhere/key-of-the-operator.json"
    sandbox.up()
    made = [one for one in sandbox.state().values() if one["type"].startswith("pulumi-python:dynamic/vertex:")]
    assert len(made) == 3
    assert vertex.url not in json.dumps(made)
    assert "key-of-the-operator" not in json.dumps(made)
    for resource in made:
        assert len(resource["inputs"]["__provider"]) < 500, "a reference to the class, and not its code"


def test_a_failed_deployment_is_finished_by_the_next_run(sandbox: Sandbox, vertex: Vertex):
    give(sandbox, number=vertex_server.NUMBER, shares=[share(1)])
    vertex.failing = {"deployModel": (429, "The following quotas are exceeded: NVIDIA_L4_GPUS")}
    answer = sandbox.pulumi("up", "--yes", "--skip-preview")
    assert answer.code != 0
    assert "NVIDIA_L4_GPUS" in answer.text
    vertex.failing = {}
    sandbox.up()
    assert on_endpoint(vertex) == {"gs://models/llama/1": 100}
    sandbox.destroy()
    assert (vertex.endpoints, vertex.models) == ({}, {})
