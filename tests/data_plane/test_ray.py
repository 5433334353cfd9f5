"""A job as the program writes it, on a real Ray of the image's version, with its token."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from components.platform.ray_jobs import RAY_VERSION, RayJobArgs, RuntimeEnv, Workers, ray_job
from tests.data_plane.environments import environment
from tests.data_plane.ports import free_port

pytestmark = pytest.mark.data_plane

TOKEN = "a-token-that-the-operator-would-make"
_PATIENCE_SECONDS = 420
CODE = """
import os, ray
ray.init()

@ray.remote(num_cpus=1)
def part(number):
    return number * number, os.environ["CORPUS"], ray.__version__

answers = ray.get([part.remote(number) for number in range(4)])
print("SUM", sum(one for one, _, _ in answers))
print("CORPUS", {corpus for _, corpus, _ in answers})
print("VERSION", {version for _, _, version in answers})
print("DRIVER", os.environ["CORPUS"])
"""


@dataclass(frozen=True)
class Cluster:
    """A running head with two CPUs.

    Attributes:
        ray: The command-line client.
        address: Of the dashboard, where jobs are handed in.
        environment: Of every command.
    """

    ray: Path
    address: str
    environment: dict[str, str]

    def run(self, *arguments: str, token: str | None = TOKEN) -> subprocess.CompletedProcess[str]:
        given = {key: value for key, value in self.environment.items() if key != "RAY_AUTH_TOKEN"}
        return subprocess.run(
            [str(self.ray), *arguments],
            env=given | ({"RAY_AUTH_TOKEN": token} if token else {}),
            capture_output=True,
            text=True,
            timeout=_PATIENCE_SECONDS,
            check=False,
        )


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A short path: names of sockets below it must not have more than 107 characters."""
    if not os.environ.get("DATA_PLANE_RAY"):
        pytest.skip("Ray's parts give up on one another on a busy machine: DATA_PLANE_RAY=1 runs this on an idle one")
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def cluster(home: Path) -> Iterator[Cluster]:
    folder = environment("ray")
    dashboard, gcs = free_port(), free_port()
    spec = job("true")["spec"]["rayClusterSpec"]
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "PYTHON", "VIRTUAL_ENV"))}
    found = Cluster(
        folder / "bin" / "ray",
        f"http://127.0.0.1:{dashboard}",
        {
            **clean,
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "HOME": str(home),
            "RAY_AUTH_MODE": spec["authOptions"]["mode"],
            "RAY_AUTH_TOKEN": TOKEN,
            # Its parts start one another, and give up after 30 and 60 s; on a busy machine that is too soon.
            "RAY_DASHBOARD_SUBPROCESS_MODULE_WAIT_READY_TIMEOUT": str(_PATIENCE_SECONDS),
            "RAY_worker_register_timeout_seconds": str(_PATIENCE_SECONDS),
            **{one["name"]: one["value"] for one in spec["headGroupSpec"]["template"]["spec"]["containers"][0]["env"]},
        },
    )
    # The pod's own process: without --block it would leave others behind that only `ray stop` finds, everybody's.
    server = subprocess.Popen(
        [
            *(str(found.ray), "start", "--head", "--block", "--num-cpus=2", "--include-dashboard=true"),
            *(f"--port={gcs}", "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"),
            *("--node-ip-address=127.0.0.1", "--object-store-memory=100000000", f"--temp-dir={home / 's'}"),
        ],
        env=found.environment,
        stdout=(home / "log").open("w"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while found.run("job", "list", "--address", found.address).returncode:
            if server.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((home / "log").read_text()[-2000:])
            time.sleep(2)
        yield found
    finally:
        server.terminate()
        try:
            server.wait(60)
        except subprocess.TimeoutExpired:
            server.kill()


def job(entrypoint: str) -> dict[str, Any]:
    return ray_job(
        RayJobArgs(
            name="squares",
            entrypoint=entrypoint,
            workers=Workers(least=1, most=1, vcpu=2, memory_gib=2),
            runtime_env=RuntimeEnv(variables={"CORPUS": "s3://data/raw"}),
        )
    )


def submit(cluster: Cluster, manifest: dict[str, Any], token: str | None = TOKEN) -> subprocess.CompletedProcess[str]:
    """Hand a job in as KubeRay's submitter does."""
    spec = manifest["spec"]
    return cluster.run(
        *("job", "submit", "--address", cluster.address),
        *("--runtime-env-json", json.dumps(json.loads(spec["runtimeEnvYAML"]))),
        *("--entrypoint-num-cpus", str(spec["entrypointNumCpus"])),
        *("--", *spec["entrypoint"].split()),
        token=token,
    )


def test_a_job_runs_as_it_is_written(cluster: Cluster, tmp_path: Path):
    code = tmp_path / "squares.py"
    code.write_text(CODE)

    done = submit(cluster, job(f"python {code}"))

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "SUM 14" in done.stdout
    assert "CORPUS {'s3://data/raw'}" in done.stdout, "variables reach the tasks"
    assert "DRIVER s3://data/raw" in done.stdout, "and the driver"
    assert f"VERSION {{'{RAY_VERSION}'}}" in done.stdout, "the version that the image has"


def test_a_job_that_fails_is_seen_to_fail(cluster: Cluster):
    assert submit(cluster, job("false")).returncode != 0


@pytest.mark.parametrize("token", [None, "another-token-of-no-use"])
def test_without_the_clusters_token_nothing_is_run(cluster: Cluster, tmp_path: Path, token: str | None):
    mark = tmp_path / "mark"

    done = submit(cluster, job(f"touch {mark}"), token=token)

    assert done.returncode != 0
    assert not mark.exists()


def test_the_client_is_of_the_version_that_the_image_has(cluster: Cluster):
    assert RAY_VERSION in cluster.run("--version").stdout
