"""MLflow's objects, and those of its database, on a real API server with the level that their namespaces have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pulumi_kubernetes.core.v1 import ConfigMap

from components.platform.databases import Databases, DatabasesArgs
from components.platform.experiments import CLIENT_NAMESPACES, Experiments, ExperimentsArgs
from sandbox.provider import ProviderError
from tests.control_plane.conftest import Stack
from tests.control_plane.declared import Declared, admit, definitions, furnishing, objects_of
from tests.unit.conftest import Recorder
from tests.unit.conftest import recorded as recorded  # noqa: PLC0414 a fixture, for this module too
from tests.unit.platform_site import options, site

pytestmark = pytest.mark.control_plane

GROUPS = ("external-secrets", "istio")
VARIANTS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "small": {"highlyAvailable": False, "experiments": {"host": "", "defaultPermission": "EDIT"}},
}
PODS = ("apps/v1:Deployment", "batch/v1:Job")
# They would wait for nodes of the platform's own, which this cluster has none of.
WAITING = (*PODS, "core/v1:Service")


@pytest.fixture(scope="module")
def furnished(stack: Stack) -> Iterator[Stack]:
    definitions(*GROUPS)
    with furnishing(stack, (*CLIENT_NAMESPACES, "mlops-system", "istio-ingress")):
        yield stack


def objects(recorded: Recorder, settings: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Type and inputs of everything that is declared, in order."""

    def program() -> None:
        place = site(settings)
        opts = options(place)
        shared = Databases("databases", DatabasesArgs(site=place, secrets_ready=()), opts)
        edge = ConfigMap("edge", metadata={"name": "edge", "namespace": "istio-ingress"}, opts=opts)
        args = ExperimentsArgs(site=place, secrets_ready=(), databases_ready=shared.ready, edge_ready=(edge,))
        Experiments("experiments", args, opts)

    return objects_of(recorded, program)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_object_is_admitted_and_reads_back_as_it_was_declared(variant: str, furnished: Stack, recorded: Recorder):
    admit(furnished, objects(recorded, VARIANTS[variant]), waiting=WAITING)


def test_every_pod_keeps_to_the_restricted_level(furnished: Stack, recorded: Recorder):
    found = objects(recorded, {})
    pods = [one["spec"]["template"]["spec"] for token, one in found if token in PODS]
    assert len(pods) == 4, "the database, the tables, the server, the accounts"
    (account,) = (Declared(furnished, *one).create() for one in found if one[0] == "core/v1:ServiceAccount")
    try:
        for spec in pods:
            pod = {"metadata": {"name": "one", "namespace": "mlops-system"}, "spec": spec}
            Declared(furnished, "core/v1:Pod", pod).preview()
            with pytest.raises(ProviderError, match="violates PodSecurity"):
                Declared(furnished, "core/v1:Pod", {**pod, "spec": {**spec, "securityContext": {}}}).preview()
    finally:
        account.delete()


def test_the_store_of_certificates_is_what_its_definition_allows(furnished: Stack, recorded: Recorder):
    (store,) = [one for token, one in objects(recorded, {}) if token == "external-secrets.io/v1:ClusterSecretStore"]
    store["spec"]["provider"]["webhook"]["uri"] = "https://test"
    with pytest.raises(ProviderError, match="uri"):
        Declared(furnished, "external-secrets.io/v1:ClusterSecretStore", store).preview()
