"""An existing cluster is asked what it has before anything is created, and refused with all that is missing."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import onprem_stack
import pulumi
import pytest
import yaml
from conftest import Recorder

from components.onprem import facts as asking
from components.onprem.checks import problems
from components.onprem.facts import UnreachableError, read

pytestmark = pytest.mark.unit


def test_a_cluster_that_has_everything_is_accepted():
    settings = onprem_stack.settings()
    assert problems(onprem_stack.facts(settings), settings) == []


def test_everything_that_is_missing_is_said_at_once_and_nothing_is_created(recorded: Recorder):
    settings = onprem_stack.settings()
    facts = onprem_stack.facts(settings)
    worse = replace(
        facts,
        version="1.27",
        nodes=tuple(node for node in facts.nodes if not node.name.startswith("inference")),
        storage_classes={},
        api_server_addresses=("10.9.9.9",),
        may_create_namespaces=False,
    )
    changes = {key: getattr(worse, key) for key in worse.__dataclass_fields__}
    with pytest.raises(pulumi.RunError) as refused:
        recorded.run(lambda: onprem_stack.build(settings, **changes))
    text = str(refused.value)
    for path in (
        "cluster.kubernetesVersion",
        "nodeGroups[2].minSize",
        "onprem.storage.blockClass",
        "onprem.network.apiServer",
        "onprem.kubeconfig",
    ):
        assert path in text
    assert recorded.resources == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ready": False}, "takes no pods"),
        ({"has_gpu": False}, "no GPU is seen"),
        ({"has_gpu": True, "gpus": 2}, "has 2 GPUs, the machine dgx-h100 8"),
        ({"taints": ()}, "kubectl taint node training-0 nvidia.com/gpu=present:NoSchedule"),
        ({"memory_mib": 1024}, "offers 1024 MiB"),
    ],
)
def test_a_server_that_is_not_what_the_settings_say_is_named(change: dict[str, Any], said: str):
    settings = onprem_stack.settings()
    facts = onprem_stack.facts(settings)
    nodes = tuple(replace(node, **change) if node.name == "training-0" else node for node in facts.nodes)
    found = problems(replace(facts, nodes=nodes), settings)
    assert len(found) == 1
    assert "training-0" in found[0]
    assert said in found[0]


def test_openshift_is_noticed_when_the_settings_do_not_say_so():
    settings = onprem_stack.settings()
    found = problems(onprem_stack.facts(settings, api_groups=frozenset({"security.openshift.io"})), settings)
    assert found == ["onprem.openshift: the cluster is OpenShift"]


_ANSWERS: dict[str, Any] = {
    "/version": {"major": "1", "minor": "35+"},
    "/api/v1/nodes": {
        "items": [
            {
                "metadata": {
                    "name": "gpu-0",
                    "labels": {"nvidia.com/gpu.present": "true", "llmops/role": "gpu-training"},
                },
                "spec": {"taints": [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}]},
                "status": {
                    "allocatable": {"cpu": "63500m", "memory": "263856132Ki", "nvidia.com/gpu": "8"},
                    "conditions": [{"type": "Ready", "status": "True"}],
                },
            }
        ]
    },
    "/apis/storage.k8s.io/v1/storageclasses": {"items": [{"metadata": {"name": "block"}, "provisioner": "block.test"}]},
    "/apis/storage.k8s.io/v1/csidrivers": {"items": [{"metadata": {"name": "block.test"}}]},
    "/apis": {"groups": [{"name": "apps"}]},
    "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices": {
        "items": [{"endpoints": [{"addresses": ["192.168.10.12"]}, {"addresses": ["192.168.10.11"]}]}]
    },
    "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews": {"status": {"allowed": True}},
}


class _Server(http.server.ThreadingHTTPServer):
    asked: list[tuple[str, str]]


class _Answers(http.server.BaseHTTPRequestHandler):
    def _answer(self) -> None:
        path = self.path.partition("?")[0]
        cast("_Server", self.server).asked.append((self.command, path))
        known = path in _ANSWERS and self.headers["Authorization"] == "Bearer not-a-real-token"
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(200 if known else 404 if path not in _ANSWERS else 401)
        self.end_headers()
        self.wfile.write(json.dumps(_ANSWERS.get(path, {})).encode())

    do_GET = do_POST = _answer  # noqa: N815 the protocol's names

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[_Server]:
    with _Server(("127.0.0.1", 0), _Answers) as running:
        running.asked = []
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def kubeconfig(server: _Server, **user: Any) -> str:
    config = yaml.safe_load(onprem_stack.KUBECONFIG)
    config["clusters"][0]["cluster"]["server"] = f"http://127.0.0.1:{server.server_port}"
    config["users"][0]["user"] = user or config["users"][0]["user"]
    return yaml.safe_dump(config)


def test_what_the_api_answers_is_what_the_checks_see(server: _Server):
    found = read(kubeconfig(server))
    assert found.version == "1.35"
    assert found.api_server_addresses == ("192.168.10.11", "192.168.10.12")
    (node,) = found.nodes
    assert (node.role, node.gpus, node.cpu_millicores, node.memory_mib) == ("gpu-training", 8, 63500, 257672)
    assert node.has_gpu
    assert node.ready
    assert found.may_create_namespaces
    assert found.snapshot_drivers == frozenset()  # a cluster without snapshots has no such API


def test_asking_changes_nothing(server: _Server):
    read(kubeconfig(server))
    changing = [path for verb, path in server.asked if verb != "GET"]
    assert changing == ["/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"]


def test_a_cluster_that_lets_nobody_in_is_told_apart_from_one_that_lacks_something(server: _Server):
    with pytest.raises(UnreachableError, match="answers 401"):
        read(kubeconfig(server, token="another"))


def test_a_kubeconfig_that_runs_a_program_is_refused_before_it_is_run():
    config = yaml.safe_load(onprem_stack.KUBECONFIG)
    config["users"][0]["user"] = {"exec": {"command": "false"}}
    with pytest.raises(UnreachableError, match="make a service account"):
        read(yaml.safe_dump(config))


@pytest.mark.parametrize("text", ["", "just words", "contexts: []", "a: [b"])
def test_a_file_that_is_no_kubeconfig_is_refused_in_one_line(text: str):
    with pytest.raises(UnreachableError, match="not a kubeconfig"):
        read(text)


def test_where_no_kubeconfig_is_named_the_preview_says_the_three_ways(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("KUBECONFIG", raising=False)
    with pytest.raises(UnreachableError, match=r"set path, the variable KUBECONFIG, or the stack's secret"):
        asking.find_kubeconfig("", "KUBECONFIG")
