"""MLflow's objects, and those of its database, on a real API server with the level that their namespaces have."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pulumi_kubernetes.core.v1 import ConfigMap

from components.platform.databases import Databases, DatabasesArgs
from components.platform.experiments import CLIENT_NAMESPACES, Experiments, ExperimentsArgs
from sandbox.provider import ProviderError
from tests.control_plane.conftest import Stack
from tests.control_plane.test_kubernetes_provider import Declared
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
    folder = Path(os.environ.get("SANDBOX_CRDS", ""))
    if missing := [group for group in GROUPS if not (folder / group).is_dir()]:
        pytest.skip(f"no definitions of {', '.join(missing)}: SANDBOX_CRDS does not name a folder that has them")
    strict = {"pod-security.kubernetes.io/enforce": "restricted"}
    made = [
        Declared(stack, "core/v1:Namespace", {"metadata": {"name": name, "labels": strict}}).create()
        for name in (*CLIENT_NAMESPACES, "mlops-system", "istio-ingress")
    ]
    yield stack
    for one in made:
        one.delete()


def objects(recorded: Recorder, settings: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Type and inputs of everything that is declared, in order."""

    def program() -> None:
        place = site(settings)
        opts = options(place)
        shared = Databases("databases", DatabasesArgs(site=place, secrets_ready=()), opts)
        edge = ConfigMap("edge", metadata={"name": "edge", "namespace": "istio-ingress"}, opts=opts)
        args = ExperimentsArgs(site=place, secrets_ready=(), databases_ready=shared.ready, edge_ready=(edge,))
        Experiments("experiments", args, opts)

    recorded.run(program)
    return [
        # Jobs have no name of ours: the provider gives each version another.
        (one.type.removeprefix("kubernetes:"), {**one.inputs, "metadata": {"name": one.name, **one.inputs["metadata"]}})
        for one in recorded.resources
        if one.type.startswith("kubernetes:")
    ]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_object_is_admitted_and_reads_back_as_it_was_declared(variant: str, furnished: Stack, recorded: Recorder):
    made: list[Declared] = []
    try:
        for token, inputs in objects(recorded, VARIANTS[variant]):
            declared = Declared(furnished, token, inputs)
            if token in WAITING:
                declared.preview()
                continue
            made.append(declared.create())
            live = declared.read()
            assert live is not None
            assert live[0] == declared.inputs, "what is read back would be shown as a change"
    finally:
        for one in reversed(made):
            one.delete()


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
