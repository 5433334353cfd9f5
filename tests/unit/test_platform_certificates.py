"""Certificates: which authority signs, whom it may ask, and what a lost or renewed key means."""

from __future__ import annotations

import re

import pulumi
import pytest
from aws_stack import run
from conftest import Recorder
from platform_site import Identities, options, site

from components import contract
from components.platform.certificates import CertManager, CertManagerArgs, acme_issuer, values
from components.settings import SettingsError, parse
from components.settings.platform.certificates import AcmeSettings

pytestmark = pytest.mark.unit

ZONE = contract.DnsZone(kind="route53", id="Z123", region="us-east-1")
ACME = {"issuer": "acme", "acme": {"email": "platform@example.com"}}
CLUSTER_ISSUER = "kubernetes:cert-manager.io/v1:ClusterIssuer"
CERTIFICATE = "kubernetes:cert-manager.io/v1:Certificate"


def install(settings=None, *, dns=None, identities=None, domain="llm.internal"):
    place = site(
        {"certificates": settings or {}, "gateway": {"domain": domain}}, dns=dns, identities=identities or Identities()
    )
    return CertManager("certificates", CertManagerArgs(site=place), options(place))


def test_a_private_authority_works_without_any_cloud(recorded: Recorder):
    identities = Identities()
    run(lambda: install(identities=identities))
    assert list(recorded.of(CLUSTER_ISSUER)) == ["certificates-private"]
    assert identities.granted == []


def test_the_root_is_renewed_with_the_same_key_so_that_what_it_signed_stays_valid(recorded: Recorder):
    run(install)
    root = recorded.one(CERTIFICATE, "certificates-root").inputs["spec"]
    assert root["isCA"] is True
    assert root["privateKey"]["rotationPolicy"] == "Never"


def test_the_root_outlives_every_certificate_that_it_signs(recorded: Recorder):
    def program():
        manager = install()
        manager.certificate(
            "web", namespace="istio-ingress", secret_name="web", dns_names=["a.b"], parent=manager, after=[]
        )

    run(program)
    hours = {
        name: {key: int(re.fullmatch(r"(\d+)h0m0s", made.inputs["spec"][key]).group(1)) for key in DURATIONS}
        for name, made in recorded.of(CERTIFICATE).items()
    }
    assert hours["certificates-root"]["renewBefore"] > hours["web"]["duration"]
    assert hours["web"]["renewBefore"] < hours["web"]["duration"]


DURATIONS = ("duration", "renewBefore")


def test_a_certificate_waits_for_its_issuer_and_the_issuer_for_its_key(recorded: Recorder):
    def program():
        manager = install()
        manager.certificate("web", namespace="argocd", secret_name="web", dns_names=["a.b"], parent=manager, after=[])

    run(program)
    assert "certificates-private" in recorded.one(CERTIFICATE, "web").depends_on
    assert "certificates-root" in recorded.one(CLUSTER_ISSUER).depends_on


def test_the_public_authority_writes_the_zone_with_an_identity_of_its_own(recorded: Recorder):
    identities = Identities()
    run(lambda: install(ACME, dns=ZONE, identities=identities, domain="llm.example.com"))
    (granted,) = identities.granted
    assert granted.grants == (contract.DnsGrant(),)
    assert (granted.namespace, granted.service_account) == ("cert-manager", "cert-manager")
    release = recorded.one("kubernetes:helm.sh/v3:Release").inputs["values"]
    assert release["serviceAccount"]["name"] == granted.service_account
    assert release["serviceAccount"]["annotations"] == {"test/identity": granted.name}


def test_a_domain_is_proven_only_below_the_gateways_domain(recorded: Recorder):
    run(lambda: install(ACME, dns=ZONE, domain="llm.example.com"))
    acme = recorded.one(CLUSTER_ISSUER, "certificates-acme").inputs["spec"]["acme"]
    (solver,) = acme["solvers"]
    assert solver == {
        "selector": {"dnsZones": ["llm.example.com"]},
        "dns01": {"route53": {"region": "us-east-1", "hostedZoneID": "Z123"}},
    }


def test_staging_and_production_have_accounts_of_their_own():
    accounts = set()
    for server in ("staging", "production"):
        issuer = acme_issuer(AcmeSettings(email="a@b.c", server=server), ZONE, "example.com")["acme"]
        assert ("staging" in issuer["server"]) is (server == "staging")
        accounts.add(issuer["privateKeySecretRef"]["name"])
    assert len(accounts) == 2


def test_a_zone_of_google_is_named_by_project_and_zone():
    zone = contract.DnsZone(kind="cloud-dns", id="projects/acme/managedZones/llm", region="global")
    issuer = acme_issuer(AcmeSettings(email="a@b.c"), zone, "example.com")["acme"]
    assert issuer["solvers"][0]["dns01"] == {"cloudDNS": {"project": "acme", "hostedZoneName": "llm"}}


def test_there_is_no_certificate_of_an_authority_that_was_not_asked_for(recorded: Recorder):
    def program():
        with pytest.raises(pulumi.RunError, match="must be acme"):
            install().issuer("acme")

    run(program)


@pytest.mark.parametrize("several", [True, False])
def test_replicas_are_spread_and_guarded_only_where_there_are_several(several, recorded: Recorder):
    run(lambda: checked(several))


def checked(several: bool) -> None:
    found = values(site({"highlyAvailable": several}), {})
    for part in (found, found["webhook"], found["cainjector"]):
        assert part["replicaCount"] == (2 if several else 1)
        assert part["podDisruptionBudget"]["enabled"] is several
        assert bool(part["topologySpreadConstraints"]) is several


def refused(**values):
    with pytest.raises(SettingsError) as refusal:
        parse({"owner": "ml", "costCenter": "ml", **values})
    return [line.strip() for line in str(refusal.value).splitlines()[1:]]


def test_a_public_authority_without_zone_address_and_public_name_is_refused_before_anything_is_created():
    lines = refused(platform={"certificates": {"issuer": "acme"}})
    assert len(lines) == 3
    assert all(line.startswith("platform.certificates.issuer: acme ") for line in lines)
    assert "acme.email" in lines[0]
    assert "aws.hostedZoneId" in lines[1]
    assert "llm.internal" in lines[2]


def test_a_public_authority_with_all_of_them_is_accepted():
    parse(
        {
            "owner": "ml",
            "costCenter": "ml",
            "aws": {"hostedZoneId": "Z123"},
            "platform": {"certificates": ACME, "gateway": {"domain": "llm.acme.com"}},
        }
    )
