"""The real Loki, on what the chart makes of the emitted values, over an object store of the test's own.

Needs ``loki`` 3 on PATH (or ``LOKI``), helm, and the chart (``SANDBOX_CHARTS``).
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
import yaml
from moto.server import ThreadedMotoServer

from components.platform.observability.logs import LOKI_URL, PUSH_URL, Logs, LogsArgs
from sandbox import paths
from sandbox.kubernetes.helm import NotAtHandError, Releases
from sandbox.store import Store
from sandbox.toolchain import clients
from tests.data_plane.ports import free_port
from tests.data_plane.programs import program, running
from tests.unit.conftest import mocked
from tests.unit.platform_site import options, site

pytestmark = pytest.mark.data_plane

LABELS = {"source": "pods", "namespace": "mlops-serving", "app": "litellm"}
RETENTION_DAYS = 2
_DAY = 86_400


@dataclass(frozen=True)
class World:
    """A running Loki, and the bucket below it."""

    url: str
    objects: Callable[[], list[str]]

    def push(self, line: str, *, age_seconds: float = 0, pod: str = "litellm-1", **labels: str) -> requests.Response:
        at = str(time.time_ns() - int(age_seconds * 1e9))
        stream = {"stream": {**LABELS, **labels}, "values": [[at, line, {"pod": pod}]]}
        path = PUSH_URL.removeprefix(LOKI_URL)
        return requests.post(f"{self.url}{path}", json={"streams": [stream]}, timeout=10)

    def ask(self, query: str) -> list[str]:
        answer = requests.get(f"{self.url}/loki/api/v1/query_range", params={"query": query}, timeout=30)
        assert answer.ok, answer.text
        return [line for stream in answer.json()["data"]["result"] for _, line in stream["values"]]


@pytest.fixture(scope="module")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    helm = clients.find_or_get("helm", paths.cache_dir(), print)
    if not isinstance(helm, Path):
        pytest.skip(helm.reason)
    if not os.environ.get("SANDBOX_CHARTS"):
        pytest.skip("no charts: SANDBOX_CHARTS names no folder that has them")
    recorder = mocked()

    def declare() -> None:
        place = site({"highlyAvailable": False, "logs": {"retentionDays": RETENTION_DAYS, "mostStreams": 100}})
        Logs("logs", LogsArgs(site=place), options(place))

    recorder.run(declare)
    inputs = recorder.one("kubernetes:helm.sh/v3:Release", "logs-release").inputs
    folder = tmp_path_factory.mktemp("chart")
    releases = Releases(helm, "", folder / "kubeconfig", Store(folder / "recorded.sqlite"))
    try:
        rendered = releases.render(inputs, kubernetes_version="1.35.0")
    except NotAtHandError as missing:
        pytest.skip(str(missing))
    (text,) = [
        one["data"]["config.yaml"]
        for one in rendered
        if one["kind"] == "ConfigMap" and "config.yaml" in one.get("data", {})
    ]
    return yaml.safe_load(text)


@pytest.fixture(scope="module")
def world(configuration: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    loki = program("LOKI", "loki")
    version = subprocess.run([loki, "-version"], capture_output=True, text=True, check=True)
    if "version 2." in version.stdout + version.stderr:
        pytest.skip("Loki 2 knows neither this schema nor this client")
    folder = tmp_path_factory.mktemp("loki")
    port, store_port = free_port(), free_port()
    store = ThreadedMotoServer(ip_address="127.0.0.1", port=store_port)
    store.start()
    try:
        s3 = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{store_port}",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            region_name="us-east-1",
        )
        s3.create_bucket(Bucket="logs")

        def objects() -> list[str]:
            return [one["Key"] for one in s3.list_objects_v2(Bucket="logs").get("Contents", [])]

        file = folder / "config.yaml"
        file.write_text(yaml.safe_dump(_here(configuration, folder, port, store_port)))
        command = [loki, f"-config.file={file}", "-memberlist.advertise-addr=127.0.0.1", "-target=all"]
        with running(command, ready=f"http://127.0.0.1:{port}/ready", log=folder / "log"):
            yield World(f"http://127.0.0.1:{port}", objects)
    finally:
        store.stop()


def _here(given: dict[str, Any], folder: Path, port: int, store_port: int) -> dict[str, Any]:
    """What is otherwise than in the cluster: addresses, folders, and keys in place of the pod's identity."""
    config = yaml.safe_load(yaml.safe_dump(given))
    config["server"] |= {"http_listen_address": "127.0.0.1", "http_listen_port": port, "grpc_listen_port": free_port()}
    # The compactor asks the same process.
    config["common"] |= {
        "path_prefix": str(folder),
        "compactor_grpc_address": f"127.0.0.1:{config['server']['grpc_listen_port']}",
    }
    keys = {"access_key_id": "test", "secret_access_key": "test"}
    config["common"]["storage"]["object_store"]["s3"] |= {
        "endpoint": f"127.0.0.1:{store_port}",
        "insecure": True,
        **keys,
    }
    config["compactor"]["working_directory"] = str(folder / "compactor")
    config["storage_config"]["bloom_shipper"]["working_directory"] = str(folder / "blooms")
    gossip = free_port()
    itself = {"join_members": [f"127.0.0.1:{gossip}"], "advertise_port": gossip}
    config["memberlist"] |= {"bind_addr": ["127.0.0.1"], "bind_port": gossip, **itself}
    (folder / "runtime.yaml").write_text("{}\n")
    config["runtime_config"]["file"] = str(folder / "runtime.yaml")
    return config


def test_a_line_is_found_by_its_labels_and_by_the_pod_that_is_none(world: World):
    assert world.push("hello", pod="litellm-7").status_code == 204
    assert world.ask('{app="litellm"} | pod="litellm-7"') == ["hello"]
    assert world.ask('{app="litellm"} | pod="litellm-8"') == []
    series = requests.get(f"{world.url}/loki/api/v1/labels", timeout=10).json()["data"]
    assert "pod" not in series


def test_what_is_stored_lies_below_the_prefix_that_its_identity_may_write_to(world: World):
    world.push("to be stored")
    requests.post(f"{world.url}/flush", timeout=10)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not world.objects():
        time.sleep(0.5)
    assert world.objects()
    assert all(key.startswith("loki/") for key in world.objects())


def test_lines_that_could_no_longer_be_asked_for_are_not_taken(world: World):
    refused = world.push("from long ago", age_seconds=8 * _DAY)
    assert refused.status_code == 400, "an agent would try it again for ever otherwise"


def test_a_very_long_line_is_cut_and_not_refused(world: World):
    assert world.push("x" * 400_000, app="long").status_code == 204
    (line,) = world.ask('{app="long"}')
    assert len(line) == 256 * 1024


def test_labels_that_run_wild_are_stopped(world: World):
    answers = {world.push("line", app=f"wild-{number}").status_code for number in range(150)}
    assert answers == {204, 429}
