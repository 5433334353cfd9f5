"""``python -m ops destroy`` on the real engine, with a control plane that holds what Pulumi does not know."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.engine import Engine
from sandbox.kubernetes.api import Client, ResourceType
from sandbox.kubernetes.cluster import Cluster
from sandbox.toolchain.control_plane import ControlPlaneBinaries
from tests.engine.harness import ROOT, Answer, Sandbox

pytestmark = pytest.mark.engine

PROGRAM = """
    import pulumi, pulumi_kubernetes as k8s
    from pulumi_aws import ec2

    vpc = ec2.Vpc("vpc", cidr_block="10.0.0.0/16")
    chat = k8s.core.v1.Namespace("chat", metadata={"name": "chat"})
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    k8s.apiextensions.v1.CustomResourceDefinition(
        "scaled", metadata={"name": "scaledobjects.keda.sh"},
        spec={"group": "keda.sh", "scope": "Namespaced", "names": {"kind": "ScaledObject", "plural": "scaledobjects"},
              "versions": [{"name": "v1alpha1", "served": True, "storage": True,
                            "schema": {"openAPIV3Schema": schema}}]})
    pulumi.export("cloud", "aws")
    pulumi.export("region", "us-east-1")
    pulumi.export("clusterName", "probe-dev")
"""
GUARDED = """
    import pulumi
    from pulumi_aws import ec2

    ec2.Vpc("vpc", cidr_block="10.0.0.0/16", opts=pulumi.ResourceOptions(protect=True))
"""
CORE = {name: ResourceType("v1", kind, name, namespaced=name != "persistentvolumes") for name, kind in (
    ("services", "Service"), ("persistentvolumes", "PersistentVolume"), ("pods", "Pod"),
    ("persistentvolumeclaims", "PersistentVolumeClaim"),
)}  # fmt: skip
SCALED = ResourceType("keda.sh/v1alpha1", "ScaledObject", "scaledobjects", namespaced=True)
STATEFUL = ResourceType("apps/v1", "StatefulSet", "statefulsets", namespaced=True)


def ops(sandbox: Sandbox, *arguments: str) -> Answer:
    """Run a command of ops on the stack that this sandbox holds."""
    environment = {**sandbox.environment, "LLMOPS_RECORDS": str(sandbox.home / "records")}
    done = subprocess.run(
        [sys.executable, "-m", "ops", *arguments, "--stack", "dev", "--sandbox"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return Answer(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def with_cluster(
    engine: Engine, binaries: ControlPlaneBinaries, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sandbox]:
    """A sandbox with a control plane, which outlives the stacks of its tests as a cluster of one's own does."""
    assert engine
    assert binaries
    if shutil.which(os.environ.get("KUBECTL", "kubectl")) is None:
        pytest.skip("kubectl is not there")
    folder = tmp_path_factory.mktemp("destroy")
    project = folder / "program"
    project.mkdir()
    (project / "Pulumi.yaml").write_text("name: probe\nruntime: python\n")
    (project / "Pulumi.dev.yaml").write_text("config: {}\n")
    made = Sandbox(project, folder / "home", {"SANDBOX_CONTROL_PLANE": "", "SANDBOX_AWAIT_SECONDS": "120"})
    made.write(PROGRAM)
    yield made
    made.end()
    _cluster(made).down()


@pytest.fixture
def whole(with_cluster: Sandbox) -> tuple[Sandbox, Client]:
    """The stack of PROGRAM, up."""
    with_cluster.up()
    return with_cluster, _cluster(with_cluster).client()


def _cluster(sandbox: Sandbox) -> Cluster:
    return Cluster(sandbox.home / "stacks" / "dev" / "kubernetes")


def plant(client: Client) -> None:
    """What controllers make, with the finalizers of controllers that are not there."""
    put(client, CORE["services"], "door", {"spec": {"type": "LoadBalancer", "ports": [{"port": 443}]}},
        finalizers=["service.k8s.aws/resources"])  # fmt: skip
    put(client, SCALED, "busy", {"spec": {}}, finalizers=["finalizer.keda.sh"])
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "8Gi"}}, "storageClassName": ""}
    disk = {
        "capacity": {"storage": "8Gi"}, "accessModes": ["ReadWriteOnce"], "persistentVolumeReclaimPolicy": "Retain",
        "csi": {"driver": "ebs.csi.aws.com", "volumeHandle": "vol-0planted"},
        "claimRef": {"namespace": "chat", "name": "index"},
    }  # fmt: skip
    put(client, CORE["persistentvolumes"], "pvc-1", {"spec": disk},
        finalizers=["external-provisioner.volume.kubernetes.io/finalizer"],
        annotations={"pv.kubernetes.io/provisioned-by": "ebs.csi.aws.com"})  # fmt: skip
    put(client, CORE["persistentvolumeclaims"], "index", {"spec": {**claim, "volumeName": "pvc-1"}})
    pod = {
        "containers": [{"name": "main", "image": "x", "volumeMounts": [{"name": "index", "mountPath": "/index"}]}],
        "volumes": [{"name": "index", "persistentVolumeClaim": {"claimName": "index"}}],
    }
    labels = {"app": "vectors"}
    spec = {
        "replicas": 1, "selector": {"matchLabels": labels}, "serviceName": "vectors",
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }  # fmt: skip
    put(client, STATEFUL, "vectors", {"spec": spec})


def put(client: Client, resource: ResourceType, name: str, rest: dict[str, Any], **metadata: Any) -> None:
    place = {"namespace": "chat"} if resource.namespaced else {}
    body = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": name, **place, **metadata},
        **rest,
    }
    client.request("POST", resource.path(place.get("namespace")), body=body)


def test_what_controllers_made_is_found_goes_in_order_and_the_destroy_ends(whole: tuple[Sandbox, Client]):
    """Planned, begun with too little time, gone on with, and gone: volume, load balancer, finalizers and all."""
    sandbox, client = whole
    plant(client)

    planned = ops(sandbox, "destroy", "--json")
    assert planned.code == 0, planned.text
    plan = json.loads(planned.stdout)
    phases = {phase["name"]: {item["name"]: item for item in phase["items"]} for phase in plan["phases"]}
    assert [name for name in phases if phases[name]] == ["what runs", "load balancers", "volumes"]
    assert phases["what runs"]["busy"]["finalizers"][0]["known"]
    assert phases["load balancers"].keys() == {"door"}
    assert phases["volumes"]["pvc-1"]["makes"] == "disk vol-0planted"
    assert {"vectors", "index"} <= phases["volumes"].keys()
    assert client.get(CORE["services"], "chat", "door"), "a plan changes nothing"

    hurried = ops(sandbox, "destroy", "--yes", "--patience", "0")
    assert hurried.code == 1, hurried.text
    assert "what runs: ScaledObject chat/busy" in hurried.text
    assert client.get(CORE["services"], "chat", "door"), "the order is kept: load balancers come later"
    assert sandbox.state(), "the engine does not begin before the rest is gone"

    done = ops(sandbox, "destroy", "--yes", "--patience", "0.1", "--json")
    assert done.code == 0, done.text
    told = json.loads(done.stdout)
    assert told["destroyed"]
    released = " ".join(told["released"])
    assert "finalizer.keda.sh" in released
    assert "look for: load balancer" in released
    assert "look for: volume" in released
    assert client.items("/api/v1/persistentvolumes") == []
    assert client.items("/api/v1/namespaces", fieldSelector="metadata.name=chat") == []
    assert (sandbox.account(), sandbox.state()) == ([], {})
    record = json.loads((sandbox.home / "records" / "dev.json").read_text())
    assert record["volumes"] == ["vol-0planted"], "what to look for in the account is known when all else is gone"
    assert record["namespaces"] == ["chat"]

    again = ops(sandbox, "destroy", "--yes")
    assert again.code == 0, again.text


def test_a_finalizer_that_appears_while_the_engine_runs_does_not_hold_it_up(whole: tuple[Sandbox, Client]):
    """An object that no phase looks at: it goes with its namespace, and its controller is gone by then."""
    sandbox, client = whole
    put(client, CORE["pods"], "step", {"spec": {"containers": [{"name": "main", "image": "x"}]}},
        finalizers=["workflows.argoproj.io/status"])  # fmt: skip
    done = ops(sandbox, "destroy", "--yes", "--patience", "0.1", "--json")
    assert done.code == 0, done.text
    assert "workflows.argoproj.io" in " ".join(json.loads(done.stdout)["released"])
    assert sandbox.state() == {}


def test_a_finalizer_of_which_nothing_is_known_stops_the_destroy_before_the_engine_until_somebody_decides(
    whole: tuple[Sandbox, Client],
):
    sandbox, client = whole
    put(client, CORE["services"], "strange", {"spec": {"type": "LoadBalancer", "ports": [{"port": 443}]}},
        finalizers=["example.org/mine"])  # fmt: skip
    stuck = ops(sandbox, "destroy", "--yes", "--patience", "0.02", "--json")
    assert stuck.code == 1, stuck.text
    told = json.loads(stuck.stdout)
    assert (told["destroyed"], told["released"]) == (False, [])
    (line,) = told["stuck"]
    assert "waits for example.org/mine, of which nothing is known here" in line
    assert "kubectl patch --namespace chat Service/strange" in line
    held = client.get(CORE["services"], "chat", "strange")
    assert held
    assert held["metadata"]["finalizers"] == ["example.org/mine"]
    assert sandbox.state(), "the engine has begun"

    path = CORE["services"].path("chat", "strange")
    client.request("PATCH", path, body={"metadata": {"finalizers": None}}, patch="merge")
    done = ops(sandbox, "destroy", "--yes", "--patience", "0.1")
    assert done.code == 0, done.text
    assert (sandbox.account(), sandbox.state()) == ([], {})


def test_a_protected_stack_is_refused_by_name_and_goes_only_when_its_name_is_typed_again(sandbox: Sandbox):
    sandbox.write(GUARDED)
    sandbox.up()
    vpc = sandbox.state()["vpc"]

    plan = ops(sandbox, "destroy", "--json")
    assert plan.code == 1
    assert [one["name"] for one in json.loads(plan.stdout)["protected"]] == [vpc["id"]]
    for arguments in (("--yes",), ("--yes", "--unprotect"), ("--yes", "--unprotect", "--confirm", "prod")):
        refused = ops(sandbox, "destroy", *arguments)
        assert refused.code == 1, refused.text
        assert "--confirm dev" in refused.stderr
    assert vpc["urn"] in ops(sandbox, "destroy", "--yes").stderr
    assert len(sandbox.account()) == 1

    # Somebody lets it go by hand: it was protected, so the name is still wanted.
    sandbox.succeed("state", "unprotect", "--all", "--yes")
    assert ops(sandbox, "destroy", "--yes").code == 1
    assert len(sandbox.account()) == 1

    done = ops(sandbox, "destroy", "--yes", "--unprotect", "--confirm", "dev")
    assert done.code == 0, done.text
    assert (sandbox.account(), sandbox.state()) == ([], {})


def test_a_delete_that_is_refused_once_is_gone_on_with(sandbox: Sandbox):
    sandbox.write(PROGRAM)
    sandbox.up()
    armed = (
        "fault",
        "add",
        "--type",
        "aws:ec2/vpc:Vpc",
        "--operation",
        "delete",
        "--error",
        "DependencyViolation: in use",
    )
    assert sandbox.run(*armed).code == 0
    done = ops(sandbox, "destroy", "--yes")
    assert done.code == 0, done.text
    assert "DependencyViolation: in use" in done.stderr, "the engine's own words are shown"
    assert "once more" in done.stderr
    assert sandbox.account() == []
