"""The engine: what was downloaded is what was announced, and no engine at all is one clear message."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sandbox import engine
from sandbox.toolchain.control_plane import system_and_machine

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]
CLOSED = "http://127.0.0.1:9"  # the discard port: nothing listens there
MIRROR = "SANDBOX_DOWNLOADS_GITHUB_COM"


def _archive() -> tuple[str, bytes]:
    """Name and content of a release: a folder with a program and its language host."""
    system, machine = system_and_machine()
    name = f"pulumi-v{engine.VERSION}-{system}-{ {'amd64': 'x64', 'arm64': 'arm64'}[machine] }.tar.gz"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for program in ("pulumi", "pulumi-language-python"):
            script = f"#!/bin/sh\necho v{engine.VERSION}\n".encode()
            entry = tarfile.TarInfo(f"pulumi/{program}")
            entry.size, entry.mode = len(script), 0o755
            tar.addfile(entry, io.BytesIO(script))
    return name, packed.getvalue()


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """A mirror of the release site; a test puts files into it by name."""
    files: dict[str, bytes] = {}

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = files.get(self.path.rsplit("/", 1)[1])
            self.send_response(200 if body is not None else 404)
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv(MIRROR, f"http://127.0.0.1:{server.server_port}")
    yield files
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def _bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:  # pyright: ignore[reportUnusedFunction] pytest calls it
    """Neither an engine nor Go on PATH."""
    empty = tmp_path / "bin"
    empty.mkdir()
    monkeypatch.setenv("PATH", str(empty))
    monkeypatch.setenv(MIRROR, CLOSED)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def _left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def _publish(mirror: dict[str, bytes], digest: Callable[[bytes], str]) -> str:
    name, content = _archive()
    mirror[name] = content
    mirror[f"pulumi-{engine.VERSION}-checksums.txt"] = f"{'0' * 64}  other.zip\n{digest(content)}  {name}\n".encode()
    return name


def test_a_release_with_the_announced_checksum_is_unpacked_once(mirror: dict[str, bytes], cache: Path):
    name = _publish(mirror, lambda content: hashlib.sha256(content).hexdigest())
    found = engine.find_or_get(cache, print)
    assert found.origin.startswith(f"downloaded: Pulumi {engine.VERSION}")
    assert subprocess.run([found.pulumi], capture_output=True, text=True, check=True).stdout == f"v{engine.VERSION}\n"
    assert _left_in(cache) == [f"pulumi-{engine.VERSION}"]
    del mirror[name]
    assert engine.find_or_get(cache, print).origin.startswith("downloaded earlier")


def test_a_release_with_another_checksum_is_refused_and_nothing_is_kept(mirror: dict[str, bytes], cache: Path):
    _publish(mirror, lambda _: "0" * 64)
    with pytest.raises(engine.NoEngineError, match="nothing was kept"):
        engine.find_or_get(cache, print)
    assert _left_in(cache) == []


def test_a_release_that_the_checksums_do_not_name_is_refused(mirror: dict[str, bytes], cache: Path):
    mirror[f"pulumi-{engine.VERSION}-checksums.txt"] = b"0000  other.zip\n"
    with pytest.raises(engine.NoEngineError, match="do not name pulumi-v"):
        engine.find_or_get(cache, print)


def test_an_archive_that_writes_outside_its_folder_is_refused(mirror: dict[str, bytes], cache: Path):
    """The checksum says who published it, not that it is harmless."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        entry = tarfile.TarInfo("../../escaped")
        entry.size = 1
        tar.addfile(entry, io.BytesIO(b"x"))
    name = _publish(mirror, lambda _: hashlib.sha256(packed.getvalue()).hexdigest())
    mirror[name] = packed.getvalue()
    with pytest.raises(engine.NoEngineError, match="cannot be unpacked"):
        engine.find_or_get(cache, print)
    assert not (cache.parent / "escaped").exists()
    assert _left_in(cache) == []


@pytest.mark.parametrize(
    ("version", "reason"),
    [("v3.100.0", "is v3.100.0: too old"), ("what?", "is what?: too old"), ("v99.0.0", "comes without")],
)
def test_an_engine_on_path_that_does_not_do_is_said_to_be_there(tmp_path: Path, cache: Path, version: str, reason: str):
    _program(tmp_path / "bin" / "pulumi", version)
    with pytest.raises(engine.NoEngineError, match=reason.replace("?", r"\?")):
        engine.find_or_get(cache, print)


def test_an_engine_on_path_is_taken_before_anything_is_downloaded(
    tmp_path: Path, cache: Path, mirror: dict[str, bytes]
):
    _publish(mirror, lambda content: hashlib.sha256(content).hexdigest())
    _program(tmp_path / "bin" / "pulumi", "v99.0.0")
    _program(tmp_path / "bin" / "pulumi-language-python", "v99.0.0")
    found = engine.find_or_get(cache, print)
    assert found.pulumi == tmp_path / "bin" / "pulumi"
    assert _left_in(cache) == []


def _program(path: Path, version: str) -> None:
    path.write_text(f"#!/bin/sh\necho '{version}'\n")
    path.chmod(0o755)


@pytest.mark.parametrize("command", [["engine"], ["--", "pulumi", "preview"]])
def test_no_engine_to_be_had_is_one_message_with_three_remedies(tmp_path: Path, command: list[str]):
    """No engine, no Go, no network and an empty cache: what every run says then, and how it ends."""
    answer = subprocess.run(
        [sys.executable, "-m", "sandbox", *command],
        cwd=ROOT,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path), "SANDBOX_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 1
    assert "Traceback" not in answer.stderr
    for line in (
        "`pulumi` is not on PATH",
        "the host cannot be reached",
        "Go is not on PATH",
        "1. install Pulumi",
        f"2. let this machine reach github.com, or name a mirror in {MIRROR}",
        "3. install Go",
        "Unit tests run without an engine",
    ):
        assert line in answer.stderr
    assert answer.stdout == ""
