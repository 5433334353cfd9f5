"""The real activator on what the program emits: a request for a model without a server is held until it has one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

import pytest
import requests
import yaml

from components.platform.activation import values
from components.platform.cold_start import ColdStartBudget, Timeouts, timeouts
from components.platform.inference import ModelServer, inference_service
from components.versions import CHARTS
from sandbox import paths
from sandbox.kubernetes.api import Client
from sandbox.kubernetes.cluster import Cluster
from sandbox.toolchain import gobuild
from sandbox.toolchain.control_plane import ControlPlaneBinaries
from tests.data_plane.ports import free_port
from tests.unit.conftest import Recorder
from tests.unit.platform_site import site

pytestmark = pytest.mark.data_plane

PLACE = "mlops-serving"
_MODULE = "github.com/kedacore/http-add-on"
_ROUTES = f"/apis/http.keda.sh/v1beta1/namespaces/{PLACE}/interceptorroutes"
_SLICES = f"/apis/discovery.k8s.io/v1/namespaces/{PLACE}/endpointslices"
_PATIENCE_SECONDS = 60.0
QUICK = timeouts(
    ColdStartBudget(node=1, image=1, weights=1, compile=0, warm_up=1, margin_percent=10),
    answer_seconds=10,
    idle_seconds=60,
)

Found = TypeVar("Found")


def until(ask: Callable[[], Found | None], what: str) -> Found:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if (answer := ask()) is not None:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {_PATIENCE_SECONDS:g} s")


class Model(BaseHTTPRequestHandler):
    """Answers like a model server: at once, or token by token."""

    protocol_version = "HTTP/1.1"
    pause_seconds = 0.4

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        if asked.get("stream"):
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for token in ("one", "two", "three", ""):
                line = f"data: {token}\n\n".encode() if token else b""
                self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
                self.wfile.flush()
                time.sleep(self.pause_seconds if token else 0)
            return
        body = json.dumps({"host": self.headers["Host"], "said": asked["say"]}).encode()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def program() -> Path:
    """The activator at the chart's version: built from its Go module, where that is asked for."""
    module = gobuild.Module(go="1.25.6", requires={_MODULE: f"v{CHARTS['keda-add-ons-http'].version}"})
    packages = (f"{_MODULE}/interceptor",)
    folder = gobuild.built("http-add-on", module, packages, paths.cache_dir())
    if folder is None and os.environ.get("DATA_PLANE_BUILD"):
        try:
            folder = gobuild.build("http-add-on", module, packages, paths.cache_dir(), print)
        except gobuild.BuildError as error:
            pytest.skip(str(error))
    if folder is None:
        pytest.skip("no activator: DATA_PLANE_BUILD=1 builds it from its Go module, some minutes once")
    return folder / "interceptor"


@pytest.fixture(scope="module")
def cluster(binaries: ControlPlaneBinaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    definitions = Path(os.environ.get("SANDBOX_CRDS", "")) / "keda-http"
    if not definitions.is_dir():
        pytest.skip("no definitions of keda-http: SANDBOX_CRDS does not name a folder that has them")
    made = Cluster(tmp_path_factory.mktemp("activation"), binaries)
    client = made.up(print)
    try:
        for file in sorted(definitions.glob("*.yaml")):
            path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
            client.request("POST", path, body=yaml.safe_load(file.read_text()))
        client.request("POST", "/api/v1/namespaces", body={"metadata": {"name": PLACE}})
        until(lambda: client.kind("http.keda.sh/v1beta1", "InterceptorRoute"), "the definitions are served")
        yield made
    finally:
        made.down()


@dataclass(frozen=True)
class Activator:
    """A running activator, and the model behind it.

    Attributes:
        process: Its process.
        url: Where it takes requests.
        admin: Where it says what it holds.
        client: The API server that it watches.
        port: Of the model server.
    """

    process: subprocess.Popen[bytes]
    url: str
    admin: str
    client: Client
    port: int

    def declare(self, name: str, waits: Timeouts = QUICK) -> str:
        """Declare a model as the program does; returns the host under which it is called."""
        server = ModelServer(
            name=name,
            namespace=PLACE,
            runtime="vllm",
            waits=waits,
            service_account=name,
            cpu_millicores=1000,
            memory_mib=8192,
            gpus=1,
        )
        objects = inference_service(server, prometheus_url="", activator=True)
        assert objects.route is not None
        # The only change: the test's server cannot have port 80, which KServe gives to every service.
        spec = {**objects.route, "target": {**objects.route["target"], "port": self.port}}
        kind = {"apiVersion": "http.keda.sh/v1beta1", "kind": "InterceptorRoute"}
        self.client.request("POST", _ROUTES, body={**kind, "metadata": {"name": name}, "spec": spec})
        host = objects.url.removeprefix("http://").partition(":")[0]
        # A proxy that has not seen the route yet answers 404.
        until(lambda: self._known(host), f"{name} is known to the activator")
        return host

    def _known(self, host: str) -> bool | None:
        try:
            requests.post(self.url, headers={"Host": host}, json={"say": "?"}, timeout=0.5)
        except requests.Timeout:
            return True  # held
        return None

    def wake(self, name: str) -> None:
        """A server of the model becomes ready, as its probe would say."""
        body = {
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": f"{name}-predictor"}},
            "addressType": "IPv4",
            "ports": [{"port": self.port}],
            "endpoints": [{"addresses": ["10.1.2.3"], "conditions": {"ready": True}}],
        }
        self.client.request("POST", _SLICES, body=body)

    def ask(self, host: str, **more: Any) -> requests.Response:
        return requests.post(self.url, headers={"Host": host}, json={"say": "hello", **more}, timeout=60)

    def held(self, name: str) -> int:
        """Requests under way for a model; the scaler asks the same of it."""
        counts = requests.get(f"{self.admin}/queue", timeout=5).json()
        return int(counts.get(f"{PLACE}/{name}", {}).get("Concurrency", 0))


def environment(chosen: dict[str, Any]) -> dict[str, str]:
    """What the chart makes of the values that we set."""
    return {
        "KEDA_HTTP_READINESS_TIMEOUT": chosen["readinessTimeout"],
        "KEDA_HTTP_RESPONSE_HEADER_TIMEOUT": chosen["responseHeaderTimeout"],
        "KEDA_HTTP_SHUTDOWN_DELAY": "1s",  # of the test's patience, not of the mesh's
        "KEDA_HTTP_DRAIN_TIMEOUT": chosen["drainTimeout"],
    }


@contextmanager
def running(program: Path, cluster: Cluster, folder: Path, recorder: Recorder) -> Generator[Activator]:
    """The activator, in a file system of its own in which the models' services have addresses."""
    if os.geteuid() or not shutil.which("unshare"):
        pytest.skip("the names of services need a hosts file of their own: root and unshare")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    names = " ".join(f"{name}-predictor.{PLACE}" for name in ("held", "streams", "late", "drained"))
    hosts = folder / "hosts"
    hosts.write_text(f"127.0.0.1 localhost {names}\n")
    proxy, admin, metrics = free_port(), free_port(), free_port()
    chosen = recorder.run(lambda: values(site()))["interceptor"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$1"', str(hosts), str(program)],
            env={
                **os.environ,
                "KUBECONFIG": str(cluster.kubeconfig),
                "KEDA_HTTP_PROXY_PORT": str(proxy),
                "KEDA_HTTP_ADMIN_PORT": str(admin),
                "OTEL_PROM_EXPORTER_PORT": str(metrics),
                **environment(chosen),
            },
            stdout=log,
            stderr=log,
        )
    base = f"http://127.0.0.1:{admin}"

    def ready() -> bool | None:
        assert process.poll() is None, (folder / "log").read_text()[-2000:]
        try:
            return requests.get(f"{base}/readyz", timeout=1).ok or None
        except requests.ConnectionError:
            return None

    try:
        until(ready, "the activator is ready")
        yield Activator(process, f"http://127.0.0.1:{proxy}/v1/completions", base, cluster.client(), server.server_port)
    finally:
        process.kill()
        process.wait()
        server.shutdown()


@pytest.fixture(scope="module")
def activator(program: Path, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Activator]:
    with running(program, cluster, tmp_path_factory.mktemp("activator"), Recorder()) as one:
        yield one


@contextmanager
def asking(activator: Activator, name: str, host: str, **more: Any) -> Generator[Future[requests.Response]]:
    """A request that is held."""
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(activator.ask, host, **more)
        until(lambda: activator.held(name) or None, f"the activator holds a request for {name}")
        yield asked


PATIENT = replace(QUICK, activation=30, request=60)


def test_the_first_request_waits_for_a_server_and_is_answered_by_it(activator: Activator):
    host = activator.declare("held", PATIENT)
    with asking(activator, "held", host) as asked:
        time.sleep(3)
        assert not asked.done(), "it was refused although a server was on its way"
        activator.wake("held")
        answer = asked.result(timeout=30)

    assert answer.status_code == 200
    assert answer.json() == {"host": host, "said": "hello"}
    assert answer.headers["X-KEDA-HTTP-Cold-Start"] == "true"
    assert activator.ask(host).headers["X-KEDA-HTTP-Cold-Start"] == "false"
    assert activator.held("held") == 0, "an answered request would keep the model awake"


def test_tokens_are_handed_on_one_by_one_after_a_cold_start(activator: Activator):
    host = activator.declare("streams", PATIENT)
    threading.Timer(1, activator.wake, ["streams"]).start()

    arrived: list[float] = []
    with requests.post(
        activator.url, headers={"Host": host}, json={"say": "", "stream": True}, timeout=60, stream=True
    ) as answer:
        for line in answer.iter_lines():
            if line:
                arrived.append(time.monotonic())
                assert activator.held("streams") == 1, "a stream that lasts must keep its server"

    assert len(arrived) == 3
    assert arrived[2] - arrived[0] > Model.pause_seconds * 1.5, "the tokens came in one piece"


def test_a_model_that_does_not_start_in_its_time_is_given_up_with_504(activator: Activator):
    host = activator.declare("late", QUICK)
    before = time.monotonic()
    answer = activator.ask(host)

    assert answer.status_code == 504
    assert QUICK.activation - 0.5 < time.monotonic() - before < QUICK.activation + 5


def test_a_model_that_was_never_declared_is_not_waited_for(activator: Activator):
    assert activator.ask(f"nobody.{PLACE}.svc.cluster.local").status_code == 404


def test_an_activator_that_must_go_hands_on_what_it_holds(
    program: Path, cluster: Cluster, tmp_path: Path, recorded: Recorder
):
    with running(program, cluster, tmp_path, recorded) as leaving:
        host = leaving.declare("drained", PATIENT)
        with asking(leaving, "drained", host) as asked:
            leaving.process.send_signal(signal.SIGTERM)
            time.sleep(3)
            assert not asked.done(), "it was dropped"
            leaving.wake("drained")
            answer = asked.result(timeout=30)

        assert answer.status_code == 200
        assert leaving.process.wait(timeout=30) == 0
