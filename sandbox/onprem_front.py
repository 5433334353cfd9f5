"""The door by which a program looks at its own cluster: the control plane's answers, in the words of that cluster.

The sandbox's control plane is of one version, on loopback, without snapshots. What a program asks before it begins must
be answered as the cluster would that the stack's settings describe; everything else is the API server's own answer.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import requests
import yaml

from sandbox.kubernetes.api import ApiError, Client, Verb

_SLICES: Final = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
_SNAPSHOTS: Final = "/apis/snapshot.storage.k8s.io/v1/volumesnapshotclasses"
_METRICS: Final = "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io"


@dataclass(frozen=True)
class Appearance:
    """What the cluster says of itself.

    Attributes:
        version: Minor version, such as ``1.35``.
        api_servers: Addresses at which its API servers answer.
        snapshot_driver: Driver that has a class of snapshots; empty for none.
        openshift: It is OpenShift.
        metrics_server: It serves ``metrics.k8s.io`` before the program comes.
    """

    version: str
    api_servers: tuple[str, ...]
    snapshot_driver: str = ""
    openshift: bool = False
    metrics_server: bool = False

    def answer(self, path: str, real: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """What the cluster answers at a path; None for what the API server itself does."""
        if path == "/version":
            major, _, minor = self.version.partition(".")
            return {**real, "major": major, "minor": minor, "gitVersion": f"v{self.version}.0"}
        if path == _SLICES:
            return {"items": [{"endpoints": [{"addresses": [address]} for address in self.api_servers]}]}
        if path == _SNAPSHOTS and self.snapshot_driver:
            return {"items": [{"metadata": {"name": "snapshots"}, "driver": self.snapshot_driver}]}
        if path == "/apis" and self.openshift:
            return {**real, "groups": [*real.get("groups", ()), {"name": "security.openshift.io"}]}
        if path == _METRICS and self.metrics_server:
            service = {"namespace": "kube-system", "name": "metrics-server"}
            return {"spec": {"service": service}, "status": {"conditions": [{"type": "Available", "status": "True"}]}}
        return None


class Front:
    """A server on loopback; a context in which the kubeconfig leads to it."""

    def __init__(self, client: Client, appearance: Appearance, kubeconfig: Path) -> None:
        """Prepare the door to ``client``'s API server; its kubeconfig is written to ``kubeconfig``."""
        self._kubeconfig = kubeconfig
        self._server = _listening(kubeconfig.with_suffix(".port"), _handler(client, appearance))
        self._server.daemon_threads = True

    def open(self) -> Path:
        """Begin to answer, and return the kubeconfig."""
        threading.Thread(target=self._server.serve_forever, name="own-cluster", daemon=True).start()
        host, port = self._server.server_address[:2]
        nobody: dict[str, Any] = {}
        config: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "own", "cluster": {"server": f"http://{host!s}:{port}"}}],
            "contexts": [{"name": "own", "context": {"cluster": "own", "user": "sandbox"}}],
            "current-context": "own",
            "users": [{"name": "sandbox", "user": nobody}],
        }
        self._kubeconfig.write_text(yaml.safe_dump(config))
        return self._kubeconfig

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._kubeconfig.unlink(missing_ok=True)


def _listening(kept: Path, handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    """A server at the port of last time: the kubeconfig is in the stack's state, where another would be a change."""
    try:
        server = ThreadingHTTPServer(("127.0.0.1", int(kept.read_text())), handler)
    except (OSError, ValueError):  # the first time, or somebody has the port
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    kept.write_text(str(server.server_address[1]))
    return server


def _handler(client: Client, appearance: Appearance) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Answers one question; nothing is written to the cluster by this door but questions about permissions."""

        def do_GET(self) -> None:
            self._forward("GET", None)

        def do_POST(self) -> None:
            if not self.path.endswith("selfsubjectaccessreviews"):
                self._say(405, {"message": "this door is for questions only"})
                return
            length = int(self.headers.get("Content-Length") or 0)
            self._forward("POST", json.loads(self.rfile.read(length)))

        def _forward(self, method: Verb, body: Any) -> None:
            bare = self.path.partition("?")[0]
            try:
                real = client.request(method, self.path, body=body)
            except ApiError as error:
                real, failed = {"message": str(error)}, error.code
            except requests.RequestException as error:
                real, failed = {"message": str(error)}, 502
            else:
                failed = 0
            told = appearance.answer(bare, real)
            self._say(failed if failed and told is None else 200, real if told is None else told)

        def _say(self, status: int, content: Mapping[str, Any]) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Keep quiet."""

    return Handler
