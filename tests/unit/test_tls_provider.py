"""The ``tls`` stand-in makes real keys and certificates: OpenSSL accepts what it signs."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from sandbox.provider import Resource
from sandbox.tls_provider import TlsProvider
from sandbox.values import UNKNOWN

pytestmark = pytest.mark.unit

PROVIDER = TlsProvider()


def resource(kind: str) -> Resource:
    return Resource(f"urn:pulumi:dev::program::tls:index/{kind[0].lower()}{kind[1:]}:{kind}::name")


def make(kind: str, **inputs: object) -> dict[str, object]:
    _, outputs = PROVIDER.create(resource(kind), dict(inputs), 0, preview=False)
    return outputs


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not on PATH")
@pytest.mark.parametrize("algorithm", ["RSA", "ECDSA", "ED25519"])
def test_openssl_trusts_a_certificate_that_our_authority_signed(tmp_path, algorithm):
    authority_key = make("PrivateKey", algorithm=algorithm, ecdsaCurve="P256")["privateKeyPem"]
    authority = make(
        "SelfSignedCert",
        privateKeyPem=authority_key,
        allowedUses=["cert_signing", "crl_signing"],
        isCaCertificate=True,
        validityPeriodHours=24,
        subject={"commonName": "authority"},
    )["certPem"]
    request = make(
        "CertRequest",
        privateKeyPem=make("PrivateKey", algorithm="ECDSA", ecdsaCurve="P384")["privateKeyPem"],
        dnsNames=["gateway.example.org"],
        subject={"commonName": "gateway"},
    )["certRequestPem"]
    signed = make(
        "LocallySignedCert",
        caPrivateKeyPem=authority_key,
        caCertPem=authority,
        certRequestPem=request,
        allowedUses=["server_auth", "digital_signature"],
        validityPeriodHours=24,
    )["certPem"]

    for name, content in (("authority.pem", authority), ("signed.pem", signed)):
        (tmp_path / name).write_text(str(content))
    command = ["openssl", "verify", "-verify_hostname", "gateway.example.org", "-CAfile", "authority.pem", "signed.pem"]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr


def test_what_is_made_stays_unknown_in_a_preview():
    identifier, outputs = PROVIDER.create(resource("PrivateKey"), {"algorithm": "RSA"}, 0, preview=True)

    assert identifier == ""
    assert outputs["privateKeyPem"] is UNKNOWN
    assert outputs["algorithm"] == "RSA"


def test_algorithms_uses_and_properties_that_do_not_exist_are_all_named_at_once():
    _, failures = PROVIDER.check(resource("PrivateKey"), {}, {"algorithm": "DSA", "bits": 1}, b"")
    assert {failure.property for failure in failures} == {"algorithm", "bits"}

    inputs = {"privateKeyPem": "-", "validityPeriodHours": 1, "allowedUses": ["server_auth", "flying"]}
    _, failures = PROVIDER.check(resource("SelfSignedCert"), {}, inputs, b"")
    assert [failure.property for failure in failures] == ["allowedUses[1]"]
