"""A real server of the Redis protocol that takes TLS and a password only, as the foundation's cache does."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.data_plane.ports import free_port

_PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class Redis:
    """A running server, on 127.0.0.1.

    Attributes:
        port: Where it listens.
        password: What clients must send.
        authority: Certificate to trust.
    """

    port: int
    password: str
    authority: Path

    def command(self, *words: str) -> str:
        """The raw answer to one command."""
        context = ssl.create_default_context(cafile=str(self.authority))
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
        ):
            for request in (("AUTH", self.password), words):
                text = "".join(f"${len(word)}\r\n{word}\r\n" for word in request)
                connection.sendall(f"*{len(request)}\r\n{text}".encode())
                answer = connection.recv(65536).decode()
        return answer


@contextmanager
def running(folder: Path) -> Iterator[Redis]:
    """A server that keeps nothing; the test is skipped where none is installed."""
    program = shutil.which("valkey-server") or shutil.which("redis-server")
    if not program:
        pytest.skip("no server of the Redis protocol is installed (Debian: redis-server)")
    _certificate(folder)
    port, password = free_port(), os.urandom(16).hex()
    options = {
        "--port": "0",
        "--tls-port": str(port),
        "--tls-cert-file": str(folder / "cache.pem"),
        "--tls-key-file": str(folder / "cache.key"),
        "--tls-ca-cert-file": str(folder / "cache.pem"),
        "--tls-auth-clients": "no",
        "--requirepass": password,
        "--bind": "127.0.0.1",
        "--save": "",
        "--dir": str(folder),
    }
    with (folder / "cache.log").open("wb") as log:
        words = [word for option in options.items() for word in option]
        process = subprocess.Popen([program, *words], stdout=log, stderr=subprocess.STDOUT)
        server = Redis(port, password, folder / "cache.pem")
        try:
            _await(server, process, folder / "cache.log")
            yield server
        finally:
            process.terminate()
            process.wait(timeout=_PATIENCE_SECONDS)


def _await(server: Redis, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the cache does not start: {log.read_text()}"
        try:
            if "PONG" in server.command("PING"):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"the cache does not answer: {log.read_text()}")


def _certificate(folder: Path) -> None:
    """One that is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test cache")])
    addresses = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(addresses, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cache.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "cache.key").touch(mode=0o600)
    (folder / "cache.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
