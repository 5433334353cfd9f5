"""Downloads: what is kept is whole and is what was announced; everything else leaves nothing behind."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sandbox.toolchain import downloads

pytestmark = pytest.mark.unit

CONTENT = b"a program\n" * 1000


class _Site(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/cut":
            self.send_response(200)
            self.send_header("Content-Length", str(2 * len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT)
            return
        self.send_response(200 if self.path.endswith("/program") else 404)
        self.end_headers()
        self.wfile.write(CONTENT)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def _left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_with_the_announced_digest_is_kept_and_not_fetched_again(site: str, tmp_path: Path):
    target, lines = tmp_path / "program", list[str]()
    digest = hashlib.sha256(CONTENT).hexdigest()
    downloads.fetch(f"{site}/program", target, sha256=digest.upper(), report=lines.append)
    assert target.read_bytes() == CONTENT
    assert "downloading program" in lines[0]
    lines.clear()
    downloads.fetch("http://127.0.0.1:1/program", target, sha256=digest, report=lines.append)
    assert lines == []


def test_a_file_with_another_digest_is_refused_and_nothing_stays(site: str, tmp_path: Path):
    with pytest.raises(downloads.ChecksumMismatch, match="nothing was kept"):
        downloads.fetch(f"{site}/program", tmp_path / "program", sha256="0" * 64, report=print)
    assert _left_in(tmp_path) == []


@pytest.mark.parametrize(("path", "reason"), [("/nothing", "HTTP 404"), ("/cut", "cut|Connection|IncompleteRead")])
def test_a_refusal_or_a_broken_transfer_says_why_and_leaves_nothing(site: str, tmp_path: Path, path: str, reason: str):
    with pytest.raises(downloads.Unavailable, match=reason):
        downloads.fetch(site + path, tmp_path / "program", sha256=None, report=print)
    assert _left_in(tmp_path) == []


def test_a_closed_network_is_one_clear_error(tmp_path: Path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/program"
        with pytest.raises(downloads.Unavailable, match="the host cannot be reached"):
            downloads.fetch(url, tmp_path / "program", sha256=None, report=print)


def test_a_mirror_stands_for_a_host_where_the_environment_names_one(
    site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SANDBOX_DOWNLOADS_DL_K8S_IO", f"{site}/mirror/")
    assert downloads.resolve("https://dl.k8s.io/v1/program") == f"{site}/mirror/v1/program"
    assert downloads.fetch_text("https://dl.k8s.io/v1/program") == CONTENT.decode()


def test_what_an_interrupted_download_left_long_ago_is_swept_and_a_running_one_is_not(site: str, tmp_path: Path):
    stale, running = tmp_path / ".old.1.part", tmp_path / ".other.2.part"
    stale.touch()
    running.touch()
    os.utime(stale, (0, 0))
    downloads.fetch(f"{site}/program", tmp_path / "program", sha256=None, report=print)
    assert _left_in(tmp_path) == [".other.2.part", "program"]
