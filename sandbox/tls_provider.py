"""The ``tls`` provider: real keys and certificates, kept in the state alone."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from sandbox.provider import CheckFailure, ProviderError, Resource
from sandbox.schema import resource_schema
from sandbox.state_only import StateOnlyProvider
from sandbox.values import UNKNOWN, Properties, is_list, plain

_CURVES: Final[Mapping[str, type[ec.EllipticCurve]]] = {
    "P224": ec.SECP224R1,
    "P256": ec.SECP256R1,
    "P384": ec.SECP384R1,
    "P521": ec.SECP521R1,
}
_ALGORITHMS: Final = ("RSA", "ECDSA", "ED25519")
_NAMES: Final[Mapping[str, ObjectIdentifier]] = {
    "commonName": NameOID.COMMON_NAME,
    "country": NameOID.COUNTRY_NAME,
    "emailAddress": NameOID.EMAIL_ADDRESS,
    "locality": NameOID.LOCALITY_NAME,
    "organization": NameOID.ORGANIZATION_NAME,
    "organizationalUnit": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "postalCode": NameOID.POSTAL_CODE,
    "province": NameOID.STATE_OR_PROVINCE_NAME,
    "serialNumber": NameOID.SERIAL_NUMBER,
}
_EXTENDED_USES: Final[Mapping[str, ObjectIdentifier]] = {
    "server_auth": ExtendedKeyUsageOID.SERVER_AUTH,
    "client_auth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "code_signing": ExtendedKeyUsageOID.CODE_SIGNING,
    "email_protection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "ocsp_signing": ExtendedKeyUsageOID.OCSP_SIGNING,
    "timestamping": ExtendedKeyUsageOID.TIME_STAMPING,
}
# Names of the key usages: the provider's, and the library's.
_USES: Final[Mapping[str, str]] = {
    "digital_signature": "digital_signature",
    "content_commitment": "content_commitment",
    "key_encipherment": "key_encipherment",
    "data_encipherment": "data_encipherment",
    "key_agreement": "key_agreement",
    "cert_signing": "key_cert_sign",
    "crl_signing": "crl_sign",
    "encipher_only": "encipher_only",
    "decipher_only": "decipher_only",
}


class TlsProvider(StateOnlyProvider):
    """Makes private keys, self-signed certificates, requests, and certificates signed by a key of the program's."""

    name = "tls"

    def more_failures(self, inputs: Properties) -> Sequence[CheckFailure]:
        """Refuse algorithms, curves and uses that do not exist."""
        found: list[CheckFailure] = []
        if "algorithm" in inputs and inputs["algorithm"] not in _ALGORITHMS:
            found.append(
                CheckFailure("algorithm", f"must be one of {', '.join(_ALGORITHMS)}; got {inputs['algorithm']}")
            )
        if "ecdsaCurve" in inputs and inputs["ecdsaCurve"] not in _CURVES:
            found.append(CheckFailure("ecdsaCurve", f"must be one of {', '.join(_CURVES)}; got {inputs['ecdsaCurve']}"))
        known = sorted({*_USES, *_EXTENDED_USES})
        uses = inputs.get("allowedUses")
        for index, use in enumerate(uses if is_list(uses) else ()):
            if use not in known:
                found.append(CheckFailure(f"allowedUses[{index}]", f"must be one of {', '.join(known)}; got {use}"))
        return found

    def create(
        self, resource: Resource, inputs: Properties, timeout_seconds: float, *, preview: bool
    ) -> tuple[str, Properties]:
        """Make the key or sign the certificate."""
        del timeout_seconds
        if preview:
            computed = resource_schema(resource.type).outputs
            return "", {**{name: UNKNOWN for name, spec in computed.items() if spec.required}, **inputs}
        given = plain(inputs)
        match resource.type.rsplit(":", maxsplit=1)[-1]:
            case "PrivateKey":
                outputs = _private_key(given)
            case "CertRequest":
                outputs = _request(given)
            case "SelfSignedCert":
                outputs = _self_signed(given)
            case "LocallySignedCert":
                outputs = _locally_signed(given)
            case _:
                raise ProviderError(f"the sandbox does not emulate {resource.type}")
        identifier = hashlib.sha1(str(sorted(outputs.items())).encode(), usedforsecurity=False).hexdigest()
        return identifier, outputs


def authority(common_name: str) -> str:
    """Return the certificate of a new authority, as PEM; its key is forgotten, for clouds never show theirs."""
    key = _private_key({"algorithm": "ECDSA", "ecdsaCurve": "P256"})["privateKeyPem"]
    given: Properties = {
        "privateKeyPem": key,
        "subject": {"commonName": common_name},
        "validityPeriodHours": 10 * 365 * 24,
        "isCaCertificate": True,
        "allowedUses": ["cert_signing", "crl_signing"],
    }
    return str(_self_signed(given)["certPem"])


def _private_key(given: Properties) -> Properties:
    defaults = {"ecdsaCurve": "P224", "rsaBits": 2048}
    given = {**defaults, **given}
    if given["algorithm"] == "RSA":
        key = rsa.generate_private_key(public_exponent=65537, key_size=int(given["rsaBits"]))
    elif given["algorithm"] == "ECDSA":
        key = ec.generate_private_key(_CURVES[given["ecdsaCurve"]]())
    else:
        key = ed25519.Ed25519PrivateKey.generate()
    encoding, nothing = serialization.Encoding.PEM, serialization.NoEncryption()
    ed = isinstance(key, ed25519.Ed25519PrivateKey)
    traditional = serialization.PrivateFormat.PKCS8 if ed else serialization.PrivateFormat.TraditionalOpenSSL
    public = key.public_key()
    ssh = ""  # OpenSSH has no P-224
    if not (isinstance(key, ec.EllipticCurvePrivateKey) and given["ecdsaCurve"] == "P224"):
        ssh = public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    blob = base64.b64decode(ssh.split()[1]) if ssh else b""
    md5 = hashlib.md5(blob, usedforsecurity=False).hexdigest()  # what ssh-keygen -E md5 shows
    sha256 = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    return {
        **given,
        "privateKeyPem": key.private_bytes(encoding, traditional, nothing).decode(),
        "privateKeyPemPkcs8": key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, nothing).decode(),
        "privateKeyOpenssh": key.private_bytes(encoding, serialization.PrivateFormat.OpenSSH, nothing).decode()
        if ssh
        else "",
        "publicKeyPem": public.public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo).decode(),
        "publicKeyOpenssh": f"{ssh}\n" if ssh else "",
        "publicKeyFingerprintMd5": ":".join(md5[i : i + 2] for i in range(0, 32, 2)) if ssh else "",
        "publicKeyFingerprintSha256": f"SHA256:{sha256}" if ssh else "",
    }


def _load(pem: str, what: str) -> Any:
    try:
        return serialization.load_pem_private_key(pem.encode(), password=None)
    except ValueError as error:
        raise ProviderError(f"{what}: not a private key in PEM") from error


def _algorithm(key: Any) -> str:
    if isinstance(key, rsa.RSAPrivateKey):
        return "RSA"
    return "ECDSA" if isinstance(key, ec.EllipticCurvePrivateKey) else "ED25519"


def _digest(key: Any) -> hashes.SHA256 | None:
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()


def _name(subject: Mapping[str, Any] | None) -> x509.Name:
    given = subject or {}
    attributes = [x509.NameAttribute(oid, str(given[name])) for name, oid in _NAMES.items() if given.get(name)]
    streets = [x509.NameAttribute(NameOID.STREET_ADDRESS, str(street)) for street in given.get("streetAddresses") or ()]
    return x509.Name([*attributes, *streets])


def _alternatives(given: Properties) -> x509.SubjectAlternativeName | None:
    names: list[x509.GeneralName] = [
        *(x509.DNSName(name) for name in given.get("dnsNames") or ()),
        *(x509.IPAddress(ipaddress.ip_address(address)) for address in given.get("ipAddresses") or ()),
        *(x509.UniformResourceIdentifier(uri) for uri in given.get("uris") or ()),
    ]
    return x509.SubjectAlternativeName(names) if names else None


def _request(given: Properties) -> Properties:
    key = _load(given["privateKeyPem"], "privateKeyPem")
    builder = x509.CertificateSigningRequestBuilder().subject_name(_name(given.get("subject")))
    if alternatives := _alternatives(given):
        builder = builder.add_extension(alternatives, critical=False)
    request = builder.sign(key, _digest(key))
    return {
        **given,
        "keyAlgorithm": _algorithm(key),
        "certRequestPem": request.public_bytes(serialization.Encoding.PEM).decode(),
    }


def _self_signed(given: Properties) -> Properties:
    key = _load(given["privateKeyPem"], "privateKeyPem")
    name = _name(given.get("subject"))
    signed = _certificate(given, name, name, key.public_key(), key, key.public_key(), _alternatives(given))
    return {"setAuthorityKeyId": False, **given, **signed, "keyAlgorithm": _algorithm(key)}


def _locally_signed(given: Properties) -> Properties:
    key = _load(given["caPrivateKeyPem"], "caPrivateKeyPem")
    try:
        issuer = x509.load_pem_x509_certificate(given["caCertPem"].encode())
        request = x509.load_pem_x509_csr(given["certRequestPem"].encode())
    except ValueError as error:
        raise ProviderError("caCertPem and certRequestPem must be PEM of a certificate and of a request") from error
    try:
        alternatives = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        alternatives = None
    signed = _certificate(
        given, request.subject, issuer.subject, request.public_key(), key, key.public_key(), alternatives
    )
    return {**given, **signed, "caKeyAlgorithm": _algorithm(key)}


def _certificate(
    given: Properties,
    subject: x509.Name,
    issuer: x509.Name,
    public_key: Any,
    signing_key: Any,
    issuer_key: Any,
    alternatives: x509.SubjectAlternativeName | None,
) -> Properties:
    start = datetime.now(UTC).replace(microsecond=0)
    end = start + timedelta(hours=int(given["validityPeriodHours"]))
    uses: list[str] = given.get("allowedUses") or []
    authority = bool(given.get("isCaCertificate"))
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**{theirs: ours in uses for ours, theirs in _USES.items()}), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )
    if extended := [oid for use, oid in _EXTENDED_USES.items() if use in uses]:
        builder = builder.add_extension(x509.ExtendedKeyUsage(extended), critical=False)
    if given.get("setSubjectKeyId") or authority:
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    if alternatives is not None:
        builder = builder.add_extension(alternatives, critical=False)
    certificate = builder.sign(signing_key, _digest(signing_key))
    return {
        "earlyRenewalHours": 0,
        "isCaCertificate": authority,
        "maxPathLength": -1,
        "setSubjectKeyId": False,
        **{key: given[key] for key in ("earlyRenewalHours", "maxPathLength", "setSubjectKeyId") if key in given},
        "readyForRenewal": False,
        "validityStartTime": start.isoformat(),
        "validityEndTime": end.isoformat(),
        "certPem": certificate.public_bytes(serialization.Encoding.PEM).decode(),
    }
