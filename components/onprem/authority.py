"""The authority of the stores: one private certificate authority, and the certificates that it signs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pulumi
import pulumi_tls as tls
from pulumi_kubernetes import core
from pulumi_kubernetes.meta import v1 as meta

_HOURS_A_YEAR: Final = 365 * 24
_AUTHORITY_YEARS: Final = 20
# Renewed by the first update in its last year: whoever updates once a year never sees one end.
_CERTIFICATE_YEARS: Final = 3
_ALGORITHM: Final = "ECDSA"
_CURVE: Final = "P256"


class Authority(pulumi.ComponentResource):
    """A private authority; its key is in the stack's state, encrypted, and nowhere else.

    Not cert-manager's: that is a system of the platform, which stands on these stores.
    """

    certificate: pulumi.Output[str]
    """Certificate of the authority (PEM)."""

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:onprem:Authority", name, None, opts)
        self._name = name
        child = pulumi.ResourceOptions(parent=self)
        self._key = tls.PrivateKey(f"{name}-key", algorithm=_ALGORITHM, ecdsa_curve=_CURVE, opts=child)
        self._authority = tls.SelfSignedCert(
            f"{name}-certificate",
            private_key_pem=self._key.private_key_pem,
            is_ca_certificate=True,
            set_subject_key_id=True,
            subject=tls.SelfSignedCertSubjectArgs(common_name="LLM platform stores"),
            allowed_uses=["cert_signing", "crl_signing"],
            validity_period_hours=_AUTHORITY_YEARS * _HOURS_A_YEAR,
            opts=child,
        )
        self.certificate = self._authority.cert_pem
        self.register_outputs({"certificate": self.certificate})

    def issue(
        self,
        name: str,
        *,
        namespace: pulumi.Input[str],
        secret_name: str,
        hosts: Sequence[str],
        labels: dict[str, str] | None = None,
        parent: pulumi.Resource,
    ) -> core.v1.Secret:
        """A server's certificate for ``hosts``, in a Secret of the usual form with the authority beside it."""
        child = pulumi.ResourceOptions(parent=parent)
        key = tls.PrivateKey(f"{name}-key", algorithm=_ALGORITHM, ecdsa_curve=_CURVE, opts=child)
        request = tls.CertRequest(
            f"{name}-request",
            private_key_pem=key.private_key_pem,
            dns_names=list(hosts),
            subject=tls.CertRequestSubjectArgs(common_name=hosts[0][:64]),  # X.520 allows no more
            opts=child,
        )
        signed = tls.LocallySignedCert(
            f"{name}-certificate",
            cert_request_pem=request.cert_request_pem,
            ca_cert_pem=self._authority.cert_pem,
            ca_private_key_pem=self._key.private_key_pem,
            allowed_uses=["digital_signature", "key_encipherment", "server_auth"],
            validity_period_hours=_CERTIFICATE_YEARS * _HOURS_A_YEAR,
            early_renewal_hours=_HOURS_A_YEAR,
            opts=child,
        )
        return core.v1.Secret(
            f"{name}-tls",
            metadata=meta.ObjectMetaArgs(name=secret_name, namespace=namespace, labels=labels),
            type="kubernetes.io/tls",
            string_data={
                "tls.crt": signed.cert_pem,
                "tls.key": pulumi.Output.secret(key.private_key_pem),
                "ca.crt": self._authority.cert_pem,
            },
            opts=child,
        )
