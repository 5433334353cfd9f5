"""What tests of retrievals share: documents, a vector store, a gateway and the image's own programs."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.data_plane.environments import environment
from tests.data_plane.ports import free_port
from tests.data_plane.retrieval_backend import DIMENSION, Gateway, gateway

ROOT = Path(__file__).resolve().parents[2]
IMAGE = ROOT / "workloads" / "retrieval" / "image"
START_SECONDS = 120
WORDS = [
    "orchard",
    "harbour",
    "lantern",
    "meadow",
    "granite",
    "falcon",
    "copper",
    "willow",
    "thunder",
    "velvet",
    "compass",
    "marble",
]


def text_about(word: str, sentences: int = 6) -> str:
    return " ".join(f"The {word} of number {word}{index} was measured twice." for index in range(sentences))


def surroundings(home: Path) -> dict[str, str]:
    """Variables as in the image: the root of its context, and the folder of its package."""
    kept = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
    return {**kept, "HOME": str(home), "PYTHONPATH": f"{ROOT}:{IMAGE}", "GATEWAY_KEY": "sk-retrieval"}


class Runner:
    """The programs of the image, in one process for all tests."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, what: dict[str, Any]) -> dict[str, Any]:
        into, out = self._process.stdin, self._process.stdout
        assert into
        assert out
        into.write(json.dumps(what) + "\n")
        into.flush()
        line = out.readline()
        assert line, "the runner has ended"
        return json.loads(line)


@dataclass
class World:
    """Milvus, a gateway, a folder of documents, and the programs of the image."""

    folder: Path
    milvus: str
    gateway: Gateway
    python: Path
    runner: Runner
    name: str
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def source(self) -> Path:
        return self.folder / "documents"

    def write(self, path: str, text: str | bytes) -> None:
        file = self.source / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode() if isinstance(text, str) else text)

    def config(self, **more: Any) -> dict[str, Any]:
        return {
            "retrieval": self.name,
            "source": self.source.as_uri(),
            "milvus": {"url": self.milvus},
            "gateway_url": self.gateway.url,
            "report_url": (self.folder / "reports").as_uri(),
            "chunking": {"tokens": 64, "overlap": 8},
            "embedding": {"model": "embed", "dimension": DIMENSION, "batch": 4, "retries": 2},
            "executor": "local",
            "limits": {"bad_share": 0.5, "deleted_share": 0.6},
            **self.settings,
            **more,
        }

    @property
    def environment(self) -> dict[str, str]:
        return surroundings(self.folder)

    def ingest(self, *, ends: int = 0, **more: Any) -> dict[str, Any]:
        """Run an ingestion; what it says at the end."""
        done = self.runner.ask({"ingest": self.config(**more)})
        assert done["status"] == ends, done["said"][-4000:]
        return json.loads(done["said"].strip().splitlines()[-1])

    def look(self, code: str) -> Any:
        """Ask Milvus, by the store of the image."""
        told = self.runner.ask({"look": code, "milvus": self.milvus, "name": self.name})
        assert "found" in told, told["failed"]
        return told["found"]

    def chunks(self) -> dict[str, list[str]]:
        """Ids of the chunks that are served, by document."""
        return self.look("store.documents(store.served().name)")

    def collections(self) -> list[str]:
        return self.look("sorted(map(str, store.all()))")

    def served(self) -> str:
        return self.look("str(store.served().name)")

    def reports(self) -> list[Path]:
        return sorted((self.folder / "reports").glob("*/report.json"))


@pytest.fixture(scope="module")
def milvus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Milvus Lite as a server: the programs under test are processes of their own."""
    folder, port = tmp_path_factory.mktemp("milvus"), free_port()
    program = environment("milvus") / "bin" / "milvus-lite"
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(program), "server", "--data-dir", str(folder / "data"), "--host", "127.0.0.1", "--port", str(port)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={"PATH": os.environ["PATH"], "HOME": str(folder)},
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            assert process.poll() is None, log.read_text()[-3000:]
            try:
                import socket

                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < deadline, log.read_text()[-3000:]
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def python() -> Path:
    return environment("retrieval", IMAGE / "requirements.txt") / "bin" / "python"


@pytest.fixture(scope="module")
def runner(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    folder = tmp_path_factory.mktemp("runner")
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [str(python), str(Path(__file__).with_name("retrieval_runner.py"))],
            env=surroundings(folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        yield Runner(process)
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def world(milvus: str, python: Path, runner: Runner, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    digest = f"{abs(hash(request.node.name)) % 10**8:08d}"
    with gateway() as server:
        found = World(tmp_path, milvus, server, python, runner, f"r{digest}")
        for word in WORDS[:6]:
            found.write(f"{word}.md", f"# About {word}\n\n{text_about(word)}\n")
        yield found


@dataclass(frozen=True)
class Running:
    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def ask(self, text: str, **more: Any) -> requests.Response:
        body = {"model": "handbook", "messages": [{"role": "user", "content": text}], **more}
        return requests.post(f"{self.url}/v1/chat/completions", json=body, timeout=30, stream=bool(more.get("stream")))


@contextmanager
def service(world: World, **more: Any) -> Iterator[Running]:
    port, log = free_port(), world.folder / "service.log"
    config = {
        "name": "handbook",
        "collection": world.name,
        "model": "writer",
        "milvus": {"url": world.milvus},
        "gateway_url": world.gateway.url,
        "host": "127.0.0.1",
        "port": port,
        "timeout_seconds": 20,
        **more,
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(world.python), "-m", "retrieval.serve", "--config", json.dumps(config)],
            env=world.environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    running = Running(f"http://127.0.0.1:{port}", process, log)
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < deadline, log.read_text()[-3000:]
            try:
                if requests.get(f"{running.url}/readyz", timeout=10).status_code == 200:
                    break
            except requests.RequestException:
                pass
            time.sleep(0.2)
        yield running
    finally:
        process.terminate()
        process.wait(60)
