"""Kubeflow Pipelines' own programs, built from the tree that is deployed, with a database and an object store."""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import requests
import yaml

from components.platform.pipelines_database import USER, start_script
from components.versions import TREES
from sandbox import paths
from sandbox.kubernetes.api import Client
from tests.data_plane.ports import free_port
from tests.data_plane.programs import program
from tests.trees import checkout

PASSWORD: Final = "Pipelines0123456789"
TOKENS: Final = Path("/var/run/secrets/kubeflow/tokens")
"""Where the programs look for their tokens; the place is written into them."""

ANSWERED: Final = 0x1
"""Type of the HTTP/2 frame with the headers of an answer."""

REFUSED: Final = frozenset({0x3, 0x7})
"""Types of the HTTP/2 frames that end a stream or the connection."""

_PACKAGES: Final = {
    "apiserver": "./backend/src/apiserver",
    "persistence": "./backend/src/agent/persistence",
    "scheduledworkflow": "./backend/src/crd/controller/scheduledworkflow",
}
_BUILD_SECONDS: Final = 1800
_PATIENCE_SECONDS: Final = 120


def built() -> Path:
    """Folder of the programs; the test is skipped where there is no checkout of the tree, no Go, or no module."""
    tree = checkout("kubeflow-pipelines")
    if shutil.which("go") is None:
        pytest.skip("no go on PATH, which builds Kubeflow Pipelines")
    folder = paths.cache_dir() / f"kubeflow-pipelines-{TREES['kubeflow-pipelines'].commit[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if missing := [package for name, package in _PACKAGES.items() if not (folder / name).exists()]:
            done = subprocess.run(
                ["go", "build", "-o", f"{folder}/", *missing],
                cwd=tree,
                env={**os.environ, "GOWORK": "off"},
                capture_output=True,
                text=True,
                timeout=_BUILD_SECONDS,
                check=False,
            )
            if done.returncode:
                pytest.skip(f"Kubeflow Pipelines cannot be built: {done.stderr.strip()[-300:]}")
    return folder


@dataclass(frozen=True)
class Database:
    """A running MySQL-compatible server with the databases and the user that the program declares.

    Attributes:
        port: Where it listens, on 127.0.0.1.
    """

    port: int


@contextmanager
def database() -> Iterator[Database]:
    """MariaDB, which speaks MySQL's protocol; the test is skipped where there is none (Debian: mariadb-server)."""
    install, server, client = (
        program(variable, *names)
        for variable, names in (
            ("MARIADB_INSTALL_DB", ("mariadb-install-db",)),
            ("MARIADBD", ("mariadbd",)),
            ("MARIADB", ("mariadb",)),
        )
    )
    # Not pytest's own folders: those are closed to the user that the server runs as.
    root = Path(tempfile.mkdtemp(prefix="llmops-mariadb-"))
    root.chmod(0o755)
    data, socket, port = root / "data", root / "socket", free_port()
    data.mkdir()
    drop: dict[str, int] = {}
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        drop = {"user": nobody.pw_uid, "group": nobody.pw_gid}
        for folder in (root, data):
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    common = ["--no-defaults", f"--datadir={data}"]
    try:
        subprocess.run(
            [install, *common, "--auth-root-authentication-method=normal", "--skip-test-db"],
            capture_output=True,
            check=True,
            timeout=_PATIENCE_SECONDS,
            **drop,
        )
        process = subprocess.Popen(
            [server, *common, f"--socket={socket}", f"--port={port}", "--bind-address=127.0.0.1"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **drop,
        )
        try:
            script = f"CREATE USER '{USER}'@'%' IDENTIFIED BY '{PASSWORD}';\n{start_script()}"
            command = [client, "--no-defaults", f"--socket={socket}", "--user=root"]
            _until(lambda: subprocess.run(command, input=script.encode(), capture_output=True, check=False), process)
            yield Database(port)
        finally:
            process.terminate()
            process.wait(timeout=_PATIENCE_SECONDS)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _until(run: Any, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (done := run()).returncode:
        assert process.poll() is None, "MariaDB does not start"
        assert time.monotonic() < deadline, done.stderr.decode()
        time.sleep(0.2)


def token_of(client: Client, namespace: str, account: str, audience: str = "") -> str:
    """A token of a service account, for an audience or for the API server of the cluster."""
    body: dict[str, Any] = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"audiences": [audience]} if audience else {},
    }
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
    return str(client.request("POST", path, body=body)["status"]["token"])


def home(folder: Path, client: Client, account: str, namespace: str = "kubeflow") -> dict[str, str]:
    """Variables of a program that is the service account ``account`` and nobody else."""
    server, authority = client._server, client._authority  # pyright: ignore[reportPrivateUsage] the same server
    path = folder / account / ".kube" / "config"
    path.parent.mkdir(parents=True)
    cluster = {"server": server, "certificate-authority": str(authority)}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "here", "cluster": cluster}],
        "users": [{"name": "me", "user": {"token": token_of(client, namespace, account)}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        "current-context": "here",
    }
    path.write_text(yaml.safe_dump(content))
    return {"HOME": str(path.parent.parent), "KUBECONFIG": str(path), "PATH": os.environ["PATH"]}


def variables(container: Mapping[str, Any], read: Mapping[tuple[str, str], Mapping[str, str]]) -> dict[str, str]:
    """Variables of a container, with what they read of ConfigMaps and Secrets; by kind and name in ``read``."""
    found: dict[str, str] = {}
    for one in container.get("env", ()):
        source: Mapping[str, Any] = one.get("valueFrom") or {}
        if not source:
            found[one["name"]] = one.get("value", "")
            continue
        if "fieldRef" in source:
            assert source["fieldRef"]["fieldPath"] == "metadata.namespace"
            found[one["name"]] = "kubeflow"
            continue
        for field, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
            if field in source:
                content = read.get((kind, source[field]["name"]), {})
                if source[field].get("optional") and source[field]["key"] not in content:
                    continue
                found[one["name"]] = content[source[field]["key"]]
    return found


@contextmanager
def started(command: Sequence[str | Path], environment: Mapping[str, str], log: Path, ready: str) -> Iterator[None]:
    """One program with these variables alone, from the moment when ``ready`` answers at all."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(word) for word in command], env=dict(environment), stdout=output, stderr=subprocess.STDOUT
        )
        try:
            deadline = time.monotonic() + _PATIENCE_SECONDS
            while not _answers(ready):
                assert process.poll() is None, f"it ended: {log.read_text()[-3000:]}"
                assert time.monotonic() < deadline, f"{ready} does not answer: {log.read_text()[-3000:]}"
                time.sleep(0.3)
            yield
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _answers(url: str) -> bool:
    if not url:
        return True
    try:
        return requests.get(url, timeout=2).ok
    except requests.RequestException:
        return False


def grpc_frames(port: int, method: str, headers: Mapping[str, str]) -> frozenset[int]:
    """Types of the frames that a gRPC server answers to an empty request.

    Clients refuse to send a header whose name is none, so the frames are written here, as an attacker would.
    """

    def text(value: str) -> bytes:
        return bytes([len(value)]) + value.encode()  # shorter than 127 bytes and not compressed

    def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload

    pseudo = {":method": "POST", ":scheme": "http", ":path": method, ":authority": "here"}
    told = {**pseudo, "content-type": "application/grpc", "te": "trailers", **headers}
    block = b"".join(b"\x00" + text(name) + text(value) for name, value in told.items())
    request = (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        + frame(0x4, 0, 0, b"")  # settings
        + frame(0x1, 0x4, 1, block)  # all headers
        + frame(0x0, 0x1, 1, b"\x00" + bytes(4))  # an empty message, and the end
    )
    kinds: set[int] = set()
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request)
        stream = connection.makefile("rb")
        while (head := stream.read(9)) and len(head) == 9:
            kinds.add(head[3])
            stream.read(int.from_bytes(head[:3], "big"))
            if kinds & {ANSWERED, *REFUSED}:
                break
    return frozenset(kinds)
