"""SageMaker's runtime, a Vertex AI endpoint and Google's token service on this machine, at their real addresses.

Clients are sent here by a proxy and trust its certificates by variables of the environment, so the addresses, paths and
signatures that they make are the real ones. Behind both services stands the program of the managed container.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

TOKEN = "token-of-the-gateway"


@dataclass
class Clouds:
    """What is served, and what was asked.

    Attributes:
        proxy: Address of the proxy.
        authority: Certificate to trust.
        container: Port of the managed container.
        without_capacity: SageMaker has no copy of the model.
        asked: Method, host and path of every request, with its headers.
        exchanged: Bodies that the token service got.
    """

    proxy: str
    authority: Path
    container: int
    without_capacity: bool = False
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list[tuple[str, dict[str, str]]])
    exchanged: list[str] = field(default_factory=list[str])

    def variables(self) -> dict[str, str]:
        """What sends a program here, and makes it trust what it finds."""
        return {
            "HTTPS_PROXY": self.proxy,
            "NO_PROXY": "127.0.0.1,localhost",
            "AIOHTTP_TRUST_ENV": "True",
            "SSL_CERT_FILE": str(self.authority),
            "REQUESTS_CA_BUNDLE": str(self.authority),
        }


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    clouds: Clouds

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are no news."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        host = self.headers["host"].partition(":")[0]
        clouds = self.server.clouds
        clouds.asked.append((f"{host}{self.path}", {key.lower(): value for key, value in self.headers.items()}))
        if host == "sts.googleapis.com":
            clouds.exchanged.append(body.decode())
            token = {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer", "issued_token_type": "x"}
            self._send(200, json.dumps(token).encode())
        elif host.startswith("runtime.sagemaker."):
            self._sagemaker(body)
        else:
            self._vertex(body)

    def _sagemaker(self, body: bytes) -> None:
        found = re.fullmatch(r"/endpoints/([\w-]+)/invocations(-response-stream)?", self.path)
        signed = re.search(r"/us-east-1/sagemaker/aws4_request", self.headers.get("authorization", ""))
        if not found or not signed:
            self._send(403, b'{"Message": "not signed for SageMaker in us-east-1, or no such path"}')
        elif self.server.clouds.without_capacity:
            message = (
                "Inference Component has no capacity to process this request. ApplicationAutoScaling may be in-progress"
            )
            self._send(400, json.dumps({"Message": message}).encode())
        elif found[2]:
            self._stream(body)
        else:
            response = self._container("/invocations", body)
            self._send(response.status, response.read())

    def _stream(self, body: bytes) -> None:
        response = self._container("/invocations", body)
        self.send_response(200)
        self.send_header("content-type", "application/vnd.amazon.eventstream")
        self.send_header("connection", "close")
        self.end_headers()
        while piece := response.read1(65536):  # a part for each piece that the container wrote
            self.wfile.write(_event(piece))
            self.wfile.flush()
        self.close_connection = True

    def _vertex(self, body: bytes) -> None:
        path = re.fullmatch(r"/v1/projects/[\w-]+/locations/[\w-]+/endpoints/[\w-]+/invoke(/.+)", self.path)
        if not path or self.headers.get("authorization") != f"Bearer {TOKEN}":
            self._send(403, b'{"error": {"code": 403, "message": "no such path, or no token"}}')
            return
        response = self._container(path[1], body)
        self.send_response(response.status)
        self.send_header("content-type", response.getheader("content-type") or "")
        self.send_header("connection", "close")
        self.end_headers()
        while piece := response.read1(4096):
            self.wfile.write(piece)
            self.wfile.flush()
        self.close_connection = True

    def _container(self, path: str, body: bytes) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.clouds.container)
        connection.request("POST", path, body, {"content-type": "application/json"})
        return connection.getresponse()

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _event(payload: bytes) -> bytes:
    """One frame of AWS's event stream encoding."""
    headers = b""
    named = {":message-type": "event", ":event-type": "PayloadPart", ":content-type": "application/octet-stream"}
    for name, value in named.items():
        headers += bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    prelude += struct.pack(">I", zlib.crc32(prelude))
    frame = prelude + headers + payload
    return frame + struct.pack(">I", zlib.crc32(frame))


def _certificates(folder: Path, hosts: list[str]) -> tuple[Path, Path, Path]:
    """An authority, and a certificate for the hosts with its key."""
    now = datetime.now(UTC)

    def made(name: str, issuer: x509.Name, signer: Any, key: Any, *extensions: tuple[Any, bool]) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(days=1))
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(signer, hashes.SHA256())

    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = made(
        "root", _name("root"), root_key, root_key, (x509.BasicConstraints(ca=True, path_length=0), True),
        (x509.SubjectKeyIdentifier.from_public_key(root_key.public_key()), False),
    )  # fmt: skip
    names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
    signed_by = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
    leaf = made("clouds", root.subject, root_key, key, (names, False), (signed_by, False))
    authority, certificate, private = (folder / name for name in ("authority.pem", "clouds.pem", "clouds.key"))
    authority.write_bytes(root.public_bytes(serialization.Encoding.PEM))
    certificate.write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return authority, certificate, private


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _proxy(target: int) -> socket.socket:
    """A proxy that leads every tunnel to one port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def tunnel(client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", target)) as server:
            request = b""
            while b"\r\n\r\n" not in request:
                if not (piece := client.recv(4096)):
                    return
                request += piece
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_copy, args=(server, client), daemon=True)
            back.start()
            _copy(client, server)
            back.join()

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:  # the listener was closed
                return
            threading.Thread(target=tunnel, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
    except OSError:  # one side hung up
        return


@contextmanager
def running(folder: Path, container: int, hosts: list[str]) -> Iterator[Clouds]:
    """The services in front of the container that listens on a port."""
    authority, certificate, key = _certificates(folder, hosts)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = _Server(("127.0.0.1", 0), _Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    listener = _proxy(server.server_port)
    server.clouds = Clouds(f"http://127.0.0.1:{listener.getsockname()[1]}", authority, container)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server.clouds
    finally:
        listener.close()
        server.shutdown()
        server.server_close()
