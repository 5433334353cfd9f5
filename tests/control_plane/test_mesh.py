"""Mesh, gateway, edge and certificates: every object is admitted by a real API server with the real definitions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from components import contract
from components.platform.certificates import CertManager, CertManagerArgs
from components.platform.edge import Edge, EdgeArgs
from components.platform.gateway import Gateway, GatewayArgs
from components.platform.mesh import Mesh, MeshArgs, plaintext_port
from components.platform.routes import Backend, Rule, route
from sandbox.provider import ProviderError
from tests.control_plane.conftest import Stack
from tests.control_plane.declared import RESTRICTED, Declared, admit, definitions, furnishing, objects_of
from tests.unit.conftest import Recorder
from tests.unit.conftest import recorded as recorded  # noqa: PLC0414 a fixture, for this module too
from tests.unit.platform_site import options, site

pytestmark = pytest.mark.control_plane

ZONE = contract.DnsZone(kind="route53", id="Z123", region="us-east-1")
GROUPS = ("cert-manager", "external-secrets", "istio")
# Everything that the settings can bring about: each gives objects that the others do not.
VARIANTS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "small": {
        "highlyAvailable": False,
        "traces": {"enabled": False},
        "gateway": {"rateLimits": {"enabled": False}, "hstsDays": 0},
    },
    "everything": {
        "certificates": {"issuer": "acme", "acme": {"email": "platform@example.com"}},
        "mesh": {"accessLogs": False},
        "gateway": {
            "domain": "llm.example.com",
            "exposure": "internet-facing",
            "sourceRanges": ["0.0.0.0/0"],
            "authentication": {
                "mode": "jwt",
                "jwt": {
                    "issuer": "https://idp.test",
                    "jwksUri": "https://idp.test/keys",
                    "audiences": ["llm"],
                    "requiredClaims": {"groups": ["ml"]},
                },
                "exemptHosts": ["argocd.llm.example.com"],
            },
            "rateLimits": {"counting": "global", "onFailure": "refuse"},
        },
    },
}


@pytest.fixture(scope="module")
def furnished(stack: Stack) -> Iterator[Stack]:
    definitions(*GROUPS)
    spaces = {"istio-system": {}, "istio-ingress": RESTRICTED, "cert-manager": RESTRICTED, "mlops-serving": {}}
    with furnishing(stack, spaces):
        yield stack


def objects(recorded: Recorder, settings: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Type and inputs of everything but releases that the systems declare, in order."""

    def program() -> None:
        place = site(settings, dns=ZONE)
        opts = options(place)
        mesh = Mesh("mesh", MeshArgs(site=place), opts)
        certificates = CertManager("certificates", CertManagerArgs(site=place), opts)
        gateway = Gateway("gateway", GatewayArgs(site=place, mesh=mesh, certificates=certificates), opts)
        edge = Edge("edge", EdgeArgs(site=place, gateway=gateway, secrets_ready=()), opts)
        models = Backend(namespace="mlops-serving", service="litellm", port=4000, timeout_seconds=0)
        tracking = Backend(namespace="mlops-system", service="mlflow", port=80, retries=0, ejection=None)
        domain = place.settings.gateway.domain
        rules = (Rule(backend=models), Rule(backend=tracking, prefix="/mlflow"))
        route("api", host=f"api.{domain}", rules=rules, site=place, parent=gateway, after=edge.ready)
        plaintext_port("hook", namespace="mlops-serving", labels={"app": "a"}, ports=[9443], parent=mesh, after=[])

    return objects_of(recorded, program)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_object_is_admitted_and_goes_again(variant: str, furnished: Stack, recorded: Recorder):
    found = objects(recorded, VARIANTS[variant])
    kinds = {token.rpartition(":")[2] for token, _ in found}
    assert {"ClusterIssuer", "Certificate", "PeerAuthentication", "Gateway", "VirtualService", "EnvoyFilter"} <= kinds
    # They would wait for a node of the platform's own, which this cluster has none of.
    admit(furnished, found, waiting=("apps/v1:Deployment", "core/v1:Service"))


def test_the_counting_services_pod_keeps_to_the_restricted_level(furnished: Stack, recorded: Recorder):
    found = dict(objects(recorded, VARIANTS["everything"]))
    template = found["apps/v1:Deployment"]["spec"]["template"]
    account = found["core/v1:ServiceAccount"]
    Declared(furnished, "core/v1:ServiceAccount", account).create()
    pod = {"metadata": {"name": "one", "namespace": "istio-ingress", **template["metadata"]}, "spec": template["spec"]}
    Declared(furnished, "core/v1:Pod", pod).preview()
    loose = {**pod, "spec": {**template["spec"], "securityContext": {}}}
    with pytest.raises(ProviderError, match="violates PodSecurity"):
        Declared(furnished, "core/v1:Pod", loose).preview()


def test_the_definitions_are_the_real_ones(furnished: Stack, recorded: Recorder):
    found = dict(objects(recorded, {}))
    for token, path, bad in (
        ("networking.istio.io/v1:Gateway", "servers", [{"port": {"number": "https"}}]),
        ("security.istio.io/v1:PeerAuthentication", "mtls", {"mode": "HARD"}),
        ("cert-manager.io/v1:Certificate", "dnsName", ["a.b"]),
    ):
        wrong = {**found[token], "spec": {**found[token]["spec"], path: bad}}
        with pytest.raises(ProviderError, match=path):
            Declared(furnished, token, wrong).preview()
